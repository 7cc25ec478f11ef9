# SPDX-License-Identifier: MIT
"""
What is measured. A row has a name, a group and the candidates that it makes sense for; measure(ctx, candidate) gives {metric: value}.
The first metric of a row is the one that it is about.
"""
import contextlib
import dataclasses
import json
import os
import re
import resource
import signal
import subprocess
import time
from typing import Callable

import nets
from lab.pasta import box
from lab.wait import until
from nets import DATAGRAMS, DIRECT, INWARD, IPERF, LOAD, OTHER_PASST, OTHER_PASTA, PASST, PASTA, SLIRP, TAP

MTUS = (1500, 9000, 65520)
FAMILIES = ("v4", "v6")
LOOPS = (DIRECT, PASTA, OTHER_PASTA, SLIRP)
INWARDS = (DIRECT, PASTA, TAP, OTHER_PASTA)
EVERY = (*INWARDS, SLIRP)
DAEMONS = EVERY[1:]
STREAM = (PASST, OTHER_PASST)
MIB, GIB = 1 << 20, 1 << 30
TICKS = os.sysconf("SC_CLK_TCK")
DATAGRAM = 1400  # fits every MTU
SEGMENTS = 46  # of that size, in the largest datagram
CONNECTIONS = (1000, 10000)
IDLE_SECONDS = 5

# metric -> (what it says, unit, digits)
METRICS = {
    "gbps": ("throughput", "Gbit/s", 2),
    "kpps": ("rate", "1000/s", 1),
    "median_us": ("latency, median", "µs", 1),
    "p99_us": ("latency, 99th percentile", "µs", 1),
    "alone_us": ("latency, median, when nothing else flows", "µs", 1),
    "alone_p99_us": ("latency, 99th percentile, when nothing else flows", "µs", 1),
    "per_s": ("connections", "1/s", 0),
    "cpu_s_per_gib": ("CPU time of the daemon", "s/GiB", 2),
    "cpu_us_per_op": ("CPU time of the daemon for each", "µs", 1),
    "retransmissions": ("retransmissions of the guest", "", 0),
    "calls": ("system calls for each", "", 2),
    "rss_mib": ("resident set, sum of the processes", "MiB", 1),
    "pss_mib": ("resident set, shared pages counted once", "MiB", 1),
    "idle_cpu": ("CPU while nothing happens", "%", 2),
    "ms": ("time", "ms", 1),
    "lost": ("lost", "%", 1),
}


@dataclasses.dataclass
class Row:
    name: str
    group: str
    candidates: tuple
    measure: Callable
    what: str = ""


@dataclasses.dataclass
class Context:
    lab: nets.Lab
    pool: nets.Pool
    seconds: int


def cpu_s(pids):
    """CPU time of processes so far; one that has ended counts nothing."""
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS


def memory(pids):
    """Resident memory of processes. The share of each is secret for some; then there is none."""
    out = {"rss_mib": 0.0, "pss_mib": 0.0}
    for pid in pids:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            out["rss_mib"] += int(re.search(r"^VmRSS:\s*(\d+)", f.read(), re.M).group(1)) / 1024
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                out["pss_mib"] += int(re.search(r"^Pss:\s*(\d+)", f.read(), re.M).group(1)) / 1024
        except OSError:
            out["pss_mib"] = float("nan")
    return {k: v for k, v in out.items() if v == v}


def iperf(ctx, instance, address, options, ns=None):
    """One run of iperf3, with a server on the remote host; with ns, on the host, and the client in ns. (bytes received, seconds)."""
    with ctx.lab.iperf_server(ctx.lab.host if ns else ctx.lab.remote):
        told = json.loads(instance.run("iperf3", "-J", "-c", address, "-p", IPERF, *options, timeout=ctx.seconds + 30, ns=ns))
    if "error" in told:
        raise RuntimeError(told["error"])
    end = told["end"]["sum_received"]
    return end["bytes"], end["seconds"]


def tcp(direction, streams, mtu, where):
    """TCP throughput. where: (family, whether to the loopback)."""
    family, loop = where
    options = ["-P", streams] + (["-R"] if direction == "down" else [])

    def measure(ctx, name):
        i = ctx.pool.get(name, mtu)
        address, ns = (i.loopback[family], i.loop_ns) if loop else (i.remote[family], None)
        pids = i.pids()
        cpu, lost = cpu_s(pids), i.retransmissions()
        got, seconds = iperf(ctx, i, address, [*options, "-t", ctx.seconds], ns)
        out = {"gbps": got * 8 / seconds / 1e9}
        if pids:
            out["cpu_s_per_gib"] = (cpu_s(pids) - cpu) / (got / GIB)
        if not loop:
            out["retransmissions"] = i.retransmissions() - lost
        return out

    return measure


def tcp_inwards(direction, streams, mtu, family):
    """TCP throughput of connections that the remote host opens."""
    options = ["-P", streams] + (["-R"] if direction == "up" else [])

    def measure(ctx, name):
        i = ctx.pool.get(name, mtu)
        argv = ["iperf3", "-J", "-c", i.inward[family], "-p", i.inward_port["iperf3"], *options, "-t", ctx.seconds]
        pids = i.pids()
        cpu, again = cpu_s(pids), i.retransmissions()
        with ctx.lab.iperf_server(i.ns, INWARD["iperf3"]):
            told = json.loads(ctx.lab.remote.run(*argv, timeout=ctx.seconds + 30, check=False).stdout)
        if "error" in told:
            raise RuntimeError(told["error"])
        end = told["end"]["sum_received"]
        out = {"gbps": end["bytes"] * 8 / end["seconds"] / 1e9}
        if pids:
            out["cpu_s_per_gib"] = (cpu_s(pids) - cpu) / (end["bytes"] / GIB)
        return {**out, "retransmissions": i.retransmissions() - again}

    return measure


def latency_inwards(kind, family):
    """Request and response, or short connections, of the remote host with a server in the guest."""
    address = {"v4": "0.0.0.0", "v6": "::"}[family]

    def measure(ctx, name):
        i = ctx.pool.get(name, 65520)
        pids = i.pids()
        server = i.popen(ctx.lab.load, "serve", INWARD["load"], address, stdout=subprocess.PIPE)
        try:
            ctx.lab.wait_ready(server)
            cpu = cpu_s(pids)
            argv = ["rr", "tcp"] if kind == "tcp" else [kind]
            got = json.loads(ctx.lab.remote.run(ctx.lab.load, *argv, i.inward[family], i.inward_port["load"], ctx.seconds, 0).stdout)
            return latency_told(kind, got, (cpu_s(pids) - cpu) if pids else None)
        finally:
            nets.end(server)

    return measure


def latency_told(kind, got, cpu):
    out = {"median_us": got["median_us"], "p99_us": got["p99_us"]}
    if kind == "crr":
        out = {"per_s": got["count"] / got["seconds"], **out}
    if cpu is not None:
        out["cpu_us_per_op"] = cpu / got["count"] * 1e6
    return out


def latency(kind, family, loop=False):
    """Request and response."""

    def measure(ctx, name):
        i = ctx.pool.get(name, 65520)
        address, ns = (i.loopback[family], i.loop_ns) if loop else (i.remote[family], i.ns)
        pids = i.pids()
        cpu = cpu_s(pids)
        argv = ["rr", kind] if kind in ("tcp", "udp") else [kind]
        got = json.loads(i.run(ctx.lab.load, *argv, address, LOAD, ctx.seconds, 0, ns=ns))
        return latency_told(kind, got, (cpu_s(pids) - cpu) if pids else None)

    return measure


def fair(direction, family):
    """Request and response while another connection of the same guest transfers as fast as it can, and without that."""

    def measure(ctx, name):
        i = ctx.pool.get(name, 65520)
        address = i.remote[family]
        rr = lambda: json.loads(i.run(ctx.lab.load, "rr", "tcp", address, LOAD, ctx.seconds, 0))
        alone = rr()
        reverse = ["-R"] if direction == "down" else []
        name_of = {"up": "TcpOutSegs", "down": "TcpInSegs"}[direction]
        before = nets.counter(i.run, name_of)
        with ctx.lab.iperf_server(ctx.lab.remote):
            bulk = i.popen("iperf3", "-c", address, "-p", IPERF, "-t", ctx.seconds + 60, *reverse, stdout=subprocess.DEVNULL)
            try:
                until(lambda: nets.counter(i.run, name_of) > before + 1000, "bulk flow")
                got = rr()
                if bulk.poll() is not None:
                    raise RuntimeError("the bulk flow has ended")
            finally:
                nets.end(bulk)
        return {"median_us": got["median_us"], "p99_us": got["p99_us"], "alone_us": alone["median_us"], "alone_p99_us": alone["p99_us"]}

    return measure


def udp(direction, size, segments, family):
    """Datagrams as fast as they go; what counts is what arrives."""
    metric = "kpps" if size < 100 else "gbps"

    def measure(ctx, name):
        i = ctx.pool.get(name, 1500)
        address, load = i.remote[family], ctx.lab.load
        send = lambda how: [load, "send", how, address, DATAGRAMS, size, segments, ctx.seconds]
        recv = lambda how: [load, "recv", how, address, DATAGRAMS, int(segments > 1)]
        far, near = (recv, send) if direction == "up" else (send, recv)
        pids = i.pids()
        cpu = cpu_s(pids)
        other = ctx.lab.remote.popen(*far("listen"), stdout=subprocess.PIPE, text=True)
        try:
            ctx.lab.wait_ready(other)
            mine = i.run(*near("connect"))
            theirs = other.communicate(timeout=60)[0]
        finally:
            nets.end(other)
        sent, got = (json.loads(t.splitlines()[-1]) for t in ((mine, theirs) if direction == "up" else (theirs, mine)))
        out = {"kpps": got["datagrams"] / got["seconds"] / 1e3, "gbps": got["bytes"] * 8 / got["seconds"] / 1e9}
        out = {metric: out[metric], "lost": max(0.0, 100 - got["datagrams"] * 100 / sent["sent"])}
        if pids and metric == "gbps":
            out["cpu_s_per_gib"] = (cpu_s(pids) - cpu) / (got["bytes"] / GIB)
        return out

    return measure


@contextlib.contextmanager
def traced(ctx, instance):
    """Counts the system calls of a daemon; gives a dictionary that is filled at the end: {system call: how often}."""
    counts, pids = {}, instance.pids()
    path = os.path.join(ctx.lab.folder(), "strace")
    argv = ["strace", "-f", "-c", "-o", path]
    for pid in pids:
        argv += ["-p", str(pid)]
    strace = ctx.lab.host.popen(*argv, stderr=subprocess.PIPE, text=True)
    try:
        for _ in pids:
            line = strace.stderr.readline()
            if "attached" not in line:
                raise RuntimeError(f"strace: {line}")
        yield counts
        strace.send_signal(signal.SIGINT)
        strace.communicate(timeout=60)
    finally:
        nets.end(strace)
    with open(path, encoding="ascii") as f:
        for line in f:
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                counts[words[-1]] = int(words[3])


def calls(kind, operations):
    """System calls for each operation; a run by itself, since being watched slows down."""

    def measure(ctx, name):
        i = ctx.pool.get(name, 65520)
        with traced(ctx, i) as counts:
            if kind in ("up", "down"):
                iperf(ctx, i, i.remote["v4"], ["-n", f"{operations}M"] + (["-R"] if kind == "down" else []))
            else:
                argv = ["crr"] if kind == "crr" else ["rr", kind]
                i.run(ctx.lab.load, *argv, i.remote["v4"], LOAD, 60, operations)
        return {"calls": sum(counts.values()) / operations, "each": {k: round(v / operations, 3) for k, v in counts.items()}}

    return measure


def connections(number):
    """Memory with that many idle connections, and what idling costs."""

    def measure(ctx, name):
        i = ctx.pool.fresh(name, 65520)
        client = i.popen(ctx.lab.load, "idle", i.remote["v4"], LOAD, number, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            ctx.lab.wait_ready(client)
            pids = i.pids()
            cpu = cpu_s(pids)
            time.sleep(IDLE_SECONDS)
            return {**memory(pids), "idle_cpu": (cpu_s(pids) - cpu) / IDLE_SECONDS * 100}
        finally:
            client.stdin.close()
            nets.end(client)
            ctx.pool.drop(name)

    return measure


def descriptors_suffice(number):
    """For so many connections that are handed over, beside what is kept for other traffic."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 3 * number


def timed(ctx, until_what, number, argv):
    got = json.loads(ctx.lab.host.run(ctx.lab.load, "time", until_what, number, *argv).stdout)
    return {"ms": got["median_us"] / 1e3}


def start_command(ctx, name):
    """A namespace made, configured, used and left."""
    return timed(ctx, "exit", 10, [ctx.pool.path(name), "--config-net", *ctx.pool.options(name), *nets.NO_FORWARDS, "--", "true"])


def start_ready(ctx, name):
    """From the start until a manager may go on: the end of the parent, or the word on the descriptor for that."""
    path, folder = ctx.pool.path(name), ctx.lab.folder()
    pid_file = f"{folder}/pid"
    if name in STREAM:
        out = timed(ctx, "exit", 1, [path, "--socket", f"{folder}/socket", "--pid", pid_file])
    else:
        with contextlib.closing(box(ctx.lab.host)) as ns:
            if name == SLIRP:
                return timed(ctx, "ready", 1, [path, "-c", "-r", "3", f"--userns-path=/proc/{ns.pid}/ns/user", ns.pid, "tap0"])
            out = timed(ctx, "exit", 1, [path, "--config-net", *ctx.pool.options(name), *nets.NO_FORWARDS, "--pid", pid_file, ns.pid])
    end_daemon(pid_file)
    return out


def end_daemon(pid_file):
    with open(pid_file, encoding="ascii") as f:
        pid = int(f.read())
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    until(lambda: not os.path.exists(f"/proc/{pid}") or _zombie(pid), "daemon is gone")


def _zombie(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", encoding="ascii") as f:
        return f.read().rpartition(")")[2].split()[0] == "Z"
    return True


def tcp_rows(prefix, group, candidates):
    for mtu in MTUS:
        for streams in 1, 8:
            for direction in "up", "down":
                for family in FAMILIES:
                    yield Row(f"{prefix}/{direction}/{streams}/{mtu}/{family}", group, candidates, tcp(direction, streams, mtu, (family, False)))


def inward_rows():
    for mtu in 1500, 65520:
        for streams in 1, 8:
            for direction in "up", "down":
                for family in FAMILIES:
                    yield Row(f"in/tcp/{direction}/{streams}/{mtu}/{family}", "TCP from outside", INWARDS, tcp_inwards(direction, streams, mtu, family))
    for family in FAMILIES:
        yield Row(f"in/rr/tcp/{family}", "Request and response from outside", INWARDS, latency_inwards("tcp", family))
        yield Row(f"in/crr/{family}", "Short connections from outside", INWARDS, latency_inwards("crr", family))


def every_row():
    """All rows but those of a virtual machine, in the order in which they are run."""
    rows = list(tcp_rows("tcp", "TCP", EVERY))
    for streams in 1, 8:
        for direction in "up", "down":
            for family in FAMILIES:
                rows.append(Row(f"loop/{direction}/{streams}/{family}", "TCP between loopbacks", LOOPS, tcp(direction, streams, 65520, (family, True))))
    rows += tcp_rows("stream", "TCP over the stream socket", STREAM)
    for direction in "up", "down":
        for family in FAMILIES:
            rows.append(Row(f"udp/small/{direction}/{family}", "UDP, datagrams of 64 bytes", EVERY, udp(direction, 64, 1, family)))
    for what, segments in ("bulk", 1), ("gso", SEGMENTS):
        for direction in "up", "down":
            for family in FAMILIES:
                rows.append(Row(f"udp/{what}/{direction}/{family}", f"UDP, datagrams of {DATAGRAM} bytes", EVERY, udp(direction, DATAGRAM, segments, family)))
    for kind in "tcp", "udp":
        for family in FAMILIES:
            rows.append(Row(f"rr/{kind}/{family}", "Request and response", EVERY, latency(kind, family)))
            rows.append(Row(f"rr/{kind}/loop/{family}", "Request and response", LOOPS, latency(kind, family, True)))
    for direction in "up", "down":
        for family in FAMILIES:
            rows.append(Row(f"fair/{direction}/{family}", "Request and response beside a bulk flow", EVERY, fair(direction, family)))
    for family in FAMILIES:
        rows.append(Row(f"crr/{family}", "Short connections", EVERY, latency("crr", family)))
        rows.append(Row(f"crr/loop/{family}", "Short connections", LOOPS, latency("crr", family, True)))
    rows += inward_rows()
    for name, kind, operations in ("rr/tcp", "tcp", 2000), ("rr/udp", "udp", 2000), ("crr", "crr", 500), ("mib/up", "up", 256), ("mib/down", "down", 256):
        rows.append(Row(f"calls/{name}", "System calls", DAEMONS, calls(kind, operations)))
    rows.append(Row("memory/idle", "Memory", DAEMONS, connections(0)))
    for number in CONNECTIONS:
        rows.append(Row(f"memory/{number}", "Memory", [d for d in DAEMONS if d != PASTA or descriptors_suffice(number)], connections(number)))
    rows.append(Row("start/ready", "Start", DAEMONS + STREAM, start_ready))
    rows.append(Row("start/true", "Start", (PASTA, TAP, OTHER_PASTA), start_command))
    return rows
