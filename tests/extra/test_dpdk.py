# SPDX-License-Identifier: MIT
"""
DPDK's virtio_user port, a front end without a kernel behind it, that polls. Not part of ./check, as it needs a large package (dpdk-dev).

    guest (dpdk-testpmd) ---vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import os
import shutil
import subprocess

import pytest
from lab.guest import OUR_MAC
from lab.program import Passt
from lab.topology import HOST4, REMOTE4
from lab.wait import LIMIT, until

MAC = "52:54:00:12:34:56"
PORT = 5000
MEMORY = ["--no-huge", "-m", "256", "--no-shconf", "--no-telemetry"]  # DPDK takes a file of its own for it, which is shared

pytestmark = pytest.mark.skipif(not shutil.which("dpdk-testpmd"), reason="needs dpdk-testpmd: apt-get install dpdk-dev librte-net-virtio23")


class Pmd:
    """With two processors, of which one does what the commands say."""

    def __init__(self, path, port, output):
        self._output = output
        argv = ["dpdk-testpmd", "-l", "0,1", "--no-pci", *MEMORY, f"--vdev=net_virtio_user0,path={path},mac={MAC}", "--", "-i", "--no-mlockall", f"--eth-peer=0,{OUR_MAC}"]
        argv += ["--total-num-mbufs=4096", f"--tx-ip={HOST4},{REMOTE4}", f"--tx-udp={PORT},{port}"]
        with open(output, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True)
        until(lambda: "testpmd>" in self.said(), "testpmd takes commands", 60)

    def said(self):
        assert self.process.poll() is None
        with open(self._output, encoding="utf-8", errors="replace") as f:
            return f.read()

    def command(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def forward(self, mode):
        """Soon it does that."""
        self.command(f"stop\nset fwd {mode}\nstart")

    def quit(self):
        self.command("quit")
        return self.process.wait(LIMIT)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()


@pytest.fixture
def passt(net, tmp_path):
    p = Passt(net.host, str(tmp_path), "--vhost-user", "-u", PORT)
    yield p
    p.close()


def test_both_ways(passt, net, tmp_path):
    """It sends as fast as it can; then it sends back what it gets, for as many datagrams of any size."""
    sink = net.remote.udp(REMOTE4)
    pmd = Pmd(passt.socket_path, sink.getsockname()[1], tmp_path / "output")
    try:
        pmd.forward("txonly")
        for _ in range(10000):
            assert sink.recvfrom(2048)[1] == (HOST4, PORT)
        pmd.forward("5tswap")
        with net.remote.udp(REMOTE4) as s:
            until(lambda: echoed(s, b"ready?"), "it sends back what it gets")
            while echoed(s, None):
                pass
            for size in range(18, 1472):
                data = os.urandom(size)
                assert echoed(s, data) == data
        assert pmd.quit() == 0
        until(lambda: "Client connection closed" in passt.output(), "the program noticed the end of the guest")
    finally:
        pmd.close()
        sink.close()


def echoed(sock, data):
    """What comes back when data is sent, or None; without data, what comes by itself."""
    sock.settimeout(LIMIT if data and len(data) > 6 else 0.5)
    if data:
        sock.sendto(data, (HOST4, PORT))
    try:
        got, peer = sock.recvfrom(2048)
    except TimeoutError:
        return None
    assert peer == (HOST4, PORT)
    return got
