# SPDX-License-Identifier: MIT
"""What goes through connections in one piece, and is compared at the other end."""
import hashlib
import socket


def told(blob):
    """What drain() gives for it."""
    return len(blob), hashlib.sha256(blob).hexdigest()


def drain(s):
    """All that comes up to the end of file: (length, hash)."""
    h, n = hashlib.sha256(), 0
    while True:
        data = s.recv(1 << 18)
        if not data:
            return n, h.hexdigest()
        h.update(data)
        n += len(data)


def send_all(s, blob, sizes=None):
    """In pieces of random sizes, up to the end of file."""
    at = 0
    while at < len(blob):
        n = sizes() if sizes else len(blob)
        s.sendall(blob[at : at + n])
        at += n
    s.shutdown(socket.SHUT_WR)
