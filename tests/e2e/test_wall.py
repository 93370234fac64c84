# SPDX-License-Identifier: Apache-2.0
"""The wall, from the outside: what an attacker in the worker's place gets, and what a missing layer does."""
import json
import os

import pytest

import receipt
import wire

ATTEMPTS = ["open", "socket", "exec"]


@pytest.mark.parametrize("name", ATTEMPTS)
def test_attempt_dies(house, name):
    house.broker()
    with house.client() as c:
        got = c.attempt(name)
        assert got.code == "refused-call", got
        assert got.worker_end["end_class"] == "refused-call" and got.worker_end["signal"] == 31
        record = receipt.check(got.receipt, c.welcome["log_vkey"])
        assert record["action"] == "attempt" and record["code"] == "refused-call"
    ends = [r for r in log_records(house) if r["kind"] == 8]
    assert any(r["worker_end"]["end_class"] == "refused-call" for r in ends), ends


def log_records(house):
    return [wire.decode("Entry", e)["record"] for e in receipt.entries(os.path.join(house.state, "log"))]


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


def test_command_attempt(house):
    r = house.cmd("doctor", "--attempt", "open")
    assert r.code == 5, r
    assert "refused-call" in r.out + r.err


def layers_missing_here(house):
    house.broker()
    with house.client() as c:
        return c.welcome["walls"]["missing"]


def test_layers_are_named_everywhere(house):
    missing = layers_missing_here(house)
    with house.client() as c:
        walls = c.welcome["walls"]
        assert walls["standing"] and walls["tier"] == ("strict, degraded" if missing else "strict")
    boot = next(r for r in log_records(house) if r["kind"] == 1)
    assert boot["walls_missing"] == missing


def test_required_layer_that_is_missing_stops_everything(house):
    """Where this kernel lacks a layer: without it in optional_layers nothing starts."""
    missing = layers_missing_here(house)
    if not missing:
        pytest.skip("this kernel has every layer: nothing can be missing here")
    house.close()
    values = {"state_dir": house.state + "2", "socket": house.path("s2.sock"), "optional_layers": []}
    p = house.broker("--config", house.write("strict.json", json.dumps(values)), private=False)
    assert p.ready.startswith(b"wall: ") and p.wait(timeout=10) == 6, p.ready
    assert missing[0].encode() in p.ready
