#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the small GGUF files of the tests: good ones and every bad kind, each with what must come of it.

usage: make_gguf.py DIR        writes DIR/NAME.gguf and DIR/manifest.txt

A line of the manifest: NAME OPENED VERDICT WORD. OPENED is the code of reading it: "ok", a code of
proto/err.h, "refused" (any code) or "any". VERDICT is, for one that is read, why it cannot run ("-": not
compared). WORD ("~" for blanks) must stand in the error's text, or be the code of one of the facts ("-": not compared). A bad
kind differs from a good file in one place.
"""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
SCALARS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "B", U64: "Q", I64: "q", F64: "d"}
# type: (elements, bytes) of a block
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
         "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110),
         "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
         "IQ4_XS": (23, 256, 136), "BF16": (30, 1, 2), "MXFP4": (39, 32, 17),
         "IQ2_XXS": (16, 256, 66), "IQ2_XS": (17, 256, 74), "IQ3_XXS": (18, 256, 98), "IQ1_S": (19, 256, 50),
         "IQ3_S": (21, 256, 110), "IQ2_S": (22, 256, 82), "IQ1_M": (29, 256, 56), "TQ1_0": (34, 256, 54),
         "TQ2_0": (35, 256, 66), "I32": (26, 1, 4), "F64": (28, 1, 8)}
RUNS = list(TYPES)[:16]
KINDS = []


def kind(name, blob, opened, verdict="-", word="-"):
    KINDS.append((name, blob, opened, verdict, word.replace(" ", "~")))


def string(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def value(t, v):
    if t == STR:
        return string(v)
    if t == ARR:
        elem, items = v
        return struct.pack("<IQ", elem, len(items)) + b"".join(value(elem, i) for i in items)
    return struct.pack("<" + SCALARS[t], v)


class Tensor:
    """One record and its data; what is given beyond name, extents and type replaces the honest value."""

    def __init__(self, name, dims, type="F32", data=None, number=None, rank=None, offset=None, extents=None):
        self.name, self.dims, self.type = name, list(dims), type
        n = 1
        for d in dims:
            n *= d
        _, elems, size = TYPES[type]
        self.bytes = n // elems * size
        self.data = bytes(self.bytes) if data is None else data
        self.number, self.rank, self.offset, self.extents = number, rank, offset, extents

    def record(self, offset):
        dims = self.dims if self.extents is None else self.extents
        return (string(self.name) + struct.pack("<I", len(dims) if self.rank is None else self.rank)
                + b"".join(struct.pack("<Q", d & (2**64 - 1)) for d in dims)
                + struct.pack("<IQ", TYPES[self.type][0] if self.number is None else self.number,
                              offset if self.offset is None else self.offset))


class File:
    def __init__(self, pairs=(), tensors=(), align=None, version=3, magic=b"GGUF", n_pairs=None, n_tensors=None,
                 layout=None, data=True, tail=b"", gap=0):
        self.pairs, self.tensors = list(pairs), list(tensors)
        self.align, self.version, self.magic = align, version, magic
        self.n_pairs, self.n_tensors = n_pairs, n_tensors
        self.layout = layout or align or 32    # the alignment that offsets are laid out for
        self.data, self.tail, self.gap = data, tail, gap

    def blob(self):
        pairs = self.pairs + ([("general.alignment", U32, self.align)] if self.align is not None else [])
        out = self.magic + struct.pack("<IQQ", self.version, len(self.tensors) if self.n_tensors is None else
                                       self.n_tensors, len(pairs) if self.n_pairs is None else self.n_pairs)
        for key, t, v in pairs:
            out += string(key) + struct.pack("<I", t) + (v if isinstance(v, bytes) and t != STR else value(t, v))
        body, at = b"", 0
        for t in self.tensors:
            out += t.record(at)
            body += t.data
            at += len(t.data)
            pad = -at % self.layout + self.gap
            body += bytes(pad)
            at += pad
        if self.tensors and self.data:
            out += bytes(-len(out) % self.layout) + body
        return out + self.tail


# --- good files ------------------------------------------------------------------------------------------------

ALL_VALUES = [("v.u8", U8, 200), ("v.i8", I8, -3), ("v.u16", U16, 60000), ("v.i16", I16, -30000), ("v.u32", U32, 2**32 - 1),
              ("v.i32", I32, -2**31), ("v.f32", F32, 1.5), ("v.bool", BOOL, 1), ("v.str", STR, "text"), ("v.u64", U64, 2**64 - 1),
              ("v.i64", I64, -2**63), ("v.f64", F64, -0.25)]
ALL_ARRAYS = [("a.%d" % t, ARR, (t, [b"x", b""] if t == STR else [0, 1])) for t in range(13) if t != ARR]


def small_pairs():
    return [("general.architecture", STR, "none-such"), ("general.name", STR, "small")]


def small_tensors():
    return [Tensor("a", [4, 2], data=struct.pack("<8f", *range(8))), Tensor("b", [32], "Q8_0", data=bytes(range(34)))]


def small(**more):
    return File(pairs=more.pop("pairs", small_pairs()), tensors=more.pop("tensors", small_tensors()), **more).blob()


def vocab_spm(n):
    """n tokens as SentencePiece has them: three of control, 256 bytes, pieces."""
    tokens = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)]
    types = [2, 3, 3] + [6] * 256
    pieces = ["\u2581"] + [chr(97 + i) for i in range(26)] + ["\u2581a", "ab", "\u2581ab", "the", "\u2581the", "er", "in", "ing"]
    for p in (pieces + ["piece%d" % i for i in range(n)])[:n - len(tokens)]:
        tokens.append(p)
        types.append(1)
    return tokens, [float(-i) for i in range(n)], types


def vocab_pairs(n=320):
    tokens, scores, types = vocab_spm(n)
    return [("tokenizer.ggml.model", STR, "llama"), ("tokenizer.ggml.pre", STR, "default"),
            ("tokenizer.ggml.tokens", ARR, (STR, tokens)), ("tokenizer.ggml.scores", ARR, (F32, scores)),
            ("tokenizer.ggml.token_type", ARR, (I32, types)), ("tokenizer.ggml.bos_token_id", U32, 1),
            ("tokenizer.ggml.eos_token_id", U32, 2), ("tokenizer.ggml.unknown_token_id", U32, 0)]


class Net:
    """A small model of an architecture; set() and drop() change one thing."""

    def __init__(self, arch="llama", n_vocab=320):
        self.arch = arch
        w, heads, kv, key, ff, layers = 32, 4, 2, 16, 64, 2
        eps = "layer_norm_epsilon" if arch == "bert" else "layer_norm_rms_epsilon"
        kv = heads if arch == "bert" else kv
        key = w // heads if arch == "bert" else key
        self.pairs = [("general.architecture", STR, arch), ("general.name", STR, "tiny " + arch)]
        for k, v in [("block_count", layers), ("context_length", 64), ("embedding_length", w), ("feed_forward_length", ff),
                     ("attention.head_count", heads)]:
            self.pairs.append(("%s.%s" % (arch, k), U32, v))
        self.pairs.append(("%s.attention.%s" % (arch, eps), F32, 1e-5))
        if arch != "bert":
            self.pairs += [("%s.attention.head_count_kv" % arch, U32, kv), ("%s.attention.key_length" % arch, U32, key),
                           ("%s.attention.value_length" % arch, U32, key), ("%s.rope.freq_base" % arch, F32, 10000.0)]
        if arch == "gemma3":
            self.pairs.append(("gemma3.attention.sliding_window", U32, 16))
        self.pairs += vocab_pairs(n_vocab)
        self.tensors = [Tensor("token_embd.weight", [w, n_vocab], "Q8_0")]
        names = {"q": heads * key, "k": kv * key, "v": kv * key}
        if arch == "bert":
            self.tensors += [Tensor("position_embd.weight", [w, 64]), Tensor("token_types.weight", [w, 2]),
                             Tensor("token_embd_norm.weight", [w]), Tensor("token_embd_norm.bias", [w])]
        else:
            self.tensors.append(Tensor("output_norm.weight", [w]))
        for layer in range(layers):
            def add(name, dims, type="F32", layer=layer):
                self.tensors.append(Tensor("blk.%d.%s" % (layer, name), dims, type))
            for n, out in names.items():
                add("attn_%s.weight" % n, [w, out], "Q4_0")
                if arch == "bert":
                    add("attn_%s.bias" % n, [out])
            add("attn_output.weight", [heads * key, w], "Q4_0")
            add("ffn_up.weight", [w, ff], "Q4_0")
            add("ffn_down.weight", [ff, w], "Q4_0")
            if arch == "bert":
                for n, d in [("attn_output.bias", w), ("attn_output_norm.weight", w), ("attn_output_norm.bias", w),
                             ("ffn_up.bias", ff), ("ffn_down.bias", w), ("layer_output_norm.weight", w),
                             ("layer_output_norm.bias", w)]:
                    add(n, [d])
                continue
            add("ffn_gate.weight", [w, ff], "Q4_0")
            for n in ["attn_norm.weight", "ffn_norm.weight"]:
                add(n, [w])
            if arch == "gemma3":
                for n, d in [("attn_q_norm.weight", key), ("attn_k_norm.weight", key), ("post_attention_norm.weight", w),
                             ("post_ffw_norm.weight", w)]:
                    add(n, [d])

    def set(self, key, t, v):
        self.pairs = [p for p in self.pairs if p[0] != key] + [(key, t, v)]
        return self

    def drop(self, name):
        self.pairs = [p for p in self.pairs if p[0] != name]
        self.tensors = [t for t in self.tensors if t.name != name]
        return self

    def swap(self, name, tensor):
        self.tensors = [tensor if t.name == name else t for t in self.tensors]
        return self

    def blob(self, **more):
        return File(self.pairs, self.tensors, **more).blob()


def good():
    kind("good_empty", File().blob(), "ok", "model", "empty")
    kind("good_values", File(pairs=ALL_VALUES).blob(), "ok")
    kind("good_arrays", File(pairs=ALL_ARRAYS).blob(), "ok")
    kind("good_small", small(), "ok", "unsupported", "architecture")
    kind("good_version2", small(version=2), "ok", "unsupported")
    kind("good_records_only", small(data=False), "ok", "unsupported", "no-data")
    kind("good_align1", small(align=1), "ok", "unsupported", "alignment")
    kind("good_align64", small(align=64), "ok", "unsupported")
    kind("good_align65536", small(align=65536), "ok", "unsupported", "alignment")
    kind("good_rank4", small(tensors=[Tensor("a", [2, 3, 4, 5])]), "ok")
    kind("good_name63", small(tensors=[Tensor("n" * 63, [2])]), "ok")
    kind("good_types", small(tensors=[Tensor(n, [256], n) for n in RUNS]), "ok")
    for arch in ("llama", "gemma3", "bert"):
        kind("good_" + arch, Net(arch).blob(), "ok", "unsupported", "not-yet")
    kind("good_output", net_with(Tensor("output.weight", [32, 320], "F16")), "ok", "unsupported", "not-yet")
    n = Net()
    n.pairs.insert(0, ("tokenizer.chat_template", STR, "{% for m in messages %}{{ m.content }}{% endfor %}"))
    kind("good_template", n.blob(), "ok", "unsupported", "chat-template")
    kind("good_sampling", Net().set("general.sampling.temp", F32, 0.7).blob(), "ok", "unsupported", "sampling")
    kind("good_vocab_only", File(pairs=Net().pairs).blob(), "ok", "unsupported", "no-tensors")


def net_with(tensor):
    n = Net()
    n.tensors.append(tensor)
    return n.blob()


# --- odd: read, and said -----------------------------------------------------------------------------------------

def odd():
    kind("odd_gap", small(gap=64), "ok", "-", "gap")
    kind("odd_trailing", small(tail=b"x" * 100), "ok", "-", "trailing-bytes")
    kind("odd_trailing_zip", small(tail=bytes(32) + b"PK\3\4" + b"x" * 100), "ok", "-", "trailing-bytes")
    a, b = small_tensors()
    kind("odd_order", small(tensors=[Tensor("a", [4, 2], offset=64), Tensor("b", [32], "Q8_0", offset=0, data=bytes(64))]),
         "ok", "-", "tensor-order")
    texts = {"nul": b"a\0b", "control": b"a\x1b[2Jb", "utf8": b"a\xff\xfeb", "surrogate": b"\xed\xa0\x80", "overlong": b"\xc0\xaf",
             "bidi": "a\u202eb".encode(), "c1": "a\u0085b".encode()}
    for name, text in texts.items():
        kind("odd_text_" + name, small(pairs=small_pairs() + [("x", STR, text)]), "ok", "-", "odd-text")
        kind("odd_key_" + name, small(pairs=small_pairs() + [(text, U8, 1)]), "ok", "-", "odd-key")
        kind("odd_name_" + name, small(tensors=[Tensor(text, [4])]), "ok", "-", "odd-name")
    kind("odd_url", small(pairs=small_pairs() + [("x", STR, "see http://example.org/x")]), "ok", "-", "text-like")
    kind("odd_template_code", small(pairs=small_pairs() + [("tokenizer.chat_template", STR, "{{ x.__class__.__mro__ }}")]), "ok",
         "-", "text-like")
    kind("odd_long_text", small(pairs=small_pairs() + [("x", STR, "y" * 5000)]), "ok", "-", "long-text")
    kind("odd_unknown_tensor", net_with(Tensor("blk.0.secret.weight", [32])), "ok", "unsupported", "unknown-tensor")
    kind("odd_layer_beyond", net_with(Tensor("blk.2.attn_norm.weight", [32])), "ok", "unsupported", "unknown-tensor")
    kind("odd_vocab_size", Net().set("llama.vocab_size", U32, 319).blob(), "ok", "unsupported", "vocab-size")
    t, s, k = vocab_spm(320)
    t[-1] = "a\x1bb"
    kind("odd_token_text", Net().set("tokenizer.ggml.tokens", ARR, (STR, t)).blob(), "ok", "-", "token-text")
    kind("odd_many_pairs", small(pairs=small_pairs() + [("k%d" % i, U8, 1) for i in range(3000)]), "ok", "-", "metadata-cut")
    kind("odd_scores_missing", Net().drop("tokenizer.ggml.scores").blob(), "any")


# --- header and pairs ---------------------------------------------------------------------------------------------

def with_pair(key, t, v):
    return small(pairs=small_pairs() + [(key, t, v)])


def header():
    for i in range(4):
        magic = bytearray(b"GGUF")
        magic[i] ^= 0x20
        kind("magic_%d" % i, small(magic=bytes(magic)), "model", "-", "magic")
    kind("magic_reversed", small(magic=b"FUGG"), "unsupported", "-", "byte order")
    for v, word in [(0, "version 0"), (1, "version 1"), (4, "version 4"), (2**32 - 1, "version"), (3 << 24, "big-endian"),
                    (2 << 24, "big-endian")]:
        kind("version_%d" % v, small(version=v), "unsupported", "-", word)
    for n in (2**64 - 1, 2**63, 2**61, 0x1555555555555556, 2**64 // 48 + 1, 2**32, 2**31, 1 << 20):
        kind("tensors_%x" % n, small(n_tensors=n), "model", "-", "tensors")
        kind("pairs_%x" % n, small(n_pairs=n), "model", "-", "pairs")
    kind("tensors_one_more", small(n_tensors=3), "refused")
    kind("pairs_one_more", small(n_pairs=3), "refused")
    kind("pairs_limit", File(pairs=[("k%05d" % i, U8, 1) for i in range(65537)]).blob(), "limit", "-", "65536")
    for n in range(0, 24):
        kind("short_%02d" % n, small()[:n], "model")
    kind("only_magic", b"GGUF", "model", "-", "header")
    kind("zeros", bytes(64), "model")


def pairs():
    base = File(pairs=[]).blob()[:16]
    one = base + struct.pack("<Q", 1)
    for n in (2**64 - 1, 2**63, 2**32, 65536, 100):
        kind("key_length_%x" % n, one + struct.pack("<Q", n) + b"k" * 8 + struct.pack("<IB", U8, 1), "model", "-", "claims")
    kind("key_empty", with_pair("", U8, 1), "model", "-", "empty")
    kind("key_65535", with_pair("k" * 65535, U8, 1), "ok")
    kind("key_65536", with_pair("k" * 65536, U8, 1), "limit", "-", "65535")
    kind("value_type_13", with_pair("x", 13, b"\0" * 8), "model", "-", "value type 13")
    kind("value_type_max", with_pair("x", 2**32 - 1, b"\0" * 8), "model", "-", "value type")
    kind("element_type_13", with_pair("x", ARR, struct.pack("<IQ", 13, 1) + b"\0" * 8), "model", "-", "element type 13")
    kind("element_type_max", with_pair("x", ARR, struct.pack("<IQ", 2**32 - 1, 1) + b"\0" * 8), "model", "-", "element type")
    kind("array_of_arrays", with_pair("x", ARR, struct.pack("<IQ", ARR, 1) + struct.pack("<IQB", U8, 1, 1)), "unsupported", "-",
         "array of arrays")
    kind("key_twice", with_pair("general.name", STR, "again"), "model", "-", "already")
    kind("key_twice_other_type", with_pair("general.name", U8, 1), "model", "-", "already")
    for n in (2**64 - 1, 2**63, 2**61, 2**62 + 1, 2**32, 2**31, 1 << 24):
        kind("string_length_%x" % n, with_pair("x", STR, b"")[:0] + small(pairs=small_pairs() + [("x", U64, n)]).replace(
            struct.pack("<I", U64) + struct.pack("<Q", n), struct.pack("<I", STR) + struct.pack("<Q", n)), "model", "-", "claims")
        for t in (U8, F32, STR, U64, BOOL):
            kind("array_length_%x_%d" % (n, t), with_pair("x", ARR, struct.pack("<IQ", t, n) + b"\0" * 16), "model", "-", "claims")
    kind("string_1mib", with_pair("x", STR, "y" * (1 << 20)), "ok")
    kind("string_over_1mib", with_pair("x", STR, "y" * ((1 << 20) + 1)), "limit", "-", "limit")
    kind("array_limit", with_pair("x", ARR, struct.pack("<IQ", U8, (1 << 24) + 1) + bytes((1 << 24) + 1)), "limit", "-", "limit")
    kind("bool_2", with_pair("x", BOOL, 2), "model", "-", "bool")
    kind("bool_255", with_pair("x", BOOL, 255), "model", "-", "bool")
    kind("bool_array_2", with_pair("x", ARR, (BOOL, [0, 1, 2])), "model", "-", "bool")
    for v in (0, 3, 13, 0x80000000, 0x20000, 2**32 - 1):
        code = "limit" if v in (0x80000000, 0x20000) else "model"
        kind("alignment_%x" % v, small(pairs=small_pairs() + [("general.alignment", U32, v)]), code, "-", "alignment")
    kind("alignment_i32", with_pair("general.alignment", I32, 32), "model", "-", "type")
    kind("alignment_u64", with_pair("general.alignment", U64, 32), "model", "-", "type")
    kind("alignment_string", with_pair("general.alignment", STR, "32"), "model", "-", "type")
    kind("alignment_array", with_pair("general.alignment", ARR, (U32, [32])), "model", "-", "type")
    kind("architecture_number", small(pairs=[("general.architecture", U32, 1)]), "model", "-", "type")
    # names made to fall on one place of any table that hashes them badly: many keys that differ little
    kind("keys_alike", small(pairs=small_pairs() + [("k" * 40 + "%05d" % i, U8, 1) for i in range(20000)]), "ok")


# --- tensors -----------------------------------------------------------------------------------------------------------

def with_tensor(*tensors, **more):
    return small(tensors=list(tensors), **more)


def tensors():
    kind("name_64", with_tensor(Tensor("n" * 64, [2])), "model", "-", "name")
    kind("name_4096", with_tensor(Tensor("n" * 4096, [2])), "model", "-", "name")
    kind("name_empty", with_tensor(Tensor("", [2])), "model", "-", "name")
    kind("name_twice", with_tensor(Tensor("a", [2]), Tensor("a", [2])), "model", "-", "already")
    for rank in (0, 5, 6, 255, 2**31, 2**32 - 1):
        kind("rank_%x" % rank, with_tensor(Tensor("a", [2, 2, 2, 2], rank=rank)), "model", "-", "rank")
    kind("rank_5_honest", with_tensor(Tensor("a", [2, 2, 2, 2, 2])), "model", "-", "rank")
    kind("rank_0_honest", with_tensor(Tensor("a", [])), "model", "-", "rank")
    for i in range(2):
        for v in (0, -1, -2**63, 2**63 - 1, 2**40 + 1, 2**62):
            ext = [4, 2]
            ext[i] = v
            kind("extent%d_%x" % (i, v & (2**64 - 1)), with_tensor(Tensor("a", [4, 2], extents=ext)), "model", "-", "extent")
    kind("extent_2e40", with_tensor(Tensor("a", [4, 2], extents=[2**40, 1])), "model", "-", "claims")
    kind("elements_wrap", with_tensor(Tensor("a", [4, 2], extents=[2**31 - 1, 2**31 - 1, 4])), "model", "-", "2^63")
    kind("elements_wrap4", with_tensor(Tensor("a", [4, 2], extents=[2**31 - 1] * 4)), "model", "-", "2^63")
    kind("elements_wrap_to_8", with_tensor(Tensor("a", [4, 2], extents=[2**34, 2**34, 2**34, 8])), "model", "-", "2^63")
    kind("shape_2e32_q4", with_tensor(Tensor("a", [32], "Q4_0", extents=[2**32, 2**32])), "model", "-", "2^63")
    kind("bytes_wrap_f64", with_tensor(Tensor("a", [4], "F64", extents=[1518500250, 1518500250])), "model", "-", "2^63")
    kind("bytes_wrap_f32", with_tensor(Tensor("a", [4], extents=[2**31, 2**31, 1])), "model", "-", "2^63")
    kind("bytes_just_above_2e31", with_tensor(Tensor("a", [4], extents=[2**31 + 1])), "model", "-", "claims")
    for name, n in (("after", 42), ("64", 64), ("max", 2**32 - 1), ("high", 0x80000000)):
        kind("type_" + name, with_tensor(Tensor("a", [256], number=n)), "unsupported", "-", "type number")
    for name, n in (("q4_2", 4), ("q4_3", 5), ("q4_0_4_4", 31), ("q4_0_8_8", 33), ("iq4_nl_4_4", 36)):
        kind("type_" + name, with_tensor(Tensor("a", [256], number=n)), "unsupported", "-", name.upper())
    for name in list(TYPES)[16:]:
        kind("type_" + name.lower(), with_tensor(Tensor("a", [256], name)), "ok", "unsupported", "tensor-type")
    for name, (_, elems, _) in TYPES.items():
        if elems > 1:
            kind("ragged_" + name.lower(), with_tensor(Tensor("a", [elems + elems // 2, 2], name)), "model", "-", "blocks")
    for off in (2**64 - 1, 2**64 - 32, 2**63, 2**63 - 32, 2**32, 1 << 20):
        word = "alignment" if off % 32 else "offset"
        kind("offset_%x" % off, with_tensor(Tensor("a", [4], offset=off)), "model", "-", word)
    kind("offset_unaligned", with_tensor(Tensor("a", [4], offset=4)), "model", "-", "alignment")
    turned = list(reversed(small_tensors()))   # 34 bytes first
    kind("layout_1_undeclared", small(tensors=turned, layout=1), "model", "-", "alignment")
    kind("layout_1_no_data", small(tensors=turned, layout=1, data=False), "model", "-", "alignment")
    kind("good_turned", small(tensors=turned), "ok", "unsupported")
    kind("same_bytes", with_tensor(Tensor("a", [8]), Tensor("b", [8], offset=0)), "model", "-", "share")
    kind("overlap", with_tensor(Tensor("a", [16]), Tensor("b", [16], offset=32)), "model", "-", "share")
    kind("overlap_inside", with_tensor(Tensor("a", [64]), Tensor("b", [4], offset=32, data=b"")), "model", "-", "share")
    kind("last_byte", small(tensors=small_tensors()[:1])[:-1], "model", "-", "bytes at offset")
    half = [2**31 - 1, 2**30]
    kind("sum_wraps", with_tensor(Tensor("a", [8], extents=half), Tensor("b", [8], extents=half)), "model", "-", "claims")
    kind("sum_wraps_f16", with_tensor(Tensor("a", [8], "F16", extents=[2**40, 2**21]), Tensor("b", [8], "F16", extents=[2**40, 2**21])),
         "model", "-", "claims")
    many = [Tensor("t%d" % i, [1], data=b"\0\0\0\0") for i in range(2000)]
    kind("many_tensors", small(tensors=many), "ok")


# --- the architecture's numbers and tensors -----------------------------------------------------------------------------

def numbers():
    for arch in ("llama", "gemma3", "bert"):
        for key, t, v in Net(arch).pairs:
            if not key.startswith(arch + ".") or t != U32:
                continue
            short = key.replace(arch + ".", "").replace(".", "_")
            for bad in (0, 2**31, 2**32 - 1):
                kind("%s_%s_%x" % (arch, short, bad), Net(arch).set(key, U32, bad).blob(), "refused")
            kind("%s_%s_negative" % (arch, short), Net(arch).set(key, I32, -1).blob(), "model", "-", "negative")
            kind("%s_%s_string" % (arch, short), Net(arch).set(key, STR, "4").blob(), "model", "-", "integer")
            kind("%s_%s_array" % (arch, short), Net(arch).set(key, ARR, (U32, [v, v])).blob(), "model", "-", "integer")
            kind("%s_%s_float" % (arch, short), Net(arch).set(key, F32, float(v)).blob(), "model", "-", "integer")
            if "context" not in key and "window" not in key:
                kind("%s_%s_next" % (arch, short), Net(arch).set(key, U32, v + 1).blob(), "model")
        needed = ["block_count", "context_length", "embedding_length", "feed_forward_length", "attention.head_count",
                  "attention.layer_norm_epsilon" if arch == "bert" else "attention.layer_norm_rms_epsilon"]
        for key in needed + (["attention.sliding_window"] if arch == "gemma3" else []):
            kind("%s_without_%s" % (arch, key.replace(".", "_")), Net(arch).drop("%s.%s" % (arch, key)).blob(), "model", "-", "missing")
    eps = "llama.attention.layer_norm_rms_epsilon"
    for name, v in (("zero", 0.0), ("negative", -1e-5), ("nan", float("nan")), ("inf", float("inf"))):
        kind("epsilon_" + name, Net().set(eps, F32, v).blob(), "model", "-", "positive")
        kind("rope_base_" + name, Net().set("llama.rope.freq_base", F32, v).blob(), "model", "-", "positive")
    kind("epsilon_string", Net().set(eps, STR, "1e-5").blob(), "model", "-", "type")
    kind("rope_dims_too_many", Net().set("llama.rope.dimension_count", U32, 18).blob(), "model", "-", "rotated")
    kind("rope_dims_odd", Net().set("llama.rope.dimension_count", U32, 15).blob(), "model", "-", "rotated")
    kind("layers_512", Net().set("llama.block_count", U32, 512).blob(), "model", "-", "missing")
    kind("layers_513", Net().set("llama.block_count", U32, 513).blob(), "limit", "-", "512")
    kind("heads_1025", Net().set("llama.attention.head_count", U32, 1025).blob(), "limit", "-", "1024")
    kind("heads_3", Net().set("llama.attention.head_count", U32, 3).blob(), "model", "-", "heads")
    kind("split_part", Net().set("split.count", U16, 3).set("split.no", U16, 0).blob(), "ok", "unsupported", "split")
    kind("split_no", Net().set("split.count", U16, 3).set("split.no", U16, 3).blob(), "model", "-", "split")
    kind("split_string", Net().set("split.count", STR, "3").blob(), "model", "-", "integer")
    kind("no_architecture", Net().drop("general.architecture").blob(), "ok", "model", "no-architecture")
    kind("architecture_unknown", Net().set("general.architecture", STR, "mamba9").blob(), "ok", "unsupported", "architecture")


def shapes():
    for arch in ("llama", "gemma3", "bert"):
        optional = ("token_types.weight",)
        for t in Net(arch).tensors:
            if t.name.startswith("blk.0.") or t.name in optional:
                continue
            name = "%s_%s" % (arch, t.name.replace(".", "_"))
            kind(name + "_missing", Net(arch).drop(t.name).blob(), "model", "-", "missing")
            if len(t.dims) == 2:
                kind(name + "_turned", Net(arch).swap(t.name, Tensor(t.name, [t.dims[1] + 32, t.dims[0]])).blob(), "model")
                kind(name + "_rank3", Net(arch).swap(t.name, Tensor(t.name, t.dims + [2], t.type)).blob(), "model", "-", "metadata")
                kind(name + "_wide", Net(arch).swap(t.name, Tensor(t.name, [t.dims[0], t.dims[1] + 1], t.type)).blob(), "model")
            else:
                kind(name + "_long", Net(arch).swap(t.name, Tensor(t.name, [t.dims[0] + 1])).blob(), "model", "-", "metadata")
                kind(name + "_type", Net(arch).swap(t.name, Tensor(t.name, t.dims, "F16")).blob(), "model", "-", "F32")


# --- vocabulary ----------------------------------------------------------------------------------------------------------

def vocabulary():
    t, s, k = vocab_spm(320)
    T = "tokenizer.ggml."
    kind("tokens_missing", Net().drop(T + "tokens").blob(), "refused")
    kind("tokens_number", Net().set(T + "tokens", ARR, (U32, [1, 2])).blob(), "model", "-", "array of string")
    kind("tokens_string", Net().set(T + "tokens", STR, "x").blob(), "model", "-", "array of string")
    kind("tokens_fewer", Net().set(T + "tokens", ARR, (STR, t[:-1])).blob(), "model", "-", "elements")
    kind("tokens_none", Net().set(T + "tokens", ARR, (STR, [])).blob(), "model", "-", "elements")
    kind("scores_fewer", Net().set(T + "scores", ARR, (F32, s[:-1])).blob(), "model", "-", "elements")
    kind("scores_more", Net().set(T + "scores", ARR, (F32, s + [0.0])).blob(), "model", "-", "elements")
    kind("scores_f64", Net().set(T + "scores", ARR, (F64, s)).blob(), "model", "-", "array of f32")
    kind("scores_nan", Net().set(T + "scores", ARR, (F32, s[:-1] + [float("nan")])).blob(), "model", "-", "score")
    kind("types_fewer", Net().set(T + "token_type", ARR, (I32, k[:-1])).blob(), "model", "-", "elements")
    kind("types_7", Net().set(T + "token_type", ARR, (I32, k[:-1] + [7])).blob(), "model", "-", "type 7")
    kind("types_negative", Net().set(T + "token_type", ARR, (I32, k[:-1] + [-1])).blob(), "model", "-", "type -1")
    kind("types_u8", Net().set(T + "token_type", ARR, (U8, k)).blob(), "model", "-", "array of i32")
    kind("rows_fewer", Net().swap("token_embd.weight", Tensor("token_embd.weight", [32, 319], "Q8_0")).blob(), "model", "-", "rows")
    for key in ("bos", "eos", "unknown", "padding", "seperator", "cls", "mask", "eot", "eom", "fim_pre"):
        kind("id_%s_beyond" % key, Net().set(T + key + "_token_id", U32, 320).blob(), "model", "-", "320 tokens")
    kind("id_max", Net().set(T + "bos_token_id", U32, 2**32 - 1).blob(), "model", "-", "tokens")
    kind("id_negative", Net().set(T + "bos_token_id", I32, -1).blob(), "model", "-", "negative")
    kind("id_string", Net().set(T + "bos_token_id", STR, "1").blob(), "model", "-", "integer")
    kind("id_last", Net().set(T + "bos_token_id", U32, 319).blob(), "ok", "unsupported")
    kind("token_64k", Net().set(T + "tokens", ARR, (STR, t[:-1] + ["x" * 65536])).blob(), "ok", "unsupported")
    kind("token_over_64k", Net().set(T + "tokens", ARR, (STR, t[:-1] + ["x" * 65537])).blob(), "limit", "-", "65536")
    kind("merges_number", Net().set(T + "merges", ARR, (U32, [1])).blob(), "model", "-", "array of string")


# --- every count and length field of a small file, set to every boundary --------------------------------------------------

def byte_chars():
    """The character that stands for each byte in byte-level vocabularies."""
    own = [b for b in range(256) if 32 < b < 127 or (b > 160 and b != 173)]
    out, n = {}, 0
    for b in range(256):
        out[b] = chr(b) if b in own else chr(256 + n)
        n += b not in own
    return out


def bpe(pre="smollm", tokens=(), merges=None, missing=(), types=None, **keys):
    """Byte-level BPE: bytes, what MERGES make, four tokens of control and two that users defined."""
    merges = ["h e", "l l", "he ll", "hell o", "\u0120 w", "o r", "or l", "\u0120w orl", "\u0120worl d", "a a", "aa aa",
              "\u0120 \u0120", "\u0120\u0120 \u0120\u0120", "1 2", "12 3"] if merges is None else merges
    texts = [c for b, c in byte_chars().items() if b not in missing]
    for m in merges:
        if m.replace(" ", "", 1) not in texts and " " in m[1:]:
            texts.append(m.replace(" ", "", 1))
    kind_of = [1] * len(texts)
    for text, t in [("<|bos|>", 3), ("<|im_end|>", 1), ("<user>", 4), ("<user>x", 4), ("<|bos|><user>", 3), ("er><|", 4)] + list(tokens):
        texts.append(text)
        kind_of.append(t)
    n = Net(n_vocab=len(texts))
    T = "tokenizer.ggml."
    for key in ("scores", "unknown_token_id"):
        n.drop(T + key)
    n.set(T + "model", STR, "gpt2").set(T + "pre", STR, pre).set(T + "tokens", ARR, (STR, texts))
    n.set(T + "token_type", ARR, (I32, types or kind_of)).set(T + "merges", ARR, (STR, merges))
    n.set(T + "bos_token_id", U32, texts.index("<|bos|>")).set(T + "eos_token_id", U32, texts.index("<|im_end|>"))
    for key, v in keys.items():
        n.set(T + key, BOOL, v)
    return n


def wordpiece(tokens=None, **keys):
    """[PAD], unknown, start, end, then pieces: word starts carry U+2581."""
    S = "\u2581"
    texts = tokens or ["[PAD]", "[UNK]", "[CLS]", "[SEP]", S + "un", "aff", "able", S + "a", S + "the", "e", S + "!", S + "caf",
                       S + "\u4e2d", S + "straße", S, "x"]
    n = Net("bert", n_vocab=len(texts))
    T = "tokenizer.ggml."
    n.drop(T + "scores")
    n.set(T + "model", STR, "bert").set(T + "tokens", ARR, (STR, texts))
    n.set(T + "token_type", ARR, (I32, [3] * 4 + [1] * (len(texts) - 4)))
    n.set(T + "unknown_token_id", U32, 1).set(T + "cls_token_id", U32, 2).set(T + "seperator_token_id", U32, 3)
    n.drop(T + "bos_token_id").drop(T + "eos_token_id")
    for key, v in keys.items():
        n.set(T + key.replace("__", "."), BOOL, v)
    return n


def tokenizers():
    T = "tokenizer.ggml."
    t, s, k = vocab_spm(320)
    kind("good_bpe", bpe().blob(), "ok", "unsupported", "not-yet")
    kind("good_bpe_whole", bpe("llama-bpe", tokens=[("hellohello", 1)]).blob(), "ok", "unsupported", "not-yet")
    kind("good_bpe_missing", bpe(missing=(4, 254, 255)).blob(), "ok", "unsupported", "not-yet")
    kind("good_bpe_adds", bpe(add_bos_token=1, add_eos_token=1).blob(), "ok", "unsupported", "not-yet")
    kind("good_wordpiece", wordpiece().blob(), "ok", "unsupported", "not-yet")
    kind("good_wordpiece_cased", wordpiece(normalizer__lowercase=0).blob(), "ok", "unsupported", "not-yet")
    plain = Net().set(T + "add_space_prefix", BOOL, 0)
    kind("good_spm_plain", plain.blob(), "ok", "unsupported", "not-yet")
    users = Net().set(T + "tokens", ARR, (STR, t[:-4] + ["\n\n", "<b>", "<|end|>", "<end_of_turn>"]))
    users.set(T + "token_type", ARR, (I32, k[:-4] + [4, 4, 1, 3])).set("general.name", STR, "Tiny Phi-3")
    kind("good_spm_users", users.blob(), "ok", "unsupported", "not-yet")
    # every run of a up to 300 is a token: what joins them must not be quadratic in it
    runs = ["a" * i for i in range(2, 302)]
    kind("good_spm_runs", spm_with(runs), "ok", "unsupported", "not-yet")
    kind("good_spm_long_runs", spm_with(["a" * i for i in range(2, 20000, 37)]), "ok", "unsupported", "not-yet")
    kind("tokenizer_unknown", Net().set(T + "model", STR, "rwkv").blob(), "ok", "unsupported", "tokenizer")
    kind("tokenizer_missing", Net().drop(T + "model").blob(), "ok", "unsupported", "tokenizer")
    kind("tokenizer_number", Net().set(T + "model", U32, 1).blob(), "model", "-", "string")
    kind("pre_unknown", bpe("qwen99").blob(), "ok", "unsupported", "tokenizer")
    kind("pre_number", bpe().set(T + "pre", U32, 1).blob(), "model", "-", "string")
    kind("token_twice", Net().set(T + "tokens", ARR, (STR, t[:-1] + [t[-2]])).blob(), "model", "-", "same text")
    for name, text in (("minus", "<0x-1>"), ("letters", "<0xZZ>"), ("short", "<0x1>"), ("long", "<0x123>"), ("empty", ""),
                       ("blank", "<0x 1>"), ("other", "byte 1")):
        kind("byte_token_" + name, Net().set(T + "tokens", ARR, (STR, t[:3] + [text] + t[4:])).blob(), "model", "-", "byte")
    kind("byte_tokens_missing", Net().set(T + "tokens", ARR, (STR, ["b%d" % i if k[i] == 6 else x for i, x in enumerate(t)])).set(
        T + "token_type", ARR, (I32, [1 if i == 6 else i for i in k])).blob(), "ok", "unsupported", "not-yet")
    kind("merges_missing", bpe().drop(T + "merges").blob(), "model", "-", "merges")
    kind("merges_none", bpe(merges=[]).blob(), "ok", "unsupported", "not-yet")
    for name, m in (("unknown_left", "hx e"), ("unknown_right", "h ex"), ("unknown_both", "q z"), ("no_blank", "he"), ("empty", ""),
                    ("blank", " "), ("end_blank", "h ")):
        n = bpe()
        old = [v for key, _, v in n.pairs if key == T + "merges"][0][1]
        kind("merge_" + name, n.set(T + "merges", ARR, (STR, old + [m])).blob(), "model", "-", "merge")
    n = bpe()
    old = [v for key, _, v in n.pairs if key == T + "merges"][0][1]
    kind("merge_twice", n.set(T + "merges", ARR, (STR, old + old[:3])).blob(), "ok", "unsupported", "not-yet")
    kind("special_long", bpe(tokens=[("<" + "s" * 255, 3)]).blob(), "ok", "unsupported", "not-yet")
    kind("special_too_long", bpe(tokens=[("<" + "s" * 256, 3)]).blob(), "limit", "-", "special token")
    kind("special_empty", bpe(tokens=[("", 3), ("", 3)]).blob(), "ok", "unsupported", "not-yet")
    kind("add_bos_number", bpe().set(T + "add_bos_token", U32, 1).blob(), "model", "-", "bool")
    kind("add_prefix_string", Net().set(T + "add_space_prefix", STR, "no").blob(), "model", "-", "bool")


def spm_with(tokens):
    t, s, k = vocab_spm(259 + 27)
    t, k = t + tokens, k + [1] * len(tokens)
    T = "tokenizer.ggml."
    n = Net(n_vocab=len(t)).set(T + "tokens", ARR, (STR, t)).set(T + "scores", ARR, (F32, [float(len(x)) for x in t]))
    return n.set(T + "token_type", ARR, (I32, k)).blob()


def boundaries():
    blob = small(pairs=small_pairs() + [("arr", ARR, (STR, ["x", "y"])), ("n", U32, 7)])
    fields = [8, 16]
    at = 24
    for key, t, v in small_pairs():
        fields.append(at)
        at += 8 + len(key) + 4
        fields.append(at)
        at += len(string(v))
    fields.append(at)
    at += 8 + 3 + 4 + 4
    fields += [at, at + 8, at + 17]
    at += 8 + 9 + 9
    fields.append(at)
    at += 8 + 1 + 4 + 4
    fields += [at, at + 9 + 4, at + 9 + 4 + 8, at + 9 + 4 + 16 + 4]
    for f in fields:
        left = len(blob) - f - 8
        for v in sorted({0, 1, left - 1, left, left + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1}):
            if struct.unpack_from("<Q", blob, f)[0] == v:
                continue
            # a count of no tensors leaves the records as unowned bytes, an array may end early by chance: all else is refused
            kind("field_%03d_%x" % (f, v), blob[:f] + struct.pack("<Q", v) + blob[f + 8:], "any" if v < 2 else "refused")


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    for make in (good, odd, header, pairs, tensors, numbers, shapes, vocabulary, tokenizers, boundaries):
        make()
    seen = set()
    with open(os.path.join(folder, "manifest.txt"), "w") as m:
        for name, blob, opened, verdict, word in KINDS:
            assert name not in seen, name
            seen.add(name)
            with open(os.path.join(folder, name + ".gguf"), "wb") as f:
                f.write(blob)
            m.write("%s %s %s %s\n" % (name, opened, verdict, word))
    print("gguf corpus: %d files" % len(KINDS))


if __name__ == "__main__":
    main()
