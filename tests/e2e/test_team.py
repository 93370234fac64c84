# SPDX-License-Identifier: Apache-2.0
"""A team's way by the command alone: keygen, trust, sign, verify, serve, admit, list, infer, inspect, status."""
import json
import os
import signal
import subprocess

import numpy as np
import pytest

import onnx_make
from conftest import model_or_skip
from house import alive, cpu_ticks, wait_for

X = np.ones((2, 4), np.float32)
Y = X + np.array([1, 2, 3, 4], np.float32)
POLICY = """permit (principal == Gate::User::"%d", action, resource);
@id("no-ads") forbid (principal, action == Gate::Action::"infer", resource) when { context has purpose && context.purpose == "ads" };
"""


@pytest.fixture
def team(house):
    """Keys, trust and a signed note, all made by the command."""
    house.write("add.onnx", onnx_make.add_model())
    house.ok("keygen", "root", "--output", house.path("root.key"))
    house.ok("keygen", "alice", "--output", house.path("alice.key"))
    house.ok("trust", "init", "--root", house.path("root.key"), "--signer", "alice=" + house.path("alice.pub"),
             "--role", "acme/*=1:alice", "--output", house.path("trust.note"))
    house.ok("sign", "--key", house.path("alice.key"), "--name", "acme/add", "--version", 1, "--output",
             house.path("model.note"), house.path("add.onnx"))
    return house


def serve(house):
    with open(house.path("trust.note"), encoding="utf-8") as f:
        return house.serve(house.config(POLICY % house.uid, f.read()))


def test_keys_are_private_and_never_replaced(team):
    assert os.stat(team.path("alice.key")).st_mode & 0o077 == 0
    team.refused("usage", 2, "keygen", "alice", "--output", team.path("alice.key"))
    os.chmod(team.path("alice.key"), 0o644)
    r = team.cmd("sign", "--key", team.path("alice.key"), "--name", "acme/add", "--version", 2, team.path("add.onnx"))
    assert r.code == 2, r


def test_whole_way(team):
    team.ok("verify", team.path("model.note"), "--trust", team.path("trust.note"))
    p = serve(team)
    team.ok("admit", team.path("model.note"), team.path("add.onnx"))
    assert "acme/add" in team.ok("list").out
    rows = json.dumps(team.ok("list", "--json").json)
    assert "acme/add" in rows and "alice" in rows
    team.ok("infer", "acme/add", "--input", "x=" + team.npy("x.npy", X), "--output-dir", team.path("out"))
    assert np.array_equal(np.load(team.path("out", "y.npy")), Y)
    r = team.ok("infer", "acme/add@1", "--json", "--input", "x=" + team.npy("x.npy", X))
    assert '"unsigned": true' not in r.out
    assert "onnx" in team.ok("inspect", "acme/add").out
    status = team.ok("status", "--json").json
    assert "acme/add" in json.dumps(status)
    assert team.ok("status").out
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=10) == 0
    assert not team.processes()
    listed = team.ok("audit", "list").out
    assert "acme/add" in listed
    team.ok("audit", "verify")


def test_denied_is_exit_4_with_its_policy(team):
    serve(team)
    team.ok("admit", team.path("model.note"), team.path("add.onnx"))
    error = team.refused("denied", 4, "infer", "acme/add", "--purpose", "ads", "--input", "x=" + team.npy("x.npy", X))
    assert "no-ads" in json.dumps(error)
    text = json.dumps(team.ok("audit", "list", "--json").json)
    assert "no-ads" in text and "denied" in text


def test_exit_codes_of_refusals(team):
    serve(team)
    x = "x=" + team.npy("x.npy", X)
    team.refused("not-found", 3, "infer", "acme/nothing", "--input", x)
    with open(team.path("model.note"), encoding="utf-8") as f:
        note = f.read()
    bad = team.write("bad.note", note.replace("version 1\n", "version 2\n"))
    team.refused("signature", 3, "admit", bad, team.path("add.onnx"))
    data = bytearray(open(team.path("add.onnx"), "rb").read())
    data[20] ^= 1
    team.refused("digest", 3, "admit", team.path("model.note"), team.write("changed.onnx", bytes(data)))
    team.refused("digest", 3, "verify", team.path("model.note"), team.path("changed.onnx"), "--trust", team.path("trust.note"))
    admit_now(team)
    team.refused("input", 3, "infer", "acme/add", "--input", "x=" + team.npy("y.npy", X[:, :3]))


def admit_now(team):
    return team.ok("admit", team.path("model.note"), team.path("add.onnx"))


def test_expired_by_the_command(team):
    team.ok("sign", "--key", team.path("alice.key"), "--name", "acme/add", "--version", 1, "--created", "2020-01-01",
            "--expires", "2021-01-01", "--output", team.path("old.note"), team.path("add.onnx"))
    team.refused("expired", 3, "verify", team.path("old.note"), "--trust", team.path("trust.note"))
    serve(team)
    team.refused("expired", 3, "admit", team.path("old.note"), team.path("add.onnx"))


def test_unknown_signer_by_the_command(team):
    team.ok("keygen", "mallory", "--output", team.path("mallory.key"))
    team.ok("sign", "--key", team.path("mallory.key"), "--name", "acme/add", "--version", 1, "--output",
            team.path("m.note"), team.path("add.onnx"))
    team.refused("signature", 3, "verify", team.path("m.note"), "--trust", team.path("trust.note"))
    serve(team)
    team.refused("signature", 3, "admit", team.path("m.note"), team.path("add.onnx"))


def test_second_serve_on_the_same_state(team):
    p = serve(team)
    r = team.cmd("serve", "--config", team.path("config.json"), place=False)
    assert r.code == 1 and "busy" in r.err, r
    assert any(str(pid) in r.err for pid in team.processes()), r
    assert alive(p.pid) and team.answers()


def test_config_round_trip(team):
    config = team.config(POLICY % team.uid, threads=3, call_ms=1234)
    first = team.ok("config", "print", "--config", config, place=False).out
    again = team.ok("config", "print", "--config", team.write("again.json", first), place=False).out
    assert first == again
    values = json.loads(first)
    assert values["threads"] == 3 and values["call_ms"] == 1234 and "optional_layers" in values
    r = team.cmd("config", "print", "--json", "--config", team.write("bad.json", '{"nonsense": 1}'), place=False)
    assert r.code == 2, r


def test_no_broker_is_a_clear_error(team):
    for command in (["list"], ["status"], ["infer", "acme/add", "--input", "x=" + team.npy("x.npy", X)]):
        r = team.cmd(*command, "--socket", team.path("nobody.sock"))
        assert r.code in (1, 3) and r.err.count("\n") == 1, r


def test_worker_killed_is_exit_5(team):
    """The worker is killed while it answers the command's call."""
    model = team.copy(model_or_skip("ppocr_det"), "det.onnx")
    team.ok("sign", "--key", team.path("alice.key"), "--name", "acme/det", "--version", 1, "--output",
            team.path("det.note"), model)
    serve(team)
    team.ok("admit", team.path("det.note"), model)
    x = team.npy("x.npy", np.zeros((1, 3, 2560, 2560), np.float32))
    p = team.start(["fumehood", "infer", "--json", "--state-dir", team.state, "acme/det", "--input", "x=" + x],
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with team.client() as c:
        pid = wait_for(lambda: [w["pid"] for w in c.status()["workers"] if w["pid"]])[0]
        wait_for(lambda: cpu_ticks(pid) > 20)
        os.kill(pid, signal.SIGKILL)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 5, (out, err)
    assert json.loads(out)["error"]["code"] in ("worker-crash", "memory")


def test_service_ends_on_sigterm_and_leaves_nothing(team):
    p = serve(team)
    admit_now(team)
    team.ok("infer", "acme/add", "--input", "x=" + team.npy("x.npy", X))
    assert len(team.processes()) >= 3
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=10) == 0
    assert not team.processes()
    assert not team.answers()


def test_a_socket_in_a_folder_of_its_own_goes_away(team):
    """Beside the log its name stays, because no right of the broker reaches that far; elsewhere it is removed."""
    folder = team.path("run")
    os.makedirs(folder)
    team.own(folder)
    team.socket = os.path.join(folder, "broker.sock")
    p = team.service(POLICY % team.uid)
    assert team.answers()
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=10) == 0
    if os.stat(folder).st_uid != 0:                 # as root: only where the folder is the broker's own
        assert not os.path.exists(team.socket)
    team.service(POLICY % team.uid)
    assert team.answers()
