# SPDX-License-Identifier: MIT
"""
User-Mode Linux, whose driver is a vhost-user front end itself, and another one than QEMU's: it has the back end call it by messages.

    guest (linux.uml, virtio_uml) ---vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import hashlib
import os

import pytest
from lab import image, uml
from lab.program import Passt
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.transfer import both_ways
from lab.vmconf import OPTIONS, configure
from lab.wait import LIMIT, until

MIB = 1 << 20

pytestmark = pytest.mark.skipif(not image.user_mode(), reason="no package user-mode-linux: not in every distribution, and not for every machine")


@pytest.fixture(scope="module")
def passt(net, tmp_path_factory):
    p = Passt(net.host, str(tmp_path_factory.mktemp("passt")), *OPTIONS, "--vhost-user")
    yield p
    p.close()


@pytest.fixture(scope="module")
def guest(passt):
    g = uml.Uml(passt.socket_path)
    try:
        configure(g)
        yield g
    finally:
        g.close()


def test_lease(guest):
    assert f"inet {HOST4}/24" in guest.sh("ip -4 addr show dev eth0")
    assert "mtu 65520" in guest.sh("ip link show dev eth0")


@pytest.mark.parametrize("dst", [REMOTE4, REMOTE6])
def test_ping(guest, dst):
    assert "3 received" in guest.sh(f"/usr/bin/ping -n -c 3 -i 0.2 -W 10 {dst}")


@pytest.mark.parametrize("remote", [REMOTE4, REMOTE6], ids=["v4", "v6"])
def test_upload_and_download(guest, net, remote):
    both_ways(guest, net.remote, remote, 24 * MIB)


def test_from_outside(guest, net):
    guest.start("socat TCP6-LISTEN:8081,reuseaddr EXEC:sha256sum")
    guest.until("netstat -lnt | grep -q :8081", "server in the guest")
    data = os.urandom(8 * MIB)
    with net.remote.connect(HOST4, 8081, REMOTE4) as s:
        s.sendall(data)
        s.shutdown(1)
        assert s.makefile("rb").read().split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_shutdown(guest, passt):
    """It ends in an orderly way, and the program is there for the next one."""
    guest.start("poweroff -f")
    assert guest.process.wait(LIMIT) == 0, guest.console_text()[-1000:]
    until(lambda: "Client connection closed" in passt.output(), "the program noticed the end of the guest")
    assert passt.alive()
