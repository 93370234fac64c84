# SPDX-License-Identifier: Apache-2.0
"""Signed models: who may bring what into the store, what is loaded from it, and every lie about either."""
import hashlib
import os
import time

import numpy as np
import pytest

import notes
import onnx_make
import receipt
from fumehood_client import Refused

MODEL = onnx_make.add_model()
X = np.ones((2, 4), np.float32)
Y = X + np.array([1, 2, 3, 4], np.float32)
ALLOW = "permit (principal, action, resource);\n"

ROOT, ALICE, BOB, MALLORY = (notes.Key(n) for n in ("root-a", "alice", "bob", "mallory"))
TRUST = notes.sign(notes.trust_text(ROOT, {"alice": ALICE, "bob": BOB}), ROOT)


def note(name="acme/add", version=1, by=(ALICE,), files=None, spoil=False, **options):
    return notes.sign(notes.model_text(name, files or {"add.onnx": MODEL}, version, **options), *by, spoil=spoil)


def admit(house, client, text, data=MODEL):
    return client.admit(text.encode(), [house.write("candidate", data)])


def refused(house, client, text, data=MODEL):
    with pytest.raises(Refused) as e:
        admit(house, client, text, data)
    assert e.value.text and "\n" not in e.value.text
    record = receipt.check(e.value.receipt, client.welcome["log_vkey"])
    assert record["kind"] == 6 and record["code"] == e.value.code and record["action"] == "admit"
    return e.value.code


@pytest.fixture
def client(house):
    house.service(ALLOW, TRUST)
    with house.client() as c:
        yield c


def test_admit_list_infer_inspect(house, client):
    got = admit(house, client, note())
    digest = receipt.sha256(hashlib.sha256(MODEL).digest())
    assert (got["name"], got["version"], got["model_digest"], got["signers"]) == ("acme/add", 1, digest, ["alice"])
    record = receipt.check(got["receipt"], client.welcome["log_vkey"])
    assert record["kind"] == 7 and record["model_digest"] == digest and record["signers"] == ["alice"]
    rows = client.list()
    assert [(r["name"], r["version"], r["model_digest"], r["bytes_total"]) for r in rows] == [("acme/add", 1, digest, len(MODEL))]
    for name in ("acme/add", "acme/add@1", "sha256:" + digest.hex()):
        answer = client.infer({"x": X}, model=name)
        assert np.array_equal(answer.outputs["y"], Y)
        assert not answer.head["unsigned_model"] and answer.head["model"] == "acme/add@1"
        record = receipt.check(answer.receipt, client.welcome["log_vkey"], answer.request, answer.body)
        assert record["model"] == "acme/add@1" and not record["unsigned_model"] and record["model_digest"] == digest
    opened = client.inspect("acme/add")
    assert opened["model_digest"] == digest and opened["info"]["format"] == "onnx" and opened["signers"] == ["alice"]


def test_stays_admitted_after_a_restart(house):
    p = house.service(ALLOW, TRUST)
    with house.client() as c:
        admit(house, c, note())
    p.terminate()
    assert p.wait(timeout=10) == 0
    house.service(ALLOW, TRUST)
    with house.client() as c:
        assert [r["name"] for r in c.list()] == ["acme/add"]
        assert np.array_equal(c.infer({"x": X}, model="acme/add").outputs["y"], Y)


def test_wrong_signature(house, client):
    assert refused(house, client, note(spoil=True)) == "signature"


def test_one_broken_signature_beside_a_good_one(house, client):
    text = notes.model_text("acme/add", {"add.onnx": MODEL})
    assert refused(house, client, text + "\n" + ALICE.line(text) + BOB.line(text, spoil=True)) == "signature"


def test_text_changed_after_signing(house, client):
    assert refused(house, client, note().replace("version 1", "version 7")) == "signature"


def test_unknown_signer(house, client):
    assert refused(house, client, note(by=(MALLORY,))) == "signature"


def test_known_name_with_another_key(house, client):
    assert refused(house, client, note(by=(notes.Key("alice"),))) == "signature"


def test_unsigned_note(house, client):
    assert refused(house, client, notes.model_text("acme/add", {"add.onnx": MODEL})) == "signature"


def test_expired_note(house, client):
    now = int(time.time())
    assert refused(house, client, note(created=now - 100, expires=now - 10)) == "expired"


def test_note_from_the_future(house, client):
    now = int(time.time())
    assert refused(house, client, note(created=now + 5000, expires=now + 9000)) in ("expired", "signature")


def test_byte_changed_before_admission(house, client):
    for at in (0, len(MODEL) // 2, len(MODEL) - 1):
        bad = MODEL[:at] + bytes([MODEL[at] ^ 1]) + MODEL[at + 1:]
        assert refused(house, client, note(), bad) == "digest"
    assert client.list() == []


def test_longer_and_shorter_than_signed(house, client):
    assert refused(house, client, note(), MODEL + b"\0") == "digest"
    assert refused(house, client, note(), MODEL[:-1]) == "digest"
    assert refused(house, client, note(), b"") in ("digest", "model")


def test_root_digest_that_does_not_follow(house, client):
    assert refused(house, client, note(root="0" * 64)) == "digest"


@pytest.mark.parametrize("path", ["../evil.onnx", "/etc/evil.onnx", "a/../b.onnx", "a//b.onnx", "a\x01b", ""])
def test_paths_that_lead_out(house, client, path):
    assert refused(house, client, note(files={path: MODEL})) == "signature"
    assert not os.path.exists(house.path("evil.onnx"))


@pytest.mark.parametrize("line", ["Critical thing", "Expires never"])
def test_unknown_critical_line(house, client, line):
    assert refused(house, client, note(lines=[line])) == "signature"


def test_unknown_other_line_is_fine(house, client):
    admit(house, client, note(lines=["comment made by a test"]))


def test_rollback_and_forgery_of_a_version(house, client):
    admit(house, client, note(version=3))
    assert refused(house, client, note(version=2)) == "signature"
    other = onnx_make.add_model(dims=("m", 4))
    assert refused(house, client, note(version=3, files={"add.onnx": other}), other) == "signature"
    admit(house, client, note(version=4, files={"add.onnx": other}), other)
    assert [r["version"] for r in client.list()][0] == 4


def test_threshold_of_two(house):
    text = notes.trust_text(ROOT, {"alice": ALICE, "bob": BOB}, threshold=2)
    house.service(ALLOW, notes.sign(text, ROOT))
    with house.client() as c:
        assert refused(house, c, note()) == "signature"
        assert refused(house, c, note(by=(ALICE, ALICE))) == "signature"
        admit(house, c, note(by=(ALICE, BOB)))


def test_denied_key_and_denied_model(house):
    deny_key = "deny-key %s since 1 stolen" % hashlib.sha256(ALICE.public).hexdigest()
    deny_model = "deny-model sha256:%s backdoor" % notes.root_digest({"add.onnx": hashlib.sha256(MODEL).digest()})
    for line, code in ((deny_key, "signature"), (deny_model, "denied")):
        text = notes.trust_text(ROOT, {"alice": ALICE, "bob": BOB}, lines=[line])
        p = house.service(ALLOW, notes.sign(text, ROOT), state_dir=house.state + code, socket=house.state + code + ".sock")
        house.socket = house.state + code + ".sock"
        with house.client() as c:
            assert refused(house, c, note()) == code
        p.terminate()
        p.wait(timeout=10)


def test_role_that_does_not_match(house):
    house.service(ALLOW, notes.sign(notes.trust_text(ROOT, {"alice": ALICE}, glob="other/*"), ROOT))
    with house.client() as c:
        assert refused(house, c, note()) == "signature"


def test_no_trust_admits_nothing(house):
    house.service(ALLOW)
    with house.client() as c:
        assert refused(house, c, note()) in ("signature", "config", "not-found")


def test_trust_that_does_not_load_stops_the_start(house):
    now = int(time.time())
    bad = {
        "signature": notes.sign(notes.trust_text(ROOT, {"alice": ALICE}), ROOT, spoil=True),
        "expired": notes.sign(notes.trust_text(ROOT, {"alice": ALICE}, issued=now - 100, expires=now - 10), ROOT),
    }
    for code, text in bad.items():
        p = house.broker("--config", house.config(ALLOW, text), private=False, must=False)
        assert p.ready.split(b":")[0].decode() in (code, "config"), p.ready
        assert p.wait(timeout=10) in (2, 3)


def test_byte_changed_in_the_store(house):
    p = house.service(ALLOW, TRUST)
    with house.client() as c:
        admit(house, c, note())
        c.infer({"x": X}, model="acme/add")
    p.terminate()
    p.wait(timeout=10)
    path = os.path.join(house.state, "store", "files", hashlib.sha256(MODEL).hexdigest())
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(len(MODEL) // 2)
        byte = f.read(1)
        f.seek(len(MODEL) // 2)
        f.write(bytes([byte[0] ^ 4]))
    house.service(ALLOW, TRUST)
    with house.client() as c:
        with pytest.raises(Refused) as e:
            c.infer({"x": X}, model="acme/add")
        assert e.value.code == "digest", e.value
        assert receipt.check(e.value.receipt, c.welcome["log_vkey"])["code"] == "digest"


def test_file_gone_from_the_store(house):
    p = house.service(ALLOW, TRUST)
    with house.client() as c:
        admit(house, c, note())
    p.terminate()
    p.wait(timeout=10)
    os.unlink(os.path.join(house.state, "store", "files", hashlib.sha256(MODEL).hexdigest()))
    house.service(ALLOW, TRUST)
    with house.client() as c, pytest.raises(Refused) as e:
        c.infer({"x": X}, model="acme/add")
    assert e.value.code in ("not-found", "digest"), e.value


def test_expires_while_admitted(house):
    house.service(ALLOW, TRUST)
    with house.client() as c:
        admit(house, c, note(expires=int(time.time()) + 2))
        time.sleep(2.2)
        with pytest.raises(Refused) as e:
            c.infer({"x": X}, model="acme/add")
        assert e.value.code == "expired", e.value
        assert [r["state"] for r in c.list()] == ["expired"]


def test_unsigned_open_is_denied_by_a_policy_that_does_not_allow_run(house):
    house.service('permit (principal, action == Gate::Action::"infer", resource);\n', TRUST)
    with house.client() as c, pytest.raises(Refused) as e:
        c.open(house.write("add.onnx", MODEL))
    assert e.value.code == "denied"
