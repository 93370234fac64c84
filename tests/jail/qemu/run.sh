# Runs inside the test machine: every line that begins with a mark is read by qemu_61.py.
set -u
echo "MARK version $(cat /proc/version)"
ulimit -c 0
chmod 755 / /bin /f /f/bin /f/tests
for who in root user; do
	as=""
	[ $who = user ] && as="setpriv --reuid=51234 --regid=51234 --clear-groups"
	for how in "" --template --violation-kill; do
		echo "MARK lock $who $how"
		$as /f/tests/jail_run --deadline 20000 --optional shipped $how lock 39 "thread 2 @/etc/passwd 0"
	done
	echo "MARK required $who"
	$as /f/tests/jail_run lock
	echo "MARK attempts $who"
	$as /f/tests/jail_try --batch < /f/attempts
done
echo "MARK without"
/f/tests/jail_try --without seccomp --batch < /f/attempts
echo "MARK run"
mkdir -p /tmp/s
/f/bin/fumehood run --json --state-dir /tmp/s /f/tiny.onnx
echo "MARK end"
