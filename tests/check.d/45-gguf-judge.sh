#!/bin/sh
# Dequantisation against PyPI gguf, and against itself with a scale made wrong: that must be noticed.
# usage: 45-gguf-judge.sh BUILD check|long
set -u
tool=$1/tests/gguf_tool
py=build/venv/bin/python3
[ -x $py ] || py=/usr/bin/python3
files=""
more=""
[ "$2" = long ] && more=--all
/usr/bin/python3 -B tests/judges/gguf_fetch.py $([ "$2" = long ] && echo --optional) || true
for f in build/cache/gguf/smol.gguf build/cache/gguf/gemma.gguf; do [ -e $f ] && files="$files $f"; done
# shellcheck disable=SC2086
$py -B tests/judges/gguf_judge.py "$tool" $more $files
status=$?
[ $status -eq 3 ] && exit 0
if $py -B tests/judges/gguf_judge.py "$tool" --fault > build/check/gguf-fault 2>&1; then
	echo "FAIL: a wrong scale was not noticed"
	status=1
else
	echo "a scale made wrong on purpose is noticed: $(tail -1 build/check/gguf-fault)"
fi
exit $status
