#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokenizers against the vectors that llama.cpp ships: the shared vocabularies' and the source archive's.

usage: gguf_tok_judge.py TOOL [FOLDER...]     TOOL: build/<variant>/tests/gguf_tokenize

Default folders: $FUMEHOOD_SHARED/models (or ../shared/models) and build/cache/gguf/llama.cpp. A vocabulary whose
tokenizer is not read here must be refused by name. Exit 0: all agree; 1: not; 3: nothing to compare with.
"""
import glob
import os
import re
import subprocess
import sys

# what is refused, and the word that must be in the line
REFUSED = {"deepseek-llm": "deepseek-llm", "gemma-4": "gemma4"}
LOSSY = {"bert-bge"}


def main():
    tool = sys.argv[1]
    shared = os.path.join(os.environ.get("FUMEHOOD_SHARED", "../shared"), "models")
    bad = n = 0
    for folder in sys.argv[2:] or [shared, "build/cache/gguf/llama.cpp"]:
        found = sorted(f for f in glob.glob(os.path.join(folder, "ggml-vocab-*.gguf")) if os.path.exists(f + ".inp"))
        if not found:
            print("SKIP tokenizer vectors: none in %s" % folder)
        for path in found:
            name = os.path.basename(path)[11:-5]
            done = subprocess.run([tool, path, "--vectors", path + ".inp", path + ".out"], capture_output=True, text=True)
            m = re.search(r"(\d+) texts, (\d+) differ, (\d+) do not come back", done.stdout)
            if name in REFUSED:
                ok = done.returncode == 4 and REFUSED[name] in done.stderr
            else:
                ok = bool(m) and int(m.group(1)) >= 46 and m.group(2) == "0" and (name in LOSSY or m.group(3) == "0")
            n += 1
            if not ok:
                bad += 1
                print("%s: exit %d: %s %s" % (name, done.returncode, done.stdout.strip(), done.stderr.strip()[-300:]))
    print("tokenizer judge: %d vocabularies, %d wrong" % (n, bad))
    return 1 if bad else 0 if n else 3


if __name__ == "__main__":
    sys.exit(main())
