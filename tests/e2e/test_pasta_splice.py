# SPDX-License-Identifier: MIT
"""
Connections and datagrams from loopback to loopback, in both directions: every byte, every end of file, every order of closing.
"""
import hashlib
import itertools
import os
import random
import socket
import struct
import threading

import pytest
from lab.streams import drain, send_all, told
from lab.wait import until

MODES = [["--splice-only"], ["--config-net", "--host-lo-to-ns-lo"]]
PORTS = ["-t", "8080", "-u", "8080", "-T", "8081", "-U", "8081"]
MOST = 256 << 20  # more than all socket buffers on the way
LO = {"v4": "127.0.0.1", "v6": "::1"}


@pytest.fixture(params=["in", "out"])
def ends(request, net, pasta):
    """connect(family) -> (client, server): the two sockets that pasta stands between; and pasta."""
    p = pasta("--splice-only", *PORTS)
    there, here, port = (p.ns, net.host, 8080) if request.param == "in" else (net.host, p.ns, 8081)
    listeners = {f: there.listen(lo, port) for f, lo in LO.items()}
    made = []

    def connect(family="v4"):
        client = here.connect(LO[family], port)
        server, _ = listeners[family].accept()
        server.settimeout(20)
        made.extend((client, server))
        return client, server

    connect.pasta, connect.there, connect.here, connect.port = p, there, here, port
    yield connect
    for s in itertools.chain(made, listeners.values()):
        s.close()


def reset(s):
    """Closes with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@pytest.mark.parametrize("family", LO)
def test_both_directions_at_once(ends, family):
    client, server = ends(family)
    pieces = random.Random(1)
    blobs = os.urandom(6 << 20), os.urandom(5 << 20)
    senders = [threading.Thread(target=send_all, args=(s, b, lambda: pieces.choice((1, 7, 1448, 70000, 300000)) if pieces.random() < 0.5 else 65536))
               for s, b in zip((client, server), blobs)]
    got = {}
    takers = [threading.Thread(target=lambda s=s, k=k: got.__setitem__(k, drain(s))) for k, s in (("server", server), ("client", client))]
    for t in senders + takers:
        t.start()
    for t in senders + takers:
        t.join(60)
    assert got["server"] == told(blobs[0])
    assert got["client"] == told(blobs[1])


def test_a_reader_that_is_slow(ends):
    """What does not fit anywhere waits at the sender, and nothing is lost when it goes on."""
    client, server = ends()
    block, h, sent, idle = os.urandom(1 << 20), hashlib.sha256(), 0, 0
    client.setblocking(False)
    while sent < MOST and idle < 20:
        at = sent % len(block)
        try:
            n = client.send(block[at:])
        except BlockingIOError:
            idle += 1
            threading.Event().wait(0.01)
            continue
        h.update(block[at : at + n])
        sent, idle = sent + n, 0
    assert sent < MOST, "somebody takes everything"
    client.settimeout(20)
    t = threading.Thread(target=send_all, args=(client, block))
    t.start()
    h.update(block)
    assert drain(server) == (sent + len(block), h.hexdigest())
    t.join(60)


@pytest.mark.parametrize("family", LO)
@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close(ends, family, first):
    """The other direction goes on, for any number of words."""
    pair = ends(family)
    closes, goes_on = pair if first == "client" else pair[::-1]
    closes.sendall(b"last words")
    closes.shutdown(socket.SHUT_WR)
    assert drain(goes_on)[0] == 10
    for i in range(5):
        goes_on.sendall(b"%d" % i)
        assert closes.recv(10) == b"%d" % i
    goes_on.close()
    assert closes.recv(1) == b""


@pytest.mark.parametrize("family", LO)
@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close_with_much_to_come(ends, family, first):
    """In both directions, one after the other, more than fits anywhere on the way."""
    pair = ends(family)
    closes, goes_on = pair if first == "client" else pair[::-1]
    for source, sink in (closes, goes_on), (goes_on, closes):
        blob = os.urandom(9 << 20)
        t = threading.Thread(target=send_all, args=(source, blob))
        t.start()
        assert drain(sink) == told(blob)
        t.join(60)
    settled(ends)


STEPS = [("client", "write"), ("client", "shut"), ("server", "write"), ("server", "shut")]
ORDERS = [order for order in itertools.permutations(STEPS)
          if all(order.index((who, "write")) < order.index((who, "shut")) for who in ("client", "server"))]


def test_every_order_of_words_and_ends(ends):
    """Each side says its words and ends; in every order, closed at last by either side first. The other side gets the words and the end."""
    words = {who: os.urandom(20000) for who in ("client", "server")}
    got = {who: told(text) for who, text in words.items()}
    for order, last in itertools.product(ORDERS, ("client", "server")):
        pair = dict(zip(("client", "server"), ends()))
        for who, what in order:
            if what == "write":
                pair[who].sendall(words[who])
            else:
                pair[who].shutdown(socket.SHUT_WR)
        other = "server" if last == "client" else "client"
        assert drain(pair[last]) == got[other], order
        pair[last].close()
        assert drain(pair[other]) == got[last], order
        pair[other].close()
    settled(ends)


def settled(ends):
    """No descriptor is left of any connection that has ended."""
    until(lambda: not established(ends), "connections have ended")
    until(lambda: ends.pasta.fds() < 200, "no descriptors are left")


def established(ends):
    for ns in ends.here, ends.there:
        lines = ns.run("ss", "-Htn", "state", "established", "state", "close-wait", "state", "fin-wait-2", f"( sport = :{ends.port} or dport = :{ends.port} )").stdout
        if lines.strip():
            return True
    return False


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("before", ["nothing", "word each way", "end of file of the other", "own end of file"])
def test_reset(ends, who, before):
    """A reset is a reset at the other end, not an end of file."""
    pair = ends()
    resets, other = pair if who == "client" else pair[::-1]
    if before == "word each way":
        for a, b in pair, pair[::-1]:
            a.sendall(b"word")
            assert b.recv(4) == b"word"
    elif before == "end of file of the other":
        other.shutdown(socket.SHUT_WR)
        assert resets.recv(1) == b""
    elif before == "own end of file":
        resets.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
    reset(resets)
    if before == "own end of file":
        # It has got its end of file: the reset shows as soon as it writes.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            until(lambda: other.send(b"x") and False, "reset")
    else:
        with pytest.raises(ConnectionResetError):
            other.recv(1)
    settled(ends)


@pytest.mark.parametrize("who", ["client", "server"])
def test_close_with_unread_data(ends, who):
    """That is a reset as well, in the end."""
    pair = ends()
    closes, other = pair if who == "client" else pair[::-1]
    other.sendall(b"nobody reads this")
    until(lambda: closes.recv(100, socket.MSG_PEEK), "data is there")
    closes.close()
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        until(lambda: other.send(b"x") and False, "reset")
    settled(ends)


def test_data_before_the_end_is_not_lost(ends):
    """However quickly the end follows."""
    blob = os.urandom(200000)
    for _ in range(20):
        client, server = ends()
        t = threading.Thread(target=lambda c=client: (c.sendall(blob), c.close()))
        t.start()
        assert drain(server) == told(blob)
        t.join(20)
        server.close()
    settled(ends)


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_with_much_on_its_way(ends, who):
    """Towards the one who resets: the other sees the reset, and no end of file before."""
    pair = ends()
    resets, other = pair if who == "client" else pair[::-1]
    other.setblocking(False)
    idle = 0
    while idle < 20:
        try:
            other.send(b"x" * 65536)
            idle = 0
        except BlockingIOError:
            idle += 1
            threading.Event().wait(0.01)
    other.settimeout(20)
    reset(resets)
    with pytest.raises(ConnectionResetError):
        other.recv(1)
    settled(ends)


def test_refused_is_a_reset(net, pasta):
    """Nobody listens on the other side: whoever connects is told at once."""
    p = pasta("--splice-only", *PORTS)
    for ns, port in (net.host, 8080), (p.ns, 8081):
        for lo in LO.values():
            with pytest.raises((ConnectionResetError, ConnectionRefusedError)):
                with ns.connect(lo, port) as s:
                    s.recv(1)
                    raise AssertionError("an end of file instead")


def test_urgent_and_small_writes_arrive_at_once(ends):
    """No delay by Nagle's algorithm in between: many round trips of a byte take no time."""
    client, server = ends()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for i in range(200):
        client.sendall(bytes([i]))
        assert server.recv(1) == bytes([i])
        server.sendall(b"ab")
        assert client.recv(2, socket.MSG_WAITALL) == b"ab"


# Datagrams.


@pytest.mark.parametrize("options", MODES, ids=["splice-only", "with-interface"])
@pytest.mark.parametrize("direction", ["in", "out"])
@pytest.mark.parametrize("family", LO)
def test_datagrams(net, pasta, options, direction, family):
    """Sizes and boundaries are kept, empty ones included; answers find their way, also among several clients."""
    p = pasta(*options, *PORTS)
    there, here, port = (p.ns, net.host, 8080) if direction == "in" else (net.host, p.ns, 8081)
    sizes = [0, 1, 1472, 1473, 9000, 65507 if family == "v4" else 65487, 0, 5]
    clients = [here.udp(LO[family]) for _ in range(5)]
    with there.udp(LO[family], port) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peers = set()
        for size in sizes:
            for i, c in enumerate(clients):
                blob = os.urandom(size)
                c.sendto(blob, (LO[family], port))
                data, peer = server.recvfrom(65536)
                assert data == blob and peer[0] == LO[family]
                peers.add((i, peer[1]))
                server.sendto(blob[::-1], peer)
                data, sender = c.recvfrom(65536)
                assert data == blob[::-1] and sender[:2] == (LO[family], port)
        assert len(peers) == len(clients), "a client changed its port, or two share one"
    for c in clients:
        c.close()


def test_datagrams_in_a_row(net, pasta):
    """Bursts arrive in order and whole."""
    p = pasta("--splice-only", *PORTS)
    with p.ns.udp("127.0.0.1", 8080) as server, net.host.udp("127.0.0.1") as client:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for turn in range(10):
            for i in range(20):
                client.sendto(b"%d %d " % (turn, i) + bytes(1000), ("127.0.0.1", 8080))
            got = [server.recv(2000).split()[:2] for _ in range(20)]
            assert got == [[b"%d" % turn, b"%d" % i] for i in range(20)]


def test_nobody_at_the_port_of_datagrams(net, pasta):
    """An error for the client, as from its own host."""
    p = pasta("--splice-only", *PORTS)
    for ns, port in (net.host, 8080), (p.ns, 8081):
        with ns.udp("127.0.0.1") as s:
            s.connect(("127.0.0.1", port))
            s.send(b"x")
            s.settimeout(0.3)
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                s.recv(1)
