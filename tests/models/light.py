# SPDX-License-Identifier: Apache-2.0
"""Light nets with numbers in them: a copy of an ONNX file whose ConstantOfShape weights are seeded random.

The nets of onnx/onnx "light" hold one constant per weight; every answer of theirs is one constant, which
proves nothing. Weights get the scale that keeps activations near 1; scales and variances of
BatchNormalization stay positive. Walks the file in place; no protobuf library.

usage: light.py IN.onnx OUT.onnx [SEED]
"""
import sys

import numpy as np

FLOAT, INT64 = 1, 7


def _varint(b, at):
    n = shift = 0
    while True:
        n |= (b[at] & 0x7F) << shift
        at += 1
        if not b[at - 1] & 0x80:
            return n, at
        shift += 7


def _put(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def fields(b):
    """(number, wire type, value) of each field; a value is a number or bytes."""
    at = 0
    while at < len(b):
        tag, at = _varint(b, at)
        if tag & 7 == 0:
            value, at = _varint(b, at)
        elif tag & 7 == 2:
            n, at = _varint(b, at)
            value, at = b[at:at + n], at + n
        else:
            n = {1: 8, 5: 4}[tag & 7]
            value, at = b[at:at + n], at + n
        yield tag >> 3, tag & 7, value


def field(number, value):
    if isinstance(value, int):
        return _put(number << 3) + _put(value)
    return _put(number << 3 | 2) + _put(len(value)) + value


def raw_field(number, wire, value):
    if wire in (0, 2):
        return field(number, value)
    return _put(number << 3 | wire) + value


def _ints(tensor):
    """Values of an int64 TensorProto; of another one, none."""
    out = []
    if not any(n == 2 and v == INT64 for n, _, v in fields(tensor)):
        return out
    for number, wire, value in fields(tensor):
        if number == 9:
            out = list(np.frombuffer(value, "<i8"))
        elif number == 7 and wire == 0:
            out.append(value)
        elif number == 7:
            at = 0
            while at < len(value):
                n, at = _varint(value, at)
                out.append(n)
    return [int(v) for v in out]


def _node(b):
    n = {"in": [], "out": [], "op": ""}
    for number, _, value in fields(b):
        if number in (1, 2):
            n["in" if number == 1 else "out"].append(bytes(value))
        elif number == 4:
            n["op"] = bytes(value).decode()
    return n


def _tensor_name(b):
    return next((bytes(v) for n, _, v in fields(b) if n == 8), b"")


def weights(shape, use, rng, residual):
    """use: (operator, index of the input) of the first node that takes it. Variances above 1 and smaller weights
    hold back what residual sums add; the last layer is small, so that Softmax keeps all its classes."""
    if use[0] == "BatchNormalization" and use[1] in (1, 4):
        return rng.uniform(*((0.5, 1.5) if use[1] == 1 else (1.0, 2.0)), shape).astype(np.float32)
    w = rng.standard_normal(shape, np.float32)
    fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 0
    gain = 0.3 if len(shape) == 2 else 0.8 if residual else 2.0
    return w * np.float32(np.sqrt(gain / fan_in) if fan_in else 0.1)


def _weight(number, value, shapes, uses):
    """A field of the graph that makes a weight: (name, shape, names that go away), or None."""
    if number == 1:
        node = _node(value)
        if node["op"] == "ConstantOfShape" and node["in"][0] in shapes:
            return node["out"][0], shapes[node["in"][0]], {node["out"][0], node["in"][0]}
    if number == 5 and _tensor_name(value) in uses and any(n == 2 and v == FLOAT for n, _, v in fields(value)):
        dims = [v for n, w, v in fields(value) if n == 1 and w == 0]
        return _tensor_name(value), dims, {_tensor_name(value)}
    return None


def randomize(model, seed=1):
    """The bytes of the copy, in pieces (a file can be larger than is good to join)."""
    rng = np.random.default_rng(seed)
    graph = next(v for n, _, v in fields(model) if n == 7)
    nodes = [_node(v) for n, _, v in fields(graph) if n == 1]
    shapes = {_tensor_name(v): _ints(v) for n, _, v in fields(graph) if n == 5}
    uses = {}
    for node in nodes:
        for i, name in enumerate(node["in"]):
            uses.setdefault(name, (node["op"], i))
    residual = any(node["op"] == "Sum" for node in nodes)
    pieces, size, gone = [], 0, set()

    def add(piece):
        nonlocal size
        pieces.append(piece)
        size += len(piece)

    for number, _, value in fields(graph):
        found = _weight(number, value, shapes, uses)
        if not found:
            continue
        name, shape, names = found
        gone |= names
        raw = weights(shape, uses.get(name, ("", 0)), rng, residual).tobytes()
        head = b"".join(field(1, d) for d in shape) + field(2, FLOAT) + field(8, name)
        body_len = len(head) + len(_put(9 << 3 | 2) + _put(len(raw))) + len(raw)
        add(_put(5 << 3 | 2) + _put(body_len) + head + _put(9 << 3 | 2) + _put(len(raw)))
        add(raw)
    for number, wire, value in fields(graph):
        if number == 1 and _node(value)["out"][0] in gone:
            continue
        if number == 5 and _tensor_name(value) in gone:
            continue
        if number == 11 and next(bytes(v) for n, _, v in fields(value) if n == 1) in gone:
            continue
        add(raw_field(number, wire, value))
    # Version 4 of the format: weights need no longer stand among the inputs.
    head = b"".join(field(1, 4) if n == 1 else raw_field(n, w, v) for n, w, v in fields(model) if n != 7)
    return [head, _put(7 << 3 | 2) + _put(size)] + pieces


def write(source, target, seed=1):
    with open(source, "rb") as f:
        pieces = randomize(f.read(), seed)
    with open(target, "wb") as f:
        f.writelines(pieces)


def input_name(source):
    """The graph's one input that is no weight."""
    with open(source, "rb") as f:
        graph = next(v for n, _, v in fields(f.read()) if n == 7)
    held = {_tensor_name(v) for n, _, v in fields(graph) if n == 5}
    names = [next(bytes(x) for k, _, x in fields(v) if k == 1) for n, _, v in fields(graph) if n == 11]
    return next(n for n in names if n not in held).decode()


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 1)
