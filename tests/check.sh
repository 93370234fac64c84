#!/bin/sh
# The stages of `make check` (argument: check) and `make check-long` (argument: long), each with its
# counts and time; closes with one line. A stage that fails does not stop the others: one run tells all.
mode=$1
jobs=$(nproc)
start=$(date +%s)
failed=""
stages=0
log=build/check
mkdir -p $log

stage() { # name, command...
	name=$1; shift
	s=$(date +%s)
	stages=$((stages + 1))
	printf '== %s\n' "$name"
	if "$@"; then r=ok; else r=FAILED; failed="$failed $name"; fi
	printf '== %s: %s, %d s\n' "$name" "$r" $(($(date +%s) - s))
}

make="${MAKE:-make} --no-print-directory"
stage build $make -j"$jobs" programs-for-tests || exit 1
case "$failed" in *build*) echo "check: the build failed"; exit 1;; esac
$make venv || true
stage lint $make lint
stage unit $make unit
for s in tests/check.d/*.sh; do
	[ -e "$s" ] || continue
	stage "$(basename "$s" .sh | sed 's/^[0-9]*-//')" sh "$s" build/release "$mode"
done
if [ "$mode" = long ]; then
	for v in asan ubsan tsan; do stage $v $make -j"$jobs" $v; done
	stage fuzz $make -j"$jobs" fuzz-smoke FUZZ_SECONDS=600
fi
t=$(($(date +%s) - start))
if [ -n "$failed" ]; then
	echo "check: $stages stages, FAILED:$failed ($t s)"
	exit 1
fi
echo "check: all $stages stages passed ($t s)"
