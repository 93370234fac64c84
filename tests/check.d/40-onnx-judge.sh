#!/bin/sh
# The engine against ONNX Runtime, and against itself with a kernel made wrong: that must be noticed.
# usage: 40-onnx-judge.sh BUILD check|long
set -u
run=$1/tests/onnx_run
py=build/venv/bin/python3
if ! [ -x $py ] || ! $py -c 'import onnxruntime' 2>/dev/null; then
	echo "SKIP onnx judge: onnxruntime is not installed in build/venv (no network?)"
	exit 0
fi
/usr/bin/python3 -B tests/models/fetch.py || true
status=0
$py -B tests/judges/onnx_judge.py "$run" || status=1
# Products that OpenBLAS does on a processor with AVX2 alone.
$py -B tests/judges/onnx_judge.py "${run}_avx2" --only ops --level AVX2 fused MatMul Gemm || status=1
if [ "$2" = long ]; then
	for level in C AVX2 AVX512; do
		$py -B tests/judges/onnx_judge.py "$run" --only ops --seed 2 --level $level || status=1
	done
	$py -B tests/judges/onnx_judge.py "$run" --only models --seed 3 --level AVX2 || status=1
fi
if $py -B tests/judges/onnx_judge.py "$run" --only models --perturb tiny silero_v6 magika_v3_3 ppocr_cls > build/check/perturbed 2>&1; then
	echo "FAIL: a wrong kernel was not noticed"
	status=1
else
	echo "a kernel made wrong on purpose is noticed: $(grep 'onnx judge:' build/check/perturbed)"
fi
exit $status
