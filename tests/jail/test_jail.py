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
                       ("tests", ["jail_run", "fumehood-jailer-test"])):
        os.mkdir(os.path.join(d, sub))
        for n in names:
            shutil.copy(os.path.join(BUILD, sub, n), os.path.join(d, sub, n))
    subprocess.run(["chmod", "-R", "a+rX", d], check=True)
    yield d
    shutil.rmtree(d)


MODES = ["user"] + (["root", "root-rootless"] if ROOT else [])


def command(place, mode, args):
    prog = [os.path.join(place, "tests/jail_run")]
    if mode == "root-rootless":
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


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_locked_and_clean_end(place, mode, threads):
    r = one(place, mode, "--threads", threads, "--optional", "shipped", "lock")
    assert r["verdict"] == "clean" and r["end"] == "exited" and r["exit"] == 0, r
    assert r["fds_listed"] == (mode != "root")
    missing = [] if r["missing"] == "none" else r["missing"].split(",")
    assert set(missing) <= set(SHIPPED), r
    assert set(r["layers"].split(",")) | set(missing) == set(LAYERS)


@pytest.mark.parametrize("mode", MODES)
def test_behind_the_brokers_wall(place, mode):
    for r in run(place, mode, "--walled", "--optional", "shipped", "lock", "39"):
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
    nr, rows = numbers(), []
    for line in open(os.path.join(HERE, "attempts.txt")):
        if line.startswith("#") or not line.strip():
            continue
        name, end, what, _why = [c.strip() for c in line.split("|", 3)]
        words = what.split()
        at = 1 if words[0] == "thread" else 0
        words[at] = nr.get(words[at], words[at])
        rows.append((name, end, " ".join(words)))
    return rows


@pytest.mark.parametrize("mode", MODES)
def test_every_attempt_ends_killed(place, mode):
    rows = attempts()
    assert len(rows) >= 165 and len({r[0] for r in rows}) == len(rows)
    got = run(place, mode, "--optional", "shipped", stdin="".join(r[2] + "\n" for r in rows))
    assert len(got) == len(rows)
    wrong = []
    for (name, end, what), r in zip(rows, got):
        want = ("killed", "refused-call", 31) if end == "sys" else ("killed", "crash", 11)
        if (r.get("end"), r.get("verdict"), r.get("signal")) != want:
            wrong.append((name, what, r))
    assert not wrong, wrong
    print(f"attempts: {len(rows)} of {len(rows)} refused ({mode})")


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
                                 "lie-two-filters", "lie-other-word", "lie-keeps-fd", "lie-less"])
def test_liars_are_ended(place, mode, lie):
    r = one(place, mode, "--optional", "shipped", "--threads", 2 if lie == "lie-other-thread" else 1, lie)
    if lie == "lie-keeps-fd" and mode == "root":
        assert r["fds_listed"] is False  # the list is closed to the broker there, and the record says so
        return
    assert r["end"] == "refused" and r["error"] in ("wall", "protocol", "worker-crash"), r
    if lie == "lie-less":
        assert "lacks dumpable" in r["text"], r


# --- every step made to fail -------------------------------------------------------------------------------------

INJECTED = [(n, sym, name, layers) for n, sym, name, layers in STEPS if n and not sym.startswith("START_")]


@pytest.mark.parametrize("mode", MODES)
def test_each_step_made_to_fail_refuses(place, mode):
    for n, sym, name, layers in INJECTED:
        args = test_jailer_args(place, "--fault", n, 1)
        status = 3 if sym.startswith("ONCE") and not layers else 0  # 3: no jailer at all
        optional = [] if layers and set_of(layers) <= set(SHIPPED) else ["--optional", "shipped"]
        r = one(place, mode, *args, *optional, "lock", status=status)
        assert r["end"] == "refused" and r["error"] == "wall", (sym, r)
        assert f"'{name}'" in r["text"] and "Operation not permitted" in r["text"], (sym, r)


def set_of(layers):
    return {n for n, (bit, _) in LAYERS.items() if layers >> bit & 1}


# A call that the program itself needs, refused to it: steps after exec.
START = [("read", "START_FDS"), ("prctl", "START_DUMPABLE"), ("close_range", "START_CLOSE"),
         ("462", "START_MSEAL"), ("seccomp", "START_SECCOMP"), ("clone", "START_THREADS")]


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
    assert len(list(startup_calls())) == 14
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


BAD_ORDERS = [dict(threads=0), dict(threads=65), dict(slot=65536), dict(r0=1), dict(r=(1, 0)), dict(r=(0, 1)),
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
def test_broker_killed_at_random_points(place, mode):
    rnd = random.Random(3)
    for _ in range(50):
        p = subprocess.Popen(command(place, mode, ["--optional", "shipped"]), stdin=subprocess.PIPE,
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
        if pid != sid and name not in ("fumehood-jailer", "jail_run", "setpriv"):
            found.append(pid)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_worker_killed_at_random_points(place, mode):
    """The broker never hangs, answers each time, and goes on: the last attempt is like the first."""
    rnd = random.Random(5)
    p = subprocess.Popen(command(place, mode, ["--optional", "shipped", "--deadline", "60"]), stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True, start_new_session=True)
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


@pytest.mark.parametrize("mode", MODES)
def test_jailer_killed_does_not_end_the_worker_but_the_broker_does(place, mode):
    p = subprocess.Popen(command(place, mode, ["--optional", "shipped", "--stay", "spin"]), stdout=subprocess.PIPE,
                         text=True, start_new_session=True)
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
def test_what_root_sees_of_a_worker(place):
    """Uid of its own, empty network, empty read-only root, no environment: by /proc, as root."""
    p = subprocess.Popen(["setpriv", "--groups=4,27"] + command(place, "root", ["--optional", "shipped", "--stay", "spin"]),
                         stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, worker, _ = p.stdout.readline().split()
        proc = f"/proc/{worker}"
        uid = int(re.search(r"^Uid:\t(\d+)", open(f"{proc}/status").read(), re.M).group(1))
        assert 1900000 <= uid < 1900000 + 65536
        assert re.search(r"^Groups:\t\s*$", open(f"{proc}/status").read(), re.M)
        assert open(f"{proc}/environ", "rb").read() == b""
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
