# SPDX-License-Identifier: MIT
"""
Connections that are handed over to sockets, in namespaces that do something of their own: options of sockets, rules, interfaces that change,
an end in the middle of it; and where the kernel, or a container, refuses what it takes. With PASST_TEST_LONG=1 also many of them.

    inside ---pair--- annex ---pasta--- host ---veth--- remote (topology.py)
"""
import contextlib
import errno
import os
import resource
import socket
import struct
import threading
import time

import pytest
from lab import netns, refuse
from lab.control import Control
from lab.pasta import wait_listening
from lab.topology import GW4, HOST4, HOST6, REMOTE4, REMOTE6
from lab.wait import until

NONE = ["-u", "none", "-T", "none", "-U", "none"]
ANY = {"v4": "0.0.0.0", "v6": "::"}
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
HOST = {"v4": HOST4, "v6": HOST6}
LONG = pytest.mark.skipif(not os.environ.get("PASST_TEST_LONG"), reason="takes long: PASST_TEST_LONG=1")
TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_USER_TIMEOUT, SO_ORIGINAL_DST = 4, 5, 6, 18, 80
SAID, HANDED_OUT, HANDED_IN = "TCP connections aren't handed over: ", "tcp_handed_over", "tcp_handed_over_inwards"


def is_pair(ns):
    return "veth" in ns.ip("-d", "link", "show", "dev", "eth0")


def require_pair(ns):
    if not is_pair(ns):
        pytest.skip("this kernel has not all that it takes, or does not let users have it")


@pytest.fixture
def handed(pasta, tmp_path):
    """handed(arguments): pasta that hands connections over, with a control socket."""

    def begin(*args, **kw):
        p = pasta("--config-net", "-t", "9200-9209", *NONE, "-c", tmp_path / "control", *args, **kw)
        require_pair(p.ns)
        return p

    return begin


def counters(tmp_path):
    with Control(tmp_path / "control") as c:
        got = c.get("counters")
        return {**got["counters"], **got["gauges"]}


def exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            break
        data += more
    return data


@contextlib.contextmanager
def pair(net, ns, family="v4", source=None):
    """The two ends of a connection to the remote host."""
    with net.remote.listen(REMOTE[family]) as listener, ns.connect(REMOTE[family], listener.getsockname()[1], source) as near:
        with listener.accept()[0] as far:
            yield near, far


@contextlib.contextmanager
def inwards(net, ns, family="v4", port=9200, service=None):
    """The same, of one from it."""
    with ns.listen(ANY[family], service or port) as listener, net.remote.connect(HOST[family], port) as far:
        with listener.accept()[0] as near:
            yield near, far


def talk(a, b, size=100000):
    """Both ways, as much as needs several segments at any MTU."""
    blob = os.urandom(size)
    for source, sink in (a, b), (b, a):
        t = threading.Thread(target=source.sendall, args=(blob,))
        t.start()
        assert exactly(sink, size) == blob
        t.join()


def check(net, ns):
    for family in REMOTE:
        with pair(net, ns, family) as ends:
            talk(*ends)
        with inwards(net, ns, family) as ends:
            talk(*ends)


# Options of sockets.


def test_keepalive(net, handed):
    """A connection that says nothing for longer than its probes wait is asked for, and answers; also where time is limited for data."""
    p = handed()
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(make(net, p.ns)) for make in (pair, inwards)]
        for near, _ in ends:
            near.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in (TCP_KEEPIDLE, 1), (TCP_KEEPINTVL, 1), (TCP_KEEPCNT, 1), (TCP_USER_TIMEOUT, 2000):
                near.setsockopt(socket.IPPROTO_TCP, option, value)
        before = p.ns.counter("TcpExtTCPKeepAlive")
        until(lambda: p.ns.counter("TcpExtTCPKeepAlive") >= before + 2 * len(ends), "probes")
        for pair_of in ends:
            talk(*pair_of)


def test_small_words_do_not_wait(net, handed):
    """Two short messages behind each other are there without the second one having to wait for an acknowledgement of the first."""
    p = handed()
    for make in pair, inwards:
        with make(net, p.ns) as (near, far):
            for s in near, far:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waited = [ns.counter("TcpExtDelayedACKs") for ns in (p.ns, net.remote)]
            for a, b in ((near, far), (far, near)) * 25:
                a.send(b"x")
                a.send(b"y")
                assert exactly(b, 2) == b"xy"
            waited = [ns.counter("TcpExtDelayedACKs") - n for ns, n in zip((p.ns, net.remote), waited)]
            assert max(waited) < 25, waited  # that is how one that has waited for it ends its wait


def test_bound_to_the_interface(net, handed):
    p = handed()
    near = p.ns.socket()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
    with near, net.remote.listen(REMOTE4) as listener:
        near.connect(listener.getsockname())
        with listener.accept()[0] as far:
            talk(near, far)


# Rules.


def test_redirected(net, handed):
    """A proxy in the namespace gets connections to others, and those from outside to another port, and is told whom they were for."""
    p = handed()
    p.ns.run("nft", """table ip turn {
        chain out { type nat hook output priority -100; ip daddr 198.51.100.1 tcp dport 80 redirect to 8100; }
        chain in { type nat hook prerouting priority -100; iifname "eth0" tcp dport 9201 redirect to 8101; }
    }""")

    def original(s):
        port, addr = struct.unpack("!2xH4s8x", s.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16))
        return socket.inet_ntoa(addr), port

    with p.ns.listen("127.0.0.1", 8100) as proxy, p.ns.connect(REMOTE4, 80) as client, proxy.accept()[0] as conn:
        assert original(conn) == (REMOTE4, 80)
        with pair(net, p.ns) as (near, far):
            for a, b, c in (client, conn, near), (far, near, conn):
                a.sendall(b"word")
                c.sendall(exactly(b, 4))
            assert exactly(far, 4) == exactly(client, 4) == b"word"
    with inwards(net, p.ns, port=9201, service=8101) as (near, far):
        assert original(near) == (HOST4, 9201)
        assert near.getpeername() == far.getsockname()
        talk(near, far)


UNTRACKED = """table inet raw {
    chain out { type filter hook output priority raw; notrack; }
    chain in { type filter hook prerouting priority raw; notrack; }
}"""
GUARD = """table inet guard {
    chain in { type filter hook input priority 0; policy drop; iifname "lo" accept; ct state established,related accept; tcp dport 9200 accept; meta l4proto icmpv6 accept; }
    chain out { type filter hook output priority 0; policy accept; ct state invalid drop; }
}"""


@pytest.mark.parametrize("rules", [GUARD, UNTRACKED], ids=["tracked", "untracked"])
def test_rules_that_were_there_before(net, daemon, container, rules):
    container.run("nft", rules)
    daemon("--config-net", "-t", "9200", *NONE, container.pid)
    wait_listening(net.host, 9200)
    require_pair(container)
    check(net, container)


# The interface.


def test_addresses_come_and_go(net, handed):
    """What is there goes on with an address that is gone, as far as the namespace's kernel lets it; new ones have the new address."""
    p = handed()
    p.ns.ip("address", "add", "192.0.2.77/24", "dev", "eth0")
    with pair(net, p.ns, source="192.0.2.77") as ends:
        assert ends[0].getsockname()[0] == "192.0.2.77"
        assert ends[1].getpeername()[0] == HOST4
        talk(*ends)
        p.ns.ip("address", "add", "192.0.2.78/24", "dev", "eth0")
        with pair(net, p.ns, source="192.0.2.78") as others:
            talk(*others)
        talk(*ends)
        p.ns.ip("address", "del", "192.0.2.77/24", "dev", "eth0")
    check(net, p.ns)


def test_interface_changes(net, handed):
    """Its MAC and its MTU, with connections that are there and with new ones."""
    p = handed("-m", "9000")
    with pair(net, p.ns) as out, inwards(net, p.ns, port=9203) as back:
        for change in ["address", "02:00:00:00:77:01"], ["mtu", "1500"], ["address", "02:00:00:00:77:02", "mtu", "65520"], ["down"], ["up"]:
            p.ns.ip("link", "set", "dev", "eth0", *change)
        # Routes went with the interface.
        p.ns.ip("route", "add", "default", "via", GW4, "dev", "eth0", "onlink")
        talk(*out)
        talk(*back)
    with pair(net, p.ns) as ends:
        talk(*ends)


def test_behind_a_bridge(net, handed):
    """The namespace's interface is a port of a bridge, and somebody else behind it has the address."""
    p = handed()
    inside = netns.Ns("behind", parent=p.ns)
    try:
        for argv in (["link", "add", "br0", "type", "bridge"], ["link", "add", "in0", "type", "veth", "peer", "name", "eth0", "netns", inside.pid],
                     ["address", "flush", "dev", "eth0"], ["link", "set", "eth0", "master", "br0"], ["link", "set", "in0", "master", "br0"],
                     ["link", "set", "br0", "up"], ["link", "set", "in0", "up"]):
            p.ns.ip(*argv)
        inside.ip("address", "add", f"{HOST4}/24", "dev", "eth0")
        inside.ip("link", "set", "eth0", "up")
        inside.ip("route", "add", "default", "via", GW4)
        with pair(net, inside) as ends:
            talk(*ends)
        with inwards(net, inside) as ends:
            talk(*ends)
    finally:
        inside.close()


# The end.


def test_end_of_the_namespace_under_load(net, pasta):
    """With connections in all states, in both directions. Whoever is outside sees an end of each, and pasta ends in order."""
    p = pasta("--config-net", "-t", "9200-9209", *NONE)
    require_pair(p.ns)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(net.remote.listen(REMOTE4, backlog=256))
        service = stack.enter_context(p.ns.listen("0.0.0.0", 9200, backlog=256))
        ends = []
        for _ in range(20):
            stack.enter_context(p.ns.connect(REMOTE4, listener.getsockname()[1]))
            ends.append(stack.enter_context(listener.accept()[0]))
            ends.append(stack.enter_context(net.remote.connect(HOST4, 9200)))
        for _ in range(50):  # nobody accepts these
            s = stack.enter_context(p.ns.socket())
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        for s in ends:
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while s.send(bytes(1 << 16)):
                    pass
        service.close()
        p.close()
        for s in ends:
            s.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                while s.recv(1 << 16):
                    pass


@pytest.mark.parametrize("sig", [15, 9], ids=["terminated", "killed"])
def test_again_at_once(net, daemon, container, sig):
    """The name of the interface is to be had again, though a kernel takes its time with the namespace of one that was killed."""
    for _ in range(3):
        d = daemon("--config-net", "-t", "9200", *NONE, container.pid)
        wait_listening(net.host, 9200)
        require_pair(container)
        with pair(net, container) as ends:
            talk(*ends, size=100)
        os.kill(d.pid, sig)
        until(d.gone, "end of pasta")


# What is counted.


def test_counters(net, handed, tmp_path):
    p = handed("-g", "fe80::1")
    assert counters(tmp_path)["tcp_handover"] == 1
    with pair(net, p.ns) as ends, inwards(net, p.ns) as others:
        talk(*ends)
        talk(*others)
    index = int(p.ns.ip("-o", "link", "show", "dev", "eth0").split(":")[0])
    with net.host.listen("::1", 9230) as listener, p.ns.socket(socket.AF_INET6) as near:
        near.connect(("fe80::1", 9230, 0, index))
        with listener.accept()[0] as far:
            talk(near, far, size=100)
    seen = counters(tmp_path)
    assert seen.pop("tcp_handover_listeners") <= 1
    assert {name: n for name, n in seen.items() if name.startswith(("tcp_hand", "tcp_kept")) and n} == {
        "tcp_handover": 1, HANDED_OUT: 1, HANDED_IN: 1, "tcp_kept_link_local": 1}
    until(lambda: counters(tmp_path)["splices"] == 0, "the end of both")


def test_counters_of_a_tap_device(net, pasta, tmp_path):
    p = pasta("--config-net", "--no-handover", "-t", "none", *NONE, "-c", tmp_path / "control")
    with pair(net, p.ns) as ends:
        talk(*ends)
    seen = counters(tmp_path)
    assert seen["tcp_handover"] == 0 and HANDED_OUT not in seen and seen["splices_opened"] == 0


# What is refused, of a system call by the length of its message or an argument, and what is said. The first one is the whole annex.
NEW_NET = "unshare:1073741824"  # CLONE_NEWNET
REFUSED = {
    "namespace": (errno.EPERM, NEW_NET, "no network namespace for that: Operation not permitted"),
    "veth": (errno.EOPNOTSUPP, "sendto:144", "pair of interfaces: Operation not supported (this takes veth of the kernel"),
    "filter": (errno.EOPNOTSUPP, "sendto:300", "diversion of frames: Operation not supported (this takes sch_ingress, cls_bpf and act_mirred"),
    "route": (errno.EAFNOSUPPORT, "sendto:36", "routes: Address family not supported by protocol (this takes policy routing"),
    "raw": (errno.EPERM, "socket:526339", "sockets: Operation not permitted (this takes CAP_NET_RAW"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(net, pasta, what):
    """One line that names it, nothing left of what was made, and all connections go through a tap device."""
    err, request, says = REFUSED[what]
    p = pasta("--config-net", "--debug", "-t", "9200", *NONE, prefix=refuse.prefix(err, request))
    assert not is_pair(p.ns)
    said = [line.partition(SAID)[2] for line in p.output().splitlines() if SAID in line]
    assert len(said) == 1 and said[0].startswith(says), said
    check(net, p.ns)
    assert len([line for line in p.ns.ip("-o", "link").splitlines() if line]) == 2, "lo and the tap device"


def test_no_more_namespaces(net, pasta):
    """As many as there may be: the command's own is the last one."""
    script = 'echo 1 >/proc/sys/user/max_net_namespaces && exec "$@"'
    p = pasta("--config-net", "--debug", "-t", "9200", *NONE, prefix=["unshare", "-U", "-r", "-m", "sh", "-c", script, "sh"])
    assert SAID + "no network namespace for that: No space left on device" in p.output()
    check(net, p.ns)


# Many.


def raise_limit(n):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < n:
        pytest.skip(f"this takes {n} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (n, hard))


@LONG
def test_many_at_once(net, handed, tmp_path):
    """With a limit of 20,000 descriptors, of which some are kept for other traffic. Of all of them nothing is left."""
    raise_limit(20000)
    p = handed()
    before, wanted = p.fds(), 8000
    with net.remote.listen(REMOTE4, backlog=1024) as listener, contextlib.ExitStack() as stack:
        ends = []
        for _ in range(wanted):
            near = stack.enter_context(p.ns.socket())
            near.connect(listener.getsockname())
            ends.append((near, stack.enter_context(listener.accept()[0])))
            if len(ends) % 1000 == 0:
                talk(*ends[-1], size=1000)
        assert counters(tmp_path)[HANDED_OUT] == wanted
        for a, b in ends[:: 97]:
            talk(a, b, size=1000)
    until(lambda: counters(tmp_path)["splices"] == 0, "the end of all")
    until(lambda: p.fds() <= before + 20, "descriptors are given back")


@LONG
@pytest.mark.parametrize("way", ["out", "in"])
def test_one_after_the_other_for_a_minute(record_property, net, handed, tmp_path, way):
    """Nothing is left of them."""
    p = handed()
    server_ns, client_ns, at, to, port = (net.remote, p.ns, REMOTE4, REMOTE4, 0) if way == "out" else (p.ns, net.remote, "0.0.0.0", HOST4, 9200)
    over, done = threading.Event(), 0
    with server_ns.listen(at, port, backlog=1024) as listener:
        port = listener.getsockname()[1]

        def serve():
            listener.settimeout(0.5)
            while not over.is_set():
                with contextlib.suppress(TimeoutError), listener.accept()[0] as conn:
                    conn.sendall(b"x")

        t = threading.Thread(target=serve)
        t.start()
        try:
            resident = None
            began = time.monotonic()
            while time.monotonic() < began + 60:
                with client_ns.connect(to, port) as near:
                    assert exactly(near, 2) == b"x"
                done += 1
                if done == 2000:
                    resident, fds = p.memory_kb(), p.fds()
        finally:
            over.set()
            t.join()
    record_property("connections", done)
    assert counters(tmp_path)[HANDED_OUT if way == "out" else HANDED_IN] == done
    until(lambda: counters(tmp_path)["splices"] == 0, "the end of all")
    assert p.memory_kb() < resident + 512 and p.fds() <= fds + 20
