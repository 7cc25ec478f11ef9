# SPDX-License-Identifier: MIT
"""
Everything at once, for as long as PASST_TEST_SOAK says (seconds): bulk both ways, requests and responses, short connections, resets and
datagrams, each over every way that there is, by both families. All of it is checked, and nothing is left of it at the end.
"""
import collections
import hashlib
import os
import random
import socket
import threading
import time

import pytest
from lab.control import Control
from lab.pasta import wait_listening
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6
from lab.wait import until

SECONDS = float(os.environ.get("PASST_TEST_SOAK", 5))
WARM = max(4, SECONDS / 20)
LONG = SECONDS > 300
BLOB = os.urandom(4 << 20)
SPARE = 8  # descriptors of pipes that are kept
UDP_LIMIT = 300  # seconds; datagrams' flows stay for 180 after the last one
LINGER = bytes((1, 0, 0, 0, 0, 0, 0, 0))
IN4, IN6, LO_IN, LO_OUT = 9100, 9101, 9102, 9103
OPTIONS = ["--config-net", "--host-lo-to-ns-lo", "-t", f"{IN4}-{LO_IN}", "-u", f"{IN4}-{LO_IN}", "-T", LO_OUT, "-U", LO_OUT]
_making = threading.Lock()

# from, to which address there; where the server listens
Way = collections.namedtuple("Way", "name client addr server at port")


def ways(net, p):
    return [
        Way("out-v4", p.ns, REMOTE4, net.remote, REMOTE4, 9110),
        Way("out-v6", p.ns, REMOTE6, net.remote, REMOTE6, 9111),
        Way("in-v4", net.remote, HOST4, p.ns, "0.0.0.0", IN4),
        Way("in-v6", net.remote, HOST6, p.ns, "::", IN6),
        Way("loopback-in", net.host, "127.0.0.1", p.ns, "127.0.0.1", LO_IN),
        Way("loopback-out", p.ns, "::1", net.host, "::1", LO_OUT),
    ]


def made(make, *args):
    """A namespace makes one socket at a time."""
    with _making:
        return make(*args)


def connected(w):
    s = made(w.client.socket, socket.AF_INET6 if ":" in w.addr else socket.AF_INET)
    s.settimeout(60)
    s.connect((w.addr, w.port))
    return s


def exactly(s, n):
    data = bytearray()
    while len(data) < n:
        part = s.recv(min(n - len(data), 1 << 20))
        assert part, f"end of file after {len(data)} of {n} bytes"
        data += part
    return bytes(data)


def rest(s):
    h, n = hashlib.sha256(), 0
    while part := s.recv(1 << 20):
        h.update(part)
        n += len(part)
    return n, h.digest()


# What a connection is for, by its first byte; r is random, of each thread. The server's half, then the client's.


def serve_up(s, _):
    n, digest = rest(s)
    s.sendall(n.to_bytes(8, "big") + digest)


def up(w, r):
    with connected(w) as s:
        blob = memoryview(BLOB)[: r.randrange(1, len(BLOB))]
        s.sendall(b"u")
        s.sendall(blob)
        s.shutdown(socket.SHUT_WR)
        assert exactly(s, 40) == len(blob).to_bytes(8, "big") + hashlib.sha256(blob).digest()
        assert s.recv(1) == b""


def serve_down(s, r):
    blob = memoryview(BLOB)[: r.randrange(1, len(BLOB))]
    s.sendall(len(blob).to_bytes(8, "big") + hashlib.sha256(blob).digest())
    s.sendall(blob)


def down(w, _):
    with connected(w) as s:
        s.sendall(b"d")
        head = exactly(s, 40)
        n, digest = rest(s)
        assert head == n.to_bytes(8, "big") + digest


def serve_talk(s, _):
    while size := s.recv(2):
        size += exactly(s, 1) if len(size) < 2 else b""
        s.sendall(exactly(s, int.from_bytes(size, "big")))


def talk(w, r):
    """Requests of all sizes on one connection."""
    with connected(w) as s:
        s.sendall(b"t")
        for _ in range(200):
            blob = BLOB[: r.choice((1, r.randrange(1, 1500), r.randrange(1, 65536)))]
            s.sendall(len(blob).to_bytes(2, "big") + blob)
            assert exactly(s, len(blob)) == blob


def serve_short(s, _):
    s.sendall(b"s")


def short(w, _):
    with connected(w) as s:
        s.sendall(b"s")
        assert s.recv(1) == b"s" and s.recv(1) == b""


def serve_reset(s, r):
    """Resets, or is reset, at any moment."""
    who = exactly(s, 1)
    try:
        for _ in range(r.randrange(1, 5)):
            s.sendall(BLOB[: r.randrange(1, 200000)])
        if who == b"s":
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        else:
            rest(s)
    except (ConnectionResetError, BrokenPipeError):
        assert who == b"c"


def reset(w, r):
    who = r.choice((b"c", b"s"))
    with connected(w) as s:
        s.sendall(b"r" + who)
        if who == b"c":
            s.recv(r.randrange(1, 100000))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
            return
        with pytest.raises(ConnectionResetError):
            rest(s)
            raise AssertionError("an end of file instead of a reset")


SERVE = {b"u": serve_up, b"d": serve_down, b"t": serve_talk, b"s": serve_short, b"r": serve_reset}


class Soak:
    """Threads that do things until told to stop, and what they have done."""

    def __init__(self):
        self.done, self.wrong = collections.Counter(), []
        self._stop = threading.Event()
        self._jobs, self._servers = [], []

    def begin(self, threads, what, *args):
        t = threading.Thread(target=self._watched, args=(what, *args), daemon=True)
        threads.append(t)
        t.start()

    def _watched(self, what, *args):
        try:
            what(*args)
        except BaseException as e:  # pylint: disable=broad-exception-caught
            self.wrong.append((what.__name__, args, repr(e)))
            self._stop.set()

    def repeat(self, job, w):
        def run():
            r = random.Random(f"{job.__name__} {w.name}")
            while not self._stop.is_set():
                job(w, r)
                self.done[job.__name__, w.name] += 1
        run.__name__ = f"{job.__name__} {w.name}"
        self.begin(self._jobs, run)

    def serve(self, w):
        """Until something connects that says nothing."""
        listener = made(w.server.listen, w.at, w.port)

        def answer(s, r):
            with s:
                s.settimeout(60)
                SERVE[exactly(s, 1)](s, r)

        def run():
            with listener:
                listener.settimeout(None)
                for i in range(1 << 62):
                    s, _ = listener.accept()
                    if not s.recv(1, socket.MSG_PEEK):
                        s.close()
                        return
                    t = threading.Thread(target=self._watched, args=(answer, s, random.Random(i)), daemon=True)
                    t.start()
        self.begin(self._servers, run)

    def datagrams(self, w):
        """One after the other, there and back; those that no frame holds as well."""
        server = made(w.server.udp, w.at, w.port)
        client = made(w.client.udp, "::" if ":" in w.addr else "0.0.0.0")
        server.settimeout(None)

        def echo():
            with server:
                while True:
                    data, peer = server.recvfrom(65535)
                    server.sendto(data, peer)
                    if not data:
                        return

        def run():
            r = random.Random(w.name)
            with client:
                client.settimeout(20)
                client.connect((w.addr, w.port))
                while not self._stop.is_set():
                    blob = BLOB[: r.choice((1, r.randrange(1, 1400), r.randrange(1, 60000)))]
                    client.send(blob)
                    assert client.recv(65535) == blob
                    self.done["datagrams", w.name] += 1
                client.send(b"")
                assert client.recv(65535) == b""
        self.begin(self._servers, echo)
        self.begin(self._jobs, run)

    def run(self, seconds):
        """Goes on for so long, unless something is wrong."""
        self._stop.wait(seconds)
        return self.wrong

    def end(self, all_ways):
        """Servers stay for what is still under way."""
        self._stop.set()
        for t in self._jobs:
            t.join(60)
        for w in all_ways:
            if not self.wrong:
                connected(w).close()
        for t in self._servers:
            t.join(60)


def gauges(control):
    """What there is of everything that comes and goes, but for flows of datagrams."""
    now = control.get("counters")["gauges"]
    tcp = [f for f in control.flows() if f["proto"] == "tcp"]
    return {**{name: now[name] for name in ("splices", "tcp_spill_bytes", "reassembly", "half_open")}, "tcp": len(tcp)}


@pytest.mark.parametrize("how", [[], ["--no-handover"]], ids=["handed", "tap"])
def test_soak(record_property, net, pasta, tmp_path, how):
    p = pasta(*OPTIONS, "-c", tmp_path / "control", *how)
    soak, all_ways = Soak(), ways(net, p)
    for w in all_ways:
        soak.serve(w)
    wait_listening(p.ns, LO_IN)
    before = p.fds()
    for w in all_ways:
        soak.datagrams(w)
    for job in up, down, talk, short, reset:
        for w in all_ways:
            soak.repeat(job, w)
    assert not soak.run(WARM)
    data, resident, peak = p.status("VmData"), p.memory_kb(), p.fds()
    began = time.monotonic()
    wrong = soak.run(SECONDS)
    seconds = time.monotonic() - began
    grown = p.memory_kb() - resident
    soak.end(all_ways)
    assert not wrong and not soak.wrong
    seen = collections.Counter({"seconds": round(seconds), "descriptors before": before, "under load": peak, "resident kB": resident, "grown by kB": grown})
    for (job, _), n in soak.done.items():
        seen[job] += n
    for what, n in seen.items():
        record_property(what, n)
    assert p.status("VmData") == data, "memory was taken after the start"
    with Control(tmp_path / "control") as control:
        until(lambda: not any(gauges(control).values()), "no connection, and no byte of one, is left")
        # Datagrams' sockets stay for a while, and some pipes remain in stock.
        held = len(control.flows()) + control.get("counters")["gauges"]["udp_splice_peers"]
        until(lambda: p.fds() <= before + 1 + 2 * held + SPARE, "no descriptors are left")
        if LONG:
            until(lambda: not control.flows() and not control.get("counters")["gauges"]["udp_splice_peers"], "no flow is left", UDP_LIMIT)
            assert p.fds() <= before + 1 + SPARE
            assert p.memory_kb() <= resident + 1024, "more is resident than with the first connections"
    assert len(soak.done) == 6 * len(all_ways) and min(soak.done.values()) > 0
