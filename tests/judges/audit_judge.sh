#!/bin/sh
# Logs of several sizes, written by the real auditor, judged by Go's x/mod; and the judge itself must see a forgery.
# usage: audit_judge.sh BUILD [SIZES]
b=$1
sizes=${2:-"1 2 255 256 257 1000 70000"}
gocode=/usr/share/gocode
if [ ! -x /usr/bin/go ] || [ ! -d $gocode/src/golang.org/x/mod/sumdb/tlog ]; then
	echo "SKIP audit judge: golang-go and golang-golang-x-mod-dev are not installed"
	exit 0
fi
here=$(dirname "$0")
base=$(mktemp -d)
trap 'rm -rf "$base"' EXIT
mkdir -p "$b/judges"
GO111MODULE=off GOPATH=$gocode GOCACHE="$PWD/build/gocache" GOFLAGS= HOME="$base" \
	/usr/bin/go build -o "$b/judges/audit_log" "$here/audit_log.go" || exit 1
ok=0; bad=0
say() { # what, result
	if [ "$2" -eq 0 ]; then ok=$((ok + 1)); else bad=$((bad + 1)); echo "FAILED: $1"; fi
}
for n in $sizes; do
	vkey=$("$b/tests/audit_fill" "$b/bin/fumehood-auditor" "$base/$n" "$n")
	say "filling $n" $?
	"$b/judges/audit_log" "$vkey" "$base/$n/log" "$base/$n"/receipt.*[0-9]
	say "the log of $n" $?
done
# One log that grows through the sizes: receipts of all its ages hold against its end.
for n in 3 200 300 700; do
	vkey=$("$b/tests/audit_fill" "$b/bin/fumehood-auditor" "$base/grown" "$n")
	say "growing to $n" $?
done
"$b/judges/audit_log" "$vkey" "$base/grown/log" "$base/grown"/receipt.*[0-9]
say "the grown log" $?
# The judge sees what it must see.
cp -r "$base/1000" "$base/forged"
refuse() { # what
	if "$b/judges/audit_log" "$vkey" "$base/forged/log" >/dev/null 2>&1; then say "$1 was accepted" 1; else say "$1" 0; fi
	rm -rf "$base/forged"; cp -r "$base/1000" "$base/forged"
}
vkey=$(cat "$base/1000/log/log.vkey")
"$b/judges/audit_log" "$vkey" "$base/forged/log" >/dev/null; say "the copy" $?
printf 'x' | dd of="$base/forged/log/tlog/tile/entries/001" bs=1 seek=2000 conv=notrunc status=none
refuse "a changed bundle"
printf 'x' | dd of="$base/forged/log/tlog/tile/0/002" bs=1 seek=100 conv=notrunc status=none
refuse "a changed tile"
printf 'x' | dd of="$base/forged/log/tlog/checkpoint" bs=1 seek=25 conv=notrunc status=none
refuse "a changed checkpoint"
vkey=$(cat "$base/257/log/log.vkey")
refuse "another log's key"
echo "audit judge: $ok passed, $bad failed"
[ $bad -eq 0 ]
