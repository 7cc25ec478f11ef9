# SPDX-License-Identifier: MIT
"""
Sockets that a service manager has opened (sd_listen_fds(3)): handed over as systemd does, by number and environment.

    this test, as the manager ---sockets---> passt or pasta in "host" ---veth--- "remote" (topology.py)
"""
import os
import socket
import subprocess
import sys

import pytest
from lab.control import Control
from lab.guest import Guest, Tcp
from lab.netns import family_of
from lab.pasta import program as pasta_program
from lab.program import Passt, binary
from lab.topology import HOST4, HOST6, REMOTE4
from lab.wait import until
from scapy.layers.inet import UDP

# Puts the descriptors of its first argument at 3 and above, and becomes the rest of them.
HANDOVER = """import os, sys
fds = [os.dup(int(n)) for n in sys.argv[1].split(",") if n]
high = [os.dup2(fd, 500 + i) for i, fd in enumerate(fds)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i)
os.environ["LISTEN_PID"] = str(os.getpid() + int(os.environ.pop("OFF", "0")))
os.environ["LISTEN_FDS"] = os.environ.pop("COUNT", str(len(fds)))
os.execvp(sys.argv[2], sys.argv[2:])
"""


class Activated(Passt):
    def __init__(self, ns, workdir, sockets, *args, names=None, program=None, **env):  # pylint: disable=super-init-not-called
        self.ended = False
        self._output = os.path.join(workdir, "activated.output")
        fds = [s.fileno() for s in sockets]
        env = {**os.environ, **env}
        if names is not None:
            env["LISTEN_FDNAMES"] = ":".join(names)
        argv = [sys.executable, "-c", HANDOVER, ",".join(map(str, fds)), program or binary(), *args]
        with open(self._output, "w", encoding="utf-8") as out:
            self.process = ns.popen(*argv, stdout=out, stderr=subprocess.STDOUT, pass_fds=fds, env=env)

    def ready(self, text="You can now start"):
        until(lambda: text in self.output() or self.process.poll() is not None, f"it says '{text}'")
        assert text in self.output(), self.output()
        return self


@pytest.fixture
def activate(net, tmp_path):
    running = []

    def begin(sockets, *args, **kw):
        work = tmp_path / f"activated{len(running)}"
        work.mkdir()
        running.append(Activated(net.host, str(work), sockets, *args, **kw))
        return running[-1]

    yield begin
    for p in running:
        p.close()


def unix(path, kind=socket.SOCK_STREAM):
    s = socket.socket(socket.AF_UNIX, kind)
    s.bind(str(path))
    if kind != socket.SOCK_DGRAM:
        s.listen()
    return s


def refused(p):
    assert p.wait() == 1
    return p.output()


def test_the_socket_of_the_guest(activate, tmp_path):
    """A guest that came before us waits in the queue. The socket is the manager's: it stays at the end."""
    path = tmp_path / "guest"
    with unix(path) as s:
        g = Guest(str(path))
        p = activate([s], "-f").ready()
        assert f"addr.path={path}" in p.output()
        g.announce()
        g.close()
        assert p.stop() == 0
        socket.socket(socket.AF_UNIX).connect(str(path))


def test_a_daemon_takes_it_along(activate, tmp_path):
    path, pid = tmp_path / "guest", tmp_path / "pid"
    with unix(path) as s:
        p = activate([s], "-P", str(pid))
        assert p.wait() == 0
        g = Guest(str(path))
        g.announce()
        g.close()
        os.kill(int(pid.read_text()), 15)


def test_a_connection_is_the_guest(activate):
    """As with Accept=yes: one guest, and the end with it."""
    ours, theirs = socket.socketpair()
    p = activate([theirs], "-f")
    theirs.close()
    until(lambda: "MAC:" in p.output(), "it has started")
    ours.close()
    assert p.wait() == 0


def test_by_systemd_itself(net, tmp_path):
    path = tmp_path / "guest"
    tool = net.host.popen("systemd-socket-activate", "-l", path, binary(), "-f", stderr=subprocess.DEVNULL)
    until(path.exists, "the socket is there")
    g = Guest(str(path))
    g.announce()
    g.close()
    tool.terminate()
    assert tool.wait(30) == 0


def test_the_control_socket_by_its_name(activate, tmp_path):
    with unix(tmp_path / "guest") as g, unix(tmp_path / "control") as c:
        activate([c, g], "-f", names=["control", "guest"]).ready()
        with Control(tmp_path / "control") as client:
            assert client.get("hello")["program"] == "passt"
        Guest(str(tmp_path / "guest")).close()


def test_ports_are_forwarded(net, activate, tmp_path):
    """Without a word, to the port of the same number; by a rule, to where that says. Ports below 1024, too."""
    tcp, udp, low = net.host.listen("0.0.0.0", 8080), net.host.udp("0.0.0.0", 5000), net.host.listen("0.0.0.0", 80)
    with tcp, udp, low, unix(tmp_path / "guest") as s:
        p = activate([tcp, s, udp, low], "-f", "-t", "0.0.0.0/80:8081").ready()
    for rule in "TCP 0.0.0.0/8080", "UDP 0.0.0.0/5000", "TCP 0.0.0.0/80:8081":
        assert rule in p.output()
    guest = Guest(str(tmp_path / "guest"))
    guest.announce()
    for port, inside in (8080, 8080), (80, 8081):
        with net.remote.socket() as c:
            c.setblocking(False)
            c.connect_ex((HOST4, port))
            t = Tcp.accept(guest, inside)
            t.send("PA", b"hello")
            c.settimeout(20)
            assert c.recv(5) == b"hello"
    with net.remote.udp(REMOTE4) as c:
        c.sendto(b"question", (HOST4, 5000))
        got = guest.expect(lambda p: UDP in p and p[UDP].dport == 5000, "datagram")
        guest.udp(REMOTE4, got[UDP].sport, b"answer", sport=5000)
        assert c.recvfrom(100) == (b"answer", (HOST4, 5000))
    guest.close()


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_socket_of_both_families_for_one(net, activate, tmp_path, family):
    """As a service manager makes it of a mere number, whatever we are to do."""
    with net.host.socket(socket.AF_INET6, socket.SOCK_STREAM) as tcp, unix(tmp_path / "guest") as s:
        tcp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        tcp.bind(("::", 8080))
        tcp.listen()
        activate([tcp, s], "-f", family).ready()
    guest = Guest(str(tmp_path / "guest"))
    announce, to = {"-4": (guest.announce4, HOST4), "-6": (guest.announce6, HOST6)}[family]
    announce()
    with net.remote.socket(family_of(to)) as c:
        c.setblocking(False)
        c.connect_ex((to, 8080))
        Tcp.accept(guest, 8080)
    guest.close()


def test_pasta(net, activate, tmp_path):
    """Its control socket and a port, and nothing of it for the command."""
    with net.host.listen("127.0.0.1", 8080) as tcp, unix(tmp_path / "control") as c:
        p = activate([tcp, c], "--splice-only", "-t", "none", "-T", "none", "-U", "none", "-u", "none", "--", "sh", "-c",
                     "echo ${LISTEN_FDS-none} ${LISTEN_PID-none} ${LISTEN_FDNAMES-none} $(ls /proc/self/fd | wc -l); exec sleep 600",
                     names=["", "control"], program=pasta_program(str(tmp_path)))
        p.ready("none none none 4")
    with Control(tmp_path / "control") as client:
        assert client.specs() == [("in", "tcp", "127.0.0.1/8080", "bound")]
    # Nobody listens in the namespace.
    with pytest.raises(ConnectionResetError), net.host.connect("127.0.0.1", 8080) as s:
        s.recv(1)
        raise AssertionError("an end of file instead")
    p.ended = True
    p.process.terminate()
    assert p.process.wait(30) == 128 + 15


def test_for_somebody_else(activate, tmp_path):
    """Another process's sockets, or none, are none of ours."""
    with unix(tmp_path / "other") as s:
        for env in {"OFF": "1"}, {"COUNT": "0"}:
            path = tmp_path / f"own{len(env)}{next(iter(env))}"
            p = activate([s], "-f", "-s", str(path), **env).ready()
            assert path.exists() and p.stop() == 0


@pytest.mark.parametrize("make,args,names,why", [
    (["guest"], ["-s", "/tmp/x"], None, "there is another socket for the guest"),
    (["guest", "guest2"], [], None, "there is another socket for the guest"),
    (["guest"], ["--vhost-user", "--fd", "0"], None, "there is another socket for the guest"),
    (["control", "control2"], [], ["control", "control"], "there is another control socket"),
    (["control"], ["-c", "/tmp/x"], ["control"], "there is another control socket"),
    (["dgram"], ["--vhost-user"], None, "is not a socket of the right type"),
    (["dgram"], [], ["control"], "Protocol not supported"),
    (["file"], [], None, "Socket operation on non-socket"),
    (["tcp"], ["-t", "8080"], None, "Forwarding configuration conflict: "),
    (["tcp"], ["--no-tcp"], None, "Port forwarding of TCP, but TCP is disabled"),
])
def test_what_makes_no_sense(net, activate, tmp_path, make, args, names, why):
    made = []
    for name in make:
        if name == "tcp":
            made.append(net.host.listen("127.0.0.1", 8080))
        elif name == "file":
            made.append(open(os.devnull, "rb"))
        else:
            made.append(unix(tmp_path / name, socket.SOCK_DGRAM if name == "dgram" else socket.SOCK_STREAM))
    assert why in refused(activate(made, "-f", *args, names=names))
    for s in made:
        s.close()


@pytest.mark.parametrize("count", ["-1", "x", "", "9999999999"])
def test_a_number_that_is_none(activate, tmp_path, count):
    with unix(tmp_path / "guest") as s:
        assert "Sockets of the service manager (LISTEN_FDS): Invalid argument" in refused(activate([s], "-f", COUNT=count))


def test_more_than_there_are(activate, tmp_path):
    with unix(tmp_path / "guest") as s:
        assert "Sockets of the service manager (LISTEN_FDS): Bad file descriptor" in refused(activate([s], "-f", COUNT="200"))
