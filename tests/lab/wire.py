# SPDX-License-Identifier: MIT
"""
A guest with a kernel of its own at the stream socket of passt, and a wire in between that loses frames:

    +-- guest: a namespace --+
    | wire0  192.0.2.2/24    |--tap-- wire.c --socket-- passt in "host" ---veth--- "remote" (topology.py)
    |        2001:db8::2/64  |
    +------------------------+
"""
import json
import os
import subprocess

from . import netns
from .program import ROOT
from .topology import GW4, GW6, HOST4, HOST6
from .wait import LIMIT


def build(workdir):
    """The wire as a program."""
    out = os.path.join(workdir, "wire")
    if not os.path.exists(out):
        subprocess.run(["cc", "-O2", "-o", out, os.path.join(ROOT, "tests/lab/wire.c")], check=True)
    return out


class WireGuest(netns.Ns):
    """
    loss: frames of 1000 that are dropped, in each direction; syns: segments of the guest with SYN that are, the first ones. sysctl: name to
    value, of net.ipv4, of which TCP's hold for both families.
    """

    def __init__(self, host, passt, workdir, loss=0, syns=0, **sysctl):
        super().__init__("guest", parent=host)
        for name, value in sysctl.items():
            self.write(f"/proc/sys/net/ipv4/{name}", str(value))
        argv = build(workdir), "wire0", passt.socket_path, loss, syns
        self.wire = self.popen(*argv, stdout=subprocess.PIPE, text=True)
        assert self.wire.stdout.readline() == "ready\n"
        self.write("/proc/sys/net/ipv6/conf/wire0/accept_ra", "0")
        self.ip("link", "set", "wire0", "mtu", "1500", "up")
        for addr, gw in (f"{HOST4}/24", GW4), (f"{HOST6}/64", GW6):
            self.ip("address", "add", addr, "dev", "wire0", *["nodad"] * (":" in addr))
            self.ip("route", "add", "default", "via", gw)

    def be_patient(self):
        """The kernel waits for acknowledgements for as long as they may take on a busy machine: what it sends again then was lost."""
        for gw in GW4, GW6:
            self.ip("route", "change", "default", "via", gw, "dev", "wire0", "rto_min", "2s")

    def received(self):
        """Bytes of frames that came in."""
        return json.loads(self.ip("-s", "-j", "link", "show", "dev", "wire0"))[0]["stats64"]["rx"]["bytes"]

    def cut(self):
        """The end of the wire: how many frames of the guest's, and of those for it, were lost."""
        self.wire.terminate()
        out, _ = self.wire.communicate(timeout=LIMIT)
        return tuple(map(int, out.split()))

    def close(self):
        if self.wire.poll() is None:
            self.cut()
        super().close()
