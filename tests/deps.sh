#!/bin/sh
# Installs the Debian packages given as arguments when they are missing; says what it does.
set -eu
missing=""
for p in "$@"; do
	dpkg-query -W -f='${db:Status-Status}\n' "$p" 2>/dev/null | grep -qx installed || missing="$missing $p"
done
if [ -z "$missing" ]; then
	echo "deps: all $# packages are installed"
	exit 0
fi
command -v apt-get > /dev/null || { echo "deps: this is not Debian; install by hand:$missing" >&2; exit 1; }
sudo=""
if [ "$(id -u)" != 0 ]; then
	command -v sudo > /dev/null || { echo "deps: run as root or install sudo; missing:$missing" >&2; exit 1; }
	sudo=sudo
fi
echo "deps: installing$missing"
$sudo apt-get update -q > /dev/null
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing > /dev/null
echo "deps: done"
