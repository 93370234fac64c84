#!/bin/sh
# The auditor's process, the log under power failures and kills. usage: 30-crash.sh BUILD check|long
b=$1
[ "$2" = long ] && long=--long || long=
"$b/tests/audit_process" "$b/bin/fumehood-auditor" && "$b/tests/crash_log" $long && "$b/tests/crash_kill" $long "$b/bin/fumehood-auditor"
