# SPDX-License-Identifier: Apache-2.0
"""A client of the native protocol (a Unix socket), for many calls on one connection.

    with Client("/run/fumehood/broker.sock") as c:
        answer = c.infer({"x": array}, model="acme/ocr")
        print(answer.outputs["y"], answer.receipt["index"])

Tensors are numpy arrays. A refusal raises Refused, which carries the code, the text and the record.
"""
import array
import itertools
import os
import socket

import numpy as np

import wire

DTYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
          10: "float16", 11: "float64", 12: "uint32", 13: "uint64"}
NUMBERS = {np.dtype(name): number for number, name in DTYPES.items()}
WORDS = {1: "Outputs", 2: "ModelInfo"}


class Refused(Exception):
    def __init__(self, error, words=None):
        super().__init__("%s: %s" % (error["code"], error["text"]))
        self.code, self.text, self.policies = error["code"], error["text"], error["policies"]
        self.receipt, self.worker_end, self.words = error["receipt"], error["worker_end"], words
        self.error = error


class Answer:
    """outputs: name -> array. body: the worker's bytes, as the record's output_digest covers them.
    request: the request's bytes, as input_digest covers them."""

    def __init__(self, head, tail, request):
        self.head, self.body, self.request = head, tail, request
        self.receipt = head["receipt"]
        self.outputs = tensors_get(tail)


def tensors_put(inputs):
    """Rows and tail for a request: each tensor on a multiple of 64."""
    rows, tail = [], b""
    for name, value in inputs.items():
        value = np.asarray(value)
        tail += bytes(-len(tail) % wire.ALIGN)
        data = np.ascontiguousarray(value).tobytes()
        rows.append({"name": name if isinstance(name, bytes) else name.encode(), "type": NUMBERS[value.dtype],
                     "dims": list(value.shape), "offset": len(tail), "size": len(data)})
        tail += data
    return rows, tail


def tensors_get(inner):
    head, tail = wire.split(inner)
    out = {}
    for t in wire.decode("Outputs", head)["outputs"]:
        raw = tail[t["offset"]:t["offset"] + t["size"]]
        name = t["name"].decode("utf-8", "surrogateescape")
        out[name] = np.frombuffer(raw, DTYPES[t["type"]]).reshape(t["dims"])
    return out


class Client:
    def __init__(self, path, name="python client", timeout_s=60):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(timeout_s)
        self.sock.connect(path)
        self.ids = itertools.count(1)
        self.welcome = wire.decode("Welcome", self.ask("HELLO", "Hello", {"client": name}, "WELCOME")[0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    # --- frames ---

    def send_raw(self, data, fds=()):
        """Bytes as they are; descriptors travel with the first byte."""
        if fds:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))]
            sent = self.sock.sendmsg([data], rights)
            data = data[sent:]
        if data:
            self.sock.sendall(data)

    def read_exact(self, n):
        out = bytearray()
        while len(out) < n:
            piece = self.sock.recv(min(n - len(out), 1 << 20))
            if not piece:
                raise EOFError("the broker closed the connection")
            out += piece
        return bytes(out)

    def recv_frame(self):
        kind, length, request_id = wire.header_split(self.read_exact(wire.HEADER.size))
        return kind, request_id, self.read_exact(length)

    def ask(self, kind, message, values, want, tail=b"", fds=()):
        """Sends one request and waits for its answer: (head bytes, tail bytes, request body)."""
        request = wire.body(wire.encode(message, values), tail)
        number = next(self.ids)
        self.send_raw(wire.header(wire.KIND[kind], len(request), number) + request, fds)
        got, request_id, answer = self.recv_frame()
        head, rest = wire.split(answer)
        if got == wire.KIND["ERROR"] and request_id in (number, 0):
            raise refusal(head, rest)               # 0: about the connection, whatever was asked
        if request_id != number:
            raise wire.WireError("answer to request %d, expected %d" % (request_id, number))
        if got != wire.KIND[want]:
            raise wire.WireError("answer of kind %#x, expected %s" % (got, want))
        return head, rest, request

    # --- requests ---

    def open(self, path, inspect=False, threads=0, memory_bytes=0):
        """Opens an unsigned model file. Returns ModelOpened with the worker's description under "info"."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            values = {"purpose": int(inspect), "file_name": os.path.basename(path), "threads": threads,
                      "memory_bytes": memory_bytes}
            head, tail, _ = self.ask("MODEL_OPEN", "ModelOpen", values, "MODEL_OPENED", fds=[fd])
        finally:
            os.close(fd)
        return opened(head, tail)

    def inspect(self, model):
        head, tail, _ = self.ask("INSPECT", "Inspect", {"model": model}, "MODEL_OPENED")
        return opened(head, tail)

    def infer(self, inputs, model=None, handle=0, **options):
        """options: threads, deadline_ms, purpose, client_seq."""
        rows, tail = tensors_put(inputs)
        target = {"model": model} if model is not None else {"handle": handle}
        values = dict(target, inputs=rows, **options)
        head, rest, request = self.ask("INFER", "Infer", values, "ANSWER", tail)
        return Answer(wire.decode("Answer", head), rest, request)

    def admit(self, note, paths):
        fds = [os.open(p, os.O_RDONLY | os.O_CLOEXEC) for p in paths]
        try:
            head, _, _ = self.ask("ADMIT", "Admit", {"n_files": len(fds)}, "ADMITTED", note, fds)
        finally:
            for fd in fds:
                os.close(fd)
        return wire.decode("Admitted", head)

    def list(self):
        return wire.decode("Models", self.ask("LIST", "List", {}, "MODELS")[0])["models"]

    def status(self):
        return wire.decode("StatusReply", self.ask("STATUS", "Status", {}, "STATUS_REPLY")[0])

    def attempt(self, name):
        """The attack program in a worker's place. Always ends in Refused, which is returned."""
        try:
            self.ask("ATTEMPT", "Attempt", {"name": name}, "ERROR")
        except Refused as refused:
            return refused
        raise wire.WireError("an attempt was answered with something else than an error")


def refusal(head, tail):
    error = wire.decode("Error", head)
    words = None
    if tail and error["words"] in WORDS:
        words = wire.decode(WORDS[error["words"]], wire.split(tail)[0])
    return Refused(error, words)


def opened(head, tail):
    out = wire.decode("ModelOpened", head)
    out["info"] = wire.decode("ModelInfo", wire.split(tail)[0])
    return out
