# SPDX-License-Identifier: Apache-2.0
"""Models through the whole stack: real ones against ONNX Runtime, hostile ones against their refusal."""
import subprocess
import sys

import numpy as np
import pytest

import catalog
import onnx_make
import receipt
from conftest import model_or_skip
from fumehood_client import DTYPES, Refused
from house import ROOT

RTOL, ATOL = 1e-3, 1e-5


def normal(*shape, scale=1.0):
    return lambda rng: rng.standard_normal(shape, np.float32) * np.float32(scale)


def voice(rng):
    return {"input": rng.standard_normal((1, 576), np.float32) * np.float32(0.1),
            "state": rng.standard_normal((2, 1, 128), np.float32) * np.float32(0.1), "sr": np.array(16000, np.int64)}


def image(h, w):
    return lambda rng: {"x": rng.uniform(-1, 1, (1, 3, h, w)).astype(np.float32)}


def file_bytes(n):
    return lambda rng: {"bytes": rng.integers(0, 257, (1, n), np.int32)}


REAL = {"silero_v5": voice, "silero_v6": voice, "silero_op18": voice, "ppocr_det": image(160, 224),
        "ppocr_rec": image(48, 160), "ppocr_cls": image(48, 192), "magika_v3_3": file_bytes(2048),
        "magika_v2_1": file_bytes(4096)}


@pytest.mark.parametrize("key", REAL)
def test_real_model_equals_the_judge(house, judge, key):
    path = model_or_skip(key)
    house.broker()
    with house.client() as c:
        for threads, seed in ((1, 11), (2, 12)):
            inputs = REAL[key](np.random.default_rng(seed))
            handle = c.open(path, threads=threads)["handle"]
            ours = c.infer(inputs, handle=handle, threads=threads).outputs
            theirs = judge(path, inputs)
            assert set(ours) == set(theirs)
            for name, want in theirs.items():
                assert ours[name].shape == want.shape and ours[name].dtype == want.dtype
                np.testing.assert_allclose(ours[name], want, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize("key", ["silero_v6", "ppocr_rec", "magika_v3_3"])
def test_same_bits_on_one_and_two_threads(house, key):
    path = model_or_skip(key)
    house.broker()
    with house.client() as c:
        inputs = REAL[key](np.random.default_rng(5))
        bodies = [c.infer(inputs, handle=c.open(path, threads=n)["handle"], threads=n).body for n in (1, 2, 1)]
        assert bodies[0] == bodies[1] == bodies[2]


def test_tiny_model(house, judge):
    """The model that the project ships for machines without a network."""
    house.broker()
    with house.client() as c:
        opened = c.open(catalog.TINY)
        rng = np.random.default_rng(3)
        inputs = {p["name"].decode(): rng.standard_normal([d if d > 0 else 2 for d in p["dims"]], np.float32)
                  for p in opened["info"]["inputs"] if not p["optional"]}
        ours = c.infer(inputs, handle=opened["handle"]).outputs
        for name, want in judge(catalog.TINY, inputs).items():
            np.testing.assert_allclose(ours[name], want, rtol=RTOL, atol=ATOL)


def test_shapes_change_between_calls(house):
    path = house.write("add.onnx", onnx_make.add_model())
    house.broker()
    with house.client() as c:
        handle = c.open(path)["handle"]
        for n in (1, 1000, 3, 0, 7, 1000):
            x = np.random.default_rng(n).standard_normal((n, 4), np.float32)
            y = c.infer({"x": x}, handle=handle).outputs["y"]
            assert y.shape == x.shape and np.array_equal(y, x + np.array([1, 2, 3, 4], np.float32))


def test_large_request_and_answer(house):
    path = house.write("add.onnx", onnx_make.add_model())
    house.broker()
    with house.client() as c:
        x = np.random.default_rng(1).standard_normal((2_000_000, 4), np.float32)     # 32 MB
        y = c.infer({"x": x}, handle=c.open(path)["handle"]).outputs["y"]
        assert np.array_equal(y, x + np.array([1, 2, 3, 4], np.float32))


HOSTILE = onnx_make.hostile()


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_file(house, what):
    path = house.write("bad.onnx", HOSTILE[what])
    house.broker()
    with house.client() as c:
        with pytest.raises(Refused) as e:
            handle = c.open(path)["handle"]
            # What depends on a dynamic shape can only be seen when there is one.
            c.infer({"x": np.ones((2, 4), np.float32)}, handle=handle)
        assert e.value.code in ("model", "unsupported", "limit", "input"), e.value
        assert "\n" not in e.value.text
        record = receipt.check(e.value.receipt, c.welcome["log_vkey"])
        assert record["kind"] == 6 and record["code"] == e.value.code
        # The next file gets a fresh worker.
        c.open(house.write("good.onnx", onnx_make.add_model()))


@pytest.mark.parametrize("key", ["silero_v6", "magika_v3_3", "ppocr_cls"])
def test_cut_off_real_model(house, key):
    with open(model_or_skip(key), "rb") as f:
        data = f.read()
    house.broker()
    with house.client() as c:
        for n in (len(data) - 1, len(data) * 2 // 3, 1000, 100):
            with pytest.raises(Refused) as e:
                c.open(house.write("cut.onnx", data[:n]))
            assert e.value.code in ("model", "unsupported", "limit"), (n, e.value)


def test_flipped_bytes_never_hurt(house):
    """A byte changed anywhere: refused, or answered, or the worker ended; the service stays."""
    with open(model_or_skip("ppocr_cls"), "rb") as f:
        data = bytearray(f.read())
    house.broker()
    rng = np.random.default_rng(9)
    ends = {}
    with house.client() as c:
        for at in rng.integers(0, len(data), 25):
            bad = bytearray(data)
            bad[at] ^= int(rng.integers(1, 256))
            try:
                handle = c.open(house.write("flip.onnx", bytes(bad)))["handle"]
                c.infer({"x": np.zeros((1, 3, 48, 192), np.float32)}, handle=handle)
                ends["answer"] = ends.get("answer", 0) + 1
            except Refused as e:
                ends[e.code] = ends.get(e.code, 0) + 1
                assert e.code in ("model", "unsupported", "limit", "input"), e
    assert sum(ends.values()) == 25


def numbers_in(text):
    return [word for word in text.replace(",", " ").replace(":", " ").split() if word.isdigit()]


def test_memory_limit_is_a_refusal_with_both_numbers(house):
    path = model_or_skip("ppocr_det")
    x = {"x": np.zeros((1, 3, 640, 640), np.float32)}
    house.broker()
    with house.client() as c:
        with pytest.raises(Refused) as e:           # too little to load it
            c.open(path, memory_bytes=4 << 20)
        assert e.value.code == "limit" and len(numbers_in(e.value.text)) >= 2, e.value
        with pytest.raises(Refused) as e:           # too little for the request
            c.infer(x, handle=c.open(path, memory_bytes=8 << 20)["handle"])
        assert e.value.code == "limit" and len(numbers_in(e.value.text)) >= 2, e.value
        with pytest.raises(Refused) as e:           # too little for what the request needs on the way
            c.infer(x, handle=c.open(path, memory_bytes=32 << 20)["handle"])
        assert e.value.code == "limit" and len(numbers_in(e.value.words["error"])) >= 2, e.value.words
        c.infer(x, handle=c.open(path, memory_bytes=256 << 20)["handle"])


@pytest.fixture(scope="session")
def corpus(base):
    """(name, bytes, code of opening, code of a call, fill) of every small file that the engine's own tests use."""
    folder = base + "/corpus"
    subprocess.run([sys.executable, "-B", ROOT + "/tests/models/make_onnx.py", folder], check=True, capture_output=True)
    rows = []
    with open(folder + "/manifest.txt", encoding="ascii") as f:
        for line in f:
            name, opened, run, fill = line.split()
            with open("%s/%s.onnx" % (folder, name), "rb") as m:
                rows.append((name, m.read(), opened, run, int(fill)))
    return rows


def filled(port, fill):
    shape = [d if d >= 0 else 1 for d in port["dims"]]
    dtype = np.dtype(DTYPES[port["type"]])
    return np.full(shape, 0.5 if dtype.kind == "f" else fill, dtype)


def outcome(c, path, run, fill):
    """(code of opening, code of a call), as the manifest has them."""
    try:
        opened = c.open(path)
    except Refused as e:
        return e.code, "-"
    if run == "-":
        return "ok", "-"
    try:
        inputs = {p["name"]: filled(p, fill) for p in opened["info"]["inputs"] if not p["optional"]}
        c.infer(inputs, handle=opened["handle"])
        return "ok", "ok"
    except Refused as e:
        return "ok", e.code


def test_corpus_through_the_whole_stack(house, corpus):
    """What the engine says alone is what a client hears through worker and broker, file by file."""
    wrong = []
    house.broker()
    with house.client():
        for name, data, opened, run, fill in corpus:
            with house.client() as c:               # a connection holds only so many models
                got = outcome(c, house.write("corpus.onnx", data), run, fill)
            for want, have in zip((opened, run), got):
                if want != "any" and have != want and not (want == "-" or have == "-"):
                    wrong.append((name, (opened, run), got))
    assert not wrong, wrong
    assert len(corpus) > 100
