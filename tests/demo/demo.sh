#!/bin/sh
# make demo: the whole path, from a downloaded model to an audited answer. usage: demo.sh BUILD
set -u
build=$(cd "$1" && pwd)
root=$(cd "$(dirname "$0")/../.." && pwd)
exec /usr/bin/python3 -B "$root/tests/demo/demo.py" "$build" "$root/build/demo"
