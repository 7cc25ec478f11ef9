# SPDX-License-Identifier: MIT
"""
A Linux guest under QEMU with real clients, against servers on the remote side.

    guest (QEMU, virtio-net) ---stream socket, or vhost-user--- passt in "host" ---veth--- "remote" (tests/lab/topology.py)
"""
import contextlib
import hashlib
import os
import re
import socket
import struct
import subprocess
import threading

import pytest
from lab.vmconf import DHCP, configure
from lab import servers
from lab.program import Passt
from lab.topology import FAR4, FAR6, GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6, UNREACHABLE4
from lab.transfer import both_ways
from lab.wait import until

MIB = 1 << 20
BOTH = pytest.mark.parametrize("remote", [REMOTE4, REMOTE6], ids=["v4", "v6"])


def lease(vm, path):
    """Variables that a DHCP client gave to its script."""
    return dict(re.findall(r"^(\w+)='?([^'\n]*)'?$", vm.sh(f"cat {path}"), re.M))


def url(host):
    return f"[{host}]" if ":" in host else host


def retransmissions(vm):
    """How many TCP segments the guest has sent again since it booted; but for SYNs, which it sends again after a second."""
    lines = [line.split() for line in vm.sh("cat /proc/net/snmp /proc/net/netstat").splitlines()]
    names, values = ([w for line in lines[first::2] for w in line] for first in (0, 1))
    counter = dict(zip(names, values))
    return int(counter["RetransSegs"]) - int(counter["TCPSynRetrans"])


@contextlib.contextmanager
def nothing_sent_again(vm):
    """
    On a path without loss the guest has nothing to send again: what we invite, we take. It waits for acknowledgements for as long as they
    may take on a busy machine.
    """
    vm.sh("echo 0 >/proc/sys/net/ipv4/tcp_early_retrans")
    for ip, dst in ("/usr/bin/ip -4", REMOTE4), ("/usr/bin/ip -6", REMOTE6):
        vm.sh(f"{ip} route replace {dst} via $({ip} route show default | sed 's/^default via \\([^ ]*\\).*/\\1/;q') dev eth0 rto_min 10s")
    before = retransmissions(vm)
    yield
    assert retransmissions(vm) == before, "the guest had to send TCP segments again"


@pytest.fixture
def lossless(vm):
    with nothing_sent_again(vm):
        yield


# Addresses


def test_dhcp_with_udhcpc(booted):
    booted.sh("ip link set eth0 up; " + DHCP)
    got = lease(booted, "/tmp/udhcpc")
    assert (got["ip"], got["mask"], got["router"], got["dns"]) == (HOST4, "24", GW4, "192.0.2.53")
    assert got["search"] == "example.org example.net" and got["mtu"] == "65520"


def dhclient(version):
    """Gets a lease and ends the client again, leaving what it has configured."""
    return f"dhclient -{version} -1 -v -cf /etc/dhclient.conf -sf /etc/dhclient-script -lf /tmp/l{version} -pf /tmp/p{version} eth0 || exit; " \
        f"until [ -s /tmp/p{version} ]; do sleep 0.1; done; kill $(cat /tmp/p{version})"


def test_dhcp_with_dhclient(booted):
    booted.sh("ip -4 addr flush dev eth0; " + dhclient(4))
    got = lease(booted, "/tmp/dhclient")
    assert (got["new_ip_address"], got["new_routers"], got["new_domain_name_servers"]) == (HOST4, GW4, "192.0.2.53")
    assert got["new_interface_mtu"] == "65520"


def settled(booted):
    booted.until("! ip -6 addr show dev eth0 | grep -q tentative", "end of duplicate address detection")


def test_router_advertisement_and_slaac(booted):
    booted.until("ip -6 addr show dev eth0 | grep -q 'inet6 2001:db8::5054:ff:fe12:3456/64'", "SLAAC address")
    booted.until("/usr/bin/ip -6 route | grep -q '^default via fe80::.* dev eth0 proto ra'", "default route")
    settled(booted)
    out = booted.sh("rdisc6 -1 eth0")
    assert "2001:db8::/64" in out


def test_dhcpv6_with_dhclient(booted):
    settled(booted)
    booted.sh(dhclient(6))
    assert lease(booted, "/tmp/dhclient6")["new_ip6_address"] == HOST6
    configure(booted)


# ICMP


@pytest.mark.parametrize("dst", [REMOTE4, REMOTE6, GW4, GW6])
def test_ping(vm, dst):
    out = vm.sh(f"/usr/bin/ping -n -c 3 -i 0.2 -W 10 {dst}")
    assert "3 received" in out


def test_ping_large(vm):
    assert "1 received" in vm.sh(f"/usr/bin/ping -n -c 1 -W 10 -s 20000 {REMOTE4}")


@BOTH
def test_traceroute(vm, remote):
    """A hop behind the host's router: the router, then what it says of the destination."""
    v6 = ":" in remote
    target, router = (FAR6, GW6) if v6 else (FAR4, GW4)
    assert router in vm.sh(f"/usr/bin/traceroute {'-6' if v6 else '-4'} -n -q 1 -m 2 -w 20 {target}", check=False).out


# TCP


@pytest.fixture(scope="module")
def blob():
    return os.urandom(64 * MIB)


@BOTH
def test_upload_64_mib(vm, net, lossless, remote):
    server = servers.tcp_digest(net.remote.listen(remote))
    vm.sh("[ -e /tmp/blob ] || dd if=/dev/urandom of=/tmp/blob bs=1M count=64; sha256sum /tmp/blob | cut -c1-64 >/tmp/blob.sum", 200)
    got = vm.sh(f"socat -t 100 - TCP:{url(remote)}:{server.port} </tmp/blob", 300)
    assert got == vm.sh("cat /tmp/blob.sum")
    server.close()


@BOTH
def test_download_64_mib(vm, net, lossless, blob, remote):
    server = servers.http(net.remote.listen(remote), blob)
    vm.sh("rm -f /tmp/blob")
    out = vm.sh(f"curl -sS -g http://{url(remote)}:{server.port}/ | sha256sum", 300)
    assert out.split()[0] == hashlib.sha256(blob).hexdigest()
    server.close()


@BOTH
def test_half_close_by_guest(vm, net, remote):
    """The guest sends, closes its direction, and still gets the answer."""
    server = servers.tcp_digest(net.remote.listen(remote))
    out = vm.sh(f"printf question | socat -t 30 - TCP:{url(remote)}:{server.port}")
    assert out.strip() == hashlib.sha256(b"question").hexdigest()
    server.close()


@BOTH
def test_half_close_by_remote(vm, net, remote):
    """The remote side closes its direction first; what the guest sends afterwards still arrives."""
    with net.remote.listen(remote) as listener:
        job = vm.start(f"nettool read-then-send {remote} {listener.getsockname()[1]}")
        conn, _ = listener.accept()
        with conn:
            conn.sendall(bytes(100000))
            conn.shutdown(socket.SHUT_WR)
            assert conn.makefile("rb").read() == b"100000\n"
        assert job.wait().status == 0


def test_reset_by_remote(vm, net):
    with net.remote.listen(REMOTE4) as listener:
        job = vm.start(f"nettool read-then-send {REMOTE4} {listener.getsockname()[1]}")
        conn, _ = listener.accept()
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        conn.close()
        assert "Connection reset" in job.wait().out


@pytest.mark.parametrize("dst,what", [(REMOTE4, "refused"), (REMOTE6, "refused"), (GW4, "refused"), (UNREACHABLE4, "unreachable|No route")])
def test_failed_connections_fail_at_once(vm, dst, what):
    done = vm.sh(f"timeout 30 socat -u OPEN:/dev/null TCP:{url(dst)}:9", check=False)
    assert re.search(what, done.out) and done.status == 1, done


@BOTH
def test_200_parallel_connections(vm, net, remote):
    server = servers.tcp_echo(net.remote.listen(remote, backlog=512))
    assert vm.sh(f"nettool connect-many {remote} {server.port} 200", 120) == "200 connections\n"
    server.close()


def test_iperf3(vm, net):
    """Several streams both ways at once, with a client that counts for itself."""
    server = net.remote.popen("iperf3", "-s", "-1", "-p", "5201", "-B", REMOTE4, stdout=subprocess.PIPE, text=True)
    until(lambda: ":5201" in net.remote.run("ss", "-ltn").stdout, "iperf3 listens")
    vm.sh(f"iperf3 -c {REMOTE4} -p 5201 -n 8M -P 4 --bidir", 120)
    assert server.wait(30) == 0
    server.stdout.close()


# UDP


@BOTH
def test_udp_boundary_sizes(vm, net, remote):
    server = servers.udp_echo(net.remote.udp(remote))
    top = 65520 - (48 if ":" in remote else 28)
    for first, last in (0, 64), (500, 520), (1400, 1520), (4050, 4110), (9000, 9010), (16340, 16400), (32740, 32780), (top - 16, top):
        vm.sh(f"nettool udp-sizes {remote} {server.port} {first} {last}", 120)
    server.close()


@BOTH
def test_udp_beyond_the_mtu(vm, net, remote):
    """Fragments in both directions."""
    server = servers.udp_echo(net.remote.udp(remote))
    vm.sh(f"ip link set eth0 mtu 1500; nettool udp-sizes {remote} {server.port} 1460 1520; s=$?; ip link set eth0 mtu 65520; exit $s")
    server.close()


@pytest.mark.skipif(not os.environ.get("PASST_TEST_LONG"), reason="takes minutes: PASST_TEST_LONG=1")
@BOTH
def test_udp_every_size(vm, net, remote):
    server = servers.udp_echo(net.remote.udp(remote))
    vm.sh(f"nettool udp-sizes {remote} {server.port} 0 {65520 - (48 if ':' in remote else 28)}", 1200)
    server.close()


# Names


def test_name_resolution_through_dns_forward(vm, net):
    names = {"www.example.org": [REMOTE4, REMOTE6]}
    udp = servers.dns_udp(net.host.udp("127.0.0.53", 53), names)
    tcp = servers.dns_tcp(net.host.listen("127.0.0.53", 53), names)
    out = vm.sh("nslookup www.example.org")
    assert REMOTE4 in out and REMOTE6 in out
    assert vm.sh("nslookup no.such.name.example.org", check=False).status
    query = "\\0\\041\\253\\315\\001\\0\\0\\001\\0\\0\\0\\0\\0\\0\\003www\\007example\\003org\\0\\0\\001\\0\\001"
    out = vm.sh(f"printf '{query}' | socat -t 5 - TCP:192.0.2.53:53 | xxd -p | tr -d '\\n'")
    assert socket.inet_aton(REMOTE4).hex() in out
    udp.close()
    tcp.close()


# From outside


@pytest.fixture(scope="module")
def echo_peer(booted):
    """Servers in the guest that answer with the address of who asks."""
    who = "SYSTEM:'echo $SOCAT_PEERADDR'"
    jobs = ["TCP6-LISTEN:8080,reuseaddr,fork,backlog=128", "UDP6-RECVFROM:5000,fork", "TCP6-LISTEN:8081,reuseaddr,fork"]
    for job, what in zip(jobs, (who, who, "EXEC:sha256sum")):
        booted.start(f"socat {job} {what}")
    booted.until("netstat -lntu | grep -q :8081 && netstat -lntu | grep -q :5000 && netstat -lntu | grep -q :8080", "servers in the guest")


def same_address(shown, addr):
    """socat shows IPv6 addresses in full, and IPv4 ones within them."""
    if ":" in addr:
        return socket.inet_pton(socket.AF_INET6, shown) == socket.inet_pton(socket.AF_INET6, addr)
    return socket.inet_pton(socket.AF_INET6, shown)[12:] == socket.inet_aton(addr)


OUTSIDE = [("remote", HOST4, REMOTE4, REMOTE4), ("remote", HOST6, REMOTE6, REMOTE6), ("host", "127.0.0.1", None, GW4), ("host", "::1", None, GW6)]
FROM = pytest.mark.parametrize("where,dst,src,seen", OUTSIDE, ids=["remote4", "remote6", "loopback4", "loopback6"])


@FROM
def test_tcp_forward_keeps_the_source(vm, net, echo_peer, where, dst, src, seen):
    with getattr(net, where).connect(dst, 8080, src) as s:
        shown = s.makefile("rb").read().decode().strip().strip("[]")
    assert same_address(shown if ":" in shown else "::ffff:" + shown, seen), shown


@FROM
def test_udp_forward_keeps_the_source(vm, net, echo_peer, where, dst, src, seen):
    with getattr(net, where).udp(src or ("::1" if ":" in dst else "127.0.0.1")) as s:
        s.sendto(b"who am I?\n", (dst, 5000))
        shown = s.recv(1000).decode().strip().strip("[]")
    assert same_address(shown if ":" in shown else "::ffff:" + shown, seen), shown


def test_upload_to_a_forwarded_port(vm, net, echo_peer, lossless):
    data = os.urandom(8 * MIB)
    with net.remote.connect(HOST4, 8081, REMOTE4) as s:
        s.settimeout(120)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        assert s.makefile("rb").read().split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_forwarded_port_without_a_server(vm, net):
    with net.remote.connect(HOST4, 8085) as s:
        with pytest.raises(ConnectionResetError):
            s.recv(1)


def test_parallel_forwarded_connections(vm, net, echo_peer):
    answers = []

    def one():
        with net_lock:
            s = net.remote.connect(HOST4, 8080, REMOTE4)
        with s:
            s.settimeout(60)
            answers.append(s.makefile("rb").read())

    net_lock = threading.Lock()
    threads = [threading.Thread(target=one) for _ in range(50)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(answers) == 50 and len(set(answers)) == 1


# Coming and going


def test_guest_reboots(vm, net, running):
    """A new kernel on the same connection to us. Before the interface is replaced: the firmware takes minutes to boot after that."""
    vm.reset()
    configure(vm)
    assert "1 received" in vm.sh(f"/usr/bin/ping -n -c 1 -W 10 {REMOTE4}")
    server = servers.http(net.remote.listen(REMOTE4), b"after the reboot\n")
    assert vm.sh(f"curl -sS http://{REMOTE4}:{server.port}/") == "after the reboot\n"
    server.close()
    assert running["passt"].alive()


def test_program_restarts_with_another_mtu(vm, running, net, options):
    """The new instance takes the stale socket over, the guest gets a new interface; datagrams of every size, small segments in both directions."""
    old = running["passt"]
    old.close()
    running["passt"] = Passt(net.host, os.path.dirname(old.socket_path), *options, "-m", "1500")
    vm.replug(old.socket_path)
    until(lambda: "accepted connection" in running["passt"].output(), "the guest is connected again")
    configure(vm)
    assert "mtu 1500" in vm.sh("ip link show dev eth0")
    for remote, head in (REMOTE4, 28), (REMOTE6, 48):
        server = servers.udp_echo(net.remote.udp(remote))
        vm.sh(f"nettool udp-sizes {remote} {server.port} 0 {1500 - head}", 300)
        server.close()
    with nothing_sent_again(vm):
        data = os.urandom(16 * MIB)
        server = servers.http(net.remote.listen(REMOTE4), data)
        out = vm.sh(f"curl -sS http://{REMOTE4}:{server.port}/ | sha256sum", 300)
        assert out.split()[0] == hashlib.sha256(data).hexdigest()
        server.close()
        server = servers.tcp_digest(net.remote.listen(REMOTE6))
        out = vm.sh(f"dd if=/dev/zero bs=1M count=16 | socat -t 100 - TCP:[{REMOTE6}]:{server.port}", 300)
        assert hashlib.sha256(bytes(16 * MIB)).hexdigest() in out
        server.close()


@pytest.mark.parametrize("link", ["stream"], indirect=True, scope="module")
def test_datagrams(vm, running, net, tmp_path):
    """QEMU has its interface on a datagram socket instead."""
    with_datagrams = Passt(net.host, str(tmp_path), "--socket-type", "dgram")
    vm.plug_datagrams(with_datagrams.socket_path)
    configure(vm)
    assert "accepted datagrams" in with_datagrams.output()
    assert "mtu 65520" in vm.sh("ip link show dev eth0")
    for remote in REMOTE4, REMOTE6:
        both_ways(vm, net.remote, remote, 4 * MIB)
    vm.replug(running["passt"].socket_path)
    until(lambda: "Client connection closed" in with_datagrams.output(), "the program noticed the end of the guest")
    with_datagrams.close()
