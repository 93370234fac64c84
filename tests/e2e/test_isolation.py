# SPDX-License-Identifier: Apache-2.0
"""Who shares a worker is policy's word; nothing of one principal's calls is left for the next one's."""
import os

import numpy as np
import pytest

import fumehood_client
import notes
import onnx_make
import receipt
from house import wait_for

MODEL = onnx_make.add_model()
ROOT, ALICE = notes.Key("root-a"), notes.Key("alice")
TRUST = notes.sign(notes.trust_text(ROOT, {"alice": ALICE}), ROOT)
NOTE = notes.sign(notes.model_text("acme/add", {"add.onnx": MODEL}), ALICE).encode()
SETUP = 'permit (principal, action in [Gate::Action::"admit", Gate::Action::"stats", Gate::Action::"load", Gate::Action::"run"], resource);\n'
ASK = 'permit (principal, action == Gate::Action::"infer", resource);\n'
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def ready(house, policy, **options):
    house.service(SETUP + policy, TRUST, **options)
    c = house.client()
    c.admit(NOTE, [house.write("candidate", MODEL)])
    return c


def ask(c, x=X, **target):
    """One call; returns its isolation as the answer says it, having looked that both records say the same."""
    a = c.infer({"x": x}, **(target or {"model": "acme/add"}))
    record = receipt.check(a.receipt, c.welcome["log_vkey"])
    assert record["isolation"] == a.head["isolation"]
    return a.head["isolation"]


def workers(c):
    return {w["pid"]: w for w in c.status()["workers"]}


def as_uid(house, uid):
    """A connection of somebody else, made by root."""
    try:
        os.setegid(uid)
        os.seteuid(uid)
        return fumehood_client.Client(house.socket)
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize("policy, default, want", [
    (ASK, None, "shared"), (ASK, "tenant", "tenant"), (ASK, "call", "call"),
    ('@isolation("tenant")\n' + ASK, None, "tenant"), ('@isolation("shared")\n' + ASK, "call", "shared"),
    ('@isolation("shared")\n' + ASK + '@isolation("call")\n' + ASK + '@isolation("tenant")\n' + ASK, None, "call"),
    ('@isolation("shared")\n' + ASK + ASK, "tenant", "tenant"),
])
def test_policy_says_who_shares(house, policy, default, want):
    with ready(house, policy, **({"isolation": default} if default else {})) as c:
        assert ask(c) == want
        intent = [r for r in house.records(4) or [house.record(4)]][-1]
        assert intent["isolation"] == want
        assert all(w["isolation"] == want for w in workers(c).values())


def test_unknown_isolation_stops_the_start(house):
    p = house.broker("--config", house.config('@isolation("none")\n' + ASK), private=False, must=False)
    assert p.ready.startswith(b"config: ") and b"isolation" in p.ready and p.wait(timeout=10) == 2, p.ready


def test_a_worker_for_each_call(house):
    with ready(house, '@isolation("call")\n' + ASK) as c:
        seen = set()
        for i in range(4):
            if i:
                wait_for(lambda: [w for w in workers(c).values() if w["state"] == "idle" and not w["calls"]])
            now = set(workers(c))
            assert not now & seen, "a worker served twice"
            ask(c)
            seen |= now
        wait_for(lambda: not set(workers(c)) & seen)


def test_opened_model_is_never_shared(house):
    with ready(house, ASK) as c:
        handle = c.open(house.write("m.onnx", MODEL))["handle"]
        assert ask(c, handle=handle) == "tenant"


def test_private_calls_say_it(house):
    path = house.write("m.onnx", MODEL)
    assert house.ok("run", "--json", path, "--input", "x=" + house.npy("x.npy", X)).json["isolation"] == "tenant"


# --- leftovers ------------------------------------------------------------------------------------

SECRET = np.uint32(0xfedcba98).view(np.float32)    # adding 1 to it changes no bit: it is in every buffer of the call
PATTERN = np.full(2, SECRET).tobytes()
NAME = b"left by the first one"


def holds(pid, pattern):
    """Whether a process's writable memory, stacks included, holds these bytes. Root may look."""
    with open("/proc/%d/maps" % pid) as f:
        places = [line.split() for line in f]
    with open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for place in places:
            start, end = (int(n, 16) for n in place[0].split("-"))
            if "w" not in place[1]:
                continue
            present = pages(pid, start, end)
            for at, size in present:
                mem.seek(at)
                if pattern in mem.read(size):
                    return True
    return False


def pages(pid, start, end):
    """The touched parts of a mapping (arenas are large and mostly untouched), neighbours joined."""
    out = []
    with open("/proc/%d/pagemap" % pid, "rb", 0) as f:
        f.seek(start // 4096 * 8)
        bits = np.frombuffer(f.read((end - start) // 4096 * 8), "<u8") >> 62      # present or swapped
    for i in np.flatnonzero(bits):
        at = start + int(i) * 4096
        if out and out[-1][0] + out[-1][1] == at:
            out[-1][1] += 4096
        else:
            out.append([at, 4096])
    return out


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("rows", [2, 40000])     # small ones are answered from the request region, large ones from the arena
def test_nothing_is_left_for_the_next_principal(house, threads, rows):
    if os.getuid() != 0 or house.who != "root":
        pytest.skip("only root can look into a worker, and be two principals")
    house.socket = house.path("all", "broker.sock")   # where others may reach it
    with ready(house, ASK, threads=threads) as a, as_uid(house, 61491) as b:
        secret = np.full((rows, 4), SECRET)
        assert a.infer({"x": secret}, model="acme/add").outputs["y"][0, 0] == SECRET
        assert a.infer({"x": secret[:2]}, model="acme/add")            # of another shape, in the same memory
        with pytest.raises(fumehood_client.Refused):
            a.infer({"x": secret[:2], NAME: secret[:2]}, model="acme/add")      # its text is made on the stack
        (pid,) = workers(a)
        assert holds(pid, PATTERN) and holds(pid, NAME), "the test does not see what it looks for"
        assert ask(b) == "shared"
        assert set(workers(a)) == {pid}
        assert not holds(pid, PATTERN) and not holds(pid, NAME)
