# SPDX-License-Identifier: Apache-2.0
"""Things that break in the middle: a worker, the broker, a client, the disk."""
import os
import signal
import socket
import subprocess
import time

import numpy as np
import pytest

import onnx_make
import receipt
import wire
from conftest import model_or_skip
from fumehood_client import Refused
from house import alive, cpu_ticks, wait_for

X = np.ones((2, 4), np.float32)


@pytest.fixture
def model(house):
    return house.write("add.onnx", onnx_make.add_model())


def broker(house, *args):
    return house.broker(*args)


def worker_pid(client):
    return wait_for(lambda: [w["pid"] for w in client.status()["workers"] if w["pid"]])[0]


def test_worker_killed_between_calls(house, model):
    broker(house)
    with house.client() as c:
        handle = c.open(model)["handle"]
        c.infer({"x": X}, handle=handle)
        pid = worker_pid(c)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid))
        # Either the call finds a new worker, or it says that the old one ended; the next one works.
        try:
            c.infer({"x": X}, handle=handle)
        except Refused as e:
            assert e.code in ("worker-crash", "memory"), e
        opened = c.open(model)
        assert np.array_equal(c.infer({"x": X}, handle=opened["handle"]).outputs["y"], X + [1, 2, 3, 4])
    house.record(8, lambda r: r["worker_end"]["signal"] == signal.SIGKILL)


def slow_call(house, c):
    """A call that takes a while: PP-OCR det on a large picture. Returns its request id."""
    opened = c.open(house.copy(model_or_skip("ppocr_det")))
    rows = [{"name": b"x", "type": 1, "dims": [1, 3, 1600, 1600], "size": 4 * 3 * 1600 * 1600}]
    head = wire.encode("Infer", {"handle": opened["handle"], "inputs": rows})
    body = wire.body(head, bytes(4 * 3 * 1600 * 1600))
    c.send_raw(wire.header(wire.KIND["INFER"], len(body), 77) + body)
    return 77


def test_worker_killed_in_the_middle(house, model):
    broker(house)
    with house.client() as c, house.client() as other:
        slow_call(house, c)
        pid = worker_pid(other)
        wait_for(lambda: cpu_ticks(pid) > 5)     # it computes
        os.kill(pid, signal.SIGKILL)
        kind, number, answer = c.recv_frame()
        error = wire.decode("Error", wire.split(answer)[0])
        assert (kind, number) == (wire.KIND["ERROR"], 77)
        assert error["code"] in ("worker-crash", "memory"), error
        assert error["worker_end"]["signal"] == signal.SIGKILL
        record = receipt.check(error["receipt"], other.welcome["log_vkey"])
        assert record["kind"] == 6
        opened = other.open(model)
        other.infer({"x": X}, handle=opened["handle"])


def test_deadline(house, model):
    broker(house)
    with house.client() as c:
        opened = c.open(house.copy(model_or_skip("ppocr_det")))
        with pytest.raises(Refused) as refused:
            c.infer({"x": np.zeros((1, 3, 1600, 1600), np.float32)}, handle=opened["handle"], deadline_ms=30)
        assert refused.value.code == "deadline", refused.value
        again = c.open(model)
        c.infer({"x": X}, handle=again["handle"])


def test_client_gone_in_the_middle_of_a_call(house, model):
    broker(house)
    with house.client() as keeps:
        c = house.client()
        slow_call(house, c)
        worker_pid(keeps)
        c.close()
        opened = keeps.open(model)
        keeps.infer({"x": X}, handle=opened["handle"])


def test_broker_killed_leaves_nothing(house, model):
    p = broker(house)
    with house.client() as c:
        c.infer({"x": X}, handle=c.open(model)["handle"])
        worker = worker_pid(c)
        everyone = house.processes()
        assert worker in everyone and len(everyone) >= 4, everyone
        broker_pid = next(pid for pid in everyone if name_of(pid).startswith("fumehood-broke"))
        os.kill(broker_pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in everyone), 5)
        p.wait(timeout=5)
    # The log is whole, and the next broker goes on where it ended.
    broker(house)
    with house.client() as c:
        c.infer({"x": X}, handle=c.open(model)["handle"])
    assert house.record(1, lambda r: r["previous_size"] > 0)
    assert len(house.records(1)) == 2


def name_of(pid):
    try:
        with open("/proc/%d/comm" % pid, encoding="utf-8") as f:
            return f.read().strip()
    except OSError:
        return ""


def test_worker_dies_with_its_broker_while_computing(house):
    broker(house)
    with house.client() as c, house.client() as other:
        slow_call(house, c)
        worker = worker_pid(other)
        wait_for(lambda: cpu_ticks(worker) > 5)
        for pid in house.processes():
            if name_of(pid).startswith("fumehood-broke"):
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(worker), 5)


def test_second_broker_on_the_same_state(house):
    broker(house)
    with house.client():
        second = house.broker(must=False)
        assert second.wait(timeout=10) == 1
        assert second.ready.startswith(b"busy: "), second.ready
        assert any(str(pid).encode() in second.ready for pid in house.processes()), "it names the pid"
        with house.client() as c:
            c.status()


def test_auditor_killed_nothing_is_answered(house, model):
    p = broker(house)
    with house.client() as c:
        handle = c.open(model)["handle"]
        auditor = next(pid for pid in house.processes() if name_of(pid).startswith("fumehood-audit"))
        os.kill(auditor, signal.SIGKILL)
        with pytest.raises((Refused, EOFError, ConnectionError)) as e:
            c.infer({"x": X}, handle=handle)
        assert not isinstance(e.value, Refused) or e.value.code == "log"
        assert p.wait(timeout=10) == 7
    assert not house.processes()


def fill(path):
    """Writes until there is no room left."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(fd, bytes(4096)):
            pass
    except OSError:
        pass
    os.close(fd)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small tmpfs")
def test_full_disk_nothing_is_answered(house, model):
    os.makedirs(house.state, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700,uid=%d,gid=%d" % (house.uid, house.uid), "none",
                    house.state], check=True)
    try:
        p = broker(house)
        codes, answers = [], 0
        with house.client() as c:
            handle = c.open(model)["handle"]
            filler = os.path.join(house.state, "filler")
            fill(filler)
            try:
                for _ in range(20000):
                    c.infer({"x": X}, handle=handle)
                    answers += 1
            except Refused as e:
                codes.append(e.code)
            except (EOFError, ConnectionError):
                codes.append("closed")
        assert codes in (["log"], ["closed"]), (codes, answers)
        assert p.wait(timeout=10) == 7
        # What was answered is in the log, and what is in the log verifies once there is room again.
        os.unlink(filler)
        listed = house.ok("audit", "list", "--json").out.lower()
        assert listed.count('"completed"') >= answers
        house.ok("audit", "verify")
    finally:
        house.close()
        subprocess.run(["umount", house.state], check=True)


def test_many_clients_come_and_go(house, model):
    broker(house)
    with house.client() as c:
        socks = []
        for _ in range(64):
            s = socket.socket(socket.AF_UNIX)
            s.connect(house.socket)
            socks.append(s)
        c.infer({"x": X}, handle=c.open(model)["handle"])
        for s in socks:
            s.close()
        wait_for(lambda: c.status()["clients"] == 1)


def test_private_broker_leaves_when_nobody_is_there(house):
    p = broker(house)
    with house.client() as c:
        time.sleep(1.5)
        c.status()                      # never while somebody is connected
        assert p.poll() is None
    assert p.wait(timeout=5) == 0
    assert not house.processes()
