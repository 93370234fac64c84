# SPDX-License-Identifier: Apache-2.0
"""Where programs are found, and what happens when they change or go away under a running house."""
import os
import shutil

import numpy as np
import pytest

import onnx_make
from house import PROGRAMS

X = np.ones((2, 4), np.float32)


@pytest.fixture
def own(house):
    """This house with a copy of the programs of its own."""
    folder = house.path("programs")
    shutil.copytree(house.bin, folder)
    os.chmod(folder, 0o755)
    house.bin = folder
    house.model = house.write("add.onnx", onnx_make.add_model())
    house.x = "x=" + house.npy("x.npy", X)
    return house


def test_by_a_link_from_elsewhere(own):
    elsewhere = own.path("elsewhere")
    os.makedirs(elsewhere)
    os.symlink(os.path.join(own.bin, "fumehood"), os.path.join(elsewhere, "fumehood"))
    own.bin = elsewhere
    own.ok("run", own.model, "--input", own.x)


@pytest.mark.parametrize("name", [p for p in PROGRAMS if p not in ("fumehood", "fumehood-attack")])
def test_a_program_that_is_missing_is_named(own, name):
    os.unlink(os.path.join(own.bin, name))
    r = own.cmd("run", "--json", own.model, "--input", own.x)
    assert r.code != 0 and name in r.json["error"]["text"], r


def test_a_worker_that_is_no_worker(own):
    """A foreign program under the worker's name says nothing of what the broker waits for: refused, no model read."""
    target = os.path.join(own.bin, "fumehood-worker")
    os.unlink(target)
    shutil.copy("/bin/true", target)
    r = own.cmd("run", "--json", own.model, "--input", own.x)
    assert r.code in (5, 6), r
    assert r.json["error"]["text"], r


def test_programs_replaced_under_a_running_service(own):
    """What was started is what runs: an upgrade on disk changes nothing until the next start."""
    own.broker()
    with own.client() as c:
        c.infer({"x": X}, handle=c.open(own.model)["handle"])
        for name in PROGRAMS:
            os.unlink(os.path.join(own.bin, name))
            shutil.copy("/bin/false", os.path.join(own.bin, name))
        c.infer({"x": X}, handle=c.open(own.model)["handle"])
        assert c.attempt("open").code == "refused-call"
