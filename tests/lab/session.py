# SPDX-License-Identifier: MIT
"""
A bit of everything that the program does, one after the other: for tests that look at something else meanwhile.

    guest ---socket--- passt in "host" ---veth--- "remote"          namespace ---tap--- pasta in "host" ---veth--- "remote"
"""
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.packet import Raw

from . import servers
from .control import Control, step
from .guest import Tcp
from .pasta import exchange_tcp, exchange_udp
from .topology import HOST4, REMOTE4, REMOTE6


def passt_options(control):
    return "-t", "8080", "-u", "5000", "-c", control


def use(net, guest, port):
    """Flows of all kinds, without a look at what becomes of them."""
    for i in range(8):
        for dst in REMOTE4, REMOTE6:
            guest.send(guest.ip(dst) / TCP(sport=3000 + i, dport=port, flags="S", seq=7))
            guest.send(guest.ip(dst) / UDP(sport=3000 + i, dport=port) / Raw(b"x"))
        guest.send(guest.ip(REMOTE4) / ICMP(id=3000 + i, seq=1))
        with net.remote.socket() as s:
            s.setblocking(False)
            s.connect_ex((HOST4, 8080))
        with net.remote.udp(REMOTE4) as s:
            s.sendto(b"x", (HOST4, 5000))
        guest.forget()


def served(net, guest, port):
    """TCP both ways, and a datagram to the server of that port, which comes back."""
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


def ask(control, capture, settle):
    """Requests and changes at the control socket, and a capture; settle() has some frames in it."""
    with Control(control) as c, open(capture, "wb") as f:
        for what in "hello", "forwards", "flows", "counters":
            c.get(what)
        c.get("capture", fds=[f.fileno()], action="start")
        settle()
        c.get("capture", action="stop")
        assert c.change(step("add", "8081"))["ok"]
        assert c.change(step("remove", "8081"))["ok"]


def of_passt(net, guest, again, control, capture):
    """With a guest that is served, and goes, and another one from again(); twice."""
    echo = servers.udp_echo(net.remote.udp(REMOTE4))
    for _ in range(2):
        use(net, guest, 9)
        served(net, guest, echo.port)
        ask(control, capture, guest.barrier)
        guest.close()
        guest = again()
    guest.close()
    echo.close()


def pasta_options(control):
    return "--config-net", "-t", "8082", "-u", "8082", "-T", "8083", "-U", "8083", "--host-lo-to-ns-lo", "-c", control


def of_pasta(net, ns, control, capture):
    """Out of the namespace and into it, over the interface and from loopback to loopback."""
    for _ in range(2):
        for exchange in exchange_tcp, exchange_udp:
            for addr in REMOTE4, REMOTE6:
                exchange(net.remote, addr, 8084, ns, addr, 8084)
            exchange(ns, HOST4, 8082, net.remote, HOST4, 8082)
            exchange(ns, "127.0.0.1", 8082, net.host, "127.0.0.1", 8082)
            exchange(net.host, "127.0.0.1", 8083, ns, "127.0.0.1", 8083)
        ask(control, capture, lambda: None)
