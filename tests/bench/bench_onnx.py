# SPDX-License-Identifier: Apache-2.0
"""Our engine and our service against ONNX Runtime: the same requests, in turns, on the same CPUs.

usage: bench_onnx.py BUILD OUT.jsonl [NAME...]          (run by tests/bench/run.sh)

For each model and thread count three children hold it: engine_bench, service_bench (behind it a broker
with its log and jail, all of its own), ort_child.py. They take turns, engine, peer, service, peer, for
ROUNDS rounds; only one computes at a time, all are pinned to the same CPUs. The bytes of engine and
service must be the same, and within tolerance of the peer's, or the row fails and so does this program.
"""
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "models"), os.path.join(ROOT, "tests", "models", "demo")]

import noise  # noqa: E402
import zoo  # noqa: E402

QUICK = bool(os.environ.get("BENCH_QUICK"))
ROUNDS = 3 if QUICK else 7
TURN_S = 0.1 if QUICK else 0.4       # of one side in one round
PAUSE_S = 0.02                       # the other side's threads stop spinning
TURN_CALLS_MAX = 5000
ARENA_BYTES = 8 << 30                # reserved, not touched
RTOL, ATOL = 1e-3, 1e-5
DTYPE = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11}


def child_env():
    """Nothing that would choose a kernel for one side or the other."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_", "FUMEHOOD_"))}


def request_write(path, case):
    """See bench_side.h."""
    inputs = case.inputs(np.random.default_rng(7))
    rows = []
    for name, value in inputs.items():
        rows.append((name, DTYPE[str(value.dtype)], value.shape, np.ascontiguousarray(value).tobytes()))
    lines_max = 4096                 # the text lies before the tensors, padded with nothing to read
    at, text, blobs = lines_max, "", b""
    for name, dtype, shape, data in rows:
        text += "tensor %s %d %d %s%d %d\n" % (name, dtype, len(shape), "".join("%d " % d for d in shape), at, len(data))
        padded = data + bytes(-len(data) % 64)
        blobs += padded
        at += len(padded)
    text += "".join("carry %s %s\n" % pair for pair in case.carry) + "end\n"
    with open(path, "wb") as f:
        f.write(text.encode().ljust(lines_max, b"\0") + blobs)


class Side:
    """One measured child."""

    def __init__(self, name, argv, cpus):
        self.name, self.times = name, []
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_env(),
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError("%s ended (status %s)" % (self.name, self.process.wait()))
        return answer.strip()

    def run(self, n):
        return [int(t) for t in self.ask("run %d" % n).split()]

    def warm_up(self):
        """At least a quarter of what will be measured; decides how many calls a turn has."""
        start, calls = time.monotonic(), 0
        while calls < 2 or time.monotonic() - start < TURN_S * ROUNDS / 4:
            calls += len(self.run(1 if calls < 2 else min(calls, 64)))
        per_call = min(self.run(3)) / 1e9
        self.calls = max(1, min(TURN_CALLS_MAX, int(TURN_S / max(per_call, 1e-7))))

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)


class Broker:
    """A private service of its own, on a fresh state directory, pinned like everything else."""

    def __init__(self, build, folder, threads, cpus):
        self.state = os.path.join(folder, "state")
        ready_r, ready_w = os.pipe()
        argv = [os.path.join(build, "bin", "fumehood-broker"), "--private", "--state-dir", self.state,
                "--threads-default", str(threads), "--ready-fd", str(ready_w)]
        self.process = subprocess.Popen(argv, env=child_env(), pass_fds=[ready_w],
                                        preexec_fn=lambda: os.sched_setaffinity(0, cpus))
        os.close(ready_w)
        with os.fdopen(ready_r, "rb") as ready:
            said = ready.read()      # one byte, or a line that says why not
        if len(said) != 1:
            raise RuntimeError("the broker does not start: " + said.decode(errors="replace").strip())
        self.socket = os.path.join(self.state, "broker.sock")

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=30)


def summary(times_ns):
    """(p10, median) in ms."""
    ordered = sorted(times_ns)
    return ordered[len(ordered) // 10] / 1e6, statistics.median(ordered) / 1e6


def same_answer(case, folder, sides):
    """Engine and service byte for byte; both against the peer within tolerance."""
    raw = {}
    for side in sides:
        path = os.path.join(folder, side.name + ".out")
        side.ask("out " + path)
        with open(path, "rb") as f:
            raw[side.name] = f.read()
    if raw["engine"] != raw["service"]:
        return "engine and service give different bytes"
    ours, peer = (np.frombuffer(raw[k], case.out_dtype) for k in ("engine", "peer"))
    if ours.shape != peer.shape:
        return "outputs of %d and %d elements" % (ours.size, peer.size)
    if not np.allclose(ours, peer, rtol=RTOL, atol=ATOL):
        return "differs from the peer by up to %g" % float(np.abs(ours.astype(np.float64) - peer).max())
    return ""


def measure(case, build, folder, threads, cpus):
    request, model = os.path.join(folder, "request"), case.path
    request_write(request, case)
    broker = Broker(build, folder, threads, cpus)
    sides = []
    try:
        tests = os.path.join(build, "tests")
        engine = Side("engine", [tests + "/engine_bench", model, request, str(threads), str(ARENA_BYTES)], cpus)
        sides.append(engine)
        service = Side("service", [tests + "/service_bench", broker.socket, model, request, str(threads)], cpus)
        sides.append(service)
        peer = Side("peer", [sys.executable, HERE + "/ort_child.py", model, request, str(threads)], cpus)
        sides.append(peer)
        level, core, macs, _ = engine.ask("info").split()
        wrong = same_answer(case, folder, sides)
        for side in sides:
            side.warm_up()
        peak = float(engine.ask("peak"))
        noise.wait_idle()
        times = {"engine": ([], []), "service": ([], [])}
        with noise.Meter() as meter:
            for _ in range(ROUNDS):
                for side in (engine, service):
                    for which, who in enumerate((side, peer)):
                        time.sleep(PAUSE_S)
                        times[side.name][which].extend(who.run(who.calls))
        peak = max(peak, float(engine.ask("peak")))
    finally:
        for side in sides:
            side.close()
        broker.close()
    gflop = case.gflop or 2e-9 * int(macs)
    return [row(case, path, threads, level, core, times[path], gflop, peak, meter.others_pct, wrong)
            for path in ("engine", "service")]


def row(case, path, threads, level, core, times, gflop, peak, others_pct, wrong):
    ours_p10, ours_median = summary(times[0])
    peer_p10, peer_median = summary(times[1])
    gflops = gflop / (ours_p10 / 1e3)
    out = {
        "kind": "onnx", "bench": "infer", "name": case.name, "path": path, "threads": threads, "level": level,
        "blas_core": core, "ours_p10_ms": round(ours_p10, 5), "ours_median_ms": round(ours_median, 5),
        "peer": "onnxruntime", "peer_p10_ms": round(peer_p10, 5), "peer_median_ms": round(peer_median, 5),
        "speedup_p10": round(peer_p10 / ours_p10, 3), "speedup_median": round(peer_median / ours_median, 3),
        "gflops": round(gflops, 2), "peak_gflops": round(peak, 1),
        "peak_pct": round(100 * gflops / peak, 1) if peak else 0,
        "calls": len(times[0]), "rounds": ROUNDS, "others_pct": round(others_pct, 1),
    }
    if wrong:
        out["wrong"] = wrong
    return out


def show(r):
    print("%-16s %-7s %dT %-6s %-9s ours %9.4f /%9.4f ms   peer %9.4f /%9.4f ms   x%-6.2f (median x%.2f) %7.1f GFLOP/s %3.0f %%%s%s" % (
        r["name"], r["path"], r["threads"], r["level"], r["blas_core"], r["ours_p10_ms"], r["ours_median_ms"],
        r["peer_p10_ms"], r["peer_median_ms"], r["speedup_p10"], r["speedup_median"], r["gflops"], r["peak_pct"],
        "  noisy: others %.0f %%" % r["others_pct"] if r["others_pct"] > noise.NOISY_PCT else "",
        "  WRONG: " + r["wrong"] if "wrong" in r else ""), flush=True)


def main():
    build, out, names = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3:]
    cpus = sorted(os.sched_getaffinity(0))
    scratch = os.path.join(os.path.dirname(build), "bench")
    os.makedirs(scratch, exist_ok=True)
    rows, bad = [], 0
    for case in zoo.cases(scratch, names):
        if not case.path:
            print("SKIP bench %s: %s" % (case.name, case.missing), flush=True)
            continue
        for threads in (1, 2):
            if threads > len(cpus):
                print("SKIP bench %s: %d threads on %d CPU" % (case.name, threads, len(cpus)), flush=True)
                continue
            folder = tempfile.mkdtemp(dir=scratch)
            try:
                got = measure(case, build, folder, threads, set(cpus[-threads:]))
            except (RuntimeError, OSError, subprocess.SubprocessError) as e:
                print("FAIL bench %s %dT: %s" % (case.name, threads, e), flush=True)
                bad += 1
                continue
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            for r in got:
                show(r)
                bad += "wrong" in r
            rows += got
            with open(out, "a", encoding="utf-8") as f:
                f.writelines(json.dumps(r) + "\n" for r in got)
        case.clean()
    engine = [r for r in rows if r["path"] == "engine"]
    slower = [r["name"] + "/%dT" % r["threads"] for r in engine if r["speedup_p10"] < 1]
    print("bench onnx: %d rows, %d failed; engine rows below 1.0: %d of %d%s" % (
        len(rows), bad, len(slower), len(engine), " (" + ", ".join(slower) + ")" if slower else ""))
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
