# SPDX-License-Identifier: Apache-2.0
"""What others did to the CPUs while we measured: /proc/stat minus our own processes."""
import os
import time

NOISY_PCT = 12.0
IDLE_PCT = 8.0
HZ = os.sysconf("SC_CLK_TCK")


def _busy():
    """(busy, all) ticks of the machine."""
    with open("/proc/stat", encoding="ascii") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return sum(v) - v[3] - v[4], sum(v)


def _own():
    """Ticks of this process and all its descendants, ended children included."""
    parents, ticks = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % pid, encoding="utf-8", errors="replace") as f:
                v = f.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(pid)] = int(v[1])
        ticks[int(pid)] = sum(int(x) for x in v[11:15])
    mine = {os.getpid()}
    grew = True
    while grew:
        more = {p for p, parent in parents.items() if parent in mine} - mine
        mine |= more
        grew = bool(more)
    return sum(ticks.get(p, 0) for p in mine)


def wait_idle(limit_s=5.0):
    """Waits until others use less than IDLE_PCT for half a second, at most limit_s; says whether it came."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        busy, total, own = *_busy(), _own()
        time.sleep(0.5)
        busy2, total2, own2 = *_busy(), _own()
        if 100.0 * max(0, busy2 - busy - (own2 - own)) / max(1, total2 - total) < IDLE_PCT:
            return True
    return False


class Meter:
    """with Meter() as m: ...; then m.others_pct of all CPUs."""
    others_pct = 0.0

    def __enter__(self):
        self.at = (*_busy(), _own())
        return self

    def __exit__(self, *_):
        busy, total = _busy()
        own = _own()
        spent = busy - self.at[0] - (own - self.at[2])
        self.others_pct = 100.0 * max(0, spent) / max(1, total - self.at[1])
