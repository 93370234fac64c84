# SPDX-License-Identifier: Apache-2.0
"""The policy set for model serving that is given outside this tree, loaded unchanged, on real calls."""
import os

import numpy as np
import pytest

import catalog
import notes
import onnx_make
from fumehood_client import Refused

MODEL = onnx_make.add_model()
ROOT, ALICE, BOB = (notes.Key(n) for n in ("root-a", "alice", "bob"))
TRUST = notes.sign(notes.trust_text(ROOT, {"alice": ALICE, "bob": BOB}), ROOT)
EXAMPLE = os.path.join(catalog.shared(), "cedar", "example")
# The example knows no admission: one more permit, nothing else.
ADMIT = '\n@id("admit-here") permit (principal, action == Gate::Action::"admit", resource);\n'


def uid(kind, name):
    return {"type": "Gate::" + kind, "id": name}


def entity(kind, name, attrs=None, parents=()):
    return {"uid": uid(kind, name), "attrs": attrs or {}, "parents": list(parents)}


def licence(name, commercial=True, restrictions=False):
    return entity("License", name, {
        "spdx": name, "class": {"__entity": uid("LicenseClass", "permissive")}, "osi": True, "commercial": commercial,
        "attribution": True, "useRestrictions": restrictions})


def world(house, **model):
    """Everything of the base request; model: attributes that differ."""
    attrs = {"publisher": {"__entity": uid("Publisher", "acme")}, "quarantined": False, "scanned": True, "findings": 0,
             "dataClass": 2, "maxInputBytes": 65536, "sandboxTier": 1}
    attrs.update(model)
    return [entity("Group", "ml"), entity("Group", "ops"), entity("Collection", "approved"),
            entity("Publisher", "acme", {"keyId": "k", "trust": 3}),
            entity("User", str(house.uid), {"name": "u", "mfa": True, "clearance": 1}, [uid("Group", "ml"), uid("Group", "ops")]),
            licence("Apache-2.0"), licence("LicenseRef-openrail", restrictions=True),
            licence("CC-BY-NC-4.0", commercial=False),
            entity("Model", "acme/add", attrs, [uid("Collection", "approved")])]


def ask(house, spdx="Apache-2.0", signers=(ALICE, BOB), purpose="", x=(2, 4), **model):
    """"allow", or the names of the policies that denied."""
    with open(os.path.join(EXAMPLE, "policies.cedar"), encoding="utf-8") as f:
        policy = f.read() + ADMIT
    house.service(policy, TRUST, world(house, **model), schema=house.copy(os.path.join(EXAMPLE, "gate.cedarschema")))
    text = notes.model_text("acme/add", {"add.onnx": MODEL}, lines=["licence " + spdx])
    with house.client() as c:
        c.admit(notes.sign(text, *signers).encode(), [house.write("candidate", MODEL)])
        try:
            c.infer({"x": np.ones(x, np.float32)}, model="acme/add", purpose=purpose)
            return "allow"
        except Refused as e:
            assert e.code == "denied", e
            return sorted(e.policies)


SCENARIOS = {
    "base": ({}, "allow"),
    "input too large": ({"x": (5000, 4)}, ["limit-input"]),
    "quarantined": ({"quarantined": True}, ["deny-quarantined"]),
    "use restrictions not accepted": ({"spdx": "LicenseRef-openrail"}, ["need-licence-acceptance"]),
    "non-commercial licence, commercial purpose": ({"spdx": "CC-BY-NC-4.0", "purpose": "commercial"}, ["deny-noncommercial-in-prod"]),
    "non-commercial licence, research": ({"spdx": "CC-BY-NC-4.0", "purpose": "research"}, "allow"),
    "needs a higher tier": ({"sandboxTier": 3}, ["sandbox-floor"]),
    "one signature is not enough to load": ({"signers": (ALICE,)}, []),
    "not scanned": ({"scanned": False}, ["deny-unsigned"]),
    "findings": ({"findings": 2}, ["deny-unsigned"]),
}


@pytest.mark.parametrize("what", SCENARIOS)
def test_scenario(house, what):
    if not os.path.isdir(EXAMPLE):
        pytest.skip("no cedar/example in FUMEHOOD_SHARED")
    change, want = SCENARIOS[what]
    assert ask(house, **change) == want
