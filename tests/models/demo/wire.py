# SPDX-License-Identifier: Apache-2.0
"""fumehood's frames and messages in plain Python: written from docs/protocol.md, not from the C code.

A second implementation on purpose: where the two disagree, one of them or the page is wrong. Knows
protobuf's wire format just well enough for the messages below; no dependency but the standard library.
"""
import struct

MAGIC, VERSION = 0x48554D46, 1
HEADER = struct.Struct("<IHHIIQQ")
ALIGN = 64

KIND = {
    "HELLO": 0x0101, "MODEL_OPEN": 0x0102, "INFER": 0x0103, "INSPECT": 0x0104, "ADMIT": 0x0105,
    "LIST": 0x0106, "STATUS": 0x0107, "ATTEMPT": 0x0108,
    "WELCOME": 0x0201, "MODEL_OPENED": 0x0202, "ANSWER": 0x0203, "ADMITTED": 0x0204, "MODELS": 0x0205,
    "STATUS_REPLY": 0x0206, "ERROR": 0x02FF,
}
NAME = {number: name for name, number in KIND.items()}

# Message -> {field number: (name, type, repeated)}; a type that is no scalar names another message.
U, I, B, S, T = "uint", "int", "bool", "str", "bytes"
MESSAGES = {
    "Hello": {1: ("client", S, 0)},
    "Welcome": {1: ("version", S, 0), 2: ("instance", S, 0), 3: ("uid", U, 0), 4: ("principal", S, 0),
                5: ("walls", "Walls", 0), 6: ("log_vkey", S, 0)},
    "Walls": {1: ("tier", S, 0), 2: ("standing", S, 1), 3: ("missing", S, 1)},
    "Tensor": {1: ("name", T, 0), 2: ("type", U, 0), 3: ("dims", I, 1), 4: ("offset", U, 0), 5: ("size", U, 0)},
    "Port": {1: ("name", T, 0), 2: ("type", U, 0), 3: ("dims", I, 1), 4: ("dim_names", T, 1),
             5: ("optional", B, 0), 6: ("any_rank", B, 0)},
    "ModelOpen": {1: ("purpose", U, 0), 2: ("file_name", S, 0), 3: ("threads", U, 0), 4: ("memory_bytes", U, 0)},
    "Inspect": {1: ("model", S, 0)},
    "ModelOpened": {1: ("handle", U, 0), 2: ("model_digest", T, 0), 3: ("file_sha256", T, 0),
                    4: ("file_bytes", U, 0), 5: ("name", S, 0), 6: ("version", U, 0), 7: ("unsigned_model", B, 0),
                    8: ("signers", S, 1), 9: ("walls", "Walls", 0), 10: ("receipt", "Receipt", 0), 11: ("load_us", U, 0)},
    "ModelInfo": {1: ("format", S, 0), 2: ("inputs", "Port", 1), 3: ("outputs", "Port", 1), 4: ("facts", "Fact", 1),
                  5: ("metadata", "Meta", 1), 6: ("needs", "Needs", 0), 7: ("level", S, 0), 8: ("blas_core", S, 0)},
    "Fact": {1: ("group", S, 0), 2: ("code", S, 0), 3: ("severity", U, 0), 4: ("offset", U, 0), 5: ("text", S, 0)},
    "Meta": {1: ("key", T, 0), 2: ("value", T, 0)},
    "Needs": {1: ("graph_bytes", U, 0), 2: ("weights_bytes", U, 0), 3: ("plan_min_bytes", U, 0),
              4: ("scratch_bytes", U, 0), 5: ("macs", U, 0)},
    "Infer": {1: ("handle", U, 0), 2: ("model", S, 0), 3: ("inputs", "Tensor", 1), 4: ("threads", U, 0),
              5: ("deadline_ms", U, 0), 6: ("purpose", S, 0), 7: ("client_seq", U, 0)},
    "Answer": {1: ("model_digest", T, 0), 2: ("model", S, 0), 3: ("unsigned_model", B, 0), 4: ("walls", "Walls", 0),
               5: ("timing", "Timing", 0), 6: ("receipt", "Receipt", 0), 7: ("level", S, 0), 8: ("threads", U, 0),
               9: ("isolation", S, 0)},
    "Outputs": {1: ("outputs", "Tensor", 1), 2: ("error", S, 0)},
    "Timing": {1: ("queue_us", U, 0), 2: ("worker_us", U, 0), 3: ("log_us", U, 0)},
    "Receipt": {1: ("index", U, 0), 2: ("entry", T, 0), 3: ("tlog_proof", S, 0), 4: ("salt", T, 0)},
    "Admit": {1: ("n_files", U, 0)},
    "Admitted": {1: ("name", S, 0), 2: ("version", U, 0), 3: ("model_digest", T, 0), 4: ("signers", S, 1),
                 5: ("receipt", "Receipt", 0)},
    "List": {},
    "Models": {1: ("models", "ModelRow", 1)},
    "ModelRow": {1: ("name", S, 0), 2: ("version", U, 0), 3: ("model_digest", T, 0), 4: ("bytes_total", U, 0),
                 5: ("signers", S, 1), 6: ("expires_unix", I, 0), 7: ("state", S, 0), 8: ("files", "ModelFile", 1)},
    "ModelFile": {1: ("path", S, 0), 2: ("size", U, 0), 3: ("sha256", T, 0)},
    "Status": {},
    "StatusReply": {1: ("version", S, 0), 2: ("instance", S, 0), 3: ("uptime_ms", U, 0), 4: ("walls", "Walls", 0),
                    5: ("clients", U, 0), 6: ("workers", "WorkerRow", 1), 7: ("calls", U, 0), 8: ("refusals", U, 0),
                    9: ("log_size", U, 0), 10: ("log_vkey", S, 0), 11: ("checkpoint", S, 0),
                    12: ("policy_digest", S, 0), 13: ("policies", U, 0), 14: ("cgroups", S, 0)},
    "WorkerRow": {1: ("pid", U, 0), 2: ("model", S, 0), 3: ("state", S, 0), 4: ("threads", U, 0), 5: ("calls", U, 0),
                  6: ("isolation", S, 0), 7: ("principal", S, 0)},
    "Attempt": {1: ("name", S, 0)},
    "Error": {1: ("code", S, 0), 2: ("text", S, 0), 3: ("policies", S, 1), 4: ("receipt", "Receipt", 0),
              5: ("walls", "Walls", 0), 6: ("worker_end", "WorkerEnd", 0), 7: ("words", U, 0)},
    "WorkerEnd": {1: ("end_class", S, 0), 2: ("signal", U, 0), 3: ("exit_code", U, 0), 4: ("detail", S, 0)},
    "Entry": {1: ("index", U, 0), 2: ("wall_ns", U, 0), 3: ("boot_ns", U, 0), 4: ("boot_id", T, 0),
              5: ("record", "Record", 0)},
    "Record": {1: ("kind", U, 0), 2: ("request_id", U, 0), 3: ("caller", "Caller", 0), 4: ("action", S, 0),
               5: ("model_digest", T, 0), 6: ("model", S, 0), 7: ("unsigned_model", B, 0), 8: ("file_sha256", T, 0),
               9: ("decision", "Decision", 0), 10: ("input_digest", T, 0), 11: ("input_bytes", U, 0),
               12: ("output_digest", T, 0), 13: ("output_bytes", U, 0), 14: ("intent_index", U, 0), 15: ("code", S, 0),
               16: ("text", S, 0), 17: ("worker_end", "WorkerEnd", 0), 18: ("walls", U, 0), 19: ("walls_missing", S, 1),
               20: ("level", S, 0), 21: ("blas_core", S, 0), 22: ("threads", U, 0), 23: ("version", S, 0),
               24: ("queue_us", U, 0), 25: ("worker_us", U, 0), 26: ("client_seq", U, 0), 27: ("previous_size", U, 0),
               28: ("policy_digest", S, 0), 29: ("signers", S, 1), 30: ("worker_digest", S, 0), 31: ("trust_version", U, 0),
               32: ("isolation", S, 0)},
    "Caller": {1: ("principal", S, 0), 2: ("uid", U, 0), 3: ("gid", U, 0), 4: ("pid", U, 0), 5: ("client", S, 0)},
    "Decision": {1: ("allow", B, 0), 2: ("policies", S, 1), 3: ("errors", S, 1)},
}
ZERO = {U: 0, I: 0, B: False, S: "", T: b""}


class WireError(Exception):
    """Bytes that are no frame or no message."""


# --- protobuf ------------------------------------------------------------------------------------

def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _varint_get(b, at):
    n = shift = 0
    while True:
        if at >= len(b) or shift > 63:
            raise WireError("varint cut off or too long")
        n |= (b[at] & 0x7F) << shift
        at += 1
        if not b[at - 1] & 0x80:
            return n & ((1 << 64) - 1), at
        shift += 7


def _chunk(number, body):
    return varint(number << 3 | 2) + varint(len(body)) + body


def _one(number, kind, value):
    if kind in (U, I, B):
        return varint(number << 3) + varint(int(value))
    if kind == S:
        return _chunk(number, value.encode())
    if kind == T:
        return _chunk(number, bytes(value))
    return _chunk(number, encode(kind, value))


def encode(message, values):
    """A message from a dict; fields that are absent or zero are not sent, unknown names are an error."""
    fields = {name: (number, kind, rep) for number, (name, kind, rep) in MESSAGES[message].items()}
    out = b""
    for name, value in sorted(values.items(), key=lambda kv: fields[kv[0]][0]):
        number, kind, rep = fields[name]
        if rep and kind in (U, I):
            out += _chunk(number, b"".join(varint(v) for v in value)) if value else b""
        elif rep:
            out += b"".join(_one(number, kind, v) for v in value)
        elif kind not in ZERO or value != ZERO[kind]:
            out += _one(number, kind, value)
    return out


def _signed(n):
    return n - (1 << 64) if n >> 63 else n


def _scalar(kind, n):
    return _signed(n) if kind == I else bool(n) if kind == B else n


def _field(b, at):
    """One field at b[at:]: (number, wire type, value, next position)."""
    tag, at = _varint_get(b, at)
    wire = tag & 7
    if wire == 0:
        value, at = _varint_get(b, at)
    elif wire in (1, 5):
        n = 8 if wire == 1 else 4
        value, at = b[at:at + n], at + n
    elif wire == 2:
        n, at = _varint_get(b, at)
        value, at = b[at:at + n], at + n
    else:
        raise WireError("wire type %d" % wire)
    if at > len(b):
        raise WireError("field %d is cut off" % (tag >> 3))
    return tag >> 3, wire, value, at


def decode(message, b):
    """A dict with every field of the message; absent ones are zero, sub-messages None, repeated ones []."""
    out = {name: [] if rep else ZERO.get(kind) for name, kind, rep in MESSAGES[message].values()}
    at = 0
    while at < len(b):
        number, wire, value, at = _field(b, at)
        if number not in MESSAGES[message]:
            continue
        name, kind, rep = MESSAGES[message][number]
        if kind in (U, I, B):
            values = [value] if wire == 0 else []
            p = 0
            while wire == 2 and p < len(value):
                n, p = _varint_get(value, p)
                values.append(n)
            values = [_scalar(kind, n) for n in values]
        elif wire != 2:
            raise WireError("%s.%s has wire type %d" % (message, name, wire))
        else:
            values = [value.decode() if kind == S else bytes(value) if kind == T else decode(kind, value)]
        if rep:
            out[name] += values
        elif values:
            out[name] = values[-1]
    return out


# --- bodies and frames ------------------------------------------------------------------------------

def body(head, tail=b""):
    """Prefix, head, padding up to 64 when a tail follows, tail."""
    front = struct.pack("<II", len(head), 0) + head
    if tail:
        front += bytes(-len(front) % ALIGN)
    return front + tail


def split(b):
    """(head, tail) of a body; checks prefix and padding."""
    if len(b) < 8:
        raise WireError("body of %d bytes" % len(b))
    n, zero = struct.unpack_from("<II", b)
    if zero or 8 + n > len(b):
        raise WireError("prefix %d, %d in a body of %d" % (n, zero, len(b)))
    if len(b) == 8 + n:
        return b[8:], b""
    front = (8 + n + ALIGN - 1) // ALIGN * ALIGN
    if any(b[8 + n:front]) or front > len(b):
        raise WireError("padding is not zero or cut off")
    return b[8:8 + n], b[front:]


def header(kind, length, request_id, magic=MAGIC, version=VERSION, flags=0, reserved=0):
    return HEADER.pack(magic, version, kind, flags, reserved, length, request_id)


def header_split(b):
    magic, version, kind, flags, reserved, length, request_id = HEADER.unpack(b)
    if (magic, version, flags, reserved) != (MAGIC, VERSION, 0, 0):
        raise WireError("header %s" % b.hex())
    return kind, length, request_id
