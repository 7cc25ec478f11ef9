# SPDX-License-Identifier: MIT
"""A small Linux guest under QEMU, with KVM where that works."""
import functools
import json
import os
import platform
import socket
import subprocess
import time

from . import image
from .machine import Machine
from .wait import LIMIT, until

# Translated code makes writes to the pages that it came from slow: with much of it, as by default, the second boot takes minutes.
EMULATE = "tcg,tb-size=32"
MAC = "52:54:00:12:34:56"


def qemu():
    return image.which(f"qemu-system-{platform.machine()}")


@functools.lru_cache(None)
def have_kvm():
    """Whether KVM really works here: the device may exist and yet be of no use."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    argv = [qemu(), "-accel", "kvm", "-cpu", "host", "-m", "16", "-nodefaults", "-display", "none", "-S", "-qmp", "stdio"]
    asked = '{"execute":"qmp_capabilities"}{"execute":"quit"}'
    try:
        return subprocess.run(argv, input=asked, capture_output=True, text=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


class Vm(Machine):
    """
    Boots on construction; netdev are QEMU's words for a -netdev with the id "n", or a VhostUser. prefix: words before the command, such as
    nsenter's. machine: "pc" (QEMU's own choice) or "q35". slots: pieces of memory that can be plugged in. waits: instead of booting, for
    another one that moves here.
    """

    def __init__(self, netdev, memory=512, device="virtio-net-pci", append="", prefix=(), machine=None, slots=0, waits=False):
        super().__init__("vm-")
        kernel, initramfs = image.get()
        kvm = have_kvm()
        self.vhost = isinstance(netdev, VhostUser)
        cpus = max(2 if kvm else 1, netdev.queues if self.vhost else 1)
        argv = [*prefix, "setpriv", "--pdeathsig", "KILL", qemu(), "-accel", "kvm" if kvm else EMULATE, "-cpu", "host" if kvm else "max", "-smp", str(cpus)]
        argv += ["-m", f"{memory},slots={slots},maxmem=8G" if slots else str(memory)]
        argv += ["-machine", machine] if machine else []
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-kernel", kernel, "-initrd", initramfs]
        argv += ["-append", f"console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check tsc=reliable {append}"]
        argv += ["-chardev", f"socket,id=con,path={self._dir.name}/con,server=on,wait=off,logfile={self.console}", "-serial", "chardev:con"]
        argv += ["-chardev", f"socket,id=agent,path={self._dir.name}/agent,server=on,wait=off", "-serial", "chardev:agent"]
        argv += ["-chardev", f"socket,id=qmp,path={self._dir.name}/qmp,server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
        if self.vhost:
            argv += ["-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on", "-numa", "node,memdev=mem", *netdev.words()]
            device += netdev.device
            netdev = netdev.netdev
        argv += ["-netdev", netdev, "-device", f"{device},id=nic,netdev=n,mac={MAC},romfile=", "-device", "virtio-rng-pci"]
        argv += ["-incoming", "defer"] if waits else []
        self._run(argv)
        try:
            self._listen(self._connect("agent"))
            if not waits:
                self.wait_boot(1)
        except BaseException:
            self.close()
            raise

    def _connect(self, name):
        end = time.monotonic() + LIMIT
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(os.path.join(self._dir.name, name))
                s.settimeout(None)
                return s
            except OSError as e:
                s.close()
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"QEMU did not start: {self.errors()}") from e
                time.sleep(0.02)

    def open_console(self):
        """A socket that is connected to the guest's console."""
        return self._connect("con")

    def ask(self, command, **arguments):
        """Runs one QMP command; its reply."""
        with self._connect("qmp") as s:
            replies = s.makefile("r", encoding="utf-8")
            reply = {}
            for cmd, args in ("qmp_capabilities", {}), (command, arguments):
                s.sendall(json.dumps({"execute": cmd, "arguments": args}).encode() + b"\n")
                reply = {}
                while not {"return", "error"} & set(reply):
                    reply = json.loads(replies.readline())
            return reply

    def monitor(self, command, **arguments):
        """The same; True if it went well."""
        return "return" in self.ask(command, **arguments)

    def replug(self, path):
        """
        The program that listens on the socket is another one: takes the network interface out and puts in one that is connected to it.
        With vhost-user QEMU connects again by itself, and the interface stays.
        """
        if not self.vhost:
            self.swap(type="stream", server=False, addr={"type": "unix", "path": path})

    def plug_datagrams(self, path):
        """An interface whose frames are datagrams, in place of the one that is there."""
        self.swap(type="dgram", local={"type": "unix", "path": f"{path}.guest"}, remote={"type": "unix", "path": path})

    def swap(self, **netdev):
        """Another network interface, with that back end."""
        self.monitor("device_del", id="nic")
        self.until("[ ! -e /sys/class/net/eth0 ]", "interface is out")
        until(lambda: self.monitor("netdev_del", id="n"), "network back end is gone")
        assert self.monitor("netdev_add", id="n", **netdev)
        until(lambda: self.monitor("device_add", driver="virtio-net-pci", id="nic", netdev="n", mac=MAC, romfile=""), "interface is accepted")
        self.until("[ -e /sys/class/net/eth0 ]", "interface is in")

    def plug_memory(self, ident, mib):
        """One more piece of memory, that is shared as the rest."""
        assert self.monitor("object-add", **{"qom-type": "memory-backend-memfd"}, id=f"{ident}-mem", size=mib << 20, share=True)
        assert self.monitor("device_add", driver="pc-dimm", id=ident, memdev=f"{ident}-mem")

    def unplug_memory(self, ident):
        """Returns when the guest has let go of it."""
        assert self.monitor("device_del", id=ident)
        until(lambda: self.monitor("object-del", id=f"{ident}-mem"), "memory is out")

    def moving(self):
        """What QEMU says of a guest that is on its way to another place."""
        return self.ask("query-migrate")["return"]

    def move(self, there, path):
        """Begins to move the guest to a machine that waits for one, by a socket at that path."""
        assert there.monitor("migrate-incoming", uri=f"unix:{path}")
        assert self.monitor("migrate", uri=f"unix:{path}")

    def moved(self, there):
        """Waits for the end of it; commands run there from then on."""
        until(lambda: self.moving()["status"] not in ("active", "device"), "the guest is there", 120)
        assert self.moving()["status"] == "completed", self.moving()
        until(lambda: there.ask("query-status")["return"]["status"] == "running", "it runs")
        there.goes_on(self)

    def reset(self):
        """Presses the reset button and waits for the guest to be up again."""
        boots = self.boots
        self.monitor("system_reset")
        self.wait_boot(boots + 1)


def stream(path):
    """Words for a stream socket that the program listens on."""
    return f"stream,id=n,server=off,addr.type=unix,addr.path={path}"


class VhostUser:
    """The same for a program that speaks vhost-user; queues: pairs."""

    def __init__(self, path, queues=1):
        self._path = path
        self.queues = queues
        self.netdev = f"vhost-user,id=n,chardev=c,queues={queues}"
        # The interrupts of QEMU 7.2 fail with vhost-user and without KVM, unless there are no vectors.
        self.device = (",mq=on" if queues > 1 else "") + ",vectors=0"

    def words(self):
        return ["-chardev", f"socket,id=c,path={self._path},reconnect=1"]
