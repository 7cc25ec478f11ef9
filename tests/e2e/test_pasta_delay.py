# SPDX-License-Identifier: MIT
"""
Paths with delay, and send buffers small and large: a connection of the namespace's uses the path as one of the host's own does, and
nothing is sent twice. With PASST_TEST_LONG=1 in all cases. Through a tap device, where the namespace sees the path, but for the last ones.

    namespace ---pasta--- host ---tap--- slow.c ---tap--- remote
"""
import os
import threading
import time

import pytest
from lab import slow
from lab.topology import GW4, HOST4, REMOTE4

pytestmark = pytest.mark.usefixtures("tun")

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
RATE = {1: 2 << 20, 20: 6 << 20, 200: 6 << 20}  # bytes a second, by round trip in ms; far less than any machine carries
SHARE = 0.8  # of what the host's own connection gets
ROUNDS = 4  # at most: in one of them the machine does both alike
KIB = 16, 256, 4096
SHORT = {1: [(16, "up")], 20: [(256, "down")], 200: [(16, "up"), (4096, "up")]}
PORT = 9005
ALL = [(buf, way) for buf in KIB for way in ("up", "down")]
LONG = os.environ.get("PASST_TEST_LONG")
INWARDS = {rtt: ALL for rtt in RATE} if LONG else {20: [(256, "up")], 200: [(256, "up"), (4096, "up")]}
# The kernel takes far more than such a buffer holds from who writes much at once. A namespace that was connected to has seen no delay in the
# handshake, and would send again what waits for so long: it is offered what the buffer holds.
LESS = {(200, 16, "up"): 0.4}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """paths(round trip in ms): such a network."""
    program = slow.build(str(tmp_path_factory.mktemp("slow")))
    made = {}

    def get(rtt_ms):
        if rtt_ms not in made:
            made[rtt_ms] = slow.SlowTopology(str(tmp_path_factory.mktemp("net")), program, rtt_ms, RATE[rtt_ms])
        return made[rtt_ms]

    yield get
    for t in made.values():
        t.close()


@pytest.fixture
def net(request, paths):
    """In place of the usual one."""
    return paths(request.param)


def seconds(source, sink, total):
    """Until all of it has come."""

    def send():
        blob = os.urandom(1 << 16)
        with source:
            for at in range(0, total, len(blob)):
                source.sendall(blob[: total - at])

    t = threading.Thread(target=send)
    start = time.monotonic()
    t.start()
    got = 0
    while data := sink.recv(1 << 20):
        got += len(data)
    took = time.monotonic() - start
    t.join(60)
    assert got == total
    return took


def both(net, ns, port):
    """The ends of a new connection between ns and the remote host: (near, far). With a port, the remote host connects to that."""
    if not port:
        with net.remote.listen(REMOTE4) as listener:
            near = ns.connect(REMOTE4, listener.getsockname()[1])
            return near, listener.accept()[0]
    with ns.listen("0.0.0.0", port) as listener:
        far = net.remote.connect(HOST4, port)
        return listener.accept()[0], far


def rate(net, ns, way, total, port=None):
    """Bytes a second of a new connection between ns and the remote host."""
    near, far = both(net, ns, port)
    with near, far:
        for s in near, far:
            s.settimeout(60)
        return total / seconds(*((near, far) if way == "up" else (far, near)), total)


def calm(ns, rtt_ms, inwards=False):
    """
    The namespace's kernel, unlike the others, has to see acknowledgements as early as it expects them. On the shorter paths, and where it
    was connected to and has seen nothing of the path, it expects them too early for a busy machine: there without probes of the tail, and
    on the shortest one with all the time in the world.
    """
    if rtt_ms < 20:
        ns.be_patient()
        return
    ns.ip("route", "replace", REMOTE4, "via", GW4, "dev", "eth0")
    if rtt_ms < 200 or inwards:
        ns.write("/proc/sys/net/ipv4/tcp_early_retrans", "0")


def compare(net, p, way, total, ports=(None, None), share=SHARE):
    """
    Connections of the host's own and of the namespace's take turns until one of these has its share; nothing is sent twice. Which share
    that was.
    """
    direct, ours = [], []
    while len(ours) < ROUNDS and (not ours or max(ours) < share * max(direct)):
        direct.append(rate(net, net.host, way, total, ports[0]))
        ours.append(rate(net, p.ns, way, total, ports[1]))
    assert max(ours) >= share * max(direct), (ours, direct)
    assert {ns.name: ns.sent_again() for ns in (p.ns, net.host, net.remote)} == {"inside": 0, "host": 0, "remote": 0}
    return max(ours) / max(direct)


def amount(rtt_ms, buf):
    return int(min(RATE[rtt_ms], buf * 1024 * 1000 / rtt_ms) * 1.2)


@pytest.mark.parametrize("net,buf,way", [(rtt, *case) for rtt, cases in SHORT.items() for case in (ALL if LONG else cases)], indirect=["net"])
def test_the_path_is_used(request, record_property, net, pasta, buf, way):
    rtt_ms = request.node.callspec.params["net"]
    net.buffers(buf << 10)
    # Short segments with the large buffer: there the kernel of the namespace has to find out for itself how much the path takes.
    p = pasta("--config-net", "--no-handover", "-m", 1500 if buf == max(KIB) else 65520, *NONE)
    calm(p.ns, rtt_ms)
    share = compare(net, p, way, amount(rtt_ms, buf))
    record_property("of the host's own rate", f"{share:.2f}")


@pytest.mark.parametrize("net,buf,way", [(rtt, *case) for rtt, cases in INWARDS.items() for case in cases], indirect=["net"])
def test_the_path_is_used_inwards(request, record_property, net, pasta, buf, way):
    """The remote host connects. What the namespace sends is acknowledged when the host's kernel has it, which fills the path by itself."""
    rtt_ms = request.node.callspec.params["net"]
    net.buffers(buf << 10)
    p = pasta("--config-net", "--no-handover", "-m", 1500 if buf == max(KIB) else 65520, "-t", PORT, *NONE[2:])
    calm(p.ns, rtt_ms, inwards=True)
    share = compare(net, p, way, amount(rtt_ms, buf), (PORT + 1, PORT), LESS.get((rtt_ms, buf, way), SHARE))
    record_property("of the host's own rate", f"{share:.2f}")


@pytest.mark.parametrize("net,buf,way", [(200, 256, "up"), (200, 4096, "up")], indirect=["net"])
def test_handed_over(net, pasta, buf, way):
    """Where the namespace doesn't see the path it waits for room, and takes that for no loss."""
    net.buffers(buf << 10)
    p = pasta("--config-net", "-m", 1500 if buf == max(KIB) else 65520, "-t", PORT, *NONE[2:])
    if "veth" not in p.ns.ip("-d", "link", "show", "dev", "eth0"):
        pytest.skip("this kernel has not all that it takes, or does not let users have it")
    calm(p.ns, 200)
    compare(net, p, way, amount(200, buf), (PORT + 1, PORT))
