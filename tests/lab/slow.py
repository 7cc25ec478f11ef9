# SPDX-License-Identifier: MIT
"""The network of topology.py with delay: two tap devices and slow.c in place of the veth pair between host and remote."""
import os
import subprocess

from .topology import GW4, REMOTE4, Topology
from .wait import LIMIT

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "slow.c")


def build(workdir):
    """The program that carries the frames; its path."""
    path = os.path.join(workdir, "slow")
    subprocess.run(["cc", "-O2", "-o", path, SOURCE], check=True)
    return path


class SlowTopology(Topology):
    """rtt_ms: there and back; rate: bytes a second and direction; program: of build(). Nothing is lost on the way."""

    def __init__(self, workdir, program, rtt_ms, rate):
        self._argv = [program, "eth0", rtt_ms * 500, rate]
        super().__init__(workdir, mtu=1500)
        # So what either kernel sends again, it does for want of patience. It gets that, as the machine may be busy.
        for ns in self.host, self.remote:
            ns.write("/proc/sys/net/ipv4/tcp_early_retrans", "0")
            ns.write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")
        self.host.ip("route", "add", REMOTE4, "via", GW4, "dev", "eth0", "rto_min", "10s")
        self.remote.ip("route", "replace", "192.0.2.0/24", "dev", "eth0", "rto_min", "10s")

    def _join(self, mtu):
        program, name, delay, rate = self._argv
        self._carrier = self.host.popen(program, name, self.remote.pid, delay, rate, stdout=subprocess.PIPE)
        if self._carrier.stdout.readline() != b"ready\n":
            raise RuntimeError("no path with delay")
        for ns in self.host, self.remote:
            # As much as a sender may have on its way: the kernel drops what a tap device has no room for.
            ns.ip("link", "set", name, "mtu", mtu, "txqueuelen", 20000)

    def buffers(self, size):
        """The most that a connection of the host's or the remote's kernel buffers for sending."""
        for ns in self.host, self.remote:
            ns.write("/proc/sys/net/ipv4/tcp_wmem", f"4096 {min(size, 16384)} {size}")

    def close(self):
        self._carrier.kill()
        self._carrier.wait(LIMIT)
        self._carrier.stdout.close()
        super().close()
