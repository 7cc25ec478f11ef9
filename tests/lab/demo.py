# SPDX-License-Identifier: MIT
"""The steps of ./demo, which installs, builds and then calls this."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import termios
import time
import tty

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lab import pasta, servers, topology, vm, vmconf, wait  # noqa: E402
from lab.program import Passt  # noqa: E402
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6  # noqa: E402
from lab.wait import readable  # noqa: E402

NAME = "www.example.org"
NSSWITCH = "/etc/nsswitch.conf"
PAYLOAD = 32 << 20
PORT = 8000
ORDINARY = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]  # nobody that the host's namespaces know
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


class World:
    """A host with an interface to the outside, and the outside: web server and resolver."""

    def __init__(self):
        self.net = None

    def make(self, stack, work):
        self.net = topology.Topology(work, resolv=f"nameserver {REMOTE4}\n")
        stack.callback(self.net.close)
        if os.path.exists(NSSWITCH):
            self.net.host.bind_file(NSSWITCH, "hosts: files dns\n", f"{work}/nsswitch.conf")
        names = {NAME: [REMOTE4, REMOTE6]}
        body = os.urandom(PAYLOAD)
        for ns_socket, start, arg in (
            (self.net.remote.udp(REMOTE4, 53), servers.dns_udp, names),
            (self.net.remote.listen(REMOTE4, 80), servers.http, body),
            (self.net.remote.listen(REMOTE6, 80), servers.http, body),
        ):
            stack.callback(start(ns_socket, arg).close)
        return f"host {HOST4}, outside {REMOTE4}"


class Guest:
    """A virtual machine on passt."""

    def __init__(self, net, stack, work):
        self.net = net
        self.stack = stack
        self.work = work
        self.program = self.vm = None

    def start(self):
        self.program = Passt(self.net.host, self.work, "-t", "8080:80")
        self.stack.callback(self.program.stop)
        return "outside port 8080 goes to the guest's port 80"

    def boot(self):
        self.vm = vm.Vm(vm.stream(self.program.socket_path))
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
        return ping_time(dst, self.vm.sh(f"/usr/bin/ping -n -c 3 -i 0.2 -W 10 {dst}"))

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
        step("passt", self.start)
        step("Guest boots", self.boot)
        step("DHCP lease", self.lease)
        step("IPv6 address", self.address6)
        step("Ping outside", lambda: self.ping(REMOTE4))
        step("Ping over IPv6", lambda: self.ping(REMOTE6))
        step("Name resolution", lambda: resolved(self.vm.sh(f"nslookup {NAME}")))
        step("Download", lambda: self.download("-4"))
        step("Download over IPv6", lambda: self.download("-6"))
        step("Service in the guest", self.serve)


class Sandbox:
    """Commands with a network of their own through pasta, which somebody starts who may do nothing on the host."""

    def __init__(self, net, stack, work):
        self.net = net
        self.stack = stack
        self.work = work
        self.program = None

    def start(self, *options):
        """A command that stays, and lets us look at its network from within."""
        self.program = pasta.Pasta(self.net.host, self.work, "--config-net", *options, prefix=ORDINARY)
        self.stack.callback(self.program.stop)

    def first(self):
        """The quick start as it stands in README."""
        argv = ORDINARY + [pasta.program(self.work), "--config-net", "--", "curl", "-sS", "-o", "/dev/null", "-w", "%{size_download} %{remote_ip}"]
        size, address = self.net.host.run(*argv, f"http://{NAME}/").stdout.split()
        if int(size) != PAYLOAD:
            raise Failure(f"{size} bytes from {address}")
        return f"{PAYLOAD >> 20} MiB from {address}, start to end"

    def nobody(self):
        """Who starts pasta has no rights on the host."""
        done = self.net.host.run(*ORDINARY, "ip", "link", "add", "try0", "type", "dummy", check=False)
        if not done.returncode:
            raise Failure("may change the host's network")
        return f"new interface: {done.stderr.strip().rpartition(': ')[2].lower()}"

    def another(self):
        self.start()
        return f"process {self.program.ns.pid}, interface {', '.join(self.interfaces())}"

    def interfaces(self):
        return [line.split(":")[1].strip() for line in self.program.ns.ip("-o", "link").splitlines() if " lo:" not in line]

    def addresses(self):
        found = self.program.ns.addresses("eth0")
        if not {f"{HOST4}/24", f"{HOST6}/64"} <= set(found):
            raise Failure(f"addresses are {found}")
        return ", ".join(found)

    def routes(self):
        ways = [re.search(r"^default via (\S+)", self.program.ns.ip(family, "route"), re.M) for family in ("-4", "-6")]
        if not all(ways):
            raise Failure("no default route")
        return "default via " + ", ".join(way.group(1) for way in ways)

    def serve(self):
        """From listen() in there to the first connection from outside."""
        web = self.program.ns.listen("0.0.0.0", PORT)
        start = time.monotonic()
        wait.until(self.reachable, f"port {PORT} is open to the outside", every=0.001)
        took = time.monotonic() - start
        server = servers.http(web, b"Hello from the sandbox")
        try:
            page = self.net.remote.run("curl", "-sS", f"http://{HOST4}:{PORT}/").stdout
        finally:
            server.close()
        if page != "Hello from the sandbox":
            raise Failure(page)
        return f"'{page}', open after {took * 1000:.0f} ms"

    def reachable(self):
        try:
            self.net.remote.connect(HOST4, PORT).close()
        except ConnectionRefusedError:
            return False
        return True

    def closed(self):
        pasta.wait_closed(self.net.host, PORT)
        return f"{HOST4}:{PORT} is closed again"

    def speed(self, *options):
        self.start(*options)
        rates = self.transfer(), self.transfer("-R")
        self.program.close()
        return f"up {rates[0]:.1f}, down {rates[1]:.1f} Gbit/s"

    def transfer(self, *options):
        """Gbit/s as received."""
        server = self.net.remote.popen("iperf3", "-s", "-1", "-B", REMOTE4, stdout=subprocess.DEVNULL)
        try:
            pasta.wait_listening(self.net.remote, 5201)
            said = self.program.ns.run("iperf3", "-J", "-t", "2", "-c", REMOTE4, *options, check=False).stdout
            got = json.loads(said)
            if "error" in got:
                raise Failure(got["error"])
            return got["end"]["sum_received"]["bits_per_second"] / 1e9
        finally:
            server.kill()
            server.wait()

    def end(self):
        self.program.close()
        return "with its command, status 0"

    def run(self):
        step("An ordinary user", self.nobody)
        step("Sandboxed download", self.first)
        step("Sandbox that stays", self.another)
        step("Its addresses", self.addresses)
        step("Its routes", self.routes)
        step("Ping outside", lambda: ping_time(REMOTE4, self.program.ns.run("ping", "-n", "-c", 3, "-i", 0.2, REMOTE4).stdout))
        step("Name resolution", lambda: resolved(self.program.ns.run("busybox", "nslookup", NAME, check=False).stdout))
        step("Service in the sandbox", self.serve)
        step("Its end", self.closed)
        step("pasta ends", self.end)
        step("Speed at MTU 65520", self.speed)
        step("Speed at MTU 1500", lambda: self.speed("--mtu", "1500"))


def ping_time(dst, out):
    if "3 received" not in out:
        raise Failure(out)
    return f"{dst}, {re.search(r'= [0-9.]+/([0-9.]+)/', out).group(1)} ms"


def resolved(out):
    if REMOTE4 not in out or REMOTE6 not in out:
        raise Failure(out)
    return f"{NAME} is {REMOTE4}"


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
            ready = readable(None, 0, console)
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


def show(part, title, option, world):
    """All steps of a part; raises Failure with what its program said."""
    print(f"\n{paint(title, 1)}")
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-"))
        shown = part(world.net, stack, work)
        try:
            shown.run()
        except Failure as e:
            said = f"\n\nThe program said:\n{shown.program.output()}" if shown.program else ""
            raise Failure(f"{e}{said}") from e
        if option == "--shell":
            shell(shown.vm)


def main():
    start = time.monotonic()
    option = sys.argv[1] if len(sys.argv) > 1 else ""
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-"))
        try:
            world = World()
            step("Outside world", lambda: world.make(stack, work))
            if option != "--pasta":
                show(Guest, "A virtual machine on passt", option, world)
            if option not in ("--vm", "--shell"):
                show(Sandbox, "A command in a network of its own, by pasta", option, world)
        except Failure as e:
            print(f"\n{e}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    print(f"\n  All well, in {time.monotonic() - start:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
