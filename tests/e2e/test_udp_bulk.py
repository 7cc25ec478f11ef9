# SPDX-License-Identifier: MIT
"""
Many datagrams at once: each arrives as it was sent, whatever they are put together to on the way.

    guest (a namespace) --tap, with superframes or without-- pasta in "host" ---veth--- "remote" (topology.py)
    guest (a namespace) --tap-- wire.c --socket-- passt in "host" ---veth--- "remote"
    client on a loopback --- pasta --- server on the other loopback
"""
import errno
import os
import platform
import random
import socket
import struct

import pytest
from lab import refuse
from lab.netns import family_of
from lab.topology import REMOTE4, REMOTE6
from lab.wire import WireGuest

UDP_SEGMENT, UDP_GRO = 103, 104
ETH_P_ALL, SOL_PACKET, PACKET_OUTGOING, PACKET_VNET_HDR = 3, 263, 4, 15
GSO_UDP_L4 = 5  # of struct virtio_net_hdr
NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
LO = {"v4": "127.0.0.1", "v6": "::1"}
FAMILIES = pytest.mark.parametrize("family", REMOTE)
MTU = 1500
HLEN = {"v4": 28, "v6": 48}  # of IP and UDP
CHUNK = 48 << 10  # payload on its way at a time, and datagrams: what every socket buffer has room for
CHUNK_DATAGRAMS = 40


def kernel():
    return tuple(int(n) for n in platform.release().split(".")[:2])


def send(s, to, data, seg=0):
    """One datagram, or several of seg bytes."""
    control = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", seg))] if 0 < seg < len(data) else []
    s.sendmsg([data], control, 0, to)


def plan(family, rng):
    """Chunks, each a list of (bytes, size of the datagrams): what one process sends without a break."""
    full = MTU - HLEN[family]
    for seg in 1, 64, 600, 1000, full - 1, full:
        most = min(CHUNK_DATAGRAMS, CHUNK // seg)
        for n, last in (most, 0), (most - 1, 1), (most - 1, seg - 1), (2, 0):
            yield [(n * seg + last, seg)]
        # One after the other, and in several pieces.
        yield [(seg, 0)] * most
        yield [(seg * (most // 4), seg), (seg, 0), (seg * (most // 4) + 1, seg), (0, 0), (seg * (most // 4), seg)]
    for _ in range(40):
        chunk, left, count = [], CHUNK, CHUNK_DATAGRAMS
        while left > 0 and count > 0:
            seg = rng.choice([0, 1, 10, 100, 500, full - 1, full, full, full + 1, rng.randrange(1, 4000), rng.randrange(1, 20000)])
            n = rng.randrange(1, 20) if 0 < seg <= full and rng.random() < 0.5 else 1
            size = n * seg + (rng.randrange(seg) if n > 1 else 0)
            for _ in range(rng.choice([1, 1, 1, 5])):
                left, count = left - size, count - n - 1
                if left < 0 or count < 0:
                    break
                chunk.append((size, seg))
        yield chunk


def transfer(sender, to, receiver, family, seed):
    """Sends all of it, chunk by chunk, and compares every datagram."""
    rng = random.Random(seed)
    blob = os.urandom(1 << 17)
    receiver.settimeout(20)
    number = 0
    for chunk in plan(family, rng):
        sent = []
        for size, seg in chunk:
            number += 1
            data = blob[number % 5000 :][:size]
            send(sender, to, data, seg)
            sent += [data[i : i + seg] for i in range(0, size, seg)] if seg and size else [data]
        for i, expected in enumerate(sent):
            got = receiver.recv(1 << 16)
            assert len(got) == len(expected), f"datagram {i} of {[len(d) for d in sent]}"
            assert got == expected, f"content of datagram {i} of {len(sent)}"


def both_ways(client, server, to, family):
    """In turns, so that what either direction has learned does not matter for the other."""
    for s in client, server:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    client.sendto(b"hello", to)
    _, back = server.recvfrom(100)
    for seed in range(2):
        transfer(client, to, server, family, seed)
        transfer(server, back, client, family, 10 + seed)


def any_of(family):
    return "::" if family == "v6" else "0.0.0.0"


class Superframes:
    """Whether frames of several datagrams passed an interface, (from the guest, to it), while this is open."""

    def __init__(self, ns, dev):
        self._socket = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self._socket.bind((dev, ETH_P_ALL))

    def seen(self):
        found = set()
        self._socket.settimeout(0.1)
        try:
            while True:
                data, address = self._socket.recvfrom(1 << 17)
                if data[1] & 0x7F == GSO_UDP_L4:
                    found.add("from" if address[2] == PACKET_OUTGOING else "to")
        except TimeoutError:
            return found

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()


@pytest.mark.parametrize("more", [[], ["--no-handover"]], ids=["annex", "tap"])
@FAMILIES
def test_tap_with_superframes(net, pasta, family, more):
    p = pasta("--config-net", "-m", MTU, *NONE, *more)
    to = (REMOTE[family], 6000)
    with net.remote.udp(*to) as server, p.ns.udp(any_of(family)) as client:
        both_ways(client, server, to, family)
        with Superframes(p.ns, "eth0") as frames:
            client.sendto(b"hello", to)
            _, back = server.recvfrom(100)
            for _ in range(3):
                send(client, to, bytes(30000), 1000)
                assert [len(server.recv(1 << 16)) for _ in range(30)] == [1000] * 30
                send(server, back, bytes(30000), 1000)
                assert [len(client.recv(1 << 16)) for _ in range(30)] == [1000] * 30
            assert frames.seen() == ({"from", "to"} if kernel() >= (6, 2) else set())


@FAMILIES
def test_tap_without_superframes(net, pasta, family):
    p = pasta("--config-net", "--no-handover", "-m", MTU, *NONE, prefix=refuse.prefix(errno.EINVAL, refuse.TUNSETOFFLOAD))
    to = (REMOTE[family], 6000)
    with net.remote.udp(*to) as server, p.ns.udp(any_of(family)) as client, Superframes(p.ns, "eth0") as frames:
        both_ways(client, server, to, family)
        # Those of the guest itself are cut up before they reach its interface, or on their way out of it.
        assert "to" not in frames.seen()


@FAMILIES
def test_stream_socket(net, start, tmp_path, family):
    guest = WireGuest(net.host, start("-m", MTU), str(tmp_path))
    to = (REMOTE[family], 6000)
    with net.remote.udp(*to) as server, guest.udp(any_of(family)) as client:
        both_ways(client, server, to, family)
    guest.close()


@pytest.mark.parametrize("direction", ["in", "out"])
@FAMILIES
def test_loopback(net, pasta, family, direction):
    p = pasta("--splice-only", "-t", "none", "-u", "8080", "-T", "none", "-U", "8081")
    there, here, port = (p.ns, net.host, 8080) if direction == "in" else (net.host, p.ns, 8081)
    with there.udp(LO[family], port) as server, here.udp(LO[family]) as client:
        both_ways(client, server, (LO[family], port), family)


@FAMILIES
def test_receiver_that_takes_several_at_once(net, pasta, family):
    """What the guest sends in one piece reaches a host that wants it so in one piece; it knows where each datagram ends."""
    p = pasta("--config-net", "-m", MTU, *NONE)
    to = (REMOTE[family], 6000)
    with net.remote.udp(*to) as server, p.ns.udp(any_of(family)) as client:
        server.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        data = os.urandom(20100)
        for _ in range(3):
            send(client, to, data, 1000)
            got, messages = b"", 0
            while len(got) < len(data):
                part, anc, _, _ = server.recvmsg(1 << 16, 100)
                assert not anc or struct.unpack("i", anc[0][2])[0] == 1000
                got += part
                messages += 1
            assert got == data and messages <= (4 if kernel() >= (6, 2) else 21)


def test_long_datagrams_on_a_short_path(net, pasta):
    """Where the host's link takes no datagrams of this size, nothing leaves together; what the guest allows to be cut arrives all the same."""
    p = pasta("--config-net", "--no-handover", "-m", "9000", *NONE)
    to = (REMOTE4, 6000)
    net.host.ip("route", "add", f"{REMOTE4}/32", "via", "192.0.2.1", "mtu", "lock", "1400")
    try:
        with net.remote.udp(*to) as server, p.ns.udp("0.0.0.0") as client:
            client.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER: IP_PMTUDISC_DONT
            for size in 1300, 1500, 3000, 1300:
                for _ in range(3):
                    data = os.urandom(10 * size)
                    send(client, to, data, size)
                    assert b"".join(server.recv(1 << 16) for _ in range(10)) == data
    finally:
        net.host.ip("route", "del", f"{REMOTE4}/32")
