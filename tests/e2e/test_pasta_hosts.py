# SPDX-License-Identifier: MIT
"""
Odd hosts: a namespace with each strange set of addresses and routes stands for the host. What pasta copies from it is what is there,
nothing of it is fatal, and what can't be copied is a warning.
"""
import re
from dataclasses import dataclass, field

import pytest
from lab.pasta import Pasta
from lab.topology import HOST4, HOST6, REMOTE4, REMOTE6, Topology

NONE = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
OTHER = ["link add other type veth peer name peer", "address add 10.1.0.1/24 dev other", "address add 2001:db8:b::1/64 dev other nodad",
         "link set other up", "link set peer up"]
LOCAL = ["default via 169.254.2.2 dev {dev}", "169.254.0.0/16 dev {dev} proto kernel scope link src 169.254.2.1"]
LOCAL_ADDRESS = "169.254.2.1/16"
VIA6 = "default via 2001:db8::1 dev eth0 metric 1024 pref medium"
LINK_LOCAL = "fe80::/64 dev {dev} proto kernel metric 256 pref medium"
VIA6_ONLINK = "default via 2001:db8::1 dev eth0 metric 1024 onlink pref medium"


@dataclass
class Host:
    """do: what is done to an ordinary host, by ip(8). The namespace then has the host's routes and addresses of dev, but for the routes that
    are lost or extra (patterns)."""

    do: list
    lost: list = field(default_factory=list)
    extra: list = field(default_factory=list)
    dev: str = "eth0"
    addresses: set = None  # if they are others than the host's
    says: list = field(default_factory=list)
    open: str = "46"  # IP versions of which the remote side is reached


def many(n, family=4):
    """That many routes, by the way."""
    if family == 4:
        return [f"route add 10.{i // 256}.{i % 256}.0/24 via 192.0.2.1" for i in range(n)]
    return [f"-6 route add 2001:db8:{i + 4096:x}::/48 via 2001:db8::1" for i in range(n)]


HOSTS = {
    "ordinary": Host([]),
    # Hops.
    "multipath": Host(["route add 198.51.100.128/25 nexthop via 192.0.2.1 dev eth0 weight 2 nexthop via 192.0.2.3 dev eth0",
                       "-6 route add 2001:db8:9::/48 nexthop via 2001:db8::3 dev eth0 weight 2 nexthop via 2001:db8::4 dev eth0"]),
    "twenty-hops": Host(["route add 198.51.100.128/25" + "".join(f" nexthop via 192.0.2.{10 + i} dev eth0" for i in range(20)),
                         "-6 route add 2001:db8:9::/48" + "".join(f" nexthop via 2001:db8::{10 + i} dev eth0" for i in range(20))]),
    "multipath-default": Host(["route replace default nexthop via 192.0.2.1 dev eth0 weight 3 nexthop dev eth0"], open="6"),
    "multipath-of-two-interfaces": Host(OTHER + ["route add 10.20.0.0/16 nexthop via 192.0.2.1 dev eth0 nexthop via 10.1.0.2 dev other"],
                                        extra=["10.20.0.0/16 via 192.0.2.1 dev eth0"]),
    "onlink": Host(["route replace default via 10.9.9.1 dev eth0 onlink", "-6 route add 2001:db8:9::/48 via 2001:db8:99::1 dev eth0 onlink"], open="6"),
    "via-inet6": Host(["route add 10.4.0.0/16 via inet6 fe80::99 dev eth0"]),
    "default-via-inet6": Host(["-4 route replace default via inet6 fe80::99 dev eth0"], open="6"),
    "gateway-by-a-host-route": Host(["address flush dev eth0 scope global", "address add 192.0.2.2/32 dev eth0", "route add 10.8.8.8 dev eth0 scope link",
                                     "route add default via 10.8.8.8 dev eth0", "address add 2001:db8::2/128 dev eth0 nodad",
                                     "-6 route flush default", "-6 route add default via fe80::1 dev eth0"], open=""),
    "point-to-point": Host(["address flush dev eth0 scope global", "address add 192.0.2.2 peer 192.0.2.1/32 dev eth0", "route add default via 192.0.2.1",
                            "address add 2001:db8::2 peer 2001:db8::1/128 dev eth0 nodad"], addresses={f"{HOST4}/32", f"{HOST6}/128"}),
    "no-gateway": Host(["address flush dev eth0 scope global", "address add 192.0.2.2/32 dev eth0", "route add default dev eth0 scope link",
                        "-6 route flush default", "address add 2001:db8::2/128 dev eth0 nodad", "-6 route add default dev eth0"], open=""),
    "order": Host(["route add 10.7.0.0/16 via 192.0.2.1 dev eth0", "route add 10.6.6.6 via 10.7.0.1 dev eth0 onlink", "route add 10.5.5.0/24 via 192.0.2.9 dev eth0 metric 7"]),
    # Nexthop objects.
    "nexthop": Host(["nexthop add id 7 via 192.0.2.1 dev eth0", "route replace default nhid 7", "nexthop add id 8 via 2001:db8::1 dev eth0",
                     "-6 route replace default nhid 8", "nexthop add id 9 dev eth0", "route add 10.20.0.0/16 nhid 9",
                     "nexthop add id 10 via fe80::99 dev eth0", "route add 10.21.0.0/16 nhid 10"]),
    "nexthop-group": Host(["nexthop add id 7 via 192.0.2.1 dev eth0", "nexthop add id 8 via 192.0.2.3 dev eth0", "nexthop add id 9 group 7,2/8,5",
                           "route add 10.20.0.0/16 nhid 9"]),
    "nexthop-alone": Host(["sysctl net.ipv4.nexthop_compat_mode 0", "nexthop add id 7 via 192.0.2.1 dev eth0", "nexthop add id 8 via 192.0.2.3 dev eth0",
                           "nexthop add id 9 group 7,2/8,5", "route replace default nhid 7", "route add 10.20.0.0/16 nhid 9",
                           "nexthop add id 10 via 2001:db8::1 dev eth0", "-6 route replace default nhid 10"],
                          lost=["default( .*)?", "10.20.0.0/16"],
                          extra=["default via 192.0.2.1 dev eth0", "10.20.0.0/16 nexthop via 192.0.2.1 dev eth0 weight 2 nexthop via 192.0.2.3 dev eth0 weight 5", VIA6]),
    "nexthop-blackhole": Host(["nexthop add id 7 blackhole", "route add 10.20.0.0/16 nhid 7", "-6 nexthop add id 9 blackhole", "-6 route add 2001:db8:9::/48 nhid 9"],
                              lost=["blackhole 10.20.0.0/16 dev lo"], extra=["blackhole 10.20.0.0/16"]),
    # What routes say beside that.
    "preferred-source": Host(["address add 192.0.2.44/24 dev eth0", "route replace default via 192.0.2.1 dev eth0 src 192.0.2.44",
                              "address add 2001:db8::44/64 dev eth0 nodad", "-6 route replace default via 2001:db8::1 dev eth0 src 2001:db8::44"]),
    "preferred-source-on-lo": Host(["address add 192.0.2.99/32 dev lo", "route replace default via 192.0.2.1 dev eth0 src 192.0.2.99"],
                                   addresses={f"{HOST4}/24", f"{HOST6}/64", "192.0.2.99/32"}, open="6"),
    "metric": Host(["route replace default via 192.0.2.1 dev eth0 metric 100", "route del default via 192.0.2.1 metric 0"]),
    "several-defaults": Host(["route add default via 192.0.2.3 metric 150", "route add default via 192.0.2.4 metric 700", "-6 route add default via 2001:db8::3 metric 5000"]),
    "metrics": Host(["route replace default via 192.0.2.1 dev eth0 mtu 1400 advmss 1300 initcwnd 20 rtt 100ms rttvar 50ms ssthresh 30 cwnd 20 initrwnd 30 rto_min 50ms "
                     "quickack 1 features ecn", "-6 route replace default via 2001:db8::1 dev eth0 mtu 1400 advmss 1300 hoplimit 33"]),
    "mtu-lock": Host(["route replace default via 192.0.2.1 dev eth0 mtu lock 1400", "-6 route replace default via 2001:db8::1 dev eth0 mtu lock 1400"]),
    "tos": Host(["route add 10.3.0.0/16 tos 0x10 via 192.0.2.1 dev eth0"]),
    "preference": Host(["-6 route replace default via 2001:db8::1 dev eth0 pref high", "-6 route add 2001:db8:9::/48 via 2001:db8::1 dev eth0 pref low"]),
    "protocol-and-scope": Host(["route add 10.20.0.0/16 via 192.0.2.1 proto bird", "route add 10.21.0.0/16 dev eth0 proto static scope link",
                                "route add 10.22.0.0/16 dev eth0 scope global proto 77"]),
    "congestion-control": Host(["route add 10.20.0.0/16 via 192.0.2.1 congctl reno", "-6 route add 2001:db8:9::/48 via 2001:db8::1 congctl reno"],
                               says=["Congestion control algorithms and realms of routes are not copied \\(of 2\\)"]),
    "many-nexthops": Host([f"nexthop add id {1000 + i} via 192.0.2.1 dev eth0" for i in range(70)] + ["sysctl net.ipv4.nexthop_compat_mode 0"] +
                          ["route add 10.20.0.0/16 nhid 1063", "route add 10.21.0.0/16 nhid 1064"], lost=["10.2[01].0.0/16"], extra=["10.20.0.0/16 via 192.0.2.1 dev eth0"],
                          says=["Route to 10.21.0.0/16 is not copied: there are too many nexthop objects"]),
    "realm": Host(["route add 10.20.0.0/16 via 192.0.2.1 realm 5"], says=["Congestion control algorithms and realms of routes are not copied \\(of 1\\)"]),
    "expires": Host(["-6 route add 2001:db8:9::/48 via 2001:db8::1 dev eth0 expires 1000 proto ra"]),
    "from": Host(["-6 route add 2001:db8:9::/48 from 2001:db8::/64 via 2001:db8::1 dev eth0", "-6 route flush default",
                  "-6 route add default from 2001:db8::/64 via 2001:db8::1 dev eth0"]),
    "through-a-tunnel": Host(["route add 10.20.0.0/16 encap ip id 42 dst 192.0.2.9 via 192.0.2.1 dev eth0"], lost=["10.20.0.0/16 encap .*"],
                             says=["Route to 10.20.0.0/16 is not copied: it leads through a tunnel"]),
    # Where they lead.
    "nowhere": Host([f"route add {kind} 203.0.{i}.0/24" for i, kind in enumerate(("blackhole", "unreachable", "prohibit", "throw"))] +
                    [f"-6 route add {kind} 2001:db8:a{i}::/48" for i, kind in enumerate(("blackhole", "unreachable", "prohibit", "throw"))]),
    "last-one-refuses": Host(["-6 route add unreachable default metric 4278198272", "route add unreachable default metric 5000"]),
    "multicast": Host(["route add 224.0.0.0/4 dev eth0", "route add 239.1.1.1 dev eth0", "route add 255.255.255.255 dev eth0"]),
    "local-route": Host(["route add local 10.20.0.0/16 dev lo", "-6 route add anycast 2001:db8:9::1 dev eth0"]),
    "duplicates": Host(["route add 10.20.0.0/16 via 192.0.2.1", "route add 10.20.0.0/16 via 192.0.2.1 metric 5", "route append 10.20.0.0/16 via 192.0.2.3",
                        "route add 10.20.0.0/16 tos 0x10 via 192.0.2.1", "-6 route add 2001:db8:9::/48 via 2001:db8::1", "-6 route add 2001:db8:9::/48 via 2001:db8::1 metric 5"]),
    "two-halves": Host(["route del default", "route add 0.0.0.0/1 via 192.0.2.1", "route add 128.0.0.0/1 via 192.0.2.1"]),
    "250-routes-each": Host(many(250) + many(250, 6)),
    "too-many-routes": Host(many(600), lost=["10.*", "default via 192.0.2.1 dev eth0", "192.0.2.0/24.*", "2001:db8::/64.*", VIA6],
                            extra=["10.* onlink", "default via 192.0.2.1 dev eth0 onlink", VIA6_ONLINK],
                            says=["There are too many routes: \\d+ of them are not copied"]),
    # Without them.
    "no-default": Host(["route flush default", "-6 route flush default"], open=""),
    "no-default-but-another": Host(["route flush default", "route add 198.51.100.0/24 via 192.0.2.1"]),
    "no-addresses": Host(["address flush dev eth0 scope global"], lost=[VIA6], extra=LOCAL + [VIA6_ONLINK], addresses={LOCAL_ADDRESS}, open=""),
    "only-ipv4": Host(["-6 address flush dev eth0"], open="4", lost=[VIA6], extra=[VIA6_ONLINK, LINK_LOCAL]),
    "only-ipv6": Host(["-4 address flush dev eth0"], open="6", extra=LOCAL, addresses={LOCAL_ADDRESS, f"{HOST6}/64"}),
    "ipv6-turned-off": Host(["sysctl net.ipv6.conf.all.disable_ipv6 1"], open="4", extra=[LINK_LOCAL,
                                                                                         "default via fe80::1 dev eth0 metric 1024 pref medium"]),
    "down": Host(["link set eth0 down"], dev="tap0", open="", addresses={LOCAL_ADDRESS},
                 extra=LOCAL + [LINK_LOCAL, "default via fe80::1 dev tap0 metric 1024 pref medium"]),
    "no-carrier": Host(["link del eth0", "link add eth0 type veth peer name peer", "address add 192.0.2.2/24 dev eth0", "link set eth0 up",
                        "route add default via 192.0.2.1"], open="", extra=[LINK_LOCAL,
                                                                            "default via fe80::1 dev eth0 metric 1024 pref medium"]),
    # Other interfaces, other tables.
    "another-interface": Host(OTHER + ["route add 10.1.1.0/24 via 10.1.0.2 dev other", "-6 route add 2001:db8:e::/48 via 2001:db8:b::2 dev other"]),
    "halves-by-another-interface": Host(OTHER + ["route add 0.0.0.0/1 via 10.1.0.2 dev other", "route add 128.0.0.0/1 via 10.1.0.2 dev other"], open="6"),
    "one-interface-for-each": Host(OTHER + ["route del default", "route add default via 10.1.0.2 dev other"], dev="other", open="6",
                                   addresses={"10.1.0.1/24", f"{HOST6}/64"}, lost=["2001:db8:b::/64.*"],
                                   extra=["2001:db8::/64 dev other proto kernel metric 256 pref medium", "default via 2001:db8::1 dev other metric 1024 pref medium"]),
    "no-link-layer-address": Host(["link del eth0", "tuntap add mode tun name wg0", "address add 10.9.0.1/32 dev wg0", "link set wg0 up", "route add default dev wg0",
                                   "address add 2001:db8:9::1/128 dev wg0 nodad", "-6 route add default dev wg0"], dev="wg0", open="", extra=[LINK_LOCAL.format(dev="wg0")]),
    "another-table": Host(["route add 10.2.0.0/16 via 192.0.2.1 dev eth0 table 77", "rule add from all lookup 77"]),
    "default-in-another-table": Host(["route flush default", "route add default via 192.0.2.1 table 77", "rule add from all lookup 77"],
                                     extra=["default via 192.0.2.1 dev eth0"]),
    # Addresses.
    "several-addresses": Host(["address add 192.0.2.66/26 dev eth0", "address add 10.99.0.1/8 dev eth0", "address add 2001:db8:5::5/64 dev eth0 nodad",
                               "address add 192.0.2.70/24 dev eth0 label eth0:1 broadcast 192.0.2.255"]),
    "no-prefix-route": Host(["address add 192.0.2.70/26 dev eth0 noprefixroute", "address add 2001:db8:7::1/64 dev eth0 nodad noprefixroute"]),
    "deprecated": Host(["address add 2001:db8::dead/64 dev eth0 nodad preferred_lft 0"]),
    "tentative": Host(["sysctl net.ipv6.conf.eth0.accept_dad 1", "address add 2001:db8:7::5/64 dev eth0"]),
    "one-address-with-three-prefixes": Host(["address add 192.0.2.2/32 dev eth0", "address add 192.0.2.2/16 dev eth0"], addresses={f"{HOST4}/24", f"{HOST6}/64"}),
    "link-local-ipv4": Host(["-4 address flush dev eth0", "address add 169.254.7.7/16 dev eth0 scope link"], lost=["169.254.0.0/16 .*"], extra=LOCAL,
                            addresses={LOCAL_ADDRESS, f"{HOST6}/64"}, open="6"),
    "60-addresses": Host([f"address add 10.50.{i}.1/24 dev eth0" for i in range(60)]),
}


def make(host, commands, where):
    """In order, but for sysctls, which come first."""
    batch = where / "batch"
    for words in [c.split() for c in commands if c.startswith("sysctl")]:
        host.write(f"/proc/sys/{words[1].replace('.', '/')}", words[2])
    commands = [c for c in commands if not c.startswith("sysctl")]
    batch.write_text("".join(f"{c}\n" for c in commands))
    host.run("sh", "-ec", 'while read -r words; do ip $words; done <"$1"', "sh", batch)


def routes(ns, dev):
    """Those of an interface, or of none, as ip(8) shows them; without what is of this moment, or has no meaning elsewhere."""
    found = []
    for family in "-4", "-6":
        for line in ns.ip(family, "route", "show", "table", "main").splitlines():
            line = " ".join(re.sub(r"\b(linkdown|dead|nhid \d+|expires \d+sec|realm \S+|congctl \S+)( |$)", "", line).split())
            if line.startswith("nexthop"):
                found[-1] += " " + line
            else:
                found.append(line)
    return [line for line in found if set(re.findall(r" dev (\S+)", line)) <= {dev, "lo"}]


def addresses(ns, dev):
    lines = ns.ip("-o", "address", "show", "dev", dev, "scope", "global").splitlines()
    return {line.split()[3] for line in lines if "dadfailed" not in line}


def unexplained(lines, patterns):
    """Lines that no pattern matches, and patterns that match no line."""
    return [line for line in lines if not any(re.fullmatch(p, line) for p in patterns)] + \
           [p for p in patterns if not any(re.fullmatch(p, line) for line in lines)]


@pytest.mark.parametrize("name", HOSTS)
def test_odd_host(tmp_path, tun, name):
    h = HOSTS[name]
    t = Topology(str(tmp_path))
    try:
        make(t.host, h.do, tmp_path)
        p = Pasta(t.host, str(tmp_path), "--config-net", "-q", *NONE)
        try:
            theirs, ours = routes(t.host, h.dev), routes(p.ns, h.dev)
            assert unexplained([r for r in theirs if r not in ours], h.lost) == []
            assert unexplained([r for r in ours if r not in theirs], [pattern.format(dev=h.dev) for pattern in h.extra]) == []
            assert len(ours) == len(set(ours))
            assert addresses(p.ns, h.dev) == (addresses(t.host, h.dev) if h.addresses is None else h.addresses)
            assert "tentative" not in p.ns.ip("address")
            said = [line for line in p.output().splitlines() if "name server" not in line]
            assert len(said) == len(h.says) and all(re.fullmatch(w, s) for w, s in zip(h.says, said)), said
            for version in h.open:
                remote = REMOTE4 if version == "4" else REMOTE6
                with t.remote.listen(remote) as server, p.ns.connect(remote, server.getsockname()[1]):
                    server.accept()[0].close()
        finally:
            p.close()
    finally:
        t.close()


def test_host_without_network(tmp_path, tun):
    """Addresses of its own making, and a message."""
    t = Topology(str(tmp_path))
    try:
        t.host.ip("link", "delete", "eth0")
        p = Pasta(t.host, str(tmp_path), "--config-net", "-d", *NONE)
        try:
            assert p.ns.addresses("tap0") == [LOCAL_ADDRESS]
            assert "default via 169.254.2.2 dev tap0" in p.ns.routes()
            assert "local mode" in p.output() or "no external interface" in p.output().lower(), p.output()
            with t.host.listen("127.0.0.1") as server, p.ns.connect("169.254.2.2", server.getsockname()[1]):
                server.accept()[0].close()
        finally:
            p.close()
    finally:
        t.close()
