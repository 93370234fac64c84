#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The tree's own rules, checked: who includes whom, what may not be called, what must be described.

usage: lint.py [ROOT [BUILD]]     exit 0 clean, 1 findings, 2 the lint itself is broken

Each rule first proves that it still bites on a planted mistake (the second half of its row).
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else ".")
BUILD = os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None

MAX_LINES = 900
MAX_COLUMNS = 130


def tracked(root):
    out = []
    for base, dirs, files in os.walk(root):
        dirs[:] = [d for d in dirs if d not in (".git", "build", "__pycache__")]
        for name in files:
            out.append(os.path.relpath(os.path.join(base, name), root))
    return sorted(out)


def strip_comments(text):
    """C without comments and string contents, line numbers kept."""
    def blank(m):
        s = m.group(0)
        if s.startswith("/"):
            return re.sub(r"[^\n]", " ", s)
        return '"' + " " * (len(s) - 2) + '"'
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, text, flags=re.S)


def grep(pattern, text, what):
    for n, line in enumerate(text.split("\n"), 1):
        if re.search(pattern, line):
            yield n, what + ": " + line.strip()[:90]


# --- rules on one file: name, which files, function(path, text) -> (line, message) ------------------

def is_c(p):
    return p.endswith((".c", ".h"))


def rule_spdx(path, text):
    if "SPDX-License-Identifier: Apache-2.0" not in text[:200]:
        yield 1, "no SPDX line at the top"


def rule_banned(path, text):
    calls = r"\b(strcpy|strcat|sprintf|vsprintf|strtok|gets|alloca|system|popen|atoi|atol|setjmp)\s*\("
    if path.startswith("tests/"):
        calls = r"\b(strcpy|strcat|sprintf|vsprintf|strtok|gets|alloca|popen)\s*\("
    yield from grep(calls, strip_comments(text), "a call that this project does without")


def rule_todo(path, text):
    yield from grep(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", text, "an open point: do it or file it")


def rule_machine(path, text):
    yield from grep(r"(/ro" + r"ot/|/wo" + r"rk/|/tmp/bash" + r"_jobs|registry\.npmjs|deb\.debian|pypi\.org|pythonhosted|proxy\.golang)",
                    text, "names a machine's path or a registry's host")


def rule_long(path, text):
    n = text.count("\n")
    if n > MAX_LINES:
        yield n, "%d lines, at most %d: is it one room or two?" % (n, MAX_LINES)


def rule_columns(path, text):
    for n, line in enumerate(text.split("\n"), 1):
        if len(line.expandtabs(4)) > MAX_COLUMNS:
            yield n, "%d columns" % len(line.expandtabs(4))


def rule_blank_end(path, text):
    yield from grep(r"[ \t]+$", text, "white space at the end of a line")
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no line feed at the end"


def room(path):
    for r in ("proto", "policy", "audit", "sandbox", "broker", "tests"):
        if path.startswith(r + "/"):
            return r
    return None


ALLOWED = {"proto": {"proto"}, "policy": {"proto", "policy"}, "audit": {"proto", "audit"},
           "sandbox": {"proto", "sandbox"}, "broker": {"proto", "policy", "audit", "sandbox", "broker"}}
# Main files are wiring: the auditor's may put up its own wall.
WIRING = {"audit/auditor.c": {"sandbox/wall/wall.h", "sandbox/wall/layers.h"}}


def rule_includes(path, text):
    me = room(path)
    if me in (None, "tests"):
        return
    for n, line in enumerate(text.split("\n"), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if not m:
            continue
        inc = m.group(1)
        to = room(inc)
        if to is None or inc in WIRING.get(path, ()):
            continue
        if to not in ALLOWED[me]:
            yield n, "%s must not include %s (includes point down)" % (me, inc)
        elif inc.startswith("sandbox/inside/") and not path.startswith("sandbox/inside/"):
            yield n, "code outside the wall includes %s" % inc


def rule_inside_calls(path, text):
    if not path.startswith("sandbox/inside/engine/"):
        return
    # start.c runs before the wall; blas_wrap.c defines these names; the pool starts its threads.
    if os.path.basename(path) in ("pool.c", "blas_wrap.c", "blas.c"):
        return
    calls = r"\b(malloc|calloc|realloc|free|fopen|printf|qsort|getenv|mmap|open|read|write|pthread_\w+|time|clock_gettime)\s*\("
    yield from grep(calls, strip_comments(text), "the engine lives without libc's memory and files")


FILE_RULES = [
    # name, wants(path), rule, planted text, planted path
    ("spdx", lambda p: is_c(p) or p.endswith((".py", ".proto", ".rules", ".def")), rule_spdx, "int x;\n", "proto/x.c"),
    ("banned calls", is_c, rule_banned, "void f(void) { strcpy(a, b); }\n", "proto/x.c"),
    ("open points", lambda p: not p.startswith("tests/lint/"), rule_todo, "/* TO" + "DO: later */\n", "proto/x.c"),
    ("machine paths", lambda p: not p.startswith("tests/lint/"), rule_machine, "see /wo" + "rk/shared\n", "docs/x.md"),
    ("long files", lambda p: p.endswith((".c", ".h", ".py")), rule_long, "\n" * 901, "proto/x.c"),
    ("columns", is_c, rule_columns, "x" * 140 + "\n", "proto/x.c"),
    ("white space", lambda p: is_c(p) or p.endswith((".py", ".md", ".proto", ".rules", ".def")), rule_blank_end, "int x; \n", "proto/x.c"),
    ("includes", is_c, rule_includes, '#include "broker/gate.h"\n', "policy/x.c"),
    ("includes of the inside", is_c, rule_includes, '#include "sandbox/inside/serve.h"\n', "broker/x.c"),
    ("engine calls", is_c, rule_inside_calls, "void f(void) { p = malloc(3); }\n", "sandbox/inside/engine/x.c"),
]


# --- rules on the whole tree ------------------------------------------------------------------------

def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="surrogateescape") as f:
        return f.read()


def rule_described():
    """Every message and error code stands in docs/protocol.md."""
    doc = read("docs/protocol.md") if os.path.exists(os.path.join(ROOT, "docs/protocol.md")) else ""
    for m in re.finditer(r"^MSG\((\w+),", read("proto/msg.def"), re.M):
        if not re.search(r"\b%s\b" % m.group(1), doc):
            yield "docs/protocol.md", 1, "message %s is not described" % m.group(1)
    for m in re.finditer(r'^\s*X\(ERR_\w+,\s*"([a-z-]+)"', read("proto/err.h"), re.M):
        if "`%s`" % m.group(1) not in doc:
            yield "docs/protocol.md", 1, "error code %s is not described" % m.group(1)


def rule_top_level():
    allowed = {"Makefile", "README.md", "LICENSE", "broker", "sandbox", "proto", "policy", "audit", "tests", "docs", "build"}
    for name in os.listdir(ROOT):
        if not name.startswith(".") and name not in allowed:
            yield name, 1, "does not belong at the top level"


def rule_tests_listed():
    make = read("Makefile")
    for p in tracked(ROOT):
        m = re.match(r"tests/(unit|fuzz)/((?:unit|fuzz)_\w+)\.c$", p)
        if m and not re.search(r"\b%s\b" % m.group(2), make):
            yield p, 1, "is in no list of the Makefile"


# What libc functions the worker's own objects may name. A static binary hides its imports: look at the
# objects. Everything else is a finding: it would be a new system call behind the wall, or before it.
WORKER_FORBIDDEN = re.compile(
    r"^(socket|connect|bind|listen|accept4?|open(at)?(64)?|fopen(64)?|exec\w+|fork|vfork|dlopen|system|popen|"
    r"recvmsg|sendmsg|getaddrinfo|policy_\w+|audit_\w+|jailer_\w+|frame_(rx|tx)_\w+|note_\w+|EVP_\w+|crypto_\w+)$")


def rule_worker_objects():
    if not BUILD:
        return
    listing = os.path.join(BUILD, "worker.objs")
    if not os.path.exists(listing):
        return
    for obj in open(listing).read().split():
        out = subprocess.run(["nm", "-u", obj], capture_output=True, text=True).stdout
        for line in out.split("\n"):
            name = line.strip().split(" ")[-1]
            if WORKER_FORBIDDEN.match(name):
                yield obj, 1, "the worker links %s" % name


TREE_RULES = [("described", rule_described), ("top level", rule_top_level), ("tests listed", rule_tests_listed),
              ("worker objects", rule_worker_objects)]


def self_test():
    for name, wants, rule, planted, path in FILE_RULES:
        if not wants(path) or not list(rule(path, planted)):
            print("lint: rule \"%s\" does not find its planted mistake" % name)
            sys.exit(2)
    if not WORKER_FORBIDDEN.match("openat") or WORKER_FORBIDDEN.match("memcpy"):
        sys.exit(2)
    return len(FILE_RULES)


def main():
    rules = self_test() + len(TREE_RULES)
    findings = []
    files = tracked(ROOT)
    for path in files:
        if path == "LICENSE" or not path.endswith((".c", ".h", ".py", ".md", ".proto", ".def", ".rules", ".sh", ".1", "Makefile")):
            continue
        text = read(path)
        for name, wants, rule, _, _ in FILE_RULES:
            if wants(path):
                findings += [(path, n, what) for n, what in rule(path, text)]
    for name, rule in TREE_RULES:
        findings += list(rule())
    for path, n, what in sorted(set(findings)):
        print("%s:%d: %s" % (path, n, what))
    print("lint: %d files, %d rules, %d findings" % (len(files), rules, len(set(findings))))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
