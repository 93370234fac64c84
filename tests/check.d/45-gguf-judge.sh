#!/bin/sh
# Dequantisation against PyPI gguf, and against itself with a scale made wrong: that must be noticed.
# Tokenizers against the vectors that llama.cpp ships; the Unicode tables against their database.
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
status=0
$py -B tests/judges/gguf_tok_judge.py "$1/tests/gguf_tokenize" || [ $? -eq 3 ] || status=1
$py -B tests/judges/gguf_unicode.py --check sandbox/inside/engine/gguf/unicode_tables.h || [ $? -eq 3 ] || status=1
# shellcheck disable=SC2086
$py -B tests/judges/gguf_judge.py "$tool" $more $files
case $? in 0) ;; 3) exit $status ;; *) status=1 ;; esac
if $py -B tests/judges/gguf_judge.py "$tool" --fault > build/check/gguf-fault 2>&1; then
	echo "FAIL: a wrong scale was not noticed"
	status=1
else
	echo "a scale made wrong on purpose is noticed: $(tail -1 build/check/gguf-fault)"
fi
exit $status
