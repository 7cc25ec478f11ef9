# SPDX-License-Identifier: MIT
"""
A guest made of scapy: frames over the UNIX socket, each with its length in front (4 bytes, big endian). It answers address resolution
for its own addresses by itself; all else is up to the test.
"""
import random
import socket
import struct
import time

from scapy.config import conf
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw

from .topology import GW4, GW6, HOST4, HOST6
from .wait import LIMIT, Timeout, readable, until

conf.ipv6_enabled = True

MAC = "52:54:00:00:00:02"
OUR_MAC = "9a:55:9a:55:9a:55"  # of the program's side
LL6 = "fe80::5054:ff:fe00:2"
ADDR4, ADDR6 = HOST4, HOST6  # by default the guest has the host's addresses


class Guest:
    def __init__(self, where, addr4=ADDR4, addr6=ADDR6, mac=MAC):
        """where: path of the socket, or a connected socket."""
        self.addr4, self.addr6, self.mac = addr4, addr6, mac
        self.automatic = True
        self.sock = where
        if isinstance(where, str):
            self.sock = socket.socket(socket.AF_UNIX)
            until(lambda: self._connected(where), f"connection to {where}")
        self._buf = b""
        self._queue = []
        self.closed = False

    def _connected(self, path):
        """A socket exists for a moment before it listens."""
        try:
            self.sock.connect(path)
            return True
        except ConnectionRefusedError:
            return False

    # Frames

    def send_raw(self, data):
        self.sock.settimeout(LIMIT)
        self.sock.sendall(data)

    def send(self, *packets):
        """Sends frames, all in one write."""
        frames = [bytes(p) for p in packets]
        self.send_raw(b"".join(struct.pack(">I", len(f)) + f for f in frames))

    def _pop(self):
        if len(self._buf) < 4:
            return None
        n = struct.unpack(">I", self._buf[:4])[0]
        assert 14 <= n <= 65550, f"frame of {n} bytes"
        if len(self._buf) < 4 + n:
            return None
        frame, self._buf = self._buf[4 : 4 + n], self._buf[4 + n :]
        assert n >= 60, f"frame of {n} bytes is not padded"
        return frame

    def recv_raw(self, limit):
        """Next frame as bytes; None at the end of file or when there is none within limit seconds."""
        end = time.monotonic() + limit
        while True:
            frame = self._pop()
            if frame:
                return frame
            wait = end - time.monotonic()
            if self.closed or not readable(max(wait, 0), self.sock):
                return None
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            self.closed = not data
            self._buf += data

    def forget(self):
        """Drops whole frames that have come, without a look: for when they are many. How many they were."""
        data, n = bytearray(self._buf), 0
        self.sock.setblocking(False)
        try:
            while True:
                more = self.sock.recv(1 << 20)
                self.closed = not more
                data += more
                if not more:
                    break
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.closed = True
        self.sock.settimeout(LIMIT)
        at = 0
        while len(data) - at >= 4 and len(data) - at - 4 >= int.from_bytes(data[at : at + 4], "big"):
            at += 4 + int.from_bytes(data[at : at + 4], "big")
            n += 1
        self._buf = bytes(data[at:])
        return n

    def _answer(self, p):
        """Address resolution for our own addresses. True if p was about that."""
        if ARP in p and p[ARP].op == 1 and p[ARP].pdst == self.addr4:
            arp = ARP(op=2, hwsrc=self.mac, psrc=self.addr4, hwdst=p[ARP].hwsrc, pdst=p[ARP].psrc)
            self.send(Ether(src=self.mac, dst=p.src) / arp)
            return True
        if ICMPv6ND_NS in p and p[ICMPv6ND_NS].tgt in (self.addr6, LL6):
            na = ICMPv6ND_NA(tgt=p[ICMPv6ND_NS].tgt, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=self.mac)
            self.send(Ether(src=self.mac, dst=p.src) / IPv6(src=p[ICMPv6ND_NS].tgt, dst=p[IPv6].src) / na)
            return True
        return False

    def recv(self, limit=LIMIT):
        """Next frame as a scapy packet, or None."""
        while True:
            frame = self.recv_raw(limit)
            if frame is None:
                return None
            p = Ether(frame)
            if not (self.automatic and self._answer(p)):
                return p

    def expect(self, match, what, limit=LIMIT):
        """The first frame for which match(packet) holds; others are kept for later calls, in their order."""
        for i, p in enumerate(self._queue):
            if match(p):
                return self._queue.pop(i)
        end = time.monotonic() + limit
        while True:
            p = self.recv(max(end - time.monotonic(), 0))
            if p is None:
                seen = "\n".join("  " + q.summary() for q in self._queue[-20:])
                raise Timeout(f"no {what} within {limit:.0f} s{' (connection closed)' if self.closed else ''}; other frames:\n{seen}")
            if match(p):
                return p
            self._queue.append(p)

    def nothing(self, match, what, seconds=0.3):
        """Fails if a matching frame comes. A barrier that the program answers in order is better where there is one."""
        try:
            p = self.expect(match, what, seconds)
        except Timeout:
            return
        raise AssertionError(f"unexpected {what}: {p.summary()}")

    def barrier(self):
        """Returns when the program has handled every frame sent so far."""
        self.send(self.ether() / ARP(op=1, hwsrc=self.mac, psrc=self.addr4, pdst=GW4))
        self.expect(lambda p: ARP in p and p[ARP].op == 2 and p[ARP].psrc == GW4, "answer to the barrier")

    def drain(self):
        """Forgets what has arrived so far."""
        self.barrier()
        self._queue.clear()

    def wait_closed(self, limit=LIMIT):
        end = time.monotonic() + limit
        while not self.closed:
            if self.recv_raw(max(end - time.monotonic(), 0)) is None and not self.closed:
                raise Timeout(f"connection still open after {limit:.0f} s")

    def close(self):
        self.sock.close()

    # Packets

    def ether(self, dst=OUR_MAC):
        return Ether(src=self.mac, dst=dst)

    def ip(self, dst, **kw):
        """Ethernet and IP header towards dst; ttl or hlim as ttl."""
        ttl = kw.pop("ttl", 64)
        if ":" in dst:
            return self.ether() / IPv6(src=kw.pop("src", self.addr6), dst=dst, hlim=ttl, **kw)
        return self.ether() / IP(src=kw.pop("src", self.addr4), dst=dst, ttl=ttl, **kw)

    def announce(self):
        """Lets the program learn our addresses, as the traffic of any guest does."""
        self.announce4()
        self.announce6()

    def announce4(self):
        self.send(self.ether("ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=self.mac, psrc=self.addr4, pdst=GW4))
        self.expect(lambda p: ARP in p and p[ARP].op == 2, "answer to ARP")

    def announce6(self):
        ns = ICMPv6ND_NS(tgt=GW6)
        self.send(Ether(src=self.mac, dst="33:33:ff:00:00:01") / IPv6(src=self.addr6, dst="ff02::1:ff00:1") / ns)
        self.expect(lambda p: ICMPv6ND_NA in p, "neighbour advertisement")

    def udp(self, dst, dport, payload=b"", sport=4000, **kw):
        self.send(self.ip(dst, **kw) / UDP(sport=sport, dport=dport) / Raw(payload))

    def expect_udp(self, sport, dport=4000, limit=LIMIT):
        p = self.expect(lambda p: UDP in p and p[UDP].sport == sport and p[UDP].dport == dport, f"datagram from port {sport}", limit)
        return bytes(p[UDP].payload)[: p[UDP].len - 8]


def connect_again(passt, make=Guest):
    """A guest that tries, as QEMU does, until it is not turned away any more: the end of the one before may still be on its way."""

    def attempt():
        g = None
        try:
            g = make(passt.socket_path)
            g.announce()
        except (Timeout, OSError):
            if g:
                g.close()
            return None
        return g

    return until(attempt, "a connection that is served")


class PacketGuest(Guest):
    """One frame a message: sequenced packets; or, with a name of its own, datagrams."""

    def __init__(self, where, name=None, **kw):
        if isinstance(where, str):
            path, where = where, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM if name else socket.SOCK_SEQPACKET)
            if name:
                where.bind(name)
            until(lambda: where.connect_ex(path) == 0, f"connection to {path}")
        super().__init__(where, **kw)

    def send(self, *packets):
        for p in packets:
            self.send_raw(bytes(p))

    def recv_raw(self, limit):
        self.sock.settimeout(limit or 0.001)
        try:
            frame = self.sock.recv(1 << 17)
        except (TimeoutError, BlockingIOError):
            return None
        except ConnectionResetError:
            frame = b""
        self.closed = not frame
        assert self.closed or 60 <= len(frame) <= 65550, f"frame of {len(frame)} bytes"
        return frame or None


def checksums_right(p):
    """Whether the checksums in a received packet are what scapy computes for it."""
    frame = bytes(p)
    q = Ether(frame)
    for layer in q.layers():
        for field in "chksum", "cksum":
            if field in q[layer].fields:
                delattr(q[layer], field)
    return bytes(Ether(bytes(q))) == frame


def l3(p):
    return p[IPv6] if IPv6 in p else p[IP]


def payload_of(p):
    """TCP payload without the padding of short frames."""
    ip = l3(p)
    total = ip.plen if IPv6 in p else ip.len - ip.ihl * 4
    return bytes(p[TCP].payload)[: total - p[TCP].dataofs * 4]


class Tcp:
    """The guest's end of one TCP connection, moved by the test step by step."""

    def __init__(self, guest, dst, dport, sport=None, mss=None, wscale=7):
        self.g, self.dst, self.dport = guest, dst, dport
        self.sport = sport or random.randrange(20000, 60000)
        self.seq = random.randrange(1 << 32)
        self.ack = 0
        self.window = 65535
        self.wscale = wscale
        self.mss = mss or (1440 if ":" in dst else 1460)
        self.peer_window = 0
        self.peer_wscale = 0

    def mine(self, p):
        return TCP in p and p[TCP].sport == self.dport and p[TCP].dport == self.sport and l3(p).src == self.dst

    def segment(self, flags, data=b"", seq=None, **kw):
        seq = self.seq if seq is None else seq
        kw.setdefault("window", self.window)
        kw.setdefault("ack", self.ack if "A" in flags else 0)
        t = TCP(sport=self.sport, dport=self.dport, flags=flags, seq=seq % (1 << 32), **kw)
        return self.g.ip(self.dst) / t / Raw(data) if data else self.g.ip(self.dst) / t

    def send(self, flags, data=b"", **kw):
        """Sends a segment and moves on in sequence space."""
        self.g.send(self.segment(flags, data, **kw))
        if "seq" not in kw:
            self.seq = (self.seq + len(data) + ("S" in flags) + ("F" in flags)) % (1 << 32)

    def expect(self, match, what, limit=LIMIT):
        p = self.g.expect(lambda p: self.mine(p) and match(p[TCP]), what, limit)
        if p[TCP].flags.A and not p[TCP].flags.S:
            self.peer_window = p[TCP].window << self.peer_wscale
        return p

    def options(self):
        return [("MSS", self.mss), ("NOP", None), ("WScale", self.wscale)]

    def syn(self):
        self.send("S", options=self.options())

    def _syn_options(self, p):
        opts = dict(o for o in p[TCP].options if o[0] in ("MSS", "WScale"))
        self.peer_wscale = opts.get("WScale", 0)
        self.peer_window = p[TCP].window
        self.ack = (p[TCP].seq + 1) % (1 << 32)
        return opts

    def connect(self):
        """The whole handshake; options of the SYN-ACK."""
        self.syn()
        p = self.expect(lambda t: t.flags.S and t.flags.A, "SYN-ACK")
        assert p[TCP].ack == self.seq
        opts = self._syn_options(p)
        self.send("A")
        return opts

    @classmethod
    def accept(cls, guest, port, wscale=7):
        """Waits for a connection to a port of the guest and takes it."""
        p = guest.expect(lambda p: TCP in p and p[TCP].dport == port and p[TCP].flags.S and not p[TCP].flags.A, f"SYN to port {port}")
        t = cls(guest, l3(p).src, p[TCP].sport, sport=port, wscale=wscale)
        t._syn_options(p)
        t.send("SA", options=t.options())
        t.expect(lambda s: s.flags.A and not s.flags.S and s.ack == t.seq, "end of the handshake")
        return t

    def acked(self, limit=LIMIT):
        """Waits until all that was sent is acknowledged."""
        return self.expect(lambda t: t.flags.A and t.ack == self.seq, "acknowledgement", limit)

    def recv(self, n, ack=True, limit=LIMIT):
        """n bytes of the stream, in order; each segment is acknowledged at once. More than n is an error."""
        got = b""
        while len(got) < n:
            p = self.expect(lambda t: t.seq == self.ack and payload_of_tcp(t), f"data ({len(got)} of {n} bytes came)", limit)
            data = payload_of(p)
            got += data
            self.ack = (self.ack + len(data)) % (1 << 32)
            if ack:
                self.send("A")
        assert len(got) == n, f"{len(got)} bytes instead of {n}"
        return got

    def expect_fin(self, ack=True, limit=LIMIT):
        p = self.expect(lambda t: t.flags.R or t.flags.F and (end_of(t) - self.ack) % (1 << 32) < 1 << 31, "FIN", limit)
        assert not p[TCP].flags.R, "reset instead of FIN"
        assert end_of(p[TCP]) == self.ack, "FIN ahead of data"
        self.ack = (self.ack + 1) % (1 << 32)
        if ack:
            self.send("A")
        return p

    def expect_rst(self, limit=LIMIT):
        return self.expect(lambda t: t.flags.R, "RST", limit)


def end_of(t):
    """The sequence number after the data of a TCP layer."""
    return (t.seq + len(payload_of(t.underlayer.underlayer))) % (1 << 32)


def payload_of_tcp(t):
    """Whether a TCP layer carries data (padding of short frames is not)."""
    return len(payload_of(t.underlayer.underlayer)) > 0
