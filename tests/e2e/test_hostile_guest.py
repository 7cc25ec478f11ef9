# SPDX-License-Identifier: MIT
"""
A guest that wants to do harm, over the real socket. Whatever it sends: the program lives, its memory is bounded, it comes to rest, and it
serves the next one well.

    guest (bytes) ---socket--- passt in "host" ---veth--- "remote" (topology.py)

With PASST_TEST_LONG=1 in the environment, a million mutated frames are sent instead of some thousands.
"""
import contextlib
import os
import random
import socket
import struct

import pytest
from lab import control
from lab.guest import LL6, MAC, OUR_MAC, Guest, Tcp, connect_again
from lab.program import assert_idle
from lab.topology import GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6, SILENT4
from lab.wait import LIMIT, Timeout, until
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import DHCP6_Solicit, DHCP6OptClientId, DHCP6OptIA_NA, DUID_LL
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_RS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

LONG = bool(os.environ.get("PASST_TEST_LONG"))
MUTATIONS = 1000000 if LONG else 30000
MEMORY_KB = 96 << 10  # more than it had before; tables and pools of a release build are far below, a sanitizer has its own needs
BATCH = 400
OTHER_MAC = "52:54:00:00:00:99"


def valid(guest):
    """A frame of each kind that means something to the program."""
    all6 = Ether(src=MAC, dst="33:33:00:00:00:01")
    dhcp = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    return [bytes(p) for p in (
        guest.ether("ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=MAC, psrc=HOST4, pdst=GW4),
        dhcp / BOOTP(chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7) / DHCP(options=[("message-type", "discover"), (55, b"\1\3\6\x1a\x77"), "end"]),
        all6 / IPv6(src=LL6, dst="ff02::1:2") / UDP(sport=546, dport=547) / DHCP6_Solicit(trid=7) / DHCP6OptClientId(duid=DUID_LL(lladdr=MAC)) / DHCP6OptIA_NA(iaid=1),
        all6 / IPv6(src=LL6, dst="ff02::2", hlim=255) / ICMPv6ND_RS(),
        all6 / IPv6(src="::", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=GW6),
        guest.ip(REMOTE4) / TCP(sport=1, dport=2, flags="S", options=options),
        guest.ip(REMOTE6) / TCP(sport=1, dport=2, flags="S", options=options),
        guest.ip(REMOTE6) / TCP(sport=1, dport=2, flags="PA") / Raw(b"data"),
        guest.ip(REMOTE4) / UDP(sport=1000, dport=7) / Raw(b"data"),
        guest.ip(REMOTE6) / UDP(sport=1000, dport=7) / Raw(b"data"),
        guest.ip(REMOTE4) / ICMP(id=7, seq=1) / Raw(bytes(20)),
        guest.ip(REMOTE6) / ICMPv6EchoRequest(id=7, seq=1, data=bytes(20)),
        guest.ip(REMOTE4, flags="MF", frag=0, proto=17) / Raw(bytes(64)),
        guest.ip(REMOTE4, frag=8, proto=17) / Raw(bytes(33)),
        guest.ip(REMOTE6, nh=44) / Raw(b"\x11\0\0\1\0\0\0\7" + bytes(64)),
        guest.ip(REMOTE6, nh=0) / Raw(b"\x3c\0\1\4\0\0\0\0" + b"\x11\0\1\4\0\0\0\0" + bytes(20)),
    )]


def shower(guest, frames):
    """Sends frames, many to a write; what comes back is dropped. How many that was."""
    batch, back = [], 0
    for f in frames:
        batch += struct.pack(">I", len(f)), f
        if len(batch) == 2 * BATCH:
            guest.send_raw(b"".join(batch))
            back += guest.forget()
            batch = []
    guest.send_raw(b"".join(batch))
    return back + guest.forget()


def rest(guest):
    """Until all that was sent has been looked at. What comes back meanwhile is dropped, unparsed: it is too much."""
    guest.send(guest.ether() / ARP(op=1, hwsrc=MAC, psrc=HOST4, pdst=GW4))
    while True:
        frame = guest.recv_raw(LIMIT)
        assert frame, "no answer to the barrier"
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2":
            return


@contextlib.contextmanager
def connected(net, guest):
    """A connection of the guest: its side, and the socket of the remote host."""
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.connect()
        conn, _ = server.accept()
    with conn:
        conn.settimeout(20)
        yield t, conn


def transfer(net, guest, n=100000):
    """A well-formed connection: so many bytes each way, and an orderly end."""
    with connected(net, guest) as (t, conn):
        exchange(t, conn, n)
        t.send("FA")
        assert conn.recv(1) == b""
        conn.shutdown(socket.SHUT_WR)
        t.expect_fin()


def exchange(t, conn, n):
    down, up = random.Random(n).randbytes(n), random.Random(n + 1).randbytes(n)
    conn.sendall(down)
    assert t.recv(n) == down
    for at in range(0, n, t.mss):
        t.send("A", up[at : at + t.mss])
    got = b""
    while len(got) < n:
        got += conn.recv(n - len(got))
    assert got == up


@pytest.fixture
def harmed(passt, net):
    """The guest; afterwards all is well. For a test that has ended the connection: guest.closed."""
    guest = Guest(passt.socket_path)
    guest.announce()
    before = passt.memory_kb()
    yield guest
    guest.close()
    guest = connect_again(passt)
    transfer(net, guest)
    grown = passt.memory_kb() - before
    assert grown < MEMORY_KB, f"{grown} KiB more than before"
    assert_idle(passt)
    guest.close()


def test_every_truncation(harmed):
    frames = [f[:n] for f in valid(harmed) for n in range(14, len(f))]
    back = shower(harmed, frames)
    rest(harmed)
    assert back < len(frames)


def mutated(rnd, seeds, n):
    """Frames with some bytes changed behind the Ethernet addresses; some cut, some with bytes added."""
    for _ in range(n):
        r = rnd.getrandbits(64)
        f = bytearray(seeds[r % len(seeds)])
        for i in range(1 + (r >> 8 & 3)):
            f[12 + (r >> 12 + 12 * i & 0xFFF) % (len(f) - 12)] = r >> 20 + 8 * i & 0xFF
        if r >> 60 == 0:
            del f[14 + (r >> 30) % (len(f) - 13) :]
        elif r >> 60 == 1:
            f += bytes((r >> 30) % 1500)
        yield bytes(f)


def test_mutations(harmed):
    seeds = valid(harmed)
    assert shower(harmed, mutated(random.Random(6), seeds, MUTATIONS)) <= 2 * MUTATIONS, "more comes back than was sent"


def prefixes():
    near = {(1 << i) + d for i in range(32) for d in (-1, 0, 1)}
    return sorted(n for n in near | {13, 14, 65535, 65536, 0xFFFFFFFF, int.from_bytes(struct.pack("<I", 60), "big")} if 0 <= n < 1 << 32)


def test_length_prefixes(passt, harmed):
    """A length that no frame has resets the connection, any other is waited for; a guest that leaves meanwhile is no harm."""
    harmed.close()
    for n in prefixes():
        guest = connect_again(passt)
        try:
            guest.send_raw(struct.pack(">I", n) + b"\xa5" * 13)
            if not 14 <= n <= 65535:
                guest.wait_closed()
        except (BrokenPipeError, ConnectionResetError):
            assert not 14 <= n <= 65535
        guest.close()


def test_half_written_frames(passt, harmed):
    harmed.close()
    frame = valid(harmed)[5]
    whole = struct.pack(">I", len(frame)) + frame
    for cut in range(1, len(whole), 3):
        guest = connect_again(passt)
        guest.send_raw(whole * (cut % 3) + whole[:cut])
        if cut % 2:
            guest.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        guest.close()


def chains(rnd, n):
    """IPv6 packets with extension headers of all sorts, in any order and number, with lengths right and wrong."""
    known, addresses = (0, 43, 44, 51, 60, 135, 139), socket.inet_pton(socket.AF_INET6, HOST6) + socket.inet_pton(socket.AF_INET6, REMOTE6)
    ether = bytes.fromhex((OUR_MAC + MAC).replace(":", "")) + b"\x86\xdd"
    for _ in range(n):
        kinds = [rnd.choice(known) for _ in range(rnd.choice((1, 2, 5, 40, 400)))] + [rnd.choice((6, 17, 58, 59, 255))]
        body = b""
        for i, kind in enumerate(kinds[:-1]):
            units = rnd.choice((0, 0, 0, 0, 1, 31, 255))
            if kind == 44:
                body += struct.pack(">BBHI", kinds[i + 1], 0, rnd.choice((0, 1, 8, 9, 0xFFF8, 0xFFF9)), rnd.getrandbits(32))
                continue
            body += bytes((kinds[i + 1], units)) + rnd.choice((b"\1" + bytes((4 + 8 * units & 0xFF,)), b"\0\0", rnd.randbytes(2)))
            body += bytes(min(4 + 8 * units, 2044) if rnd.random() < 0.9 else 2)
        body = (body + rnd.randbytes(rnd.choice((0, 8, 20, 60))))[:65000]
        claims = len(body) if rnd.random() < 0.8 else rnd.getrandbits(16)
        yield ether + struct.pack(">IHBB", 6 << 28, claims, kinds[0], rnd.choice((0, 1, 64, 255))) + addresses + body


def test_header_chains(harmed):
    shower(harmed, chains(random.Random(7), 1000))


def absurd(rnd, t, n):
    """Segments of a connection with options, offsets and numbers of all sorts, none of them of its window."""
    head = bytes(t.g.ip(REMOTE4, len=0) / TCP())[:34]
    for _ in range(n):
        options = rnd.randbytes(rnd.choice((0, 4, 12, 40)))
        if rnd.random() < 0.7:
            kind = rnd.choice((0, 1, 2, 3, 4, 5, 8, 19, 28, 29, 30, 34, 253, 255))
            options = bytes((kind, rnd.choice((0, 1, 2, 3, 4, 10, 18, 34, 255)))) + options[2:]
        offset = 5 + len(options) // 4 if rnd.random() < 0.7 else rnd.randrange(16)
        seq = (t.seq + (1 << 30) + rnd.getrandbits(31)) % (1 << 32)
        flags = rnd.choice((0, 1, 2, 3, 4, 16, 17, 18, 20, 24, 25, 56, 255, rnd.getrandbits(8)))
        tcp = struct.pack(">HHIIBBHHH", t.sport, t.dport, seq, rnd.getrandbits(32), offset << 4, flags, rnd.getrandbits(16), 0, rnd.getrandbits(16))
        packet = bytearray(head + tcp + options + bytes(rnd.choice((0, 1, 1400))))
        struct.pack_into(">H", packet, 16, len(packet) - 14)
        yield bytes(packet)


def test_absurd_segments_of_an_open_connection(net, harmed):
    """It goes on as if nothing had happened, and we are not made to answer each of them."""
    with connected(net, harmed) as (t, conn):
        shower(harmed, absurd(random.Random(8), t, 5000))
        # Resets of the right window with a wrong number, and SYNs.
        frames = [bytes(t.segment(flags)) for flags in ("R", "RA", "S")]
        guesses = [f[:38] + struct.pack(">I", (t.seq + at) % (1 << 32)) + f[42:] for f in frames for at in range(1, 1001)]
        assert shower(harmed, guesses) < len(guesses) / 10
        rest(harmed)
        exchange(t, conn, 50000)
        t.send("RA")


BAD_SOURCES = GW4, "127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255", REMOTE4


def test_spoofed_sources(start, net):
    """What comes from an address or a MAC that no guest can have opens nothing on the host, and does not change where its traffic goes."""
    passt = start("-t", "8080")
    guest = Guest(passt.socket_path)
    guest.announce()
    with net.remote.listen(REMOTE4) as server, net.remote.udp(REMOTE4) as datagrams:
        port, udp_port = server.getsockname()[1], datagrams.getsockname()[1]
        payload = TCP(sport=5, dport=port, flags="S"), UDP(sport=5, dport=udp_port) / Raw(b"spoofed")
        for l4 in payload:
            guest.send(*(guest.ether() / IP(src=src, dst=REMOTE4) / l4 for src in BAD_SOURCES))
            guest.send(Ether(src=OUR_MAC, dst=OUR_MAC) / IP(src=HOST4, dst=REMOTE4) / l4)
            guest.send(Ether(src="53:54:00:00:00:02", dst=OUR_MAC) / IP(src=HOST4, dst=REMOTE4) / l4)
            guest.send(Ether(src=MAC, dst=OTHER_MAC) / IP(src=HOST4, dst=REMOTE4) / l4)
        guest.send(Ether(src=OTHER_MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(op=2, hwsrc=MAC, psrc=GW4, pdst=GW4))
        guest.send(guest.ether() / ARP(op=2, hwsrc=MAC, psrc=GW4, pdst=HOST4))
        na = ICMPv6ND_NA(tgt=GW6, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=MAC)
        guest.send(Ether(src=MAC, dst="33:33:00:00:00:01") / IPv6(src=GW6, dst="ff02::1", hlim=255) / na)
        guest.announce()
        # What comes after all of these is the first that arrives: a network behind the guest, and the guest itself.
        guest.send(guest.ether() / IP(src="172.17.0.2", dst=REMOTE4) / payload[0])
        guest.udp(REMOTE4, udp_port, b"true")
        conn, _ = server.accept()
        assert datagrams.recv(100) == b"true"
        guest.expect(lambda p: TCP in p and p[TCP].flags.S and p[TCP].flags.A and p[IP].dst == "172.17.0.2", "SYN-ACK to the network behind")
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.accept()
        conn.close()
    # Traffic from outside still goes to the guest's own address.
    with net.remote.socket() as s:
        s.setblocking(False)
        s.connect_ex((HOST4, 8080))
        p = guest.expect(lambda p: TCP in p and p[TCP].dport == 8080, "SYN from outside")
        assert p[IP].dst == HOST4 and p.dst == MAC
    guest.close()


def test_what_has_no_source_yet_gets_through(guest):
    """A guest without an address, and what is sent to groups."""
    frames = valid(guest)
    guest.send_raw(b"".join(struct.pack(">I", len(f)) + f for f in frames[1:5]))
    guest.expect(lambda p: DHCP in p, "DHCP offer")
    guest.expect(lambda p: UDP in p and p[UDP].sport == 547, "DHCPv6 advertisement")
    guest.expect(lambda p: ICMPv6ND_RA in p, "router advertisement")
    guest.expect(lambda p: ICMPv6ND_NA in p, "answer to duplicate address detection")


def syns(guest, dst, n):
    """A SYN each, from and to ports that differ."""
    frame = bytearray(bytes(guest.ip(dst) / TCP(sport=0, dport=0, flags="S", seq=7)))
    for i in range(n):
        struct.pack_into(">HH", frame, 34, 1024 + i, 10000 + i)
        yield bytes(frame)


@pytest.mark.parametrize(("dst", "n"), [(REMOTE4, 50000), (SILENT4, 50000 if LONG else 10000)])
def test_syns(start, net, tmp_path, dst, n):
    """To ports that all refuse, and to where nobody answers. The connection that was there before stays, and the log is not flooded."""
    passt = start("--max-half-open", "2000", "-c", tmp_path / "control")
    guest = Guest(passt.socket_path)
    guest.announce()
    before = passt.memory_kb()
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1], sport=999)
        t.connect()
        conn, _ = server.accept()
    conn.settimeout(20)
    shower(guest, syns(guest, dst, n))
    with control.Control(tmp_path / "control") as c:
        counted = c.get("counters")
        assert counted["gauges"]["half_open"] <= 2000
        if dst == SILENT4:
            assert counted["counters"]["flows_displaced"] >= n - 2000
        else:
            until(lambda: not c.get("counters")["gauges"]["half_open"], "all have been refused")
    rest(guest)
    exchange(t, conn, 20000)
    transfer(net, guest)
    assert passt.memory_kb() - before < MEMORY_KB
    assert passt.output().count("give way") <= 100, "the log is flooded"
    t.send("RA")
    conn.close()
    assert_idle(passt)
    guest.close()


def test_limits_are_those_that_were_asked_for(start, net, tmp_path):
    passt = start("--max-flows", "32", "--max-half-open", "8", "--max-flow-rate", "40", "--max-reassembly", "131072", "-c", tmp_path / "control")
    guest = Guest(passt.socket_path)
    guest.announce()
    shower(guest, syns(guest, SILENT4, 200))
    part = bytes(guest.ip(REMOTE4, flags="MF", frag=0, proto=17) / Raw(bytes(64)))
    rest(guest)
    shower(guest, [part[:18] + struct.pack(">H", i) + part[20:] for i in range(50)])
    guest.barrier()
    with control.Control(tmp_path / "control") as c:
        counted = c.get("counters")
    assert counted["gauges"]["flows_max"] == 32
    assert counted["gauges"]["half_open"] == 8 and counted["gauges"]["flows"] == 8
    assert counted["gauges"]["reassembly"] == 2 and counted["counters"]["reassembly_displaced"] == 48
    assert 100 < counted["counters"]["flows_over_rate"] < 200
    assert counted["counters"]["flows_displaced"] + counted["counters"]["flows_over_rate"] == 192
    assert "The guest begins more than 40 flows a second" in passt.output()
    guest.close()
