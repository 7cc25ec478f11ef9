# SPDX-License-Identifier: MIT
"""
TCP over a link that loses frames, with a kernel as the guest: content, and what SACK and timestamps are good for.

    guest (a namespace) --tap-- wire.c, loses frames --socket-- passt in "host" ---veth--- "remote" (topology.py)
"""
import hashlib
import os
import threading

import pytest
from lab.topology import REMOTE4
from lab.wire import WireGuest

SIZE = 4 << 20


@pytest.fixture
def lossy(net, start, tmp_path):
    """lossy(loss, **sysctl): a guest on a link that loses so many of 1000 frames each way."""
    guests = []

    def begin(loss, **sysctl):
        guests.append(WireGuest(net.host, start("-m", "1500"), str(tmp_path), loss, **sysctl))
        return guests[-1]

    yield begin
    for g in guests:
        g.close()


def transfer(net, guest, up, size=SIZE):
    """Content is what was sent. Returns bytes that the guest received, headers included."""
    blob = os.urandom(size)
    with net.remote.listen(REMOTE4) as server:
        ends = guest.connect(REMOTE4, server.getsockname()[1]), server.accept()[0]
    before = guest.received()
    for s in ends:
        s.settimeout(60)
    source, sink = ends if up else ends[::-1]
    sender = threading.Thread(target=source.sendall, args=(blob,))
    sender.start()
    h = hashlib.sha256()
    while size:
        data = sink.recv(min(size, 1 << 20))
        assert data
        h.update(data)
        size -= len(data)
    sender.join(60)
    assert h.digest() == hashlib.sha256(blob).digest()
    received = guest.received() - before
    for s in ends:
        s.close()
    return received


@pytest.mark.parametrize("loss", [1, 10, 50])
def test_content_and_no_needless_repeats(net, lossy, loss):
    """Both directions; towards the guest hardly anything is sent again that it has, and it is never told that what it sent is gone."""
    guest = lossy(loss)
    transfer(net, guest, True)
    again = guest.counter("TcpRetransSegs")
    received = transfer(net, guest, False)
    print(f"loss {loss / 10} %: sent again by the guest {again}, received {received / SIZE:.3f} of the content")
    assert received < 1.10 * SIZE
    assert guest.counter("TcpExtTCPSACKReneging") == 0
    assert guest.counter("TcpExtPAWSEstab") == 0
    assert guest.counter("TcpInErrs") == 0


@pytest.mark.parametrize("loss,size", [(10, 4 << 20), (50, 400 << 10)])
def test_gain(net, lossy, loss, size):
    """Beside it a guest that has neither: it has to send again several times as much."""
    again = {}
    for name, sysctl in ("with", {}), ("without", {"tcp_sack": 0, "tcp_timestamps": 0}):
        guest = lossy(loss, **sysctl)
        for _ in range(3):
            transfer(net, guest, True, size)
        again[name] = guest.counter("TcpRetransSegs")
        print(f"loss {loss / 10} %, {name} SACK and timestamps: sent again {again[name]}, time-outs {guest.counter('TcpExtTCPTimeouts')}")
    assert again["without"] > 2 * again["with"]
