# SPDX-License-Identifier: Apache-2.0
"""The real models by content: wherever a file with the right digest lies, that is the model.

Looked for in build/cache (filled by tests/models/fetch.py out of pinned registry packages) and in the
folder of the environment variable FUMEHOOD_SHARED, or ../shared beside the tree.
"""
import hashlib
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
CACHE = os.path.join(ROOT, "build", "cache")
FETCH = os.path.join(ROOT, "tests", "models", "fetch.py")
TINY = os.path.join(ROOT, "tests", "models", "tiny.onnx")

MODELS = {
    "silero_v5": (2327524, "2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f"),
    "silero_v6": (2327524, "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"),
    "silero_op18": (2845718, "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28"),
    "ppocr_det": (4745517, "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
    "ppocr_rec": (10857958, "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
    "ppocr_cls": (585532, "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
    "magika_v3_3": (3163737, "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"),
    "magika_v2_1": (3150188, None),
}
MAGIKA_V2_1_NAME = "magika_standard_v2_1.onnx"     # in no package: known by name, beside SHA256SUMS


def shared():
    return os.environ.get("FUMEHOOD_SHARED") or os.path.join(os.path.dirname(ROOT), "shared")


def _files():
    for base in (CACHE, os.path.join(shared(), "models")):
        for folder, _, names in os.walk(base):
            for name in sorted(names):
                yield os.path.join(folder, name)


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def locate(key):
    """The path of a model, or None."""
    size, digest = MODELS[key]
    for path in _files():
        if os.path.getsize(path) != size:
            continue
        if digest == sha256(path) or (digest is None and os.path.basename(path) == MAGIKA_V2_1_NAME):
            return path
    return None


def magika_config():
    """The configuration of Magika v3_3: its labels. Known by what it says."""
    for path in _files():
        if not path.endswith(".json") or os.path.getsize(path) > 100000:
            continue
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if '"target_labels_space"' in text and '"beg_size":1024' in text.replace(" ", ""):
            return path
    return None


def light(name):
    path = os.path.join(shared(), "onnx", "light", "light_%s.onnx" % name)
    return path if os.path.exists(path) else None


def fetch():
    """Fills the cache. Says in one line what came of it; False without a network."""
    if not os.path.exists(FETCH):
        return False
    done = subprocess.run([sys.executable, FETCH], capture_output=True, text=True)
    return done.returncode == 0
