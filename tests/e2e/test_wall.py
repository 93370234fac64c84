# SPDX-License-Identifier: Apache-2.0
"""The wall, from the outside: what an attacker in the worker's place gets, and what a missing layer does."""
import json
import os
import re
import subprocess

import numpy as np
import pytest

import onnx_make
import receipt
from house import as_user

X = np.ones((2, 4), np.float32)

ATTEMPTS = ["open", "socket", "exec"]


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempt_dies(house, name):
    house.broker()
    with house.client() as c:
        got = c.attempt(name)
        assert got.code == "refused-call", got
        assert got.worker_end["end_class"] == "refused-call"
        record = receipt.check(got.receipt, c.welcome["log_vkey"])
        assert record["action"] == "attempt" and record["code"] == "refused-call"
    house.record(8, lambda r: r["worker_end"]["end_class"] == "refused-call")


REPORT = r"open\(0x[0-9a-f]+, 0x0, 0x0, 0x0, 0x0, 0x0\), call 2 of x86-64, at \+0x[0-9a-f]+, thread \d+"


def test_a_refused_call_is_named(house):
    """The kernel's report, with number, arguments and instruction, in the caller's error and in the record."""
    house.broker()
    with house.client() as c:
        got = c.attempt("open")
        assert re.search(REPORT, got.text) and re.search(REPORT, got.worker_end["detail"]), got
        record = receipt.check(got.receipt, c.welcome["log_vkey"])
        assert re.search(REPORT, record["worker_end"]["detail"]) and re.search(REPORT, record["text"]), record


def test_violation_kill(house):
    """Where another supervisor listens: no report, the kernel ends the worker itself."""
    config = house.config("permit (principal, action, resource);\n", violation="kill")
    house.broker("--config", config, private=False)
    with house.client() as c:
        got = c.attempt("open")
        assert got.code == "refused-call" and got.worker_end["signal"] == 31 and "SIGSYS" in got.text, got
    p = house.broker("--config", house.config("", violation="forgive"), private=False, must=False)
    assert p.ready.startswith(b"config: ") and b"violation" in p.ready, p.ready


def test_unknown_attempt(house):
    house.broker()
    with house.client() as c:
        assert c.attempt("nothing-of-the-kind").code in ("usage", "not-found", "input")


def test_doctor_says_what_stands(house):
    r = house.ok("doctor")
    assert r.out
    report = house.ok("doctor", "--json").json
    text = json.dumps(report)
    for layer in ("seccomp", "landlock"):
        assert layer in text.lower(), text


def test_command_attempts(house):
    """Everything that the attack program can try, by the command: each is stopped, each is a record."""
    names = [row.split()[0] for row in house.ok("doctor", "--attempts").out.strip().split("\n")]
    names = [n for n in names if n.islower()]
    assert set(ATTEMPTS) <= set(names) and len(names) >= 5, names
    house.broker()
    with house.client():
        for name in names:
            r = house.cmd("doctor", "--attempt", name)
            assert r.code == 5 and "stopped" in r.out, r
    house.record(8, lambda r: r["worker_end"]["end_class"] == "refused-call")


def test_layers_are_named_everywhere(house):
    house.broker()
    with house.client() as c:
        walls = c.welcome["walls"]
        assert walls["standing"] and walls["tier"] == ("strict, degraded" if walls["missing"] else "strict")
    assert house.record(1)["walls_missing"] == walls["missing"]


def test_debian_12_kernel_is_enough_and_is_labelled(house):
    """No MDWE, no mseal: the shipped configuration names them, so the start goes on, and says so everywhere."""
    model = house.write("add.onnx", onnx_make.add_model())
    house.broker(without=["mdwe", "mseal"])
    with house.client() as c:
        assert {"mdwe", "mseal"} <= set(c.welcome["walls"]["missing"])
        assert c.welcome["walls"]["tier"] == "strict, degraded"
        answer = c.infer({"x": X}, handle=c.open(model)["handle"])
        assert {"mdwe", "mseal"} <= set(answer.head["walls"]["missing"])
        record = receipt.check(answer.receipt, c.welcome["log_vkey"], answer.request, answer.body)
        assert {"mdwe", "mseal"} <= set(record["walls_missing"])
    house.close()
    r = house.cmd("run", "--json", model, without=["mdwe", "mseal"])
    assert "mseal" in r.out, r


def test_missing_layer_stops_the_start(house):
    """Landlock is never optional by itself: exit code 6, the layer and what to do are named, nothing runs."""
    model = house.write("add.onnx", onnx_make.add_model())
    error = house.refused("wall", 6, "run", model, without=["landlock"])
    assert "landlock" in error["text"]
    p = house.broker(without=["landlock"], must=False)
    assert p.ready.startswith(b"wall: ") and b"landlock" in p.ready and p.wait(timeout=10) == 6, p.ready
    assert house.cmd("doctor", without=["landlock"]).code == 1


def test_missing_layer_that_the_configuration_names(house):
    layers = ["landlock_fs", "landlock_truncate", "landlock_net", "landlock_ioctl", "landlock_scope", "mdwe", "mseal",
              "memfd_noexec"]
    config = house.config("permit (principal, action, resource);\n", optional_layers=layers)
    house.broker("--config", config, private=False, without=["landlock"])
    model = house.write("add.onnx", onnx_make.add_model())
    with house.client() as c:
        assert "landlock_fs" in c.welcome["walls"]["missing"]
        answer = c.infer({"x": X}, handle=c.open(model)["handle"])
        record = receipt.check(answer.receipt, c.welcome["log_vkey"])
        assert "landlock_fs" in record["walls_missing"] and "landlock_fs" in answer.head["walls"]["missing"]
        # And the layers that remain still stop it.
        assert c.attempt("open").code == "refused-call"


def test_required_layer_by_configuration(house):
    """A configuration that names nothing as optional: what the shipped one forgives stops the start."""
    config = house.config("permit (principal, action, resource);\n", optional_layers=[])
    p = house.broker("--config", config, private=False, without=["mseal"], must=False)
    assert p.ready.startswith(b"wall: ") and b"mseal" in p.ready and p.wait(timeout=10) == 6, p.ready


def test_a_layer_that_can_never_be_optional(house):
    for layer in ("seccomp", "no_new_privs", "closed_fds"):
        p = house.broker("--config", house.config("", optional_layers=[layer]), private=False, must=False)
        assert p.ready.startswith(b"config: ") and p.wait(timeout=10) == 2, p.ready


def test_user_namespaces_switched_off(house):
    """In a namespace whose limit of further ones is zero: refused, with the layer's name."""
    model = house.write("add.onnx", onnx_make.add_model())
    inner = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\""
    argv = ["/usr/bin/unshare", "--user", "--map-root-user", "/bin/sh", "-c", inner, "sh"]
    command = [os.path.join(house.bin, "fumehood"), "run", "--json", "--state-dir", house.state, model]
    argv = as_user(argv + command, house.uid) if house.uid != os.getuid() else argv + command
    done = subprocess.run(argv, capture_output=True, text=True, env=house.env(), cwd=house.folder, timeout=60)
    if "unshare failed" in done.stderr or "write failed" in done.stderr:
        pytest.skip("this machine gives no user namespaces to " + house.who)
    assert done.returncode == 6, done
    assert "user" in json.loads(done.stdout)["error"]["text"]
