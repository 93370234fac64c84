# SPDX-License-Identifier: Apache-2.0
"""Durable calls per second of the whole service, beside bare append + fdatasync on the same disk, in turns.

usage: bench_calls.py BUILD OUT.jsonl        rows of kind "calls"

A call is the smallest one there is (four additions), so what is measured is everything around it: frames,
policy, two records, group commit, signed checkpoint, proof. Bare: one record's bytes appended to a file,
fdatasync, nothing else. With several callers a commit carries several records; bare writes have one each.
"""
import json
import os
import shutil
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE] + [os.path.join(ROOT, "tests", d) for d in ("models", "models/demo", "e2e")]

import bench_onnx  # noqa: E402
import noise  # noqa: E402
import onnx_make  # noqa: E402
from bench_onnx import Broker, Side, summary  # noqa: E402

ROUNDS = 3 if bench_onnx.QUICK else 7
TURN_CALLS = 100 if bench_onnx.QUICK else 400
RECORD_BYTES = 600
CALLERS = (1, 8)


class Tiny:
    name, carry = "tiny", ()

    @staticmethod
    def inputs(rng):
        return {"x": rng.standard_normal((1, 4), np.float32)}


def bare(folder, n):
    """Times of n appends, in ns; into space that was written before, as the log does."""
    path = os.path.join(folder, "bare")
    with open(path, "wb") as f:
        f.write(bytes((n + 1) * RECORD_BYTES))
        f.flush()
        os.fsync(f.fileno())
    fd, record, out = os.open(path, os.O_WRONLY), os.urandom(RECORD_BYTES), []
    for i in range(n):
        start = time.perf_counter_ns()
        os.pwrite(fd, record, i * RECORD_BYTES)
        os.fdatasync(fd)
        out.append(time.perf_counter_ns() - start)
    os.close(fd)
    return out


def turn(sides, n):
    """All callers at once; (times in ns, seconds from first to last)."""
    start = time.perf_counter()
    for s in sides:
        s.process.stdin.write("run %d\n" % n)
        s.process.stdin.flush()
    times = []
    for s in sides:
        times += [int(t) for t in s.process.stdout.readline().split()]
    return times, time.perf_counter() - start


def measure(build, folder, callers):
    cpus = os.sched_getaffinity(0)
    model, request = os.path.join(folder, "tiny.onnx"), os.path.join(folder, "request")
    with open(model, "wb") as f:
        f.write(onnx_make.add_model())
    bench_onnx.request_write(request, Tiny)
    broker = Broker(build, folder, 1, cpus)
    argv = [os.path.join(build, "tests", "service_bench"), broker.socket, model, request, "1"]
    sides = []
    try:
        for _ in range(callers):
            sides.append(Side("service", argv, cpus))
        turn(sides, 20)
        bare(folder, 20)
        ours, peer, seconds = [], [], 0.0
        noise.wait_idle()
        with noise.Meter() as meter:
            for _ in range(ROUNDS):
                times, took = turn(sides, TURN_CALLS)
                ours += times
                seconds += took
                peer += bare(folder, TURN_CALLS)
    finally:
        for s in sides:
            s.close()
        broker.close()
    ours_p10, ours_median = summary(ours)
    peer_p10, peer_median = summary(peer)
    rate, peer_rate = len(ours) / seconds, len(peer) / (sum(peer) / 1e9)
    return {"kind": "calls", "bench": "service", "name": "%d caller%s" % (callers, "s" * (callers > 1)),
            "path": "service", "threads": 1, "ours_p10_ms": round(ours_p10, 4), "ours_median_ms": round(ours_median, 4),
            "peer": "append+fdatasync", "peer_p10_ms": round(peer_p10, 4), "peer_median_ms": round(peer_median, 4),
            "speedup_p10": round(peer_p10 / ours_p10, 3), "speedup_median": round(peer_median / ours_median, 3),
            "calls_per_s": round(rate), "peer_per_s": round(peer_rate), "rounds": ROUNDS,
            "others_pct": round(meter.others_pct, 1)}


def main():
    build, out = os.path.abspath(sys.argv[1]), sys.argv[2]
    scratch = os.path.join(os.path.dirname(build), "bench")
    os.makedirs(scratch, exist_ok=True)
    for callers in CALLERS:
        folder = tempfile.mkdtemp(dir=scratch)
        try:
            r = measure(build, folder, callers)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print("%-12s %6d durable calls/s (%.3f ms median); bare append+fdatasync %6d/s (%.3f ms)%s" % (
            r["name"], r["calls_per_s"], r["ours_median_ms"], r["peer_per_s"], r["peer_median_ms"],
            "  noisy: others %.0f %%" % r["others_pct"] if r["others_pct"] > noise.NOISY_PCT else ""), flush=True)
        with open(out, "a", encoding="utf-8") as f:
            f.write(json.dumps(r) + "\n")


if __name__ == "__main__":
    main()
