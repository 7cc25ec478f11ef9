# SPDX-License-Identifier: MIT
"""A small Linux guest under QEMU, with KVM where that works, and a channel to run commands in it."""
import base64
import functools
import json
import os
import platform
import shlex
import socket
import subprocess
import tempfile
import threading
import time

from . import image
from .wait import LIMIT, Timeout, until

# Emulation is slow, and slower when the machine has other things to do.
BOOT_LIMIT = 180.0
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


class Result:
    """What a command in the guest printed (both streams) and its exit status."""

    def __init__(self, status, out):
        self.status = status
        self.out = out

    def __repr__(self):
        return f"status {self.status}: {self.out}"


class _Job:
    def __init__(self, vm, ident, script):
        self.script = script
        self._vm = vm
        self._ident = ident

    def wait(self, timeout=60.0):
        return self._vm.collect(self._ident, timeout, self.script)


class Vm:
    """
    Boots on construction; netdev are QEMU's words for a -netdev with the id "n", or a VhostUser. prefix: words before the command, such as
    nsenter's.
    """

    def __init__(self, netdev, memory=512, device="virtio-net-pci", append="", prefix=()):
        self._dir = tempfile.TemporaryDirectory(prefix="vm-")
        self.console = os.path.join(self._dir.name, "console")
        kernel, initramfs = image.get()
        kvm = have_kvm()
        argv = [*prefix, "setpriv", "--pdeathsig", "KILL", qemu(), "-accel", "kvm" if kvm else EMULATE, "-cpu", "host" if kvm else "max", "-m", str(memory), "-smp", "2" if kvm else "1"]
        argv += ["-nodefaults", "-no-user-config", "-display", "none", "-kernel", kernel, "-initrd", initramfs]
        argv += ["-append", f"console=ttyS0 quiet panic=-1 nokaslr mitigations=off no_timer_check tsc=reliable {append}"]
        argv += ["-chardev", f"socket,id=con,path={self._dir.name}/con,server=on,wait=off,logfile={self.console}", "-serial", "chardev:con"]
        argv += ["-chardev", f"socket,id=agent,path={self._dir.name}/agent,server=on,wait=off", "-serial", "chardev:agent"]
        argv += ["-chardev", f"socket,id=qmp,path={self._dir.name}/qmp,server=on,wait=off", "-mon", "chardev=qmp,mode=control"]
        self.vhost = isinstance(netdev, VhostUser)
        if self.vhost:
            argv += ["-object", f"memory-backend-memfd,id=mem,size={memory}M,share=on", "-numa", "node,memdev=mem", *netdev.words()]
            device += netdev.device
            netdev = netdev.netdev
        argv += ["-netdev", netdev, "-device", f"{device},id=nic,netdev=n,mac={MAC},romfile=", "-device", "virtio-rng-pci"]
        self._errors = open(os.path.join(self._dir.name, "errors"), "w+", encoding="utf-8")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self._errors)
        self._lock = threading.Condition()
        self._answers = {}
        self._next = 0
        self.boots = 0
        try:
            self._agent = self._connect("agent")
            threading.Thread(target=self._read_agent, daemon=True).start()
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

    def errors(self):
        self._errors.seek(0)
        return self._errors.read()

    def console_text(self):
        try:
            with open(self.console, encoding="utf-8", errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def _lines(self):
        try:
            yield from self._agent.makefile("rb")
        except OSError:
            pass

    def _read_agent(self):
        for line in self._lines():
            word = line.decode("ascii", "replace").split()
            with self._lock:
                if word[:1] == ["READY"]:
                    self.boots += 1
                elif len(word) >= 2 and word[0].isdigit():
                    out = base64.b64decode(word[2]).decode("utf-8", "replace") if len(word) > 2 else ""
                    self._answers[int(word[0])] = Result(int(word[1]), out)
                self._lock.notify_all()

    def _wait(self, condition, timeout, what):
        with self._lock:
            if not self._lock.wait_for(lambda: condition() or self.process.poll() is not None, timeout) or not condition():
                raise Timeout(f"not within {timeout:.0f} s: {what}\n{self.errors()}{self.console_text()[-2000:]}")

    def wait_boot(self, boots):
        """Waits until the guest has come up for that many times in all."""
        self._wait(lambda: self.boots >= boots, BOOT_LIMIT, "guest has booted")

    def start(self, script):
        """Starts a shell script in the guest; wait() on what is returned gives its Result."""
        self._next += 1
        self._agent.sendall(b"%d %s\n" % (self._next, base64.b64encode(script.encode())))
        return _Job(self, self._next, script)

    def collect(self, ident, timeout, what):
        self._wait(lambda: ident in self._answers, timeout, f"end of '{what}' in the guest")
        return self._answers.pop(ident)

    def sh(self, script, timeout=60.0, check=True):
        """Runs a shell script in the guest and returns its output; fails if its exit status is not 0."""
        result = self.start(script).wait(timeout)
        if check and result.status:
            raise AssertionError(f"in the guest: {script}: status {result.status}\n{result.out}")
        return result.out if check else result

    def until(self, script, what, timeout=LIMIT):
        """Waits in the guest until a shell condition holds."""
        self.sh(f"n={int(timeout * 10)}; until {script}; do n=$((n-1)); [ $n -gt 0 ] || {{ echo {shlex.quote('no ' + what)}; exit 1; }}; sleep 0.1; done", timeout * 3)

    def monitor(self, command, **arguments):
        """Runs one QMP command; True if it went well."""
        with self._connect("qmp") as s:
            replies = s.makefile("r", encoding="utf-8")
            reply = {}
            for cmd, args in ("qmp_capabilities", {}), (command, arguments):
                s.sendall(json.dumps({"execute": cmd, "arguments": args}).encode() + b"\n")
                reply = {}
                while not {"return", "error"} & set(reply):
                    reply = json.loads(replies.readline())
            return "return" in reply

    def replug(self, path):
        """
        The program that listens on the socket is another one: takes the network interface out and puts in one that is connected to it.
        With vhost-user QEMU connects again by itself, and the interface stays.
        """
        if self.vhost:
            return
        self.monitor("device_del", id="nic")
        self.until("[ ! -e /sys/class/net/eth0 ]", "interface is out")
        until(lambda: self.monitor("netdev_del", id="n"), "network back end is gone")
        assert self.monitor("netdev_add", type="stream", id="n", server=False, addr={"type": "unix", "path": path})
        until(lambda: self.monitor("device_add", driver="virtio-net-pci", id="nic", netdev="n", mac=MAC, romfile=""), "interface is accepted")
        self.until("[ -e /sys/class/net/eth0 ]", "interface is in")

    def reset(self):
        """Presses the reset button and waits for the guest to be up again."""
        boots = self.boots
        self.monitor("system_reset")
        self.wait_boot(boots + 1)

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()
        self._dir.cleanup()


def stream(path):
    """Words for a stream socket that the program listens on."""
    return f"stream,id=n,server=off,addr.type=unix,addr.path={path}"


class VhostUser:
    """The same for a program that speaks vhost-user; queues: pairs."""

    def __init__(self, path, queues=1):
        self._path = path
        self.netdev = f"vhost-user,id=n,chardev=c,queues={queues}"
        # The interrupts of QEMU 7.2 fail with vhost-user and without KVM, unless there are no vectors.
        self.device = (",mq=on" if queues > 1 else "") + ",vectors=0"

    def words(self):
        return ["-chardev", f"socket,id=c,path={self._path},reconnect=1"]
