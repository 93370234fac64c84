# SPDX-License-Identifier: Apache-2.0
"""The native protocol, spoken by a second implementation: what it gives, and what a rude client gets."""
import os
import socket
import struct
import time

import numpy as np
import pytest

import onnx_make
import receipt
import wire
from fumehood_client import Client, Refused

X = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
B = np.array([1, 2, 3, 4], np.float32)


@pytest.fixture
def model(house):
    return house.write("add.onnx", onnx_make.add_model())


@pytest.fixture
def client(house):
    house.broker()
    with house.client() as c:
        yield c


def ended(c):
    """The broker hangs up on this connection, perhaps with a last word."""
    c.sock.settimeout(10)
    try:
        kind, _, _ = c.recv_frame()
        assert kind == wire.KIND["ERROR"]
        c.recv_frame()
    except (EOFError, ConnectionError):
        return True
    return False


def still_serves(house, model):
    with house.client() as c:
        handle = c.open(model)["handle"]
        assert np.array_equal(c.infer({"x": X}, handle=handle).outputs["y"], X + B)


def test_welcome(house, client):
    w = client.welcome
    assert w["uid"] == house.uid
    assert w["principal"] == 'Gate::User::"%d"' % house.uid
    assert w["instance"] == "private"
    assert w["walls"]["standing"] and w["log_vkey"]


def test_open_and_infer(house, client, model):
    opened = client.open(model)
    assert opened["unsigned_model"] and opened["file_bytes"] == os.path.getsize(model)
    assert opened["file_sha256"] == receipt.sha256(onnx_make.add_model())
    assert opened["model_digest"] == receipt.sha256(opened["file_sha256"])
    info = opened["info"]
    assert info["format"] == "onnx"
    assert {p["name"]: (p["dims"], p["optional"]) for p in info["inputs"]} == {b"x": ([-1, 4], False), b"b": ([4], True)}
    answer = client.infer({"x": X}, handle=opened["handle"])
    assert np.array_equal(answer.outputs["y"], X + B)
    assert answer.head["unsigned_model"] and answer.head["model_digest"] == opened["model_digest"]
    other = client.infer({"x": X, "b": np.zeros(4, np.float32)}, handle=opened["handle"])
    assert np.array_equal(other.outputs["y"], X)


def test_same_request_same_bytes(client, model):
    handle = client.open(model)["handle"]
    x = np.random.default_rng(1).standard_normal((33, 4), np.float32)
    first = client.infer({"x": x}, handle=handle)
    again = client.infer({"x": x}, handle=handle)
    assert first.body == again.body and first.receipt["salt"] != again.receipt["salt"]


def test_receipt_proves_the_call(house, client, model):
    opened = client.open(model)
    answer = client.infer({"x": X}, handle=opened["handle"], client_seq=17)
    vkey = client.welcome["log_vkey"]
    record = receipt.check(answer.receipt, vkey, answer.request, answer.body)
    assert record["kind"] == 5 and record["model_digest"] == opened["model_digest"] and record["unsigned_model"]
    assert record["caller"]["uid"] == house.uid and record["client_seq"] == 17
    for damaged in (dict(answer.receipt, entry=answer.receipt["entry"][:-1] + b"\x7f"),
                    dict(answer.receipt, tlog_proof=answer.receipt["tlog_proof"].replace("\n\n", "\n" + "A" * 43 + "=\n\n", 1)),
                    dict(answer.receipt, salt=bytes(32))):
        with pytest.raises(receipt.Bad):
            receipt.check(damaged, vkey, answer.request, answer.body)
    with pytest.raises(receipt.Bad):
        receipt.check(answer.receipt, vkey, answer.request, answer.body[:-1] + b"\1")
    loaded = receipt.check(opened["receipt"], vkey)
    assert loaded["kind"] == 3 and loaded["file_sha256"] == opened["file_sha256"]


WRONG_INPUTS = {
    "unknown name": {"z": X},
    "missing": {"b": B},
    "one too many": {"x": X, "q": B},
    "rank": {"x": X.reshape(-1)},
    "dimension": {"x": np.zeros((2, 5), np.float32)},
    "type": {"x": X.astype(np.float64)},
    "integers": {"x": X.astype(np.int32)},
    "fixed dimension": {"x": X, "b": np.zeros(5, np.float32)},
}


@pytest.mark.parametrize("what", WRONG_INPUTS)
def test_wrong_inputs(client, model, what):
    handle = client.open(model)["handle"]
    with pytest.raises(Refused) as refused:
        client.infer(WRONG_INPUTS[what], handle=handle)
    assert refused.value.code == "input"
    record = receipt.check(refused.value.receipt, client.welcome["log_vkey"])
    assert record["kind"] == 6 and record["code"] == "input"
    assert np.array_equal(client.infer({"x": X}, handle=handle).outputs["y"], X + B), "the connection is still good"


def infer_body(rows, tail, handle):
    return wire.body(wire.encode("Infer", {"handle": handle, "inputs": rows}), tail)


LYING_ROWS = {
    "offset outside": {"offset": 1 << 20},
    "offset near 2^64": {"offset": (1 << 64) - 64},
    "offset not aligned": {"offset": 4},
    "size too large": {"size": 1 << 40},
    "size too small": {"size": 4},
    "dims overflow": {"dims": [1 << 62, 4]},
    "negative dim": {"dims": [-2, 4]},
    "rank 9": {"dims": [1, 1, 1, 1, 1, 1, 1, 2, 4]},
    "type 99": {"type": 99},
    "type string": {"type": 8},
}


@pytest.mark.parametrize("what", LYING_ROWS)
def test_lying_tensor_rows(house, client, model, what):
    handle = client.open(model)["handle"]
    row = dict({"name": b"x", "type": 1, "dims": [2, 4], "offset": 0, "size": 32}, **LYING_ROWS[what])
    body = infer_body([row], X.tobytes(), handle)
    client.send_raw(wire.header(wire.KIND["INFER"], len(body), 99) + body)
    kind, number, answer = client.recv_frame()
    error = wire.decode("Error", wire.split(answer)[0])
    assert (kind, number, error["code"]) == (wire.KIND["ERROR"], 99, "input"), error
    still_serves(house, model)


def test_unknown_handle_and_model(client):
    for target in ({"handle": 12345}, {"model": "acme/nothing"}, {"model": "sha256:" + "0" * 64}):
        with pytest.raises(Refused) as refused:
            client.infer({"x": X}, **target)
        assert refused.value.code in ("not-found", "denied"), refused.value


def raw_hello():
    body = wire.body(wire.encode("Hello", {"client": "rude"}))
    return wire.header(wire.KIND["HELLO"], len(body), 1) + body


# What ends a connection: bytes after a correct HELLO.
RUDE = {
    "3 GiB request": wire.header(wire.KIND["INFER"], 3 << 30, 2),
    "2^64 request": wire.header(wire.KIND["INFER"], (1 << 64) - 1, 2),
    "large HELLO kind": wire.header(wire.KIND["LIST"], 1 << 20, 2),
    "wrong magic": wire.header(wire.KIND["LIST"], 8, 2, magic=0x12345678) + bytes(8),
    "wrong version": wire.header(wire.KIND["LIST"], 8, 2, version=2) + bytes(8),
    "flags": wire.header(wire.KIND["LIST"], 8, 2, flags=1) + bytes(8),
    "reserved": wire.header(wire.KIND["LIST"], 8, 2, reserved=1) + bytes(8),
    "unknown kind": wire.header(0x0199, 8, 2) + bytes(8),
    "a worker's kind": wire.header(0x0404, 72, 2) + bytes(72),
    "the auditor's kind": wire.header(0x0801, 8, 2) + bytes(8),
    "a broker's kind": wire.header(wire.KIND["WELCOME"], 8, 2) + bytes(8),
    "second HELLO": raw_hello(),
    "model without descriptor": wire.header(wire.KIND["MODEL_OPEN"], 8, 2) + bytes(8),
    "prefix lies": wire.header(wire.KIND["LIST"], 8, 2) + struct.pack("<II", 500, 0),
    "prefix reserved": wire.header(wire.KIND["LIST"], 8, 2) + struct.pack("<II", 0, 7),
    "head is noise": wire.header(wire.KIND["INFER"], 8 + 50, 2) + struct.pack("<II", 50, 0) + b"\xff" * 50,
    "head nests": wire.header(wire.KIND["INFER"], 8 + 100, 2) + struct.pack("<II", 100, 0) + b"\x1b" * 100,
}


@pytest.mark.parametrize("what", RUDE)
def test_rude_client_is_ended(house, client, model, what):
    with house.client() as rude:
        rude.send_raw(RUDE[what])
        assert ended(rude), what
    still_serves(house, model)


def test_nothing_before_hello(house, client, model):
    s = socket.socket(socket.AF_UNIX)
    s.connect(house.socket)
    body = wire.body(b"")
    s.sendall(wire.header(wire.KIND["STATUS"], len(body), 1) + body)
    s.settimeout(10)
    rest = b""
    try:
        while piece := s.recv(4096):
            rest += piece
    except ConnectionError:
        pass
    assert not rest or wire.header_split(rest[:32])[0] == wire.KIND["ERROR"]
    s.close()
    still_serves(house, model)


def test_descriptors_where_none_belong(house, client, model):
    with house.client() as rude:
        body = wire.body(b"")
        fd = os.open("/dev/null", os.O_RDONLY)
        rude.send_raw(wire.header(wire.KIND["LIST"], len(body), 2) + body, [fd, fd, fd])
        os.close(fd)
        assert ended(rude)
    still_serves(house, model)


def test_descriptor_of_no_regular_file(house, client, model):
    for path in ("/dev/zero", house.folder):
        with pytest.raises(Refused) as refused:
            client.open(path)
        assert refused.value.code in ("model", "input", "io"), refused.value
    still_serves(house, model)


def test_stop_in_the_middle_of_a_frame(house, client, model):
    body = infer_body([{"name": b"x", "type": 1, "dims": [2, 4], "size": 32}], X.tobytes(), 1)
    frame = wire.header(wire.KIND["INFER"], len(body), 5) + body
    for cut in (1, 31, 32, 33, len(frame) - 1):
        with house.client() as rude:
            rude.send_raw(frame[:cut])
            still_serves(house, model)          # while it hangs
        still_serves(house, model)              # after it has gone


def test_slow_drip_hinders_nobody(house, client, model):
    body = wire.body(b"")
    frame = wire.header(wire.KIND["STATUS"], len(body), 7) + body
    with house.client() as slow:
        for i in range(len(frame)):
            slow.send_raw(frame[i:i + 1])
            if i % 8 == 0:
                start = time.monotonic()
                client.status()
                assert time.monotonic() - start < 1
        kind, number, _ = slow.recv_frame()
        assert (kind, number) == (wire.KIND["STATUS_REPLY"], 7)


def test_many_in_flight(client, model):
    handle = client.open(model)["handle"]
    expected = {}
    for number in range(100, 132):
        x = np.full((3, 4), number, np.float32)
        rows, tail = [{"name": b"x", "type": 1, "dims": [3, 4], "size": 48}], x.tobytes()
        body = infer_body(rows, tail, handle)
        client.send_raw(wire.header(wire.KIND["INFER"], len(body), number) + body)
        expected[number] = x + B
    for _ in range(len(expected)):
        kind, number, answer = client.recv_frame()
        assert kind == wire.KIND["ANSWER"], wire.decode("Error", wire.split(answer)[0])
        inner = wire.split(wire.split(answer)[1])
        assert inner[1][:48] == expected.pop(number).tobytes()


def test_two_connections_do_not_share_handles(house, client, model):
    handle = client.open(model)["handle"]
    with house.client() as other, pytest.raises(Refused) as refused:
        other.infer({"x": X}, handle=handle)
    assert refused.value.code in ("not-found", "denied")


def test_status_counts(client, model):
    before = client.status()
    handle = client.open(model)["handle"]
    client.infer({"x": X}, handle=handle)
    after = client.status()
    assert after["calls"] == before["calls"] + 1
    assert after["log_size"] > before["log_size"]
    assert any(w["pid"] for w in after["workers"])


def test_another_users_private_broker_answers_nothing(house, client):
    if house.uid == os.getuid():
        pytest.skip("needs two users")
    try:
        with Client(house.socket) as stranger, pytest.raises(Refused) as e:
            stranger.list()
        assert e.value.code == "denied"
    except (OSError, EOFError):
        pass                                    # not even a connection
