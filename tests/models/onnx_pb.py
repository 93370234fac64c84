# SPDX-License-Identifier: Apache-2.0
"""A small writer of ONNX files: protobuf field by field, so that wrong files can be written as easily as
right ones. Every function returns bytes; nothing here checks anything.

ModelProto 1 ir_version 7 graph 8 opset_import; GraphProto 1 node 2 name 5 initializer 11 input 12 output;
NodeProto 1 input 2 output 3 name 4 op_type 5 attribute 7 domain; AttributeProto 1 name 2 f 3 i 4 s 5 t 6 g
7 floats 8 ints 9 strings 20 type; TensorProto 1 dims 2 data_type 4 float 5 int32 7 int64 8 name 9 raw.
"""
import struct

import numpy as np

DTYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
          "float16": 10, "float64": 11, "uint32": 12, "uint64": 13}


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def tag(number, wire):
    return varint(number << 3 | wire)


def num(number, value):
    return tag(number, 0) + varint(value)


def data(number, value):
    if isinstance(value, str):
        value = value.encode()
    return tag(number, 2) + varint(len(value)) + value


def f32(number, value):
    return tag(number, 5) + struct.pack("<f", value)


def tensor(name, array, dims=None, dtype=None, raw=None, extra=b""):
    """raw: other bytes for raw_data (b"" leaves the field out); extra: further fields."""
    array = np.asarray(array)
    dims = array.shape if dims is None else dims
    raw = np.ascontiguousarray(array).tobytes() if raw is None else raw
    out = b"".join(num(1, d) for d in dims) + num(2, DTYPES[str(array.dtype)] if dtype is None else dtype)
    out += data(8, name) if name else b""
    return out + (data(9, raw) if raw else b"") + extra


def attr(name, value):
    """The attribute type follows from the Python type; ("graph", bytes) and ("tensor", bytes) are messages."""
    out = data(1, name)
    if isinstance(value, bool) or isinstance(value, (int, np.integer)):
        return out + num(3, int(value)) + num(20, 2)
    if isinstance(value, float):
        return out + f32(2, value) + num(20, 1)
    if isinstance(value, (str, bytes)):
        return out + data(4, value) + num(20, 3)
    if isinstance(value, np.ndarray):
        return out + data(5, tensor("", value)) + num(20, 4)
    if isinstance(value, tuple) and value and value[0] in ("graph", "tensor"):
        return out + data(6 if value[0] == "graph" else 5, value[1]) + num(20, 5 if value[0] == "graph" else 4)
    value = list(value)
    if value and isinstance(value[0], float):
        return out + b"".join(f32(7, v) for v in value) + num(20, 6)
    if value and isinstance(value[0], str):
        return out + b"".join(data(9, v) for v in value) + num(20, 8)
    return out + b"".join(num(8, v) for v in value) + num(20, 7)


def node(op, inputs, outputs, name="", domain="", raw_attrs=b"", **attrs):
    """raw_attrs: ready AttributeProto messages, already wrapped in field 5."""
    out = b"".join(data(1, i) for i in inputs) + b"".join(data(2, o) for o in outputs)
    out += data(3, name) if name else b""
    out += data(4, op)
    out += b"".join(data(5, attr(k, v)) for k, v in attrs.items()) + raw_attrs
    return out + (data(7, domain) if domain else b"")


def dim(d):
    if d is None:
        return data(1, b"")
    return data(1, num(1, d) if isinstance(d, (int, np.integer)) else data(2, d))


def value(name, dtype="float32", shape=()):
    elem = DTYPES[dtype] if isinstance(dtype, str) else dtype
    body = num(1, elem) + (b"" if shape is None else data(2, b"".join(dim(d) for d in shape)))
    return data(1, name) + data(2, data(1, body))


def graph(nodes, inputs=(), outputs=(), inits=(), name="g", extra=b""):
    out = b"".join(data(1, n) for n in nodes) + data(2, name)
    out += b"".join(data(5, t) for t in inits) + b"".join(data(11, v) for v in inputs)
    return out + b"".join(data(12, v) for v in outputs) + extra


def model(g, opset=13, ir=8, opsets=None, extra=b""):
    """The graph comes last: no strict prefix of the file is a whole model."""
    imports = [("", opset)] if opsets is None else opsets
    out = num(1, ir) + data(2, "made for tests")
    out += b"".join(data(8, (data(1, d) if d else b"") + num(2, v)) for d, v in imports)
    return out + extra + data(7, g)


def simple(op, inputs, out="y", out_dtype="float32", out_shape=None, opset=13, inits=None, **attrs):
    """One node. inputs: {name: (dtype, shape)}; inits: {name: array}; the node takes all of them in order of
    the names' first letters as given (inputs first, then inits)."""
    inits = inits or {}
    names = list(inputs) + list(inits)
    g = graph([node(op, names, [out], **attrs)], [value(n, *v) for n, v in inputs.items()],
              [value(out, out_dtype, out_shape)], [tensor(n, a) for n, a in inits.items()])
    return model(g, opset)
