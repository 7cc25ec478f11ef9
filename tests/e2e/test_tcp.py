# SPDX-License-Identifier: MIT
"""
TCP: connections that the guest opens, step by step, with sockets on the remote side.

    guest (scapy) ---socket--- passt in "host" ---veth--- "remote" (topology.py)
"""
import os
import signal
import socket
import struct
import threading

import pytest
from lab.guest import Guest, Tcp, checksums_right, l3, payload_of, payload_of_tcp
from lab.topology import GW4, GW6, HOST4, REMOTE4, REMOTE6, SILENT4, UNREACHABLE4, UNREACHABLE6
from lab.wait import until
from scapy.layers.inet import ICMP, TCP
from scapy.layers.inet6 import ICMPv6DestUnreach

BOTH = pytest.mark.parametrize("remote", [REMOTE4, REMOTE6], ids=["v4", "v6"])


@pytest.fixture
def pair(net, guest):
    """pair(address): an open connection as (guest's end, remote side's socket)."""
    opened = []

    def connect(remote, **kw):
        with net.remote.listen(remote) as server:
            t = Tcp(guest, remote, server.getsockname()[1], **kw)
            t.connect()
            conn, _ = server.accept()
        conn.settimeout(20)
        opened.append(conn)
        return t, conn

    yield connect
    for conn in opened:
        conn.close()


def read_all(conn, n):
    data = b""
    while len(data) < n:
        more = conn.recv(n - len(data))
        assert more, f"end of file after {len(data)} of {n} bytes"
        data += more
    return data


@BOTH
def test_handshake(net, guest, remote):
    with net.remote.listen(remote) as server:
        t = Tcp(guest, remote, server.getsockname()[1])
        t.syn()
        p = t.expect(lambda s: s.flags.S and s.flags.A, "SYN-ACK")
        assert checksums_right(p) and p[TCP].ack == t.seq and p[TCP].window > 0
        opts = t._syn_options(p)
        assert "WScale" in opts
        overhead = 60 if ":" in remote else 40
        assert opts["MSS"] <= 65520 - overhead and opts["MSS"] >= 1200
        t.send("A")
        conn, peer = server.accept()
        assert peer[0] == (HOST4 if remote == REMOTE4 else "2001:db8::2")
        conn.close()


def test_syn_without_window_scale_gets_none(net, guest):
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.send("S", options=[("MSS", 1460)])
        p = t.expect(lambda s: s.flags.S and s.flags.A, "SYN-ACK")
        assert not [o for o in p[TCP].options if o[0] == "WScale"]


@BOTH
def test_connection_comes_to_be_only_when_the_remote_side_has_it(guest, remote):
    """Nobody listens: the guest must see a refusal, not a connection that dies."""
    t = Tcp(guest, remote, 9)
    t.syn()
    p = t.expect(lambda s: s.flags.R or s.flags.S, "RST")
    assert p[TCP].flags.R and not p[TCP].flags.S
    assert p[TCP].flags.A and p[TCP].ack == t.seq


def test_unreachable_is_told_by_icmp_or_reset(guest):
    t = Tcp(guest, UNREACHABLE4, 80)
    t.syn()
    p = guest.expect(lambda p: (ICMP in p and p[ICMP].type == 3) or t.mine(p), "ICMP destination unreachable")
    assert ICMP in p and p[ICMP].code in (0, 1), p.summary()
    inner = bytes(p[ICMP].payload)
    assert inner[16:20] == socket.inet_aton(UNREACHABLE4) and struct.unpack(">HH", inner[20:24]) == (t.sport, 80)


def test_unreachable_is_told_by_icmpv6_or_reset(guest):
    t = Tcp(guest, UNREACHABLE6, 80)
    t.syn()
    p = guest.expect(lambda p: ICMPv6DestUnreach in p or t.mine(p), "ICMPv6 destination unreachable")
    assert ICMPv6DestUnreach in p, p.summary()
    assert p[ICMPv6DestUnreach].payload.dst == UNREACHABLE6


def test_silence_is_answered_with_silence(guest):
    t = Tcp(guest, SILENT4, 80)
    t.syn()
    guest.barrier()
    guest.nothing(t.mine, "answer for a host that drops everything")


@BOTH
def test_data_to_remote(pair, remote):
    t, conn = pair(remote)
    t.send("PA", b"hello")
    assert read_all(conn, 5) == b"hello"
    t.acked()


@BOTH
def test_data_to_guest(pair, remote):
    t, conn = pair(remote)
    conn.sendall(b"hello")
    p = t.expect(payload_of_tcp, "data")
    assert payload_of(p) == b"hello" and p[TCP].flags.P and checksums_right(p)


@BOTH
def test_segments_fit_into_the_guests_mss(pair, remote):
    t, conn = pair(remote, mss=600)
    conn.sendall(bytes(5000))
    got = 0
    while got < 5000:
        p = t.expect(lambda s: s.seq == t.ack and payload_of_tcp(s), "data")
        n = len(payload_of(p))
        assert n <= 600
        got += n
        t.ack += n
        t.send("A")


def test_bulk_to_guest_is_intact(pair):
    t, conn = pair(REMOTE4, mss=1460)
    data = bytes(range(256)) * 512
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    conn.sendall(data)
    assert t.recv(len(data)) == data


def test_bulk_to_remote_is_intact(pair):
    """The guest sends as much as it is invited to, never waiting for a timer: nothing of it may be lost."""
    t, conn = pair(REMOTE4)
    data = bytes(range(256)) * 1024
    base, sent, acked, window = t.seq, 0, 0, t.peer_window or 65535
    got = []
    reader = threading.Thread(target=lambda: got.append(read_all(conn, len(data))))
    reader.start()
    while acked < len(data):
        while sent < len(data) and sent - acked + 1400 <= window:
            chunk = data[sent : sent + 1400]
            t.g.send(t.segment("A", chunk, seq=base + sent))
            sent += len(chunk)
        p = t.expect(lambda s: s.flags.A, "acknowledgement")
        acked = max(acked, (p[TCP].ack - base) % (1 << 32))
        assert acked <= sent, "acknowledged what was not sent"
        window = p[TCP].window << t.peer_wscale
    reader.join(60)
    assert got == [data]


# Ends


@BOTH
def test_fin_from_guest_then_from_remote(pair, remote):
    t, conn = pair(remote)
    t.send("FA", b"last")
    t.acked()
    assert read_all(conn, 4) == b"last" and conn.recv(1) == b""
    conn.sendall(b"answer")
    assert t.recv(6) == b"answer"
    conn.close()
    t.expect_fin()


@BOTH
def test_fin_from_remote_then_from_guest(pair, remote):
    t, conn = pair(remote)
    conn.sendall(b"bye")
    conn.shutdown(socket.SHUT_WR)
    assert t.recv(3) == b"bye"
    t.expect_fin()
    for i in range(5):
        t.send("PA", b"still here %d" % i)
        assert read_all(conn, 12) == b"still here %d" % i
    t.send("FA")
    t.acked()
    assert conn.recv(1) == b""


@BOTH
def test_reset_from_guest_arrives_as_reset(pair, remote):
    t, conn = pair(remote)
    t.send("PA", b"x")
    t.acked()
    read_all(conn, 1)
    t.send("RA")
    with pytest.raises(ConnectionResetError):
        conn.recv(1)


@BOTH
def test_reset_from_remote_arrives_as_reset(pair, remote):
    t, conn = pair(remote)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conn.close()
    p = t.expect_rst()
    assert p[TCP].seq == t.ack and checksums_right(p)


def test_reset_outside_the_window_is_ignored(pair):
    """RFC 5961: an attacker who guesses must not be able to end a connection."""
    t, conn = pair(REMOTE4)
    t.g.send(t.segment("R", seq=t.seq + 0x40000000))
    t.send("PA", b"alive")
    assert read_all(conn, 5) == b"alive"


def test_orderly_close_is_not_a_reset(pair):
    t, conn = pair(REMOTE4)
    conn.close()
    t.expect_fin()
    t.send("FA")
    t.expect(lambda s: s.flags.A and s.ack == t.seq or s.flags.R, "acknowledgement of our FIN")


def test_data_for_no_connection_gets_a_reset(guest):
    t = Tcp(guest, REMOTE4, 80)
    t.ack = 99
    t.send("PA", b"what?")
    p = t.expect_rst()
    assert p[TCP].seq == 99


def test_port_can_be_used_again_after_both_ends_closed(net, guest):
    with net.remote.listen(REMOTE4) as server:
        for _ in range(3):
            t = Tcp(guest, REMOTE4, server.getsockname()[1], sport=33333)
            t.connect()
            conn, _ = server.accept()
            t.send("FA")
            t.acked()
            conn.close()
            t.expect_fin()
            guest.barrier()


def test_end_that_comes_with_the_beginning(passt, net, guest):
    """All that the remote side has to say, its FIN included, is there before the program learns that it is connected."""
    net.remote.ip("route", "add", "blackhole", f"{HOST4}/32")
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.syn()
        until(lambda: REMOTE4 in net.host.run("ss", "-tn", "state", "syn-sent").stdout, "connect() of the program")
        os.kill(passt.pid, signal.SIGSTOP)
        net.remote.ip("route", "del", "blackhole", f"{HOST4}/32")
        conn, _ = server.accept()
        with conn:
            conn.sendall(b"hello and goodbye")
            conn.shutdown(socket.SHUT_WR)
            until(lambda: REMOTE4 in net.host.run("ss", "-tn", "state", "close-wait").stdout, "FIN is there")
            os.kill(passt.pid, signal.SIGCONT)
            p = t.expect(lambda s: s.flags.S and s.flags.A, "SYN-ACK")
            t._syn_options(p)
            t.send("A")
            assert t.recv(17) == b"hello and goodbye"
            t.expect_fin()
            t.send("PA", b"and we")
            assert read_all(conn, 6) == b"and we"


# Loss, order, windows


def test_lost_acknowledgement_is_made_up_for(pair):
    """The guest sends a segment again that had arrived: it must be acknowledged again, and delivered once."""
    t, conn = pair(REMOTE4)
    first = t.segment("PA", b"once")
    t.send("PA", b"once")
    t.acked()
    t.g.send(first)
    t.acked()
    t.send("PA", b"more")
    assert read_all(conn, 8) == b"oncemore"


def test_data_is_sent_again_until_acknowledged(pair):
    t, conn = pair(REMOTE4)
    conn.sendall(b"again")
    seen = [t.expect(lambda s: payload_of_tcp(s) and s.seq == t.ack, "data") for _ in range(3)]
    assert [payload_of(p) for p in seen] == [b"again"] * 3
    assert t.recv(5) == b"again"


def test_three_duplicate_acks_bring_fast_retransmission(pair):
    t, conn = pair(REMOTE4)
    conn.sendall(bytes(1460 * 10))
    for i in range(10):
        t.expect(lambda s: s.seq == (t.ack + 1460 * i) % (1 << 32), f"segment {i}")
    for _ in range(3):
        t.send("A")
    # Once what is sent for them, and the end of the turn in which they were handled, is behind us.
    t.g.barrier()
    t.g.barrier()
    t.expect(lambda s: s.seq == t.ack and payload_of_tcp(s), "retransmission", 0)
    assert t.recv(1460 * 10) == bytes(1460 * 10)


def test_fin_is_sent_again(pair):
    t, conn = pair(REMOTE4)
    conn.shutdown(socket.SHUT_WR)
    t.expect_fin(ack=False)
    t.ack -= 1
    t.expect_fin(ack=True)


def test_segments_out_of_order(pair):
    t, conn = pair(REMOTE4)
    base = t.seq
    t.g.send(t.segment("PA", b"cc", seq=base + 4))
    p = t.expect(lambda s: s.flags.A, "duplicate acknowledgement")
    assert p[TCP].ack == base, "acknowledged ahead of a gap"
    t.g.send(t.segment("PA", b"bb", seq=base + 2), t.segment("PA", b"aa", seq=base))
    acked = 0
    while acked < 6:
        p = t.expect(lambda s: s.flags.A, "acknowledgement")
        acked = max(acked, (p[TCP].ack - base) % (1 << 32))
        for off, data in (0, b"aa"), (2, b"bb"), (4, b"cc"):
            if acked == off:
                t.g.send(t.segment("PA", data, seq=base + off))
    assert read_all(conn, 6) == b"aabbcc"


def test_overlapping_segments(pair):
    t, conn = pair(REMOTE4)
    base = t.seq
    t.g.send(t.segment("PA", b"abcd", seq=base), t.segment("PA", b"cdef", seq=base + 2))
    t.seq = base + 6
    t.acked()
    assert read_all(conn, 6) == b"abcdef"


def test_fin_after_a_gap_does_not_count(pair):
    t, conn = pair(REMOTE4)
    base = t.seq
    t.g.send(t.segment("FA", b"end", seq=base + 5))
    t.g.barrier()
    conn.settimeout(0.3)
    with pytest.raises(TimeoutError):
        conn.recv(1)
    conn.settimeout(20)
    t.g.send(t.segment("PA", b"begin", seq=base), t.segment("FA", b"end", seq=base + 5))
    assert read_all(conn, 8) == b"beginend" and conn.recv(1) == b""


def test_window_is_honest_and_reopens(pair):
    """The remote side doesn't read: the window closes without data being dropped, and opens again when it reads."""
    t, conn = pair(REMOTE4)
    base, sent, acked, window = t.seq, 0, 0, t.peer_window or 64000
    while True:
        if window - (sent - acked) <= 0:
            break
        n = min(16000, window - (sent - acked))
        t.g.send(t.segment("A", bytes([sent // 16000 % 256]) * n, seq=base + sent))
        sent += n
        while acked < sent:
            p = t.expect(lambda s: s.flags.A, "acknowledgement of data that was invited")
            acked, window = (p[TCP].ack - base) % (1 << 32), p[TCP].window << t.peer_wscale
            if not window:
                break
        assert sent < 64 << 20, "window never closes"
    got = 0
    while got < acked:
        got += len(conn.recv(1 << 20))
    t.expect(lambda s: s.flags.A and s.window, "window update")
    while got < sent:
        got += len(conn.recv(1 << 20))
    assert got == sent


def test_zero_window_of_guest(pair):
    """Not a byte comes while the guest's window is closed but probes; all comes when it opens."""
    t, conn = pair(REMOTE4)
    t.window = 0
    t.send("A")
    t.g.barrier()
    conn.sendall(bytes(10000))
    probe = t.expect(lambda s: True, "zero-window probe")
    assert len(payload_of(probe)) <= 1
    t.window = 65535
    t.send("A")
    assert t.recv(10000) == bytes(10000)


def test_guest_window_is_respected(pair):
    t, conn = pair(REMOTE4, wscale=0)
    t.window = 3000
    t.send("A")
    t.g.barrier()
    conn.sendall(bytes(20000))
    start, end = t.ack, t.ack + 3000
    got = 0
    while got < 20000:
        p = t.expect(payload_of_tcp, "data")
        last = (p[TCP].seq + len(payload_of(p)) - start) % (1 << 32)
        assert last <= end - start, "beyond the window"
        if p[TCP].seq == t.ack:
            got += len(payload_of(p))
            t.ack = (t.ack + len(payload_of(p))) % (1 << 32)
            end = start + got + 3000
            t.send("A")


def test_keepalive_is_answered(pair):
    t, conn = pair(REMOTE4)
    t.send("PA", b"x")
    t.acked()
    t.g.send(t.segment("A", seq=t.seq - 1))
    t.acked()
    assert read_all(conn, 1) == b"x"


def test_checksum_from_guest_may_be_partial(net, guest):
    """Hypervisors without offload negotiation send such frames: L4 checksums of the guest are not looked at."""
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.connect()
        conn, _ = server.accept()
        t.send("PA", b"partial", chksum=0x1234)
        assert read_all(conn, 7) == b"partial"
        conn.close()


def test_large_frame_whatever_the_mtu(start, net):
    """Superframes of a guest that believes in offloads."""
    guest = Guest(start("-m", "1500").socket_path)
    guest.announce()
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.connect()
        conn, _ = server.accept()
        data = bytes(range(250)) * 200
        t.peer_window = max(t.peer_window, 65535)
        t.send("PA", data)
        assert read_all(conn, len(data)) == data
        t.acked()
        conn.close()
    guest.close()


def test_many_connections_at_once(net, guest):
    with net.remote.listen(REMOTE4, backlog=256) as server:
        port = server.getsockname()[1]
        ends = [Tcp(guest, REMOTE4, port, sport=30000 + i) for i in range(100)]
        for t in ends:
            t.syn()
        for t in ends:
            p = t.expect(lambda s: s.flags.S and s.flags.A, "SYN-ACK")
            t._syn_options(p)
            t.send("PA", b"%05d" % t.sport)
        conns = [server.accept()[0] for _ in ends]
        assert sorted(read_all(c, 5) for c in conns) == [b"%05d" % t.sport for t in ends]
        for c in conns:
            c.close()


# The host itself


def test_gateway_is_the_hosts_loopback(net, guest):
    for gateway, loopback in (GW4, "127.0.0.1"), (GW6, "::1"):
        with net.host.listen(loopback) as server:
            t = Tcp(guest, gateway, server.getsockname()[1])
            t.connect()
            conn, peer = server.accept()
            assert peer[0] == loopback
            conn.sendall(b"loopback")
            assert t.recv(8) == b"loopback"
            conn.close()


def test_no_map_gw(start, net):
    """Then the gateway is the real one."""
    guest = Guest(start("--no-map-gw").socket_path)
    guest.announce()
    with net.host.listen("127.0.0.1", 8123), net.remote.listen(GW4, 8123) as real:
        t = Tcp(guest, GW4, 8123)
        t.connect()
        real.accept()[0].close()
    guest.close()


def test_map_host_loopback_and_map_guest_addr(start, net):
    guest = Guest(start("--map-host-loopback", "192.0.2.8", "--map-guest-addr", "192.0.2.9").socket_path)
    guest.announce()
    for mapped, real in ("192.0.2.8", "127.0.0.1"), ("192.0.2.9", HOST4):
        with net.host.listen(real) as server:
            t = Tcp(guest, mapped, server.getsockname()[1])
            t.connect()
            server.accept()[0].close()
    guest.close()


def test_no_tcp(start, net):
    guest = Guest(start("--no-tcp").socket_path)
    guest.announce()
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.syn()
        guest.barrier()
        guest.nothing(lambda p: t.mine(p) and p[TCP].flags.S, "SYN-ACK", 0)
    guest.close()


def test_sockets_are_released(passt, net, guest):
    """After many short connections no descriptor stays behind."""

    def descriptors():
        return len(os.listdir(f"/proc/{passt.pid}/fd"))

    def readable():
        try:
            return descriptors()
        except PermissionError:
            pytest.skip("not allowed to look at the process")

    before = readable()
    with net.remote.listen(REMOTE4) as server:
        for _ in range(50):
            t = Tcp(guest, REMOTE4, server.getsockname()[1])
            t.connect()
            conn, _ = server.accept()
            conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            conn.close()
            t.expect_rst()
    until(lambda: descriptors() <= before, f"descriptors go back to {before}")


