#!/bin/sh
# Runs the unit test programs given by name in BUILD/tests and closes with counts.
# usage: run.sh BUILD NAME...
b=$1; shift
ok=0; bad=0; cases=0; failed=""
for t in "$@"; do
	out=$("$b/tests/$t" 2>&1); rc=$?
	n=$(printf '%s\n' "$out" | sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' | tail -1)
	cases=$((cases + ${n:-0}))
	skips=$(printf '%s\n' "$out" | grep -c '^SKIP')
	[ "$skips" -gt 0 ] && printf '%s\n' "$out" | grep '^SKIP'
	if [ $rc -eq 0 ]; then ok=$((ok + 1)); printf '  ok    %s (%s cases)\n' "$t" "${n:-0}"
	else bad=$((bad + 1)); failed="$failed $t"; printf '%s\n' "$out" | tail -40; printf '  FAIL  %s (status %s)\n' "$t" "$rc"; fi
done
printf 'unit: %d programs passed, %d failed, %d cases%s\n' "$ok" "$bad" "$cases" "${failed:+; failed:$failed}"
[ $bad -eq 0 ]
