# SPDX-License-Identifier: MIT
"""Bytes to and from a guest that runs commands (machine.py)."""
import hashlib
import os

from . import servers


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
