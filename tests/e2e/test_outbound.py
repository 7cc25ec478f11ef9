# SPDX-License-Identifier: MIT
"""
The source address of what leaves the host (--outbound), and what the guest hears where the host does not have it.

    guest (scapy) ---socket--- passt in "host", with a second address ---veth--- "remote" (topology.py)
"""
import socket

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


@pytest.mark.parametrize("option,remote,other", [("--outbound-if4", REMOTE4, REMOTE6), ("--outbound-if6", REMOTE6, REMOTE4)])
def test_interface(net, start, option, remote, other):
    """What goes out leaves by that interface, here one where nobody is; the other family goes its way."""
    net.host.ip("link", "add", "out0", "type", "veth", "peer", "name", "out1")
    try:
        for dev in "out0", "out1":
            net.host.ip("link", "set", dev, "up")
        net.host.ip("address", "add", "203.0.113.9/24", "dev", "out0")
        net.host.ip("address", "add", "2001:db8:9::9/64", "dev", "out0", "nodad")
        for family in "-4", "-6":
            net.host.ip(family, "route", "add", "default", "dev", "out0", "metric", "9999")
        wire = net.host.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806 if remote == REMOTE4 else 0x86DD))
        wire.settimeout(20)
        wire.bind(("out1", 0))
        g = Guest(start(option, "out0").socket_path)
        g.announce()
        Tcp(g, remote, 80).syn()
        asked = socket.inet_pton(socket.AF_INET if remote == REMOTE4 else socket.AF_INET6, remote)
        while asked not in wire.recv(2000):
            pass
        with net.remote.listen(other) as server:
            Tcp(g, other, server.getsockname()[1]).connect()
            server.accept()[0].close()
        wire.close()
        g.close()
    finally:
        net.host.ip("link", "del", "out0")


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
