#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
What a thousand changes of forwarding rules cost those who don't want to know of them: requests of one byte that go there and back while a
transfer runs, without changes and with them.

    client, sender in the namespace ---tap--- pasta in "host" ---veth--- "remote": echo, sink
"""
import multiprocessing
import os
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))

# pylint: disable=wrong-import-position
from lab.control import Control, step  # noqa: E402
from lab.pasta import Pasta  # noqa: E402
from lab.topology import REMOTE4, Topology  # noqa: E402

CHANGES = 1000
PORTS = "20000-20015"
CHUNK = 1 << 16


def echo(listener):
    conn = listener.accept()[0]
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := conn.recv(100):
        conn.sendall(data)


def sink(listener, result):
    conn = listener.accept()[0]
    got = 0
    while n := len(conn.recv(1 << 20)):
        got += n
    result.put(got)


def send(sock, stop, result):
    data, sent = bytes(CHUNK), 0
    while not stop.is_set():
        sock.sendall(data)
        sent += CHUNK
    # Other processes have the socket as well.
    sock.shutdown(socket.SHUT_WR)
    result.put(sent)


def change(path, ready, done):
    """Rules come and go, one change after the other."""
    with Control(path) as c:
        ready.wait()
        for i in range(CHANGES):
            assert c.change(step("remove" if i % 2 else "add", PORTS))["ok"]
    done.set()


def ask(sock, until_set, least):
    """Milliseconds that each request took, sorted."""
    took = []
    while not until_set.is_set() or len(took) < least:
        start = time.perf_counter_ns()
        sock.sendall(b"?")
        sock.recv(1)
        took.append((time.perf_counter_ns() - start) / 1e6)
    return sorted(took)


def show(what, took):
    at = [took[len(took) * share // 1000] for share in (500, 990, 999)]
    print(f"{what:16} {len(took):6} requests; ms: median {at[0]:.3f}, 99 % {at[1]:.3f}, 99.9 % {at[2]:.3f}, longest {took[-1]:.3f}; "
          f"over 5 ms: {sum(t > 5 for t in took)}")


def main():
    new, sums = multiprocessing.Event, [multiprocessing.Queue(), multiprocessing.Queue()]
    stop, go, done, at_once = new(), new(), new(), new()
    at_once.set()
    with tempfile.TemporaryDirectory() as work:
        net = Topology(work)
        p = Pasta(net.host, work, "--config-net", "-c", f"{work}/control", *"-t none -u none -T none -U none".split())
        for_echo, for_sink = net.remote.listen(REMOTE4), net.remote.listen(REMOTE4)
        asker, sender = (p.ns.connect(REMOTE4, s.getsockname()[1]) for s in (for_echo, for_sink))
        for s in for_echo, for_sink, asker, sender:
            s.settimeout(None)
        asker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        jobs = [(echo, for_echo), (sink, for_sink, sums[0]), (send, sender, stop, sums[1]), (change, f"{work}/control", go, done)]
        running = [multiprocessing.Process(target=fn, args=args, daemon=True) for fn, *args in jobs]
        for job in running:
            job.start()
        sender.close()
        show("without changes", ask(asker, at_once, 5000))
        go.set()
        start = time.monotonic()
        show(f"{CHANGES} changes", ask(asker, done, 5000))
        print(f"{time.monotonic() - start:.1f} s")
        stop.set()
        sent, got = sums[1].get(), sums[0].get()
        print(f"{sent >> 20} MiB sent meanwhile; {'all of it arrived' if sent == got else f'{sent - got} bytes are missing'}")
        asker.shutdown(socket.SHUT_WR)
        # They have copies of all descriptors, also of that at whose end pasta's command ends.
        for job in running:
            job.join()
        p.close()
        net.close()
        return sent != got


if __name__ == "__main__":
    sys.exit(main())
