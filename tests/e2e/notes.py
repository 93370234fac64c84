# SPDX-License-Identifier: Apache-2.0
"""Signed notes of a second make: keys, trust.note, model.note, right and wrong. libsodium signs, nothing else."""
import base64
import ctypes
import hashlib
import os
import time

EM_DASH = "\u2014"
_sodium = None


def sodium():
    global _sodium
    if _sodium is None:
        _sodium = ctypes.CDLL("libsodium.so.23")
        assert _sodium.sodium_init() >= 0
    return _sodium


class Key:
    """An Ed25519 key with a name, as C2SP signed notes know it."""

    def __init__(self, name, seed=None):
        self.name = name
        public, secret = ctypes.create_string_buffer(32), ctypes.create_string_buffer(64)
        assert sodium().crypto_sign_seed_keypair(public, secret, seed or os.urandom(32)) == 0
        self.public, self.secret = public.raw, secret.raw
        self.blob = b"\1" + self.public
        self.id = hashlib.sha256(name.encode() + b"\n" + self.blob).digest()[:4]

    @property
    def vkey(self):
        return "%s+%s+%s" % (self.name, self.id.hex(), base64.b64encode(self.blob).decode())

    def signature(self, text):
        out = ctypes.create_string_buffer(64)
        data = text.encode()
        assert sodium().crypto_sign_detached(out, None, data, ctypes.c_ulonglong(len(data)), self.secret) == 0
        return out.raw

    def line(self, text, spoil=False):
        raw = bytearray(self.signature(text))
        raw[5] ^= spoil
        return "%s %s %s\n" % (EM_DASH, self.name, base64.b64encode(self.id + bytes(raw)).decode())


def sign(text, *keys, spoil=False):
    assert text.endswith("\n")
    return text + "\n" + "".join(k.line(text, spoil) for k in keys)


def trust_text(root, signers, version=1, **options):
    """signers: {id: Key}. options: issued, expires, threshold, glob, lines (more lines)."""
    now = int(time.time())
    ids = options.get("ids") or sorted(signers)
    lines = ["fumehood-trust/v1", "version %d" % version, "issued %d" % options.get("issued", now - 3600),
             "expires %d" % options.get("expires", now + 86400), "root-threshold 1", "root " + root.vkey]
    lines += ["signer %s %s" % (i, k.vkey) for i, k in sorted(signers.items())]
    lines.append("role %s threshold %d of %s" % (options.get("glob", "*"), options.get("threshold", 1), ",".join(ids)))
    return "\n".join(lines + options.get("lines", [])) + "\n"


def root_digest(digests):
    """The OMS root digest: over the raw digests of the files, sorted by name."""
    return hashlib.sha256(b"".join(digests[name] for name in sorted(digests))).hexdigest()


def model_text(name, files, version=1, **options):
    """files: {path in the note: bytes}. options: created, expires, root, sizes, digests (lies), lines."""
    now = int(time.time())
    digests = {p: hashlib.sha256(b).digest() for p, b in files.items()}
    lines = ["fumehood-model/v1", "name " + name, "version %d" % version, "created %d" % options.get("created", now - 60),
             "expires %d" % options.get("expires", now + 86400), "root sha256:" + options.get("root", root_digest(digests))]
    for path, data in sorted(files.items()):
        digest = options.get("digests", {}).get(path, digests[path].hex())
        lines.append("file %d sha256:%s %s" % (options.get("sizes", {}).get(path, len(data)), digest, path))
    return "\n".join(lines + options.get("lines", [])) + "\n"
