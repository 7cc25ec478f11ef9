# SPDX-License-Identifier: MIT
"""
Network namespaces without root: each lives as long as a small broker process in it, which also makes sockets there and hands them to us,
so that a test uses sockets of several namespaces side by side. The broker ends when our end of its channel closes.
"""
import array
import json
import os
import socket
import subprocess
import sys

_BROKER = os.path.abspath(__file__)
PYTHON = "/usr/bin/python3"
_ENTER = ["nsenter", "-U", "-n", "-m", "--preserve-credentials"]


class Ns:
    """A user, network and mount namespace; or, with parent, a further network and mount namespace of the parent's user namespace."""

    def __init__(self, name, parent=None):
        self.name = name
        ours, theirs = socket.socketpair()
        theirs.setblocking(True)
        new = ["unshare", "-n", "-m"] if parent else ["unshare", "-U", "-r", "-n", "-m"]
        with theirs:
            argv = (parent.enter if parent else []) + new + [PYTHON, _BROKER, str(theirs.fileno())]
            self._broker = subprocess.Popen(argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        self._channel = ours
        if not ours.recv(1):
            raise RuntimeError(f"cannot make the namespaces for '{name}' (unshare failed)")
        self.run("ip", "link", "set", "lo", "up")

    @property
    def pid(self):
        return self._broker.pid

    @property
    def enter(self):
        return _ENTER + ["-t", str(self.pid), "--"]

    def popen(self, *argv, **kw):
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen(self.enter + [str(a) for a in argv], **kw)

    def run(self, *argv, check=True, timeout=60, **kw):
        """Runs a command in here to its end; CompletedProcess with text output. A failure shows what the command said."""
        kw.setdefault("stdin", subprocess.DEVNULL)
        done = subprocess.run(self.enter + [str(a) for a in argv], capture_output=True, text=True, timeout=timeout, **kw)
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(map(str, argv))}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ip(self, *args):
        return self.run("ip", *args).stdout

    def counters(self):
        """What the namespace's kernel has counted since its beginning."""
        rows = (line.split() for line in self.run("nstat", "-asz").stdout.splitlines() if not line.startswith("#"))
        return {row[0]: int(row[1]) for row in rows}

    def counter(self, name):
        return self.counters()[name]

    def sent_again(self):
        """TCP segments that the kernel sent more than once; without SYNs, as nobody knows how long the answer to one takes."""
        now = self.counters()
        return now["TcpRetransSegs"] - now["TcpExtTCPSynRetrans"]

    def write(self, path, text):
        """Writes a file as seen from in here: sysctls above all."""
        self.run("sh", "-c", 'printf %s "$1" > "$2"', "sh", text, path)

    def bind_file(self, path, text, where):
        """Shows text as path in here only; where is a file of ours that holds it."""
        with open(where, "w", encoding="ascii") as f:
            f.write(text)
        self.run("mount", "--bind", where, os.path.realpath(path))

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, proto=0):
        """A socket of this namespace."""
        self._channel.sendall(json.dumps([int(family), int(kind), proto]).encode() + b"\n")
        fds = array.array("i")
        data, anc, _, _ = self._channel.recvmsg(256, socket.CMSG_LEN(fds.itemsize))
        for level, cmsg, body in anc:
            if level == socket.SOL_SOCKET and cmsg == socket.SCM_RIGHTS:
                fds.frombytes(body[: fds.itemsize])
        if not fds:
            raise OSError(data.decode())
        s = socket.socket(family, kind, proto, fileno=fds[0])
        s.settimeout(20)
        return s

    def listen(self, addr, port=0, backlog=128):
        """A listening TCP socket; port 0 picks one."""
        s = self.socket(family_of(addr), socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((addr, port))
        s.listen(backlog)
        return s

    def connect(self, addr, port, source=None):
        s = self.socket(family_of(addr), socket.SOCK_STREAM)
        if source:
            s.bind((source, 0))
        s.connect((addr, port))
        return s

    def udp(self, addr, port=0):
        """A bound UDP socket."""
        s = self.socket(family_of(addr), socket.SOCK_DGRAM)
        s.bind((addr, port))
        return s

    def close(self):
        self._channel.close()
        self._broker.wait()


def family_of(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


def _serve(fd):
    channel = socket.socket(fileno=fd)
    channel.sendall(b"+")
    for line in channel.makefile("rb"):
        try:
            with socket.socket(*json.loads(line)) as s:
                socket.send_fds(channel, [b"+"], [s.fileno()])
        except OSError as e:
            channel.sendall(str(e).encode())


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
