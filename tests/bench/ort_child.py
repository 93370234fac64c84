# SPDX-License-Identifier: Apache-2.0
"""The peer: ONNX Runtime, the same request, the same conversation as tests/bench/bench_side.h.

usage: ort_child.py MODEL REQUEST THREADS

At its best exact setting: all graph optimisations, sequential, spinning on, inputs and outputs bound
once. A process of its own: it can abort.
"""
import sys
import time

import numpy as np
import onnxruntime as ort

DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def request_read(path):
    """The tensors as arrays, and the pairs that are carried from one call to the next."""
    raw = open(path, "rb").read()
    tensors, carry, at = {}, [], 0
    while True:
        end = raw.index(b"\n", at)
        words, at = raw[at:end].decode().split(" "), end + 1
        if words[0] == "end":
            return tensors, carry
        if words[0] == "carry":
            carry.append(tuple(words[1:3]))
            continue
        name, dtype, rank = words[1], int(words[2]), int(words[3])
        dims = [int(w) for w in words[4:4 + rank]]
        offset, size = int(words[4 + rank]), int(words[5 + rank])
        tensors[name] = np.frombuffer(raw[offset:offset + size], DTYPES[dtype]).reshape(dims).copy()


class Peer:
    def __init__(self, model, request, threads):
        self.original, self.carry = request_read(request)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        self.session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.names = [o.name for o in self.session.get_outputs()]
        self.values = {k: ort.OrtValue.ortvalue_from_numpy(v) for k, v in self.original.items()}
        self.bind()

    def bind(self):
        """Outputs are bound to buffers of the shapes that one call gives."""
        first = self.session.run(self.names, self.original)
        self.outputs = {n: ort.OrtValue.ortvalue_from_numpy(v) for n, v in zip(self.names, first)}
        self.binding = self.session.io_binding()
        for name, value in self.values.items():
            self.binding.bind_ortvalue_input(name, value)
        for name, value in self.outputs.items():
            self.binding.bind_ortvalue_output(name, value)

    def run(self, n):
        # The bound method below is run_with_iobinding without its Python wrapper: nothing but the call.
        call, binding, clock, out = self.session._sess.run_with_iobinding, self.binding._iobinding, time.perf_counter_ns, []
        for _ in range(n):
            start = clock()
            call(binding, None)
            out.append(clock() - start)
            for source, to in self.carry:
                self.values[to].update_inplace(self.outputs[source].numpy())
        return out

    def write(self, path):
        for name, value in self.original.items():
            self.values[name].update_inplace(value)
        self.run(1)
        with open(path, "wb") as f:
            for name in self.names:
                f.write(self.outputs[name].numpy().tobytes())


def main():
    peer = Peer(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    for line in sys.stdin:
        words = line.split()
        if words[0] == "run":
            print(*peer.run(int(words[1])))
        elif words[0] == "out":
            peer.write(words[1])
            print("ok")
        elif words[0] == "info":
            print("onnxruntime", ort.__version__)
        else:
            sys.exit("unknown command: " + line)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
