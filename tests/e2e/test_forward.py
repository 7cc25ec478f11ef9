# SPDX-License-Identifier: MIT
"""
Connections from outside to forwarded ports.

    guest (scapy) ---socket--- passt in "host" ---veth--- "remote" (topology.py)
"""
import contextlib
import resource
import socket

import pytest
from lab.guest import Guest, Tcp, l3, payload_of, payload_of_tcp
from lab.topology import GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig
from scapy.packet import Raw


@pytest.fixture
def forwarding(start):
    """forwarding(*options): (passt, guest)"""
    guests = []

    def begin(*options):
        passt = start(*options)
        guests.append(Guest(passt.socket_path))
        guests[-1].announce()
        return passt, guests[-1]

    yield begin
    for g in guests:
        g.close()


def connecting(ns, addr, port, source=None):
    """A non-blocking connection attempt: with the guest in our hands it comes to be only when we answer."""
    s = ns.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET)
    if source:
        s.bind((source, 0))
    s.setblocking(False)
    s.connect_ex((addr, port))
    s.settimeout(20)
    return s


@pytest.mark.parametrize("dst,src", [(HOST4, REMOTE4), (HOST6, REMOTE6), (HOST4, GW4), (HOST6, GW6)])
def test_tcp_from_outside_shows_the_true_source(net, forwarding, dst, src):
    _, guest = forwarding("-t", "8080")
    with connecting(net.remote, dst, 8080, src) as s:
        t = Tcp.accept(guest, 8080)
        assert (t.dst, t.dport) == s.getsockname()[:2]
        s.sendall(b"question")
        assert t.recv(8) == b"question"
        t.send("PA", b"answer")
        assert s.recv(100) == b"answer"
        t.send("FA")
        assert s.recv(1) == b""


@pytest.mark.parametrize("loopback,seen", [("127.0.0.1", GW4), ("::1", GW6)])
def test_tcp_from_loopback_comes_from_the_gateway(net, forwarding, loopback, seen):
    _, guest = forwarding("-t", "8080")
    with connecting(net.host, loopback, 8080) as s:
        t = Tcp.accept(guest, 8080)
        assert t.dst == seen
        t.send("PA", b"hi")
        assert s.recv(2) == b"hi"


@pytest.mark.parametrize("spec,port,inside", [("8080:80", 8080, 80), ("2000-2003:3000-3003", 2002, 3002), ("192.0.2.2/8080:80", 8080, 80),
                                              ("0.0.0.0/8080", 8080, 8080), ("192.0.2.2%eth0/77:78", 77, 78), ("1-20,~5-10", 15, 15)])
def test_port_specifiers(net, forwarding, spec, port, inside):
    _, guest = forwarding("-t", spec)
    with connecting(net.remote, HOST4, port):
        Tcp.accept(guest, inside)


def test_ports_that_were_not_asked_for_are_closed(net, forwarding):
    forwarding("-t", "2000-2003,~2001", "-t", "127.0.0.1/3000")
    for port in 1999, 2001, 2004, 3000:
        with pytest.raises(ConnectionRefusedError):
            net.remote.connect(HOST4, port)


def test_target_address(net, forwarding):
    _, guest = forwarding("-t", "0.0.0.0/8080:192.0.2.50/80")
    with connecting(net.remote, HOST4, 8080):
        p = guest.expect(lambda p: TCP in p and p[TCP].flags.S, "SYN")
        assert l3(p).dst == "192.0.2.50" and p[TCP].dport == 80


def test_syn_is_sent_again(net, forwarding):
    _, guest = forwarding("-t", "8080")
    with connecting(net.remote, HOST4, 8080):
        first = guest.expect(lambda p: TCP in p and p[TCP].flags.S, "SYN")
        again = guest.expect(lambda p: TCP in p and p[TCP].flags.S, "SYN again")
        assert first[TCP].seq == again[TCP].seq


@pytest.mark.parametrize("dst", [HOST4, HOST6])
def test_smaller_mtu_behind_the_guest(net, forwarding, dst):
    """A router there tells that a segment did not fit: what is in flight comes again at once, in segments that do."""
    _, guest = forwarding("-t", "8080")
    with connecting(net.remote, dst, 8080) as s:
        t = Tcp.accept(guest, 8080)
        text = bytes(range(256)) * 40
        s.sendall(text)
        p = t.expect(lambda x: x.seq == t.ack and len(x.payload) > 1400, "segment as long as may be")
        error = ICMP(type=3, code=4, nexthopmtu=1300) if dst == HOST4 else ICMPv6PacketTooBig(mtu=1300)
        guest.send(guest.ip(t.dst) / error / Raw(bytes(l3(p))[:100]))
        got = b""
        while len(got) < len(text):
            p = t.expect(lambda x: x.seq == t.ack and payload_of_tcp(x), "segment that fits")
            assert len(l3(p)) <= 1300
            got += payload_of(p)
            t.ack = (t.ack + len(payload_of(p))) % (1 << 32)
            t.send("A")
        assert got == text


def test_refused_by_guest_is_a_reset_outside(net, forwarding):
    _, guest = forwarding("-t", "8080")
    with connecting(net.remote, HOST4, 8080) as s:
        p = guest.expect(lambda p: TCP in p and p[TCP].flags.S, "SYN")
        guest.send(guest.ip(l3(p).src) / TCP(sport=8080, dport=p[TCP].sport, flags="RA", ack=p[TCP].seq + 1))
        with pytest.raises(ConnectionResetError):
            s.recv(1)


@pytest.mark.parametrize("dst,src", [(HOST4, REMOTE4), (HOST6, REMOTE6)])
def test_udp_from_outside(net, forwarding, dst, src):
    _, guest = forwarding("-u", "5000:500")
    with net.remote.udp(src) as s:
        for payload in b"one", b"", b"three":
            s.sendto(payload, (dst, 5000))
            p = guest.expect(lambda p: UDP in p and p[UDP].dport == 500, "datagram")
            assert l3(p).src == src and p[UDP].sport == s.getsockname()[1] and p[UDP].len == 8 + len(payload)
            guest.send(guest.ip(src) / UDP(sport=500, dport=p[UDP].sport) / Raw(b"re:" + payload))
            data, peer = s.recvfrom(100)
            assert data == b"re:" + payload and peer[:2] == (dst, 5000)


@pytest.mark.parametrize("loopback,seen", [("127.0.0.1", GW4), ("::1", GW6)])
def test_udp_from_loopback(net, forwarding, loopback, seen):
    _, guest = forwarding("-u", "5000")
    with net.host.udp(loopback) as s:
        s.sendto(b"ping", (loopback, 5000))
        p = guest.expect(lambda p: UDP in p and p[UDP].dport == 5000, "datagram")
        assert l3(p).src == seen
        guest.send(guest.ip(seen) / UDP(sport=5000, dport=p[UDP].sport) / Raw(b"pong"))
        assert s.recv(100) == b"pong"


@contextlib.contextmanager
def open_files(n):
    """Lets the program have that many descriptors, as a service manager would."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0], max(n, before[1])))
    except (ValueError, PermissionError):
        pytest.skip(f"not allowed to have {n} descriptors")
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_all_ports(net, forwarding):
    """All but those that the host uses for its own connections; one that is taken is no reason to fail."""
    with open_files(200000), net.host.listen("0.0.0.0", 4711):
        _, guest = forwarding("-t", "all", "-u", "all")
        for port in 1, 80, 4710, 30000:
            with connecting(net.remote, HOST4, port):
                Tcp.accept(guest, port)


def test_port_that_is_taken(net, start):
    with net.host.listen("0.0.0.0", 4712):
        passt = start("-t", "4712", wait=False)
        assert passt.wait() == 1
        assert "Address already in use" in passt.output() and "4712" in passt.output()


@pytest.mark.parametrize("addr,family", [("192.0.2.77", "-4"), ("2001:db8::77", "-6")])
def test_address_that_comes_later(net, start, forwarding, addr, family):
    """--freebind: refused without it; with it, a connection comes in as soon as the host has the address."""
    spec = f"{addr}/8081"
    passt = start("-t", spec, wait=False)
    assert passt.wait() == 1 and "Cannot assign requested address" in passt.output()
    _, guest = forwarding("--freebind", "-t", spec)
    extra = ["nodad"] if family == "-6" else []
    net.host.ip(family, "address", "add", f"{addr}/{'64' if extra else '24'}", "dev", "eth0", *extra)
    try:
        with connecting(net.remote, addr, 8081) as s:
            t = Tcp.accept(guest, 8081)
            s.sendall(b"there")
            assert t.recv(5) == b"there"
    finally:
        net.host.ip(family, "address", "del", f"{addr}/{'64' if extra else '24'}", "dev", "eth0")


def test_ports_are_free_after_the_end(net, forwarding):
    passt, _ = forwarding("-t", "4713", "-u", "4713")
    passt.stop()
    net.host.listen("0.0.0.0", 4713).close()
    net.host.udp("0.0.0.0", 4713).close()


def test_connection_without_a_guest_waits_or_is_reset(net, start):
    """Nobody is there to answer: the program must not spin, and not crash."""
    passt = start("-t", "8080")
    with connecting(net.remote, HOST4, 8080):
        guest = Guest(passt.socket_path)
        guest.announce()
        guest.close()
