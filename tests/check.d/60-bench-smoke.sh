#!/bin/sh
# The bench still runs and its engine and service rows still agree, byte for byte. usage: 60-bench-smoke.sh BUILD check|long
set -u
b=$1
py=build/venv/bin/python3
[ -x "$py" ] && "$py" -c 'import onnxruntime' 2>/dev/null || { echo "SKIP bench smoke: no onnxruntime in build/venv"; exit 0; }
${MAKE:-make} --no-print-directory "$b/tests/engine_bench" "$b/tests/service_bench" > /dev/null || exit 1
out=$(mktemp)
BENCH_QUICK=1 "$py" -B tests/bench/bench_onnx.py "$b" "$out" silero_v6 ppocr_cls
rc=$?
rm -f "$out"
exit $rc
