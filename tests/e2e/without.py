# SPDX-License-Identifier: Apache-2.0
"""Runs a program as if this kernel lacked something: the call answers what an older kernel answers.

usage: without.py FEATURE... -- PROGRAM ARG...
"""
import ctypes
import errno
import os
import sys

ALLOW, EQ = 0x7FFF0000, 4
NR_PRCTL, PR_SET_MDWE = 157, 65

# feature -> (system call of x86-64, errno, the first argument that it must have, or None)
FEATURES = {
    "landlock": [(444, errno.ENOSYS, None), (445, errno.ENOSYS, None), (446, errno.ENOSYS, None)],
    "mdwe": [(NR_PRCTL, errno.EINVAL, PR_SET_MDWE)],
    "mseal": [(462, errno.ENOSYS, None)],
}


class ArgCmp(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def hide(features):
    lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    lib.seccomp_init.restype = ctypes.c_void_p
    ctx = ctypes.c_void_p(lib.seccomp_init(ALLOW))
    for feature in features:
        for call, error, first in FEATURES[feature]:
            cmp = ArgCmp(0, EQ, first or 0, 0)
            n = 0 if first is None else 1
            if lib.seccomp_rule_add_array(ctx, 0x00050000 | error, call, n, ctypes.byref(cmp)) != 0:
                sys.exit("without: no rule for %s" % feature)
    if lib.seccomp_load(ctx) != 0:
        sys.exit("without: the filter does not load")


if __name__ == "__main__":
    cut = sys.argv.index("--")
    hide(sys.argv[1:cut])
    os.execv(sys.argv[cut + 1], sys.argv[cut + 1:])
