# SPDX-License-Identifier: MIT
"""
The network of the namespace: copied from the host, set by options, or told to real clients by DHCP, DHCPv6 and
router advertisements.
"""
import re
import subprocess

import pytest
from lab.pasta import Daemon, box, exchange_tcp, exchange_udp
from lab.topology import GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6
from lab.wait import until

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]


def link(p, dev):
    return p.ns.ip("-d", "link", "show", "dev", dev)


# By --config-net.


def test_copied_from_the_host(net, pasta):
    p = pasta("--config-net", *NONE)
    assert set(p.ns.addresses("eth0")) == {f"{HOST4}/24", f"{HOST6}/64"}
    assert p.ns.routes() == [f"default via {GW4} dev eth0"]
    assert [re.sub(" metric .*", "", r) for r in p.ns.routes("-6") if "default" in r] == [f"default via {GW6} dev eth0"]
    assert ",UP,LOWER_UP>" in link(p, "eth0") and "mtu 65520" in link(p, "eth0")
    assert "tentative" not in p.ns.ip("address")


@pytest.mark.parametrize("options,dev,addresses,routes", [
    (["-4"], "eth0", {f"{HOST4}/24"}, [f"default via {GW4} dev eth0"]),
    (["-6"], "eth0", {f"{HOST6}/64"}, []),
    (["-I", "box0"], "box0", {f"{HOST4}/24", f"{HOST6}/64"}, [f"default via {GW4} dev box0"]),
    (["-a", "10.0.2.100", "-n", "24", "-g", "10.0.2.2"], "eth0", {"10.0.2.100/24", f"{HOST6}/64"}, ["default via 10.0.2.2 dev eth0"]),
    (["-a", "10.0.2.100/16", "-g", "10.0.2.2", "-4"], "eth0", {"10.0.2.100/16"}, ["default via 10.0.2.2 dev eth0"]),
    (["-a", "172.16.5.5"], "eth0", {"172.16.5.5/16", f"{HOST6}/64"}, None),
    (["-a", "2001:db8:77::5"], "eth0", {f"{HOST4}/24", "2001:db8:77::5/64"}, [f"default via {GW4} dev eth0"]),
    (["-g", "192.0.2.9"], "eth0", {f"{HOST4}/24", f"{HOST6}/64"}, ["default via 192.0.2.9 dev eth0"]),
    (["-a", "169.254.1.2", "-n", "16", "-g", "169.254.1.1", "-4"], "eth0", {"169.254.1.2/16"}, ["default via 169.254.1.1 dev eth0"]),
    (["-a", "10.0.2.1", "-n", "32", "-g", "10.0.9.9", "-4"], "eth0", {"10.0.2.1/32"}, None),
])
def test_options(net, pasta, options, dev, addresses, routes):
    p = pasta("--config-net", *NONE, *options)
    assert set(p.ns.addresses(dev)) == addresses
    if routes is not None:
        assert [r for r in p.ns.routes() if r.startswith("default")] == routes
    if "-6" not in options:
        with net.remote.listen(REMOTE4) as server, p.ns.connect(REMOTE4, server.getsockname()[1]):
            server.accept()[0].close()
    if "-4" not in options:
        with net.remote.listen(REMOTE6) as server, p.ns.connect(REMOTE6, server.getsockname()[1]):
            server.accept()[0].close()


def test_link_options(net, pasta):
    """The last one counts."""
    p = pasta("--config-net", *NONE, "--mtu", "9000", "--ns-mac-addr", "52:54:00:00:00:01", "--mtu", "2000", "--ns-mac-addr", "52:54:00:aa:bb:cc")
    assert "mtu 2000" in link(p, "eth0") and "52:54:00:aa:bb:cc" in link(p, "eth0")
    assert "mtu 1500" in link(pasta("--config-net", *NONE, "--mtu", "0"), "eth0")
    assert "mtu 65521" in link(pasta("--config-net", *NONE, "--mtu", "65521"), "eth0")


def test_our_mac(net, pasta):
    for options, mac in ([], "9a:55:9a:55:9a:55"), (["-M", "52:54:00:00:00:09"], "52:54:00:00:00:09"):
        p = pasta("--config-net", *NONE, *options)
        p.ns.run("ping", "-n", "-c", "1", "-W", "20", GW4)
        p.ns.run("ping", "-n", "-c", "1", "-W", "20", REMOTE6)
        assert mac in p.ns.ip("neighbour", "show", GW4) and mac in p.ns.ip("neighbour", "show", GW6)


def test_no_copy(net, pasta):
    """One address and one route of each IP version."""
    net.host.ip("address", "add", "192.0.2.88/24", "dev", "eth0")
    net.host.ip("route", "add", "10.77.0.0/16", "via", GW4)
    try:
        p = pasta("--config-net", *NONE)
        assert "192.0.2.88/24" in p.ns.addresses("eth0") and any("10.77.0.0/16" in r for r in p.ns.routes())
        p = pasta("--config-net", *NONE, "--no-copy-addrs", "--no-copy-routes")
        assert set(p.ns.addresses("eth0")) == {f"{HOST4}/24", f"{HOST6}/64"}
        assert [r.split()[0] for r in p.ns.routes() if "scope link" not in r] == ["default"]
    finally:
        net.host.ip("address", "del", "192.0.2.88/24", "dev", "eth0")
        net.host.ip("route", "del", "10.77.0.0/16")


# By real clients in the namespace.


@pytest.fixture
def attached(net, tmp_path, tun):
    """attached(*options): a container's namespace with the interface, down and without addresses."""
    ends = []

    def begin(*options):
        b = box(net.host)
        work = tmp_path / f"attached{len(ends)}"
        work.mkdir()
        ends.append((Daemon(net.host, str(work), "-q", *NONE, *options, b.pid), b))
        return b

    yield begin
    for d, b in ends:
        d.close()
        b.close()


SCRIPT = """#!/bin/sh
{ echo "reason=$reason interface=$interface"; env | grep -E '^(new_|ip=|mask=|subnet=|router=|dns=|domain=|search=|mtu=|hostname=|ip6)'; } >>"$LOG"
case $reason in
BOUND|RENEW|REBIND|REBOOT) ip link set "$interface" mtu "${new_interface_mtu:-1500}"
	ip address replace "$new_ip_address/$new_subnet_mask" dev "$interface"
	ip route replace default via "$new_routers" dev "$interface" ;;
BOUND6|REBIND6) ip -6 address replace "$new_ip6_address/128" dev "$interface" nodad ;;
PREINIT|PREINIT6) ip link set "$interface" up ;;
esac
echo "done=$reason" >>"$LOG"
"""


def dhclient(ns, work, version, dev="eth0"):
    """Gets a lease, once; what it was told, as {name: value}."""
    script, log = work / "script", work / "log"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    log.write_text("")
    # What the server offers beyond what is asked for is left out of it.
    conf = work / "conf"
    conf.write_text("request subnet-mask, routers, domain-name-servers, domain-search, interface-mtu, host-name;\n"
                    "also request dhcp6.name-servers, dhcp6.domain-search;\n")
    argv = ["dhclient", version, "-1", "-d", "-sf", script, "-cf", conf, "-lf", work / "leases", "-pf", work / "pid", "-e", f"LOG={log}", dev]
    client = ns.popen(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    reason = "BOUND6" if version == "-6" else "BOUND"
    try:
        until(lambda: f"done={reason}\n" in log.read_text(), "lease")
    finally:
        client.terminate()
        client.wait()
    return dict(line.split("=", 1) for line in log.read_text().splitlines() if line.startswith("new_"))


def test_before_any_client(net, attached):
    """Loopback is up, and nothing else."""
    b = attached()
    assert "state DOWN" in b.ip("link", "show", "eth0")
    assert b.addresses("eth0") == [] and b.routes() == []
    assert "127.0.0.1/8" in b.ip("address", "show", "lo") and "UP" in b.ip("link", "show", "lo")


def test_dhcp(net, attached, tmp_path):
    b = attached("--dhcp-dns", "--dhcp-search", "-H", "box")
    told = dhclient(b, tmp_path, "-4")
    assert told["new_ip_address"] == HOST4 and told["new_subnet_mask"] == "255.255.255.0" and told["new_routers"] == GW4
    assert told["new_domain_name_servers"] == "198.51.100.53" and told["new_domain_search"] in ("example.org. example.net.", "example.org example.net")
    assert told["new_interface_mtu"] == "65520"
    with net.remote.listen(REMOTE4) as server, b.connect(REMOTE4, server.getsockname()[1]):
        server.accept()[0].close()


def test_dhcp_tells_no_name_servers_by_default(attached, tmp_path):
    told = dhclient(attached(), tmp_path, "-4")
    assert "new_domain_name_servers" not in told and "new_domain_search" not in told


def test_dhcp_of_another_client(net, attached, tmp_path):
    """The one of small systems."""
    b = attached("-a", "10.0.2.15", "-n", "24", "-g", "10.0.2.2")
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\n[ "$1" = bound ] && env >{tmp_path}/env\ntrue\n')
    script.chmod(0o755)
    b.ip("link", "set", "eth0", "up")
    b.run("busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-f", "-s", script)
    env = (tmp_path / "env").read_text()
    assert "ip=10.0.2.15\n" in env and "router=10.0.2.2\n" in env and "subnet=255.255.255.0\n" in env


def slaac(b, dev="eth0"):
    """The kernel as a client."""
    b.run("sh", "-c", f"echo 0 >/proc/sys/net/ipv6/conf/{dev}/accept_dad; echo 2 >/proc/sys/net/ipv6/conf/{dev}/accept_ra")
    b.ip("link", "set", dev, "up")
    until(lambda: [r for r in b.routes("-6") if r.startswith("default")], "default route by a router advertisement")


def test_slaac(net, attached):
    b = attached()
    slaac(b)
    found = until(lambda: [a for a in b.addresses("eth0") if ":" in a], "address")
    assert found[0].startswith("2001:db8::") and found[0].endswith("/64")
    with net.remote.listen(REMOTE6) as server, b.connect(REMOTE6, server.getsockname()[1]):
        server.accept()[0].close()


def test_dhcpv6(net, attached, tmp_path):
    b = attached("--dhcp-dns", "--dhcp-search", "-D", "2001:db8::53")
    slaac(b)
    until(lambda: "fe80" in str(b.addresses("eth0", "link")), "link-local address")
    told = dhclient(b, tmp_path, "-6")
    assert told["new_ip6_address"] == HOST6
    assert told["new_dhcp6_name_servers"] == "2001:db8::53" and told["new_dhcp6_domain_search"].split()[0].rstrip(".") == "example.org"
    with net.remote.listen(REMOTE6) as server, b.connect(REMOTE6, server.getsockname()[1], source=HOST6) as s:
        server.accept()[0].close()
        s.close()


@pytest.mark.parametrize("own,plen,remote,lo", [("10.5.5.5", 24, REMOTE4, "127.0.0.1"), ("2001:db8:5::5", 64, REMOTE6, "::1")], ids=["v4", "v6"])
def test_address_of_its_own_choice(net, attached, own, plen, remote, lo):
    """Forwarded ports lead to it as soon as it was seen, from the host's loopback as well."""
    b = attached("-t", "8080:80", "-u", "8080:80")
    b.ip("link", "set", "eth0", "up")
    b.ip("address", "add", f"{own}/{plen}", "dev", "eth0", *(["nodad"] if ":" in own else []))
    b.ip("route", "add", "default", "via", own[:-1] + "1", "dev", "eth0")
    with net.remote.udp(remote) as server, b.udp(own) as client:
        client.sendto(b"", (remote, server.getsockname()[1]))
        server.recv(1)
    for exchange in exchange_tcp, exchange_udp:
        assert exchange(b, own, 80, net.host, lo, 8080) == (own, own)


@pytest.mark.parametrize("option", ["--no-ra", "--no-ndp"])
def test_no_router_advertisements(attached, option):
    b = attached(option)
    with pytest.raises(AssertionError):
        b.run("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad")
        b.ip("link", "set", "eth0", "up")
        until(lambda: [r for r in b.routes("-6") if r.startswith("default")], "nothing", limit=1.5)


def test_no_dhcp(attached, tmp_path):
    b = attached("--no-dhcp")
    b.ip("link", "set", "eth0", "up")
    done = b.run("busybox", "udhcpc", "-i", "eth0", "-q", "-n", "-f", "-t", "2", "-T", "1", "-s", "/bin/true", check=False)
    assert done.returncode != 0


def test_config_net_is_left_alone(net, pasta):
    """No router advertisement adds a second address or route."""
    p = pasta("--config-net", *NONE)
    routes, addresses = p.ns.routes("-6"), p.ns.addresses("eth0")
    p.ns.run("sh", "-c", "echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra; echo 1 >/proc/sys/net/ipv6/conf/eth0/router_solicitations")
    p.ns.ip("link", "set", "eth0", "down")
    p.ns.ip("link", "set", "eth0", "up")
    with pytest.raises(AssertionError):
        until(lambda: [r for r in p.ns.routes("-6") if "proto ra" in r], "nothing", limit=1)
    assert len(addresses) == 2 and routes
