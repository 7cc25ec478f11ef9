# SPDX-License-Identifier: MIT
"""Bytes to and from a guest that runs commands (machine.py)."""
import hashlib
import os
import threading

from . import servers
from .wait import until


def both_ways(guest, remote, addr, size):
    """Downloads so many bytes from the address in the namespace, and sends the same back there."""
    data = os.urandom(size)
    digest = hashlib.sha256(data).hexdigest()
    up, down = servers.tcp_digest(remote.listen(addr)), servers.http(remote.listen(addr), data)
    host = f"[{addr}]" if ":" in addr else addr
    out = guest.sh(f"curl -sS -g http://{host}:{down.port}/ >/tmp/blob && sha256sum /tmp/blob", 200)
    assert out.split()[0] == digest
    assert guest.sh(f"socat -t 100 - TCP:{host}:{up.port} </tmp/blob", 200).strip() == digest
    up.close()
    down.close()


class Circle:
    """Bytes that somebody sends back all the time, until close(): they have to be the same."""

    def __init__(self, sock):
        self._sock = sock
        self._block = os.urandom(1 << 16)
        self._on = True
        self._sent, self._back = hashlib.sha256(), hashlib.sha256()
        self.received = 0
        self._threads = [threading.Thread(target=f, daemon=True) for f in (self._send, self._receive)]
        for t in self._threads:
            t.start()

    def _send(self):
        n = 0
        while self._on:
            block = n.to_bytes(8, "big") + self._block
            self._sock.sendall(block)
            self._sent.update(block)
            n += 1
        self._sock.shutdown(1)

    def _receive(self):
        while data := self._sock.recv(1 << 18):
            self._back.update(data)
            self.received += len(data)

    def goes_on(self, size=1 << 20):
        """Waits until so many more have come back."""
        before = self.received
        until(lambda: self.received >= before + size, "bytes that come back")

    def close(self):
        self._on = False
        for t in self._threads:
            t.join(120)
            assert not t.is_alive()
        self._sock.close()
        assert self._back.digest() == self._sent.digest()
