# SPDX-License-Identifier: Apache-2.0
"""Hostile peers on the broker's channel: the attack program under the worker's name, locked as a worker is, tells
each lie of peer.c. The broker ends it, says how, records it, and is afterwards what it was: it answers, and its
descriptors, threads and memory are where they were. The model files are the orders (sandbox/outside/attempt.h)."""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../e2e"))

import house as house_module  # noqa: E402

np = pytest.importorskip("numpy")
BUILD = os.path.abspath(os.environ.get("FUMEHOOD_BUILD", os.path.join(HERE, "../../build/release")))
WHO = ["root", "user"] if os.getuid() == 0 else ["user"]
PERMIT = "permit (principal, action, resource);\n"
LIMIT_MS = 500

# Peer -> what its end is called. None: a refusal of the model, the peer lives on and is ended in peace.
AT_LOAD = {
    "protocol": ["magic", "flags", "foreign-kind", "no-kind", "length-0", "length-1", "length-31", "length-32", "length-63",
                 "length-64", "turn", "ready-early", "locked-again", "listener-again", "twice", "reserved", "needs-little",
                 "status", "good-status", "tail-lie", "prefix-lie", "flood", "half"],
    "deadline": ["silence", "drip"],
    "worker-crash": ["leave"],
    "limit": ["needs-wrap"],
    "model": ["text"],
}
AT_CALL = {
    "protocol": ["flood-frames", "id-lie", "id-never", "output-lie"],
    "deadline": ["never-answers", "never-reads"],
}


def order(name):
    """The model file that makes the attack program this peer."""
    return b"ATTEMPT1" + struct.pack("<II", 1, 0) + bytes(64) + name.encode() + bytes(4096 - 80 - len(name))


@pytest.fixture(scope="module", params=WHO)
def service(request):
    """A service whose worker is the attack program."""
    base = tempfile.mkdtemp(prefix="fh-peer-", dir="/tmp")
    os.chmod(base, 0o755)
    stage = house_module.stage(BUILD, os.path.join(base, "stage"))
    shutil.copy(os.path.join(BUILD, "bin/fumehood-attack"), os.path.join(stage, "fumehood-worker"))
    h = house_module.House(stage, os.path.join(base, "h"), request.param)
    p = h.service(PERMIT, load_ms=LIMIT_MS, call_ms=LIMIT_MS, quarantine_crashes=0)
    h.broker_process = p
    yield h
    h.close()
    shutil.rmtree(base, ignore_errors=True)


def broker_pid(h):
    return next(p for p in h.processes() if house_module.command_of(p) == "fumehood-broker")


def state_of(h):
    """Descriptors, threads and children of the broker."""
    pid = broker_pid(h)
    fds = len(os.listdir(f"/proc/{pid}/fd")) if os.getuid() == 0 else 0
    status = open(f"/proc/{pid}/status").read()
    children = open(f"/proc/{pid}/task/{pid}/children").read().split()
    return fds, re.search(r"Threads:\t(\d+)", status).group(1), len(children)


def memory_of(h):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{broker_pid(h)}/status").read()).group(1))


def settle(h, before):
    house_module.wait_for(lambda: state_of(h) == before, 5)


def all_of(table):
    return [(name, code) for code, names in table.items() for name in names]


@pytest.mark.parametrize("name,code", all_of(AT_LOAD))
def test_while_loading(service, name, code):
    h = service
    model = h.write("peer.onnx", order("peer-" + name))
    before = state_of(h)
    with h.client() as c:
        try:
            c.open(model)
            assert False, "it was opened"
        except Exception as refused:
            error = getattr(refused, "error", None) or vars(refused)
        text = str(error)
        assert code in text, (name, error)
        if code in ("protocol", "deadline"):
            assert "'end_class': '%s'" % code in text, (name, error)
        assert all(32 <= ord(ch) < 127 for ch in error.get("text", "")), error
    settle(h, before)
    with h.client() as c:
        assert c.status()


@pytest.mark.parametrize("name,code", all_of(AT_CALL))
def test_while_calling(service, name, code):
    h = service
    model = h.write("peer.onnx", order("peer-" + name))
    before = state_of(h)
    with h.client() as c:
        try:
            handle = c.open(model)["handle"]
            c.infer({"x": np.zeros(4 << 20, np.uint8)}, handle=handle)
            assert False, "it was answered"
        except Exception as refused:
            error = getattr(refused, "error", None) or vars(refused)
        assert code in str(error), (name, error)
    settle(h, before)


@pytest.mark.parametrize("name", ["text", "garbage"])
@pytest.mark.parametrize("json_too", [[], ["--json"]])
def test_hostile_words_on_a_terminal(service, name, json_too):
    """What a worker says of its model, printed by the command: one refusal, nothing that moves a cursor."""
    h = service
    model = h.write("peer.onnx", order("peer-" + name))
    argv = [os.path.join(h.bin, "fumehood"), "run", "--state-dir", h.state, *json_too, model]
    p = subprocess.run(house_module.as_user(argv, h.uid) if h.uid != os.getuid() else argv, capture_output=True, env=h.env(),
                       timeout=20)
    assert p.returncode in (3, 5), p
    shown = p.stdout + p.stderr
    assert shown and all(b >= 32 or b in b"\n\t" for b in shown) and b"\x7f" not in shown, p


def test_two_answers_for_one_call(service):
    """The first one counts; the second ends the peer."""
    h = service
    model = h.write("peer.onnx", order("peer-answers-twice"))
    before = state_of(h)
    with h.client() as c:
        handle = c.open(model)["handle"]
        c.infer({"x": np.zeros(4, np.uint8)}, handle=handle)
    h.record(8, lambda r: r["worker_end"]["end_class"] == "protocol" and "RESULT" in r["worker_end"]["detail"])
    settle(h, before)


def test_the_rest_of_the_service_does_not_notice(service):
    """While one peer is silent and another floods, status is answered at once; memory stays."""
    h = service
    quiet = h.write("quiet.onnx", order("peer-silence"))
    before, rss = state_of(h), memory_of(h)
    for _ in range(20):
        with h.client() as waiting:
            import threading
            t = threading.Thread(target=lambda: _ignore(lambda: waiting.open(quiet)))
            t.start()
            with h.client() as c:
                start = time.monotonic()
                assert c.status()
                assert time.monotonic() - start < 0.4
                loud = h.write("loud.onnx", order("peer-flood"))
                _ignore(lambda: c.open(loud))
            t.join()
    settle(h, before)
    assert memory_of(h) < rss + 4096, (rss, memory_of(h))


def _ignore(fn):
    try:
        fn()
    except Exception:
        pass
