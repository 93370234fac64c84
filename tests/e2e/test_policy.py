# SPDX-License-Identifier: Apache-2.0
"""Every call is decided by policy: default deny, permits, forbids, forbids that err, facts of the call."""
import numpy as np
import pytest

import notes
import onnx_make
import receipt
from fumehood_client import Refused

MODEL = onnx_make.add_model()
X = np.ones((2, 4), np.float32)
ROOT, ALICE = notes.Key("root-a"), notes.Key("alice")
TRUST = notes.sign(notes.trust_text(ROOT, {"alice": ALICE}), ROOT)
NOTE = notes.sign(notes.model_text("acme/add", {"add.onnx": MODEL}), ALICE).encode()
SETUP = '@id("setup")\npermit (principal, action in [Gate::Action::"admit", Gate::Action::"list", Gate::Action::"load"], resource);\n'
ASK = '@id("ask")\npermit (principal, action == Gate::Action::"infer", resource);\n'


def ready(house, policy, **options):
    """A service under this policy with the model admitted; a connected client."""
    house.service(SETUP + policy, TRUST, **options)
    c = house.client()
    c.admit(NOTE, [house.write("candidate", MODEL)])
    return c


def decision(c, want, policies=None, **options):
    """One call: "allow", or "deny" with its determining policies."""
    try:
        c.infer({"x": options.pop("x", X)}, model="acme/add", **options)
        got = "allow"
    except Refused as e:
        assert e.code == "denied", e
        got = "deny"
        record = receipt.check(e.receipt, c.welcome["log_vkey"])
        assert record["kind"] == 6 and record["action"] == "infer" and not record["decision"]["allow"]
        if policies is not None:
            assert sorted(e.policies) == sorted(policies), e.policies
    assert got == want


def test_default_deny(house):
    with ready(house, "") as c:
        decision(c, "deny", [])


def test_no_policy_denies_everything(house):
    house.service("")
    with house.client() as c:
        for ask in (c.list, c.status, lambda: c.open(house.write("m.onnx", MODEL)), lambda: c.attempt("open")):
            try:
                got = ask()
            except Refused as e:
                got = e
            if isinstance(got, Refused):
                assert got.code == "denied"
            else:
                assert ask == c.status       # says how the service does, nothing about models


def test_permit_and_forbid(house):
    forbid = '@id("no-ads")\nforbid (principal, action, resource) when { context has purpose && context.purpose == "ads" };\n'
    with ready(house, ASK + forbid) as c:
        decision(c, "allow")
        decision(c, "allow", purpose="research")
        decision(c, "deny", ["no-ads"], purpose="ads")


def test_principal_is_the_uid(house):
    mine = '@id("me")\npermit (principal == Gate::User::"%d", action == Gate::Action::"infer", resource);\n'
    with ready(house, mine % house.uid) as c:
        decision(c, "allow")


def test_other_uid_is_not_me(house):
    with ready(house, '@id("them")\npermit (principal == Gate::User::"4242", action == Gate::Action::"infer", resource);\n') as c:
        decision(c, "deny", [])


def test_resource_by_name(house):
    with ready(house, 'permit (principal, action == Gate::Action::"infer", resource == Gate::Model::"acme/other");\n') as c:
        decision(c, "deny", [])


def test_forbid_that_errs_denies(house):
    # The attribute is nowhere: evaluation fails. A permit that fails is no permit; a forbid that fails denies.
    errs = '@id("errs")\nforbid (principal, action == Gate::Action::"infer", resource) when { resource.nothingOfTheKind > 3 };\n'
    with ready(house, ASK + errs) as c:
        decision(c, "deny")
        with pytest.raises(Refused) as e:
            c.infer({"x": X}, model="acme/add")
        record = receipt.check(e.value.receipt, c.welcome["log_vkey"])
        assert any("errs" in text for text in record["decision"]["errors"]), record["decision"]


def test_permit_that_errs_is_no_permit(house):
    errs = '@id("errs")\npermit (principal, action == Gate::Action::"infer", resource) when { resource.nothingOfTheKind > 3 };\n'
    with ready(house, errs) as c:
        decision(c, "deny")


def test_facts_of_the_call(house):
    small = '@id("small")\nforbid (principal, action == Gate::Action::"infer", resource) when { context.inputBytes > 64 };\n'
    local = '@id("local")\nforbid (principal, action, resource) unless { context.client.ip.isLoopback() };\n'
    with ready(house, ASK + small + local) as c:
        decision(c, "allow", x=np.ones((4, 4), np.float32))
        decision(c, "deny", ["small"], x=np.ones((5, 4), np.float32))


def test_quarantine_by_entities(house):
    model = {"uid": {"type": "Gate::Model", "id": "acme/add"}, "attrs": {"quarantined": True}, "parents": []}
    forbid = '@id("quarantined")\nforbid (principal, action == Gate::Action::"infer", resource) when { resource.quarantined };\n'
    with ready(house, ASK + forbid, entities=[model]) as c:
        decision(c, "deny", ["quarantined"])


def test_group_by_entities(house):
    me = {"uid": {"type": "Gate::User", "id": str(house.uid)}, "attrs": {},
          "parents": [{"type": "Gate::Group", "id": "ml"}]}
    group = {"uid": {"type": "Gate::Group", "id": "ml"}, "attrs": {}, "parents": []}
    allow = 'permit (principal in Gate::Group::"ml", action == Gate::Action::"infer", resource);\n'
    with ready(house, allow, entities=[me, group]) as c:
        decision(c, "allow")


def test_rate_counts(house):
    limit = '@id("rate")\nforbid (principal, action == Gate::Action::"infer", resource) when { context.rate.requestsMinute > 5 };\n'
    with ready(house, ASK + limit) as c:
        got = []
        for _ in range(10):
            try:
                c.infer({"x": X}, model="acme/add")
                got.append(1)
            except Refused as e:
                assert e.policies == ["rate"]
                got.append(0)
        assert 4 <= sum(got) <= 6 and got[0] == 1 and got[-1] == 0, got


@pytest.mark.parametrize("action", ["admit", "load", "infer"])
def test_each_step_needs_its_own_permit(house, action):
    steps = [a for a in ("admit", "load", "infer", "list") if a != action]
    policy = "".join('permit (principal, action == Gate::Action::"%s", resource);\n' % a for a in steps)
    house.service(policy, TRUST)
    with house.client() as c, pytest.raises(Refused) as e:
        c.admit(NOTE, [house.write("candidate", MODEL)])
        c.infer({"x": X}, model="acme/add")
    assert e.value.code == "denied"


BAD_POLICIES = {
    "no end": "permit (principal, action, resource)",
    "not a word": "allow (principal, action, resource);",
    "unknown function": "permit (principal, action, resource) when { frobnicate(1) };",
    "unclosed string": 'permit (principal == Gate::User::"1, action, resource);',
    "template slot": "permit (principal == ?principal, action, resource) when { ?resource };",
}


@pytest.mark.parametrize("what", BAD_POLICIES)
def test_policy_that_does_not_load_stops_the_start(house, what):
    p = house.broker("--config", house.config(BAD_POLICIES[what]), private=False, must=False)
    assert p.ready.startswith(b"config: ") and p.wait(timeout=10) == 2, p.ready
    assert p.ready.count(b"\n") <= 1


BAD_CONFIGS = {
    "no JSON": "{",
    "unknown key": '{"state_dirr": "/tmp/x"}',
    "twice": '{"threads": 1, "threads": 2}',
    "wrong type": '{"threads": "two"}',
    "out of range": '{"clients_max": 0}',
    "not an object": "[1]",
    "unknown layer": '{"optional_layers": ["moat"]}',
    "behind the end": '{"threads": 1} x',
}


@pytest.mark.parametrize("what", BAD_CONFIGS)
def test_bad_configuration_stops_the_start(house, what):
    p = house.broker("--config", house.write("bad.json", BAD_CONFIGS[what]), private=False, must=False)
    assert p.ready.startswith(b"config: ") and p.wait(timeout=10) == 2, p.ready


BAD_ENTITIES = {
    "twice in one object": '[{"uid": {"type": "Gate::Group", "id": "a"}, "uid": {"type": "Gate::Group", "id": "b"}, "attrs": {}, "parents": []}]',
    "twice the same": '[' + ','.join(2 * ['{"uid": {"type": "Gate::Group", "id": "a"}, "attrs": {}, "parents": []}']) + ']',
    "unknown key": '[{"uid": {"type": "Gate::Group", "id": "a"}, "attrs": {}, "parents": [], "more": 1}]',
    "no list": '{}',
    "deep": "[" * 5000,
}


@pytest.mark.parametrize("what", BAD_ENTITIES)
def test_bad_entities_stop_the_start(house, what):
    config = house.config(ASK, entities=[])
    house.write("entities.json", BAD_ENTITIES[what])
    p = house.broker("--config", config, private=False, must=False)
    assert p.ready.startswith(b"config: ") and p.wait(timeout=10) == 2, p.ready
