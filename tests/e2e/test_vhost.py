# SPDX-License-Identifier: MIT
"""
Programs that start passt for a guest over vhost-user: with the words that they use, it is ready when they go on, and speaks.

    front end (this test) ---vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import os
import socket

import pytest
from lab.program import assert_clean, binary, gone
from lab.vhostuser import GET_FEATURES, GET_PROTOCOL_FEATURES, PROTOCOL_FEATURES, SET_OWNER, VERSION_1, Front
from lab.wait import LIMIT, until

UNKNOWN = 99

# Of QEMU for -netdev passt,vhost-user=on with all that can be set there, and its default.
QEMU = [
    ["--vhost-user", "--quiet"],
    ["--vhost-user", "--quiet", "--mtu", "1500", "--address", "192.0.2.9", "--netmask", "255.255.255.0", "--mac-addr", "9a:55:9a:55:9a:56",
     "--gateway", "192.0.2.1", "--interface", "eth0", "--outbound", "192.0.2.2", "--outbound-if4", "eth0", "--outbound-if6", "eth0",
     "--dns", "192.0.2.53", "--fqdn", "vm.example.org", "--no-dhcp-dns", "--no-dhcp-search", "--map-host-loopback", "192.0.2.8",
     "--map-guest-addr", "192.0.2.7", "--dns-forward", "192.0.2.54", "--dns-host", "127.0.0.53", "--no-dhcp", "--no-ndp", "--no-dhcpv6",
     "--no-ra", "--freebind", "--search", "a.example b.example c.example", "--tcp-ports", "8080,8443:443", "--udp-ports", "5000-5005"],
    ["--vhost-user", "--quiet", "--no-tcp", "--no-udp", "--no-icmp", "--ipv4-only"],
    ["--vhost-user", "--quiet", "--ipv6-only", "--hostname", "vm"],
]
# Of libvirt, with files of its own: SOCKET, PID, LOG.
LIBVIRT = [
    ["--vhost-user", "--one-off", "--socket", "SOCKET", "--pid", "PID"],
    ["--vhost-user", "--one-off", "--socket", "SOCKET", "--pid", "PID", "--mtu", "9000", "--interface", "eth0", "--log-file", "LOG",
     "--hostname", "vm", "--fqdn", "vm.example.org", "--address", "192.0.2.9", "--netmask", "24", "--address", "2001:db8::9",
     "--tcp-ports", "192.0.2.2/8080-8085:80-85", "--udp-ports", "~15000,~15001,5000"],
]
# In the foreground, and polled for: rust-vmm front ends, and a manager that goes by the conventions for back end programs.
FOREGROUND = [
    ["passt", "--vhost-user", "--socket", "SOCKET", "--foreground", "--pid", "PID", "--log-file", "LOG", "--ipv4-only", "--mtu", "1500",
     "--address", "192.0.2.9", "--netmask", "24", "--gateway", "192.0.2.1", "--dns", "192.0.2.53", "--dns-forward", "192.0.2.54",
     "--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none"],
    ["passt", "--socket", "SOCKET", "--vhost-user", "--foreground", "--quiet", "-a", "10.0.2.15", "-g", "10.0.2.2", "--dns-forward", "10.0.2.3"],
    ["vhost-user-passt", "--socket-path=SOCKET"],
]


class Hello(Front):
    def hello(self):
        features = self.ask(GET_FEATURES)
        assert features & VERSION_1 and features & PROTOCOL_FEATURES
        assert self.ask(GET_PROTOCOL_FEATURES)
        # What has no answer, and what nobody knows, is followed by what has one.
        for request in SET_OWNER, UNKNOWN:
            self.tell(request)
        assert self.ask(GET_FEATURES) == features


def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    return Hello(s)


def place(argv, tmp_path):
    return [a.replace("SOCKET", str(tmp_path / "s")).replace("PID", str(tmp_path / "pid")).replace("LOG", str(tmp_path / "log")) for a in argv]


@pytest.mark.parametrize("options", QEMU, ids=["default", "all", "ipv4", "ipv6"])
def test_qemu(net, tmp_path, options):
    """A connected socket as descriptor 3, and a file for the number of the process that is there already; it ends with the connection."""
    pid = tmp_path / "pid"
    pid.touch(0o600)
    ours, theirs = socket.socketpair()
    with theirs:
        start = f'exec "$@" --pid {pid} --fd 3 3<&{theirs.fileno()} {theirs.fileno()}<&-'
        done = net.host.run("bash", "-c", start, "bash", binary(), *options, pass_fds=[theirs.fileno()], check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    Hello(ours).hello()
    ours.close()
    until(lambda: gone(int(pid.read_text())), "it ends with the connection")


@pytest.mark.parametrize("options", LIBVIRT, ids=["few", "many"])
def test_libvirt(net, tmp_path, options):
    """When the call returns, the process is known and can be connected to; the paths are taken over from one that died."""
    for _ in range(2):
        done = net.host.run(binary(), *place(options, tmp_path), check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        assert_clean(done.stderr)
        pid = int((tmp_path / "pid").read_text())
        front = connect(tmp_path / "s")
        front.hello()
        front.sock.close()
        until(lambda p=pid: gone(p), "it ends with its front end")
        assert (tmp_path / "s").exists() and (tmp_path / "pid").exists()


@pytest.mark.parametrize("argv", FOREGROUND, ids=["rust-vmm", "short", "convention"])
def test_foreground(net, tmp_path, argv):
    """It waits for the next front end, and ends in order when told to."""
    words = place(argv, tmp_path)
    proc = net.host.popen(alias(tmp_path, words[0]), *words[1:])
    try:
        until((tmp_path / "s").exists, "its socket is there")
        for _ in range(2):
            until(lambda: reachable(tmp_path / "s"), "it listens")
            front = connect(tmp_path / "s")
            front.hello()
            front.sock.close()
        assert proc.poll() is None
    finally:
        proc.terminate()
        assert proc.wait(LIMIT) == 0


def alias(tmp_path, name):
    """The program by that name."""
    path = tmp_path / name
    os.symlink(binary(), path)
    return path


def reachable(path):
    """Whether somebody listens there, as who polls for the socket finds out; the connection is not used."""
    with socket.socket(socket.AF_UNIX) as s:
        return not s.connect_ex(str(path))
