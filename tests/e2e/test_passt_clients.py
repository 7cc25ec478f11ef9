# SPDX-License-Identifier: MIT
"""
passt as programs that run virtual machines start it, with frames over a stream socket: their very words, what they wait for, what they
read, and how they end it.

None of these programs runs here: what they do before and after is done by hand (tests/clients/run has the programs). test_vhost.py has
those that speak vhost-user.
"""
import os
import re
import signal
import socket
import subprocess

import pytest
from lab.guest import Guest
from lab.program import Passt, assert_clean, binary, gone
from lab.topology import GW4, HOST4
from lab.wait import LIMIT, until
from scapy.layers.l2 import ARP


def serves(sock, addr4=HOST4):
    """A guest on the socket, or at the path, that gets an answer; the socket stays open."""
    g = Guest(sock, addr4=addr4)
    g.send(g.ether("ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=g.mac, psrc=addr4, pdst="203.0.113.1"))
    g.expect(lambda p: ARP in p and p[ARP].op == 2 and p[ARP].psrc == "203.0.113.1", "answer to ARP")
    return g


def place(argv, tmp_path):
    return [a.replace("SOCKET", str(tmp_path / "s")).replace("PID", str(tmp_path / "pid")).replace("LOG", str(tmp_path / "log")) for a in argv]


def with_fd(net, number, *argv, **kw):
    """Starts a program with a connected stream socket as descriptor number: (our end, the call's result)."""
    ours, theirs = socket.socketpair()
    with theirs:
        start = f'exec "$@" {number}<&{theirs.fileno()} {theirs.fileno()}<&-'
        done = net.host.run("bash", "-c", start, "bash", *argv, pass_fds=[theirs.fileno()], check=False, timeout=60, **kw)
    return ours, done


# QEMU's -netdev passt: a socket as descriptor 3, a file for the process ID that is there already; it waits for the end of the call.

QEMU = [
    ["--quiet"],
    ["--quiet", "--mtu", "1500", "--address", "192.0.2.9", "--netmask", "255.255.255.0", "--mac-addr", "9a:55:9a:55:9a:56", "--gateway", GW4,
     "--interface", "eth0", "--outbound", HOST4, "--outbound-if4", "eth0", "--outbound-if6", "eth0", "--dns", "192.0.2.53", "--fqdn",
     "vm.example.org", "--no-dhcp-dns", "--no-dhcp-search", "--map-host-loopback", "192.0.2.8", "--map-guest-addr", "192.0.2.7",
     "--dns-forward", "192.0.2.54", "--dns-host", "127.0.0.53", "--no-dhcp", "--no-ndp", "--no-dhcpv6", "--no-ra", "--freebind", "--search",
     "a.example b.example c.example", "--tcp-ports", "8080,8443:443", "--udp-ports", "5000-5005"],
    ["--quiet", "--no-tcp", "--no-udp", "--no-icmp", "--ipv4-only"],
    ["--quiet", "--ipv6-only", "--hostname", "vm"],
]


@pytest.mark.parametrize("options", QEMU, ids=["default", "all", "ipv4", "ipv6"])
def test_qemu(net, tmp_path, options):
    pid = tmp_path / "pid"
    pid.touch(0o600)
    ours, done = with_fd(net, 3, binary(), *options, "--pid", pid, "--fd", "3")
    said = "Couldn't get any nameserver address\n" if "--ipv6-only" in options else ""
    assert (done.returncode, done.stdout, done.stderr) == (0, "", said)
    number = int(pid.read_text())
    assert number > 0
    if "--ipv6-only" in options:
        os.kill(number, signal.SIGTERM)
    else:
        serves(ours).close()
    until(lambda: gone(number), "it ends with the connection, or when told to")
    ours.close()


# libvirt: everything is set up when the call returns; its socket and files are taken over from one that died.

LIBVIRT = [
    ["--one-off", "--socket", "SOCKET", "--pid", "PID"],
    ["--one-off", "--socket", "SOCKET", "--pid", "PID", "--mtu", "9000", "--interface", "eth0", "--log-file", "LOG", "--hostname", "vm", "--fqdn",
     "vm.example.org", "--address", "192.0.2.9", "--netmask", "24", "--address", "2001:db8::9",
     "--tcp-ports", "192.0.2.2/8080-8085:80-85", "--tcp-ports", "%eth0/7000,7010-7012:8010-8012", "--tcp-ports", "2001:db8::2%eth0/9000",
     "--udp-ports", "0.0.0.0/~15000,~15001,5000", "--udp-ports", "2001:db8::2/all"],
    ["--one-off", "--socket", "SOCKET", "--pid", "PID", "--mac-addr", "52:54:00:00:00:02"],
    ["--one-off", "--socket", "SOCKET", "--pid", "PID", "--tcp-ports", "~15000,~15001,~15004,~15006,~15008,~15009,~15020,~15021,~15053,~15090"],
]


@pytest.mark.parametrize("options", LIBVIRT, ids=["few", "many", "mac", "istio"])
def test_libvirt(net, tmp_path, options):
    for _ in range(2):
        done = net.host.run("setpriv", "--bounding-set", "-all", "--inh-caps", "-all", binary(), *place(options, tmp_path), check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert_clean(done.stderr)
        pid = int((tmp_path / "pid").read_text())
        serves(str(tmp_path / "s")).close()
        until(lambda p=pid: gone(p), "it ends with its guest")
        assert (tmp_path / "s").exists() and (tmp_path / "pid").exists()


def test_libvirt_ends_it(net, tmp_path):
    """By its process ID; nobody has connected."""
    net.host.run(binary(), *place(LIBVIRT[0], tmp_path))
    pid = int((tmp_path / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    until(lambda: gone(pid), "end")


def test_libvirt_shows_the_reason(net, tmp_path):
    with net.host.listen("0.0.0.0", 8081):
        done = net.host.run(binary(), *place(LIBVIRT[1], tmp_path), check=False, timeout=60)
    assert done.returncode == 1 and "Listen failed for HOST TCP port 192.0.2.2/8081: Address already in use" in done.stderr


# libkrun and what is built on it: a descriptor of any number.

@pytest.mark.parametrize("options", [["-t", "8000-8001:80-81", "-t", "127.0.0.1/8080-8080:80-80", "-u", "5353-5353:53-53"], [], ["-t", "all"]], ids=" ".join)
def test_krun_in_the_foreground(net, tmp_path, options):
    """Spawned and not waited for; it ends with its peer."""
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    with theirs:
        proc = net.host.popen(binary(), "-q", "-f", "--fd", number, *options, pass_fds=[number])
    serves(ours).close()
    assert proc.wait(LIMIT) == 0


def ports_are_free(net):
    """Those of the tests below."""
    try:
        for port in 2222, 8006, 5900:
            net.host.listen("0.0.0.0", port).close()
        for port in 3389, 5001, 5002, 5003:
            net.host.udp("0.0.0.0", port).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("options", [["-t", "all", "--no-map-gw"], ["-t", "all", "-u", "all", "--no-dhcp-dns", "--no-map-gw"]], ids=" ".join)
def test_crun(net, options):
    """Waits for it to go to the background; nobody reads what it says."""
    ours, done = with_fd(net, 9, "sh", "-c", '"$@" >/dev/null 2>&1', "sh", binary(), *options, "--fd", "9")
    assert done.returncode == 0
    g = serves(ours)
    g.close()
    # To close all ports takes a while.
    until(lambda: ports_are_free(net), "end")


def test_program_that_reads_the_addresses(net, tmp_path):
    """From what is printed, up to the last of these lines; then it closes its end, and messages go nowhere."""
    ours, theirs = socket.socketpair()
    number = theirs.fileno()
    with theirs:
        proc = net.host.popen(binary(), "--fd", number, "--foreground", "-t", "2222:22", pass_fds=[number], stderr=subprocess.PIPE, text=True)
    found = {}
    block = False
    while "router" not in found:
        line = proc.stderr.readline()
        assert line, "end of the messages"
        block = block or "DHCP:" in line
        m = re.match(r"(assign|router|mask): (\S+)$", line.strip())
        if block and m:
            found[m[1]] = m[2]
    proc.stderr.close()
    assert found == {"assign": HOST4, "mask": "255.255.255.0", "router": GW4}
    serves(ours).close()
    assert proc.wait(LIMIT) == 0


# Others that wait for the call to return, and read the process ID.

CALLS = {
    "libguestfs": ["--one-off", "--socket", "SOCKET", "--pid", "PID", "--address", "169.254.2.15", "--netmask", "16", "--mac-addr",
                   "52:56:00:00:00:02", "--gateway", "169.254.2.2"],
    "qemus": ["-4", "-a", "172.30.0.2", "-g", "172.30.0.1", "-n", "255.255.255.0", "-m", "1500", "-t", "8006,5900", "-u", "3389", "-H", "box",
              "-M", "9a:55:9a:55:9a:56", "--runas", "0:0", "-P", "PID", "-s", "SOCKET", "-l", "LOG", "-q"],
    "avocado": ["--one-off", "--socket", "SOCKET", "--pid", "PID", "--log-file", "LOG", "--mtu", "1400", "--tcp-ports", "2222:22", "--udp-ports",
                "5001-5003"],
}


@pytest.mark.parametrize("who", CALLS)
def test_call(net, tmp_path, who):
    copy = tmp_path / "passt"
    copy.write_bytes(open(binary(), "rb").read())
    copy.chmod(0o755)
    done = net.host.run(copy, *place(CALLS[who], tmp_path), check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+\n", (tmp_path / "pid").read_text())
    pid = int((tmp_path / "pid").read_text())
    if "LOG" in CALLS[who] and "-q" in CALLS[who]:
        log = (tmp_path / "log").read_text()
        assert not [line for line in log.splitlines()[1:] if "error" in line.lower()], log
    address = CALLS[who][CALLS[who].index("-a") + 1] if "-a" in CALLS[who] else "169.254.2.15" if who == "libguestfs" else HOST4
    serves(str(tmp_path / "s"), addr4=address).close()
    if "--one-off" not in CALLS[who]:
        os.kill(pid, signal.SIGTERM)
    until(lambda: gone(pid), "end")


# In the foreground, with the socket polled for.

POLLED = {
    "manager": ["--foreground", "--one-off", "--socket", "SOCKET"],
    "dotted": ["--foreground", "--socket", "SOCKET", "-a", "10.0.2.15", "--netmask", "255.255.255.0", "-g", "10.0.2.2", "--dns", "192.0.2.53", "--dns",
               "192.0.2.54"],
    "control": ["--foreground", "--stderr", "--socket", "SOCKET", "--conf-path", "SOCKET.control", "--address", "192.0.2.9", "--dns", "none",
                "--no-dhcp"],
}


@pytest.mark.parametrize("who", POLLED)
def test_polled(net, tmp_path, who):
    words = place(POLLED[who], tmp_path)
    proc = net.host.popen(binary(), *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until((tmp_path / "s").exists, "its socket is there")
        serves(str(tmp_path / "s"), addr4=words[words.index("-a") + 1] if "-a" in words else "192.0.2.9" if who == "control" else HOST4).close()
        if "--one-off" in words:
            assert proc.wait(LIMIT) == 0
    finally:
        proc.terminate()
        assert proc.wait(LIMIT) == 0


# What they look for before they start it, and when it fails.

@pytest.mark.parametrize("name", ["passt", "pasta", "passt.avx2", "pasta.avx2"])
@pytest.mark.parametrize("word", ["--help", "--version"])
def test_probes(tmp_path, name, word):
    """On a pipe or a terminal, status 0 and nothing on standard error."""
    path = tmp_path / name
    path.symlink_to(binary())
    done = subprocess.run([path, word], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True)
    assert done.stderr == ""
    mode = name.partition(".")[0]
    if word == "--version":
        assert re.fullmatch(mode + r" \S+", done.stdout.splitlines()[0])
        said = subprocess.run(["script", "-qec", f"{path} {word}", "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                              check=True).stdout
        assert said.replace("\r", "") == done.stdout
    else:
        listed = {"passt": "vhost-user foreground one-off socket repair-path", "pasta": "splice-only host-lo-to-ns-lo netns config-net"}[mode]
        for option in f"{listed} map-host-loopback log-file tcp-ports udp-ports".split():
            assert f"--{option}" in done.stdout


def test_listen_failed(net, tmp_path):
    """Words that scripts look for."""
    with net.host.listen("::", 8080):
        done = net.host.run(binary(), "-s", tmp_path / "s", "-t", "8080", check=False)
    assert done.returncode == 1 and "Listen failed for HOST TCP port */8080: Address already in use" in done.stderr


def test_migration_options(net, tmp_path):
    """Of a guest that may move; with "none" there is nothing to say."""
    words = ["--vhost-user", "-f", "-s", tmp_path / "s", "--repair-path"]
    proc = net.host.popen(binary(), *words, "none", "-q", stderr=subprocess.PIPE, text=True)
    until((tmp_path / "s").exists, "socket")
    proc.send_signal(signal.SIGTERM)
    assert proc.wait(LIMIT) == 0 and proc.stderr.read() == ""
    proc.stderr.close()


def test_interrupted(net, tmp_path):
    """A restarter that is told to end does so to what it started."""
    p = Passt(net.host, str(tmp_path))
    p.process.send_signal(signal.SIGINT)
    assert p.process.wait(LIMIT) == -signal.SIGINT
    p.ended = True
