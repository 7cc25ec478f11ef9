# SPDX-License-Identifier: MIT
"""
The source address of what leaves the host (--outbound), and what the guest hears where the host does not have it.

    guest (scapy) ---socket--- passt in "host", with a second address ---veth--- "remote" (topology.py)
"""
import pytest
from lab.guest import Guest, Tcp
from lab.topology import REMOTE4, REMOTE6
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest

SECOND4, SECOND6 = "192.0.2.98", "2001:db8::98"
BOTH = pytest.mark.parametrize("remote,own", [(REMOTE4, SECOND4), (REMOTE6, SECOND6)], ids=["v4", "v6"])


@pytest.fixture
def guest(start):
    p = start("--outbound", SECOND4, "--outbound", SECOND6)
    g = Guest(p.socket_path)
    g.announce()
    yield g
    g.close()


@pytest.fixture
def second(net):
    net.host.ip("address", "add", f"{SECOND4}/24", "dev", "eth0")
    net.host.ip("address", "add", f"{SECOND6}/64", "dev", "eth0", "nodad")
    yield
    net.host.ip("address", "del", f"{SECOND4}/24", "dev", "eth0")
    net.host.ip("address", "del", f"{SECOND6}/64", "dev", "eth0")


@BOTH
def test_is_what_the_remote_side_sees(net, second, guest, remote, own):
    with net.remote.listen(remote) as server, net.remote.udp(remote) as u:
        Tcp(guest, remote, server.getsockname()[1]).connect()
        conn, peer = server.accept()
        conn.close()
        guest.udp(remote, u.getsockname()[1], b"question")
        assert peer[0] == own and u.recvfrom(100)[1][0] == own


@BOTH
def test_that_nobody_has_is_no_network(guest, remote, own):
    """The guest is told at once, as by a router without a route."""
    v4 = remote == REMOTE4

    def told():
        if v4:
            guest.expect(lambda p: ICMP in p and (p[ICMP].type, p[ICMP].code) == (3, 0), "network unreachable")
        else:
            guest.expect(lambda p: ICMPv6DestUnreach in p and p[ICMPv6DestUnreach].code == 0, "no route to destination")

    Tcp(guest, remote, 80).syn()
    told()
    guest.udp(remote, 80, b"question")
    told()
    guest.send(guest.ip(remote) / (ICMP(id=1, seq=1) if v4 else ICMPv6EchoRequest(id=1, seq=1)))
    told()
