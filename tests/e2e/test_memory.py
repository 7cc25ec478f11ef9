# SPDX-License-Identifier: MIT
"""
System calls for memory: none comes once the program runs.

    guest (scapy) ---socket--- passt, watched by strace, in "host" ---veth--- "remote" (topology.py)
"""
import re

import pytest
from lab import servers
from lab.control import Control, step
from lab.guest import Guest, Tcp
from lab.program import binary
from lab.topology import HOST4, REMOTE4, REMOTE6
from lab.wait import Timeout, until
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.packet import Raw


def watched(start, trace, *args, options=()):
    """The program, without the agent that it has, with strace as its observer, not its parent."""
    return start(*args, prefix=("strace", "-D", "-qq", "-o", trace, *options))


def use(net, guest, echo):
    """A bit of everything, without a look at what becomes of it."""
    for i in range(8):
        for dst in REMOTE4, REMOTE6:
            guest.send(guest.ip(dst) / TCP(sport=3000 + i, dport=echo, flags="S", seq=7))
            guest.send(guest.ip(dst) / UDP(sport=3000 + i, dport=echo) / Raw(b"x"))
        guest.send(guest.ip(REMOTE4) / ICMP(id=3000 + i, seq=1))
        with net.remote.socket() as s:
            s.setblocking(False)
            s.connect_ex((HOST4, 8080))
        with net.remote.udp(REMOTE4) as s:
            s.sendto(b"x", (HOST4, 5000))
        guest.forget()


def served(net, guest, port):
    """TCP both ways and a datagram."""
    with net.remote.listen(REMOTE4) as server:
        t = Tcp(guest, REMOTE4, server.getsockname()[1])
        t.connect()
        conn, _ = server.accept()
    with conn:
        t.send("A", b"data of the guest")
        assert conn.recv(100) == b"data of the guest"
        conn.sendall(b"data of the host")
        assert t.recv(16) == b"data of the host"
        t.send("RA")
    guest.udp(REMOTE4, port, b"datagram", sport=t.sport)
    assert guest.expect_udp(port, t.sport) == b"datagram"


def announced(guest):
    try:
        guest.announce()
        return True
    except (Timeout, OSError):
        return False


with open(binary(), "rb") as f:
    SANITIZED = b"__asan_init" in f.read()


@pytest.mark.skipif(SANITIZED, reason="the memory of a sanitizer grows, whatever we do")
def test_no_memory_is_asked_for_after_the_start(start, net, tmp_path):
    """All of it was mapped before: for flows of all kinds, services, control requests, a capture, a guest that comes again."""
    trace = tmp_path / "trace"
    passt = watched(start, trace, "-t", "8080", "-u", "5000", "-c", tmp_path / "control", options=("-e", "trace=brk,mmap,mremap,munmap"))
    guest = Guest(passt.socket_path)
    guest.announce()
    before = trace.read_text()
    echo = servers.udp_echo(net.remote.udp(REMOTE4))
    for _ in range(2):
        use(net, guest, 9)
        served(net, guest, echo.port)
        with Control(tmp_path / "control") as c, open(tmp_path / "capture", "wb") as f:
            for what in "hello", "forwards", "flows", "counters":
                c.get(what)
            c.get("capture", fds=[f.fileno()], action="start")
            guest.barrier()
            c.get("capture", action="stop")
            assert c.change(step("add", "8081"))["ok"]
            assert c.change(step("remove", "8081"))["ok"]
        guest.close()
        guest = Guest(passt.socket_path)
        until(lambda: announced(guest), "a guest that is served")
    asked = trace.read_text()[len(before) :]
    assert not re.search(r"\b(brk|mmap|mremap)\(", asked), asked
    guest.close()
    echo.close()
