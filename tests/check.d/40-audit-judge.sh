#!/bin/sh
# The log by an independent program. usage: 40-audit-judge.sh BUILD check|long
exec sh tests/judges/audit_judge.sh "$1"
