# SPDX-License-Identifier: MIT
"""Servers as threads of the test, on sockets of any namespace."""
import hashlib
import json
import select
import socket
import struct
import subprocess
import threading

from .wait import until


class Server:
    """A thread that serves a socket until close(). Exceptions are kept, and raised by close()."""

    def __init__(self, sock, target, *args):
        self.sock = sock
        self.port = sock.getsockname()[1]
        self.peers = []
        self._args = args
        self._target = target
        self._error = None
        self._end, self._end_seen = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        poll = select.poll()
        for s in self.sock, self._end_seen:
            poll.register(s, select.POLLIN)
        try:
            while self._end_seen.fileno() not in dict(poll.poll()):
                self._target(self, *self._args)
        except OSError as e:
            self._error = e

    def close(self):
        self._end.close()
        self._thread.join(30)
        self._end_seen.close()
        self.sock.close()
        if self._error:
            raise self._error


def udp_echo(sock):
    def serve(server):
        data, peer = server.sock.recvfrom(65536)
        server.peers.append(peer)
        server.sock.sendto(data, peer)

    return Server(sock, serve)


def _each(handle):
    def serve(server):
        conn, peer = server.sock.accept()
        server.peers.append(peer)
        conn.settimeout(120)

        def run():
            with conn:
                try:
                    handle(conn)
                except OSError:
                    pass

        threading.Thread(target=run, daemon=True).start()

    return serve


def tcp_echo(sock):
    def handle(conn):
        while True:
            data = conn.recv(1 << 16)
            if not data:
                return
            conn.sendall(data)

    return Server(sock, _each(handle))


def tcp_digest(sock):
    """Reads to the end of file, then answers with the SHA-256 of what came, in hex."""

    def handle(conn):
        h = hashlib.sha256()
        while True:
            data = conn.recv(1 << 18)
            if not data:
                break
            h.update(data)
        conn.sendall(h.hexdigest().encode() + b"\n")

    return Server(sock, _each(handle))


def tcp_source(sock, data):
    """Sends data and closes."""
    return Server(sock, _each(lambda conn: conn.sendall(data)))


def http(sock, body):
    """Answers every request with body."""

    def handle(conn):
        request = b""
        while b"\r\n\r\n" not in request:
            more = conn.recv(65536)
            if not more:
                return
            request += more
        conn.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    return Server(sock, _each(handle))


def _dns_answer(query, names):
    """Answer to a query with one question; NXDOMAIN for names that we don't have."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii").lower())
        at += 1 + query[at]
    qtype = struct.unpack(">H", query[at + 1 : at + 3])[0]
    known = ".".join(labels) in names
    rdata = [socket.inet_pton(family, a) for a in names.get(".".join(labels), [])
             for family, t in ((socket.AF_INET6, 28) if ":" in a else (socket.AF_INET, 1),) if t == qtype]
    head = query[:2] + struct.pack(">HHHHH", 0x8580 | (0 if known else 3), 1, len(rdata), 0, 0)
    rrs = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", qtype, 1, 60, len(r)) + r for r in rdata)
    return head + query[12 : at + 5] + rrs


def dns_udp(sock, names):
    """names: {"www.example.org": ["198.51.100.1", "2001:db8:1::1"]}"""

    def serve(server):
        query, peer = server.sock.recvfrom(4096)
        server.peers.append(peer)
        server.sock.sendto(_dns_answer(query, names), peer)

    return Server(sock, serve)


def dns_tcp(sock, names):
    def handle(conn):
        f = conn.makefile("rb")
        while True:
            n = f.read(2)
            if len(n) < 2:
                return
            answer = _dns_answer(f.read(struct.unpack(">H", n)[0]), names)
            conn.sendall(struct.pack(">H", len(answer)) + answer)

    return Server(sock, _each(handle))


def iperf3(there, here, to, *options):
    """The summary of one run. By a server of its own: one that still ends the run before turns us away."""
    server = there.popen("iperf3", "-s", "-1", "-B", to, stdout=subprocess.DEVNULL)
    try:
        until(lambda: there.run("ss", "-Hnlt", "sport = :5201").stdout, "server listens")
        told = json.loads(here.run("iperf3", "-J", "-c", to, *options).stdout)
        assert "error" not in told, told["error"]
        return told["end"]
    finally:
        server.terminate()
        server.wait()
