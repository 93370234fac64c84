#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the engine with ONNX Runtime (PyPI onnxruntime, pinned in requirements.txt), rtol 1e-3, atol 1e-5.

usage: onnx_judge.py RUNNER [--only models|ops] [--seed N] [--level L] [--threads N] [--perturb] [NAME...]

  models  the real models and the light nets with random weights: two random inputs each at least, Silero
          with its state carried on; each call once with --threads and once with one thread: the same bytes
  ops     one node each, every operator in several forms, on random numbers

ONNX Runtime runs in a child process: it may abort. A model that is not there is skipped, loudly.
--perturb makes one kernel of the engine wrong: then this program must fail (its caller checks that).
Exit 0: nothing differs.
"""
import argparse
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(os.path.dirname(HERE), "models")
sys.path[:0] = [MODELS, os.path.join(MODELS, "demo")]
import catalog  # noqa: E402
import light  # noqa: E402
from onnx_pb import graph, model, node, tensor, value  # noqa: E402

F, I = "float32", "int64"
RTOL, ATOL = 1e-3, 1e-5


# --- ONNX Runtime, in a child ------------------------------------------------------------------------------------

def peer(conn):
    """Answers (path, inputs) with ("ok", {name: array}) or ("error", text), until None comes."""
    import onnxruntime
    onnxruntime.set_default_logger_severity(4)
    sessions = {}
    while True:
        job = conn.recv()
        if job is None:
            return
        path, inputs = job
        try:
            if path not in sessions:
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = 1
                sessions = {path: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])}
            s = sessions[path]
            conn.send(("ok", dict(zip([o.name for o in s.get_outputs()], s.run(None, inputs)))))
        except Exception as e:  # the peer's own exceptions have no common root
            conn.send(("error", str(e)))


class Peer:
    def __init__(self):
        self.context = multiprocessing.get_context("spawn")
        self.child = None

    def run(self, path, inputs):
        if self.child is None or not self.child.is_alive():
            self.conn, theirs = self.context.Pipe()
            self.child = self.context.Process(target=peer, args=(theirs,), daemon=True)
            self.child.start()
            theirs.close()
        try:
            self.conn.send((path, inputs))
            return self.conn.recv()
        except (EOFError, BrokenPipeError):
            self.child = None
            return "error", "onnxruntime ended with this model"

    def close(self):
        if self.child is not None and self.child.is_alive():
            self.conn.send(None)
            self.child.join()


# --- the engine ------------------------------------------------------------------------------------------------------

class Ours:
    def __init__(self, runner, folder, extra):
        self.runner, self.folder, self.extra = runner, folder, extra

    @staticmethod
    def escaped(name):
        return re.sub(rb"[^A-Za-z0-9._-]", lambda m: b"%%%02X" % m.group()[0], name.encode()).decode()

    def run(self, path, inputs, *extra):
        """("ok", {name: array}) or ("error", text)."""
        out = tempfile.mkdtemp(dir=self.folder)
        command = [self.runner, path, "--output-dir", out, *self.extra, *extra]
        for k, (name, array) in enumerate(inputs.items()):
            file = os.path.join(out, "in%d" % k)
            with open(file, "wb") as f:
                np.lib.format.write_array(f, array if array.ndim == 0 else np.ascontiguousarray(array), version=(1, 0))
            command += ["--input", "%s=%s" % (name, file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode:
            return "error", (done.stdout + done.stderr).strip()
        return "ok", {f[:-4]: np.load(os.path.join(out, f)) for f in os.listdir(out) if f.endswith(".npy")}


def differs(ours, theirs):
    """None, or what is different."""
    for name, want in theirs.items():
        got = ours.get(Ours.escaped(name))
        if got is None:
            return "output %s is missing" % name
        if got.shape != want.shape or got.dtype != want.dtype:
            return "%s: %s %s instead of %s %s" % (name, got.dtype, got.shape, want.dtype, want.shape)
        if want.dtype.kind == "f":
            if not np.allclose(got, want, rtol=RTOL, atol=ATOL, equal_nan=True):
                return "%s: largest difference %g" % (name, np.nanmax(np.abs(got.astype(float) - want.astype(float))))
        elif not np.array_equal(got, want):
            return "%s: %d of %d numbers differ" % (name, int((got != want).sum()), want.size)
    return None


class Judge:
    def __init__(self, args, folder):
        self.args, self.folder = args, folder
        self.peer = Peer()
        self.ours = Ours(args.runner, folder, ["--level", args.level] * bool(args.level) + ["--perturb"] * args.perturb)
        self.rng = np.random.default_rng(args.seed)
        self.passed, self.failed, self.skipped = 0, [], []

    def call(self, what, path, inputs):
        """One call on both; our outputs, or None."""
        kind, theirs = self.peer.run(path, inputs)
        if kind != "ok":
            self.skipped.append(what)
            print("SKIP %s: onnxruntime does not run it: %s" % (what, theirs[:120].replace("\n", " ")))
            return None
        kind, ours = self.ours.run(path, inputs, "--threads", str(self.args.threads))
        why = ours if kind != "ok" else differs(ours, theirs)
        if not why and self.args.threads > 1:
            kind, alone = self.ours.run(path, inputs, "--threads", "1", "--shift", "67", "--repeat", "2")
            if kind != "ok" or any(alone[k].tobytes() != ours[k].tobytes() for k in ours):
                why = "one thread, moved buffers or a second call give other bytes"
        if why:
            self.failed.append(what)
            print("FAIL %s: %s" % (what, why[:300]))
        else:
            self.passed += 1
        return None if kind != "ok" else theirs


# --- models ----------------------------------------------------------------------------------------------------------

def silero(judge, key, path):
    for rate, n in ((16000, 576), (8000, 288)):
        for run in range(2):
            state = np.zeros((2, 1, 128), np.float32)
            for step in range(4):
                x = judge.rng.standard_normal((1, n), np.float32) * np.float32(0.05 + 0.1 * run)
                out = judge.call("%s %d Hz run %d step %d" % (key, rate, run, step), path,
                                 {"input": x, "state": state, "sr": np.array(rate, np.int64)})
                if out is None:
                    return
                state = out["stateN"]


def images(*shapes):
    def run(judge, key, path):
        for shape in shapes:
            for k in range(2):
                judge.call("%s %s %d" % (key, "x".join(map(str, shape)), k), path,
                           {"x": judge.rng.standard_normal(shape, np.float32)})
    return run


def magika(n):
    def run(judge, key, path):
        for batch in (1, 1, 3):
            judge.call("%s batch %d" % (key, batch), path, {"bytes": judge.rng.integers(0, 257, (batch, n), np.int32)})
        judge.call("%s padding" % key, path, {"bytes": np.full((1, n), 256, np.int32)})
    return run


def tiny(judge, key, path):
    for batch in (1, 5):
        judge.call("%s batch %d" % (key, batch), path, {"picture": judge.rng.random((batch, 1, 16, 16), np.float32)})


REAL = {"silero_v5": silero, "silero_v6": silero, "silero_op18": silero,
        "ppocr_det": images((1, 3, 320, 320), (1, 3, 480, 640)),
        "ppocr_rec": images((1, 3, 48, 320), (1, 3, 48, 160), (2, 3, 48, 320)),
        "ppocr_cls": images((1, 3, 48, 192), (3, 3, 48, 192)), "magika_v3_3": magika(2048), "magika_v2_1": magika(4096)}
LIGHT = ["bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19", "zfnet512"]


def models(judge, only):
    for key, run in REAL.items():
        path = catalog.locate(key)
        if only and key not in only:
            continue
        if not path:
            judge.skipped.append(key)
            print("SKIP %s: not in build/cache and not in FUMEHOOD_SHARED" % key)
            continue
        run(judge, key, path)
    if not only or "tiny" in only:
        tiny(judge, "tiny", catalog.TINY)
    for name in LIGHT:
        source = catalog.light(name)
        if only and name not in only:
            continue
        if not source:
            judge.skipped.append(name)
            print("SKIP light net %s: FUMEHOOD_SHARED has none" % name)
            continue
        path = os.path.join(judge.folder, name + ".onnx")
        light.write(source, path)
        for k in range(2):
            judge.call("light %s %d" % (name, k), path,
                       {light.input_name(source): judge.rng.standard_normal((1, 3, 224, 224), np.float32)})
        os.unlink(path)


# --- one node each -----------------------------------------------------------------------------------------------------

class Ops:
    """Cases as (what, model bytes, inputs)."""

    def __init__(self, rng):
        self.rng, self.cases = rng, []

    def f(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def add(self, op, inputs, outs=1, out_dtype=F, opset=13, inits=None, what="", **attrs):
        """inputs: {name: array}; None as an array leaves the input out. inits are constants of the file."""
        inits = inits or {}
        names = [n if (inputs.get(n) is not None or n in inits) else "" for n in list(inputs) + list(inits)]
        given = {n: a for n, a in inputs.items() if a is not None}
        dtypes = out_dtype if isinstance(out_dtype, list) else [out_dtype] * outs
        g = graph([node(op, names, ["y%d" % k for k in range(outs)], **attrs)],
                  [value(n, str(a.dtype), a.shape) for n, a in given.items()],
                  [value("y%d" % k, d, None) for k, d in enumerate(dtypes)],
                  [tensor(n, a) for n, a in inits.items()])
        label = "%s opset %d %s %s" % (op, opset, " ".join(str(a.shape) for a in given.values()), what or attrs)
        self.cases.append((label, model(g, opset), given))


def i64(*v):
    return np.array(v, np.int64)


def elementwise(o):
    for op in ("Exp", "Neg", "Abs", "Erf", "Tanh", "Sigmoid", "Relu", "Floor", "Ceil", "Reciprocal", "Round"):
        o.add(op, {"x": o.f(3, 37) * 3})
    o.add("Exp", {"x": np.linspace(-110, 90, 501).astype(np.float32)})
    o.add("Erf", {"x": np.linspace(-6, 6, 501).astype(np.float32)})
    o.add("Tanh", {"x": np.linspace(-20, 20, 501).astype(np.float32)})
    for op in ("Log", "Sqrt"):
        o.add(op, {"x": np.abs(o.f(40)) + 1e-3})
    for op in ("Neg", "Abs"):
        o.add(op, {"x": o.rng.integers(-9, 9, (7,))}, out_dtype=I)
        o.add(op, {"x": o.rng.integers(-9, 9, (7,)).astype(np.int32)}, out_dtype="int32")
    o.add("LeakyRelu", {"x": o.f(33)}, alpha=0.2)
    o.add("HardSigmoid", {"x": o.f(33) * 4}, alpha=1 / 6, beta=0.5)
    o.add("HardSigmoid", {"x": o.f(33) * 4})
    o.add("HardSwish", {"x": o.f(33) * 4}, opset=14)
    o.add("Gelu", {"x": o.f(33) * 2}, opset=20)
    o.add("Gelu", {"x": o.f(33) * 2}, opset=20, approximate="tanh")
    o.add("Clip", {"x": o.f(33)}, opset=10, min=-0.5, max=0.5)
    o.add("Clip", {"x": o.f(33)}, inits={"lo": np.float32(-0.2), "hi": np.float32(0.7)})
    o.add("Clip", {"x": o.f(33)}, inits={"lo": np.float32(0)})
    o.add("Clip", {"x": o.rng.integers(-9, 9, (20,))}, out_dtype=I, inits={"lo": np.int64(-2), "hi": np.int64(3)})
    o.add("Not", {"x": o.rng.random(9) > 0.5}, out_dtype="bool")
    for op in ("Add", "Sub", "Mul", "Div"):
        for a, b in (((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((2, 3, 4), (3, 1)), ((), (5,)), ((2, 3, 4, 5), (3, 1, 1))):
            o.add(op, {"a": o.f(*a), "b": o.f(*b) + 3})
            o.add(op, {"a": o.f(*a)}, inits={"b": o.f(*b) + 3})
        o.add(op, {"a": o.rng.integers(-50, 50, (4, 5)), "b": o.rng.integers(1, 9, (5,))}, out_dtype=I)
        o.add(op, {"a": o.rng.integers(-50, 50, (6,)).astype(np.int32), "b": o.rng.integers(1, 9, (6,)).astype(np.int32)}, out_dtype="int32")
    for e in (2.0, 0.5, 3.0, -1.0, 1.7):
        o.add("Pow", {"x": np.abs(o.f(25)) + 0.1}, inits={"e": np.float32(e)})
    o.add("Pow", {"x": o.f(9), "e": np.round(o.f(9) * 2)})
    o.add("Pow", {"x": o.f(9)}, inits={"e": np.int64(2)})
    o.add("Pow", {"x": o.rng.integers(-4, 5, (9,))}, out_dtype=I, inits={"e": np.int64(3)})
    o.add("Mod", {"a": o.rng.integers(-20, 20, (30,)), "b": o.rng.integers(1, 7, (30,))}, out_dtype=I)
    for op in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        o.add(op, {"a": np.round(o.f(4, 5)), "b": np.round(o.f(5))}, out_dtype="bool")
        o.add(op, {"a": o.rng.integers(0, 3, (4, 5)), "b": o.rng.integers(0, 3, (4, 1))}, out_dtype="bool")
    for op in ("And", "Or", "Xor"):
        o.add(op, {"a": o.rng.random((4, 5)) > 0.5, "b": o.rng.random(5) > 0.5}, out_dtype="bool")
    for op in ("Max", "Min", "Sum", "Mean"):
        o.add(op, {"a": o.f(3, 4), "b": o.f(4)})
        o.add(op, {"a": o.f(4), "b": o.f(3, 4), "c": o.f(3, 1)})
        o.add(op, {"a": o.f(4)})
    o.add("Where", {"c": o.rng.random((3, 1)) > 0.5, "a": o.f(3, 4), "b": o.f(4)})
    o.add("Where", {"c": o.rng.random(4) > 0.5, "a": o.rng.integers(0, 9, (3, 4)), "b": o.rng.integers(0, 9, ())}, out_dtype=I)


def shapes(o):
    x = o.f(2, 3, 4)
    o.add("Shape", {"x": x}, out_dtype=I)
    o.add("Shape", {"x": x}, out_dtype=I, opset=15, start=1, end=-1)
    o.add("Size", {"x": x}, out_dtype=I)
    for s in ((6, 4), (-1,), (0, -1), (2, 3, 2, 2), (0, 0, 0)):
        o.add("Reshape", {"x": x}, inits={"s": i64(*s)}, what=s)
    o.add("Reshape", {"x": np.zeros((0, 3), np.float32)}, inits={"s": i64(3, 0)}, opset=14, allowzero=1)
    o.add("Flatten", {"x": x}, axis=2)
    o.add("Flatten", {"x": x}, axis=0)
    o.add("Flatten", {"x": x}, axis=-1)
    o.add("Identity", {"x": x})
    o.add("Dropout", {"x": x})
    o.add("Squeeze", {"x": o.f(1, 3, 1, 2)}, opset=11, axes=[0, -2])
    o.add("Squeeze", {"x": o.f(1, 3, 1, 2)}, inits={"a": i64(2)})
    o.add("Squeeze", {"x": o.f(1, 3, 1, 2)})
    o.add("Unsqueeze", {"x": x}, opset=11, axes=[0, 4])
    o.add("Unsqueeze", {"x": x}, inits={"a": i64(-1, 1)})
    o.add("Expand", {"x": o.f(3, 1)}, inits={"s": i64(2, 1, 4)})
    o.add("Tile", {"x": o.f(2, 3)}, inits={"s": i64(2, 3)})
    o.add("ConstantOfShape", {}, inits={"s": i64(2, 3)}, value=np.array([2.5], np.float32))
    o.add("ConstantOfShape", {}, inits={"s": i64(2, 3)})
    o.add("Range", {}, out_dtype=I, inits={"a": np.int64(10), "b": np.int64(-3), "c": np.int64(-4)})
    for to, name in ((1, F), (7, I), (6, "int32"), (9, "bool"), (10, "float16"), (2, "uint8")):
        for src in (o.f(20) * 3 + 4, o.rng.integers(0, 9, (20,)), o.rng.integers(0, 9, (20,)).astype(np.int32), o.rng.random(20) > 0.5,
                    (o.f(20) * 100).astype(np.float16), o.rng.integers(0, 200, (20,)).astype(np.uint8)):
            if name != "uint8" or src.dtype.kind != "f":
                o.add("Cast", {"x": src}, out_dtype=name, to=to, what="%s to %s" % (src.dtype, name))
    o.add("Cast", {"x": np.array([65504, 65520, 1e-8, 6e-8, 5.96e-8, -0.0, 1e30, np.inf, -np.inf], np.float32)}, out_dtype="float16", to=10)


def moves(o):
    x = o.f(2, 3, 4, 5)
    for perm in ([0, 2, 3, 1], [3, 2, 1, 0], [0, 1, 3, 2], [1, 0, 2, 3], [0, 3, 1, 2]):
        o.add("Transpose", {"x": x}, perm=perm)
    o.add("Transpose", {"x": o.rng.integers(0, 9, (3, 4))}, out_dtype=I)
    o.add("Transpose", {"x": o.f(2, 3, 2, 2, 3)}, perm=[0, 2, 1, 3, 4])
    for axis in (0, 1, -1):
        o.add("Concat", {"a": o.f(2, 3, 4), "b": o.f(2, 3, 4), "c": o.f(2, 3, 4)}, axis=axis)
    o.add("Concat", {"a": o.f(2, 3), "b": o.f(2, 0), "c": o.f(2, 5)}, axis=1)
    o.add("Slice", {"x": x}, opset=9, starts=[1, 0], ends=[2, 3], axes=[2, 3])
    for a, b, c, d in (((1,), (3,), (2,), (1,)), ((-1,), (-(1 << 63),), (3,), (-1,)), ((0, 1), (5, 99), (3, 1), (2, 1)), ((3,), (0,), (3,), (-2,)),
                       ((4,), (2,), (3,), (1,))):
        o.add("Slice", {"x": x}, inits={"a": i64(*a), "b": i64(*b), "c": i64(*c), "d": i64(*d)}, what=(a, b, c, d))
    o.add("Split", {"x": o.f(2, 6)}, outs=2, opset=11, axis=1)
    o.add("Split", {"x": o.f(2, 6)}, outs=2, opset=11, axis=1, split=[2, 4])
    o.add("Split", {"x": o.f(2, 6)}, outs=3, inits={"p": i64(1, 2, 3)}, axis=1)
    o.add("Split", {"x": o.f(2, 7)}, outs=3, opset=18, axis=1, num_outputs=3)
    for axis in (0, 1, -1):
        o.add("Gather", {"x": o.f(3, 4, 5), "i": o.rng.integers(-3, 3, (2, 2))}, axis=axis)
    o.add("Gather", {"x": o.f(3, 4), "i": np.array(1, np.int32)})
    for mode in ("constant", "reflect", "edge"):
        o.add("Pad", {"x": o.f(3, 4)}, inits={"p": i64(1, 2, 0, 3)}, mode=mode)
    o.add("Pad", {"x": o.f(3, 4)}, inits={"p": i64(0, -1, 1, 2), "v": np.float32(7)})
    o.add("Pad", {"x": o.f(3, 4)}, opset=10, pads=[1, 0, 0, 2], mode="constant", value=1.5)
    o.add("Pad", {"x": o.f(2, 3, 4)}, opset=18, inits={"p": i64(1, 2), "v": np.float32(0), "a": i64(-1)})
    o.add("OneHot", {"i": o.rng.integers(-4, 6, (3, 2))}, inits={"d": i64(4), "v": np.array([0.5, 2], np.float32)})
    o.add("OneHot", {"i": o.rng.integers(-4, 6, (3, 2))}, inits={"d": i64(4), "v": np.array([0, 1], np.float32)}, axis=1)
    for mode in ("DCR", "CRD"):
        o.add("DepthToSpace", {"x": o.f(2, 8, 3, 2)}, blocksize=2, mode=mode)
    o.add("SpaceToDepth", {"x": o.f(2, 3, 4, 6)}, blocksize=2)


def reductions(o):
    for op in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2"):
        for axes in ([1], [-1], [0, 2], [0, 1, 2], [1, 2]):
            for keep in (0, 1):
                o.add(op, {"x": o.f(3, 4, 5)}, opset=12, axes=axes, keepdims=keep)
        o.add(op, {"x": o.f(3, 40, 5)}, opset=18, inits={"a": i64(1)}, keepdims=0)
        o.add(op, {"x": o.f(3, 4)}, opset=18)
        o.add(op, {"x": o.f(3, 4)}, opset=18, noop_with_empty_axes=1) if op in ("ReduceSum", "ReduceMean", "ReduceMax") else None
    o.add("ReduceSum", {"x": o.f(3, 4)}, inits={"a": i64(1)}, keepdims=0, noop_with_empty_axes=1)
    o.add("ReduceProd", {"x": i64(2, 3, 4)}, out_dtype=I, axes=[0], keepdims=0)
    o.add("ReduceSum", {"x": o.rng.integers(-5, 5, (3, 4))}, out_dtype=I, inits={"a": i64(0)})
    for op in ("ArgMax", "ArgMin"):
        o.add(op, {"x": o.f(3, 4, 5)}, out_dtype=I, axis=1, keepdims=0)
        o.add(op, {"x": np.round(o.f(3, 40))}, out_dtype=I, axis=-1, select_last_index=1)
    for axis in (0, 1, 2, -1):
        o.add("Softmax", {"x": o.f(3, 4, 5) * 4}, axis=axis)
        o.add("Softmax", {"x": o.f(3, 4, 5)}, opset=11, axis=axis)
        o.add("LogSoftmax", {"x": o.f(3, 4, 5)}, axis=axis)
    o.add("Softmax", {"x": o.f(2, 3, 4)}, opset=11)
    o.add("Softmax", {"x": o.f(2, 6625) * 8})


def products(o):
    for a, b in (((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (3, 4, 5)), ((4,), (4, 5)), ((3, 4), (4,)),
                 ((4,), (4,)), ((5, 1, 4), (1, 4, 33)), ((1, 7, 130), (130, 67)), ((2, 3, 3, 4), (1, 1, 4, 5))):
        o.add("MatMul", {"a": o.f(*a), "b": o.f(*b)})
        o.add("MatMul", {"a": o.f(*a)}, inits={"b": o.f(*b)}, what="constant")
    for ta in (0, 1):
        for tb in (0, 1):
            a, b = o.f(*((4, 3) if ta else (3, 4))), o.f(*((5, 4) if tb else (4, 5)))
            o.add("Gemm", {"a": a, "b": b, "c": o.f(5)}, transA=ta, transB=tb, alpha=0.5, beta=2.0)
            o.add("Gemm", {"a": a}, inits={"b": b, "c": o.f(5)}, transA=ta, transB=tb, alpha=0.5, beta=2.0, what="constant")
            o.add("Gemm", {"a": a}, inits={"b": b, "c": o.f(3, 1)}, transA=ta, transB=tb)
            o.add("Gemm", {"a": a}, inits={"b": b}, transA=ta, transB=tb)
    o.add("Gemm", {"a": o.f(3, 4)}, inits={"b": o.f(4, 5), "c": np.float32(2)})


def convolutions(o):
    for x, w, attrs in (((1, 3, 9, 11), (5, 3, 3, 3), dict(pads=[1, 1, 1, 1])), ((2, 4, 9, 8), (6, 2, 3, 3), dict(group=2, strides=[2, 1])),
                        ((1, 20, 7, 7), (20, 1, 3, 3), dict(group=20, pads=[1, 1, 1, 1])), ((1, 20, 8, 9), (20, 1, 5, 5), dict(group=20, strides=[2, 2], pads=[2, 2, 2, 2])),
                        ((1, 33, 5, 6), (17, 33, 1, 1), {}), ((1, 16, 12, 12), (32, 16, 3, 3), dict(dilations=[2, 2])), ((1, 3, 8, 8), (4, 3, 2, 4), dict(pads=[0, 1, 1, 2])),
                        ((1, 2, 40), (3, 2, 5), dict(strides=[2], pads=[2, 2])), ((1, 1, 640), (258, 1, 256), dict(strides=[128])), ((2, 6, 10), (4, 3, 3), dict(group=2)),
                        ((1, 3, 7, 7), (4, 3, 3, 3), dict(auto_pad="SAME_UPPER", strides=[2, 2])), ((1, 3, 8, 8), (4, 3, 3, 3), dict(auto_pad="SAME_LOWER", strides=[2, 2])),
                        ((1, 3, 7, 7), (4, 3, 3, 3), dict(auto_pad="VALID")), ((1, 8, 6, 6), (16, 1, 3, 3), dict(group=8)), ((1, 12, 3, 40), (12, 1, 3, 1), dict(group=12, strides=[2, 1]))):
        o.add("Conv", {"x": o.f(*x)}, inits={"w": o.f(*w), "b": o.f(w[0])}, **attrs)
        o.add("Conv", {"x": o.f(*x), "w": o.f(*w)}, what="weights given %s" % attrs, **attrs)
    for x, w, attrs in (((1, 4, 5, 6), (4, 3, 2, 2), dict(strides=[2, 2])), ((1, 24, 4, 5), (24, 1, 2, 2), dict(strides=[2, 2])), ((2, 3, 5, 5), (3, 4, 3, 3), {}),
                        ((1, 6, 4, 4), (6, 2, 3, 3), dict(group=2, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
                        ((1, 3, 7), (3, 2, 4), dict(strides=[2])), ((1, 3, 5, 5), (3, 2, 3, 3), dict(dilations=[2, 2]))):
        o.add("ConvTranspose", {"x": o.f(*x)}, inits={"w": o.f(*w), "b": o.f(w[1] * attrs.get("group", 1))}, **attrs)
    pool = o.f(2, 19, 11, 10)
    for op in ("MaxPool", "AveragePool"):
        for attrs in (dict(kernel_shape=[2, 2], strides=[2, 2]), dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
                      dict(kernel_shape=[3, 2], strides=[3, 2], ceil_mode=1), dict(kernel_shape=[3, 3], pads=[0, 0, 1, 1]),
                      dict(kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])):
            o.add(op, {"x": pool}, opset=12, **attrs)
        o.add(op, {"x": o.f(1, 3, 20)}, kernel_shape=[4], strides=[3])
    o.add("MaxPool", {"x": pool}, kernel_shape=[2, 2], dilations=[2, 2])
    o.add("AveragePool", {"x": pool}, opset=19, kernel_shape=[3, 2], dilations=[2, 2], pads=[1, 0, 1, 1])
    o.add("AveragePool", {"x": pool}, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        o.add(op, {"x": pool})
        o.add(op, {"x": o.f(1, 5, 9)})
    o.add("LRN", {"x": o.f(2, 19, 3, 4)}, size=5, alpha=0.01, beta=0.75, bias=1.0)
    o.add("LRN", {"x": o.f(1, 7, 3, 4)}, size=3)
    bn = {"s": o.f(5), "b": o.f(5), "m": o.f(5), "v": np.abs(o.f(5)) + 0.5}
    o.add("BatchNormalization", {"x": o.f(2, 5, 3, 4)}, inits=bn, epsilon=1e-3)
    o.add("BatchNormalization", {"x": o.f(2, 5), **bn})
    o.add("InstanceNormalization", {"x": o.f(2, 5, 3, 4)}, inits={"s": o.f(5), "b": o.f(5)})
    o.add("LayerNormalization", {"x": o.f(3, 4, 40)}, opset=17, inits={"s": o.f(40), "b": o.f(40)}, epsilon=1e-3)
    o.add("LayerNormalization", {"x": o.f(3, 4, 5)}, opset=17, inits={"s": o.f(4, 5)}, axis=1)
    for mode, attrs in (("nearest", dict(coordinate_transformation_mode="asymmetric", nearest_mode="floor")), ("nearest", {}),
                        ("linear", {}), ("linear", dict(coordinate_transformation_mode="align_corners")),
                        ("linear", dict(coordinate_transformation_mode="asymmetric")),
                        ("linear", dict(coordinate_transformation_mode="pytorch_half_pixel")), ("nearest", dict(nearest_mode="ceil"))):
        x = {"x": o.f(1, 3, 5, 6), "r": None, "s": None}
        o.add("Resize", {"x": x["x"], "r": None}, inits={"s": np.array([1, 1, 2, 2], np.float32)}, mode=mode, **attrs)
        o.add("Resize", x, inits={"z": i64(1, 3, 9, 4)}, mode=mode, **attrs)
    o.add("Upsample", {"x": o.f(1, 2, 3, 3)}, opset=9, inits={"s": np.array([1, 1, 2, 3], np.float32)}, mode="nearest")


def recurrent(o):
    for seq, batch, inp, hid, dirs, direction in ((3, 2, 5, 4, 1, "forward"), (1, 1, 128, 128, 1, "forward"), (4, 1, 7, 20, 1, "reverse"),
                                                  (3, 2, 5, 17, 2, "bidirectional")):
        inits = {"w": o.f(dirs, 4 * hid, inp) * 0.3, "r": o.f(dirs, 4 * hid, hid) * 0.3, "b": o.f(dirs, 8 * hid) * 0.3}
        o.add("LSTM", {"x": o.f(seq, batch, inp)}, outs=3, inits=inits, hidden_size=hid, direction=direction)
    names = ["x", "w", "r", "b", "", "h", "c"]
    h = {"h": o.f(1, 2, 6), "c": o.f(1, 2, 6), "x": o.f(3, 2, 5)}
    init = {"w": o.f(1, 24, 5), "r": o.f(1, 24, 6), "b": o.f(1, 48)}
    g = graph([node("LSTM", names, ["y0", "y1", "y2"], hidden_size=6)], [value(k, F, v.shape) for k, v in h.items()],
              [value("y%d" % k, F, None) for k in range(3)], [tensor(k, v) for k, v in init.items()])
    o.cases.append(("LSTM with states", model(g), h))
    o.add("DynamicQuantizeLinear", {"x": o.f(6, 7)}, outs=3, out_dtype=["uint8", F, "uint8"])
    o.add("DynamicQuantizeLinear", {"x": np.abs(o.f(6, 7))}, outs=3, out_dtype=["uint8", F, "uint8"])
    o.add("ConvInteger", {"x": o.rng.integers(0, 255, (1, 3, 6, 7)).astype(np.uint8)}, out_dtype="int32",
          inits={"w": o.rng.integers(0, 255, (4, 3, 3, 3)).astype(np.uint8), "p": np.array(7, np.uint8), "q": np.array(120, np.uint8)},
          pads=[1, 1, 1, 1])


def fused(o):
    """Small graphs that the planner rewrites: the result must not show it."""
    def case(what, nodes, inputs, inits, opset=13):
        g = graph(nodes, [value(k, str(v.dtype), v.shape) for k, v in inputs.items()], [value("y", F, None)],
                  [tensor(k, v) for k, v in inits.items()])
        o.cases.append(("fused " + what, model(g, opset), inputs))
    x = {"x": o.f(2, 18, 9, 7)}
    conv = {"w": o.f(20, 18, 3, 3) * 0.1, "b": o.f(20)}
    first = node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1])
    hs = {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)}
    swish = [node("Add", ["c", "three"], ["t1"]), node("Clip", ["t1", "zero", "six"], ["t2"]), node("Mul", ["c", "t2"], ["t3"]),
             node("Div", ["t3", "six"], ["h"])]
    case("conv hardswish scale shift", [first] + swish + [node("Mul", ["h", "m"], ["s"]), node("Add", ["s", "a"], ["y"])], x,
         {**conv, **hs, "m": np.float32(1.3), "a": np.float32(-0.2)})
    bn = {"g": o.f(20), "e": o.f(20), "u": o.f(20), "v": np.abs(o.f(20)) + 0.5}
    case("conv bn relu", [first, node("BatchNormalization", ["c", "g", "e", "u", "v"], ["n"]), node("Relu", ["n"], ["y"])], x, {**conv, **bn})
    case("conv mul add", [first, node("Mul", ["m", "c"], ["n"]), node("Sub", ["n", "a"], ["y"])], x,
         {**conv, "m": o.f(20, 1, 1), "a": o.f(1, 20, 1, 1)})
    case("conv residual relu", [first, node("Conv", ["x", "w", "b"], ["d"], pads=[1, 1, 1, 1]), node("Sigmoid", ["d"], ["q"]),
                                node("Add", ["q", "c"], ["n"]), node("Relu", ["n"], ["y"])], x, conv)
    case("conv used twice", [first, node("Relu", ["c"], ["r"]), node("Add", ["r", "c"], ["y"])], x, conv)
    case("bn relu conv", [node("BatchNormalization", ["x", "g", "e", "u", "v"], ["n"]), node("Relu", ["n"], ["r"]),
                          node("Conv", ["r", "w", "b"], ["y"])], {"x": o.f(1, 20, 5, 5)}, {**bn, "w": o.f(7, 20, 3, 3), "b": o.f(7)})
    case("squeeze and excite", [first, node("GlobalAveragePool", ["c"], ["p"]), node("Conv", ["p", "w1"], ["k"]), node("HardSigmoid", ["k"], ["s"]),
                                node("Mul", ["c", "s"], ["y"])], x, {**conv, "w1": o.f(20, 20, 1, 1)})
    case("concat of odd channels", [first, node("Conv", ["x", "w2"], ["d"], pads=[1, 1, 1, 1]), node("Concat", ["c", "d", "c", "x"], ["k"], axis=1),
                                    node("Conv", ["k", "w3"], ["y"])], x, {**conv, "w2": o.f(9, 18, 3, 3), "w3": o.f(5, 67, 1, 1) * 0.1})
    case("concat in place", [node("Conv", ["x", "w2"], ["c"]), node("Relu", ["c"], ["r"]), node("Conv", ["x", "w3"], ["d"]),
                             node("Concat", ["r", "d"], ["k"], axis=1), node("Conv", ["k", "w4"], ["f"]), node("Concat", ["k", "f"], ["k2"], axis=1),
                             node("MaxPool", ["k2"], ["y"], kernel_shape=[2, 2])], {"x": o.f(1, 18, 6, 6)},
         {"w2": o.f(32, 18, 1, 1), "w3": o.f(16, 18, 1, 1), "w4": o.f(10, 48, 1, 1)})
    gelu = [node("Mul", ["x", "r"], ["t"]), node("Erf", ["t"], ["e"]), node("Add", ["e", "one"], ["p"]), node("Mul", ["x", "half"], ["h"]),
            node("Mul", ["h", "p"], ["y"])]
    case("gelu erf", gelu, {"x": o.f(5, 33) * 2}, {"r": np.float32(0.70710678), "one": np.float32(1), "half": np.float32(0.5)})
    cubic = [node("Mul", ["k", "x"], ["a"]), node("Mul", ["x", "a"], ["b"]), node("Mul", ["x", "b"], ["c"]), node("Add", ["x", "c"], ["d"]),
             node("Mul", ["q", "d"], ["e"]), node("Tanh", ["e"], ["f"]), node("Add", ["one", "f"], ["g"]), node("Mul", ["half", "g"], ["h"]),
             node("Mul", ["x", "h"], ["y"])]
    case("gelu tanh", cubic, {"x": o.f(5, 33) * 2}, {"k": np.float32(0.044715), "q": np.float32(0.7978846), "one": np.float32(1), "half": np.float32(0.5)})
    case("swish", [node("Sigmoid", ["x"], ["s"]), node("Mul", ["x", "s"], ["y"])], {"x": o.f(5, 33) * 3}, {})
    case("product bias add relu", [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["n"]), node("Add", ["n", "z"], ["p"]),
                                   node("Relu", ["p"], ["y"])], {"x": o.f(4, 7, 9), "z": o.f(4, 7, 21)}, {"w": o.f(9, 21), "b": o.f(21)})
    case("large product", [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["n"]), node("Relu", ["n"], ["y"])],
         {"x": o.f(520, 600)}, {"w": o.f(600, 1100) * 0.04, "b": o.f(1100)})
    case("large gemm", [node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"x": o.f(600, 530)}, {"w": o.f(1536, 530) * 0.04, "b": o.f(1536)})
    table = {"w": o.f(30, 12), "b": o.f(12), "d": i64(30), "v": np.array([0, 1], np.float32)}
    case("one-hot product", [node("OneHot", ["i", "d", "v"], ["h"]), node("MatMul", ["h", "w"], ["m"]), node("Add", ["m", "b"], ["n"]), node("Relu", ["n"], ["y"])],
         {"i": o.rng.integers(-35, 35, (3, 8))}, table)
    case("equal product", [node("Unsqueeze", ["i", "ax"], ["u"]), node("Equal", ["u", "iota"], ["q"]), node("Cast", ["q"], ["h"], to=1),
                           node("MatMul", ["h", "w"], ["m"]), node("Add", ["m", "b"], ["n"]), node("Sigmoid", ["n"], ["y"])],
         {"i": o.rng.integers(-3, 33, (3, 8))}, {"w": o.f(30, 12), "b": o.f(12), "ax": i64(2), "iota": np.arange(30).reshape(1, 1, 30)})
    case("transposes around", [node("Transpose", ["x"], ["t"], perm=[0, 2, 1]), node("Conv", ["t", "w"], ["c"], pads=[1, 1]), node("Transpose", ["c"], ["u"], perm=[0, 2, 1]),
                               node("Relu", ["u"], ["r"]), node("ReduceMax", ["r"], ["y"], axes=[1], keepdims=0)], {"x": o.f(2, 10, 6)}, {"w": o.f(18, 6, 3)})
    case("shuffle", [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "s1"], ["r"]), node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3, 4]),
                     node("Reshape", ["t", "s2"], ["q"]), node("Conv", ["q", "w2"], ["y"], group=24)], {"x": o.f(1, 5, 6, 6)},
         {"w": o.f(24, 5, 1, 1), "s1": i64(1, 4, 6, 6, 6), "s2": i64(1, 24, 6, 6), "w2": o.f(24, 1, 3, 3)})
    def shuffled(what, n, groups, channels, middle, last, inits, spatial=(6, 5), perm=(0, 2, 1, 3, 4), more=()):
        """conv, a shuffle of its channels, what stands in the middle (from q to m), a convolution in groups."""
        split = (n, groups, channels // groups, *spatial)
        case(what, [node("Conv", ["x", "w"], ["c"]), node("Reshape", ["c", "s1"], ["r"]), node("Transpose", ["r"], ["t"], perm=list(perm)),
                    node("Reshape", ["t", "s2"], ["q"])] + middle + [node("Conv", ["m", "w3", "b3"], ["g"], group=last), node("Relu", ["g"], ["y"])],
             {"x": o.f(n, 5, *spatial), **dict(more)}, {"w": o.f(channels, 5, 1, 1), "s1": i64(*split), "s2": i64(n, channels, *spatial),
                                          "w3": o.f(40 * last, channels // last, 1, 1) * 0.2, "b3": o.f(40 * last), **inits})
    dw = [node("Conv", ["q", "w2", "b2"], ["e"], group=60, pads=[1, 1, 1, 1]), node("BatchNormalization", ["e", "g1", "e1", "u1", "v1"], ["f"]),
          node("Relu", ["f"], ["m"])]
    dws = {"w2": o.f(60, 1, 3, 3), "b2": o.f(60), "g1": o.f(60), "e1": o.f(60), "u1": o.f(60), "v1": np.abs(o.f(60)) + 0.5}
    keep = [node("Identity", ["q"], ["m"])]
    shuffled("shuffle depthwise groups", 2, 4, 60, dw, 3, dws)
    shuffled("shuffle depthwise plain", 2, 3, 60, dw[:1] + [node("Sigmoid", ["e"], ["m"])], 4, {k: dws[k] for k in ("w2", "b2")})
    shuffled("shuffle groups", 1, 4, 72, keep, 4, {})
    shuffled("shuffle of turned images", 1, 4, 72, keep, 4, {}, (5, 5), (0, 2, 1, 4, 3))
    shuffled("shuffle and a residual", 1, 4, 60, dw[:1] + [node("Add", ["e", "z"], ["m"])], 3, {k: dws[k] for k in ("w2", "b2")},
             more={"z": o.f(1, 60, 6, 5)})
    shuffled("shuffle used twice", 1, 4, 60, dw[:1] + [node("Add", ["e", "q"], ["m"])], 3, {k: dws[k] for k in ("w2", "b2")})
    case("deconvolution to one", [node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["r"]), node("ConvTranspose", ["r", "w2", "b2"], ["d"], strides=[2, 2]),
                                  node("Sigmoid", ["d"], ["y"])], {"x": o.f(2, 5, 4, 6)}, {"w": o.f(24, 5, 1, 1), "w2": o.f(24, 1, 2, 2), "b2": o.f(1)})
    case("upsample and add", [first, node("MaxPool", ["c"], ["p"], kernel_shape=[3, 1], strides=[3, 1]), node("Resize", ["p", "", "sc"], ["u"], mode="nearest",
                              coordinate_transformation_mode="asymmetric", nearest_mode="floor"), node("Add", ["u", "c"], ["y"])], {"x": o.f(1, 18, 9, 7)},
         {**conv, "sc": np.array([1, 1, 3, 1], np.float32)})


def ops(judge, only):
    o = Ops(judge.rng)
    for part in (elementwise, shapes, moves, reductions, products, convolutions, recurrent, fused):
        part(o)
    path = os.path.join(judge.folder, "op.onnx")
    for k, (what, blob, inputs) in enumerate(o.cases):
        if only and not any(word in what for word in only):
            continue
        path = os.path.join(judge.folder, "op%d.onnx" % k)
        with open(path, "wb") as f:
            f.write(blob)
        judge.call(what, path, inputs)
        os.unlink(path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("runner")
    p.add_argument("--only", choices=["models", "ops"])
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--level", default="")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--perturb", action="store_true")
    p.add_argument("names", nargs="*")
    args = p.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(args, folder)
        for name, part in (("ops", ops), ("models", models)):
            if args.only in (None, name):
                part(judge, args.names)
        judge.peer.close()
    print("onnx judge: seed %d, %d passed, %d failed, %d skipped" % (args.seed, judge.passed, len(judge.failed), len(judge.skipped)))
    return 1 if judge.failed or not judge.passed else 0


if __name__ == "__main__":
    sys.exit(main())
