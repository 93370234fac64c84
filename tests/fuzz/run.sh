#!/bin/sh
# Runs fuzz targets for SECONDS each, two at a time, and closes with counts. First proves that the alarm
# rings: the negative target must be caught. usage: run.sh FOLDER SECONDS NAME...
dir=$1; secs=$2; shift 2
ok=0; bad=0; failed=""
if "$dir/fuzz_negative" -max_total_time=60 -artifact_prefix="$dir/fuzz_negative-" > "$dir/fuzz_negative.log" 2>&1; then
	echo "fuzz: the planted bug of fuzz_negative was not caught: no result can be trusted"; exit 1
fi
echo "  ok    fuzz_negative: the planted bug was caught"
run_one() {
	t=$1
	mkdir -p "$dir/corpus/$t"
	seeds=""; [ -d "tests/fuzz/corpus/$t" ] && seeds="tests/fuzz/corpus/$t"
	# shellcheck disable=SC2086
	"$dir/$t" -max_total_time="$secs" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="$dir/$t-" "$dir/corpus/$t" $seeds > "$dir/$t.log" 2>&1
	echo $? > "$dir/$t.rc"
}
while [ $# -gt 0 ]; do
	a=$1; shift; run_one "$a" & pa=$!
	b=""; if [ $# -gt 0 ]; then b=$1; shift; run_one "$b" & pb=$!; wait "$pb"; fi
	wait "$pa"
	for t in $a $b; do
		n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$dir/$t.log")
		if [ "$(cat "$dir/$t.rc")" = 0 ]; then ok=$((ok + 1)); echo "  ok    $t: ${n:-0} runs in $secs s"
		else bad=$((bad + 1)); failed="$failed $t"; tail -30 "$dir/$t.log"; echo "  FAIL  $t (input kept beside $dir/$t-*)"; fi
	done
done
echo "fuzz: $ok targets clean, $bad with findings${failed:+:$failed}"
[ $bad -eq 0 ]
