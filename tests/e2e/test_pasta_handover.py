# SPDX-License-Identifier: MIT
"""
Connections that are handed over to sockets, beside those that go through a tap device, and beside those of the host itself: whoever looks
at the ends of them sees the same.

    inside ---pair--- annex ---pasta--- host ---veth--- remote (topology.py)
"""
import errno
import hashlib
import itertools
import os
import select
import signal
import socket
import struct
import threading
import time

import pytest
from lab import netns
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6, SILENT4, UNREACHABLE4
from lab.wait import readable, ready

NONE = ["-u", "none", "-T", "none", "-U", "none"]
PORTS = "9100-9109"
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
HOST = {"v4": HOST4, "v6": HOST6}
ANY = {"v4": "0.0.0.0", "v6": "::"}
TCP_SYNCNT, IPPROTO_MPTCP = 7, 262
RESET = struct.pack("ii", 1, 0)


def kind_of_interface(p):
    return "veth" if "veth" in p.ns.ip("-d", "link", "show", "dev", "eth0") else "tap"


@pytest.fixture
def handed(pasta):
    """handed(arguments): pasta that hands connections over."""

    def begin(*args, **kw):
        p = pasta("--config-net", "-t", PORTS, *NONE, *args, **kw)
        if kind_of_interface(p) == "tap":
            pytest.skip("this kernel has not all that it takes, or does not let users have it")
        return p

    return begin


class Direct:
    """The host's own connections."""

    def __init__(self, net):
        self.ns = net.host


@pytest.fixture
def ways(net, pasta, handed):
    """Where a connection may come from: {name: what has ns}. The first one is how it should be."""
    return {"direct": Direct(net), "handed": handed(), "tap": pasta("--config-net", "--no-handover", "-t", "9110-9119", *NONE)}


# A port for each way, as two programs can't have the same one.
INWARDS = {"direct": 9120, "handed": 9100, "tap": 9110}


def pair(net, name, way, family, inwards):
    """The two ends of a new connection: (here, remote)."""
    if inwards:
        with way.ns.listen(ANY[family], INWARDS[name]) as listener:
            far = net.remote.connect(HOST[family], INWARDS[name])
            return listener.accept()[0], far
    with net.remote.listen(REMOTE[family]) as listener:
        near = way.ns.connect(REMOTE[family], listener.getsockname()[1])
        return near, listener.accept()[0]


def attempt(call, *args):
    """Its result, or the name of the error."""
    try:
        return call(*args)
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))


def exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            break
        data += more
    return data


def wait_readable(s):
    assert readable(20, s), "nothing comes"


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    s.close()


# What one end does, and the other sees.


def reset_at_once(a, b):
    reset(a)
    return attempt(b.recv, 10), attempt(b.recv, 10), attempt(b.send, b"x")


def reset_after_words(a, b):
    a.sendall(b"word")
    seen = exactly(b, 4)
    b.sendall(b"answer")
    exactly(a, 6)
    reset(a)
    return seen, attempt(b.recv, 10)


def close_with_unread_data(a, b):
    b.sendall(b"nobody reads this")
    wait_readable(a)
    a.close()
    return attempt(b.recv, 10), attempt(b.recv, 10)


def reset_by_the_other_after_its_end(a, b):
    a.shutdown(socket.SHUT_WR)
    end = b.recv(10)
    reset(b)
    return end, attempt(a.recv, 10)


def half_close(a, b):
    a.sendall(b"last word")
    a.shutdown(socket.SHUT_WR)
    seen = exactly(b, 100)
    b.sendall(bytes(100000))
    b.close()
    return seen, len(exactly(a, 200000))


def nothing_at_all(a, b):
    a.close()
    return attempt(b.recv, 10), attempt(b.close)


def urgent_byte(a, b):
    a.sendall(b"abc")
    a.send(b"!", socket.MSG_OOB)
    before = exactly(b, 3)
    poll = select.poll()
    poll.register(b, select.POLLPRI)
    told = bool(poll.poll(20000))
    b.setblocking(False)  # with a time-out, recv() would wait for other data first
    byte = attempt(b.recv, 1, socket.MSG_OOB)
    b.settimeout(20)
    a.sendall(b"def")
    return before, told, byte, exactly(b, 3)


def first_word_of_the_server(a, b):
    b.sendall(b"220 hello")
    return exactly(a, 9)


def send_after_the_end(a, b):
    b.close()
    end = a.recv(10)
    a.send(b"x")
    poll = select.poll()
    poll.register(a, 0)
    told = bool(poll.poll(20000))
    return end, told, attempt(a.send, b"x"), attempt(a.recv, 10)


SCENES = [reset_at_once, reset_after_words, close_with_unread_data, reset_by_the_other_after_its_end, half_close, nothing_at_all, urgent_byte,
          first_word_of_the_server, send_after_the_end]


@pytest.mark.parametrize("family", REMOTE)
@pytest.mark.parametrize("inwards", [False, True], ids=["out", "in"])
def test_ends_see_the_same(net, ways, family, inwards):
    for scene, swapped in itertools.product(SCENES, (False, True)):
        seen = {}
        for name, way in ways.items():
            if name == "tap" and scene is urgent_byte:
                continue  # it comes in line there, and nobody is told
            near, far = pair(net, name, way, family, inwards)
            with near, far:
                for s in near, far:
                    s.settimeout(20)
                seen[name] = scene(*((far, near) if swapped else (near, far)))
        assert seen["handed"] == seen["direct"], (scene.__name__, swapped, seen)


@pytest.mark.parametrize("family", REMOTE)
def test_names(net, handed, family):
    """Both ends, as the other one and the kernel of the namespace see them. Nobody else is there."""
    p = handed()
    with p.ns.listen(ANY[family], 9100) as inside, net.remote.listen(REMOTE[family]) as outside:
        port = outside.getsockname()[1]
        with p.ns.connect(REMOTE[family], port) as near, outside.accept()[0] as far:
            assert near.getpeername()[:2] == (REMOTE[family], port)
            assert near.getsockname()[0] == HOST[family]
            assert far.getpeername()[0] == HOST[family]
        with net.remote.connect(HOST[family], 9100) as far, inside.accept()[0] as near:
            assert near.getpeername()[:2] == far.getsockname()[:2]
            assert near.getsockname()[:2] == (HOST[family], 9100)
            listed = p.ns.run("ss", "-Htan", "state", "established").stdout.splitlines()
            assert len(listed) == 1, listed
    assert p.ns.ip("rule", "show").count("lookup") == 3
    assert not p.ns.run("tc", "filter", "show", "dev", "eth0", "ingress").stdout


# Those that come to nothing.


def test_no_connection(net, ways):
    """Refused, unreachable; and where nobody answers, neither do we."""
    seen, waiting = {}, {}
    for name, way in ways.items():
        seen[name] = [attempt(way.ns.connect, *to) for to in ((REMOTE4, 1), (REMOTE6, 1), (UNREACHABLE4, 80))]
        s = waiting[name] = way.ns.socket()
        s.setsockopt(socket.IPPROTO_TCP, TCP_SYNCNT, 1)
        s.setblocking(False)
        assert s.connect_ex((SILENT4, 80)) == errno.EINPROGRESS
    assert seen["handed"] == seen["direct"] == ["ECONNREFUSED", "ECONNREFUSED", "EHOSTUNREACH"], seen
    for s in waiting.values():
        assert ready(20, [], [s])[1], "no end of it"
        assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ETIMEDOUT
        s.close()


def test_client_that_gives_up(net, handed):
    """Before there is an answer: the server does not keep a connection that nobody has."""
    p = handed()
    with net.remote.listen(REMOTE4) as listener:
        for _ in range(20):
            s = p.ns.socket()
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
            s.close()
        listener.settimeout(1)
        with net.remote.listen(REMOTE4) as other, p.ns.connect(*other.getsockname()) as near, other.accept()[0] as far:
            near.sendall(b"word")
            assert exactly(far, 4) == b"word"
        while True:
            try:
                conn, _ = listener.accept()
            except TimeoutError:
                break
            with conn:
                conn.settimeout(20)
                assert attempt(conn.recv, 1) in (b"", "ECONNRESET")


# Data.


def transfer(source, sink, blob):
    t = threading.Thread(target=lambda: (source.sendall(blob), source.shutdown(socket.SHUT_WR)))
    t.start()
    h = hashlib.sha256()
    while data := sink.recv(1 << 20):
        h.update(data)
    t.join(60)
    return h.digest()


def check_transfers(net, p, family="v4", proto=0):
    blob = os.urandom(3 << 20)
    want = hashlib.sha256(blob).digest()
    with net.remote.listen(REMOTE[family]) as listener:
        near = p.ns.socket(netns.family_of(REMOTE[family]), socket.SOCK_STREAM, proto)
        near.connect(listener.getsockname()[:2])
        far = listener.accept()[0]
        with near, far:
            far.settimeout(20)
            assert transfer(near, far, blob) == want
            assert transfer(far, near, blob) == want


@pytest.mark.parametrize("mtu", [576, 1500, 65520])
def test_both_ways_at_any_mtu(net, handed, mtu):
    """Nothing is sent twice."""
    p = handed("-m", mtu)
    if mtu < 1280:  # has no IPv6
        check_transfers(net, p)
        return
    p.ns.be_patient()
    for family in REMOTE:
        check_transfers(net, p, family)
    assert p.ns.sent_again() == 0


@pytest.mark.parametrize("off", ["tcp_sack", "tcp_timestamps", "tcp_window_scaling", "all"])
def test_without_what_tcp_may_have(net, handed, off):
    p = handed()
    for name in ["tcp_sack", "tcp_timestamps", "tcp_window_scaling"] if off == "all" else [off]:
        p.ns.write(f"/proc/sys/net/ipv4/{name}", "0")
    check_transfers(net, p)
    check_transfers(net, p, "v6")


def test_other_clients(net, handed):
    """Of congestion notices, of several paths, with an address of their own choice."""
    p = handed()
    p.ns.write("/proc/sys/net/ipv4/tcp_ecn", "1")
    check_transfers(net, p)
    if os.path.exists("/proc/sys/net/mptcp/enabled"):
        check_transfers(net, p, proto=IPPROTO_MPTCP)
    p.ns.ip("address", "add", "10.77.0.1/32", "dev", "lo")
    with net.remote.listen(REMOTE4) as listener:
        with p.ns.connect(*listener.getsockname(), source="10.77.0.1") as near, listener.accept()[0] as far:
            near.sendall(b"word")
            assert exactly(far, 4) == b"word"
            assert near.getsockname()[0] == "10.77.0.1"


def test_reader_that_does_not_read(net, handed):
    """The sender waits, and what is in between is bounded by the kernel's buffers. Then all of it comes."""
    p = handed()
    for near, far in (pair(net, "handed", p, "v4", i) for i in (False, True)):
        for a, b in (near, far), (far, near):
            a.setblocking(False)
            h, sent, since = hashlib.sha256(), 0, time.monotonic()
            while time.monotonic() - since < 0.3 and sent < 256 << 20:
                blob = os.urandom(1 << 16)
                try:
                    n = a.send(blob)
                except BlockingIOError:
                    time.sleep(0.01)
                    continue
                h.update(blob[:n])
                sent, since = sent + n, time.monotonic()
            assert sent < 64 << 20
            b.settimeout(20)
            assert hashlib.sha256(exactly(b, sent)).digest() == h.digest()
        near.close()
        far.close()


@pytest.mark.parametrize("timestamps", [0, 1])
def test_port_that_is_used_again(net, handed, timestamps):
    """At once, after the server has closed first."""
    p = handed()
    p.ns.write("/proc/sys/net/ipv4/tcp_timestamps", str(timestamps))
    with net.remote.listen(REMOTE4) as listener:
        for _ in range(5):
            s = p.ns.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("0.0.0.0", 33333))
            s.connect(listener.getsockname())
            conn, _ = listener.accept()
            conn.close()
            assert s.recv(1) == b""
            s.close()


# The namespace.


FIREWALL = """
table inet guard {
    chain in { type filter hook input priority 0; policy drop; iifname "lo" accept; ct state established,related accept; meta l4proto icmpv6 accept; }
    chain out { type filter hook output priority 0; policy accept; ct state invalid drop; }
}
table ip turn {
    chain out { type nat hook output priority -100; ip daddr 203.0.113.50 dnat to 198.51.100.1; }
}
"""


@pytest.mark.parametrize("filtering", ["0", "1", "2"])
def test_rules_of_the_namespace(net, handed, filtering):
    """Its own firewall, which tracks connections, and its own translation of addresses."""
    p = handed()
    p.ns.write("/proc/sys/net/ipv4/conf/all/rp_filter", filtering)
    p.ns.run("sh", "-c", 'printf %s "$1" | nft -f -', "sh", FIREWALL)
    check_transfers(net, p)
    with net.remote.listen(REMOTE4) as listener:
        with p.ns.connect("203.0.113.50", listener.getsockname()[1]) as near, listener.accept()[0] as far:
            near.sendall(b"word")
            assert exactly(far, 4) == b"word"
            assert near.getpeername()[0] == "203.0.113.50"
    p.ns.run("nft", "flush", "ruleset")
    check_transfers(net, p)


@pytest.mark.parametrize("masquerade", [True, False])
def test_namespace_behind_the_namespace(net, handed, masquerade):
    """What it forwards for another one, by its own address or that of the other."""
    p = handed()
    nested = netns.Ns("nested", parent=p.ns)
    try:
        p.ns.ip("link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", nested.pid)
        p.ns.ip("address", "add", "10.88.0.1/24", "dev", "in0")
        p.ns.ip("link", "set", "in0", "up")
        nested.ip("address", "add", "10.88.0.2/24", "dev", "eth0")
        nested.ip("link", "set", "eth0", "up")
        nested.ip("route", "add", "default", "via", "10.88.0.1")
        p.ns.write("/proc/sys/net/ipv4/ip_forward", "1")
        if masquerade:
            p.ns.run("nft", 'table ip m { chain c { type nat hook postrouting priority 100; oifname "eth0" masquerade; }\n}')
        with net.remote.listen(REMOTE4) as listener:
            with nested.connect(*listener.getsockname()) as near, listener.accept()[0] as far:
                near.sendall(b"word")
                assert exactly(far, 4) == b"word"
                far.sendall(bytes(1 << 20))
                assert len(exactly(near, 1 << 20)) == 1 << 20
    finally:
        nested.close()


def test_linklocal_stays(net, handed):
    """Where an address means something only together with an interface, it is frames as ever: to the host by the gateway's."""
    p = handed("-g", "fe80::1")
    index = int(p.ns.ip("-o", "link", "show", "dev", "eth0").split(":")[0])
    with net.host.listen("::1", 9130) as listener, p.ns.socket(socket.AF_INET6) as near:
        near.connect(("fe80::1", 9130, 0, index))
        with listener.accept()[0] as far:
            near.sendall(b"word")
            assert exactly(far, 4) == b"word"


# The end.


def test_killed(net, handed):
    """That nobody carries the data on any more does not look like the end of it."""
    p = handed()
    pairs = [pair(net, "handed", p, "v4", inwards) for inwards in (False, True)]
    for near, far in pairs:
        near.sendall(b"word")
        assert exactly(far, 4) == b"word"
    p.ended = True
    os.kill(p.pid, signal.SIGKILL)
    p.process.wait(20)
    for near, far in pairs:
        assert attempt(far.recv, 10) == "ECONNRESET"
        assert attempt(near.recv, 10) == "ECONNRESET"
        near.close()
        far.close()


def test_where_it_is_not_possible(net, pasta):
    """One line of the log, and a tap device as ever."""
    script = 'mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec "$@"'
    p = pasta("--config-net", "--debug", "-t", "9100", *NONE, prefix=["unshare", "-m", "sh", "-c", script, "sh"])
    p.says("TCP connections aren't handed over: sysctls: Read-only file system (this takes a /proc/sys that can be written to)")
    assert kind_of_interface(p) == "tap"
    check_transfers(net, p)


def test_switched_off(net, pasta):
    p = pasta("--config-net", "--debug", "--no-handover", "-t", "9100", *NONE)
    assert kind_of_interface(p) == "tap"
    p.says("TCP connections aren't handed over: --no-handover")
