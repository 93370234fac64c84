# SPDX-License-Identifier: Apache-2.0
"""One house under test: a world-readable copy of the programs, a home, a state directory, who lives there.

Everything lies in a temporary folder; nothing is started but from there, nothing is ended but by its pid.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "models", "demo"), os.path.join(ROOT, "tests", "models")]

import fumehood_client  # noqa: E402
import receipt  # noqa: E402
import wire  # noqa: E402

UID = 61490                # an ordinary user that exists nowhere
PROGRAMS = ("fumehood", "fumehood-broker", "fumehood-jailer", "fumehood-auditor", "fumehood-worker", "fumehood-attack")


WITHOUT = os.path.join(HERE, "without.py")


class Result:
    def __init__(self, argv, done):
        self.argv, self.code, self.out, self.err = argv, done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return "$ %s\nexit %d\n%s%s" % (" ".join(self.argv), self.code, self.out, self.err)


def as_user(argv, uid):
    return ["/usr/bin/setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"] + argv


def stage(build, folder):
    """Copies the programs where everybody may read and start them."""
    bin_dir = os.path.join(folder, "bin")
    os.makedirs(bin_dir)
    for name in PROGRAMS:
        shutil.copy(os.path.join(build, "bin", name), bin_dir)
        os.chmod(os.path.join(bin_dir, name), 0o755)
    os.chmod(folder, 0o755)
    return bin_dir


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def cpu_ticks(pid):
    """Processor time that a process has used."""
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as f:
        v = f.read().rpartition(")")[2].split()
    return int(v[11]) + int(v[12])


def command_of(pid):
    """The base name of the program that a process was started as; empty when it has gone."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return os.path.basename(f.read().split(b"\0")[0].decode(errors="replace"))
    except OSError:
        return ""


def wait_for(what, timeout_s=10.0, step_s=0.02):
    """Waits until what() is true; returns its value, or fails."""
    end = time.monotonic() + timeout_s
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "waited %g s in vain" % timeout_s
        time.sleep(step_s)


class House:
    def __init__(self, bin_dir, folder, who):
        self.bin, self.folder, self.who = bin_dir, folder, who
        self.uid = UID if who == "user" and os.getuid() == 0 else os.getuid()
        self.state = os.path.join(folder, "state")
        self.socket = os.path.join(self.state, "broker.sock")
        self.started = []
        os.makedirs(folder, exist_ok=True)
        self.own(folder)

    # --- files ---

    def own(self, path):
        """Gives a path to who lives here, readable by all."""
        if os.getuid() == 0:
            os.chown(path, self.uid, self.uid)
        os.chmod(path, 0o755 if os.path.isdir(path) else 0o644)
        return path

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, data):
        path = self.path(name)
        with open(path, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        return self.own(path)

    def copy(self, source, name=None):
        with open(source, "rb") as f:
            return self.write(name or os.path.basename(source), f.read())

    def npy(self, name, value):
        path = self.path(name)
        np.save(path, value)
        return self.own(path)

    # --- commands ---

    def env(self, **more):
        return dict({"HOME": self.folder, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, **more)

    def argv(self, args, place=True):
        """place: our own state directory in front, so that nothing of the machine is touched."""
        command = [os.path.join(self.bin, "fumehood"), str(args[0])]
        if place:
            command += ["--state-dir", self.state]
        command += [str(a) for a in args[1:]]
        return as_user(command, self.uid) if self.uid != os.getuid() else command

    def hiding(self, features, argv):
        """The same program on a kernel that lacks these (tests/e2e/without.py)."""
        return ["/usr/bin/python3", "-B", self.copy(WITHOUT)] + list(features) + ["--"] + argv if features else argv

    def cmd(self, *args, place=True, timeout_s=60, stdin=None, env=None, without=()):
        argv = self.hiding(without, self.argv(args, place))
        done = subprocess.run(argv, capture_output=True, text=True, errors="backslashreplace", timeout=timeout_s,
                              cwd=self.folder, env=self.env(**(env or {})), input=stdin)
        return Result(argv, done)

    def ok(self, *args, **options):
        r = self.cmd(*args, **options)
        assert r.code == 0, r
        return r

    def refused(self, code, exit_code, *args, **options):
        """A clear refusal: this exit code, this stable code in JSON, one line of text. Returns the error."""
        r = self.cmd(args[0], "--json", *args[1:], **options)
        assert r.code == exit_code, r
        error = r.json["error"]
        assert error["code"] == code, r
        assert error["text"] and "\n" not in error["text"], r
        return error

    def start(self, argv, without=(), **options):
        """Starts a program of this house as who lives here; it is ended with the house."""
        argv = self.hiding(without, [os.path.join(self.bin, argv[0])] + [str(a) for a in argv[1:]])
        if self.uid != os.getuid():
            argv = as_user(argv, self.uid)
        p = subprocess.Popen(argv, cwd=self.folder, env=self.env(), **options)
        self.started.append(p)
        return p

    def broker(self, *args, private=True, without=(), must=True):
        """A broker that listens, without the command in between. Returns its process. must=False: it may
        refuse to start; process.ready says why."""
        r, w = os.pipe()
        first = ["--private", "--state-dir", self.state] if private else []
        p = self.start(["fumehood-broker"] + first + ["--ready-fd", w] + list(args), pass_fds=[w], stderr=subprocess.PIPE,
                       without=without)
        os.close(w)
        with os.fdopen(r, "rb") as ready:
            p.ready = ready.read()       # one byte, or a line that says why not
        assert not must or len(p.ready) == 1, p.ready
        return p

    def config(self, policy, trust=None, entities=None, **more):
        """A service's configuration with these texts beside it. Returns its path."""
        values = {"state_dir": self.state, "socket": self.socket, "policy": self.write("policy.cedar", policy),
                  "segment_bytes": 1 << 20, "threads": 1}
        if trust:
            values["trust"] = self.write("trust.note", trust)
        if entities is not None:
            values["entities"] = self.write("entities.json", json.dumps(entities))
        values.update(more)
        return self.write("config.json", json.dumps(values))

    def service(self, policy, trust=None, entities=None, **more):
        """A broker with its own policy and trust, listening. Returns its process."""
        return self.broker("--config", self.config(policy, trust, entities, **more), private=False)

    def serve(self, config=None, **options):
        """`fumehood serve` until it answers."""
        more = ["--config", config] if config else ["--state-dir", self.state]
        p = self.start(["fumehood", "serve"] + more, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
        end = time.monotonic() + 20
        while not self.answers():
            if p.poll() is not None:
                raise AssertionError("serve ended with %d: %s" % (p.returncode, p.stdout.read().decode(errors="replace")))
            assert time.monotonic() < end, "serve does not answer"
            time.sleep(0.02)
        return p

    def answers(self):
        try:
            self.client().close()
            return True
        except (OSError, EOFError):
            return False

    def client(self, **options):
        """A connection of who lives here: the kernel tells the broker the effective uid at connect()."""
        mine = os.geteuid(), os.getegid()
        try:
            if self.uid != mine[0]:
                os.setegid(self.uid)
                os.seteuid(self.uid)
            return fumehood_client.Client(self.socket, **options)
        finally:
            os.seteuid(mine[0])
            os.setegid(mine[1])

    # --- the log ---

    def records(self, kind=None):
        """Records of the published log (tiles), read without the project's own reader."""
        try:
            entries = receipt.entries(os.path.join(self.state, "log"))
        except FileNotFoundError:
            return []            # a partial bundle was just replaced
        out = [wire.decode("Entry", e)["record"] for e in entries]
        return [r for r in out if kind in (None, r["kind"])]

    def record(self, kind, where=lambda r: True):
        """The newest record of a kind that fits; waits for it, because publishing follows storing."""
        return wait_for(lambda: [r for r in self.records(kind) if where(r)])[-1]

    # --- the end ---

    def processes(self):
        """Pids of programs of this house that still run (workers included: they are below a broker)."""
        parents, mine = {}, set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open("/proc/%s/stat" % pid, encoding="utf-8", errors="replace") as f:
                    parents[int(pid)] = int(f.read().rpartition(")")[2].split()[1])
                with open("/proc/%s/cmdline" % pid, "rb") as f:
                    if self.folder.encode() + b"/" in f.read():
                        mine.add(int(pid))
            except OSError:
                continue
        mine = {p for p in mine if alive(p) and p != os.getpid()}
        grew = True
        while grew:
            more = {p for p, parent in parents.items() if parent in mine} - mine
            mine |= more
            grew = bool(more)
        return {p for p in mine if alive(p)}

    def close(self):
        for p in self.started:
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
        for p in self.started:
            try:
                p.wait(timeout=10)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError("%s did not end when asked to" % p.args)
            finally:
                for stream in (p.stdout, p.stderr):
                    if stream:
                        stream.close()
        # A private broker, started by a command, would stay for a second after its last client.
        for pid in self.processes():
            if command_of(pid) == "fumehood-broker":
                os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 10
        while self.processes():
            if time.monotonic() > end:
                left = self.processes()
                for pid in left:
                    os.kill(pid, signal.SIGTERM)
                raise AssertionError("left behind: %s" % left)
            time.sleep(0.05)
