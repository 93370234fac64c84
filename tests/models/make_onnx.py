#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small ONNX files of the tests: good ones and every bad kind, each with what must come of it.

usage: make_onnx.py DIR [LARGEST]   writes DIR/NAME.onnx and DIR/manifest.txt; none above LARGEST bytes
       make_onnx.py --tiny F        writes the small model that is shipped as tests/models/tiny.onnx

A line of the manifest: NAME OPEN RUN FILL. OPEN is the code of opening it (and laying out a session), RUN
that of one call with every integer input set to FILL and floats to 0.5; "ok" where nothing is wrong; "-"
where it is not run; "any" where either is right. A bad kind differs from a good file in one place.
"""
import os
import sys

import numpy as np

from onnx_pb import attr, data, f32, graph, model, node, num, simple, tag, tensor, value, varint

F, I = "float32", "int64"
KINDS = []


def kind(name, blob, opened, run="-", fill=0):
    KINDS.append((name, blob, opened, run if opened in ("ok", "any") else "-", fill))


def f(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def i64(*v):
    return np.array(v, np.int64)


# --- the good files -------------------------------------------------------------------------------------------

def relu(**more):
    """x -> Relu -> y, the base of most kinds. more: nodes, inputs, outputs, inits, extra of the graph."""
    parts = dict(nodes=[node("Relu", ["x"], ["y"])], inputs=[value("x", F, (2, 3))], outputs=[value("y", F, (2, 3))],
                 inits=[])
    parts.update(more)
    return graph(**parts)


def tiny():
    """A small net over a 16x16 picture: how much of it is a bright disc. Two convolutions, pooling, a product;
    weights from a seed, scaled so that answers differ; a batch of any size; metadata of its own."""
    rng = np.random.default_rng(11)

    def w(*shape, fan):
        return (rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)
    inits = [tensor("w1", w(8, 1, 3, 3, fan=9)), tensor("b1", w(8, fan=8)), tensor("w2", w(16, 8, 3, 3, fan=72)),
             tensor("b2", w(16, fan=16)), tensor("w3", w(16, 4, fan=16)), tensor("b3", w(4, fan=4))]
    nodes = [node("Conv", ["picture", "w1", "b1"], ["c1"], name="edges", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             node("Relu", ["c1"], ["r1"]), node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
             node("Conv", ["p1", "w2", "b2"], ["c2"], name="shapes", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             node("Relu", ["c2"], ["r2"]), node("GlobalAveragePool", ["r2"], ["g"]), node("Flatten", ["g"], ["v"]),
             node("Gemm", ["v", "w3", "b3"], ["l"]), node("Softmax", ["l"], ["kind"])]
    g = graph(nodes, [value("picture", F, ("batch", 1, 16, 16))], [value("kind", F, ("batch", 4))], inits, name="tiny")
    return model(g, extra=data(14, data(1, "labels") + data(2, "disc,square,stripes,noise")))


def branches(then, other, cond_in=("c", "bool", ()), **more):
    """If over an input; then and other are graphs."""
    nodes = [node("If", [cond_in[0]], ["y"], then_branch=("graph", then), else_branch=("graph", other))]
    return graph(nodes, [value(*cond_in), value("x", F, (2,))], [value("y", F, (2,))], **more)


def branch(op="Relu", take="x", out="t", **more):
    return graph([node(op, [take], [out])], (), [value(out, F, (2,))], **more)


def nested(depth):
    """If in If, built from the inside; graphs share no names."""
    g = branch(out="o0")
    for k in range(1, depth):
        g = graph([node("If", ["c"], ["o%d" % k], then_branch=("graph", g), else_branch=("graph", branch(out="e%d" % k)))],
                  (), [value("o%d" % k, F, (2,))])
    return branches(g, branch(out="last"))


def good():
    kind("good_relu", model(relu()), "ok", "ok")
    kind("good_tiny", tiny(), "ok", "ok")
    kind("good_if", model(branches(branch(out="a"), branch("Neg", out="b"))), "ok", "ok", 1)
    kind("good_if_16_deep", model(nested(15)), "ok", "ok", 1)
    kind("good_unknown_domain_imported", model(relu(), opsets=[("", 13), ("org.nowhere", 3)]), "ok", "ok")
    kind("good_unknown_fields", model(relu(extra=num(900, 1) * 20)), "ok", "ok")
    kind("good_unknown_nested", model(relu(extra=deep_unknown(2000))), "ok", "ok")
    kind("good_initializer_is_input", model(graph([node("Add", ["x", "w"], ["y"])], [value("x", F, (2,)), value("w", F, (2,))],
                                                  [value("y", F, (2,))], [tensor("w", f(2))])), "ok", "ok")
    kind("good_unused_initializer", model(relu(inits=[tensor("nobody", f(3))])), "ok", "ok")
    kind("good_optional_left_out", model(graph([node("Clip", ["x", "", "hi"], ["y"])], [value("x", F, (2,))],
                                               [value("y", F, (2,))], [tensor("hi", np.float32(1))])), "ok", "ok")
    kind("good_no_nodes", model(graph([], [value("x", F, (2,))], [value("x", F, (2,))])), "any", "any")
    kind("good_zero_extent", simple("Relu", {"x": (F, (0, 3))}, out_shape=(0, 3)), "ok", "ok")
    kind("good_rank_0", simple("Neg", {"x": (F, ())}, out_shape=()), "ok", "ok")
    kind("good_typed_fields", model(graph([node("Add", ["x", "w"], ["y"])], [value("x", F, (2,))], [value("y", F, (2,))],
                                          [tensor("w", f(2), raw=b"", extra=f32(4, 1.5) + f32(4, 2.5))])), "ok", "ok")
    kind("good_packed_and_single", model(graph([node("Reshape", ["x", "s"], ["y"])], [value("x", F, (2, 3))],
                                               [value("y", F, (3, 2))],
                                               [tensor("s", i64(3, 2), raw=b"", extra=data(7, varint(3)) + num(7, 2))])), "ok", "ok")
    for k, name in enumerate(("y\0z", "y\x01", "\u202ey", "../../etc/passwd", '{"1": "1_minute_timer"}', "a" * 4096)):
        kind("good_name_%d" % k, model(relu(nodes=[node("Relu", ["x"], [name])], outputs=[value(name, F, (2, 3))])), "ok", "ok")
    kind("good_name_invalid_utf8", model(relu(nodes=[node("Relu", ["x"], [b"\xff\xfe"])], outputs=[value(b"\xff\xfe", F, (2, 3))])),
         "ok", "ok")


def deep_unknown(n):
    out = b""
    for _ in range(n):
        out = data(901, out)
    return out


# --- wire ----------------------------------------------------------------------------------------------------

def wire():
    good_file = model(relu())
    kind("wire_empty", b"", "model")
    kind("wire_varint_11", num(1, 8) + tag(5, 0) + b"\x80" * 10 + b"\1" + good_file, "model")
    kind("wire_varint_above_64_bits", num(1, 8) + tag(5, 0) + b"\xff" * 9 + b"\x7f" + good_file, "model")
    kind("wire_length_beyond", good_file + tag(6, 2) + varint(1 << 40), "model")
    kind("wire_length_wraps", good_file + tag(6, 2) + varint((1 << 64) - 1), "model")
    kind("wire_inner_length_beyond", model(relu(extra=tag(10, 2) + varint(5) + b"ab")), "model")
    kind("wire_field_0", good_file + tag(0, 0) + b"\0", "model")
    for w in (3, 4, 6, 7):
        kind("wire_type_%d" % w, good_file + tag(900, w) + b"\0", "model")
    kind("wire_groups_deep", good_file + tag(900, 3) * 100000, "model")
    kind("wire_known_field_other_type", good_file + data(5, b"x"), "model")
    kind("wire_graph_as_number", num(1, 8) + num(7, 3), "model")
    kind("wire_unknown_many", model(relu(extra=num(900, 1) * 5000)), "limit")
    kind("wire_unknown_many_empty", good_file + data(900, b"") * 100000, "limit")
    kind("wire_two_graphs", good_file + data(7, relu()), "model")
    kind("wire_two_irs", good_file + num(1, 8), "model")
    kind("wire_trailing_zero", good_file + b"\0", "model")
    kind("wire_packed_floats_torn", model(graph([node("Add", ["x", "w"], ["y"])], [value("x", F, (2,))], [value("y", F, (2,))],
                                                [tensor("w", f(2), raw=b"", extra=data(4, b"1234567"))])), "model")
    kind("wire_packed_ints_torn", model(graph([node("Reshape", ["x", "s"], ["y"])], [value("x", F, (2, 3))], [value("y", F, (6,))],
                                              [tensor("s", i64(6), raw=b"", extra=data(7, b"\x86"))])), "model")


def formats():
    kind("format_gguf", b"GGUF" + bytes(60), "unsupported")
    kind("format_zip", b"PK\3\4" + bytes(60), "unsupported")
    kind("format_pickle", b"\x80\2c__builtin__\neval\n", "unsupported")
    kind("format_elf", b"\x7fELF" + bytes(60), "unsupported")
    kind("format_text", b"#!/bin/sh\nrm -rf /\n", "unsupported")
    kind("format_json", b'{"a": 1}', "model")
    for n in range(1, 5):
        kind("format_magic_%d" % n, model(relu())[:n], "model")


# --- model ---------------------------------------------------------------------------------------------------

def models():
    kind("model_no_opset", model(relu(), opsets=[]), "model")
    kind("model_domain_twice", model(relu(), opsets=[("", 13), ("", 14)]), "model")
    kind("model_domain_twice_by_alias", model(relu(), opsets=[("", 13), ("ai.onnx", 13)]), "model")
    kind("model_other_domain_twice", model(relu(), opsets=[("", 13), ("a", 1), ("a", 1)]), "model")
    for v, code in ((0, "model"), (-1, "model"), ((1 << 63) - 1, "unsupported"), (6, "unsupported"), (99, "unsupported")):
        kind("model_opset_%d" % v, model(relu(), opset=v), code)
    kind("model_ir_0", model(relu(), ir=0), "model")
    kind("model_ir_negative", model(relu(), ir=-1), "model")
    kind("model_ir_future", model(relu(), ir=200), "unsupported")
    kind("model_no_ir", data(8, num(2, 13)) + data(7, relu()), "model")
    kind("model_no_graph", num(1, 8) + data(8, num(2, 13)), "model")
    kind("model_domain_used", model(relu(nodes=[node("Relu", ["x"], ["y"], domain="org.nowhere")]),
                                    opsets=[("", 13), ("org.nowhere", 1)]), "unsupported")
    kind("model_domain_not_imported", model(relu(nodes=[node("Relu", ["x"], ["y"], domain="org.nowhere")])), "model")
    kind("model_standard_domain_not_imported", model(relu(), opsets=[("org.nowhere", 1)]), "model")
    fn = data(1, "Relu") + data(4, "x") + data(5, "y") + data(7, node("Relu", ["x"], ["y"]))
    kind("model_function_shadows", model(relu(), extra=data(25, fn)), "unsupported")
    kind("model_training", model(relu(), extra=data(20, data(1, relu()))), "unsupported")
    kind("model_metadata_twice", model(relu(), extra=data(14, data(1, "k") + data(2, "v")) * 2), "model")
    kind("model_metadata_many", model(relu(), extra=data(14, data(1, "k")) * 5000), "limit")


# --- graph ---------------------------------------------------------------------------------------------------

def graphs():
    kind("graph_unknown_operator", model(relu(nodes=[node("Frobnicate", ["x"], ["y"])])), "unsupported")
    kind("graph_no_operator", model(relu(nodes=[data(1, "x") + data(2, "y")])), "model")
    kind("graph_no_output", model(relu(outputs=[])), "model")
    kind("graph_input_never_made", model(relu(nodes=[node("Add", ["x", "ghost"], ["y"])])), "model")
    kind("graph_output_never_made", model(relu(outputs=[value("ghost", F, (2, 3))])), "model")
    kind("graph_use_before", model(relu(nodes=[node("Relu", ["t"], ["y"]), node("Neg", ["x"], ["t"])])), "model")
    kind("graph_cycle", model(relu(nodes=[node("Add", ["x", "b"], ["a"]), node("Add", ["x", "a"], ["b"]),
                                          node("Relu", ["a"], ["y"])])), "model")
    kind("graph_self", model(relu(nodes=[node("Relu", ["y"], ["y"])])), "model")
    kind("graph_two_producers", model(relu(nodes=[node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])])), "model")
    kind("graph_input_twice", model(relu(inputs=[value("x", F, (2, 3)), value("x", F, (2, 3))])), "model")
    kind("graph_output_twice", model(relu(outputs=[value("y", F, (2, 3)), value("y", F, (2, 3))])), "model")
    kind("graph_output_is_input_name", model(relu(nodes=[node("Relu", ["x"], ["x"])], outputs=[value("x", F, (2, 3))])), "model")
    kind("graph_initializer_is_output", model(relu(inits=[tensor("y", f(2, 3))])), "model")
    kind("graph_initializer_twice", model(relu(inits=[tensor("w", f(2)), tensor("w", f(2))])), "model")
    kind("graph_initializer_no_name", model(relu(inits=[tensor("", f(2))])), "model")
    kind("graph_required_left_out", model(relu(nodes=[node("Add", ["x", ""], ["y"])])), "model")
    kind("graph_too_few_inputs", model(relu(nodes=[node("Add", ["x"], ["y"])])), "model")
    kind("graph_too_many_inputs", model(relu(nodes=[node("Relu", ["x", "x"], ["y"])])), "model")
    kind("graph_too_many_outputs", model(relu(nodes=[node("Relu", ["x"], ["y", "z"])])), "model")
    kind("graph_no_inputs_of_concat", model(relu(nodes=[node("Concat", [], ["y"], axis=0)])), "model")
    kind("graph_many_inputs", model(relu(inputs=[value("x", F, (2, 3))] + [value("x%d" % k, F, ()) for k in range(100000)])), "limit")
    kind("graph_many_outputs", model(relu(outputs=[value("y", F, (2, 3))] * 300)), "limit")
    kind("graph_input_no_type", model(relu(inputs=[data(1, "x")])), "model")
    kind("graph_input_no_name", model(relu(inputs=[value("", F, (2, 3))])), "model")
    kind("graph_input_type_0", model(relu(inputs=[value("x", 0, (2, 3))])), "model")
    kind("graph_input_type_string", model(relu(inputs=[value("x", 8, (2, 3))])), "unsupported")
    kind("graph_input_type_unknown", model(relu(inputs=[value("x", 77, (2, 3))])), "unsupported")
    kind("graph_input_sequence", model(relu(inputs=[data(1, "x") + data(2, data(4, b""))])), "unsupported")
    kind("graph_input_negative_extent", model(relu(inputs=[value("x", F, (2, -3))])), "model")
    kind("graph_input_huge_extent", model(relu(inputs=[value("x", F, (2, 1 << 62))])), "model")
    kind("graph_input_product_wraps", model(relu(inputs=[value("x", F, (1 << 33, 1 << 33))])), "limit")
    kind("graph_input_rank_9", model(relu(inputs=[value("x", F, (1,) * 9)])), "limit")
    kind("graph_output_other_type", model(relu(outputs=[value("y", I, (2, 3))])), "model")
    kind("graph_sparse_initializer", model(relu(extra=data(15, data(1, tensor("s", f(1)))))), "unsupported")
    kind("graph_sparse_with_external", model(relu(extra=data(15, data(1, external("s"))))), "unsupported")
    kind("graph_name_64k", model(relu(nodes=[node("Relu", ["x"], ["a" * 65536])], outputs=[value("a" * 65536, F, (2, 3))])), "limit")
    kind("graph_op_name_64k", model(relu(nodes=[node("R" * 65536, ["x"], ["y"])])), "limit")
    kind("graph_attribute_many", model(relu(nodes=[node("Relu", ["x"], ["y"], **{"a%d" % k: k for k in range(300)})])), "limit")


# --- tensors -------------------------------------------------------------------------------------------------

def external(name, extra=b""):
    entry = data(13, data(1, "location") + data(2, "../../../etc/passwd"))
    return tensor(name, f(2), raw=b"", extra=entry + num(14, 1) + extra)


def adds(t):
    return model(graph([node("Add", ["x", "w"], ["y"])], [value("x", F, (2,))], [value("y", F, (2,))], [t]))


def tensors():
    kind("tensor_dim_negative", adds(tensor("w", f(2), dims=(-2,))), "model")
    kind("tensor_dim_huge", adds(tensor("w", f(2), dims=(1 << 41,))), "limit")
    kind("tensor_dim_product_wraps", adds(tensor("w", f(2), dims=(1 << 33, 1 << 33))), "model")
    kind("tensor_bytes_wrap", adds(tensor("w", f(2), dims=(1 << 32, 1 << 30))), "model")
    kind("tensor_rank_9", adds(tensor("w", f(1), dims=(1,) * 9)), "limit")
    kind("tensor_rank_1000", adds(tensor("w", f(1), dims=(1,) * 1000)), "limit")
    kind("tensor_data_in_two_fields", adds(tensor("w", f(2), extra=f32(4, 1) + f32(4, 2))), "model")
    kind("tensor_too_much_data", adds(tensor("w", f(3), dims=(2,))), "model")
    kind("tensor_too_little_data", adds(tensor("w", f(2), dims=(3,))), "model")
    kind("tensor_raw_4k_plus_3", adds(tensor("w", f(2), raw=b"\0" * 11)), "model")
    kind("tensor_no_data", adds(tensor("w", f(2), raw=b"")), "model")
    kind("tensor_wrong_typed_field", adds(tensor("w", f(2), raw=b"", extra=num(7, 1) + num(7, 2))), "model")
    kind("tensor_too_many_typed", adds(tensor("w", f(2), raw=b"", extra=f32(4, 1) * 3)), "model")
    kind("tensor_type_0", adds(tensor("w", f(2), dtype=0)), "model")
    kind("tensor_type_unknown", adds(tensor("w", f(2), dtype=99)), "unsupported")
    kind("tensor_type_negative", adds(tensor("w", f(2), dtype=-1)), "unsupported")
    kind("tensor_type_missing", adds(num(1, 2) + data(8, "w") + data(9, bytes(8))), "model")
    kind("tensor_string", adds(tensor("w", f(2), dtype=8, raw=b"", extra=data(6, "a") + data(6, "b"))), "unsupported")
    kind("tensor_int4_huge", adds(tensor("w", f(1), dtype=22, dims=(700000000,), raw=b"\0")), "unsupported")
    kind("tensor_uint2_huge", adds(tensor("w", f(1), dtype=25, dims=(1 << 40,), raw=b"\0")), "unsupported")
    kind("tensor_segment", adds(tensor("w", f(2), extra=data(3, num(1, 0) + num(2, 1)))), "unsupported")
    kind("tensor_external", adds(external("w")), "unsupported")
    kind("tensor_external_flag_with_data", adds(tensor("w", f(2), extra=num(14, 1))), "unsupported")
    kind("tensor_external_entry_only", adds(tensor("w", f(2), extra=data(13, data(1, "location") + data(2, "/etc/passwd")))), "unsupported")
    kind("tensor_external_in_constant", model(relu(nodes=[node("Constant", [], ["c"], value=("tensor", external(""))),
                                                          node("Relu", ["x"], ["y"])])), "unsupported")
    kind("tensor_bool_of_2", model(graph([node("Where", ["c", "x", "x"], ["y"])], [value("x", F, (2,))], [value("y", F, (2,))],
                                         [tensor("c", np.array([True, False]), raw=b"\1\2")])), "model")
    kind("tensor_int8_out_of_range", model(graph([node("Cast", ["w"], ["y"], to=1)], [], [value("y", F, (2,))],
                                                 [tensor("w", np.zeros(2, np.int8), raw=b"", extra=num(5, 1) + num(5, 300))])), "model")
    kind("tensor_bias_other_length", simple("Conv", {"x": (F, (1, 1, 4, 4))}, inits={"w": f(2, 1, 3, 3), "b": f(3)}), "model")


# --- attributes ------------------------------------------------------------------------------------------------

def conv(w=(2, 2, 3, 3), x=(1, 2, 8, 8), **attrs):
    return simple("Conv", {"x": (F, x)}, inits={"w": f(*w)}, **attrs)


def attributes():
    twice = data(5, attr("axis", 0)) * 2
    kind("attr_twice", model(relu(nodes=[node("Softmax", ["x"], ["y"], raw_attrs=twice)])), "model")
    torn = data(5, data(1, "axis") + f32(2, 1.0) + num(20, 2))
    kind("attr_type_and_content", model(relu(nodes=[node("Softmax", ["x"], ["y"], raw_attrs=torn)])), "model")
    kind("attr_type_unknown", model(relu(nodes=[node("Softmax", ["x"], ["y"], raw_attrs=data(5, data(1, "axis") + num(3, 1) + num(20, 40)))])),
         "unsupported")
    kind("attr_unknown", model(relu(nodes=[node("Relu", ["x"], ["y"], slope=0.5)])), "unsupported")
    kind("attr_wrong_type", model(relu(nodes=[node("Softmax", ["x"], ["y"], axis=1.0)])), "model")
    kind("attr_graph_for_tensor", model(relu(nodes=[node("Constant", [], ["c"], value=("graph", relu())), node("Relu", ["x"], ["y"])])),
         "model")
    kind("attr_sparse_tensor", model(relu(nodes=[node("Constant", [], ["c"], raw_attrs=data(5, data(1, "sparse_value") + data(22, b"") + num(20, 11))),
                                                 node("Relu", ["x"], ["y"])])), "unsupported")
    kind("attr_reference", model(relu(nodes=[node("Softmax", ["x"], ["y"], raw_attrs=data(5, data(1, "axis") + data(21, "a") + num(20, 2)))])),
         "unsupported")
    for name, attrs in {"pads_short": dict(pads=[1]), "pads_long": dict(pads=[1] * 6), "pads_negative": dict(pads=[-1] * 4),
                        "pads_huge": dict(pads=[1 << 62] * 4), "stride_0": dict(strides=[0, 1]), "stride_negative": dict(strides=[-1, 1]),
                        "dilation_0": dict(dilations=[0, 1]), "dilation_min": dict(dilations=[-(1 << 63), 1]), "group_0": dict(group=0),
                        "group_negative": dict(group=-1), "group_3": dict(group=3), "group_huge": dict(group=1 << 62),
                        "kernel_0": dict(kernel_shape=[0, 0]), "kernel_other": dict(kernel_shape=[5, 5]),
                        "strides_short": dict(strides=[1])}.items():
        kind("conv_" + name, conv(**attrs), "model")
    kind("conv_auto_pad_unknown", conv(auto_pad="MAGIC"), "unsupported")
    kind("conv_dilation_huge", conv(dilations=[1 << 40, 1]), "model")
    kind("conv_window_too_large", conv(x=(1, 2, 2, 2)), "model")
    kind("conv_5d_weights_on_4d", simple("Conv", {"x": (F, (1, 2, 8, 8))}, inits={"w": f(2, 2, 3, 3, 1)}), "model")
    kind("conv_3d", simple("Conv", {"x": (F, (1, 2, 4, 4, 4))}, inits={"w": f(2, 2, 3, 3, 3)}), "unsupported")
    kind("conv_channels", conv(w=(2, 3, 3, 3)), "model")
    kind("conv_rank_2", simple("Conv", {"x": (F, (4, 4))}, inits={"w": f(2, 2)}), "model")
    kind("conv_pads_just_huge", conv(pads=[1 << 30] * 4), "limit")
    kind("conv_over_ints", simple("Conv", {"x": (I, (1, 2, 8, 8))}, inits={"w": i64(*range(36)).reshape(2, 2, 3, 3)}), "unsupported")
    pool = {"x": (F, (1, 2, 8, 8))}
    kind("pool_no_kernel", simple("MaxPool", pool), "model")
    kind("pool_stride_0", simple("MaxPool", pool, kernel_shape=[2, 2], strides=[0, 0]), "model")
    kind("pool_pads_of_kernel", simple("MaxPool", pool, kernel_shape=[2, 2], pads=[2, 2, 2, 2]), "model")
    kind("pool_indices", model(graph([node("MaxPool", ["x"], ["y", "i"], kernel_shape=[2, 2])], [value("x", F, (1, 2, 8, 8))],
                                     [value("y", F, None), value("i", I, None)])), "unsupported")
    kind("transpose_perm_twice", simple("Transpose", {"x": (F, (2, 3))}, perm=[0, 0]), "model")
    kind("transpose_perm_outside", simple("Transpose", {"x": (F, (2, 3))}, perm=[0, 2]), "model")
    kind("transpose_perm_negative", simple("Transpose", {"x": (F, (2, 3))}, perm=[-1, 0]), "model")
    kind("transpose_perm_short", simple("Transpose", {"x": (F, (2, 3))}, perm=[0]), "model")
    for axis in (2, -3, (1 << 63) - 1, -(1 << 63)):
        kind("softmax_axis_%d" % axis, simple("Softmax", {"x": (F, (2, 3))}, axis=axis), "model")
        kind("concat_axis_%d" % axis, simple("Concat", {"x": (F, (2, 3))}, axis=axis), "model")
    kind("concat_no_axis", simple("Concat", {"x": (F, (2, 3))}), "model")
    kind("squeeze_axes_twice", simple("Squeeze", {"x": (F, (1, 1, 3))}, inits={"a": i64(0, 0)}), "model")
    kind("squeeze_axis_not_1", simple("Squeeze", {"x": (F, (1, 2, 3))}, inits={"a": i64(1)}), "model")
    kind("unsqueeze_axes_twice", simple("Unsqueeze", {"x": (F, (2, 3))}, inits={"a": i64(0, 0)}), "model")
    kind("unsqueeze_rank_9", simple("Unsqueeze", {"x": (F, (1,) * 8)}, inits={"a": i64(0)}), "limit")
    kind("reduce_axes_twice", simple("ReduceMean", {"x": (F, (2, 3))}, axes=[1, -1]), "model")
    kind("split_parts", model(graph([node("Split", ["x", "p"], ["a", "b"], axis=0)], [value("x", F, (4,))],
                                    [value("a", F, None), value("b", F, None)], [tensor("p", i64(1, 2))])), "model")
    kind("split_part_negative", model(graph([node("Split", ["x", "p"], ["a", "b"], axis=0)], [value("x", F, (4,))],
                                            [value("a", F, None), value("b", F, None)], [tensor("p", i64(5, -1))])), "model")
    kind("split_part_wraps", model(graph([node("Split", ["x", "p"], ["a", "b"], axis=0)], [value("x", F, (4,))],
                                         [value("a", F, None), value("b", F, None)],
                                         [tensor("p", i64((1 << 63) - 1, -(1 << 63) + 5))])), "model")
    kind("split_num_outputs_0", model(graph([node("Split", ["x"], ["a", "b"], axis=0, num_outputs=0)], [value("x", F, (4,))],
                                            [value("a", F, None), value("b", F, None)]), opset=18), "model")
    for name, s in {"zero": 0.0, "negative": -1.0, "nan": float("nan"), "inf": float("inf"), "huge": 1e30}.items():
        kind("resize_scale_" + name, model(graph([node("Resize", ["x", "", "s"], ["y"], mode="nearest")], [value("x", F, (1, 1, 4, 4))],
                                                 [value("y", F, None)], [tensor("s", np.array([1, 1, s, 1], np.float32))])), "model")
    kind("resize_scale_large", model(graph([node("Resize", ["x", "", "s"], ["y"], mode="nearest")], [value("x", F, (1, 1, 4, 4))],
                                           [value("y", F, None)], [tensor("s", np.array([1, 1, 4e8, 4e8], np.float32))])), "limit")
    kind("resize_cubic", model(graph([node("Resize", ["x", "", "s"], ["y"], mode="cubic")], [value("x", F, (1, 1, 4, 4))],
                                     [value("y", F, None)], [tensor("s", np.array([1, 1, 2, 2], np.float32))])), "unsupported")
    kind("resize_no_scales", simple("Resize", {"x": (F, (1, 1, 4, 4))}), "model")
    kind("cast_type_unknown", simple("Cast", {"x": (F, (2,))}, to=77), "unsupported")
    kind("cast_type_string", simple("Cast", {"x": (F, (2,))}, to=8), "unsupported")
    kind("cast_no_type", simple("Cast", {"x": (F, (2,))}), "model")
    kind("depth_block_0", simple("DepthToSpace", {"x": (F, (1, 4, 2, 2))}, blocksize=0), "model")
    kind("depth_block_huge", simple("DepthToSpace", {"x": (F, (1, 4, 2, 2))}, blocksize=1 << 62), "model")
    kind("lrn_size_0", simple("LRN", {"x": (F, (1, 4, 2, 2))}, size=0), "model")
    kind("gemm_shapes", simple("Gemm", {"x": (F, (2, 3))}, inits={"w": f(4, 5)}), "model")
    kind("matmul_shapes", simple("MatMul", {"x": (F, (2, 3))}, inits={"w": f(4, 5)}), "model")
    kind("add_shapes", simple("Add", {"x": (F, (2, 3))}, inits={"w": f(4)}), "model")
    kind("add_types", simple("Add", {"x": (F, (2,)), "z": (I, (2,))}), "model")
    kind("batchnorm_training", simple("BatchNormalization", {"x": (F, (1, 2, 3, 3))}, opset=15, training_mode=1,
                                      inits={"s": f(2), "b": f(2), "m": f(2), "v": f(2)}), "unsupported")
    kind("batchnorm_channels", simple("BatchNormalization", {"x": (F, (1, 2, 3, 3))}, inits={"s": f(3), "b": f(3), "m": f(3), "v": f(3)}),
         "model")
    kind("dropout_training", simple("Dropout", {"x": (F, (2,))}, inits={"r": np.float32(0.5), "t": np.array(True)}), "unsupported")
    lstm = {"w": f(1, 8, 3), "r": f(1, 8, 2)}
    kind("lstm_peepholes", model(graph([node("LSTM", ["x", "w", "r", "", "", "", "", "p"], ["y"])], [value("x", F, (1, 1, 3))],
                                       [value("y", F, None)], [tensor(k, v) for k, v in lstm.items()] + [tensor("p", f(1, 6))])),
         "unsupported")
    kind("lstm_hidden_size", simple("LSTM", {"x": (F, (1, 1, 3))}, inits=lstm, hidden_size=3), "model")
    kind("lstm_weights", simple("LSTM", {"x": (F, (1, 1, 3))}, inits={"w": f(1, 7, 3), "r": f(1, 8, 2)}), "model")
    kind("lstm_activation", simple("LSTM", {"x": (F, (1, 1, 3))}, inits=lstm, activations=["Relu", "Tanh", "Tanh"]), "unsupported")
    kind("lstm_layout", simple("LSTM", {"x": (F, (1, 1, 3))}, inits=lstm, opset=14, layout=1), "unsupported")


# --- data ------------------------------------------------------------------------------------------------------

def gather(index, op="Gather"):
    return simple(op, {"x": (F, (4,))}, inits={"i": i64(index)})


def sized(op, dims, **attrs):
    """An operator whose second input is a list of sizes."""
    return simple(op, {"x": (F, (2, 3))}, inits={"s": i64(*dims)}, **attrs)


def datas():
    for v in (-1, -4, 3):
        kind("gather_%d" % v, gather(v), "ok", "ok")
    for v in (4, -5, (1 << 63) - 1, -(1 << 63)):
        kind("gather_out_%d" % v, gather(v), "ok", "model")
        kind("gather_folded_out_%d" % v, model(graph([node("Gather", ["w", "i"], ["y"])], [], [value("y", F, None)],
                                                     [tensor("w", f(4)), tensor("i", i64(v))])), "model")
        kind("gather_given_out_%d" % v, simple("Gather", {"x": (F, (4,)), "i": (I, (2,))}), "ok", "model", v)
    kind("gather_given_in", simple("Gather", {"x": (F, (4,)), "i": (I, (2,))}), "ok", "ok", -4)
    kind("gather_from_empty", simple("Gather", {"x": (F, (0,)), "i": (I, (1,))}), "ok", "model", 0)
    kind("gather_float_index", simple("Gather", {"x": (F, (4,)), "i": (F, (2,))}), "model")
    onehot = dict(inits={"d": i64(3), "v": np.array([0, 1], np.float32)})
    kind("onehot_outside_is_off", simple("OneHot", {"i": (I, (4,))}, **onehot), "ok", "ok", -(1 << 63))
    kind("onehot_depth_0", simple("OneHot", {"i": (I, (4,))}, inits={"d": i64(0), "v": np.array([0, 1], np.float32)}), "model")
    kind("onehot_depth_huge", simple("OneHot", {"i": (I, (4,))}, inits={"d": i64(1 << 62), "v": np.array([0, 1], np.float32)}), "limit")
    for op in ("GatherElements", "GatherND", "ScatterElements", "MaxUnpool", "ArrayFeatureExtractor"):
        kind("index_" + op, gather(9, op), "unsupported")
    for op in ("TopK", "Loop", "Scan", "NonZero", "Compress", "SplitToSequence", "Bernoulli", "StringNormalizer"):
        kind("operator_" + op, simple(op, {"x": (F, (4,))}), "unsupported")
    sl = {"x": (F, (5,))}
    kind("slice_step_0", simple("Slice", sl, inits={"a": i64(0), "b": i64(5), "c": i64(0), "d": i64(0)}), "model")
    kind("slice_step_min", simple("Slice", sl, inits={"a": i64(4), "b": i64(-(1 << 63)), "c": i64(0), "d": i64(-(1 << 63))}), "ok", "ok")
    kind("slice_extremes", simple("Slice", sl, inits={"a": i64(-(1 << 63)), "b": i64((1 << 63) - 1)}), "ok", "ok")
    kind("slice_axis_outside", simple("Slice", sl, inits={"a": i64(0), "b": i64(5), "c": i64(1)}), "model")
    kind("slice_axes_twice", simple("Slice", {"x": (F, (5, 5))}, inits={"a": i64(0, 0), "b": i64(5, 5), "c": i64(0, -2)}), "model")
    kind("slice_lengths", simple("Slice", sl, inits={"a": i64(0, 0), "b": i64(5)}), "model")
    kind("slice_of_running_value", simple("Slice", {"x": (F, (5,)), "a": (I, (1,))}, inits={"b": i64(5)}), "ok", "ok", 1)
    kind("reshape_two_open", sized("Reshape", (-1, -1)), "model")
    kind("reshape_other_count", sized("Reshape", (4, 2)), "model")
    kind("reshape_wraps", sized("Reshape", (1 << 32, 1 << 32)), "model")
    kind("reshape_minus_2", sized("Reshape", (-2, 3)), "model")
    kind("reshape_0_beyond_rank", sized("Reshape", (2, 3, 0)), "model")
    kind("reshape_allowzero", simple("Reshape", {"x": (F, (2, 3))}, inits={"s": i64(0, 3)}, opset=14, allowzero=1), "model")
    kind("reshape_rank_9", sized("Reshape", (1,) * 7 + (2, 3)), "model")
    kind("reshape_float_shape", simple("Reshape", {"x": (F, (2, 3))}, inits={"s": f(2)}), "model")
    kind("expand_bomb", sized("Expand", (1 << 30, 2, 3)), "limit")
    kind("expand_bomb_wraps", sized("Expand", (1 << 40, 1 << 40, 2, 3)), "limit")
    kind("expand_shapes", sized("Expand", (4, 4)), "model")
    kind("tile_bomb", sized("Tile", (1 << 40, 1)), "limit")
    kind("tile_negative", sized("Tile", (-1, 1)), "limit")
    kind("tile_short", sized("Tile", (2,)), "model")
    kind("pad_bomb", sized("Pad", (1 << 40, 0, 0, 0)), "limit")
    kind("pad_beyond_limit", sized("Pad", (1 << 62, 0, 0, 0)), "limit")
    kind("pad_negative_too_far", sized("Pad", (-3, 0, 0, 0)), "model")
    kind("pad_reflect_too_far", sized("Pad", (5, 0, 0, 0), mode="reflect"), "model")
    kind("pad_short", sized("Pad", (1, 1)), "model")
    kind("pad_mode_unknown", sized("Pad", (1, 0, 0, 0), mode="magic"), "unsupported")
    shape_out = dict(out_dtype=F)
    kind("constant_of_shape_bomb", model(graph([node("ConstantOfShape", ["s"], ["c"]), node("Add", ["c", "x"], ["y"])],
                                               [value("x", F, (1,))], [value("y", F, None)], [tensor("s", i64(1 << 20, 1 << 19))])), "limit")
    kind("constant_of_shape_wraps", simple("ConstantOfShape", {}, inits={"s": i64(1 << 32, 1 << 32)}, **shape_out), "limit")
    kind("constant_of_shape_negative", simple("ConstantOfShape", {}, inits={"s": i64(-4)}, **shape_out), "model")
    kind("constant_of_shape_two_values", simple("ConstantOfShape", {}, inits={"s": i64(4)}, value=f(2), **shape_out), "model")
    ranges = dict(out_dtype=I, opset=13)
    kind("range_step_0", simple("Range", {}, inits={"a": np.int64(0), "b": np.int64(5), "c": np.int64(0)}, **ranges), "model")
    kind("range_bomb", simple("Range", {}, inits={"a": np.int64(-(1 << 63)), "b": np.int64((1 << 63) - 1), "c": np.int64(1)}, **ranges),
         "limit")
    kind("range_nan", simple("Range", {}, inits={"a": np.float32(0), "b": np.float32(5), "c": np.float32("nan")}, out_dtype=F), "unsupported")
    kind("range_extremes", simple("Range", {}, inits={"a": np.int64(-(1 << 63)), "b": np.int64((1 << 63) - 1), "c": np.int64((1 << 63) - 1)},
                                  **ranges), "ok", "ok")
    chain = [node("Shape", ["x"], ["a"]), node("Mul", ["a", "m"], ["b"]), node("Add", ["b", "m"], ["c"]),
             node("ConstantOfShape", ["c"], ["y"])]
    kind("shape_chain_wraps", model(graph(chain, [value("x", F, (2, 3))], [value("y", F, None)], [tensor("m", i64((1 << 63) - 1))])), "limit")
    kind("divide_by_zero", model(graph([node("Div", ["a", "b"], ["y"])], [], [value("y", I, None)],
                                       [tensor("a", i64(1)), tensor("b", i64(0))])), "model")
    kind("divide_by_zero_given", simple("Div", {"a": (I, (2,)), "b": (I, (2,))}, out_dtype=I), "ok", "model", 0)
    kind("divide_min_by_minus_1", model(graph([node("Div", ["a", "b"], ["y"])], [value("b", I, (1,))], [value("y", I, None)],
                                              [tensor("a", i64(-(1 << 63)))])), "ok", "ok", -1)
    kind("modulo_by_zero", simple("Mod", {"a": (I, (2,)), "b": (I, (2,))}, out_dtype=I), "ok", "model", 0)
    kind("reduce_max_of_nothing", simple("ReduceMax", {"x": (F, (0, 3))}, axes=[0]), "model")
    kind("argmax_of_nothing", simple("ArgMax", {"x": (F, (0, 3))}, out_dtype=I, axis=0), "model")
    kind("conv_macs_bomb", simple("Conv", {"x": (F, (1, 1, 1 << 20, 1 << 20))}, inits={"w": f(1, 1, 3, 3)}), "limit")
    kind("matmul_bomb", simple("MatMul", {"x": (F, (1 << 22, 1)), "z": (F, (1, 1 << 22))}), "limit")
    kind("broadcast_bomb", simple("Add", {"x": (F, (1 << 22, 1)), "z": (F, (1, 1 << 22))}), "limit")


# --- control flow ------------------------------------------------------------------------------------------------

def control():
    ok = branch(out="a")
    one = [node("If", ["c"], ["y"], then_branch=("graph", ok))]
    io = ([value("c", "bool", ()), value("x", F, (2,))], [value("y", F, (2,))])
    kind("if_missing_branch", model(graph(one, *io)), "model")
    two = graph([node("Relu", ["x"], ["b"]), node("Neg", ["x"], ["d"])], (), [value("b", F, (2,)), value("d", F, (2,))])
    kind("if_different_outputs", model(branches(ok, two)), "model")
    later = graph([node("Relu", ["z"], ["b"])], (), [value("b", F, (2,))])
    kind("if_captures_later", model(graph([node("If", ["c"], ["y"], then_branch=("graph", ok), else_branch=("graph", later)),
                                           node("Relu", ["x"], ["z"])], *io)), "model")
    kind("if_captures_own_output", model(branches(ok, branch(take="y", out="b"))), "model")
    kind("if_captures_of_sibling", model(branches(ok, branch(take="a", out="b"))), "model")
    kind("if_shadows", model(branches(ok, branch("Neg", out="x"))), "model")
    kind("if_17_deep", model(nested(17)), "limit")
    kind("if_10000_deep", model(nested(3000)), "limit")
    kind("if_with_inputs", model(branches(ok, graph([node("Relu", ["q"], ["b"])], [value("q", F, (2,))], [value("b", F, (2,))]))),
         "unsupported")
    kind("if_condition_float", model(branches(ok, branch("Neg", out="b"), ("c", F, ()))), "model")
    kind("if_condition_two", model(branches(ok, branch("Neg", out="b"), ("c", "bool", (2,)))), "ok", "model")
    kind("if_branch_no_output", model(branches(ok, graph([], (), ()))), "model")
    kind("if_branch_output_never_made", model(branches(ok, graph([], (), [value("ghost", F, (2,))]))), "model")
    kind("if_branch_external", model(branches(ok, branch(out="b", inits=[external("w")]))), "unsupported")


def main():
    if sys.argv[1] == "--tiny":
        with open(sys.argv[2], "wb") as out:
            out.write(tiny())
        return
    os.makedirs(sys.argv[1], exist_ok=True)
    for part in (good, wire, formats, models, graphs, tensors, attributes, datas, control):
        part()
    if len(sys.argv) > 2:
        KINDS[:] = [k for k in KINDS if len(k[1]) <= int(sys.argv[2])]
    names = [k[0] for k in KINDS]
    assert len(set(names)) == len(names)
    with open(os.path.join(sys.argv[1], "manifest.txt"), "w", encoding="ascii") as m:
        for name, blob, opened, run, fill in KINDS:
            with open(os.path.join(sys.argv[1], name + ".onnx"), "wb") as out:
                out.write(blob)
            m.write("%s %s %s %d\n" % (name, opened, run, fill))
    print("make_onnx: %d files, %d of them bad" % (len(KINDS), sum(k[2] not in ("ok", "any") or k[3] not in ("ok", "-", "any") for k in KINDS)))


if __name__ == "__main__":
    main()
