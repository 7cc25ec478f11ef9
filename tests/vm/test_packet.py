# SPDX-License-Identifier: MIT
"""
User-Mode Linux with one frame a message. QEMU with datagrams is at the end of test_guest.py, where a guest runs already.

    guest (linux.uml, vector driver) ---SOCK_SEQPACKET--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import pytest
from lab import image, uml
from lab.program import Passt
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.transfer import both_ways
from lab.vmconf import OPTIONS, configure
from lab.wait import until

MIB = 1 << 20

pytestmark = pytest.mark.skipif(not image.user_mode(), reason="no package user-mode-linux: not in every distribution, and not for every machine")


def test_sequenced_packets(net, tmp_path):
    passt = Passt(net.host, str(tmp_path), *OPTIONS, "--socket-type", "seqpacket")
    guest = uml.Uml(passt.socket_path, vhost=False)
    try:
        configure(guest)
        assert f"inet {HOST4}/24" in guest.sh("ip -4 addr show dev eth0")
        for remote in REMOTE4, REMOTE6:
            both_ways(guest, net.remote, remote, 4 * MIB)
    finally:
        guest.close()
    until(lambda: "Client connection closed" in passt.output(), "the program noticed the end of the guest")
    passt.close()
