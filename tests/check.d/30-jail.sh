#!/bin/sh
# The jail for real: attempts, liars, injected faults, other kernels, kills. usage: 30-jail.sh BUILD MODE
FUMEHOOD_BUILD=$1 exec /usr/bin/python3 -m pytest -q -p no:cacheprovider tests/jail
