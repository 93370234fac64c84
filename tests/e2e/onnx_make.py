# SPDX-License-Identifier: Apache-2.0
"""Small ONNX files, right and wrong, written by hand: protobuf field by field."""
import numpy as np

from light import field

FLOAT, INT32, INT64, STRING = 1, 6, 7, 8


def _text(s):
    return s if isinstance(s, bytes) else s.encode()


def dim(d):
    """A number, or a name."""
    return field(1, field(1, d) if isinstance(d, int) else field(2, _text(d)))


def value_info(name, elem, dims):
    shape = b"".join(dim(d) for d in dims)
    return field(1, _text(name)) + field(2, field(1, field(1, elem) + field(2, shape)))


def tensor(name, array, **lies):
    """TensorProto. lies: dims, data_type, raw, extra (raw fields)."""
    array = np.asarray(array)
    kinds = {"float32": FLOAT, "int64": INT64, "int32": INT32}
    dims = lies.get("dims", array.shape)
    out = b"".join(field(1, d & (1 << 64) - 1) for d in dims)
    out += field(2, lies.get("data_type", kinds[str(array.dtype)]))
    out += field(8, _text(name)) + field(9, lies.get("raw", array.tobytes()))
    return out + lies.get("extra", b"")


def attr_int(name, n):
    return field(1, _text(name)) + field(3, n) + field(20, 2)


def attr_graph(name, g):
    return field(1, _text(name)) + field(6, g) + field(20, 5)


def node(op, inputs, outputs, attrs=(), domain=""):
    out = b"".join(field(1, _text(i)) for i in inputs) + b"".join(field(2, _text(o)) for o in outputs)
    out += field(4, _text(op)) + b"".join(field(5, a) for a in attrs)
    return out + (field(7, _text(domain)) if domain else b"")


def graph(nodes, inputs, outputs, initializers=()):
    out = b"".join(field(1, n) for n in nodes) + field(2, b"g")
    out += b"".join(field(5, t) for t in initializers)
    return out + b"".join(field(11, v) for v in inputs) + b"".join(field(12, v) for v in outputs)


def model(g, opset=15, ir=8, metadata=(), domains=()):
    out = field(1, ir) + field(2, b"tests") + field(7, g) + field(8, field(2, opset))
    out += b"".join(field(8, field(1, _text(d)) + field(2, 1)) for d in domains)
    return out + b"".join(field(14, field(1, _text(k)) + field(2, _text(v))) for k, v in metadata)


def add_model(name_in="x", name_out="y", dims=("n", 4)):
    """y = x + b, b an optional input with an initialiser [4]."""
    b = np.array([1, 2, 3, 4], np.float32)
    g = graph([node("Add", [name_in, "b"], [name_out])],
              [value_info(name_in, FLOAT, dims), value_info("b", FLOAT, (4,))],
              [value_info(name_out, FLOAT, dims)], [tensor("b", b)])
    return model(g)


def hostile():
    """name -> bytes. Each lies in its own way."""
    x, y = value_info("x", FLOAT, ("n", 4)), value_info("y", FLOAT, ("n", 4))
    ok = np.ones(4, np.float32)

    def with_weight(t, nodes=None):
        return model(graph(nodes or [node("Add", ["x", "w"], ["y"])], [x], [y], [t]))

    def nested(depth):
        g = graph([node("Relu", ["x"], ["y"])], [], [y])
        leaf = g
        for _ in range(depth):
            g = graph([node("If", ["c"], ["y"], [attr_graph("then_branch", g), attr_graph("else_branch", leaf)])], [], [y])
        return g

    good = add_model()
    deep = b""
    for _ in range(700):
        deep = field(1, field(5, field(6, deep)))
    external = field(14, 1) + field(13, field(1, b"location") + field(2, b"/etc/passwd"))
    return {
        "empty": b"", "text": b"this is no model\n" * 20, "zeros": bytes(4096),
        "truncated": good[:-7], "half": good[:len(good) // 2], "one_byte": good[:1],
        "length_lies": good.replace(field(2, b"tests"), b"\x12\xff\xff\xff\xff\x7ftests"[:7]),
        "weight_too_short": with_weight(tensor("w", ok, raw=b"\0\0\0\0")),
        "weight_too_long": with_weight(tensor("w", ok, raw=bytes(4096))),
        "weight_huge_dims": with_weight(tensor("w", ok, dims=(1 << 40, 1 << 40))),
        "weight_overflow": with_weight(tensor("w", ok, dims=(1 << 62, 4, 1))),
        "weight_negative_dim": with_weight(tensor("w", ok, dims=(-4,))),
        "weight_rank_100": with_weight(tensor("w", ok, dims=(1,) * 100)),
        "weight_unknown_type": with_weight(tensor("w", ok, data_type=99)),
        "weight_string": with_weight(tensor("w", ok, data_type=STRING)),
        "external_data": with_weight(tensor("w", ok, raw=b"", extra=external)),
        "unknown_operator": with_weight(tensor("w", ok), [node("Summon", ["x", "w"], ["y"])]),
        "unknown_domain": with_weight(tensor("w", ok), [node("Add", ["x", "w"], ["y"], domain="evil.example")]),
        "cycle": with_weight(tensor("w", ok), [node("Add", ["x", "b"], ["a"]), node("Add", ["a", "w"], ["b"]),
                                               node("Relu", ["b"], ["y"])]),
        "missing_input": with_weight(tensor("w", ok), [node("Add", ["x", "nowhere"], ["y"])]),
        "double_output": with_weight(tensor("w", ok), [node("Relu", ["x"], ["y"]), node("Relu", ["x"], ["y"])]),
        "output_of_nobody": with_weight(tensor("w", ok), [node("Relu", ["x"], ["z"])]),
        "if_40_deep": model(nested(40)),
        "opset_0": model(graph([node("Relu", ["x"], ["y"])], [x], [y]), opset=0),
        "opset_huge": model(graph([node("Relu", ["x"], ["y"])], [x], [y]), opset=1 << 40),
        "no_graph": field(1, 8) + field(8, field(2, 15)),
        "broadcast_lie": with_weight(tensor("w", np.ones(3, np.float32))),
        "nested_protobuf": field(1, 8) + field(7, deep),
    }
