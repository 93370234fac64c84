# SPDX-License-Identifier: Apache-2.0
"""The models of the bench with their requests. A light net is written with random weights when its turn comes."""
import os

import numpy as np

import catalog
import light

QUICK = bool(os.environ.get("BENCH_QUICK"))


class Case:
    """gflop: products and convolutions of one call; 0: as the engine counts them."""

    def __init__(self, name, path, inputs, carry=(), gflop=0.0, missing=""):
        self.name, self.path, self.inputs, self.carry = name, path, inputs, carry
        self.gflop, self.missing, self.out_dtype = gflop, missing, np.float32

    def clean(self):
        """Nothing to remove: the file is not ours."""


class LightCase(Case):
    def __init__(self, name, source, scratch):
        super().__init__("light_" + name, None, None, missing="the light nets are not there (FUMEHOOD_SHARED)")
        self.source, self.target, self._path = source, os.path.join(scratch, "light_%s.onnx" % name), None
        self.inputs = self.image

    @property
    def path(self):
        if self.source and not self._path:
            light.write(self.source, self.target)
            self._path = self.target
        return self._path

    @path.setter
    def path(self, _):
        self._path = None

    def image(self, rng):
        return {light.input_name(self.source): rng.standard_normal((1, 3, 224, 224), np.float32)}

    def clean(self):
        if self._path:
            os.unlink(self._path)
            self._path = None


def normal(name, *shape):
    return lambda rng: {name: rng.standard_normal(shape, np.float32)}


def voice(rng):
    return {"input": rng.standard_normal((1, 576), np.float32) * np.float32(0.1),
            "state": np.zeros((2, 1, 128), np.float32), "sr": np.array(16000, np.int64)}


def file_bytes(n):
    return lambda rng: {"bytes": rng.integers(0, 257, (1, n), np.int32)}


STATE = (("stateN", "state"),)
LIGHT = ("squeezenet", "shufflenet", "inception_v1", "inception_v2", "densenet121", "resnet50", "bvlc_alexnet",
         "zfnet512", "vgg19")
LIGHT_QUICK = ("squeezenet", "shufflenet", "resnet50")


def cases(scratch, names=()):
    """All cases, or those of these names; the quick bench has few light nets unless they are named."""
    rows = [
        ("silero_v5", voice, STATE, 0.0014), ("silero_v6", voice, STATE, 0.0014), ("silero_op18", voice, STATE, 0.0014),
        ("ppocr_cls", normal("x", 1, 3, 48, 192), (), 0.033), ("ppocr_rec", normal("x", 1, 3, 48, 320), (), 1.405),
        ("ppocr_det", normal("x", 1, 3, 640, 640), (), 4.604),
        ("magika_v3_3", file_bytes(2048), (), 0.733), ("magika_v2_1", file_bytes(4096), (), 1.472),
    ]
    out = [Case(name, catalog.locate(name), inputs, carry, gflop, "not in build/cache, not in FUMEHOOD_SHARED")
           for name, inputs, carry, gflop in rows]
    out += [LightCase(n, catalog.light(n), scratch) for n in (LIGHT_QUICK if QUICK and not names else LIGHT)]
    return [c for c in out if not names or c.name in names]
