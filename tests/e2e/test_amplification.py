# SPDX-License-Identifier: MIT
"""
Nobody makes of a few bytes more for somebody else: neither who sends to a forwarded port in a third address's name, nor the guest.

    guest (scapy) ---socket--- passt in "host" ---veth--- "remote", which says to be VICTIM as well, and counts what goes there
"""
import socket

import pytest
from lab.guest import Guest
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6, SILENT4, SILENT6
from lab.wait import Timeout
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

VICTIM = {4: SILENT4, 6: SILENT6}  # nobody answers there
HOST, REMOTE = {4: HOST4, 6: HOST6}, {4: REMOTE4, 6: REMOTE6}
OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]  # as the kernel's own SYN has them
FORWARDED = "-t", "8080", "-u", "5000"
ALL_FRAMES = 3  # ETH_P_ALL

both = pytest.mark.parametrize("family", [4, 6])


class Wire:
    """Between host and remote side, as seen from there."""

    def __init__(self, net):
        self.sock = net.remote.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_FRAMES))
        self.sock.bind(("eth0", ALL_FRAMES))
        self.mac = {ns: self._mac(ns) for ns in (net.host, net.remote)}
        self.ether = Ether(src=self.mac[net.remote], dst=self.mac[net.host])

    @staticmethod
    def _mac(ns):
        return ns.ip("-o", "link", "show", "eth0").partition("link/ether ")[2].split()[0]

    def send(self, *packets):
        """How many bytes of IP they were."""
        for p in packets:
            self.sock.send(bytes(self.ether / p))
        return sum(len(p) for p in packets)

    def bytes_to(self, address):
        """Of IP, since the last look."""
        self.sock.setblocking(False)
        total = 0
        try:
            while True:
                frame, where = self.sock.recvfrom(1 << 17)
                p = Ether(frame)
                l3 = p.getlayer(IPv6) or p.getlayer(IP)
                if l3 and l3.dst == address and where[2] != socket.PACKET_OUTGOING:
                    total += l3.plen + 40 if IPv6 in p else l3.len
        except BlockingIOError:
            return total


@pytest.fixture(scope="module")
def wire(net):
    """Where the kernel repeats nothing of what nobody answers: that is not ours."""
    net.host.write("/proc/sys/net/ipv4/tcp_synack_retries", "0")
    net.host.write("/proc/sys/net/ipv4/tcp_syn_retries", "1")
    w = Wire(net)
    yield w
    w.sock.close()


@pytest.fixture
def served(start):
    g = Guest(start(*FORWARDED).socket_path)
    g.announce()
    yield g
    g.close()


def ip(family, src, dst, **kw):
    return IPv6(src=src, dst=dst, **kw) if family == 6 else IP(src=src, dst=dst, **kw)


def came(guest, net, family):
    """All that was sent before to the forwarded port has been through, and what the guest has said to it."""
    with net.remote.udp(REMOTE[family]) as s:
        s.sendto(b"honest", (HOST[family], 5000))
        p = guest.expect(lambda p: UDP in p and bytes(p[UDP].payload)[:6] == b"honest", "the honest datagram")
        guest.udp(REMOTE[family], s.getsockname()[1], b"answer", sport=5000)
        assert s.recv(100) == b"answer"
    return p


def unreachable(p):
    """What a guest says that has nobody on that port; it quotes the beginning."""
    if IPv6 in p:
        return ICMPv6DestUnreach(code=4) / Raw(bytes(p[IPv6])[:500])
    return ICMP(type=3, code=3) / Raw(bytes(p[IP])[:500])


def too_big(p):
    if IPv6 in p:
        return ICMPv6PacketTooBig(mtu=1280) / Raw(bytes(p[IPv6])[:500])
    return ICMP(type=3, code=4, nexthopmtu=576) / Raw(bytes(p[IP])[:500])


def echo(p):
    return UDP(sport=p[UDP].dport, dport=p[UDP].sport) / Raw(bytes(p[UDP].payload)[: p[UDP].len - 8])


@both
@pytest.mark.parametrize("answer,size,some", [
    (None, 0, False), (unreachable, 10, False), (unreachable, 3000, False), (too_big, 6000, False), (echo, 100, True), (echo, 6000, True),
], ids=["silence", "refused", "refused-large", "too-big", "echo", "echo-large"])
def test_datagrams_from_outside(net, wire, served, family, answer, size, some):
    """An echo is as long as what it answers; that it is refused in the guest is not told to anybody."""
    wire.bytes_to(VICTIM[family])
    sent = wire.send(*(ip(family, VICTIM[family], HOST[family]) / UDP(sport=2000 + i, dport=5000) / Raw(bytes(size)) for i in range(5)))
    for _ in range(5 if answer else 0):
        p = served.expect(lambda p: UDP in p and p[UDP].dport == 5000 and 2000 <= p[UDP].sport < 2005, "a datagram in the name of the victim")
        served.send(served.ip(VICTIM[family]) / answer(p))
    came(served, net, family)
    back = wire.bytes_to(VICTIM[family])
    assert back <= sent and bool(back) == some


@both
def test_segments_from_outside(net, wire, served, family):
    """To a port that is forwarded: the kernel's answers are no longer, and the guest hears of none of them."""
    wire.bytes_to(VICTIM[family])
    head = ip(family, VICTIM[family], HOST[family])
    for flags in "S", "A", "PA", "FA", "R", "RA", "SFPU", "":
        sent = wire.send(head / TCP(sport=3000, dport=8080, flags=flags, ack=7, options=OPTIONS))
        came(served, net, family)
        assert wire.bytes_to(VICTIM[family]) <= sent, flags
        with pytest.raises(Timeout):
            served.expect(lambda p: TCP in p, "nothing of TCP", 0)


def frames_of(guest, family):
    """(name, frames) that the guest sends to the victim, and whether anything may come of them at all."""
    victim = VICTIM[family]

    def to(**kw):
        return guest.ip(victim, **kw)

    ping = ICMPv6EchoRequest(id=7, seq=1, data=bytes(20)) if family == 6 else ICMP(id=7, seq=1) / Raw(bytes(20))
    yield "datagrams", [to() / UDP(sport=4000 + i, dport=9) / Raw(bytes(i * 100)) for i in range(15)], True
    yield "pings", [to() / ping for _ in range(10)], True
    yield "SYN, and the same again", [to() / TCP(sport=5000, dport=80, flags="S", seq=7, options=OPTIONS) for _ in range(5)], True
    strays = [to() / TCP(sport=5001, dport=80, flags=flags, seq=7, ack=9) / Raw(b"data") for flags in ("A", "PA", "FA", "R", "RA", "SA", "FPU", "")]
    yield "segments of no connection", strays, False
    if family == 4:
        first = bytes(UDP(sport=4002, dport=9, len=3008, chksum=0))
        parts = [first + bytes(992), bytes(1000), bytes(1008)]
        pieces = [to(id=7, flags="MF" * (i < 2), frag=125 * i, proto=17) / Raw(part) for i, part in enumerate(parts)]
        yield "fragments of one datagram", pieces, True
        yield "fragments without an end", [to(id=100 + i, flags="MF", proto=17) / Raw(parts[0]) for i in range(50)], False
    others = [guest.ip(REMOTE[family], src=victim) / l4 for l4 in (UDP(sport=9, dport=9), TCP(sport=9, dport=9, flags="S"), TCP(sport=9, dport=9, flags="A"))]
    yield "in the name of the victim", others, False


@both
def test_from_the_guest(net, wire, served, family):
    """What leaves to somebody is no more than what the guest has sent there; of what makes no sense nothing leaves."""
    for name, frames, some in frames_of(served, family):
        wire.bytes_to(VICTIM[family])
        served.send(*frames)
        came(served, net, family)
        back = wire.bytes_to(VICTIM[family])
        assert back <= sum(len(p) - 14 for p in frames), name
        assert bool(back) == some, name
