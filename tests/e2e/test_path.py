# SPDX-License-Identifier: MIT
"""
What the guest learns of the path: its hops, its MTU, its errors.

    guest ---pasta--- "host" ---veth--- "r1" ---veth, narrow--- "r2" ---veth--- "far" (lab/path.py)
"""
import errno
import re
import socket
import struct
import sys
from typing import NamedTuple

import pytest
from lab import pasta as lab_pasta
from lab import servers
from lab.guest import Guest, checksums_right, l3
from lab.netns import family_of
from lab.path import FAR, HOPS, NARROW, NEAR, REFUSED, WIDE, Path
from lab.program import Passt
from lab.wait import LIMIT, readable, ready, until
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment
from scapy.packet import Raw

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
FAMILIES = pytest.mark.parametrize("family", FAR)
IP_MTU_DISCOVER, IP_RECVERR, IP_MTU = 10, 11, 14
IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_RECVERR = 23, 24, 25
DONT, WANT, DO = 0, 1, 2
HLEN = {"v4": 28, "v6": 48}  # of IP and UDP


@pytest.fixture(scope="module")
def path():
    p = Path()
    yield p
    p.close()


@pytest.fixture(scope="module")
def attached(path, tmp_path_factory):
    """attached(MTU, option ...): the namespace of a pasta that lives as long as the module."""
    running = {}

    def get(mtu, *more):
        if lab_pasta.no_tun():
            pytest.skip(lab_pasta.no_tun())
        key = mtu, *more
        if key not in running:
            work = tmp_path_factory.mktemp("pasta")
            running[key] = lab_pasta.Pasta(path.host, str(work), "--config-net", "-m", mtu, *more, *NONE)
            running[key].ns.write("/proc/sys/net/ipv4/ping_group_range", "0 0")
        return running[key].ns

    yield get
    for p in running.values():
        p.close()


@pytest.fixture
def guest(path, attached):
    """A guest that knows nothing of the path, nor does its host."""
    ns = attached(65520)
    path.narrow(NARROW)
    for who in path.host, path.far, ns:
        who.ip("route", "flush", "cache")
        who.ip("-6", "route", "flush", "cache")
    return ns


def hops_of(output):
    """[address, ...] in the order of traceroute or tracepath, each once."""
    found = re.findall(r"^ *\d+: +([0-9a-f.:]+) |^ *\d+ +([0-9a-f.:]+) ", output, re.M)
    return list(dict.fromkeys(a or b for a, b in found))


@FAMILIES
@pytest.mark.parametrize("method", ["-U", "-I", "-T"])
def test_traceroute(guest, family, method):
    out = guest.run("traceroute", method, "-n", "-q", "1", "-w", LIMIT, FAR[family]).stdout
    assert hops_of(out) == HOPS[family], out


@FAMILIES
def test_tracepath_finds_hops_and_mtu(guest, family):
    out = guest.run("tracepath", "-n", FAR[family]).stdout
    assert hops_of(out) == HOPS[family], out
    assert f"Resume: pmtu {NARROW} hops 3 back 3" in out, out
    assert "asymm" not in out, out


@FAMILIES
@pytest.mark.parametrize("ttl", [1, 2])
def test_ping_that_ends_on_the_way(guest, family, ttl):
    out = guest.run("ping", "-n", "-c", "1", "-W", LIMIT, "-t", ttl, FAR[family], check=False).stdout
    assert f"From {HOPS[family][ttl - 1]} icmp_seq=1 Time" in out, out


@FAMILIES
def test_ping_shows_the_hops_of_the_way_back(guest, family):
    out = guest.run("ping", "-n", "-c", "1", "-W", LIMIT, FAR[family]).stdout
    assert " ttl=62 " in out, out


class Header(NamedTuple):
    ttl: int
    tos: int


def header_options(s):
    """Options of a socket: (level, for sending: [hop limit, type of service], for receiving, kinds of control messages)"""
    if s.family == socket.AF_INET:
        return socket.IPPROTO_IP, (socket.IP_TTL, socket.IP_TOS), (12, 13), (socket.IP_TTL, socket.IP_TOS)
    v6 = socket.IPPROTO_IPV6, (socket.IPV6_UNICAST_HOPS, socket.IPV6_TCLASS), (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS)
    return *v6, (socket.IPV6_HOPLIMIT, socket.IPV6_TCLASS)


def set_header(s, header):
    level, options, _, _ = header_options(s)
    for option, value in zip(options, header):
        s.setsockopt(level, option, value)


def recv_header(s, data):
    """Receives that datagram; the header it had."""
    _, _, _, kinds = header_options(s)
    got, anc, _, _ = s.recvmsg(len(data) + 1, 200)
    assert got == data
    told = {kind: int.from_bytes(value, sys.byteorder) for _, kind, value in anc}
    return Header(*(told[kind] for kind in kinds))


@FAMILIES
def test_header_of_answers(path, guest, family):
    """A guest sees the hop limit and the marks of all answers, the first one among them."""
    with Pair(path, guest, family) as p:
        level, _, receive, _ = header_options(p.client)
        for option in receive:
            p.client.setsockopt(level, option, 1)
        set_header(p.client, Header(64, 2))
        p.client.send(b"question")
        data, peer = p.server.recvfrom(100)
        assert data == b"question"
        for tos in (2, 3, 0xB8, 0):
            set_header(p.server, Header(64, tos))
            p.server.sendto(b"answer", peer)
            assert recv_header(p.client, b"answer") == Header(62, tos)


def packet(data):
    """(Header, flags of TCP, destination port, length of what is behind the header of TCP) of an IP packet; None of others."""
    if data[0] >> 4 == 4:
        header, proto, at, end = Header(data[8], data[1]), data[9], (data[0] & 15) * 4, int.from_bytes(data[2:4], "big")
    else:
        header, proto, at, end = Header(data[7], (data[0] & 15) << 4 | data[1] >> 4), data[6], 40, 40 + int.from_bytes(data[4:6], "big")
    if proto != 6:
        return None
    return header, data[at + 13], int.from_bytes(data[at + 2 : at + 4], "big"), end - at - (data[at + 12] >> 4) * 4


@FAMILIES
@pytest.mark.parametrize("how", [[], ["--no-handover"]], ids=["handed", "tap"])
def test_header_of_streams(path, attached, family, how):
    """Hop limit and DSCP of a connection, from its SYN on, and as the guest changes them, if it isn't handed over."""
    guest = attached(65520, *how)
    sniffer = path.far.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    with sniffer, path.far.listen(FAR[family]) as listener, guest.socket(listener.family, socket.SOCK_STREAM) as s:
        port = listener.getsockname()[1]

        def seen(match):
            while True:
                p = packet(sniffer.recv(65536))
                if p and p[2] == port and match(p):
                    return p[0]

        first = Header(99, 0x28)
        set_header(s, first)
        s.connect((FAR[family], port))
        assert seen(lambda p: p[1] & 2) == first._replace(ttl=97)
        for header in first, Header(255, 0xB8), Header(64, 0):
            set_header(s, header)
            s.send(b"x")
            kept = header if how else first
            assert seen(lambda p: p[3]) == kept._replace(ttl=kept.ttl - 2)


@FAMILIES
def test_header_of_datagrams(path, guest, family):
    """Hop limit, DSCP and ECN of each datagram arrive as they were sent, but for the routers' share of the hops."""
    with Pair(path, guest, family) as p:
        level, _, receive, _ = header_options(p.server)
        for option in receive:
            p.server.setsockopt(level, option, 1)
        headers = [Header(64, 0), Header(64, 0xB8), Header(64, 0xBA), Header(9, 0xBA), Header(255, 1), Header(64, 0), Header(64, 3)]
        for i, header in enumerate(headers):
            set_header(p.client, header)
            p.client.send(b"%d" % i)
        assert [recv_header(p.server, b"%d" % i) for i in range(len(headers))] == [h._replace(ttl=h.ttl - 2) for h in headers]


@pytest.fixture
def other_default(path):
    """A host whose own packets have another hop limit."""
    names = [f"/proc/sys/net/{name}" for name in ("ipv4/ip_default_ttl", "ipv6/conf/all/hop_limit", "ipv6/conf/eth0/hop_limit")]
    was = [path.host.run("cat", name).stdout.strip() for name in names]
    for name in names:
        path.host.write(name, "100")
    yield
    for name, value in zip(names, was):
        path.host.write(name, value)


@FAMILIES
def test_default_of_the_host(path, other_default, attached, family):
    """What the guest sends with the usual hop limit has that, not the host's own."""
    guest = attached(65519, "--no-handover")
    sniffer = path.far.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    with sniffer, path.far.listen(FAR[family]) as listener, guest.socket(listener.family, socket.SOCK_STREAM) as s:
        s.connect((FAR[family], listener.getsockname()[1]))
        while not ((p := packet(sniffer.recv(65536))) and p[1] & 2):
            pass
        assert p[0] == Header(62, 0)
    with Pair(path, guest, family) as pair:
        level, _, receive, _ = header_options(pair.server)
        for option in receive:
            pair.server.setsockopt(level, option, 1)
        pair.client.send(b"question")
        assert recv_header(pair.server, b"question") == Header(62, 0)


def cached_mtu(ns, addr):
    """What the kernel has learned of the path; None if it was told nothing."""
    found = re.search(r" mtu (\d+)", ns.ip("route", "get", addr))
    return int(found[1]) if found else None


@FAMILIES
def test_ping_that_may_not_be_cut(path, guest, family):
    """It is told the MTU, of the first link and of the narrow one; and again when that shrinks."""
    far, hlen = FAR[family], HLEN[family]

    def ping(size):
        return guest.run("ping", "-n", "-c", "1", "-W", LIMIT, "-M", "do", "-s", size - hlen, far, check=False).stdout

    for size, mtu in (WIDE + 1, WIDE), (WIDE, NARROW):
        assert cached_mtu(guest, far) != mtu
        assert re.search(rf"From {HOPS[family][0]} icmp_seq=1 .*mtu ?= ?{mtu}", ping(size))
        assert cached_mtu(guest, far) == mtu
    assert "1 received" in ping(NARROW)
    path.narrow(NARROW - 100)
    assert f"{NARROW - 100}" in ping(NARROW)
    assert cached_mtu(guest, far) == NARROW - 100
    assert "1 received" in ping(NARROW - 100)


def mtu_discover(s, family, how):
    if family == "v4":
        s.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, how)
    else:
        s.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, how)


def path_mtu(s):
    """Of a connected socket, as its kernel has it."""
    return s.getsockopt(*((socket.IPPROTO_IP, IP_MTU) if s.family == socket.AF_INET else (socket.IPPROTO_IPV6, IPV6_MTU)))


def pending_error(s):
    return s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


class Pair:
    """A socket of the guest, connected to one of the far side."""

    def __init__(self, path, guest, family, how=WANT):
        self.family = family
        self.server = path.far.udp(FAR[family])
        self.client = guest.socket(family_of(FAR[family]), socket.SOCK_DGRAM)
        mtu_discover(self.client, family, how)
        self.client.connect((FAR[family], self.server.getsockname()[1]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()
        self.server.close()

    def arrives(self, size, seconds=LIMIT):
        """Whether a datagram that fills an IP packet of that size comes through."""
        data = struct.pack(">I", size) * (size // 4)
        data = data[: size - HLEN[self.family]]
        self.client.send(data)
        return self.expect(data, seconds)

    def expect(self, data, seconds=LIMIT):
        if not readable(seconds, self.server):
            return False
        assert self.server.recv(65536) == data
        return True

    def refused(self, size):
        try:
            self.client.send(bytes(size - HLEN[self.family]))
        except OSError as e:
            assert e.errno == errno.EMSGSIZE
            return True
        return False


@FAMILIES
@pytest.mark.parametrize("how", [WANT, DO], ids=["want", "do"])
def test_datagram_that_is_too_long_for_the_path(path, guest, family, how):
    """The guest's kernel hears of the MTU, link by link; from then on it cuts by itself, or refuses."""
    with Pair(path, guest, family, how) as p:
        for mtu in WIDE, NARROW, NARROW - 100:
            path.narrow(min(mtu, NARROW))
            # That which finds out is lost, whether the kernel may cut or not: it didn't know.
            p.client.send(bytes(mtu + 1 - HLEN[family]))
            until(lambda: pending_error(p.client) == errno.EMSGSIZE, f"the guest hears of an MTU of {mtu}")
            assert path_mtu(p.client) == mtu
            assert how == WANT or p.refused(mtu + 1)
        assert p.arrives(NARROW - 100)
        if how == WANT:
            assert p.arrives(8000)


def test_datagram_that_may_be_cut(path, guest):
    """Without DF: not one is lost, whatever the MTU of the path, and nobody is told. IPv6 has no such thing."""
    with Pair(path, guest, "v4", DONT) as p:
        for size in 65520, 60000, 9001, 8000, 1500, 1401, 1400, 600:
            assert p.arrives(size)
        assert path_mtu(p.client) == 65520


def exchanged(s, data):
    s.send(data)
    try:
        return s.recv(65536) == data
    except TimeoutError:
        return False


@FAMILIES
def test_fragments_both_ways(path, attached, family):
    """60000 bytes from the guest in fragments of 1500, and back; in the middle are others."""
    ns = attached(1500)
    server = servers.udp_echo(path.far.udp(FAR[family]))
    data = bytes(i % 251 for i in range(60000))
    before = ns.counters()
    with ns.socket(family_of(FAR[family]), socket.SOCK_DGRAM) as s:
        s.connect((FAR[family], server.port))
        # Of IPv6, the first ones tell the hosts at both ends what the path takes.
        mtu_discover(s, family, DONT)
        s.settimeout(0.2)
        until(lambda: exchanged(s, data), "a datagram of 60000 bytes comes back")
    after = ns.counters()
    kind = "Ip" if family == "v4" else "Ip6"
    assert after[f"{kind}FragCreates"] - before[f"{kind}FragCreates"] >= 41
    assert after[f"{kind}ReasmOKs"] - before[f"{kind}ReasmOKs"] >= 1
    assert after[f"{kind}ReasmFails"] == before[f"{kind}ReasmFails"]
    server.close()


@FAMILIES
def test_stream_while_the_path_shrinks(path, guest, family):
    """The MTU of the path is the business of the host's kernel, as the segments are its own: the stream goes on, up and down."""
    blob = bytes(i * 7 & 0xFF for i in range(1 << 20))
    with path.far.listen(FAR[family]) as listener, guest.connect(FAR[family], listener.getsockname()[1]) as s:
        conn, _ = listener.accept()
        with conn:
            conn.settimeout(LIMIT)
            for a, b in (s, conn), (conn, s):
                for mtu in NARROW, NARROW - 100:
                    path.narrow(mtu)
                    a.setblocking(False)
                    sent, got = 0, b""
                    while len(got) < len(blob):
                        r, w = ready(LIMIT, [b], [a] if sent < len(blob) else [])
                        assert r or w
                        if w:
                            sent += a.send(blob[sent : sent + (1 << 16)])
                        if r:
                            got += b.recv(1 << 16)
                    assert got == blob
                    a.settimeout(LIMIT)
        assert cached_mtu(guest, FAR[family]) is None


def errno_of(call):
    try:
        call()
    except OSError as e:
        return e.errno
    return 0


def connect_errno(ns, addr):
    with ns.socket(family_of(addr), socket.SOCK_STREAM) as s:
        return errno_of(lambda: s.connect((addr, 9)))


def datagram_errno(ns, addr):
    with ns.socket(family_of(addr), socket.SOCK_DGRAM) as s:
        s.setsockopt(*((socket.IPPROTO_IPV6, IPV6_RECVERR) if ":" in addr else (socket.IPPROTO_IP, IP_RECVERR)), 1)
        s.connect((addr, 9))
        # A router reports no more than so many a second.
        return until(lambda: errno_of(lambda: s.send(b"x")), f"{addr} is refused", every=0.1)


@pytest.mark.parametrize("call", [connect_errno, datagram_errno], ids=["tcp", "udp"])
@pytest.mark.parametrize("addr", [*FAR.values(), *REFUSED["v4"], *REFUSED["v6"]])
def test_refusal_is_that_of_the_network(path, guest, call, addr):
    """Closed ports, unreachable and forbidden addresses: the guest's programs see the errors that the host's see."""
    expected = call(path.host, addr)
    assert expected
    assert call(guest, addr) == expected


def ping_errors(ns, addr):
    def lines():
        out = ns.run("ping", "-n", "-c", "1", "-W", "1", addr, check=False).stdout
        return [line for line in out.splitlines() if line.startswith("From")]

    return until(lines, f"echo requests to {addr} are refused")


@pytest.mark.parametrize("addr", [*REFUSED["v4"], *REFUSED["v6"]])
def test_refusal_of_echo_is_that_of_the_network(path, guest, addr):
    expected = ping_errors(path.host, addr)
    assert expected
    assert ping_errors(guest, addr) == expected


@pytest.fixture
def stream(path, tmp_path):
    """A guest that speaks for itself, on a UNIX stream socket; its MTU is 1500."""
    for who in path.host, path.far:
        who.ip("route", "flush", "cache")
        who.ip("-6", "route", "flush", "cache")
    path.narrow(NARROW)
    passt = Passt(path.host, str(tmp_path), "-m", "1500")
    g = Guest(passt.socket_path)
    g.announce()
    yield g
    g.close()
    passt.close()


@FAMILIES
def test_frame_that_is_too_long_for_the_path(path, stream, family):
    """Of packets that may not be cut, the error quotes what the guest needs to know which it was."""
    with path.far.udp(FAR[family]) as server:
        port = server.getsockname()[1]
        whole = stream.ip(FAR[family], **({"flags": "DF"} if family == "v4" else {})) / UDP(sport=4000, dport=port)
        stream.send(whole / Raw(bytes(NARROW + 1 - HLEN[family])))
        kind = ICMP if family == "v4" else ICMPv6PacketTooBig
        p = stream.expect(lambda p: kind in p and (kind is not ICMP or p[ICMP].type == 3), "packet too big")
        assert l3(p).src == HOPS[family][0] and checksums_right(p)
        assert (p[ICMP].code, p[ICMP].nexthopmtu) == (4, NARROW) if family == "v4" else p[kind].mtu == NARROW
        quoted = (IP if family == "v4" else IPv6)(bytes(p[kind].payload))
        assert (quoted.dst, quoted[UDP].sport, quoted[UDP].dport) == (FAR[family], 4000, port)
        stream.send(whole / Raw(bytes(NARROW - HLEN[family])))
        assert len(server.recv(65536)) == NARROW - HLEN[family]


def fragments(stream, family, datagram, cuts, ident):
    """A UDP datagram in fragments, that end at these offsets."""
    frames, at = [], 0
    for end in [*cuts, len(datagram)]:
        more, data = int(end < len(datagram)), Raw(datagram[at:end])
        if family == "v4":
            ip = IP(src=stream.addr4, dst=FAR[family], id=ident, proto=17, frag=at // 8, flags=more)
            frames.append(stream.ether() / ip / data)
        else:
            ip = IPv6(src=stream.addr6, dst=FAR[family]) / IPv6ExtHdrFragment(id=ident, nh=17, offset=at // 8, m=more)
            frames.append(stream.ether() / ip / data)
        at = end
    return frames


@FAMILIES
def test_odd_fragments(path, stream, family):
    """The smallest there are, out of order and twice; but none that overlap."""
    with path.far.udp(FAR[family]) as server:
        port = server.getsockname()[1]
        data = bytes(range(200))
        datagram = struct.pack(">HHHH", 4000, port, 8 + len(data), 0) + data
        if family == "v6":
            whole = IPv6(src=stream.addr6, dst=FAR[family]) / UDP(sport=4000, dport=port) / Raw(data)
            datagram = bytes(whole)[40:]
        tiny = fragments(stream, family, datagram, range(8, len(datagram), 8), 1)
        stream.send(*tiny[::-2], *tiny[::2], *tiny[-2::-2])
        assert server.recv(1000) == data
        head, tail = fragments(stream, family, datagram, [104], 2)
        stream.send(head, fragments(stream, family, datagram, [96, 104], 2)[1], tail)
        stream.send(*fragments(stream, family, datagram, [104], 3))
        assert server.recv(1000) == data
        stream.barrier()
        assert not readable(0, server)


@FAMILIES
def test_long_datagram_reaches_the_guest_in_fragments(path, stream, family):
    """Each as long as the guest's MTU allows, the offsets without a gap."""
    size, parts, total = 5000, {}, None
    with path.r1.udp(NEAR[family]) as server:
        stream.udp(NEAR[family], server.getsockname()[1], b"question")
        server.sendto(bytes(size), server.recvfrom(100)[1])
        while total is None or sum(parts.values()) < total:
            p = stream.expect(lambda p: is_fragment(p, family), "fragment")
            assert len(p) - 14 <= 1500
            at, n, more = fragment_of(p, family)
            assert at not in parts
            parts[at] = n
            if not more:
                total = at + n
    assert total == 8 + size
    assert sorted(parts) == [sum(n for a, n in parts.items() if a < at) for at in sorted(parts)]


def is_fragment(p, family):
    return IPv6ExtHdrFragment in p if family == "v6" else IP in p and (p[IP].flags.MF or p[IP].frag)


def fragment_of(p, family):
    """(offset, length, whether more follow)"""
    if family == "v6":
        return p[IPv6ExtHdrFragment].offset * 8, p[IPv6].plen - 8, p[IPv6ExtHdrFragment].m
    return p[IP].frag * 8, p[IP].len - p[IP].ihl * 4, bool(p[IP].flags.MF)
