# SPDX-License-Identifier: MIT
"""
Frames as the interface of the namespace carries them, seen by a packet socket there: superframes with checksums left to the kernel, or
plain frames where the kernel refuses those.
"""
import contextlib
import errno
import hashlib
import json
import os
import socket
import struct
import threading

import pytest
from lab import refuse
from lab.topology import REMOTE4, REMOTE6

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
ETH_P_ALL, SOL_PACKET, PACKET_OUTGOING, PACKET_VNET_HDR = 3, 263, 4, 15
NEEDS_CSUM, TCP4, TCP6 = 1, 1, 4  # of struct virtio_net_hdr
BLOB = os.urandom(8 << 20)


class Capture:
    """Sizes, kinds and checksums of TCP frames with data: (outgoing, length on the link, GSO type, GSO size, checksum left to others).
    Some are missing when the machine is busy."""

    def __init__(self, ns, dev):
        self.frames = []
        s = ns.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        s.bind((dev, ETH_P_ALL))
        s.settimeout(0.1)
        self._socket = s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while True:
            try:
                data, address = self._socket.recvfrom(1 << 17)
            except TimeoutError:
                if self._end.is_set():
                    return
                continue
            flags, gso, _, size = struct.unpack("BBHH", data[:6])
            frame = data[10:]
            proto, head = (frame[23], 34) if frame[12:14] == b"\x08\x00" else (frame[20], 54)
            if proto == socket.IPPROTO_TCP and len(frame) > head + (frame[head + 12] >> 4) * 4 + 100:
                self.frames.append((address[2] == PACKET_OUTGOING, len(frame), gso & 0x7F, size, bool(flags & NEEDS_CSUM)))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()
        self._socket.close()

    def of(self, outgoing):
        return [f[1:] for f in self.frames if f[0] == outgoing]


def exchange(net, p, remote, blob=BLOB):
    """Up, then down, on one connection."""
    with net.remote.listen(remote) as server, p.ns.connect(remote, server.getsockname()[1]) as client:
        conn, _ = server.accept()
        with conn:
            for source, sink in (client, conn), (conn, client):
                t = threading.Thread(target=source.sendall, args=(blob,))
                t.start()
                sink.settimeout(20)
                h, left = hashlib.sha256(), len(blob)
                while left:
                    data = sink.recv(min(left, 1 << 20))
                    assert data, "end of file"
                    h.update(data)
                    left -= len(data)
                t.join(60)
                assert h.digest() == hashlib.sha256(blob).digest()


@pytest.mark.parametrize("mtu", [1280, 1500, 9000, 65520])
@pytest.mark.parametrize("family", REMOTE)
def test_superframes_and_no_checksum(net, pasta, family, mtu):
    """In both directions, at any MTU."""
    p = pasta("--config-net", "--no-handover", "-m", mtu, *NONE)
    with Capture(p.ns, "eth0") as seen:
        exchange(net, p, REMOTE[family])
    mss = mtu - (40 if family == "v4" else 60)
    for outgoing in True, False:
        frames = seen.of(outgoing)
        assert all(partial for _, _, _, partial in frames), "a checksum was computed"
        assert max(length for length, _, _, _ in frames) > (60000 if outgoing or mtu < 65520 else 30000)
        assert all(gso == (TCP4 if family == "v4" else TCP6) and mss - 12 <= size <= mss for length, gso, size, _ in frames if length > mtu + 14)
        if mtu < 9000:
            assert sum(length for length, _, _, _ in frames) / len(frames) > 5 * mss, "hardly any frame stands for many segments"


def interface(p):
    return json.loads(p.ns.run("ip", "-j", "-s", "link", "show", "eth0").stdout)[0]


REFUSED = {
    "offloads": [refuse.TUNSETOFFLOAD],
    "header": [refuse.TUNSETVNETHDRSZ],
    "both": [refuse.TUNSETOFFLOAD, refuse.TUNSETVNETHDRSZ],
}


@pytest.mark.parametrize("requests", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("family", REMOTE)
def test_plain_frames_where_there_are_no_offloads(net, pasta, family, requests):
    """And one word about it. A window is many frames then: the interface has room for them, and drops none."""
    p = pasta("--config-net", "--no-handover", "-m", "1500", *NONE, prefix=refuse.prefix(errno.EINVAL, *requests))
    p.ns.be_patient()
    before = interface(p)
    assert before["txqlen"] * 1448 > 4 << 20
    with Capture(p.ns, "eth0") as seen:
        exchange(net, p, REMOTE[family], BLOB[: 2 << 20])
    assert interface(p)["stats64"]["tx"]["dropped"] == before["stats64"]["tx"]["dropped"]
    for outgoing in True, False:
        frames = seen.of(outgoing)
        assert frames and all(length <= 1514 and not gso and not partial for length, gso, _, partial in frames)
    assert [line for line in p.output().splitlines() if "name server" not in line] == [
        "The kernel has no offloads for tap devices, or refuses them: traffic will be slower"]
    assert p.ns.counter("TcpRetransSegs") == 0 and p.ns.counter("TcpInCsumErrors") == 0


def test_no_word_about_offloads(net, pasta):
    p = pasta("--config-net", *NONE)
    assert "ffload" not in p.output()


def test_many_connections_send_at_once(net, pasta):
    """What they send waits in the interface's queue, and is not dropped there."""
    p = pasta("--config-net", "--no-handover", "-m", "1500", *NONE)
    with net.remote.listen(REMOTE4, backlog=1024) as listener, contextlib.ExitStack() as open_ones:
        pairs = []
        for _ in range(1000):
            near = open_ones.enter_context(p.ns.connect(REMOTE4, listener.getsockname()[1]))
            pairs.append((near, open_ones.enter_context(listener.accept()[0])))
        before = interface(p)["stats64"]["tx"]["dropped"]
        for near, _ in pairs:
            near.sendall(bytes(10000))
        for _, far in pairs:
            with far.makefile("rb") as stream:
                assert len(stream.read(10000)) == 10000
        assert interface(p)["stats64"]["tx"]["dropped"] == before
