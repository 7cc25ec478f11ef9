# SPDX-License-Identifier: MIT
"""
pasta as container engines, build systems and jails start it: their very words, what they read of its output, and how they end it.

None of these programs runs here: what they do before and after is done by hand.
"""
import os
import signal
import subprocess

import pytest
from lab import netns, servers
from lab.control import Control
from lab.pasta import Daemon, Process, box, connects, exchange_tcp, exchange_udp, listening, mounted, program, wait_listening
from lab.program import gone
from lab.topology import GW4, HOST4, HOST6, REMOTE4, REMOTE6, Topology
from lab.wait import until

NAME = "www.example.org"
LO4, LO6 = "127.0.0.1", "::1"


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """With a resolver that answers."""
    t = Topology(str(tmp_path_factory.mktemp("net")), resolv=f"nameserver {REMOTE4}\n")
    dns = servers.dns_udp(t.remote.udp(REMOTE4, 53), {NAME: [REMOTE4, REMOTE6]})
    yield t
    dns.close()
    t.close()


def resolves(ns, server):
    """A name, by a name server as the namespace sees it."""
    out = ns.run("busybox", "nslookup", NAME, server).stdout
    assert REMOTE4 in out and REMOTE6 in out, out


# Podman: options of its configuration and command line, then ports, then what it adds unless it is there already.

NO_PORTS = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
PORTS = ["-t", "127.0.0.1/8080-8080:80-80", "-t", "::1/8080-8080:80-80", "-t", "8090-8092:90-92", "-u", "[::1]/5353-5353:53-53"]


def podman(path, options=(), ports=(), gateway=False):
    words = [*options, *ports]
    forward = [] if "--dns-forward" in words else ["--dns-forward", "169.254.1.1"]
    none = [w for o in "tuTU" if f"-{o}" not in words for w in (f"-{o}", "none")]
    return ["--config-net", *words, *forward, *none, *([] if gateway else ["--no-map-gw"]), "--quiet", "--netns", path,
            "--map-guest-addr", "169.254.1.2"]


@pytest.fixture
def netns_file(net, plain, tmp_path):
    """The network namespace of a container as a file, which a test may remove."""
    path = mounted(net.host, plain, tmp_path / "netns-4d6f6e6f")
    yield path
    if path.exists():
        remove(net, path)


def remove(net, path):
    net.host.run("umount", path)
    path.unlink()


def test_podman(net, plain, daemon, netns_file):
    """Addresses are read straight after it returned; its end comes with that of the file, and nobody tells it."""
    d = daemon(*podman(netns_file))
    assert d.done.stdout == "" and d.done.stderr == "", "warnings in the log of the engine"
    assert set(plain.addresses("eth0")) == {f"{HOST4}/24", f"{HOST6}/64"} and "tentative" not in plain.ip("address")
    connects(net, plain)
    resolves(plain, "169.254.1.1")
    assert exchange_tcp(net.host, "0.0.0.0", 0, plain, "169.254.1.2") == (HOST4, HOST4)
    remove(net, netns_file)
    until(d.gone, "end with the file")


def test_podman_with_ports(net, plain, daemon, netns_file):
    d = daemon(*podman(netns_file, ports=PORTS))
    assert d.done.stderr == ""
    exchange_tcp(plain, "0.0.0.0", 80, net.host, LO4, 8080)
    exchange_tcp(plain, "::", 80, net.host, LO6, 8080)
    assert exchange_tcp(plain, "0.0.0.0", 92, net.remote, HOST4, 8092) == (GW4, HOST4)
    exchange_udp(plain, "::", 53, net.host, LO6, 5353)
    remove(net, netns_file)
    until(d.gone, "end with the file")
    assert not listening(net.host, 8080) and not listening(net.host, 8090) and not listening(net.host, 5353, udp=True)


@pytest.mark.parametrize("options,check", [
    (["-T", "5432"], lambda net, ns: exchange_tcp(net.host, LO4, 5432, ns, LO4, 5432)),
    (["--ns-mac-addr", "52:54:00:00:00:01", "--ns-mac-addr", "52:54:00:00:00:02"], lambda net, ns: "52:54:00:00:00:02" in ns.ip("link", "show", "eth0")),
    (["--mtu", "2000", "-I", "myname"], lambda net, ns: "mtu 2000" in ns.ip("link", "show", "myname")),
    (["-a", "10.0.2.0", "-n", "24", "-g", "10.0.2.2", "--dns-forward", "10.0.2.3"], lambda net, ns: resolves(ns, "10.0.2.3") is None),
    (["--ipv4-only"], lambda net, ns: ns.routes("-6") == [] and ns.addresses("eth0") == [f"{HOST4}/24"]),
    (["-i", "eth0", "-4", "-t", "auto"], lambda net, ns: auto(net, ns, "0.0.0.0", HOST4)),
], ids=lambda v: " ".join(v)[:30] if isinstance(v, list) else "")
def test_podman_options(net, plain, daemon, netns_file, options, check):
    daemon(*podman(netns_file, options))
    assert check(net, plain)


def auto(net, ns, at, to, who="remote"):
    """A service that is found by itself."""
    with ns.listen(at, 8123):
        wait_listening(net.host, 8123)
        return getattr(net, who).connect(to, 8123).close() is None


def test_podman_map_gw(net, plain, daemon, netns_file):
    """Its own word, which leaves out one of ours."""
    daemon(*podman(netns_file, gateway=True))
    exchange_tcp(net.host, LO4, 0, plain, GW4)


def test_podman_reads_the_reason(net, plain, daemon, netns_file):
    """Exit status and output are what the user gets to see; the namespace is as it was."""
    with net.host.listen("0.0.0.0", 8080):
        d = daemon(*podman(netns_file, ports=PORTS), check=False)
    assert d.done.returncode == 1 and f"Listen failed for HOST TCP port {LO4}/8080: Address already in use" in d.done.stderr
    assert "eth0" not in plain.ip("link")


def test_podman_that_is_ahead(daemon, netns_file):
    """With this status and these words it tries again without the last option."""
    d = daemon(*podman(netns_file)[:-2], "--map-guest-addresses", "169.254.1.2", check=False)
    assert d.done.returncode == 1 and "unrecognized option '--map-guest-addr" in d.done.stderr


def test_podman_shared_network(net, plain, tmp_path):
    """One for many containers: found by its PID file, ended by a signal, started again over the same files."""
    path = mounted(net.host, plain, tmp_path / "rootless-netns")
    for _ in range(2):
        d = Daemon(net.host, str(tmp_path), *podman(path))
        os.kill(d.pid, 0)
        connects(net, plain)
        d.close()
    remove(net, path)


@pytest.mark.parametrize("options", [[], ["--mtu", "2000", "--ns-mac-addr", "52:54:00:00:00:03"], ["--dns-forward", "192.168.0.1"]], ids=" ".join)
def test_buildah(net, daemon, tun, options):
    """The namespace by its process: no file system tells of its end."""
    b = box(net.host, user=False)
    d = daemon(*podman(f"/proc/{b.pid}/ns/net", options))
    assert f"{HOST4}/24" in b.addresses("eth0")
    resolves(b, "192.168.0.1" if "--dns-forward" in options else "169.254.1.1")
    b.close()
    until(d.gone, "end with the process")


# RootlessKit.

ROOTLESSKIT = ["--stderr", "--ns-ifname=tap0", "--mtu=65520", "--config-net", "--address=10.0.2.100", "--netmask=24", "--gateway=10.0.2.2",
               "--dns-forward=10.0.2.3"]
PORT_DRIVERS = {"implicit": ["--tcp-ports=auto", "--udp-ports=auto", "--host-lo-to-ns-lo"], "other": ["--tcp-ports=none", "--udp-ports=none"]}


@pytest.mark.parametrize("attach", ["process", "files"])
@pytest.mark.parametrize("flags", [[], ["--no-map-gw"], ["--no-map-gw", "--ipv4-only"]], ids=" ".join)
@pytest.mark.parametrize("driver", PORT_DRIVERS)
def test_rootlesskit(net, container, daemon, tmp_path, attach, flags, driver):
    path = tmp_path / "netns"
    if attach == "process":
        target = [container.pid]
    else:
        net.host.run("sh", "-c", f"touch {path}; mount --bind /proc/{container.pid}/ns/net {path}")
        target = [f"--userns=/proc/{container.pid}/ns/user", f"--netns={path}"]
    d = daemon(*ROOTLESSKIT, *flags, *PORT_DRIVERS[driver], *target)
    assert container.addresses("tap0")[0] == "10.0.2.100/24" and "mtu 65520" in container.ip("link", "show", "tap0")
    assert container.routes() == ["default via 10.0.2.2 dev tap0"]
    assert bool(container.routes("-6")) == ("--ipv4-only" not in flags)
    connects(net, container)
    resolves(container, "10.0.2.3")
    if driver == "implicit":
        assert auto(net, container, "0.0.0.0", HOST4)
        assert auto(net, container, LO4, LO4, "host")
    if attach == "files":
        remove(net, path)
        until(d.gone, "end with the file")


def test_rootlesskit_loopback_of_the_host(net, container, daemon):
    """By the gateway's address, unless told otherwise."""
    daemon(*ROOTLESSKIT, *PORT_DRIVERS["other"], container.pid)
    exchange_tcp(net.host, LO4, 0, container, "10.0.2.2")


# Builds, jails, sandboxes.

BUILD = ["--quiet", "--foreground", "--config-net", "--gateway", "169.254.1.1", "--address", "169.254.1.2", "--netmask", "16",
         "--dns-forward", "169.254.1.1", "--gateway", "64:ff9b:1:4b8e:472e:a5c8:a9fe:101", "--address", "64:ff9b:1:4b8e:472e:a5c8:a9fe:102",
         "--dns-forward", "64:ff9b:1:4b8e:472e:a5c8:a9fe:101", "--ns-ifname", "eth0", "--no-netns-quit"]


def test_namespaces_as_standard_descriptors(net, container, tmp_path):
    """A build sandbox: the network namespace as descriptor 0, the user namespace as 1."""
    net_fd, user_fd = (os.open(f"/proc/{container.pid}/ns/{n}", os.O_RDONLY) for n in ("net", "user"))
    p = Process(net.host, str(tmp_path), *BUILD, "--netns", "/proc/self/fd/0", "--userns", "/proc/self/fd/1", stdin=net_fd, stdout=user_fd,
                stderr=subprocess.PIPE)
    os.close(net_fd)
    os.close(user_fd)
    until(lambda: ",UP,LOWER_UP" in container.run("ip", "link", "show", "eth0", check=False).stdout, "interface is up")
    assert set(container.addresses("eth0")) == {"169.254.1.2/16", "64:ff9b:1:4b8e:472e:a5c8:a9fe:102/64"}
    until(lambda: "default" in str(container.routes()), "route")
    connects(net, container)
    p.process.kill()
    said = p.process.stderr.read().decode()
    p.process.stderr.close()
    p.process.wait()
    p.ended = True
    assert "name server" in said and said.count("\n") == 1, "the one thing that is missing here is an IPv6 resolver"


def test_pid_file_on_a_descriptor(net, plain, tmp_path):
    script = ("import os, subprocess, sys\nfd = os.memfd_create('pid')\n"
              "subprocess.run(sys.argv[1:3] + ['--netns', sys.argv[3], '--config-net', '--pid', f'/proc/{os.getpid()}/fd/{fd}'], check=True)\n"
              "pid = int(os.pread(fd, 100, 0))\nos.kill(pid, 15)\nprint(pid)")
    done = net.host.run(netns.PYTHON, "-c", script, program(tmp_path), "--quiet", f"/proc/{plain.pid}/ns/net")
    assert int(done.stdout) > 0 and done.stderr == ""


def test_both_namespaces_and_the_pid_file_by_descriptors_of_another(net, container, tmp_path):
    """Descriptors of the one who starts it, by their names in /proc."""
    script = ("import os, subprocess, sys\nme, box = os.getpid(), sys.argv[2]\nfd = os.memfd_create('pid')\nuser = os.open(f'/proc/{box}/ns/user', os.O_RDONLY)\n"
              "subprocess.run([sys.argv[1], '--quiet', '--config-net', '--userns', f'/proc/{me}/fd/{user}', '--netns', f'/proc/{box}/ns/net',\n"
              "                '--pid', f'/proc/{me}/fd/{fd}'], check=True)\nprint(os.pread(fd, 100, 0).decode())")
    done = net.host.run(netns.PYTHON, "-c", script, program(tmp_path), str(container.pid))
    pid = int(done.stdout)
    try:
        assert done.stderr == "" and f"{HOST4}/24" in container.addresses("eth0")
        connects(net, container)
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: gone(pid), "end")


def test_started_again_over_its_control_socket(net, plain, tmp_path):
    """The one before was killed, and could not remove it."""
    path = tmp_path / "control.sock"
    words = ["--config-net", "-c", path, "--netns", f"/proc/{plain.pid}/ns/net"]
    first = Daemon(net.host, str(tmp_path), *words)
    os.kill(first.pid, signal.SIGKILL)
    until(first.gone, "end")
    assert path.exists()
    second = Daemon(net.host, str(tmp_path), *words)
    with Control(path) as control:
        assert control.get("forwards")["forwards"]
    second.close()


def test_started_with_descriptors_on_null(net, container, tmp_path):
    """As a jail starts it, with its own DHCP turned off."""
    argv = ["-f", "-q", "--no-dhcp", "--no-dhcpv6", "--no-ra", "--config-net", "--no-map-gw", "-a", "10.255.255.2", "-n", "255.255.255.0",
            "-g", "10.255.255.1", "-4", "-I", "vs", "-t", "none", "-u", "none", "-T", "none", "-U", "none", "--pid", tmp_path / "pid", container.pid]
    p = Process(net.host, str(tmp_path), *argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    p.wait_pid_file(tmp_path / "pid")
    assert container.addresses("vs") == ["10.255.255.2/24"]
    connects(net, container)
    assert p.stop() == 0


JAIL = ["-f", "-q", "--no-dhcp", "--no-dhcpv6", "--no-ra"]


@pytest.mark.parametrize("options", [["-6"], ["--no-tcp"], ["--no-udp", "--no-icmp"], ["--dns-forward", "10.255.255.3"]], ids=" ".join)
def test_jail_options(net, container, tmp_path, options):
    p = Process(net.host, str(tmp_path), *JAIL, "--config-net", *options, "--pid", tmp_path / "pid", container.pid)
    p.wait_pid_file(tmp_path / "pid")
    assert "default" in str(container.routes("-6"))
    assert p.stop() == 0 and p.output() == ""


def test_jail_without_network(net, container, tmp_path):
    """Ports, and nothing else."""
    p = Process(net.host, str(tmp_path), "-f", "-q", "-t", "8081:81", "-T", "8082:82", "--splice-only", "--pid", tmp_path / "pid", container.pid)
    p.wait_pid_file(tmp_path / "pid")
    exchange_tcp(container, LO4, 81, net.host, LO4, 8081)
    exchange_tcp(net.host, LO4, 82, container, LO4, 8082)
    assert len(container.ip("-o", "link").splitlines()) == 1
    assert p.stop() == 0


def test_wrapper_that_takes_the_place_of_another_program(net, container, daemon):
    """A host part of zeroes is an address like any other."""
    daemon("-q", "--ipv4-only", "-a", "10.0.2.0", "-n", "24", "-g", "10.0.2.2", "--dns-forward", "10.0.2.3", "-m", "1500", "--no-ndp",
           "--no-dhcpv6", "--no-dhcp", "--config-net", container.pid)
    assert container.addresses("eth0") == ["10.0.2.0/24"] and "mtu 1500" in container.ip("link", "show", "eth0")
    resolves(container, "10.0.2.3")


def test_short_options_with_values(net, plain, daemon, netns_file):
    daemon("-q", "--config-net", "--runas", "0:0", "--ipv4-only", f"-t6443:{HOST4}/6444", "-unone", "-Tnone", "-Unone", "--netns", netns_file)
    exchange_tcp(plain, "0.0.0.0", 6444, net.remote, HOST4, 6443)


SANDBOX = ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]


@pytest.mark.parametrize("options,port,to", [
    (["-q", "-f", "--runas", "1000:1000", "--splice-only", "-t", "none", "-u", "none", "-T", "5433", "-U", "none"], 5433, 5433),
    (["--quiet", "--config-net", "--splice-only", "--tcp-ns", "5433:5434,5435:5436"], 5435, 5436),
    (["--quiet", "--config-net", "--splice-only", "-T", "5433", "-T", "5434"], 5434, 5434),
    (["--quiet", "--config-net", "--no-splice", "-T", "5433"], 5433, 5433),
], ids=lambda v: " ".join(v)[:50] if isinstance(v, list) else "")
def test_sandbox(net, pasta, options, port, to):
    """A command, by somebody without rights, that may use a service of the host."""
    p = pasta(*options, prefix=SANDBOX)
    exchange_tcp(net.host, LO4, to, p.ns, LO4, port)
    assert p.output() == ""


def test_sandbox_with_the_loopback_of_the_host(net, pasta):
    p = pasta("-q", "--config-net", "--map-host-loopback", "169.254.7.7", "--map-host-loopback", "fd00::7", prefix=SANDBOX)
    exchange_tcp(net.host, LO4, 0, p.ns, "169.254.7.7")
    exchange_tcp(net.host, LO6, 0, p.ns, "fd00::7")


def test_command_of_a_sandbox(net, tmp_path, tun):
    """A shell in there sees 10.0.2.0."""
    out = net.host.run(*SANDBOX, program(tmp_path), "--config-net", "-a", "10.0.2.0", "-n", "24", "-g", "10.0.2.2", "--dns-forward", "10.0.2.3",
                       "-t", "none", "-u", "none", "--", "sh", "-c", f"ip -o -4 address show dev eth0; busybox nslookup {NAME} 10.0.2.3").stdout
    assert "10.0.2.0/24" in out and REMOTE4 in out


@pytest.mark.parametrize("prepare,says", [
    ("mount -t tmpfs none /dev/net", "Failed to open() /dev/net/tun"),
    ("echo 1 >/proc/sys/user/max_user_namespaces", "Couldn't create user namespace"),
], ids=["tun", "user-namespaces"])
def test_reasons_that_programs_look_for(net, tmp_path, prepare, says):
    script = f'{prepare}; exec "$@"'
    done = net.host.run("unshare", "-U", "-r", "-m", "sh", "-c", script, "sh", *SANDBOX, program(tmp_path), "--config-net", "--", "true", check=False)
    assert done.returncode == 1 and says in done.stderr, done.stderr
