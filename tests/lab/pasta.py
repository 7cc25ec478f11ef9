# SPDX-License-Identifier: MIT
"""
pasta as a process in a namespace, and the namespaces that it connects.

Inside a namespace of pasta's, programs see the files and processes of the host, so that /proc and everything that is installed works.
"""
import os
import signal
import socket
import subprocess

from . import netns
from .program import Passt, assert_clean, binary, gone
from .topology import GW4, GW6, REMOTE4, REMOTE6
from .wait import LIMIT, until

TUN = "/dev/net/tun"


def no_tun():
    """Why pasta can't make an interface here; None if it can."""
    return None if os.access(TUN, os.R_OK | os.W_OK) else f"{TUN} is not open to this user"


def program(workdir, exe=None):
    """The program by the name of pasta."""
    path = os.path.join(workdir, "pasta")
    if not os.path.lexists(path):
        os.symlink(exe or binary(), path)
    return path


class Inside(netns.Ns):
    """A network namespace that has a process already: a broker, with our end of its channel. Others by prefix() only."""

    def __init__(self, host, name, pid, channel, broker=None, user=True):  # pylint: disable=super-init-not-called
        self._join = ["nsenter", "-n", "--preserve-credentials"] + (["-U"] if user else []) + ["-t", str(pid), "--"]
        self.name = name
        self._host = host
        self._pid = pid
        self._channel = channel
        self._broker = broker

    @property
    def pid(self):
        return self._pid

    @property
    def enter(self):
        return self._host.enter + self._join

    def be_patient(self):
        """
        The kernel waits for acknowledgements for as long as they may take on a busy machine, on the way to REMOTE4 and REMOTE6: what it sends
        again then, we have lost.
        """
        self.write("/proc/sys/net/ipv4/tcp_early_retrans", "0")
        for dst, gw in (REMOTE4, GW4), (REMOTE6, GW6):
            self.ip("route", "replace", dst, "via", gw, "dev", "eth0", "rto_min", "10s")

    def addresses(self, dev, scope="global"):
        """["192.0.2.2/24", ...] as the kernel lists them."""
        return [w[3] for w in (line.split() for line in self.ip("-o", "address", "show", "dev", dev, "scope", scope).splitlines())]

    def routes(self, family="-4"):
        """The lines of the main table, without what the kernel made for itself."""
        lines = self.ip(family, "route", "show").splitlines()
        return [" ".join(line.split()) for line in lines if "proto kernel" not in line and not line.startswith("multicast")]

    def close(self):
        self._channel.close()
        if self._broker:
            self._broker.wait()


def _channel():
    ours, theirs = socket.socketpair()
    theirs.setblocking(True)
    return ours, theirs


def box(host, user=True):
    """Namespaces next to pasta, as a container has them: one network namespace, in a user namespace of its own unless user is False."""
    ours, theirs = _channel()
    new = ["unshare", "-n"] + (["-U", "-r"] if user else [])
    with theirs:
        broker = subprocess.Popen(host.enter + new + [netns.PYTHON, netns.__file__, "0"], stdin=theirs)
    if not ours.recv(1):
        raise RuntimeError("cannot make the namespaces for a container (unshare failed)")
    return Inside(host, "box", broker.pid, ours, broker, user)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


def _ours(pid):
    """Its children that are called like it, and whether they are in its network namespace."""
    net = os.readlink(f"/proc/{pid}/ns/net")
    for child in children(pid):
        with open(f"/proc/{child}/comm", encoding="ascii") as f:
            if f.read().startswith("pas"):
                yield child, os.readlink(f"/proc/{child}/ns/net") == net


def host_agent(pid):
    """The process that watches the host for passt or pasta in the foreground."""
    return next(child for child, near in _ours(pid) if near)


def namespace_agent(pid):
    """The process that pasta in the foreground has in the namespace."""
    return next(child for child, near in _ours(pid) if not near)


class Process(Passt):
    """pasta as a child of ours, in the foreground."""

    def __init__(self, ns, workdir, *argv, prefix=(), exe=None, **kw):  # pylint: disable=super-init-not-called
        self.ended = False
        self._output = os.path.join(workdir, "pasta.output")
        with open(self._output, "w", encoding="utf-8") as out:
            kw.setdefault("stdout", out)
            kw.setdefault("stderr", subprocess.STDOUT)
            self.process = ns.popen(*prefix, program(workdir, exe), *argv, **kw)

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"pasta ended with status {self.process.returncode}:\n{self.output()}")
        return True

    def says(self, text):
        """Waits for a text of it or its command."""
        until(lambda: text in self.output() or not self._ready(), f"pasta or its command says '{text}'")

    def wait_pid_file(self, path):
        """Until it has written the file, which it does when it is ready for everything."""
        until(lambda: self._ready() and path.exists() and path.read_text(), "pasta is ready")

    def fds(self):
        """How many descriptors it has."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def children(self):
        return children(self.pid)


class Pasta(Process):
    """pasta with a command: a broker in the namespace, which self.ns makes sockets with. Ready when constructed."""

    def __init__(self, host, workdir, *args, **kw):
        ours, theirs = _channel()
        with theirs:
            super().__init__(host, workdir, *args, "--", netns.PYTHON, netns.__file__, "0", stdin=theirs, **kw)
        ours.settimeout(LIMIT)
        if not ours.recv(1):
            self.process.wait(LIMIT)
            self._ready()
        ours.settimeout(None)
        self.ns = Inside(host, "inside", self._broker_pid(), ours)

    def _broker_pid(self):
        agents = [pid for pid, _ in _ours(self.pid)]
        for pid in self.children():
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if netns.__file__.encode() in f.read() and pid not in agents:
                    return pid
        raise AssertionError("pasta has no command")

    def close(self):
        """The command ends with its channel, and pasta with the command."""
        if self.ended:
            return
        self.ended = True
        alive = self.alive()
        self.ns.close()
        try:
            status = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        assert_clean(self.output())
        assert alive, f"pasta ended by itself with status {status}:\n{self.output()}"
        assert status == 0, f"pasta ended with status {status} after its command:\n{self.output()}"


class Daemon:
    """pasta that goes to the background. Started through a pipe up to its end, as managers do."""

    def __init__(self, ns, workdir, *args, prefix=(), check=True):
        self.pid_file = os.path.join(workdir, "pasta.pid")
        self.done = ns.run(*prefix, program(workdir), "--pid", self.pid_file, *args, check=False, timeout=60)
        if check:
            assert self.done.returncode == 0, self.done.stderr

    @property
    def pid(self):
        with open(self.pid_file, encoding="ascii") as f:
            return int(f.read())

    def gone(self):
        return gone(self.pid)

    def close(self):
        try:
            if not os.path.getsize(self.pid_file):
                return
            if not self.gone():
                os.kill(self.pid, signal.SIGTERM)
        except FileNotFoundError:
            return
        until(self.gone, "daemon is gone")


def wait_listening(ns, port, what="", udp=False, address=""):
    """Until something listens on a port in a namespace, as its kernel says."""
    until(lambda: listening(ns, port, udp, address), what or f"port {port} is open in {ns.name}")


def wait_closed(ns, port, udp=False):
    until(lambda: not listening(ns, port, udp), f"port {port} is closed in {ns.name}")


def listening(ns, port, udp=False, address=""):
    out = ns.run("ss", "-Hnlu" if udp else "-Hnlt", f"sport = :{port}").stdout
    return [line for line in out.splitlines() if address in line]


def exchange_tcp(server_ns, at, port, client_ns, to, to_port=0, source=None):
    """Connects and sends a word both ways: the addresses that the server sees, (peer, own). to_port 0: the server's."""
    with server_ns.listen(at, port) as server, client_ns.connect(to, to_port or server.getsockname()[1], source) as s:
        conn, peer = server.accept()
        with conn:
            conn.settimeout(20)
            s.sendall(b"question")
            assert conn.recv(8) == b"question"
            conn.sendall(b"answer")
            assert s.recv(6) == b"answer"
            return peer[0], conn.getsockname()[0]


def exchange_udp(server_ns, at, port, client_ns, to, to_port, source=None):
    with server_ns.udp(at, port) as server, client_ns.udp(source or ("::" if netns.family_of(to) == socket.AF_INET6 else "0.0.0.0")) as s:
        if netns.family_of(at) == socket.AF_INET:
            server.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        else:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        s.sendto(b"question", (to, to_port))
        data, anc, _, peer = server.recvmsg(100, 100)
        assert data == b"question"
        server.sendto(b"answer", peer)
        data, sender = s.recvfrom(100)
        assert data == b"answer" and sender[:2] == (to, to_port)
        info = anc[0][2]
        return peer[0], socket.inet_ntop(netns.family_of(at), info[8:12] if netns.family_of(at) == socket.AF_INET else info[:16])


def connects(net, ns):
    """A connection out of the namespace."""
    exchange_tcp(net.remote, REMOTE4, 0, ns, REMOTE4)


def mounted(host, ns, path):
    """Shows the network namespace as a file of the host namespace."""
    path.touch()
    host.run("mount", "--bind", f"/proc/{ns.pid}/ns/net", path)
    return path
