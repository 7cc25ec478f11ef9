# SPDX-License-Identifier: MIT
"""The candidates for a virtual machine: one machine for each, which has the instance's interface, and the rows for it."""
import os
import shlex

import nets
import rows
from lab import servers, uml, vm, vmconf
from nets import DIRECT, OTHER_PASST, PASST, REMOTE4, UML, VHOST

SLIRP = "qemu-user"
DIRECT4, DIRECT6 = f"{nets.DIRECT4}", f"{nets.DIRECT6}"
LOAD = "/tmp/load"  # in the guest


class Guest(nets.Instance):
    """A machine that runs in the host's namespaces."""

    loopback = None
    any_mtu = True

    def __init__(self, lab, mtu):
        super().__init__(lab)
        self.vm = None
        try:
            self.vm = self._boot()
            self._configure()
            self._bring(lab.load, LOAD)
        except BaseException:
            self.close()
            raise
        self.use(mtu)

    def _netdev(self):
        raise NotImplementedError

    def _boot(self):
        return vm.Vm(self._netdev(), prefix=self.lab.host.enter)

    def _configure(self):
        vmconf.configure(self.vm)

    def _bring(self, program, path):
        """A program of ours, into the guest."""
        with open(program, "rb") as f:
            server = servers.http(self.lab.remote.listen(REMOTE4), f.read())
        self.vm.sh(f"curl -sS -o {path} http://{REMOTE4}:{server.port}/ && chmod +x {path}")
        server.close()

    def use(self, mtu):
        self.vm.sh(f"ip link set eth0 mtu {mtu}")

    def run(self, *argv, timeout=60, ns=None):
        return self.vm.sh(shlex.join(LOAD if a == self.lab.load else str(a) for a in argv), timeout)

    def close(self):
        if self.vm:
            self.vm.close()
        super().close()


class Direct(Guest):
    """A tap device with all offloads, and the kernel's own forwarding."""

    label = "direct (tap)"

    def _netdev(self):
        self.lab.host.ip("tuntap", "add", "mode", "tap", "vnet_hdr", "name", "vm")
        self.lab.host.ip("address", "add", f"{DIRECT4}.1/24", "dev", "vm")
        self.lab.host.ip("address", "add", f"{DIRECT6}:1/64", "dev", "vm", "nodad")
        self.lab.host.ip("link", "set", "vm", "up")
        return "tap,id=n,ifname=vm,script=no,downscript=no"

    def _configure(self):
        self.vm.sh("ip link set eth0 up")
        for family, address, gateway in ("-4", f"{DIRECT4}.2/24", f"{DIRECT4}.1"), ("-6", f"{DIRECT6}:2/64 nodad", f"{DIRECT6}:1"):
            self.vm.sh(f"/usr/bin/ip {family} address add dev eth0 {address} && /usr/bin/ip {family} route add default via {gateway}")

    def use(self, mtu):
        super().use(mtu)
        self.lab.host.ip("link", "set", "vm", "mtu", mtu)

    def close(self):
        super().close()
        self.lab.host.ip("link", "del", "vm")


class Passt(Guest):
    label = "passt"
    program = nets.Wired
    options = ()

    def _socket(self):
        self._daemon(self.program.path(self.lab), "--foreground", "--socket", "FOLDER/socket", *self.options)
        path = f"{self.folder}/socket"
        self._wait(lambda: os.path.exists(path), "socket")
        return path

    def _netdev(self):
        return vm.stream(self._socket())


class VhostUser(Passt):
    label = "passt, vhost-user"
    options = ("--vhost-user",)

    def _netdev(self):
        return vm.VhostUser(self._socket())


class UserMode(VhostUser):
    """As fast without KVM as a machine under QEMU is with it."""

    label = "passt, vhost-user, User-Mode Linux"

    def _boot(self):
        return uml.Uml(self._socket())


class OtherPasst(Passt):
    label = nets.OtherWired.label
    program = nets.OtherWired


class Slirp(Guest):
    label = "QEMU's user network"

    def _netdev(self):
        return "user,id=n,ipv6-prefix=2001:db8:9::"


CANDIDATES = {DIRECT: Direct, PASST: Passt, VHOST: VhostUser, UML: UserMode, OTHER_PASST: OtherPasst, SLIRP: Slirp}


def every_row():
    every = tuple(CANDIDATES)
    out = list(rows.tcp_rows("vm", "TCP of a virtual machine", every))
    for family in rows.FAMILIES:
        out.append(rows.Row(f"vm/rr/tcp/{family}", "Request and response of a virtual machine", every, rows.latency("tcp", family)))
    return out
