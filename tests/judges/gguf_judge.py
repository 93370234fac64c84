#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyPI gguf as judge of our dequantisation: every type, seeded random blocks and chosen ones, bit for bit.

usage: gguf_judge.py TOOL [--fault] [--all] [--seed N] [FILE.gguf...]     TOOL: build/<variant>/tests/gguf_tool

Scales come in every kind: random f16 patterns (NaN, infinite and subnormal among them), all-ones blocks, zero
blocks, smallest and largest. Of the FILEs the smallest tensor of each type is compared as well (--all: every one). A NaN equals
any NaN: which of two comes out of a sum depends, in numpy itself, on where the numbers lie. Exit 0: equal; 1: not;
3: no judge.
"""
import subprocess
import sys

try:
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFReader, dequantize
    from gguf.constants import GGML_QUANT_SIZES
except ImportError as e:
    print("SKIP gguf judge: %s (no network when the judges were set up?)" % e)
    sys.exit(3)

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL",
         "IQ4_XS", "MXFP4"]
# where a block holds f16 scales
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0]}
ODD = [0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00, 0xfe00,
       0x7c01, 0xffff]


def one_nan(bits):
    return np.where((bits & 0x7fffffff) > 0x7f800000, np.uint32(0x7fc00000), bits)


def differ(ours, theirs):
    a = np.frombuffer(ours, np.uint32)
    b = np.ascontiguousarray(theirs, np.float32).ravel().view(np.uint32)
    if a.size != b.size:
        return "%d numbers instead of %d" % (a.size, b.size)
    bad = np.nonzero(one_nan(a) != one_nan(b))[0]
    return "" if bad.size == 0 else "%d of %d differ, the first at %d: %08x instead of %08x" % (
        bad.size, a.size, bad[0], a[bad[0]], b[bad[0]])


def blocks_of(name, rng):
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = rng.integers(0, 256, (3000, size), dtype=np.uint8)
    blocks[0], blocks[1] = 0, 255
    for k, at in enumerate(SCALES.get(name, [])):
        # half of the blocks have scales as real files have them, the others any pattern, and every odd one in turn
        real = rng.standard_normal(1500).astype(np.float16) * np.float16(0.01)
        blocks[1500:, at:at + 2] = real.view(np.uint8).reshape(-1, 2)
        for i in range(16 * 16):
            v = ODD[i % 16] if k == 0 else ODD[i // 16]
            blocks[100 + i, at:at + 2] = np.array([v], np.uint16).view(np.uint8)
    if name == "MXFP4":
        blocks[100:356, 0] = np.arange(256)
    return blocks


def main():
    args = sys.argv[1:]
    fault = ["--fault"] if "--fault" in args else []
    seed = int(args[args.index("--seed") + 1]) if "--seed" in args else 1
    files = [a for a in args[1:] if a.endswith(".gguf")]
    tool, bad, n = args[0], 0, 0

    def ask(*what, data=None):
        return subprocess.run([tool, *fault, *what], input=data, capture_output=True, check=True).stdout

    def judge(what, ours, theirs):
        nonlocal bad, n
        n += 1
        says = differ(ours, theirs)
        if says:
            bad += 1
            print("%s: %s" % (what, says))

    with np.errstate(all="ignore"):
        for name in TYPES:
            blocks = blocks_of(name, np.random.default_rng([seed, TYPES.index(name)]))
            theirs = dequantize(blocks, GGMLQuantizationType[name])
            judge(name, ask("blocks", str(GGMLQuantizationType[name].value), data=blocks.tobytes()), theirs)
        for path in files:
            tensors = sorted(GGUFReader(path).tensors, key=lambda t: t.n_bytes)
            if "--all" not in args:
                tensors = list({t.tensor_type: t for t in reversed(tensors)}.values())
            for t in tensors:
                judge("%s %s" % (path, t.name), ask("tensor", path, t.name), dequantize(t.data, t.tensor_type))
    print("gguf judge: %d comparisons, %d differ" % (n, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
