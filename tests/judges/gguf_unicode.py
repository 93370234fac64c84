#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes sandbox/inside/engine/gguf/unicode_tables.h from the Unicode character database.

usage: gguf_unicode.py > FILE      or      gguf_unicode.py --check FILE

Needs PyPI unicodedata2==15.1.0: Python's own database is of an older version, and tokenizers are compared with
readers that have this one. That is why the table is kept in the tree instead of being made at build time.
"""
import sys

try:
    import unicodedata2 as ud
except ImportError:
    print("SKIP unicode tables: PyPI unicodedata2 is not installed", file=sys.stderr)
    sys.exit(3)

CLASSES = {"L": "UC_LETTER", "N": "UC_NUMBER", "P": "UC_PUNCT", "S": "UC_SYMBOL", "M": "UC_MARK", "C": "UC_CONTROL"}
SPACES = {0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0x20} | set(range(9, 14)) | set(range(0x2000, 0x200b))
ORDER = ["UC_OTHER", "UC_LETTER", "UC_NUMBER", "UC_PUNCT", "UC_SYMBOL", "UC_MARK", "UC_CONTROL", "UC_SPACE"]


def class_of(c):
    if c in SPACES:
        return "UC_SPACE"
    k = ud.category(chr(c))
    return "UC_OTHER" if k == "Cn" or k[0] == "Z" else CLASSES[k[0]]


def rows(values, per=10):
    for i in range(0, len(values), per):
        print("\t" + ", ".join("0x%x" % v for v in values[i:i + per]) + ",")


def simple_lower(c):
    """UnicodeData.txt's simple mapping; Python's lower() is the full one, which differs for U+0130 alone."""
    low = chr(c).lower() if c != 0x130 else "i"
    return ord(low) if len(low) == 1 else c


def tables():
    assert ud.unidata_version == "15.1.0"
    print("""/* SPDX-License-Identifier: Apache-2.0
 *
 * Unicode %s: classes, simple lower case, and the first character of canonical decompositions.
 * Made by tests/judges/gguf_unicode.py, which says why it is kept here; do not edit.
 *
 * Side: inside. Trusts: nothing. Owns: the tables.
 */""" % ud.unidata_version)
    print("\n/* First character << 3 | class (enum uclass: %s); up to the next row. */" % ", ".join(n[3:].lower() for n in ORDER))
    out, last = [], None
    for c in range(0x110000):
        k = class_of(c)
        if k != last:
            out.append(c << 3 | ORDER.index(k))
            last = k
    print("static const uint32_t class_rows[] = {")
    rows(out)
    print("};")
    low, runs = [(c, simple_lower(c)) for c in range(0x110000) if not 0xd800 <= c < 0xe000 and simple_lower(c) != c], []
    for c, to in low:
        if runs and to - c == runs[-1][2] and c - runs[-1][1] == (runs[-1][3] or c - runs[-1][1]) and c - runs[-1][1] in (1, 2):
            runs[-1][3] = c - runs[-1][1]
            runs[-1][1] = c
        else:
            runs.append([c, c, to - c, 0])
    print("\n/* First and last character, what is added, step. */")
    print("static const struct { uint32_t first, last; int32_t add; uint32_t step; } lower_rows[] = {")
    for i in range(0, len(runs), 4):
        print("\t" + " ".join("{ 0x%x, 0x%x, %d, %d }," % (a, b, d, s or 1) for a, b, d, s in runs[i:i + 4]))
    print("};")
    nfd = []
    for c in range(0x110000):
        if 0xd800 <= c < 0xe000 or 0xac00 <= c < 0xac00 + 11172:
            continue
        d = ud.normalize("NFD", chr(c))
        if d != chr(c):
            nfd.append((c, ord(d[0])))
    print("\n/* Characters that decompose (Hangul syllables are computed), and what comes first. */")
    print("static const uint32_t nfd_from[] = {")
    rows([c for c, _ in nfd])
    print("};\nstatic const uint32_t nfd_first[] = {")
    rows([d for _, d in nfd])
    print("};")


def main():
    if sys.argv[1:2] == ["--check"]:
        import contextlib
        import io
        made = io.StringIO()
        with contextlib.redirect_stdout(made):
            tables()
        with open(sys.argv[2]) as f:
            same = f.read() == made.getvalue()
        print("unicode tables: %s" % ("as made from the database" if same else "differ from the database"))
        return 0 if same else 1
    tables()
    return 0


if __name__ == "__main__":
    sys.exit(main())
