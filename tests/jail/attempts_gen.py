# SPDX-License-Identifier: Apache-2.0
"""attempts.txt as rows of a C table, for the installed program: SELF_ATTEMPT(id, end, dangerous, attempt)."""
import json
import sys

print("/* Made from %s. */" % sys.argv[1])
for line in open(sys.argv[1], encoding="ascii"):
    if line.startswith("#") or not line.strip():
        continue
    name, end, dangerous, attempt, _why = [cell.strip() for cell in line.split("|", 4)]
    if end not in ("rep", "sys", "segv") or dangerous not in ("y", "-"):
        sys.exit("%s: bad row: %s" % (sys.argv[1], line))
    print("SELF_ATTEMPT(%s, ENDS_%s, %s, %s)" % (json.dumps(name), end.upper(), "true" if dangerous == "y" else "false",
                                                 json.dumps(attempt)))
