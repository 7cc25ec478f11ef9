# SPDX-License-Identifier: MIT
"""
Traffic of real programs through the interface that pasta makes, what is left of it, and what it costs to do nothing.
"""
import hashlib
import os
import socket
import threading
import time

import pytest
from lab import servers
from lab.program import assert_asleep, assert_idle
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6, SILENT4, UNREACHABLE4
from lab.wait import until

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
HOST = {"v4": HOST4, "v6": HOST6}


def transfer(source, sink, blob):
    """Sends a block and its end over a connected pair; the digest of what arrives."""
    t = threading.Thread(target=lambda: (source.sendall(blob), source.shutdown(socket.SHUT_WR)))
    t.start()
    h = hashlib.sha256()
    while True:
        data = sink.recv(1 << 20)
        if not data:
            break
        h.update(data)
    t.join(60)
    return h.hexdigest()


# Connections that are handed over, and those through a tap device.
HOW = pytest.mark.parametrize("how", [[], ["--no-handover"]], ids=["handed", "tap"])


@HOW
@pytest.mark.parametrize("mtu", [1500, 65520])
@pytest.mark.parametrize("family", REMOTE)
def test_both_directions_without_loss(net, pasta, mtu, family, how):
    """The namespace's kernel sends nothing twice, up or down, in connections that either side has opened."""
    p = pasta("--config-net", "-m", mtu, *NONE[2:], "-t", "9000", *how)
    p.ns.be_patient()
    blob = os.urandom(24 << 20)
    digest = hashlib.sha256(blob).hexdigest()
    with net.remote.listen(REMOTE[family]) as out, p.ns.listen(HOST[family], 9000) as inward:
        start = time.monotonic()
        one = p.ns.connect(REMOTE[family], out.getsockname()[1]), out.accept()[0]
        two = net.remote.connect(HOST[family], 9000, REMOTE[family]), inward.accept()[0]
        slow = time.monotonic() - start >= 1
        for a, b in one, one[::-1], two, two[::-1]:
            b.settimeout(20)
            assert transfer(a, b, blob) == digest
        for s in one + two:
            s.close()
    syns = p.ns.counter("TcpExtTCPSynRetrans")
    assert p.ns.counter("TcpRetransSegs") == syns
    assert syns == 0 or slow, "a SYN was lost"
    assert p.ns.counter("TcpInErrs") == 0


@HOW
def test_many_streams_at_once(net, pasta, how):
    """iperf3 with several streams, both ways."""
    p = pasta("--config-net", *NONE, *how)
    p.ns.be_patient()
    for extra in [], ["-R"], ["--bidir"]:
        end = servers.iperf3(net.remote, p.ns, REMOTE4, "-P", "4", "-t", "1", *extra)
        assert end["sum_received"]["bytes"] > 1 << 20
        assert sum(s["sender"].get("retransmits", 0) for s in end["streams"] if s["sender"].get("sender")) == 0 or extra, end


def test_udp_of_iperf3(net, pasta):
    """As many datagrams as a socket's buffer holds: whoever is late finds them all."""
    p = pasta("--config-net", *NONE)
    for extra in [], ["-R"]:
        total = servers.iperf3(net.remote, p.ns, REMOTE6, "-u", "-b", "20M", "-l", "1200", "-k", "80", *extra)["sum"]
        assert total["packets"] >= 80 and total["lost_packets"] == 0, total


@pytest.mark.parametrize("family", REMOTE)
def test_web_page_with_a_resolver(net, pasta, tmp_path, family):
    """curl, by name: over UDP to the forwarded resolver, then over TCP."""
    body = os.urandom(3 << 20)
    with net.host.udp("127.0.0.53", 53) as probe:
        dns = servers.dns_udp(probe, {"www.example.org": [REMOTE4, REMOTE6]})
        web = servers.http(net.remote.listen(REMOTE[family]), body)
        p = pasta("--config-net", "--dns-forward", "192.0.2.53", "--dns-host", "127.0.0.53", *NONE)
        conf = tmp_path / "resolv.conf"
        conf.write_text("nameserver 192.0.2.53\n")
        url = f"http://www.example.org:{web.port}/"
        script = 'mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && exec curl -sS -4 -o "$2" "$3"'.replace("-4", "-4" if family == "v4" else "-6")
        p.ns.run("unshare", "-m", "sh", "-c", script, "sh", conf, tmp_path / "body", url)
        assert (tmp_path / "body").read_bytes() == body
        web.close()
        dns.close()


@pytest.mark.parametrize("family", REMOTE)
def test_ping(net, pasta, family):
    p = pasta("--config-net", *NONE)
    for size in 0, 56, 1400, 4000:
        out = p.ns.run("ping", "-n", "-c", "3", "-i", "0.05", "-s", size, "-W", "5", REMOTE[family]).stdout
        assert "3 received, 0% packet loss" in out


def test_unreachable(net, pasta):
    """What the network answers is what programs in the namespace get."""
    p = pasta("--config-net", *NONE)
    with pytest.raises(OSError) as e:
        p.ns.connect(UNREACHABLE4, 80)
    assert not isinstance(e.value, TimeoutError)
    with pytest.raises(ConnectionRefusedError):
        p.ns.connect(REMOTE4, 1)
    with p.ns.udp("0.0.0.0") as s:
        s.connect((REMOTE4, 1))
        s.send(b"x")
        with pytest.raises(ConnectionRefusedError):
            s.recv(1)


@pytest.mark.parametrize("size", [1, 1472, 1473, 9000, 65507])
def test_datagrams_of_every_size(net, pasta, size):
    """Fragments included, at the smaller MTU."""
    p = pasta("--config-net", "-m", "1500", *NONE)
    echo = servers.udp_echo(net.remote.udp(REMOTE4))
    with p.ns.udp("0.0.0.0") as s:
        blob = os.urandom(size)
        s.sendto(blob, (REMOTE4, echo.port))
        assert s.recv(65536) == blob
    echo.close()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_marks_of_datagrams_from_outside(net, pasta, family):
    """The type of service of what a peer sends first, which a listener for both families gets, and of what it sends then."""
    p = pasta("--config-net", "-u", "9006", "-t", "none", *NONE[4:])
    here, there = {"v4": ("0.0.0.0", HOST4), "v6": ("::", HOST6)}[family]
    level, mark, tell = {"v4": (socket.IPPROTO_IP, socket.IP_TOS, 13), "v6": (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS)}[family]
    with p.ns.udp(here, 9006) as inside, net.remote.udp(REMOTE4 if family == "v4" else REMOTE6) as peer:
        inside.setsockopt(level, tell, 1)
        for tos in 0xB8, 0x28, 0:
            peer.setsockopt(level, mark, tos)
            peer.sendto(b"word", (there, 9006))
            data, anc, _, _ = inside.recvmsg(100, 100)
            assert (data, [value[0] for _, kind, value in anc if kind == mark]) == (b"word", [tos])


@HOW
@pytest.mark.parametrize("family", ["v4", "v6"])
def test_marks_of_connections_from_outside(net, pasta, family, how):
    """All segments have the DSCP of the peer's SYN, whatever its kernel does about ECN."""
    p = pasta("--config-net", "-t", "9006", "-u", "none", *NONE[4:], *how)
    here, there = {"v4": ("0.0.0.0", HOST4), "v6": ("::", HOST6)}[family]
    level, mark, told, recv = {
        "v4": (socket.IPPROTO_IP, socket.IP_TOS, 9, 13),  # IP_PKTOPTIONS
        "v6": (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 6, socket.IPV6_RECVTCLASS),  # IPV6_2292PKTOPTIONS
    }[family]
    with p.ns.listen(here, 9006) as server, net.remote.socket(socket.AF_INET if family == "v4" else socket.AF_INET6, socket.SOCK_STREAM) as peer:
        peer.setsockopt(level, mark, 0xB8)
        peer.connect((there, 9006))
        conn, _ = server.accept()
        with conn:
            conn.setsockopt(level, recv, 1)
            anc = conn.getsockopt(level, told, 64)
            assert anc[16] == 0xB8, anc.hex()


def test_datagrams_are_forgotten_when_the_host_says(net, pasta):
    """That is, by its connection tracking."""
    paths = ["/proc/sys/net/netfilter/nf_conntrack_udp_timeout", "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream"]
    if net.host.run("ls", *paths, check=False).returncode:
        pytest.skip("this kernel has no connection tracking, or does not let users set it up")
    was = [net.host.run("cat", path).stdout for path in paths]
    try:
        for path, seconds in zip(paths, "23"):
            net.host.write(path, seconds)
        p = pasta("--config-net", *NONE)
    finally:
        for path, seconds in zip(paths, was):
            net.host.write(path, seconds)
    echo = servers.udp_echo(net.remote.udp(REMOTE4))
    idle = p.fds()
    with p.ns.udp("0.0.0.0") as s:
        for to in (SILENT4, 1000), (REMOTE4, echo.port):
            s.sendto(b"x", to)
        s.recv(10)
        until(lambda: p.fds() == idle, "both sockets are gone")
    echo.close()


# What is left.


def flock(listener, ns, to, port, n):
    """n connections at once, a word on each; closed by one side and the other in turns."""
    pairs = []
    for _ in range(n):
        c = ns.connect(to, port)
        pairs.append((c, listener.accept()[0]))
    for i, (c, s) in enumerate(pairs):
        c.sendall(b"%06d" % i)
        assert s.recv(6, socket.MSG_WAITALL) == b"%06d" % i
    for i, pair in enumerate(pairs):
        for s in pair if i % 2 else pair[::-1]:
            s.close()


def settled(p, most):
    until(lambda: p.fds() <= most, f"no more than {most} descriptors")


@pytest.mark.parametrize("kind", ["splice", "handed", "interface"])
def test_nothing_is_left_of_thousands_of_connections(net, pasta, kind):
    """
    1,000 at once, 20 times: there are no more descriptors than before the first one, but for a few pipes in stock. To a port of its own each
    time, as it takes the kernel long to find another free one on this side.
    """
    ports = range(9001, 9022)
    how = ["--no-handover"] if kind == "interface" else []
    p = pasta("--config-net", "--host-lo-to-ns-lo", *NONE[2:], "-t", f"{ports[0]}-{ports[-1]}", *how)
    server, client, to = (p.ns, net.host, "127.0.0.1") if kind == "splice" else (net.remote, p.ns, REMOTE4)
    assert p.fds() > 128, "sockets in stock"
    # Of connections that are handed over, somebody listens for more to the same port for a while.
    most, memory = p.fds() + 8 + (len(ports) if kind == "handed" else 0), None
    for port in ports[:-1]:
        with server.listen(to, port, backlog=1024) as listener:
            flock(listener, client, to, port, 1000)
        settled(p, most)
        memory = memory or p.memory_kb()
    # Slots of connections take memory when they are needed, so none of them is left over.
    assert p.memory_kb() < memory + 2048
    with server.listen(to, ports[-1]) as listener:
        flock(listener, client, to, ports[-1], 10)


@HOW
def test_resets_leave_nothing(net, pasta, how):
    p = pasta("--config-net", *NONE[2:], "-t", "9002", *how)
    with net.remote.listen(REMOTE4, 9002) as listener:
        before = p.fds()
        for _ in range(4):
            pairs = [(p.ns.connect(REMOTE4, 9002), listener.accept()[0]) for _ in range(100)]
            for i, (c, s) in enumerate(pairs):
                one, other = (c, s) if i % 2 else (s, c)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes((1, 0, 0, 0, 0, 0, 0, 0)))
                one.close()
                other.close()
        settled(p, before + 5)


# What it costs.


def test_idle(net, pasta):
    """Nothing to do, nothing done: with no automatic ports, not even looking. None of its processes."""
    p = pasta("--config-net", *NONE)
    auto = pasta("--config-net")
    with net.remote.listen(REMOTE4) as server, p.ns.connect(REMOTE4, server.getsockname()[1]):
        assert len(p.family()) == len(auto.family()) and len(p.family()) in (3, 4)
        assert_asleep(p)
        assert_asleep(auto, wakeups=18)
        assert_idle(auto, share=0.01, wakeups=3.6, seconds=3)
