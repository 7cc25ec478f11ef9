# SPDX-License-Identifier: MIT
"""The steps of ./demo, which installs, builds and then calls this."""
import contextlib
import os
import re
import select
import shutil
import sys
import tempfile
import termios
import time
import tty

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import servers, topology, vm, vmconf  # noqa: E402
from lab.program import Passt  # noqa: E402
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6  # noqa: E402

NAME = "www.example.org"
PAYLOAD = 32 << 20
COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ


def paint(text, code):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


class Failure(Exception):
    pass


def step(title, action):
    """Runs one step and prints its result and how long it took."""
    if COLOUR:
        print(f"    {title} ...", end="\r", flush=True)
    start = time.monotonic()
    try:
        result = action()
    except Exception as e:
        print(f"  {paint('✗', 31)} {title:22} failed after {time.monotonic() - start:.1f} s".ljust(79))
        raise Failure(str(e)) from e
    print(f"  {paint('✓', 32)} {title:22} {result:46} {time.monotonic() - start:5.1f} s", flush=True)


class Demo:
    def __init__(self, stack, work):
        self.stack = stack
        self.work = work
        self.net = self.passt = self.vm = None

    def world(self):
        """A host with an interface to the outside, and the outside: web server and resolver."""
        self.net = topology.Topology(self.work, resolv=f"nameserver {REMOTE4}\n")
        self.stack.callback(self.net.close)
        names = {NAME: [REMOTE4, REMOTE6]}
        body = os.urandom(PAYLOAD)
        for ns_socket, start, arg in (
            (self.net.remote.udp(REMOTE4, 53), servers.dns_udp, names),
            (self.net.remote.listen(REMOTE4, 80), servers.http, body),
            (self.net.remote.listen(REMOTE6, 80), servers.http, body),
        ):
            self.stack.callback(start(ns_socket, arg).close)
        return f"host {HOST4}, outside {REMOTE4}"

    def start(self):
        self.passt = Passt(self.net.host, self.work, "-t", "8080:80")
        self.stack.callback(self.passt.stop)
        return "outside port 8080 goes to the guest's port 80"

    def boot(self):
        self.vm = vm.Vm(vm.stream(self.passt.socket_path))
        self.stack.callback(self.vm.close)
        kernel = self.vm.sh("uname -r").strip()
        return f"Linux {kernel}, {'KVM' if vm.have_kvm() else 'emulated'}"

    def lease(self):
        self.vm.sh("ip link set eth0 up; " + vmconf.DHCP)
        got = dict(re.findall(r"^(\w+)='?([^'\n]*)'?$", self.vm.sh("cat /tmp/udhcpc"), re.M))
        return f"{got['ip']}/{got['mask']}, gateway {got['router']}"

    def address6(self):
        vmconf.wait_ipv6(self.vm)
        return re.search(r"inet6 (2001:\S+)", self.vm.sh("ip -6 addr show dev eth0")).group(1)

    def ping(self, dst):
        out = self.vm.sh(f"/usr/bin/ping -n -c 3 -i 0.2 -W 10 {dst}")
        if "3 received" not in out:
            raise Failure(out)
        return f"{dst}, {re.search(r'= [0-9.]+/([0-9.]+)/', out).group(1)} ms"

    def resolve(self):
        out = self.vm.sh(f"nslookup {NAME}")
        if REMOTE4 not in out or REMOTE6 not in out:
            raise Failure(out)
        return f"{NAME} is {REMOTE4}"

    def download(self, option):
        start = time.monotonic()
        out = self.vm.sh(f"curl {option} -sS -o /dev/null -w '%{{size_download}} %{{remote_ip}}' http://{NAME}/", 120).split()
        if int(out[0]) != PAYLOAD:
            raise Failure(" ".join(out))
        rate = PAYLOAD * 8 / (time.monotonic() - start) / 1e6
        return f"{PAYLOAD >> 20} MiB from {out[1]}, {rate:.0f} Mbit/s"

    def serve(self):
        self.vm.sh("mkdir -p /www; echo 'Hello from the guest' >/www/index.html; httpd -p 80 -h /www")
        page = self.net.remote.run("curl", "-sS", f"http://{HOST4}:8080/").stdout.strip()
        if page != "Hello from the guest":
            raise Failure(page)
        return f"'{page}', {HOST4}:8080"

    def run(self):
        step("Outside world", self.world)
        step("passt", self.start)
        step("Guest boots", self.boot)
        step("DHCP lease", self.lease)
        step("IPv6 address", self.address6)
        step("Ping outside", lambda: self.ping(REMOTE4))
        step("Ping over IPv6", lambda: self.ping(REMOTE6))
        step("Name resolution", self.resolve)
        step("Download", lambda: self.download("-4"))
        step("Download over IPv6", lambda: self.download("-6"))
        step("Service in the guest", self.serve)


def shell(guest):
    """Joins the terminal with the guest's console until the shell there ends."""
    console = guest.open_console()
    size = shutil.get_terminal_size()
    guest.start(f"stty sane -ixon rows {size.lines} cols {size.columns} </dev/ttyS0; "
                "PS1='guest:\\w# ' TERM=linux setsid cttyhack sh </dev/ttyS0 >/dev/ttyS0 2>&1; poweroff -f")
    print(f"\n  Shell in the guest; the outside is {REMOTE4}, {REMOTE6}. Ends with 'exit' or Ctrl-].\n", flush=True)
    saved = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        while True:
            ready = select.select([0, console], [], [])[0]
            if console in ready:
                data = console.recv(4096)
                if not data:
                    return
                os.write(1, data)
            if 0 in ready:
                data = os.read(0, 4096)
                if not data or b"\x1d" in data:
                    return
                console.sendall(data)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, saved)
        print()


def main():
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-"))
        demo = Demo(stack, work)
        try:
            demo.run()
            print(f"\n  All well, in {time.monotonic() - start:.0f} s.")
            if "--shell" in sys.argv[1:]:
                shell(demo.vm)
        except Failure as e:
            print(f"\n{e}", file=sys.stderr)
            if demo.passt:
                print(f"\npasst said:\n{demo.passt.output()}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
