#!/bin/sh
# make bench: every row of every bench, printed and written to BUILD/bench.jsonl. usage: run.sh BUILD [NAME...]
# BENCH_QUICK=1: few rounds, few models, for development.
set -u
b=$1; shift
out=$b/bench.jsonl
: > "$out"
rc=0
# The environment chooses no kernel, for nobody.
for v in $(env | sed -n 's/^\(OPENBLAS_[A-Za-z0-9_]*\|OMP_[A-Za-z0-9_]*\)=.*/\1/p'); do unset "$v"; done

echo "bench: spawn against bwrap"
# A bench program prints its rows as JSON lines on standard output, what people read on standard error.
/usr/bin/python3 tests/models/fetch.py > /dev/null 2>&1
model=build/cache/ppocr_cls.onnx # the smallest real one
[ -e $model ] || model=tests/models/tiny.onnx
for threads in 1 2; do
	"$b/tests/bench_spawn" "$b/bin" $([ -n "${BENCH_QUICK:-}" ] && echo 40 || echo 150) $threads $model >> "$out" || rc=1
done
echo "bench: durable records against bare append and fdatasync"
"$b/tests/bench_log" ${BENCH_QUICK:+--quick} >> "$out" || rc=1
/usr/bin/python3 -B tests/bench/bench_calls.py "$b" "$out" || rc=1
echo "bench: policy decisions"
"$b/tests/bench_policy" >> "$out" || rc=1
echo "bench: models against ONNX Runtime"
/usr/bin/python3 tests/models/fetch.py || echo "SKIP real models: they cannot be fetched (no network?)"
build/venv/bin/python3 -B tests/bench/bench_onnx.py "$b" "$out" "$@" || rc=1
echo "bench: $(wc -l < "$out") rows in $out"
exit $rc
