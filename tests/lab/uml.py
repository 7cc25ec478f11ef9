# SPDX-License-Identifier: MIT
"""
The same small guest as User-Mode Linux: a kernel that is an ordinary process. It is fast without KVM, and its network card is a vhost-user
front end of its own kind: the kernel's driver speaks the protocol itself.
"""
import contextlib
import os
import signal
import socket

from . import image
from .machine import Machine


def _memory(size):
    """Where its memory can be a file: a file system in memory, unless that is too small, or forbids to run what is in it; else None."""
    shm = "/dev/shm"
    if not os.path.isdir(shm):
        return None
    about = os.statvfs(shm)
    return shm if not about.f_flag & os.ST_NOEXEC and about.f_bavail * about.f_frsize > 2 * size else None


class Uml(Machine):
    """
    Boots on construction; path: the socket of a program that speaks vhost-user, or of one that takes sequenced packets, without vhost. prefix:
    words before the command, such as nsenter's.
    """

    def __init__(self, path, memory=256, prefix=(), vhost=True):
        self.vhost = vhost
        super().__init__("uml-")
        agent, theirs = socket.socketpair()
        kernel, initramfs = image.get(image.user_mode)
        argv = [*prefix, "setpriv", "--pdeathsig", "KILL", kernel, f"mem={memory}M", f"initrd={initramfs}", "rdinit=/init", "panic=-1"]
        argv += [f"uml_dir={self._dir.name}", "umid=guest", "con=null", "con0=null,fd:1", "ssl=null", f"ssl1=fd:{theirs.fileno()}"]
        argv += [f"virtio_uml.device={path}:1" if vhost else f"vec0:transport=bess,dst={path}"]
        env = {**os.environ, "TMPDIR": _memory(memory << 20) or self._dir.name}
        try:
            with theirs, open(self.console, "w", encoding="utf-8") as console:
                self._run(argv, stdout=console, pass_fds=[theirs.fileno()], env=env, start_new_session=True)
            self._listen(agent)
            self.wait_boot(1)
            if not vhost:
                self.sh("ip link set dev vec0 name eth0")
        except BaseException:
            self.close()
            raise

    def close(self):
        super().close()
        # Those of its processes that it did not end itself.
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        if self._agent:
            self._agent.close()
