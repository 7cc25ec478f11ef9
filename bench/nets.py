# SPDX-License-Identifier: MIT
"""
The network that the bench runs in, and what joins a guest to it. Every candidate has a guest namespace of its own beside the others'.

    +-- guest --+  candidate   +-- host: Topology of the tests --+  veth  +-- remote -----------------------+
    | client    |==============|                                 |--------| 198.51.100.1, 2001:db8:1::1     |
    +-----------+              | servers on 127.0.0.1, ::1       |        | servers                         |
                               +---------------------------------+        +---------------------------------+

direct: the guest is joined to the host by a veth pair, and the host routes.
"""
import contextlib
import os
import shutil
import signal
import subprocess

from lab import netns, program, topology
from lab.pasta import box, listening
from lab.pasta import program as pasta_program
from lab.topology import GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6
from lab.wait import LIMIT, until

HERE = os.path.dirname(os.path.abspath(__file__))
WIRE = os.path.join(os.path.dirname(HERE), "tests", "lab", "wire.c")
IPERF, LOAD, DATAGRAMS = 5201, 5202, 5203
INWARD = {"iperf3": 5204, "load": 5205}  # of servers in the guest
REMOTE = {"v4": REMOTE4, "v6": REMOTE6}
LOOPBACK = {"v4": "127.0.0.1", "v6": "::1"}
DIRECT4, DIRECT6 = "198.18.0", "2001:db8:2:"  # of the link between guest and host on the direct path
FORWARDS = ["-u", "none", "-T", f"{IPERF},{LOAD}", "-U", f"{LOAD}"]
NO_FORWARDS = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]


def descendants(pid):
    """A process and all that came from it."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as f:
                    todo += [int(word) for word in f.read().split()]
    return found


def end(process):
    """Ends a process of ours."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def counter(run, name):
    """A counter of a kernel, since its beginning. run(argv...) gives the output of a command there."""
    for line in run("nstat", "-asz", name).splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    raise KeyError(name)


def tune(ns, mtu=None, dev="eth0"):
    """What would make one measurement depend on another: no memory of earlier connections, ports for many of them."""
    ns.write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")
    ns.write("/proc/sys/net/ipv4/ip_local_port_range", "10000 65000")
    for which in "default", "all":
        ns.write(f"/proc/sys/net/ipv6/conf/{which}/accept_dad", "0")
    if mtu:
        ns.ip("link", "set", dev, "mtu", mtu)


class Lab:
    """Host and remote host with their servers, and the tools."""

    def __init__(self, work):
        self.work = work
        self._stack = contextlib.ExitStack()
        self.net = self._stack.enter_context(contextlib.closing(topology.Topology(work)))
        self.host, self.remote = self.net.host, self.net.remote
        self.load = self._compile(os.path.join(HERE, "load.c"))
        self.wire = self._compile(WIRE)
        self._next, self._port = 0, 6000
        for ns in self.host, self.remote:
            tune(ns)
        self.host.write("/proc/sys/net/ipv4/ip_forward", "1")
        self.host.write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
        self.remote.ip("route", "add", f"{DIRECT4}.0/24", "via", HOST4)
        self.remote.ip("-6", "route", "add", f"{DIRECT6}:/64", "via", HOST6)
        for ns, addresses in (self.remote, REMOTE.values()), (self.host, LOOPBACK.values()):
            server = ns.popen(self.load, "serve", LOAD, *addresses, stdout=subprocess.PIPE)
            self._stack.callback(end, server)
            self.wait_ready(server)

    def _compile(self, source):
        target = os.path.join(self.work, os.path.basename(source)[:-2])
        subprocess.run([os.environ.get("CC", "cc"), "-O2", "-o", target, source], check=True)
        return target

    @staticmethod
    def wait_ready(process):
        line = process.stdout.readline()
        if line not in (b"ready\n", "ready\n"):
            raise RuntimeError(f"did not get ready: {line!r}")

    @contextlib.contextmanager
    def iperf_server(self, ns, port=IPERF):
        """For one run: one that still ends the run before would turn the next one away."""
        server = ns.popen("iperf3", "-s", "-1", "-p", port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: listening(ns, port), "iperf3 listens")
            yield
        finally:
            end(server)

    def set_mtu(self, mtu):
        """Of the link between host and remote host."""
        for ns in self.host, self.remote:
            ns.ip("link", "set", "eth0", "mtu", mtu)

    def folder(self):
        """A directory of its own for each that asks."""
        self._next += 1
        path = os.path.join(self.work, str(self._next))
        os.mkdir(path)
        return path

    def port(self):
        """A port of the host for each that asks."""
        self._port += 1
        return self._port

    def close(self):
        self._stack.close()


class Instance:
    """
    A candidate that runs, and its guest. ns: the guest; remote, loopback: what the servers' addresses are there, or None. inward: the addresses
    of servers in the guest for the remote host, or None; inward_port: their ports, by the name of INWARD.
    """

    remote = REMOTE
    loopback = LOOPBACK
    options = ()
    inward = None
    inward_port = INWARD
    any_mtu = False  # one instance does for all, by use()

    def __init__(self, lab):
        self.lab = lab
        self.process = None
        self.ns = None
        self.loop_ns = None

    def use(self, mtu):
        """Makes the guest's link one of that MTU."""

    def pids(self):
        return descendants(self.process.pid) if self.process else []

    def run(self, *argv, timeout=60, ns=None):
        """Runs a command in the guest and returns its output."""
        return (ns or self.ns).run(*argv, timeout=timeout).stdout

    def popen(self, *argv, ns=None, **kw):
        return (ns or self.ns).popen(*argv, **kw)

    def retransmissions(self):
        return counter(self.run, "TcpRetransSegs")

    def _daemon(self, *argv, **kw):
        """Starts the candidate's program in the host's namespaces; the log stays in its folder."""
        self.folder = self.lab.folder()
        self._log = os.path.join(self.folder, "log")
        with open(self._log, "w", encoding="utf-8") as log:
            self.process = self.lab.host.popen(*[str(a).replace("FOLDER", self.folder) for a in argv], stdout=log, stderr=subprocess.STDOUT, **kw)

    def _wait(self, condition, what):
        def check():
            if self.process.poll() is not None:
                with open(self._log, encoding="utf-8", errors="replace") as log:
                    raise RuntimeError(f"{what}: ended with status {self.process.returncode}: {log.read()[-300:]}")
            return condition()

        until(check, what)

    def _wait_configured(self):
        """Until the guest has addresses and routes of both families."""
        self._wait(lambda: "default" in self.run("ip", "route"), "route in the guest")
        self._wait(lambda: "default" in self.run("ip", "-6", "route"), "IPv6 route in the guest")
        self._wait(lambda: "global" in self.run("ip", "-6", "address", "show", "scope", "global", "-tentative"), "IPv6 address in the guest")

    def close(self):
        if self.process:
            end(self.process)
        if self.ns:
            self.ns.close()


class Direct(Instance):
    """No program at all: a veth pair, and the kernel's own forwarding. Its loopback is that of the host."""

    label = "direct"
    any_mtu = True
    inward = {"v4": f"{DIRECT4}.2", "v6": f"{DIRECT6}:2"}

    def __init__(self, lab, mtu):
        super().__init__(lab)
        self.ns = netns.Ns("direct", parent=lab.host)
        self.loop_ns = lab.host
        lab.host.ip("link", "add", "direct", "type", "veth", "peer", "name", "eth0", "netns", self.ns.pid)
        tune(self.ns)
        for ns, dev, n in (lab.host, "direct", 1), (self.ns, "eth0", 2):
            ns.ip("address", "add", f"{DIRECT4}.{n}/24", "dev", dev)
            ns.ip("address", "add", f"{DIRECT6}:{n}/64", "dev", dev, "nodad")
            ns.ip("link", "set", dev, "up")
        self.ns.ip("route", "add", "default", "via", f"{DIRECT4}.1")
        self.ns.ip("-6", "route", "add", "default", "via", f"{DIRECT6}:1")
        self.use(mtu)

    def use(self, mtu):
        self.lab.host.ip("link", "set", "direct", "mtu", mtu)
        self.ns.ip("link", "set", "eth0", "mtu", mtu)


class Attached(Instance):
    """A program that joins a namespace that is there already, as that of a container."""

    def __init__(self, lab, mtu):
        super().__init__(lab)
        self.ns = self.loop_ns = box(lab.host)
        tune(self.ns)
        try:
            self._daemon(*self.argv(mtu))
            self._wait_configured()
            self._wait_more()
        except BaseException:
            self.close()
            raise

    def argv(self, mtu):
        raise NotImplementedError

    def _wait_more(self):
        pass


class Pasta(Attached):
    label = "pasta"
    inward = {"v4": HOST4, "v6": HOST6}

    @staticmethod
    def path(lab):
        return pasta_program(lab.work)

    def argv(self, mtu):
        self.inward_port = {name: self.lab.port() for name in INWARD}
        ports = ",".join(f"{self.inward_port[name]}:{port}" for name, port in INWARD.items())
        return [self.path(self.lab), "--foreground", "--config-net", "-m", mtu, *self.options, "-t", ports, *FORWARDS, self.ns.pid]

    def _wait_more(self):
        until(lambda: listening(self.ns, IPERF) and listening(self.ns, LOAD), "ports are forwarded")


class PastaTap(Pasta):
    """Without connections that are handed over: all of them are frames of a tap device."""

    label = "pasta, tap device"
    options = ("--no-handover",)


def distribution(name):
    """A program of the distribution, or None."""
    return shutil.which(name, path="/usr/bin:/bin")


class OtherPasta(Pasta):
    label = "distribution's pasta"

    @staticmethod
    def path(lab):
        return distribution("pasta")


class Slirp(Attached):
    """Has no forwarding of loopbacks; what comes nearest is its address for the host's."""

    label = "slirp4netns"
    loopback = {"v4": "10.0.2.2", "v6": "fd00::2"}

    @staticmethod
    def path(lab):
        return distribution("slirp4netns")

    def argv(self, mtu):
        return [self.path(self.lab), "--configure", "--enable-ipv6", f"--mtu={mtu}", f"--userns-path=/proc/{self.ns.pid}/ns/user", self.ns.pid, "tap0"]


class Wired(Instance):
    """passt and a guest namespace behind a tap device, with its frames carried to the stream socket by a small program."""

    label = "passt"
    loopback = None

    @staticmethod
    def path(lab):
        return program.binary()

    def __init__(self, lab, mtu):
        super().__init__(lab)
        self._wire = None
        self.ns = netns.Ns("wired", parent=lab.host)
        tune(self.ns)
        self.ns.write("/proc/sys/net/ipv6/conf/default/accept_ra", "0")
        try:
            self._daemon(self.path(lab), "--foreground", "--socket", "FOLDER/socket", "-m", mtu)
            self._wait(lambda: os.path.exists(f"{self.folder}/socket"), "socket")
            self._connect(mtu)
        except BaseException:
            self.close()
            raise

    def _connect(self, mtu):
        self._wire = self.ns.popen(self.lab.wire, "eth0", f"{self.folder}/socket", stdout=subprocess.PIPE)
        self.lab.wait_ready(self._wire)
        self.ns.ip("link", "set", "eth0", "mtu", mtu, "up")
        for family, address, gateway in ("-4", f"{HOST4}/24", GW4), ("-6", f"{HOST6}/64", GW6):
            self.ns.ip(family, "address", "add", address, "dev", "eth0")
            self.ns.ip(family, "route", "add", "default", "via", gateway)

    def close(self):
        if self._wire:
            end(self._wire)
        super().close()


class OtherWired(Wired):
    label = "distribution's passt"

    @staticmethod
    def path(lab):
        return distribution("passt")


DIRECT, PASTA, OTHER_PASTA, SLIRP, PASST, OTHER_PASST = "direct", "pasta", "other-pasta", "slirp4netns", "passt", "other-passt"
TAP = "pasta-tap"
VHOST, UML = "passt-vhost", "passt-uml"  # of virtual machines only
CANDIDATES = {DIRECT: Direct, PASTA: Pasta, TAP: PastaTap, OTHER_PASTA: OtherPasta, SLIRP: Slirp, PASST: Wired, OTHER_PASST: OtherWired}
OURS = (PASTA, TAP, PASST, VHOST, UML)
NEEDS = {OTHER_PASTA: "pasta", SLIRP: "slirp4netns", OTHER_PASST: "passt", UML: "linux.uml"}


def installed(name):
    """Whether there is such a program here."""
    return name not in NEEDS or distribution(NEEDS[name]) is not None


class Pool:
    """What runs, kept from one measurement to the next."""

    def __init__(self, lab, candidates):
        self.lab = lab
        self._candidates = candidates
        self._running = {}

    def get(self, name, mtu):
        cls = self._candidates[name]
        key = name, None if cls.any_mtu else mtu
        self.lab.set_mtu(mtu)
        if key not in self._running:
            self._running[key] = cls(self.lab, mtu)
        self._running[key].use(mtu)
        return self._running[key]

    def fresh(self, name, mtu):
        """One that nothing was done with yet."""
        self.drop(name)
        return self.get(name, mtu)

    def path(self, name):
        """The candidate's program."""
        return self._candidates[name].path(self.lab)

    def options(self, name):
        """Those that make it what it is."""
        return self._candidates[name].options

    def drop(self, name):
        """Forgets what did not do what it should have."""
        for key in [k for k in self._running if k[0] == name]:
            self._running.pop(key).close()

    def close(self):
        for name in {key[0] for key in self._running}:
            self.drop(name)
