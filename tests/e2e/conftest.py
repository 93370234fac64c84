# SPDX-License-Identifier: Apache-2.0
"""Every test runs twice: as root and as an ordinary user (once, when the suite itself runs unprivileged).

FUMEHOOD_WHO=root or =user runs one half: tests/check.d runs both at the same time.
"""
import itertools
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import house as house_module  # noqa: E402
import catalog  # noqa: E402

BUILD = os.path.abspath(os.environ.get("FUMEHOOD_BUILD") or os.path.join(house_module.ROOT, "build", "release"))
WHO = os.environ.get("FUMEHOOD_WHO", "root user" if os.getuid() == 0 else "user").split()
VPY = os.path.join(house_module.ROOT, "build", "venv", "bin", "python3")
_number = itertools.count()


@pytest.fixture(scope="session")
def base():
    """The folder of this run: short, because socket paths are; readable, because users look in."""
    folder = tempfile.mkdtemp(prefix="fh-e2e-", dir="/tmp")
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def programs(base):
    for name in house_module.PROGRAMS:
        if not os.path.exists(os.path.join(BUILD, "bin", name)):
            pytest.exit("%s/bin/%s is not built: make all" % (BUILD, name), returncode=1)
    return house_module.stage(BUILD, os.path.join(base, "stage"))


@pytest.fixture(params=WHO)
def who(request):
    return request.param


@pytest.fixture
def house(base, programs, who):
    h = house_module.House(programs, os.path.join(base, "h%d" % next(_number)), who)
    yield h
    h.close()
    shutil.rmtree(h.folder, ignore_errors=True)


def model_or_skip(key):
    path = catalog.locate(key)
    if not path:
        pytest.skip("%s is not in build/cache nor in FUMEHOOD_SHARED (no network?)" % key)
    return path


@pytest.fixture(scope="session")
def judge():
    """ONNX Runtime in a child process: judge(model, inputs) -> outputs. Skips loudly without it."""
    script = os.path.join(house_module.HERE, "judge.py")
    probe = subprocess.run([VPY, "-c", "import onnxruntime"], capture_output=True) if os.path.exists(VPY) else None
    if not probe or probe.returncode:
        pytest.skip("onnxruntime is not in build/venv (make venv; no network?)")

    def ask(model, inputs):
        import numpy as np
        with tempfile.TemporaryDirectory() as d:
            np.savez(d + "/in.npz", **inputs)
            subprocess.run([VPY, script, model, d + "/in.npz", d + "/out.npz"], check=True, env={"PATH": "/usr/bin:/bin"})
            with np.load(d + "/out.npz") as f:
                return {k: f[k] for k in f.files}
    return ask
