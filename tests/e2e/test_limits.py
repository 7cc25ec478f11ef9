# SPDX-License-Identifier: MIT
"""
Guests that misbehave, and descriptors that run out: memory stays bounded, and nothing spins.

    guest (scapy) ---socket--- passt in "host" ---veth--- "remote" (topology.py)
"""
import contextlib
import random
import socket
import struct

import pytest
from lab import servers
from lab.control import Control
from lab.guest import Guest, Tcp
from lab.program import assert_idle, descriptors_left
from lab.topology import GW4, HOST4, REMOTE4, REMOTE6
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw


def test_idle(passt, guest):
    assert_idle(passt)


def connection(net, guest, **kw):
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1], **kw)
        t.connect()
        conn, _ = server.accept()
    conn.settimeout(20)
    return t, conn


def fill(conn):
    """Writes until nothing more is taken for a while."""
    conn.settimeout(0.5)
    sent = 0
    try:
        while True:
            sent += conn.send(bytes(1 << 16))
    except TimeoutError:
        return sent


def test_guest_that_stops_reading_its_socket(passt, net, guest):
    """A paused VM: data for it waits in the kernel, not in our memory, and all of it arrives afterwards."""
    before = passt.memory_kb()
    t, conn = connection(net, guest, wscale=10, mss=16000)
    sent = fill(conn)
    assert_idle(passt)
    assert passt.memory_kb() - before < 64 << 10
    conn.shutdown(socket.SHUT_WR)
    assert len(t.recv(sent, limit=60)) == sent
    t.expect_fin()
    conn.close()


def test_udp_flood_to_a_guest_that_does_not_read(start, net):
    passt = start("-u", "5000")
    guest = Guest(passt.socket_path)
    guest.announce()
    before = passt.memory_kb()
    with net.remote.udp(REMOTE4) as s:
        for _ in range(20000):
            s.sendto(bytes(1000), (HOST4, 5000))
    assert_idle(passt)
    assert passt.memory_kb() - before < 64 << 10
    guest._queue.clear()
    while guest.recv_raw(0.2):
        pass
    guest.announce()
    guest.close()


def test_guest_that_never_acknowledges(passt, net, guest):
    t, conn = connection(net, guest)
    fill(conn)
    while guest.recv_raw(0.1):
        pass
    assert_idle(passt)
    conn.close()
    t.send("RA")


def test_remote_that_does_not_read(passt, net, guest):
    """Window zero for the guest: no wake-ups meanwhile."""
    t, conn = connection(net, guest)
    base, sent = t.seq, 0
    while True:
        window = t.peer_window or 65535
        t.g.send(t.segment("A", bytes(min(window, 32768)), seq=base + sent))
        sent += min(window, 32768)
        p = t.expect(lambda s: s.flags.A, "acknowledgement")
        t.peer_window = p[TCP].window << t.peer_wscale
        if not p[TCP].window or (p[TCP].ack - base) % (1 << 32) < sent:
            break
    assert_idle(passt)
    conn.close()


def test_half_closed_connection_is_quiet(passt, net, guest):
    t, conn = connection(net, guest)
    conn.shutdown(socket.SHUT_WR)
    t.expect_fin()
    assert_idle(passt)
    t.send("FA")
    t.acked()
    conn.close()


def test_connection_without_a_guest_is_quiet(start, net):
    passt = start("-t", "8080")
    guest = Guest(passt.socket_path)
    guest.announce()
    s = net.remote.socket()
    s.setblocking(False)
    s.connect_ex((HOST4, 8080))
    t = Tcp.accept(guest, 8080)
    s.settimeout(20)
    s.sendall(b"data")
    t.recv(4)
    guest.close()
    s.sendall(b"more data that nobody takes")
    assert_idle(passt)
    s.close()


@pytest.mark.parametrize("left", [0, 3])
def test_no_descriptors(start, net, tmp_path, left):
    """With some sockets in stock for the guest. Who is there goes on, whoever else comes from outside waits, and then all is well."""
    passt = start("-t", "8080", "-c", tmp_path / "control")
    guest = Guest(passt.socket_path)
    guest.announce()
    old, conn = connection(net, guest)
    with net.remote.listen(REMOTE4) as server, contextlib.ExitStack() as stack:
        with descriptors_left(passt, left):
            for _ in range(30):
                Tcp(guest, REMOTE4, server.getsockname()[1]).syn()
            for _ in range(5):
                s = stack.enter_context(net.remote.socket())
                s.setblocking(False)
                s.connect_ex((HOST4, 8080))
            control = stack.enter_context(Control(tmp_path / "control"))
            control.send({"do": "hello"})
            old.send("A", b"data")
            assert conn.recv(4) == b"data"
            conn.sendall(b"answer")
            assert old.recv(6) == b"answer"
            assert_idle(passt)
            assert "Can't accept a connection of" in passt.output() or left
        assert control.recv()["ok"]
        for _ in range(5):
            Tcp.accept(guest, 8080).send("RA")
    new, other = connection(net, guest)
    other.sendall(b"more")
    assert new.recv(4) == b"more"
    conn.close()
    other.close()
    guest.close()


def from_ports(packet, ports):
    """A packet of TCP or UDP from each of the ports; what scapy would take long to make. Nobody looks at the checksum."""
    frame = bytes(packet)
    return [frame[:34] + struct.pack(">H", port) + frame[36:] for port in ports]


def test_many_udp_flows_are_bounded(passt, net, guest):
    """A guest that scans ports: old flows make room, or new ones are refused, and the program goes on."""
    before = passt.memory_kb()
    echo = servers.udp_echo(net.remote.udp(REMOTE4))
    for start in range(1024, 61024, 2000):
        guest.send(*from_ports(guest.ip(REMOTE4) / UDP(dport=9) / Raw(b"x"), range(start, start + 2000, 5)))
        while guest.recv_raw(0):
            pass
    guest.barrier()
    assert passt.memory_kb() - before < 64 << 10
    echo.close()


def test_syn_flood_is_bounded(passt, guest):
    before = passt.memory_kb()
    for start in range(1, 60001, 1000):
        guest.send(*from_ports(guest.ip(GW4) / TCP(dport=4999, flags="S"), range(start, start + 1000, 5)))
        while guest.recv_raw(0):
            pass
    guest.barrier()
    assert passt.memory_kb() - before < 64 << 10


def mutations(rnd, seeds, n):
    for _ in range(n):
        frame = bytearray(rnd.choice(seeds))
        for _ in range(rnd.randrange(1, 6)):
            frame[rnd.randrange(14, len(frame))] = rnd.randrange(256)
        if rnd.random() < 0.3:
            frame = frame[: rnd.randrange(14, len(frame) + 1)]
        yield bytes(frame)


@pytest.mark.parametrize("seed", range(4))
def test_broken_frames(passt, guest, seed):
    """Nothing that a guest sends can end the process."""
    seeds = [bytes(p) for p in (
        guest.ip(REMOTE4) / TCP(sport=1, dport=2, flags="S", options=[("MSS", 1460), ("WScale", 7)]),
        guest.ip(REMOTE6) / TCP(sport=1, dport=2, flags="PA") / Raw(b"data"),
        guest.ip(REMOTE4) / UDP(sport=68, dport=67) / Raw(bytes(300)),
        guest.ip(REMOTE6) / UDP(sport=546, dport=547) / Raw(bytes(60)),
        guest.ether() / IP(src=guest.addr4, dst=REMOTE4, flags="MF", frag=1, proto=17) / Raw(bytes(80)),
        guest.ether() / IPv6(src=guest.addr6, dst=REMOTE6, nh=44) / Raw(bytes(80)),
        guest.ether() / IPv6(src=guest.addr6, dst=REMOTE6, nh=0) / Raw(bytes(80)),
    )]
    rnd = random.Random(seed)
    for _ in range(10):
        guest.send(*mutations(rnd, seeds, 100))
        while guest.recv_raw(0):
            pass
    guest.barrier()
    assert passt.alive()
