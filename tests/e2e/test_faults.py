# SPDX-License-Identifier: MIT
"""
System calls that fail: strace(1) makes them, in a program that runs with its filter in place, while traffic goes both ways. Nobody may
come to harm but the connections of that moment; afterwards all works, and nothing is left of what was.

    guest (a namespace) --tap-- wire.c --socket-- passt in "host" ---veth--- "remote" (topology.py)
    namespace ---tap--- pasta in "host" ---veth--- "remote", and from loopback to loopback; also its agent in the namespace
    guest (scapy) ---vhost-user--- passt in "host"

With PASST_TEST_LONG=1 in the environment each call fails by itself as well, not only together with those of its kind.
"""
import contextlib
import os
import random
import socket
import struct
import subprocess
import time

import pytest
from lab import pasta as lab_pasta
from lab import servers, session
from lab.control import Control, step
from lab.program import Passt
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.vhostuser import VhostGuest
from lab.wait import LIMIT, Timeout, readable, ready, until
from lab.wire import WireGuest

LONG = bool(os.environ.get("PASST_TEST_LONG"))
KINDS = {
    "open": ("socket", "bind", "connect", "listen", "accept4", "pipe2", "epoll_ctl"),
    "ask": ("setsockopt", "getsockopt", "getsockname", "ioctl", "shutdown"),
    "move": ("sendmsg", "sendmmsg", "recvmsg", "recvmmsg", "recvfrom", "read", "write", "splice"),
}
# What they call beside these, or of these: the agent in the namespace, and for a guest whose frames are in memory.
AGENT_KINDS = {"open": ("socket", "bind", "listen"), "ask": ("setsockopt", "getsockname", "getsockopt"), "move": ("recvmsg", "sendmsg")}
VHOST_KINDS = {**KINDS, "move": (*KINDS["move"], "preadv2")}
ERRORS = "EMFILE", "ENOBUFS", "ENOMEM", "EAGAIN"
SIZE = 60000  # bytes of a connection, each way
SPELL = 1.0  # seconds of traffic while calls fail
PIPES_KEPT = 4  # by pasta, for the next connection


class Talk:
    """A connection to a server that says everything again."""

    def __init__(self, ns, to, port):
        self.data = memoryview(random.Random(port).randbytes(SIZE))
        self.sent, self.heard, self.over, self.ok = 0, b"", False, False
        self.sock = ns.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
        self.sock.setblocking(False)
        self.to = to, port
        self.sock.connect_ex(self.to)

    def step(self):
        try:
            if self.sent < SIZE:
                self.sent += self.sock.send(self.data[self.sent :])
                if self.sent == SIZE:
                    self.sock.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.over = True
        try:
            more = self.sock.recv(1 << 16)
            self.heard += more
            self.over = self.over or not more
            self.ok = not more and self.heard == self.data
        except BlockingIOError:
            pass
        except OSError:
            self.over = True

    def close(self):
        """With a reset, if it has not come to its end."""
        if not self.ok and self.sock.fileno() >= 0:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def end(talks):
    for t in talks:
        t.close()


def talk(all_of_them, seconds):
    """Those that came to a good end, of those that had that much time."""
    over = time.monotonic() + seconds
    while True:
        now = [t for t in all_of_them if not t.over]
        left = over - time.monotonic()
        if not now or left < 0:
            return [t for t in all_of_them if t.ok]
        socks = [t.sock for t in now]
        ready(min(left, 0.1), socks, [t.sock for t in now if t.sent < SIZE])
        for t in now:
            t.step()


class Caller:
    """Somebody who gets his own datagrams back."""

    def __init__(self, ns, to, port):
        """port 0: by echo requests, which the kernel answers."""
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        self.to = to, port
        self.sock = ns.socket(family, socket.SOCK_DGRAM, 0 if port else socket.IPPROTO_ICMP)
        self.sock.setblocking(False)
        self.words = b"word" if port else struct.pack(">BBHHH", 8, 0, 0, 0, 1) + b"word"

    def say(self):
        with contextlib.suppress(OSError):
            self.sock.sendto(self.words, self.to)

    def forget(self):
        with contextlib.suppress(OSError):
            while True:
                self.sock.recv(100)

    def answered(self):
        """It may take a second one: where the first has an error of before, or is too early."""
        self.forget()
        until(lambda: self.say() or readable(0.5, self.sock) and self._heard(), f"an answer from {self.to}")

    def _heard(self):
        with contextlib.suppress(OSError):
            return self.sock.recv(100)[-4:] == b"word"


class Rig:
    """The program, both ends of its traffic, and somebody who looks on. ways: (from, to there, address there, as seen from here, port)."""

    def __init__(self, program, ns, control, ways):
        self.program, self.ns = program, ns
        self.control = Control(control)
        self.empty = self.fds()
        self.stack = contextlib.ExitStack()
        self.stack.callback(self.control.close)
        self.ways, self.callers = [], []
        for near, far, at, to, port in ways:
            for make, sock in (servers.tcp_echo, far.listen(at, port)), (servers.udp_echo, far.udp(at, port)):
                server = self.stack.enter_context(contextlib.closing(make(sock)))
                if make == servers.tcp_echo:
                    self.ways.append((near, to, port or server.port))
                else:
                    self.callers += [Caller(near, to, port or server.port) for _ in range(2)]
        ns.write("/proc/sys/net/ipv4/ping_group_range", "0 0")
        self.callers.append(Caller(ns, REMOTE4, 0))
        for c in self.callers:
            self.stack.callback(c.sock.close)

    def fds(self):
        return len(os.listdir(f"/proc/{self.program.pid}/fd"))

    def begin(self, each):
        return [Talk(*way) for way in self.ways for _ in range(each)]

    def trouble(self):
        """Traffic of all kinds, of which some comes through."""
        talks, over = [], time.monotonic() + SPELL
        while time.monotonic() < over:
            more = self.begin(1)
            for c in self.callers:
                c.forget()
                c.say()
            talk(more, SPELL / 3)
            talks += more
        return talks

    def served(self):
        talks = self.begin(2)
        good = talk(talks, 3 * LIMIT)
        end(talks)
        assert len(good) == len(talks), [(t.to, t.sent, len(t.heard)) for t in talks if not t.ok]
        for c in self.callers:
            c.answered()

    def left(self):
        """Flows, but those of datagrams, which go by themselves when they are silent; and how many descriptors belong to none."""
        gauges = self.control.get("counters")["gauges"]
        flows = [f for f in self.control.flows() if f["proto"] == "tcp"]
        allowed = self.empty + gauges["flows"] + gauges.get("udp_splice_peers", 0) + gauges.get("tcp_handover_listeners", 0) + 2 * PIPES_KEPT * ("splices" in gauges)
        more = self.fds() - allowed
        return flows + [f"{more} descriptors"] * (more > 0)

    def close(self):
        self.stack.close()


@contextlib.contextmanager
def failing(net, pid, trace, injections):
    """These calls of a process fail meanwhile."""
    argv = ["strace", "-p", pid, "-o", trace, *(w for i in injections for w in ("-e", f"inject={i}:syscall=getpid"))]
    strace = net.host.popen(*argv, stderr=subprocess.PIPE, text=True)
    try:
        told = strace.stderr.readline()
        assert "attached" in told, told
        yield
    finally:
        strace.terminate()
        strace.communicate(timeout=LIMIT)


@pytest.fixture(scope="module")
def passt_rig(net, tmp_path_factory):
    work = tmp_path_factory.mktemp("passt")
    program = Passt(net.host, str(work), "-t", "8081", "-u", "8081", "-c", work / "control")
    guest = WireGuest(net.host, program, str(work))
    until(lambda: not guest.run("ping", "-n", "-c", "1", "-W", "1", REMOTE4, check=False).returncode, "the guest reaches the remote side")
    rig = Rig(program, guest, work / "control", [
        (guest, net.remote, REMOTE4, REMOTE4, 0),
        (guest, net.remote, REMOTE6, REMOTE6, 0),
        (net.remote, guest, HOST4, HOST4, 8081),
    ])
    yield rig
    rig.close()
    guest.close()
    program.close()


@pytest.fixture(scope="module")
def pasta_rig(request, net, tmp_path_factory):
    if lab_pasta.no_tun():
        pytest.skip(lab_pasta.no_tun())
    work = tmp_path_factory.mktemp("pasta")
    ports = "-t", "8082", "-u", "8082", "-T", "8083", "-U", "8083", "--host-lo-to-ns-lo"
    program = lab_pasta.Pasta(net.host, str(work), "--config-net", *ports, "-c", work / "control", *getattr(request, "param", ["--no-handover"]))
    ns = program.ns
    rig = Rig(program, ns, work / "control", [
        (ns, net.remote, REMOTE4, REMOTE4, 0),
        (ns, net.remote, REMOTE6, REMOTE6, 0),
        (net.remote, ns, HOST4, HOST4, 8082),
        (net.host, ns, "127.0.0.1", "127.0.0.1", 8082),
        (ns, net.host, "127.0.0.1", "127.0.0.1", 8083),
    ])
    yield rig
    rig.close()
    program.close()


def errors(kind):
    """An error that no call of the kind has for shortage would be the end of the guest's connection, and rightly so."""
    return [e for e in ERRORS if e != "EMFILE" or kind != "move"]


def cases(kinds, every=True):
    """What fails together, and with which error; or, where one run is like others, with one of them each."""
    for i, (kind, calls) in enumerate(kinds.items()):
        for error in errors(kind) if every or LONG else errors(kind)[i : i + 1]:
            yield pytest.param(calls, f"error={error}", id=f"{kind}-{error}")
    # As if the other side took nothing: the least that can be written.
    if every:
        yield pytest.param(("sendmsg",), "retval=0", id="short")
    for kind, calls in kinds.items():
        for call in calls if LONG else ():
            for error in errors(kind):
                yield pytest.param((call,), f"error={error}", id=f"{call}-{error}")


def third(calls, how):
    """Of the calls of each name, every third one fails."""
    return [f"{call}:{how}:when={1 + i % 3}+3" for i, call in enumerate(calls)]


def injected(trace, calls, how):
    """Calls have failed; of one alone, there may be none."""
    return "(INJECTED)" in trace.read_text(errors="replace") or (len(calls) == 1 and how != "retval=0")


def survives(net, rig, tmp_path, calls, how):
    trace = tmp_path / "trace"
    rig.served()
    with failing(net, rig.program.pid, trace, third(calls, how)):
        talks = rig.trouble()
        # No kernel has nothing to read where it has just told of an end; and it does so once.
        if how != "error=EAGAIN":
            end(talks)
    end(talks)
    assert rig.program.alive(), rig.program.output()
    assert injected(trace, calls, how)
    rig.served()
    with contextlib.suppress(Timeout):
        until(lambda: not rig.left(), "nothing is left")
    assert not rig.left()


@pytest.mark.parametrize(("calls", "how"), cases(KINDS))
def test_passt(net, passt_rig, tmp_path, calls, how):
    survives(net, passt_rig, tmp_path, calls, how)
    assert "Client connection closed" not in passt_rig.program.output()


@pytest.mark.parametrize(("calls", "how"), cases(KINDS))
def test_pasta(net, pasta_rig, tmp_path, calls, how):
    survives(net, pasta_rig, tmp_path, calls, how)


@pytest.mark.parametrize("pasta_rig", [[]], ids=["handed"], indirect=True)
@pytest.mark.parametrize(("calls", "how"), [c for c in cases(KINDS) if LONG or c.id in ("open-EMFILE", "ask-ENOMEM", "move-ENOBUFS", "short")])
def test_pasta_that_hands_over(net, pasta_rig, tmp_path, calls, how):
    survives(net, pasta_rig, tmp_path, calls, how)


# The namespace agent


def ports_come_and_go(rig, seconds):
    """What the agent has to do is to open ports, and sockets for connections into the namespace."""
    over = time.monotonic() + seconds
    while time.monotonic() < over:
        rig.control.change(step("add", "8090-8093", table="out"))
        talks = rig.begin(1)
        talk(talks, seconds / 3)
        # Some hundred come to their end in that time; kept, they would be more than a thousand descriptors on a fast machine.
        end(talks)
        rig.control.change(step("remove", "8090-8093", table="out"))


@pytest.mark.parametrize(("calls", "how"), cases(AGENT_KINDS, False))
def test_agent(net, pasta_rig, tmp_path, calls, how):
    """It stays, and so does pasta; ports are opened again, and nothing is left of those that were not."""
    rig, trace, pid = pasta_rig, tmp_path / "trace", lab_pasta.namespace_agent(pasta_rig.program.pid)
    rig.served()
    with failing(net, pid, trace, third(calls, how)):
        ports_come_and_go(rig, 2 * SPELL)
    assert rig.program.alive() and lab_pasta.namespace_agent(rig.program.pid) == pid, rig.program.output()
    assert injected(trace, calls, how)
    rig.served()
    assert rig.control.change(step("add", "8094", table="out"))["ok"]
    lab_pasta.wait_listening(rig.ns, 8094)
    assert rig.control.change(step("remove", "8094", table="out"))["ok"]
    lab_pasta.wait_closed(rig.ns, 8094)
    until(lambda: not rig.left(), "nothing is left")


def test_agent_without_memory(net, pasta_rig, tmp_path):
    """However long that is so."""
    rig, pid = pasta_rig, lab_pasta.namespace_agent(pasta_rig.program.pid)
    rig.served()
    with failing(net, pid, tmp_path / "trace", ["sendmsg:error=ENOBUFS"]):
        end(rig.trouble())
    assert "(INJECTED)" in (tmp_path / "trace").read_text(errors="replace")
    assert rig.program.alive() and lab_pasta.namespace_agent(rig.program.pid) == pid, rig.program.output()
    rig.served()


# A guest whose frames are in memory


@pytest.fixture(scope="module")
def vhost_rig(net, tmp_path_factory):
    work = tmp_path_factory.mktemp("vhost")
    program = Passt(net.host, str(work), "--vhost-user", *session.passt_options(work / "control"))
    guest = VhostGuest(program.socket_path)
    guest.announce()
    echo = servers.udp_echo(net.remote.udp(REMOTE4))
    yield program, guest, echo.port
    echo.close()
    guest.close()
    program.close()


@pytest.mark.parametrize(("calls", "how"), cases(VHOST_KINDS, False))
def test_vhost_user(net, vhost_rig, tmp_path, calls, how):
    program, guest, port = vhost_rig
    trace = tmp_path / "trace"
    session.served(net, guest, port)
    with failing(net, program.pid, trace, third(calls, how)):
        over = time.monotonic() + SPELL
        while time.monotonic() < over:
            session.use(net, guest, port)
    assert program.alive(), program.output()
    assert injected(trace, calls, how)
    guest.drain()
    session.served(net, guest, port)
    assert "Client connection closed" not in program.output()
