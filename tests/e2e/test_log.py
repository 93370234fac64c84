# SPDX-License-Identifier: Apache-2.0
"""The log: what the command shows of it, what Go's x/mod says to it, and every way to tamper with it."""
import json
import os
import shutil
import subprocess

import numpy as np
import pytest

import onnx_make
import receipt
from house import HERE, wait_for

X = np.ones((2, 4), np.float32)


@pytest.fixture
def used(house):
    """A house whose log holds a few calls and whose broker has left."""
    model = house.write("add.onnx", onnx_make.add_model())
    p = house.broker()
    with house.client() as c:
        house.vkey = c.welcome["log_vkey"]
        handle = c.open(model)["handle"]
        house.answers = [c.infer({"x": X}, handle=handle) for _ in range(5)]
        c.attempt("open")
    assert p.wait(timeout=10) == 0
    house.log = os.path.join(house.state, "log")
    return house


@pytest.fixture(scope="session")
def go_receipt(base):
    go = shutil.which("go", path="/usr/bin:/bin")
    if not go or not os.path.isdir("/usr/share/gocode/src/golang.org/x/mod"):
        pytest.skip("golang-go and golang-golang-x-mod-dev are not installed")
    target = os.path.join(base, "receipt")
    env = {"PATH": "/usr/bin:/bin", "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "HOME": base,
           "GOCACHE": os.path.join(os.path.dirname(os.path.dirname(HERE)), "build", "gocache")}
    subprocess.run([go, "build", "-o", target, os.path.join(HERE, "receipt.go")], check=True, env=env)
    return target


def test_receipt_by_go(used, go_receipt):
    for answer in used.answers[:2] + used.answers[-1:]:
        entry = used.write("entry", answer.receipt["entry"])
        proof = used.write("proof", answer.receipt["tlog_proof"])
        done = subprocess.run([go_receipt, used.vkey, entry, proof], capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.split()[:2] == ["ok", str(answer.receipt["index"])], done


def test_tampered_receipt_by_go(used, go_receipt):
    r = used.answers[-1].receipt
    tampered = {
        "entry": (r["entry"][:40] + bytes([r["entry"][40] ^ 1]) + r["entry"][41:], r["tlog_proof"]),
        "index": (r["entry"], r["tlog_proof"].replace("index %d" % r["index"], "index %d" % (r["index"] - 1))),
        "root": (r["entry"], swap_root(r["tlog_proof"])),
        "no hashes": (r["entry"], "\n".join(r["tlog_proof"].split("\n")[:2]) + "\n\n" + r["tlog_proof"].partition("\n\n")[2]),
    }
    for what, (entry, proof) in tampered.items():
        done = subprocess.run([go_receipt, used.vkey, used.write("entry", entry), used.write("proof", proof)],
                              capture_output=True, text=True)
        assert done.returncode != 0, (what, done)


def swap_root(proof):
    head, _, note = proof.partition("\n\n")
    lines = note.split("\n")
    lines[2] = ("B" if lines[2][0] != "B" else "C") + lines[2][1:]
    return head + "\n\n" + "\n".join(lines)


def test_tree_from_the_files(used):
    """Tiles and checkpoint on disk, by the second implementation."""
    with open(os.path.join(used.log, "checkpoint"), encoding="utf-8") as f:
        size, root = receipt.checkpoint_open(f.read(), used.vkey)
    entries = receipt.entries(used.log)
    assert len(entries) == size and receipt.tree_root(entries) == root
    with open(os.path.join(used.log, "log.vkey"), encoding="utf-8") as f:
        assert f.read().strip() == used.vkey


def test_audit_commands(used):
    listed = used.ok("audit", "list")
    assert listed.out.count("\n") >= 12
    rows = used.ok("audit", "list", "--json").json
    assert "refused-call" in json.dumps(rows)
    assert used.ok("audit", "show", used.answers[0].receipt["index"]).out
    shown = used.ok("audit", "show", "--json", used.answers[0].receipt["index"]).json
    assert "unsigned" in json.dumps(shown)
    used.ok("audit", "verify")
    used.refused("not-found", 3, "audit", "show", 100000)
    used.refused("usage", 2, "audit", "show", "not-a-number")


def flip(path, at=None):
    size = os.path.getsize(path)
    at = size // 2 if at is None else at
    mode = os.stat(path).st_mode
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))
    os.chmod(path, mode)


def files_below(folder):
    return sorted(os.path.join(d, n) for d, _, names in os.walk(folder) for n in names
                  if os.path.isfile(os.path.join(d, n)))


def first_entry_byte(path, entry):
    with open(path, "rb") as f:
        return f.read().find(entry)


def test_verify_finds_a_changed_byte_in_each_file(used):
    """Segments, tiles, bundles, checkpoint: one byte changed in any of them is found, exit code 7."""
    kinds = {"segments": 0, "tile": 0, "checkpoint": 0}
    for path in files_below(used.log):
        kind = next((k for k in kinds if os.sep + k in path[len(used.log):]), None)
        if not kind or os.path.getsize(path) == 0:
            continue
        at = None
        if kind == "segments":
            at = first_entry_byte(path, used.answers[1].receipt["entry"])
            if at < 0:
                continue
            at += 20
        kinds[kind] += 1
        flip(path, at)
        used.refused("log", 7, "audit", "verify")
        flip(path, at)
    assert all(kinds.values()), kinds
    used.ok("audit", "verify")


def test_verify_finds_a_cut_log(used):
    """The newest entries cut off together with an old checkpoint: the auditor's own memory knows better."""
    model = used.path("add.onnx")
    old = used.path("old-log")
    shutil.copytree(used.log, old)
    used.broker()
    with used.client() as c:
        c.infer({"x": X}, handle=c.open(model)["handle"])
    wait_for(lambda: not used.processes())
    shutil.rmtree(used.log)
    os.rename(old, used.log)
    if os.getuid() == 0:
        st = os.stat(used.state)
        for d, _, names in os.walk(used.log):
            for n in [d] + [os.path.join(d, x) for x in names]:
                os.chown(n, st.st_uid, st.st_gid)
    p = used.broker(must=False)
    assert p.ready.startswith(b"log: ") and p.wait(timeout=10) == 7, p.ready


def test_broker_refuses_a_damaged_log(used):
    for path in files_below(os.path.join(used.log, "segments")):
        at = first_entry_byte(path, used.answers[1].receipt["entry"])
        if at >= 0:
            flip(path, at + 20)
            break
    p = used.broker(must=False)
    assert p.ready.startswith(b"log: ") and p.wait(timeout=10) == 7, p.ready


def test_records_hold_no_content(used):
    """Nothing of what was asked or answered stands in the log."""
    secret = np.frombuffer(b"very secret text", np.float32).reshape(1, 4)
    used.broker()
    with used.client() as c:
        answer = c.infer({"x": secret}, handle=c.open(used.path("add.onnx"))["handle"])
    wait_for(lambda: not used.processes())
    for path in files_below(used.state):
        with open(path, "rb") as f:
            data = f.read()
        assert b"very secret text" not in data, path
        assert answer.receipt["salt"] not in data, path
