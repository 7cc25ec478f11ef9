# SPDX-License-Identifier: MIT
"""What the program is to reach: ratios within one run, and counts."""
import dataclasses

from nets import DIRECT, OTHER_PASTA, PASST, PASTA, TAP, UML, VHOST

MAX, MIN = "max", "min"


@dataclasses.dataclass
class Target:
    """
    bound: of a candidate's metric in each of the rows, divided by that of another one unless that is None; the worst one counts. With base,
    the other one's row of the same place is from there. With less, that metric of the same row is taken away first.
    """

    figure: str
    metric: str
    rows: tuple
    bound: float
    kind: str = MIN
    against: str = DIRECT
    unit: str = ""
    mine: str = PASTA
    base: tuple = ()
    less: str = ""

    def words(self):
        of = {DIRECT: " x direct", OTHER_PASTA: " x the distribution's pasta", TAP: " x through a tap device", PASST: " x the stream socket's", None: ""}.get(self.against, " x")
        return f"{self.bound:g}{self.unit}{of}{' or less' if self.kind == MAX and self.bound else ''}"

    def reached(self, results):
        """The worst of the rows, and which that is; None if one is missing."""
        values = []
        for row, base in zip(self.rows, self.base or self.rows):
            mine = results.worst(row, self.mine, self.metric) if self.bound == 0 else results.median(row, self.mine, self.metric)
            other = results.median(base, self.against, self.metric) if self.against else 1.0
            less = results.median(row, self.mine, self.less) if self.less else 0
            if mine is None or less is None or not other:
                return None
            mine -= less
            values.append((mine / other, row))
        return (max if self.kind == MAX else min)(values)

    def good(self, value):
        return value <= self.bound if self.kind == MAX else value >= self.bound


def _both(*patterns):
    return tuple(f"{p}/{family}" for p in patterns for family in ("v4", "v6"))


_BULK = {mtu: _both(f"tcp/up/1/{mtu}", f"tcp/down/1/{mtu}") for mtu in (65520, 1500)}
_WAYS = [f"{place}/{way}/{streams}/{mtu}" for place in ("tcp", "in/tcp") for way in ("up", "down") for streams in (1, 8) for mtu in (1500, 65520)]
_HANDED = _both(*_WAYS)
_VM = {mtu: _both(f"vm/up/1/{mtu}", f"vm/down/1/{mtu}") for mtu in (65520, 1500)}

TARGETS = [
    Target("TCP upload and download, MTU 65520", "gbps", _BULK[65520], 0.65),
    Target("TCP upload and download, MTU 1500", "gbps", _BULK[1500], 0.55),
    Target("retransmissions of the guest in these", "retransmissions", _BULK[65520] + _BULK[1500], 0, MAX, None),
    Target("TCP request-response latency, median", "median_us", _both("rr/tcp"), 1.7, MAX),
    Target("the same beside a bulk flow: how much longer, median", "median_us", _both("fair/up", "fair/down"), 300, MAX, None, " µs", less="alone_us"),
    Target("short connections per second", "per_s", _both("crr"), 0.6),
    Target("system calls per request-response", "calls", ("calls/rr/tcp",), 8, MAX, None),
    Target("system calls per short connection", "calls", ("calls/crr",), 30, MAX, None),
    Target("UDP bulk with GSO in the guest", "gbps", _both("udp/gso/up"), 0.5),
    Target("resident set, idle", "rss_mib", ("memory/idle",), 4, MAX, None, " MiB"),
    Target("resident set, 10,000 idle connections", "rss_mib", ("memory/10000",), 24, MAX, None, " MiB", mine=TAP),
    Target("CPU when idle with 10,000 connections", "idle_cpu", ("memory/10000",), 0, MAX, None, " %", mine=TAP),
    Target("start of `pasta --config-net -- true` to its end", "ms", ("start/true",), 0.5, MAX, OTHER_PASTA),
    Target("vhost-user: CPU time of the daemon for each GiB", "cpu_s_per_gib", _VM[65520] + _VM[1500], 0.5, MAX, PASST, mine=VHOST),
    Target("handed over: throughput, one stream and eight, both ways, MTU 1500 and 65520", "gbps", _HANDED, 0.85),
    Target("handed over: CPU time of the daemon for each GiB of these", "cpu_s_per_gib", _HANDED, 0.4, MAX, TAP),
    Target("handed over: retransmissions of the guest in these", "retransmissions", _HANDED, 0, MAX, None),
    Target("handed over: TCP request-response latency, median", "median_us", _both("rr/tcp", "in/rr/tcp"), 1.35, MAX),
    Target("handed over: short connections per second", "per_s", _both("crr", "in/crr"), 1, MIN, TAP),
    *(Target(f"vhost-user: throughput at MTU 1500 beside 65520, {guest}", "gbps", _VM[1500], 0.8, MIN, mine, mine=mine, base=_VM[65520])
      for guest, mine in (("QEMU", VHOST), ("User-Mode Linux", UML))),
]


def rows():
    return sorted({row for t in TARGETS for row in t.rows + t.base})
