#!/bin/sh
# Policies against the official Cedar build, from a new seed each time (printed). usage: 40-cedar-judge.sh BUILD check|long
py=build/venv/bin/python3
"$py" -c 'import cedarpy' 2>/dev/null || { echo "SKIP cedar judge: no cedarpy in build/venv"; exit 0; }
more=""; [ "$2" = long ] && more="--sets 20000 --texts 200000 --schemas 100000 --entities 40000"
# shellcheck disable=SC2086
exec "$py" -B tests/judges/cedar_judge.py "$1/tests/policy_tool" $more
