# SPDX-License-Identifier: MIT
"""
A guest with a kernel of its own at the stream socket of passt, and a wire in between that loses frames:

    +-- guest: a namespace --+
    | wire0  192.0.2.2/24    |--tap-- wire.c --socket-- passt in "host" ---veth--- "remote" (topology.py)
    +------------------------+
"""
import json
import os
import subprocess

from . import netns
from .program import ROOT
from .topology import GW4, HOST4


def build(workdir):
    """The wire as a program."""
    out = os.path.join(workdir, "wire")
    if not os.path.exists(out):
        subprocess.run(["cc", "-O2", "-o", out, os.path.join(ROOT, "tests/lab/wire.c")], check=True)
    return out


class WireGuest(netns.Ns):
    """loss: frames of 1000 that are dropped, in each direction. sysctl: name to value, of the guest's IPv4."""

    def __init__(self, host, passt, workdir, loss=0, mtu=1500, **sysctl):
        super().__init__("guest", parent=host)
        for name, value in sysctl.items():
            self.write(f"/proc/sys/net/ipv4/{name}", str(value))
        self.wire = self.popen(build(workdir), "wire0", passt.socket_path, loss, stdout=subprocess.PIPE)
        assert self.wire.stdout.readline() == b"ready\n"
        self.ip("link", "set", "wire0", "mtu", str(mtu), "up")
        self.ip("address", "add", f"{HOST4}/24", "dev", "wire0")
        self.ip("route", "add", "default", "via", GW4)

    def received(self):
        """Bytes of frames that came in."""
        return json.loads(self.ip("-s", "-j", "link", "show", "dev", "wire0"))[0]["stats64"]["rx"]["bytes"]

    def close(self):
        self.wire.stdout.close()
        self.wire.terminate()
        self.wire.wait()
        super().close()
