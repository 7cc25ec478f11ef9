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
from lab.program import Passt
from lab.topology import REMOTE4, REMOTE6
from lab.vmconf import OPTIONS, configure
from lab.wait import until

MIB = 1 << 20
SIZES = 200  # datagrams of a test
PAIRS = 2
MACHINES = ["pc", pytest.param("q35", marks=pytest.mark.skipif(not os.environ.get("PASST_TEST_LONG"), reason="one more boot: PASST_TEST_LONG=1"))]


@pytest.fixture(scope="module", params=MACHINES)
def booted(request, net, tmp_path_factory):
    passt = Passt(net.host, str(tmp_path_factory.mktemp("passt")), *OPTIONS, "--vhost-user", "--debug")
    try:
        vm = vms.Vm(vms.VhostUser(passt.socket_path, PAIRS), machine=request.param)
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
    finally:
        passt.close()


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
