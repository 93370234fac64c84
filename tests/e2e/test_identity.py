# SPDX-License-Identifier: Apache-2.0
"""Who the processes are, what they hold, what they leave on disk for others to see; how many may come in."""
import os
import socket

import numpy as np
import pytest

import onnx_make
from fumehood_client import Refused
from house import alive, wait_for

X = np.ones((2, 4), np.float32)


def status_of(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8", errors="replace") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


@pytest.fixture
def running(house):
    """A private broker with one worker; role -> pid."""
    model = house.write("add.onnx", onnx_make.add_model())
    house.broker()
    with house.client() as c:
        c.infer({"x": X}, handle=c.open(model)["handle"])
        house.worker = wait_for(lambda: [w["pid"] for w in c.status()["workers"] if w["pid"]])[0]
        yield house


def roles(house):
    out = {}
    for pid in house.processes():
        name = status_of(pid)["Name"].strip()
        role = next((r for r in ("worker", "broker", "jailer", "auditor") if name.startswith("fumehood-" + r[:6])), None)
        if role:
            out.setdefault(role, []).append(pid)
    return out


def test_each_process_is_its_own_and_named(running):
    found = roles(running)
    assert {"broker", "auditor", "jailer"} <= set(found), found
    assert running.worker in running.processes()


def test_nobody_is_root(running):
    """Started as root, none stays root but the jailer, which has to make uids; a worker's uid is its own."""
    if running.uid != 0:
        pytest.skip("not started as root")
    found = roles(running)
    for role in ("broker", "auditor"):
        for pid in found[role]:
            uids = status_of(pid)["Uid"].split()
            assert "0" not in uids and "65534" not in uids, (role, uids)
    worker = set(status_of(running.worker)["Uid"].split())
    broker = set(status_of(found["broker"][0])["Uid"].split())
    assert not worker & (broker | {"0", "65534"}), (worker, broker)


def test_no_privilege_can_come_back(running):
    for role, pids in roles(running).items():
        for pid in pids:
            s = status_of(pid)
            if role != "jailer":
                assert s["NoNewPrivs"] == "1" and s["Seccomp"] == "2", (role, s["NoNewPrivs"], s["Seccomp"])
                assert int(s["CapEff"], 16) == 0 and int(s["CapPrm"], 16) == 0, (role, s["CapEff"])
    s = status_of(running.worker)
    assert int(s["CapBnd"], 16) == 0 and s["Seccomp"] == "2" and s["NoNewPrivs"] == "1"


def test_a_worker_holds_one_descriptor(running):
    if os.getuid() != 0:
        pytest.skip("only root can look")
    assert os.listdir("/proc/%d/fd" % running.worker) == ["3"]
    assert os.readlink("/proc/%d/fd/3" % running.worker).startswith("socket:")


def test_state_is_private(running):
    for name in ("log.key",):
        mode = os.stat(os.path.join(running.state, name)).st_mode
        assert mode & 0o077 == 0, oct(mode)
    assert os.stat(running.state).st_mode & 0o007 == 0 or running.uid == 0
    for folder, _, names in os.walk(running.state):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                assert os.stat(path).st_mode & 0o022 == 0, path


def test_too_many_clients(house):
    house.service("permit (principal, action, resource);\n", clients_max=3)
    first = [house.client() for _ in range(3)]
    try:
        with house.client() as c:
            with pytest.raises(Refused) as e:
                c.status()
            assert e.value.code == "busy"
    except (Refused, EOFError, OSError) as e:
        assert not isinstance(e, Refused) or e.code == "busy"
    for c in first:
        c.status()
        c.close()
    wait_for(house.answers)


def test_a_client_that_never_speaks_costs_nothing(house):
    model = house.write("add.onnx", onnx_make.add_model())
    house.broker()
    silent = socket.socket(socket.AF_UNIX)
    with house.client() as c:
        silent.connect(house.socket)
        c.infer({"x": X}, handle=c.open(model)["handle"])
    silent.close()


def test_workers_are_gone_with_their_connection(running):
    pid = running.worker
    with running.client() as other:
        handle = other.open(running.path("add.onnx"))["handle"]
        other.infer({"x": X}, handle=handle)
        pids = {w["pid"] for w in other.status()["workers"]} - {pid, 0}
    assert pids
    wait_for(lambda: not any(alive(p) for p in pids))
    assert alive(pid)
