# SPDX-License-Identifier: Apache-2.0
"""Checks a receipt offline, from docs/protocol.md alone: digests, inclusion, the checkpoint's signature.

Written without the project's C code; libsodium is asked for Ed25519 only.
"""
import base64
import ctypes
import hashlib
import os
import struct

import wire

EM_DASH = "\u2014"


class Bad(Exception):
    """The receipt does not prove what it should."""


def _need(ok, what):
    if not ok:
        raise Bad(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def ed25519_ok(public, message, signature):
    names = ["libsodium.so.23", "libsodium.so"]
    for name in names:
        try:
            sodium = ctypes.CDLL(name)
            break
        except OSError:
            continue
    else:
        raise Bad("no libsodium to check a signature with")
    return sodium.crypto_sign_verify_detached(signature, message, ctypes.c_ulonglong(len(message)), public) == 0


def checkpoint_open(note, vkey):
    """The origin, size and root of a checkpoint signed by this key."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key, validate=True)
    _need(key[0] == 1 and len(key) == 33, "the key is not Ed25519")
    _need(sha256(name.encode(), b"\n", key)[:4].hex() == key_id, "the key's id does not follow from it")
    text, _, lines = note.rpartition("\n\n")
    text += "\n"
    good = False
    for line in lines.rstrip("\n").split("\n"):
        mark, who, blob = line.split(" ")
        blob = base64.b64decode(blob, validate=True)
        if mark == EM_DASH and who == name and blob[:4].hex() == key_id:
            _need(ed25519_ok(key[1:], text.encode(), blob[4:]), "the checkpoint's signature is wrong")
            good = True
    _need(good, "no signature of this log")
    origin, size, root = text.split("\n")[:3]
    _need(origin == name, "the origin is not the key's name")
    return int(size), base64.b64decode(root, validate=True)


def root_of(leaf, index, size, proof):
    """RFC 6962 inclusion: the root that these hashes give."""
    _need(index < size, "the index is outside the tree")
    fn, sn, x = index, size - 1, leaf
    for q in proof:
        _need(sn > 0, "too many hashes")
        if fn & 1 or fn == sn:
            x = sha256(b"\1", q, x)
            while fn and not fn & 1:
                fn >>= 1
                sn >>= 1
        else:
            x = sha256(b"\1", x, q)
        fn >>= 1
        sn >>= 1
    _need(sn == 0, "too few hashes")
    return x


def proof_split(text):
    """(index, hashes, checkpoint) of a C2SP tlog-proof."""
    head, _, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    _need(lines[0] == "c2sp.org/tlog-proof@v1", "no tlog-proof")
    lines = [line for line in lines[1:] if not line.startswith("extra ")]
    _need(lines[0].startswith("index "), "no index")
    return int(lines[0][6:]), [base64.b64decode(h, validate=True) for h in lines[1:]], checkpoint


def check(receipt, vkey, request=None, answer=None):
    """Returns the record that the receipt proves, or raises Bad. request: the INFER body; answer: its tail."""
    index, hashes, note = proof_split(receipt["tlog_proof"])
    size, root = checkpoint_open(note, vkey)
    _need(index == receipt["index"], "the proof is for another index")
    _need(root_of(sha256(b"\0", receipt["entry"]), index, size, hashes) == root, "the entry is not in the tree")
    entry = wire.decode("Entry", receipt["entry"])
    _need(entry["index"] == index, "the entry says another index")
    record = entry["record"]
    for what, body in (("input", request), ("output", answer)):
        if body is not None:
            _need(len(receipt["salt"]) == 32, "no salt")
            _need(record[what + "_digest"] == sha256(receipt["salt"], body), "another %s was recorded" % what)
    return record


# --- the tree on disk: c2sp.org/tlog-tiles ------------------------------------------------------------

def _tile_path(n):
    groups = ["%03d" % (n % 1000)]
    while n >= 1000:
        n //= 1000
        groups.insert(0, "x%03d" % (n % 1000))
    return "/".join(groups)


def entries(log):
    """All entries of a log's public folder, by its checkpoint's size."""
    with open(os.path.join(log, "checkpoint"), encoding="utf-8") as f:
        size = int(f.read().split("\n")[1])
    out = []
    for n in range((size + 255) // 256):
        width = min(256, size - n * 256)
        name = _tile_path(n) + (".p/%d" % width if width < 256 else "")
        with open(os.path.join(log, "tile", "entries", name), "rb") as f:
            bundle = f.read()
        at = 0
        for _ in range(width):
            (length,) = struct.unpack_from(">H", bundle, at)
            out.append(bundle[at + 2:at + 2 + length])
            at += 2 + length
        _need(at == len(bundle), "bytes behind the last entry of a bundle")
    return out


def tree_root(leaves):
    """The tree's root from its entries, straight from RFC 6962's definition."""
    def mth(hashes):
        if len(hashes) == 1:
            return hashes[0]
        k = 1
        while k * 2 < len(hashes):
            k *= 2
        return sha256(b"\1", mth(hashes[:k]), mth(hashes[k:]))
    return mth([sha256(b"\0", leaf) for leaf in leaves]) if leaves else sha256(b"")
