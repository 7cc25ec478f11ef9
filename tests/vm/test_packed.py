# SPDX-License-Identifier: MIT
"""
A guest whose queues are packed.

    guest (QEMU, virtio-net) ---vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import hashlib
import os

import pytest
from lab import servers
from lab import vm as vms
from lab.program import Passt
from lab.topology import REMOTE4, REMOTE6
from lab.vmconf import OPTIONS, configure

MIB = 1 << 20
PACKED = 34  # VIRTIO_F_RING_PACKED


@pytest.fixture(scope="module")
def booted(net, tmp_path_factory):
    passt = Passt(net.host, str(tmp_path_factory.mktemp("passt")), *OPTIONS, "--vhost-user")
    try:
        vm = vms.Vm(vms.VhostUser(passt.socket_path), device="virtio-net-pci,packed=on")
        try:
            configure(vm)
            yield vm
        finally:
            vm.close()
        assert passt.alive(), passt.output()
        assert "broken" not in passt.output()
    finally:
        passt.close()


def test_driver_uses_packed_queues(booted):
    features = booted.sh("cat /sys/class/net/eth0/device/features").strip()
    assert features[PACKED] == "1", features


def test_both_ways(booted, net):
    data = os.urandom(16 * MIB)
    up, down = servers.tcp_digest(net.remote.listen(REMOTE6)), servers.http(net.remote.listen(REMOTE4), data)
    sending = booted.start(f"dd if=/dev/zero bs=1M count=16 | socat -t 100 - TCP:[{REMOTE6}]:{up.port}")
    assert booted.sh(f"curl -sS http://{REMOTE4}:{down.port}/ | sha256sum", 200).split()[0] == hashlib.sha256(data).hexdigest()
    assert hashlib.sha256(bytes(16 * MIB)).hexdigest() in sending.wait(200).out
    up.close()
    down.close()


def test_datagrams(booted, net):
    server = servers.udp_echo(net.remote.udp(REMOTE4))
    booted.sh(f"nettool udp-sizes {REMOTE4} {server.port} 1 300", 120)
    server.close()


def test_card_is_set_up_anew(booted):
    """The driver resets its card: each time the rings begin at their start."""
    for _ in range(3):
        booted.sh("echo virtio0 >/sys/bus/virtio/drivers/virtio_net/unbind; echo virtio0 >/sys/bus/virtio/drivers/virtio_net/bind")
        booted.until("[ -e /sys/class/net/eth0 ]", "interface is back")
    configure(booted)
    booted.sh(f"ping -c 3 -i 0.1 {REMOTE4}")
