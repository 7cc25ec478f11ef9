# SPDX-License-Identifier: MIT
"""
Echo: what ping in the guest needs.

    guest (scapy) ---socket--- passt in "host" ---veth--- "remote" (topology.py)
"""
import pytest
from lab.guest import Guest, checksums_right, l3
from lab.program import Passt
from lab.topology import FAR4, FAR6, GW4, GW6, REMOTE4, REMOTE6, UNREACHABLE4, Topology
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6
from scapy.packet import Raw


def ping(guest, dst, ident, seq=1, data=b"payload", **kw):
    kind = ICMPv6EchoRequest(id=ident, seq=seq) if ":" in dst else ICMP(type=8, id=ident, seq=seq)
    guest.send(guest.ip(dst, **kw) / kind / Raw(data))


def pong(guest, src, ident, seq=1):
    def match(p):
        layer = ICMPv6EchoReply if ":" in src else ICMP
        return layer in p and p[layer].id == ident and p[layer].seq == seq and (layer is not ICMP or p[ICMP].type == 0)

    p = guest.expect(match, f"echo reply {ident}/{seq}")
    assert l3(p).src == src and checksums_right(p)
    return p


@pytest.mark.parametrize("dst", [REMOTE4, REMOTE6, GW4, GW6])
def test_echo(guest, dst):
    ping(guest, dst, 0x1234)
    assert b"payload" in bytes(pong(guest, dst, 0x1234))


@pytest.mark.parametrize("dst", [REMOTE4, REMOTE6], ids=["v4", "v6"])
@pytest.mark.parametrize("size", [0, 1, 1400, 20000])
def test_sizes(guest, dst, size):
    ping(guest, dst, 1, data=bytes(i & 0xFF for i in range(size)))
    p = pong(guest, dst, 1)
    assert bytes(i & 0xFF for i in range(size)) in bytes(p)


def test_identifiers_are_kept_apart(guest):
    for ident in range(100, 120):
        ping(guest, REMOTE4, ident, seq=ident)
    for ident in reversed(range(100, 120)):
        pong(guest, REMOTE4, ident, seq=ident)


def test_sequence(guest):
    for seq in range(1, 20):
        ping(guest, REMOTE6, 9, seq)
        pong(guest, REMOTE6, 9, seq)


def test_time_exceeded(guest):
    ping(guest, FAR4, 5, ttl=1)
    p = guest.expect(lambda p: ICMP in p and p[ICMP].type == 11, "ICMP time exceeded")
    assert p[IP].src == GW4
    inner = IP(bytes(p[ICMP].payload))
    assert inner.dst == FAR4 and inner[ICMP].id == 5
    ping(guest, FAR6, 5, ttl=1)
    p = guest.expect(lambda p: ICMPv6TimeExceeded in p, "ICMPv6 time exceeded")
    assert p[IPv6].src == GW6


def test_unreachable(guest):
    ping(guest, UNREACHABLE4, 6)
    p = guest.expect(lambda p: ICMP in p and p[ICMP].type == 3, "ICMP destination unreachable")
    assert p[ICMP].code in (0, 1)


def test_no_icmp(start):
    guest = Guest(start("--no-icmp").socket_path)
    guest.announce()
    ping(guest, REMOTE4, 1)
    guest.barrier()
    guest.nothing(lambda p: ICMP in p, "echo reply")
    guest.close()


def test_host_that_forbids_ping_is_named_in_one_warning(tmp_path):
    """The sysctl of a new network namespace lets nobody use ping sockets."""
    net = Topology(str(tmp_path), ping=False)
    passt = Passt(net.host, str(tmp_path))
    guest = Guest(passt.socket_path)
    guest.announce()
    for seq in range(3):
        ping(guest, REMOTE4, seq, seq)
    guest.barrier()
    guest.close()
    assert passt.output().count("ping_group_range") == 1, passt.output()
    passt.close()
    net.close()
