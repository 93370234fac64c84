# SPDX-License-Identifier: Apache-2.0
"""The command's manners: JSON everywhere, receipts in files, filters, tail, completion, what a broken log does to it."""
import json
import os
import pty
import subprocess
import time

import numpy as np
import pytest

import onnx_make
from conftest import model_or_skip
from fumehood_client import Refused
from house import ROOT, as_user, wait_for

X = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)


@pytest.fixture
def model(house):
    return house.write("add.onnx", onnx_make.add_model())


@pytest.fixture
def used(house, model):
    """Two calls, one refusal and one attack, in the log of a private broker."""
    x = house.npy("x.npy", X)
    for _ in range(2):
        house.ok("run", model, "--input", "x=" + x)
    house.refused("input", 3, "run", model, "--input", "x=" + house.npy("bad.npy", X[:, :2]))
    assert house.cmd("doctor", "--attempt", "fork").code == 5
    return house


def test_json_on_every_command(used):
    with used.client():                         # the private broker stays while somebody is there
        for args in (["run", used.path("add.onnx"), "--input", "x=" + used.path("x.npy")], ["inspect", used.path("add.onnx")],
                     ["keygen", "k", "--output", used.path("k.key")], ["list"], ["status"], ["doctor"], ["version"],
                     ["config", "print"], ["audit", "list"], ["audit", "show", "0"], ["audit", "verify"],
                     ["audit", "tail", "--once"], ["doctor", "--attempts"]):
            r = used.cmd(args[0], "--json", *args[1:])
            assert r.code in (0, 1), r
            for text in r.out.splitlines() if "tail" in args else [r.out]:    # a stream is one object a line
                json.loads(text)


def test_receipt_in_files(used):
    base = used.path("receipt")
    used.ok("run", used.path("add.onnx"), "--input", "x=" + used.path("x.npy"), "--receipt", base)
    with open(base, encoding="utf-8") as f:
        assert f.read().startswith("c2sp.org/tlog-proof@v1\nindex ")
    assert os.path.getsize(base + ".entry") > 50 and os.path.getsize(base + ".salt") in (32, 64, 65)
    used.ok("audit", "verify", "--checkpoint", base)
    # A checkpoint of another log does not agree.
    other = used.path("other")
    used.ok("run", used.path("add.onnx"), "--input", "x=" + used.path("x.npy"), "--receipt", other, "--state-dir",
            used.path("state2"), place=False)
    used.refused("signature", 3, "audit", "verify", "--checkpoint", other)


def rows_of(house, *args):
    return house.ok("audit", "list", "--json", *args).json


def test_filters(used):
    everything = rows_of(used)
    kinds = [r["kind"] for r in everything]
    assert kinds.count("completed") == 2 and "refused" in kinds and "boot" in kinds
    assert all(r["kind"] == "completed" for r in rows_of(used, "--kind", "completed"))
    assert len(rows_of(used, "--kind", "completed")) == 2
    assert {r["code"] for r in rows_of(used, "--code", "refused-call")} == {"refused-call"}
    assert len(rows_of(used, "--last", "3")) == 3
    assert rows_of(used, "--last", "1") == everything[-1:]
    used.refused("usage", 2, "audit", "list", "--kind", "nonsense")


def test_tail_follows(used):
    p = used.start(["fumehood", "audit", "tail", "--state-dir", used.state], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    os.set_blocking(p.stdout.fileno(), False)
    time.sleep(0.3)
    used.ok("run", used.path("add.onnx"), "--input", "x=" + used.path("x.npy"))
    seen = b""

    def more():
        nonlocal seen
        seen += p.stdout.read() or b""
        return b"completed" in seen
    wait_for(more)
    p.terminate()
    p.wait(timeout=5)


def test_another_key_is_noticed(used):
    used.ok("keygen", "stranger", "--output", used.path("stranger.key"))
    r = used.cmd("audit", "verify", "--json", "--vkey", used.path("stranger.pub"))
    assert r.code == 7, r


def test_run_with_a_damaged_log_is_exit_7(used):
    wait_for(lambda: not used.processes())
    folder = os.path.join(used.state, "log", "segments")
    path = os.path.join(folder, sorted(os.listdir(folder))[0])
    with open(path, "r+b") as f:
        data = f.read()
        at = data.find(b"completed") if b"completed" in data else data.find(b"add.onnx")
        assert at > 0
        f.seek(at)
        f.write(bytes([data[at] ^ 1]))
    used.refused("log", 7, "run", used.path("add.onnx"), "--input", "x=" + used.path("x.npy"))
    used.refused("log", 7, "audit", "verify")


def test_quiet_and_streams(house, model):
    """What was asked for on standard output, remarks on standard error, none with -q."""
    x = "x=" + house.npy("x.npy", X)
    r = house.ok("run", "-q", model, "--input", x)
    assert r.err == "" and "y" in r.out
    r = house.cmd("run", "-q", house.path("nowhere"), "--input", x)
    assert r.code == 3 and r.err.count("\n") == 1 and r.out == ""


def test_closed_output_is_no_success(house, model):
    argv = house.argv(["inspect", model])
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, env=house.env(), cwd=house.folder)
    assert done.returncode == 1 and "output" in done.stderr, done


def test_output_dir_that_cannot_be(house, model):
    x = "x=" + house.npy("x.npy", X)
    r = house.cmd("run", "--json", model, "--input", x, "--output-dir", house.write("file", "x"))
    assert r.code in (1, 2, 3) and r.json["error"]["text"], r


def test_deadline_and_memory_options(house):
    path = house.copy(model_or_skip("ppocr_det"))
    x = "x=" + house.npy("x.npy", np.zeros((1, 3, 1600, 1600), np.float32))
    house.refused("deadline", 5, "run", path, "--input", x, "--deadline-ms", 20)
    house.refused("limit", 3, "run", path, "--input", x, "--memory", "4M")


def test_progress_on_a_terminal_is_gone_at_the_end(house, model):
    """With a terminal on standard error nothing breaks, and no bar is drawn for what is quick."""
    master, slave = pty.openpty()
    argv = house.argv(["run", model, "--input", "x=" + house.npy("x.npy", X)])
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=slave, env=house.env(), cwd=house.folder, timeout=30)
    os.close(slave)
    shown = os.read(master, 65536)
    os.close(master)
    assert done.returncode == 0 and b"%" not in shown, shown


def test_completion(house):
    script = os.path.join(ROOT, "docs", "fumehood.bash")
    probe = """
source %s
COMP_WORDS=(%s); COMP_CWORD=%d; COMP_LINE="${COMP_WORDS[*]}"; COMP_POINT=${#COMP_LINE}
f=$(complete -p fumehood | sed 's/.*-F \\([^ ]*\\).*/\\1/'); $f fumehood "${COMP_WORDS[COMP_CWORD]}" "" 2>/dev/null
printf '%%s\\n' "${COMPREPLY[@]}"
"""
    def ask(words, at):
        copy = house.copy(script)
        argv = ["/bin/bash", "--norc", "-c", probe % (copy, " ".join("'%s'" % w for w in words), at)]
        env = house.env(PATH=house.bin + ":/usr/bin:/bin")
        argv = as_user(argv, house.uid) if house.uid != os.getuid() else argv
        return subprocess.run(argv, capture_output=True, text=True, env=env, cwd=house.folder).stdout.split()
    assert "inspect" in ask(["fumehood", "ins"], 1)
    assert "--output-dir" in ask(["fumehood", "run", "--out"], 2)
    assert "verify" in ask(["fumehood", "audit", "ver"], 2)


def test_a_connection_holds_only_so_many_models(house, model):
    house.broker()
    with house.client() as c:
        handles = []
        with pytest.raises(Refused) as e:
            for _ in range(100):
                handles.append(c.open(model)["handle"])
        assert e.value.code in ("limit", "busy") and len(handles) >= 4, e.value
        for handle in (handles[0], handles[-1]):
            assert np.array_equal(c.infer({"x": X}, handle=handle).outputs["y"], X + np.array([1, 2, 3, 4], np.float32))
