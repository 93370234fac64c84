#!/bin/sh
# The log under power failures and kills. usage: 30-crash.sh BUILD check|long
b=$1
[ "$2" = long ] && long=--long || long=
"$b/tests/crash_log" $long && "$b/tests/crash_kill" $long "$b/bin/fumehood-auditor"
