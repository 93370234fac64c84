#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The jail on Debian 12's own kernel, for real: boots the stock 6.1 kernel package under qemu (software emulation,
from a disk image), runs the attempts there and compares. usage: qemu_61.py BUILD WORK

Needs Debian's qemu-system-x86 and e2fsprogs; the kernel package is downloaded, not installed. Takes about five
minutes. Exit 0 all well, 1 something was not as it must be, 77 this host cannot (said why)."""
import glob
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD, WORK = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SHIPPED = {"landlock_truncate", "landlock_net", "landlock_ioctl", "landlock_scope", "mdwe", "memfd_noexec", "mseal"}
MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
MACHINE_S = 1500


def cannot(why):
    print("SKIP qemu-61: " + why)
    sys.exit(77)


def run(*cmd, **kw):
    return subprocess.run(cmd, check=True, capture_output=True, text=True, **kw).stdout


def kernel():
    """The unpacked kernel package; its folder."""
    there = os.path.join(WORK, "kernel")
    if not glob.glob(there + "/boot/vmlinuz-6.1*"):
        try:
            name = re.search(r"Depends: (linux-image-6\.1\S+)", run("apt-cache", "depends", "linux-image-amd64")).group(1)
            run("apt-get", "download", name, cwd=WORK)
        except (subprocess.CalledProcessError, AttributeError):
            cannot("the kernel package cannot be fetched (apt-get update first; no network?)")
        run("dpkg-deb", "-x", glob.glob(os.path.join(WORK, "linux-image-6.1*.deb"))[0], there)
    return there


def modules(tree):
    """Files of MODULES with what they depend on, in the order of loading."""
    files = {os.path.basename(p)[:-3].replace("-", "_"): p for p in glob.glob(tree + "/lib/modules/*/kernel/**/*.ko", recursive=True)}
    order = []

    def need(name):
        path = files[name.replace("-", "_")]
        depends = re.search(rb"\0depends=([^\0]*)\0", open(path, "rb").read())
        for d in filter(None, depends.group(1).decode().split(",") if depends else []):
            need(d)
        if path not in order:
            order.append(path)

    for m in MODULES:
        need(m)
    return order


def cpio(files):
    """A newc archive: name -> bytes."""
    out = b""
    for i, (name, data, mode) in enumerate(files + [("TRAILER!!!", b"", 0)]):
        n = name.encode() + b"\0"
        head = "070701" + "".join("%08x" % v for v in (i, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(n), 0))
        out += head.encode() + n
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


def initramfs(tree):
    init = os.path.join(WORK, "init")
    run("musl-gcc", "-static", "-O2", "-D_GNU_SOURCE", "-o", init, os.path.join(HERE, "init.c"))
    files, names = [("init", open(init, "rb").read(), 0o100755)], []
    for p in modules(tree):
        name = os.path.basename(p)
        files.append((name, open(p, "rb").read(), 0o100644))
        names.append("/" + name + "\n")
    files.append(("modules", "".join(names).encode(), 0o100644))
    path = os.path.join(WORK, "initrd")
    with gzip.open(path, "wb", 1) as f:
        f.write(cpio(files))
    return path


def put(root, src, dst):
    """A program with the libraries it is linked with."""
    to = os.path.join(root, dst)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    shutil.copy(src, to)
    out = subprocess.run(["ldd", src], capture_output=True, text=True).stdout
    for lib in re.findall(r"(/\S+\.so\S*)", out):
        at = os.path.join(root, lib.lstrip("/"))
        os.makedirs(os.path.dirname(at), exist_ok=True)
        if not os.path.exists(at):
            shutil.copy(lib, at)


def attempts():
    rows = []
    for line in open(os.path.join(HERE, "../attempts.txt")):
        if not line.startswith("#") and line.strip():
            name, end, dangerous, what, _ = [c.strip() for c in line.split("|", 4)]
            rows.append((name, end, dangerous == "y", what))
    return rows


def disk():
    root, image = os.path.join(WORK, "root"), os.path.join(WORK, "disk")
    shutil.rmtree(root, ignore_errors=True)
    for d in ("proc", "sys", "dev", "tmp", "bin", "etc", "f"):
        os.makedirs(os.path.join(root, d))
    put(root, "/bin/dash", "bin/sh")
    for tool in ("/bin/cat", "/usr/bin/setpriv", "/bin/mkdir", "/bin/chmod"):
        put(root, tool, "bin/" + os.path.basename(tool))
    for name in ("fumehood", "fumehood-broker", "fumehood-jailer", "fumehood-auditor", "fumehood-worker", "fumehood-attack"):
        put(root, os.path.join(BUILD, "bin", name), "f/bin/" + name)
    for name in ("jail_run", "jail_try", "fumehood-jailer-test", "fumehood-attack-open"):
        put(root, os.path.join(BUILD, "tests", name), "f/tests/" + name)
    shutil.copy(os.path.join(HERE, "run.sh"), os.path.join(root, "run.sh"))
    shutil.copy(os.path.join(HERE, "../../models/tiny.onnx"), os.path.join(root, "f/tiny.onnx"))
    open(os.path.join(root, "etc/passwd"), "w").write("root:x:0:0:root:/:/bin/sh\n")
    open(os.path.join(root, "f/attempts"), "w").write("".join(r[3] + "\n" for r in attempts()))
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", root, image, "400M")
    return image


def boot(tree, initrd, image):
    log = os.path.join(WORK, "console")
    cmd = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1500", "-nographic", "-no-reboot",
           "-net", "none", "-kernel", glob.glob(tree + "/boot/vmlinuz-6.1*")[0], "-initrd", initrd,
           "-append", "console=ttyS0 panic=-1 quiet", "-drive", f"file={image},if=virtio,format=raw"]
    with open(log, "wb") as f:
        try:
            subprocess.run(cmd, stdin=subprocess.DEVNULL, stdout=f, stderr=subprocess.STDOUT, timeout=MACHINE_S)
        except subprocess.TimeoutExpired:
            print("the machine took longer than %d s" % MACHINE_S)
    return open(log, errors="replace").read().replace("\r", "")


def parts(console):
    """What was printed behind each mark."""
    found, mark = {}, None
    for line in console.split("\n"):
        if line.startswith("MARK "):
            mark = line[5:].strip()
            found[mark] = []
        elif mark == "run":
            found[mark].append(line)
        elif mark and line.startswith("{"):
            found[mark].append(json.loads(line))
    return found


ENDS_AS = {"rep": [("reported", 9)], "sys": [("killed", 31)], "segv": [("killed", 11)]}
# No vsyscall page on this kernel; the emulated processor's fault at a 32-bit segment kills outright.
HERE_ALSO = {"vsyscall-time": [("killed", 11)], "segment32": [("killed", 9)]}


def judge(found):
    bad, rows = [], attempts()
    version = next((m for m in found if m.startswith("version")), "")
    if "Linux version 6.1." not in version:
        bad.append("this is no 6.1 kernel: " + version)
    for who in ("root", "user"):
        for how in ("", " --template", " --violation-kill"):
            got = found.get("lock %s%s" % (who, how), [])
            want = ["exited", "killed", "killed"] if "kill" in how else ["exited", "reported", "reported"]
            if [r.get("end") for r in got] != want or set(got[0].get("missing", "").split(",")) != SHIPPED:
                bad.append(("lock", who, how, got))
        got = found.get("required " + who, [{}])
        if not got or got[0].get("end") != "refused" or got[0].get("error") != "wall":
            bad.append(("required", who, got))
        got = found.get("attempts " + who, [])
        wrong = [(row, r) for row, r in zip(rows, got) if (r.get("end"), r.get("signal")) not in ENDS_AS[row[1]] + HERE_ALSO.get(row[0], [])]
        if len(got) != len(rows) or wrong:
            bad.append(("attempts", who, len(got), wrong[:5]))
        else:
            print(f"Linux 6.1, {who}: {len(rows)} of {len(rows)} attempts refused")
    got = found.get("without", [])
    refused = [(r.get("end") == "returned" and r.get("errno") != 0) or (r.get("end") == "killed" and r.get("signal") in (11, 31)) for r in got]
    dangerous = [ok for row, ok in zip(rows, refused) if row[2]]
    if len(got) != len(rows) or sum(dangerous) < 0.85 * len(dangerous):
        bad.append(("without seccomp", len(got), sum(dangerous), len(dangerous)))
    else:
        print(f"Linux 6.1, without seccomp: {sum(refused)} of {len(rows)} still refused, of the dangerous {sum(dangerous)} of {len(dangerous)}")
    text = "\n".join(found.get("run", []))
    try:
        answer = json.loads(text[text.index("{"):text.rindex("\n}") + 2])
    except ValueError:
        answer = {"error": text}
    if "error" in answer or "mseal" not in json.dumps(answer):
        bad.append(("run", answer))
    else:
        print("Linux 6.1: fumehood run answers and says what is missing")
    return bad


def main():
    os.makedirs(WORK, exist_ok=True)
    for tool in ("qemu-system-x86_64", "mke2fs", "musl-gcc"):
        if not shutil.which(tool) and not os.path.exists("/usr/sbin/" + tool):
            cannot(tool + " is not installed (qemu-system-x86, e2fsprogs, musl-tools)")
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    start = time.monotonic()
    tree = kernel()
    console = boot(tree, initramfs(tree), disk())
    bad = judge(parts(console))
    for b in bad:
        print("FAILED", b)
    print(f"qemu-61: {'FAILED' if bad else 'all well'}, {time.monotonic() - start:.0f} s, console in {os.path.relpath(os.path.join(WORK, 'console'))}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
