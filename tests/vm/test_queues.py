# SPDX-License-Identifier: MIT
"""
A guest with two processors, and a pair of queues for each.

    guest (QEMU, virtio-net) ---vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import collections
import hashlib
import os
import re

import pytest
from lab import servers
from lab import vm as vms
from lab.control import Control
from lab.program import Passt
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.transfer import Circle
from lab.vmconf import OPTIONS, configure
from lab.wait import until

MIB = 1 << 20
SIZES = 200  # datagrams of a test
PAIRS = 2
DIMM = 128  # MiB; what Linux takes at least


@pytest.fixture(scope="module", params=["pc", "q35"])
def machine(request):
    return request.param


@pytest.fixture(scope="module")
def passt(machine, net, tmp_path_factory):
    work = tmp_path_factory.mktemp("passt")
    p = Passt(net.host, str(work), *OPTIONS, "--vhost-user", "--debug", "-c", work / "control")
    p.control = Control(work / "control")
    yield p
    p.control.close()
    p.close()


@pytest.fixture(scope="module")
def booted(machine, passt):
    # With all memory below 4 GiB, what is plugged in lies in a zone of its own, and Linux takes from that one first.
    vm = vms.Vm(vms.VhostUser(passt.socket_path, PAIRS), machine=machine, slots=2, append="memhp_default_state=online_kernel")
    try:
        configure(vm)
        yield vm
    finally:
        vm.close()
    # What it counted itself: each pair has carried frames both ways.
    until(lambda: "Client connection closed" in passt.output(), "the program noticed the end of the guest")
    said = re.findall(r"Queue pair (\d): (\d+) frames from the guest, (\d+) to it", passt.output())
    assert [int(pair) for pair, _, _ in said] == list(range(PAIRS)), passt.output()
    assert all(int(n) > SIZES for line in said for n in line[1:]), said


def counts(vm):
    """Packets by direction and queue, as the guest's driver counts them."""
    found = re.findall(r"([rt]x)_?(?:queue_)?(\d+)_packets: (\d+)", vm.sh("ethtool -S eth0"))
    return collections.Counter({(direction, int(queue)): int(n) for direction, queue, n in found})


def test_flows_stay_on_their_queue(booted, net):
    """What a processor sends goes out by its queue, and what comes back comes by the same pair."""
    used = []
    for cpu in range(PAIRS):
        for remote in REMOTE4, REMOTE6:
            server = servers.udp_echo(net.remote.udp(remote))
            before = counts(booted)
            booted.sh(f"taskset {1 << cpu:x} nettool udp-sizes {remote} {server.port} 1 {SIZES}", 120)
            after = counts(booted)
            server.close()
            sent, got = ([after[way, q] - before[way, q] for q in range(PAIRS)] for way in ("tx", "rx"))
            # Beside the datagrams there are neighbour solicitations and router advertisements.
            assert all(abs(s - g) < SIZES / 10 for s, g in zip(sent, got)), (sent, got)
            assert sum(sent) >= SIZES
            used.append(sent.index(max(sent)))
            assert sent[used[-1]] >= SIZES, sent
    assert sorted(set(used)) == list(range(PAIRS)), used


def both_ways(booted, net, cpu, data):
    """An upload and a download by one processor, begun; ends them, and compares."""
    up, down = servers.tcp_digest(net.remote.listen(REMOTE6)), servers.http(net.remote.listen(REMOTE4), data)
    pinned = f"taskset {1 << cpu:x}"
    sending = booted.start(f"{pinned} dd if=/dev/zero bs=1M count=2 | {pinned} socat -t 100 - TCP:[{REMOTE6}]:{up.port}")
    getting = booted.start(f"{pinned} curl -sS http://{REMOTE4}:{down.port}/ | sha256sum")

    def end():
        assert getting.wait(200).out.split()[0] == hashlib.sha256(data).hexdigest()
        assert hashlib.sha256(bytes(2 * MIB)).hexdigest() in sending.wait(200).out
        up.close()
        down.close()

    return end


def test_all_queues_at_once(booted, net):
    data = os.urandom(4 * MIB)
    for end in [both_ways(booted, net, cpu, data) for cpu in range(PAIRS)]:
        end()


def test_queue_is_switched_off(booted, net):
    """The driver gives up a queue and takes it up again: what used it goes on by the other one."""
    assert re.findall(r"Combined:\s+(\d)", booted.sh("ethtool -l eth0")) == ["2", "2"]
    end = both_ways(booted, net, 1, os.urandom(4 * MIB))
    booted.sh("ethtool -L eth0 combined 1; sleep 0.2; ethtool -L eth0 combined 2")
    end()
    before = counts(booted)
    end = both_ways(booted, net, 1, os.urandom(MIB))
    end()
    after = counts(booted)
    assert all(after[way, 1] > before[way, 1] for way in ("rx", "tx")), (before, after)


class Counted:
    """What the program counted from then on: after()["kicks"]."""

    def __init__(self, passt):
        self._control = passt.control
        self._before = self._now()

    def _now(self):
        return self._control.get("counters")["counters"]

    def after(self):
        return {name: n - self._before[name] for name, n in self._now().items()}


def test_offloads(booted):
    """The driver has agreed on all that its kernel knows of."""
    features = booted.sh("cat /sys/class/net/eth0/device/features").strip()
    bits = {"CSUM": 0, "GUEST_CSUM": 1, "GUEST_TSO4": 7, "GUEST_TSO6": 8, "GUEST_ECN": 9, "HOST_TSO4": 11, "HOST_TSO6": 12, "HOST_ECN": 13,
            "MRG_RXBUF": 15, "MQ": 22, "INDIRECT_DESC": 28, "EVENT_IDX": 29, "VERSION_1": 32}
    assert not [name for name, bit in bits.items() if features[bit] != "1"], features


@pytest.mark.parametrize("remote", [REMOTE4, REMOTE6], ids=["v4", "v6"])
def test_superframes(booted, passt, net, remote):
    """On a network with ordinary frames, what is handed over is several times as long: both ways."""
    host = f"[{remote}]" if ":" in remote else remote
    data = os.urandom(8 * MIB)
    up, down = servers.tcp_digest(net.remote.listen(remote)), servers.http(net.remote.listen(remote), data)
    booted.sh("ip link set eth0 mtu 1500")
    try:
        counted = Counted(passt)
        out = booted.sh(f"curl -sS -g http://{host}:{down.port}/ >/tmp/blob && sha256sum /tmp/blob", 200)
        assert out.split()[0] == hashlib.sha256(data).hexdigest()
        got = counted.after()
        assert got["frame_bytes_to_guest"] > len(data) and got["frame_bytes_to_guest"] / got["frames_to_guest"] > 2 * 1514, got
        counted = Counted(passt)
        assert booted.sh(f"socat -t 100 - TCP:{host}:{up.port} </tmp/blob", 200).strip() == out.split()[0]
        sent = counted.after()
        assert sent["frame_bytes_from_guest"] > len(data) and sent["frame_bytes_from_guest"] / sent["frames_from_guest"] > 2 * 1514, sent
    finally:
        booted.sh("ip link set eth0 mtu 65520; rm -f /tmp/blob")
        up.close()
        down.close()


def test_kicks_bring_work(booted, passt, net):
    counted = Counted(passt)
    data = os.urandom(4 * MIB)
    for end in [both_ways(booted, net, cpu, data) for cpu in range(PAIRS)]:
        end()
    kicks = counted.after()
    assert kicks["kicks_idle"] * 10 < kicks["kicks"] < kicks["frames_from_guest"] + kicks["frames_to_guest"], kicks


# The guest's memory


def pieces(passt):
    """KiB that the program has looked at of each piece of plugged memory."""
    with open(f"/proc/{passt.pid}/smaps", encoding="ascii") as f:
        found = re.findall(r"^[0-9a-f-]+ [^\n]*memory-backend-memfd[^\n]*\nSize: +(\d+) kB\n(?:[A-Z]\w+: [^\n]*\n)*?Rss: +(\d+) kB$", f.read(), re.M)
    return [int(rss) for size, rss in found if int(size) == DIMM << 10]


def test_memory_is_plugged(booted, passt, net):
    """While bytes go round, and then are read from and written to the new memory; another piece comes and goes."""
    booted.start("socat TCP6-LISTEN:8080,reuseaddr EXEC:cat")
    booted.until("netstat -lnt | grep -q :8080", "server in the guest")
    circle = Circle(net.remote.connect(HOST4, 8080, REMOTE4))
    try:
        circle.goes_on()
        assert not pieces(passt)
        booted.plug_memory("first", DIMM)
        booted.until("awk '/^Node/ { there = $4 == \"Normal\" } there && $1 == \"managed\" { exit $2 < 30000 }' /proc/zoneinfo", "memory is in use")
        until(lambda: circle.goes_on() or sum(pieces(passt)) > 1024, "the program works in it", 60)
        booted.sh("echo offline >/sys/devices/system/memory/auto_online_blocks")
        booted.plug_memory("second", DIMM)
        until(lambda: len(pieces(passt)) == 2, "it is shared")
        circle.goes_on()
        booted.unplug_memory("second")
        until(lambda: len(pieces(passt)) == 1, "it is not shared any more")
        circle.goes_on()
    finally:
        circle.close()
    end = both_ways(booted, net, 0, os.urandom(4 * MIB))
    end()
    assert sum(pieces(passt)) > 1024
