# SPDX-License-Identifier: Apache-2.0
"""The jail, for real: the shipped jailer, the worker's own start and filter bytes, and in the worker's
place a program that belongs to the attacker (attack.c). Run as root (service user and rootless) and as
an ordinary user. FUMEHOOD_BUILD names the build folder (default build/release)."""

import ctypes
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("FUMEHOOD_BUILD", os.path.join(HERE, "../../build/release")))
USER = 51234  # an ordinary user that owns nothing
ROOT = os.geteuid() == 0
SHIPPED = ["landlock_truncate", "landlock_net", "landlock_ioctl", "landlock_scope", "mdwe", "memfd_noexec", "mseal"]
LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture(scope="session")
def place():
    """A copy of the programs that an ordinary user may read: the checkout need not be."""
    d = tempfile.mkdtemp(prefix="fumehood-jail-")
    for sub, names in (("bin", ["fumehood-jailer", "fumehood-attack"]),
                       ("tests", ["jail_run", "jail_try", "env_run", "fumehood-jailer-test", "fumehood-attack-open"])):
        os.mkdir(os.path.join(d, sub))
        for n in names:
            shutil.copy(os.path.join(BUILD, sub, n), os.path.join(d, sub, n))
    subprocess.run(["chmod", "-R", "a+rX", d], check=True)
    yield d
    shutil.rmtree(d)


MODES = ["user"] + (["root", "root-rootless"] if ROOT else [])


def command(place, mode, args, program="jail_run"):
    prog = [os.path.join(place, "tests", program)]
    if mode == "root-rootless" and program == "jail_run":
        prog.append("--rootless")
    if mode == "user" and ROOT:
        prog = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] + prog
    return prog + [str(a) for a in args]


def in_session(sid):
    """Living processes of a session, by /proc: what a killed harness may have left."""
    left = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = open(f"/proc/{pid}/stat").read()
        except OSError:
            continue
        fields = stat[stat.rindex(")") + 2:].split()
        if int(fields[3]) == sid and fields[0] not in "ZX":
            left.append((int(pid), stat[:60]))
    return left


def wait_empty(sid, seconds=1.0):
    """What is still alive of a session after at most so long."""
    end = time.monotonic() + seconds
    while True:
        left = in_session(sid)
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.002)


def run(place, mode, *args, stdin=None, status=0):
    """Runs jail_run and returns its JSON lines."""
    p = subprocess.Popen(command(place, mode, args), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                         start_new_session=True)
    out, err = p.communicate(stdin or "", timeout=60)
    assert p.returncode == status, (p.returncode, out, err)
    assert wait_empty(p.pid) == []
    return [json.loads(line) for line in out.splitlines()]


def one(place, mode, *args, **kw):
    lines = run(place, mode, *args, **kw)
    assert len(lines) == 1, lines
    return lines[0]


def table():
    out = subprocess.run([os.path.join(BUILD, "tests/jail_run"), "--list"], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


STEPS = table()["steps"]
LAYERS = {name: (bit, may) for bit, name, may in table()["layers"]}


def mask(names):
    return "%x" % sum(1 << LAYERS[n][0] for n in names)


def test_jailer_args(place, *args):
    return ["--jailer", os.path.join(place, "tests/fumehood-jailer-test")] + [
        x for a in args for x in ("--jailer-arg", str(a))]


test_jailer_args.__test__ = False


# --- it comes up ------------------------------------------------------------------------------------------


WAYS = {"exec": [], "template": ["--template"], "kill": ["--violation-kill"]}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_locked_and_clean_end(place, mode, threads, way):
    r = one(place, mode, *WAYS[way], "--threads", threads, "--optional", "shipped", "lock")
    assert r["verdict"] == "clean" and r["end"] == "exited" and r["exit"] == 0, r
    # A fork's memory belongs to the template's namespace: its list is root's to read, so the jailer looks.
    listed = mode == "root-rootless" or (mode == "user" and way != "template")
    assert r["fds"] == ("listed" if listed else "probed"), r
    missing = [] if r["missing"] == "none" else r["missing"].split(",")
    assert set(missing) <= set(SHIPPED), r
    assert set(r["layers"].split(",")) | set(missing) == set(LAYERS)


@pytest.mark.parametrize("mode", MODES)
def test_behind_the_brokers_wall(place, mode):
    for way in WAYS.values():
        for r in run(place, mode, "--walled", *way, "--optional", "shipped", "lock", "39"):
            assert r["verdict"] == ("clean" if r["attempt"] == "lock" else "refused-call"), r


def test_jailer_is_small_and_static():
    path = os.path.join(BUILD, "bin/fumehood-jailer")
    assert os.path.getsize(path) < 1 << 20
    headers = subprocess.run(["readelf", "-ld", path], capture_output=True, text=True, check=True).stdout
    assert "INTERP" not in headers and "NEEDED" not in headers
    symbols = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout
    assert not re.search(r" [TtWw] (malloc|calloc|realloc|fork|system|execve|jail_test_\w+)$", symbols, re.M), symbols


# --- attempts ------------------------------------------------------------------------------------------------


def numbers():
    nr = {}
    for line in open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"):
        m = re.match(r"#define __NR_(\w+) (\d+)", line)
        if m:
            nr[m.group(1)] = m.group(2)
    return nr


def attempts():
    rows = []
    for line in open(os.path.join(HERE, "attempts.txt")):
        if line.startswith("#") or not line.strip():
            continue
        name, end, dangerous, what, _why = [c.strip() for c in line.split("|", 4)]
        assert end in ("rep", "sys", "segv") and dangerous in ("y", "-"), line
        rows.append((name, end, dangerous == "y", what))
    return rows


def tried(place, mode, *args, rows=None):
    """Each row of the table through jail_try, in one jail."""
    rows = rows or attempts()
    p = subprocess.run(command(place, mode, list(args) + ["--batch"], "jail_try"), capture_output=True, text=True,
                       input="".join(r[3] + "\n" for r in rows), timeout=100)
    assert p.returncode == 0, (p.returncode, p.stderr)
    got = [json.loads(line) for line in p.stdout.splitlines()]
    assert len(got) == len(rows)
    return got


ENDS_AS = {"rep": ("reported", 9), "sys": ("killed", 31), "segv": ("killed", 11)}


def check_refused(rows, got, ends_as=lambda row: ENDS_AS[row[1]]):
    wrong = [(row, r) for row, r in zip(rows, got) if (r["end"], r["signal"]) != ends_as(row)]
    assert not wrong, wrong


@pytest.mark.parametrize("mode", MODES[:2])
@pytest.mark.parametrize("how", [[], ["--exec"]])
def test_every_attempt_is_refused(place, mode, how):
    rows = attempts()
    assert len(rows) >= 165 and len({r[0] for r in rows}) == len(rows)
    got = tried(place, mode, *how)
    check_refused(rows, got)
    if not how:
        n = sum(r[2] for r in rows)
        print(f"attempts ({mode}): {len(rows)} of {len(rows)} refused, {n} of {n} dangerous ones")


def test_every_attempt_is_killed_without_reports(place):
    rows = attempts()
    got = tried(place, MODES[-1], "--tier", "kill")
    check_refused(rows, got, lambda row: ENDS_AS["sys" if row[1] == "rep" else row[1]])


def is_refused(r):
    """What a worker without filters got: an error, or its end by the processor or the kernel."""
    return (r["end"] == "returned" and r["errno"] != 0) or (r["end"] == "killed" and r["signal"] in (11, 31))


def test_two_layers_behind_the_dangerous_ones(place):
    """The other layers alone, all filters left out by the test jailer."""
    rows = attempts()
    got = tried(place, MODES[-1], "--without", "seccomp")
    assert all("seccomp" not in r["layers"] and "seccomp_start" not in r["layers"] for r in got)
    refused = [is_refused(r) for r in got]
    dangerous = [ok for row, ok in zip(rows, refused) if row[2]]
    share = sum(dangerous) / len(dangerous)
    alone = [row[0] for row, ok in zip(rows, refused) if row[2] and not ok]
    print(f"without seccomp: {sum(refused)} of {len(rows)} still refused ({sum(refused) / len(rows):.0%}); of the "
          f"dangerous {sum(dangerous)} of {len(dangerous)} ({share:.0%}); stopped by seccomp alone: {' '.join(alone)}")
    assert share >= 0.85


def test_container_tier_attempts(place):
    """No namespaces, as in a container: the filter, Landlock and the missing descriptors are all there is."""
    rows = attempts()
    got = tried(place, MODES[0], "--tier", "container")
    # What the container's own profile refuses with an errno is neither executed nor reported: of two filters
    # the stricter answer wins. violation=kill is stricter than both.
    by_profile = [(r["end"], r["errno"]) in (("returned", 1), ("returned", 38)) for r in got]
    check_refused([row for row, p in zip(rows, by_profile) if not p], [r for r, p in zip(got, by_profile) if not p])
    names = {row[3].split()[0] for row, p in zip(rows, by_profile) if p}
    assert names <= {"mount", "umount2", "pivot_root", "unshare", "setns", "keyctl", "add_key", "request_key", "bpf",
                     "userfaultfd", "io_uring_setup", "io_uring_enter", "socket", "clone3", "perf_event_open",
                     "pidfd_getfd", "vm-read", "vm-write", "clone"}, names
    print(f"container: {len(rows)} of {len(rows)} refused, {sum(by_profile)} of them by the container's own profile")
    assert all("user_ns" not in r["layers"] and "seccomp" in r["layers"] for r in got)


START_ANSWERS = ["openat -100 @/etc/passwd 0", "open @/etc/passwd 0", "socket 2 1 0", "fork", "brk 0", "getrandom &8 8 0",
                 "set_tid_address &8", "set_robust_list &24 24", "rseq &32 32 0 0", "readlinkat -100 @/ &8 8",
                 "clock_gettime 1 &16", "execve @/bin/true 0 0", "clone 17 0 0 0 0", "mmap 0 4096 7 34 -1 0",
                 "mprotect &4096 4096 5", "kill 2 9", "ptrace 16 2 0 0", "unshare 0x10000000", "sendmsg 4 &56 0",
                 "futex &4 9 0 0 0 -1", "write 1 @x 1"]


def test_the_start_list_answers_enosys(place):
    rows = [(a, None, None, a) for a in START_ANSWERS]
    for row, r in zip(rows, tried(place, MODES[-1], "--tier", "startup", "--exec", rows=rows)):
        assert (r["end"], r["errno"]) == ("returned", 38), (row, r)


def try_one(place, *args, status=0):
    p = subprocess.run([os.path.join(place, "tests/jail_try")] + list(args), capture_output=True, text=True, timeout=20)
    assert p.returncode == status, (args, p.returncode, p.stdout, p.stderr)
    return json.loads(p.stdout) if status == 0 else None


def test_jail_try(place):
    r = try_one(place, "257", "-100", "@/etc/passwd", "0")
    assert set(r) == {"nr", "name", "abi", "tier", "end", "ret", "errno", "signal", "layers"}
    assert (r["nr"], r["name"], r["abi"], r["tier"], r["end"]) == (257, "openat", "x86-64", "strict", "reported")
    assert "seccomp" in r["layers"] and "landlock_fs" in r["layers"]
    r = try_one(place, "--abi", "i386", "20")
    assert (r["name"], r["abi"], r["end"], r["signal"]) == ("getpid", "i386", "killed", 31)
    r = try_one(place, "--abi", "x32", "39")
    assert (r["abi"], r["end"], r["signal"]) == ("x32", "killed", 31)
    r = try_one(place, "231", "7")
    assert r["end"] == "exited"
    r = try_one(place, "0", "3", "&8", "8")
    assert r["end"] == "blocked"
    r = try_one(place, "202", "&4", "129", "1")
    assert (r["end"], r["ret"], r["errno"]) == ("returned", 0, 0)
    r = try_one(place, "--without", "seccomp", "--without", "limits_closed", "2", "@/etc/passwd", "0")
    assert (r["end"], r["ret"], r["errno"]) == ("returned", -1, 2), "Landlock and an empty root are left"
    r = try_one(place, "--without", "mdwe", "--without", "seccomp", "9", "0", "4096", "7", "34", "-1", "0")
    assert r["end"] == "returned" and r["errno"] == 0 and "mdwe" not in r["layers"]
    for usage in ([], ["--tier", "none", "1"], ["--abi", "arm", "1"], ["--without", "nothing", "1"], ["1", "x"],
                  ["1", "2", "3", "4", "5", "6", "7", "8", "9"], ["--batch", "1"]):
        try_one(place, *usage, status=2)


LAYER_OFF = [("mdwe", "mmap 0 4096 7 34 -1 0", True), ("limits_closed", "dup 3", True), ("pid_ns", "getppid", None),
             ("max_user_namespaces", "unshare 0x10000000", True), ("dumpable", "prctl 3", None)]


@pytest.mark.parametrize("layer,what,allows", LAYER_OFF)
def test_a_layer_left_out_is_missed(place, layer, what, allows):
    """With the filters out too: what this layer alone stops works when it is left out, and not when it stands."""
    rows = [(what, None, None, what)]
    with_it = tried(place, MODES[-1], "--without", "seccomp", rows=rows)[0]
    without = tried(place, MODES[-1], "--without", "seccomp", "--without", layer, rows=rows)[0]
    assert layer in with_it["layers"] and layer not in without["layers"]
    if allows:
        assert with_it["errno"] != 0 and without["errno"] == 0, (with_it, without)
    else:
        assert with_it["ret"] != without["ret"], (with_it, without)


def test_the_shipped_jailer_leaves_nothing_out(place):
    """The program whose start leaves layers out, under the shipped jailer: locked like any other."""
    r = one(place, MODES[-1], "--program", os.path.join(place, "tests/fumehood-attack-open"), "--optional", "shipped", "39")
    assert r["end"] == "reported" and r["missing"] == "none" or set(r["missing"].split(",")) <= set(SHIPPED), r


@pytest.mark.parametrize("mode", MODES)
def test_workers_kept_ready(place, mode):
    """Handed out once, for the very order, alive; then as any other."""
    got = run(place, mode, "--spare", "--template", "--optional", "shipped", "39", "lock", "write-text", "2 @/x 0")
    assert [r["end"] for r in got] == ["reported", "exited", "killed", "reported"], got


def test_the_jailers_own_calls_are_few():
    """Its loop: at most 25 rows of its own, at most 36 calls with what children need."""
    rows = [line for line in open(os.path.join(HERE, "../../sandbox/wall/jailer.rules")) if "# (own)" in line]
    names = {line.split()[0] for line in rows}
    text = open(os.path.join(BUILD, "gen/filters.txt")).read()
    calls = {m[0]: int(m[1]) for m in re.findall(r"^(\w+): (\d+) calls", text, re.M)}
    assert len(names) <= 25 and calls["jailer"] <= 36 and calls["broker"] <= 45 and calls["worker_strict"] == 4
    print(f"calls: {calls}, jailer's own {len(names)}")


# --- reports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["exec", "template"])
def test_a_report_says_what_was_tried(place, mode, way):
    times = []
    for _ in range(5):
        r = one(place, mode, *WAYS[way], "--optional", "shipped", "257 -100 @/etc/passwd 0x80000 0x1a4 7 -9")
        assert (r["end"], r["call"], r["nr"], r["verdict"]) == ("reported", "openat", 257, "refused-call"), r
        m = re.match(r"openat\(0x([0-9a-f]+), 0x[0-9a-f]+, 0x80000, 0x1a4, 0x7, 0xfffffffffffffff7\), call 257 of x86-64, "
                     r"at \+0x([0-9a-f]+), thread (\d+)$", r["report"])
        assert m and int(m.group(1), 16) & 0xFFFFFFFF == 0xFFFFFF9C, r
        times.append(r["report_us"])
    assert min(times) < 1000, times
    print(f"report: {min(times)} us after the word to go ({mode}, {way})")


def test_the_offset_names_the_instruction(place):
    """The two bytes at the reported offset of the program file are `syscall`."""
    r = one(place, MODES[-1], "--optional", "shipped", "39")
    at = int(re.search(r"at \+0x([0-9a-f]+)", r["report"]).group(1), 16)
    headers = subprocess.run(["readelf", "-lW", os.path.join(place, "bin/fumehood-attack")], capture_output=True,
                             text=True, check=True).stdout
    for off, vaddr, size in re.findall(r"LOAD\s+0x(\w+) 0x(\w+) 0x\w+ 0x(\w+)", headers):
        off, vaddr, size = int(off, 16), int(vaddr, 16), int(size, 16)
        if vaddr <= at < vaddr + size:
            with open(os.path.join(place, "bin/fumehood-attack"), "rb") as f:
                f.seek(off + at - vaddr)
                assert f.read(2) == b"\x0f\x05"
            return
    assert False, "outside the program"


@pytest.mark.parametrize("mode", MODES)
def test_a_report_from_another_thread(place, mode):
    r = one(place, mode, "--optional", "shipped", "thread 2 @/etc/passwd 0")
    assert r["end"] == "reported" and r["call"] == "open", r


def test_without_a_broker_the_call_fails_and_is_not_executed(place):
    """The listener closed: ENOSYS, whatever it was; the broker's death itself ends the worker (below)."""
    for what in ("39", "2 @/etc/passwd 0", "9 0 4096 7 34 -1 0", "57"):
        r = one(place, MODES[-1], "--optional", "shipped", "--drop-listener", what)
        assert r["end"] == "returned" and r["ret"] == -38, r
    r = one(place, MODES[-1], "--optional", "shipped", "--drop-listener", "46 3 &56 0")
    assert (r["end"], r["signal"]) == ("killed", 31), r


@pytest.mark.parametrize("mode", MODES)
def test_what_is_allowed_works(place, mode):
    """The four calls answer; otherwise the filter's refusals would prove nothing."""
    wake = one(place, mode, "--optional", "shipped", "202 &4 129 1")
    assert wake["end"] == "returned" and wake["ret"] == 0, wake
    wait = one(place, mode, "--optional", "shipped", "202 &4 128 7")
    assert wait["end"] == "returned" and wait["ret"] == -11, wait  # EAGAIN: the word differs
    leave = one(place, mode, "--optional", "shipped", "231 5")
    assert leave["end"] == "exited" and leave["exit"] == 5, leave


def test_attempts_of_demo_and_doctor(place):
    names = table()["attempts"]
    assert {"open", "socket", "exec"} <= set(names)
    for r in run(place, MODES[-1], "--optional", "shipped", "--deadline", 150, *["=" + n for n in names]):
        assert (r["end"] == "reported") == (r["verdict"] == "refused-call" and r["attempt"] not in ("=send-fd", "=int80", "=x32")), r
        want = {"=spin": "deadline", "=crash": "crash"}.get(r["attempt"], "refused-call")
        assert r["verdict"] == want, r


ENDS = [("spin", "deadline", 9), ("silence", "deadline", 9), ("flood", "protocol", 9), ("exit", "crash", 0),
        ("exit-9", "crash", 0), ("div", "crash", 8), ("trap", "crash", 4), ("stack", "crash", 11)]


@pytest.mark.parametrize("attempt,verdict,sig", ENDS)
def test_ends(place, attempt, verdict, sig):
    r = one(place, MODES[-1], "--optional", "shipped", "--deadline", 150, attempt)
    assert (r["verdict"], r["signal"]) == (verdict, sig), r


def test_cpu_limit_is_the_last_resort(place):
    r = one(place, MODES[0], "--optional", "shipped", "--cpu", 1, "--deadline", 15000, "spin")
    assert (r["verdict"], r["signal"]) == ("deadline", 9), r


# --- liars -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("lie", ["lie-nothing", "lie-no-filter", "lie-other-thread", "lie-more-threads",
                                 "lie-two-filters", "lie-other-word", "lie-keeps-fd", "lie-less", "lie-no-listener",
                                 "lie-open-door", "lie-false-listener"])
def test_liars_are_ended(place, mode, lie):
    r = one(place, mode, "--optional", "shipped", "--threads", 2 if lie == "lie-other-thread" else 1, lie)
    if lie == "lie-keeps-fd":
        assert "other descriptors" in r["text"], r
    assert r["end"] == "refused" and r["error"] in ("wall", "protocol", "worker-crash"), r
    if lie == "lie-less":
        assert "lacks dumpable" in r["text"], r


# --- every step made to fail -------------------------------------------------------------------------------------

INJECTED = [(n, sym, name, layers) for n, sym, name, layers in STEPS if n and not sym.startswith("START_")]


def traces():
    """What a spawn could leave on the machine beside processes: mounts, control groups, memory files."""
    mounts = len(open("/proc/self/mountinfo").read().splitlines())
    groups = sum(len(dirs) for _, dirs, _ in os.walk("/sys/fs/cgroup"))
    files = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            fds = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for fd in fds:
            try:
                to = os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue
            if "memfd:fumehood" in to and b"jail_run" in open(f"/proc/{pid}/comm", "rb").read():
                files.add((pid, to))
    return mounts, groups, files


@pytest.mark.parametrize("mode", MODES)
def test_each_step_made_to_fail_refuses(place, mode):
    before = traces()
    for n, sym, name, layers in INJECTED:
        args = test_jailer_args(place, "--fault", n, 1)
        status = 3 if sym.startswith("ONCE") and not layers else 0  # 3: no jailer at all
        optional = [] if layers and set_of(layers) <= set(SHIPPED) else ["--optional", "shipped"]
        if sym == "TEMPLATE":
            optional, status = optional + ["--template"], 3
        r = one(place, mode, *args, *optional, "lock", status=status)
        assert r["end"] == "refused" and r["error"] == "wall", (sym, r)
        assert f"'{name}'" in r["text"] and "Operation not permitted" in r["text"], (sym, r)
    assert traces() == before


def set_of(layers):
    return {n for n, (bit, _) in LAYERS.items() if layers >> bit & 1}


# A call that the program itself needs, refused to it: steps after exec.
START = [("read", "START_FDS"), ("prctl", "START_DUMPABLE"), ("close_range", "START_CLOSE"),
         ("462", "START_MSEAL"), ("seccomp", "START_SECCOMP"), ("clone", "START_THREADS"), ("sendmsg", "START_LISTENER")]


@pytest.mark.parametrize("call,sym", START)
def test_each_start_step_made_to_fail_refuses(place, call, sym):
    name = next(s[2] for s in STEPS if s[1] == sym)
    args = test_jailer_args(place, "--refuse", numbers().get(call, call))
    r = one(place, MODES[-1], *args, "lock")
    assert r["end"] == "refused" and f"'{name}'" in r["text"], r


def startup_calls():
    """The rows of the startup list and of the strict list that it uses, by number."""
    nr, found = numbers(), []
    for name in ("worker_startup", "worker_strict"):
        for line in open(os.path.join(HERE, "../../sandbox/wall", name + ".rules")):
            word = line.split()[0] if line.split() else "#"
            if word[0] != "#" and word not in ("default", "max", "max_insns", "use") and word.split("!")[0] not in found:
                found.append(word.split("!")[0])
                yield word.split("!")[0], word.split("!")[1] if "!" in word else nr[word]


def test_each_row_of_the_startup_list_is_needed(place):
    """Without it no worker comes up, except where the row is for later or for speed."""
    later = {"futex", "exit_group"}  # the pool, the end
    wish = {"madvise"}               # huge pages
    assert len(list(startup_calls())) == 15
    for name, number in startup_calls():
        r = one(place, MODES[-1], *test_jailer_args(place, "--refuse", number), "--threads", 3, "lock")
        counted = "Seccomp_filters" in r.get("text", "")  # it came up: only the extra filter was noticed
        assert counted == (name in later | wish), (name, r)


# --- other kernels ---------------------------------------------------------------------------------------------------

OLD = ["--without", mask(["mdwe", "memfd_noexec", "mseal"]), "--landlock", "2"]


@pytest.mark.parametrize("mode", MODES)
def test_a_61_kernel_works_with_the_shipped_list(place, mode):
    r = one(place, mode, *test_jailer_args(place, *OLD), "--optional", "shipped", "lock")
    assert r["verdict"] == "clean", r
    assert sorted(r["missing"].split(",")) == sorted(SHIPPED), r
    for a in ("2 @/etc/passwd 0", "thread 39", "9 0 4096 5 34 -1 0"):
        r = one(place, mode, *test_jailer_args(place, *OLD), "--optional", "shipped", a)
        assert r["verdict"] == "refused-call", r


@pytest.mark.parametrize("layer", SHIPPED)
def test_a_61_kernel_is_refused_when_one_layer_is_required(place, layer):
    rest = mask([n for n in SHIPPED if n != layer])
    r = one(place, MODES[-1], *test_jailer_args(place, *OLD), "--optional", rest, "lock")
    assert r["end"] == "refused" and r["error"] == "wall", r


def refused_by(cmd, tell):
    """The harness under cmd finds no jail, and says why with the knob."""
    p = subprocess.run(cmd, capture_output=True, text=True, timeout=20)
    r = json.loads(p.stdout.splitlines()[0])
    assert r["end"] == "refused" and r["error"] == "wall" and tell in r["text"], r


def test_user_namespaces_off(place):
    """In a user namespace of its own whose limit is 0, as sysctl user.max_user_namespaces = 0 is."""
    refused_by(["unshare", "--user", "--map-root-user", "sh", "-c",
                f"echo 0 > /proc/sys/user/max_user_namespaces && {place}/tests/jail_run --rootless lock"],
               "set sysctl user.max_user_namespaces")


NAMESPACES = ["user_ns", "pid_ns", "net_ns", "ipc_ns", "uts_ns", "cgroup_ns", "time_ns", "mnt_ns", "empty_root", "uid_map",
              "max_user_namespaces"]


def in_env(place, env, mode, *args):
    """jail_run in an imitated environment; its JSON lines."""
    cmd = [os.path.join(place, "tests/env_run"), env] + command(place, "root", args)
    if mode == "user" and ROOT:
        cmd = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"] + cmd
    p = subprocess.run(cmd, capture_output=True, text=True, timeout=60)
    assert p.returncode in (0, 3), (p.returncode, p.stdout, p.stderr)
    return [json.loads(line) for line in p.stdout.splitlines()]


# Environment, user, what is said when nothing is optional, optional layers with which it works (None: never).
ENVIRONMENTS = [
    ("docker", "root", "user namespaces are refused", NAMESPACES),
    ("docker", "user", "user namespaces are refused", NAMESPACES),
    ("kubernetes", "root", "root without capabilities", None),
    ("kubernetes", "user", "user namespaces are refused", NAMESPACES),
    ("userns-off", "root", "set sysctl user.max_user_namespaces", NAMESPACES),
    ("userns-off", "user", "set sysctl user.max_user_namespaces", NAMESPACES),
    ("linux-6.1", "root", "Linux 6.3 has it", []),
    ("linux-6.1", "user", "Linux 6.3 has it", []),
    ("yama", "root", "Yama's ptrace_scope", None),
    ("listener", "user", "violation=kill", None),
]


@pytest.mark.parametrize("env,mode,says,optional", ENVIRONMENTS)
def test_environments(place, env, mode, says, optional):
    """Each is refused with the reason; with the layers that it lacks named optional it is whole otherwise."""
    if mode == "root" and not ROOT:
        pytest.skip("needs root")
    for way in ([], ["--template"]):
        r = in_env(place, env, mode, *way, "lock")[0]
        assert r["end"] == "refused" and r["error"] == "wall" and says in r["text"], r
        if optional is None:
            continue
        got = in_env(place, env, mode, *way, "--optional", mask(SHIPPED + optional), "lock", "39", "thread 2 @/x 0", "write-text")
        assert [r["end"] for r in got] == ["exited", "reported", "reported", "killed"], got
        missing = set(got[0]["missing"].split(","))
        assert set(optional) <= missing <= set(SHIPPED + optional), got[0]
        assert got[0]["fds"] == "unseen" if optional else got[0]["fds"] in ("listed", "probed"), got[0]
        if optional:  # one layer less in the list, and it is refused again
            r = in_env(place, env, mode, *way, "--optional", mask(SHIPPED + optional[1:]), "lock")[0]
            assert r["end"] == "refused" and says in r["text"], r


def test_under_another_listener(place):
    """A supervisor listens already: violation=kill, and the jail is whole."""
    got = in_env(place, "listener", "user", "--violation-kill", "--optional", "shipped", "lock", "39")
    assert [(r["end"], r["signal"]) for r in got] == [("exited", 0), ("killed", 31)], got


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("step,says", [("ONCE_MAP", "apparmor_restrict_unprivileged_userns"),
                                       ("ONCE_EMPTY_ROOT", "apparmor_restrict_unprivileged_userns")])
def test_apparmor_restricts_user_namespaces(place, mode, step, says):
    """There the namespace can be made, but maps (or mounts) in it answer EACCES."""
    n = next(s[0] for s in STEPS if s[1] == step)
    r = one(place, mode, *test_jailer_args(place, "--fault", n, 13), "--optional", "shipped", "lock",
            status=3 if step == "ONCE_MAP" else 0)
    assert r["end"] == "refused" and says in r["text"], r


@pytest.mark.skipif(not ROOT, reason="needs capabilities to lose")
def test_root_without_capabilities(place):
    run_it = [f"{place}/tests/jail_run", "lock"]
    refused_by(["setpriv", "--bounding-set=-all", "--inh-caps=-all", "sh", "-c", " ".join(run_it)],
               "root without capabilities")
    refused_by(["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"] + run_it, "root without capabilities")


@pytest.mark.parametrize("abi", [0, 1, 2, 3, 4, 5, 6])
def test_landlock_abis(place, abi):
    r = one(place, MODES[-1], *test_jailer_args(place, "--landlock", abi), "--optional", "shipped", "lock")
    assert r["end"] == ("refused" if abi < 2 else "exited"), r


def test_layers_that_can_never_be_optional(place):
    for name in ("seccomp", "no_new_privs", "closed_fds", "rlimits", "capabilities"):
        r = one(place, MODES[-1], "--optional", mask([name]), "lock")
        assert r["end"] == "refused" and "'request'" in r["text"], r


# --- what a jailer does not take ---------------------------------------------------------------------------------------


def test_models_and_programs(place):
    mode = MODES[-1]
    r = one(place, mode, "--optional", "shipped", "--writable-model", "lock")
    assert r["end"] == "refused" and "sealed model" in r["text"], r
    r = one(place, mode, "--exec-model", "lock")
    assert r["end"] == "refused" and "cannot be executed" in r["text"], r
    r = one(place, mode, "--exec-model", "--optional", "shipped", "lock")
    assert r["end"] == "exited" and "memfd_noexec" in r["missing"], r
    r = one(place, mode, "--threads", "65", "lock")
    assert r["end"] == "refused" and "'request'" in r["text"], r
    r = one(place, mode, "--arena", str(1 << 63), "lock")
    assert r["end"] == "refused" and "'request'" in r["text"], r


def test_the_test_jailer_starts_nothing_but_the_attack(place):
    r = one(place, MODES[-1], *test_jailer_args(place), "--program", os.path.join(place, "bin/fumehood-jailer"), "lock")
    assert r["end"] == "refused" and "'request'" in r["text"], r


MAGIC, VERSION, SPAWN, SPAWNED = 0x48554D46, 1, 0x0501, 0x0601


def frame(magic=MAGIC, version=VERSION, kind=SPAWN, flags=0, reserved=0, length=64, rid=7, body=bytes(64)):
    return struct.pack("<IHHIIQQ", magic, version, kind, flags, reserved, length, rid) + body


class Jailer:
    """The shipped jailer with this test in the broker's place."""

    def __init__(self, place):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock = mine
        keep = theirs.fileno()

        def child():
            os.dup2(keep, 3)
            os.set_inheritable(3, True)

        self.p = subprocess.Popen([os.path.join(place, "bin/fumehood-jailer")], preexec_fn=child, close_fds=False,
                                  stdin=subprocess.DEVNULL)
        theirs.close()
        self.sock.settimeout(5)
        hello = self.sock.recv(200)
        assert len(hello) == 96 and struct.unpack_from("<H", hello, 6)[0] == SPAWNED
        assert struct.unpack_from("<ii", hello, 32)[1] == 0

    def close(self):
        self.sock.close()
        return self.p.wait(5)


BAD_FRAMES = [frame(magic=1), frame(version=2), frame(kind=SPAWNED), frame(flags=1), frame(reserved=1),
              frame(length=63), frame(length=1 << 40), frame()[:-1], frame() + b"x", b"x", frame() * 2]


@pytest.mark.parametrize("n", range(len(BAD_FRAMES)))
def test_jailer_ends_at_a_bad_frame(place, n):
    j = Jailer(place)
    j.sock.send(BAD_FRAMES[n])
    assert j.p.wait(5) == 1
    j.close()


def memfd(data, seals=0xf):
    fd = os.memfd_create("t", os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    if seals:
        import fcntl
        fcntl.fcntl(fd, 1033, seals)
    return fd


def spawn_body(arena=4 << 20, model=4096, optional=0, threads=1, slot=0, cpu=0, r0=0, program=0, r=(0, 0)):
    return struct.pack("<QQQIIIIQQQ", arena, model, optional, threads, slot, cpu, r0, program, *r)


BAD_ORDERS = [dict(threads=0), dict(threads=65), dict(slot=65536), dict(r0=2), dict(r0=1 << 31), dict(r=(1, 0)), dict(r=(0, 1)),
              dict(optional=1 << 62), dict(model=4095), dict(model=0), dict(arena=(1 << 64) - 1)]


def test_jailer_refuses_bad_orders_and_goes_on(place):
    j = Jailer(place)
    for order in BAD_ORDERS + [None]:
        fds = [memfd(b"x"), memfd(bytes(4096)), memfd(b"\x7fELF" + bytes(100))]
        send = fds if order is not None else fds[:2]
        socket.send_fds(j.sock, [frame(body=spawn_body(**(order or {})))], send)
        answer, got_fds, _, _ = socket.recv_fds(j.sock, 200, 4)
        for f in fds + got_fds:
            os.close(f)
        pid, error, step = struct.unpack_from("<iiI", answer, 32)
        assert pid == 0 and error != 0 and STEPS[step][1] == "REQUEST", (order, pid, error, step)
        assert not got_fds
    assert j.p.poll() is None
    assert j.close() == 0


# --- nothing is left -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["exec", "template"])
def test_broker_killed_at_random_points(place, mode, way):
    rnd = random.Random(3)
    for _ in range(50):
        p = subprocess.Popen(command(place, mode, ["--optional", "shipped"] + WAYS[way]), stdin=subprocess.PIPE,
                             stdout=subprocess.DEVNULL, start_new_session=True)
        p.stdin.write(b"spin\n" * 5)
        p.stdin.flush()
        time.sleep(rnd.uniform(0.0, 0.02))
        os.killpg(p.pid, 0)
        p.kill()  # setpriv has become jail_run: the same process
        p.wait()
        p.stdin.close()
        assert wait_empty(p.pid) == []


def workers_of(sid):
    """Processes of a session that are neither the harness nor the jailer."""
    found = []
    for pid, _ in in_session(sid):
        try:
            name = open(f"/proc/{pid}/comm").read().strip()
        except OSError:
            continue
        if pid != sid and name not in ("fumehood-jailer", "fumehood-tmpl", "jail_run", "setpriv"):
            found.append(pid)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["exec", "template"])
def test_worker_killed_at_random_points(place, mode, way):
    """The broker never hangs, answers each time, and goes on: the last attempt is like the first."""
    rnd = random.Random(5)
    p = subprocess.Popen(command(place, mode, ["--optional", "shipped", "--deadline", "60"] + WAYS[way]),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    fds = f"/proc/{p.pid}/fd"
    seen, open_fds = {}, []
    for i in range(50):
        p.stdin.write("spin\n")
        p.stdin.flush()
        time.sleep(rnd.uniform(0.0003, 0.004))
        for pid in workers_of(p.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        r = json.loads(p.stdout.readline())
        seen[r.get("verdict", r.get("error"))] = seen.get(r.get("verdict", r.get("error")), 0) + 1
        if i in (0, 49):
            time.sleep(0.05)  # it closes after it has answered
            open_fds.append(os.listdir(fds) if ROOT else [])
    assert open_fds[0] == open_fds[1], "a descriptor leaks"
    assert set(seen) <= {"memory", "worker-crash", "wall", "deadline"} and seen.get("memory", 0) > 5, seen
    p.stdin.write("lock\n")
    p.stdin.close()
    assert json.loads(p.stdout.readline())["verdict"] == "clean"
    assert p.wait(5) == 0 and wait_empty(p.pid) == []
    p.stdout.close()


def pids_named(sid, name):
    found = []
    for pid, _ in in_session(sid):
        try:
            if open(f"/proc/{pid}/comm").read().strip() == name:
                found.append(pid)
        except OSError:
            pass
    return found


@pytest.mark.parametrize("mode", MODES)
def test_template_killed_and_workers_start_by_exec(place, mode):
    """Its workers live on, and the next one is started anew, in the same jail. Then all end with the broker."""
    p = subprocess.Popen(command(place, mode, ["--optional", "shipped", "--template", "--deadline", 100]),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def ask(what):
        p.stdin.write(what + "\n")
        p.stdin.flush()
        return json.loads(p.stdout.readline())

    assert ask("39")["end"] == "reported"
    template = pids_named(p.pid, "fumehood-tmpl")
    assert len(template) == 1
    status = open(f"/proc/{template[0]}/status").read()
    assert re.search(r"^CapEff:\t0+$", status, re.M) and re.search(r"^CapPrm:\t0+$", status, re.M)
    assert re.search(r"^Seccomp:\t2$", status, re.M) and re.search(r"^NoNewPrivs:\t1$", status, re.M)
    os.kill(template[0], signal.SIGKILL)
    for _ in range(2):
        r = ask("39")
        assert r["end"] == "reported" and r["missing"] == "none" or set(r["missing"].split(",")) <= set(SHIPPED), r
    assert pids_named(p.pid, "fumehood-tmpl") == []
    p.stdin.close()
    assert p.wait(5) == 0 and wait_empty(p.pid) == []
    p.stdout.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["exec", "template"])
def test_jailer_killed_does_not_end_the_worker_but_the_broker_does(place, mode, way):
    p = subprocess.Popen(command(place, mode, ["--optional", "shipped", *WAYS[way], "--stay", "spin"]),
                         stdout=subprocess.PIPE, text=True, start_new_session=True)
    word, worker, jailer = p.stdout.readline().split()
    assert word == "up"
    status = open(f"/proc/{worker}/status").read()
    assert re.search(r"^Name:\tfumehood-worker$", status, re.M)
    assert "[jailed]" in open(f"/proc/{worker}/cmdline").read()
    os.kill(int(jailer), signal.SIGKILL)
    time.sleep(0.05)
    assert int(worker) in [w for w, _ in in_session(p.pid)]
    p.kill()
    p.wait()
    assert wait_empty(p.pid, 0.5) == []
    p.stdout.close()


@pytest.mark.parametrize("mode", MODES)
def test_what_the_program_finds_around_it(place, mode):
    """Layers that no list in /proc shows, seen from inside before the lock."""
    r = one(place, mode, *test_jailer_args(place, "--open-start"), "look-around")
    assert r["end"] == "returned", r
    ret = r["ret"]
    assert ret & 0xFF == 0xEF, "securebits: root is nobody special, locked"
    assert ret >> 8 & 0xFF == 1, "MDWE"
    assert ret >> 16 & 0xFF == signal.SIGKILL, "PDEATHSIG"
    assert ret >> 24 & 0xFF == 13, "Landlock: EACCES even on /"


@pytest.mark.skipif(not ROOT, reason="looks into other users' processes")
@pytest.mark.parametrize("way", ["exec", "template"])
def test_what_root_sees_of_a_worker(place, way):
    """Uid of its own, empty network, empty read-only root, no environment: by /proc, as root."""
    p = subprocess.Popen(["setpriv", "--groups=4,27"] + command(place, "root", ["--optional", "shipped", *WAYS[way], "--stay", "spin"]),
                         stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, worker, _ = p.stdout.readline().split()
        proc = f"/proc/{worker}"
        uid = int(re.search(r"^Uid:\t(\d+)", open(f"{proc}/status").read(), re.M).group(1))
        assert 1900000 <= uid < 1900000 + 65536
        assert re.search(r"^Groups:\t\s*$", open(f"{proc}/status").read(), re.M)
        assert open(f"{proc}/environ", "rb").read() == b""
        assert open(f"{proc}/cmdline", "rb").read().startswith(b"fumehood-worker [jailed]\0")
        assert [f for f in os.listdir(f"{proc}/fd")] == ["3"]
        net = open(f"{proc}/net/dev").read().splitlines()[2:]
        assert len(net) == 1 and net[0].strip().startswith("lo:")
        mounts = open(f"{proc}/mountinfo").read().splitlines()
        assert len(mounts) == 1 and " ro," in mounts[0] and "tmpfs" in mounts[0]
        assert os.listdir(f"{proc}/root") == []
        for ns in ("user", "pid", "net", "ipc", "uts", "mnt", "cgroup", "time"):
            assert os.readlink(f"{proc}/ns/{ns}") != os.readlink(f"/proc/self/ns/{ns}"), ns
        nested = subprocess.run(["nsenter", f"--target={worker}", "--user", "cat",
                                 "/proc/sys/user/max_user_namespaces"], capture_output=True, text=True)
        assert nested.stdout.strip() == "0", nested
        limits = open(f"{proc}/limits").read()
        for what in ("Max processes", "Max open files", "Max file size", "Max core file size", "Max locked memory",
                     "Max pending signals", "Max msgqueue size", "Max realtime priority"):
            assert re.search(rf"^{what}\s+0\s+0\s", limits, re.M), (what, limits)
    finally:
        p.kill()
        p.wait()
        p.stdout.close()
