# SPDX-License-Identifier: Apache-2.0
"""`fumehood run`: one model, no service, no configuration; tensors in files; exit codes."""
import json
import os
import subprocess
import threading

import numpy as np
import pytest

import catalog
import onnx_make
from conftest import model_or_skip
from house import Result, wait_for

X = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)
Y = X + np.array([1, 2, 3, 4], np.float32)


@pytest.fixture
def model(house):
    return house.write("add.onnx", onnx_make.add_model())


def run(house, model, x, **options):
    """One run with x given as "x"; the output y."""
    out = house.path("out")
    house.ok("run", model, "--input", "x=" + house.npy("x.npy", x), "--output-dir", out, **options)
    return np.load(os.path.join(out, "y.npy"))


def test_run_writes_outputs(house, model):
    assert np.array_equal(run(house, model, X), Y)


def test_unsigned_is_said(house, model):
    r = house.ok("run", model, "--input", "x=" + house.npy("x.npy", X))
    assert "unsigned" in r.out + r.err
    r = house.ok("run", "--json", model, "--input", "x=" + house.npy("x.npy", X))
    assert '"unsigned": true' in r.out, r
    assert "unsigned" in json.dumps(house.ok("audit", "list", "--json").json)


def test_summary_without_output_dir(house, model):
    r = house.ok("run", model, "--input", "x=" + house.npy("x.npy", X))
    assert "y" in r.out and "float32" in r.out and "2" in r.out


def test_without_inputs_it_says_what_the_model_takes(house, model):
    r = house.cmd("run", model)
    assert r.code in (0, 3), r
    assert "x" in r.out + r.err and "float32" in r.out + r.err


def test_default_places_of_an_ordinary_user(house, model):
    """No option at all: the log lies in the user's own state directory, and nothing else is made."""
    if house.who == "root":
        pytest.skip("root's default places are the machine's own")
    before = set(os.listdir(house.folder))
    house.state = os.path.join(house.folder, ".local", "state", "fumehood")
    house.ok("run", model, "--input", "x=" + house.npy("x.npy", X), place=False)
    assert set(os.listdir(house.folder)) - before <= {".local", "x.npy"}
    wait_for(lambda: os.path.exists(os.path.join(house.state, "log", "checkpoint")))
    assert os.stat(house.state).st_mode & 0o077 == 0
    house.ok("audit", "verify", place=False)


def test_format_by_content_not_by_name(house):
    data = onnx_make.add_model()
    blob = house.write("sha256-0123456789abcdef", data)
    assert np.array_equal(run(house, blob, X), Y)
    link = house.path("link.gguf")
    os.symlink(blob, link)
    assert np.array_equal(run(house, link, X), Y)
    text = house.write("really.onnx", "just text\n" * 100)
    house.refused("model", 3, "run", text, "--input", "x=" + house.npy("x.npy", X))


def npy_bytes(header, data, version=1):
    head = header.encode()
    size = 2 if version == 1 else 4
    total = 8 + size + len(head) + 1
    head += b" " * (-total % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(head).to_bytes(size, "little") + head + data


def header(descr="<f4", fortran=False, shape="(2, 4)"):
    return "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }" % (descr, fortran, shape)


GOOD_NPY = {
    "v1": npy_bytes(header(), X.tobytes()),
    "v2": npy_bytes(header(), X.tobytes(), 2),
    "fortran": npy_bytes(header(fortran=True), np.asfortranarray(X).tobytes("F")),
    "fortran v2": npy_bytes(header(fortran=True), X.tobytes("F"), 2),
    "double quotes": npy_bytes(header().replace("'", '"'), X.tobytes()),
}


@pytest.mark.parametrize("what", GOOD_NPY)
def test_npy_forms(house, model, what):
    path = house.write("x.npy", GOOD_NPY[what])
    house.ok("run", model, "--input", "x=" + path, "--output-dir", house.path("out"))
    assert np.array_equal(np.load(house.path("out", "y.npy")), Y)


BAD_NPY = {
    "big-endian": npy_bytes(header(">f4"), X.byteswap().tobytes()),
    "double": npy_bytes(header("<f8"), X.astype("f8").tobytes()),
    "object": npy_bytes(header("|O"), X.tobytes()),
    "version 3": npy_bytes(header(), X.tobytes(), 2).replace(b"NUMPY\2", b"NUMPY\3"),
    "too short": npy_bytes(header(), X.tobytes()[:-1]),
    "too long": npy_bytes(header(), X.tobytes() + b"\0"),
    "no npy": b"PK\3\4" + bytes(200),
    "empty": b"",
    "header cut": npy_bytes(header(), X.tobytes())[:20],
    "header lies": b"\x93NUMPY\1\0\xff\xff" + b"x" * 100,
    "huge": npy_bytes(header(shape="(9223372036854775807, 4)"), X.tobytes()),
    "overflow": npy_bytes(header(shape="(4294967296, 4294967296, 4)"), X.tobytes()),
    "negative": npy_bytes(header(shape="(-2, 4)"), X.tobytes()),
    "rank": npy_bytes(header(shape="(8,)"), X.tobytes()),
    "rank 9": npy_bytes(header(shape="(1, 1, 1, 1, 1, 1, 1, 2, 4)"), X.tobytes()),
    "code": npy_bytes("__import__('os').system('true')", X.tobytes()),
}


@pytest.mark.parametrize("what", BAD_NPY)
def test_bad_npy(house, model, what):
    path = house.write("x.npy", BAD_NPY[what])
    r = house.cmd("run", "--json", model, "--input", "x=" + path)
    assert r.code == 3 and r.json["error"]["code"] in ("input", "limit", "unsupported"), r


def test_types_and_ranks_are_never_cast(house, model):
    for x in (X.astype(np.int32), X.astype(np.float16), X.reshape(-1), X[None], X[:, :3]):
        house.refused("input", 3, "run", model, "--input", "x=" + house.npy("x.npy", x))


def test_names(house, model):
    x = house.npy("x.npy", X)
    house.refused("input", 3, "run", model, "--input", "nobody=" + x)
    house.refused("input", 3, "run", model, "--input", "x=" + x, "--input", "nobody=" + x)
    r = house.cmd("run", "--json", model, "--input", "x=" + x, "--input", "x=" + x)
    assert r.code in (2, 3), r
    house.ok("run", model, "--input", "x=" + x, "--input", "b=" + house.npy("b.npy", np.zeros(4, np.float32)))


def test_odd_names(house):
    """Names are bytes: split at the last '=', written as %XX."""
    name_in, name_out = 'a=b "c"', '{"1": "x/y=z"}\n'
    model = house.write("odd.onnx", onnx_make.add_model(name_in, name_out))
    out = house.path("out")
    house.ok("run", model, "--input", name_in + "=" + house.npy("x.npy", X), "--output-dir", out)
    (name,) = os.listdir(out)
    assert name == "%7B%221%22%3A%20%22x%2Fy%3Dz%22%7D%0A.npy"
    assert np.array_equal(np.load(os.path.join(out, name)), Y)


def test_terminal_is_safe_from_names(house):
    model = house.write("esc.onnx", onnx_make.add_model("x", "\x1b]0;owned\x07y"))
    for args in (["run", model, "--input", "x=" + house.npy("x.npy", X)], ["inspect", model]):
        r = house.cmd(*args)
        assert r.code in (0, 1), r              # 1: inspect found something odd
        assert "\x1b" not in r.out + r.err and "\x07" not in r.out + r.err


USAGE = {
    "no command": [],
    "unknown command": ["frobnicate"],
    "no model": ["run"],
    "unknown option": ["run", "MODEL", "--frobnicate"],
    "input without =": ["run", "MODEL", "--input", "x"],
    "threads no number": ["run", "MODEL", "--threads", "two"],
    "threads 0..": ["run", "MODEL", "--threads", "100000"],
    "one too many": ["version", "really"],
}


@pytest.mark.parametrize("what", USAGE)
def test_usage(house, model, what):
    args = [model if a == "MODEL" else a for a in USAGE[what]]
    argv = [os.path.join(house.bin, "fumehood")] + args
    r = Result(argv, subprocess.run(argv, capture_output=True, text=True, env=house.env()))
    assert r.code == 2 and r.err, r


def test_missing_files(house, model):
    house.refused("not-found", 3, "run", house.path("nowhere.onnx"))
    house.refused("not-found", 3, "run", model, "--input", "x=" + house.path("nowhere.npy"))
    r = house.cmd("run", "--json", house.folder)
    assert r.code == 3, r


def test_threads(house, model):
    for n in (1, 2, 3):
        assert np.array_equal(run(house, model, X), Y)
        house.ok("run", model, "--threads", n, "--input", "x=" + house.npy("x.npy", X))


@pytest.mark.parametrize("n", [2, 8])
def test_runs_at_the_same_time(house, model, n):
    """All succeed, share one log, and audit list shows all of them."""
    results = [None] * n
    paths = [house.npy("x%d.npy" % i, X + i) for i in range(n)]

    def one(i):
        results[i] = house.cmd("run", model, "--input", "x=" + paths[i], "--output-dir", house.path("out%d" % i))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, r in enumerate(results):
        assert r.code == 0, r
        assert np.array_equal(np.load(house.path("out%d" % i, "y.npy")), Y + i)
    text = json.dumps(house.ok("audit", "list", "--json").json).lower()
    assert text.count('"completed"') == n, text[:3000]
    house.ok("audit", "verify")


def test_run_uses_the_running_broker(house, model):
    house.broker()
    with house.client() as c:
        before = c.status()["calls"]
        assert np.array_equal(run(house, model, X), Y)
        assert c.status()["calls"] == before + 1


def test_inspect(house, model):
    r = house.ok("inspect", model)
    assert "onnx" in r.out and "x" in r.out and "float32" in r.out
    info = json.dumps(house.ok("inspect", "--json", model).json)
    assert "onnx" in info and "float32" in info


def test_inspect_odd_file(house):
    house.refused("model", 3, "inspect", house.write("bad.onnx", onnx_make.hostile()["truncated"]))


def test_metadata_of_a_real_model(house):
    path = house.copy(model_or_skip("ppocr_rec"))
    text = json.dumps(house.ok("inspect", "--json", path).json, ensure_ascii=False)
    assert "character" in text and "疗" in text       # a character of its list


def test_real_model_by_the_command(house, judge):
    path = model_or_skip("magika_v3_3")
    x = np.random.default_rng(4).integers(0, 257, (1, 2048), np.int32)
    model = house.copy(path)
    house.ok("run", model, "--input", "bytes=" + house.npy("b.npy", x), "--output-dir", house.path("out"))
    for name, want in judge(path, {"bytes": x}).items():
        np.testing.assert_allclose(np.load(house.path("out", name + ".npy")), want, rtol=1e-3, atol=1e-5)


def test_tiny_is_there():
    assert os.path.getsize(catalog.TINY) < 200000


def test_version_and_help(house):
    assert house.ok("version").out.startswith("fumehood ")
    assert "run" in house.cmd("help", place=False).out
    for name in ("run", "inspect", "keygen", "sign", "trust", "verify", "admit", "list", "infer", "serve", "status",
                 "audit", "doctor", "config", "version"):
        r = house.ok(name, "--help")
        assert name in r.out, r


def test_nothing_is_inherited_from_the_environment(house, model):
    """No variable leads the command to other programs, other libraries or a weaker wall."""
    evil = house.path("evil")
    os.makedirs(evil)
    for name in ("fumehood-broker", "fumehood-worker", "fumehood-jailer"):
        house.write("evil/" + name, "#!/bin/sh\ntouch %s/owned\nexit 1\n" % house.folder)
        os.chmod(os.path.join(evil, name), 0o755)
    env = {"PATH": evil + ":/usr/bin:/bin", "FUMEHOOD_LIBEXEC": evil, "OPENBLAS_CORETYPE": "Prescott",
           "OPENBLAS_NUM_THREADS": "64", "MALLOC_PERTURB_": "42"}
    house.ok("run", model, "--input", "x=" + house.npy("x.npy", X), env=env)
    assert not os.path.exists(house.path("owned"))
