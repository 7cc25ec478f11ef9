# SPDX-License-Identifier: MIT
"""
What the program answers itself: ARP, neighbour discovery, router advertisements, DHCP, DHCPv6.

    guest (scapy) ---socket--- passt in "host" (topology.py)
"""
import pytest
from lab.guest import ADDR4, ADDR6, LL6, MAC, OUR_MAC, Guest, checksums_right
from lab.topology import GW4, GW6
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dhcp6 import (
    DHCP6_Advertise,
    DHCP6_InfoRequest,
    DHCP6_Reply,
    DHCP6_Request,
    DHCP6_Solicit,
    DHCP6OptClientId,
    DHCP6OptDNSDomains,
    DHCP6OptDNSServers,
    DHCP6OptElapsedTime,
    DHCP6OptIA_NA,
    DHCP6OptIAAddress,
    DHCP6OptOptReq,
    DHCP6OptRapidCommit,
    DHCP6OptServerId,
    DUID_LL,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDNSSL,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRDNSS,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

ZERO = "00:00:00:00:00:00"
BROADCAST = "ff:ff:ff:ff:ff:ff"
DNS4 = "198.51.100.53"


@pytest.fixture
def silent(passt):
    """A guest that has not said anything yet."""
    g = Guest(passt.socket_path)
    yield g
    g.close()


# ARP


@pytest.mark.parametrize("target", [GW4, "192.0.2.77", "198.51.100.1"])
def test_arp_is_answered_for_every_address(silent, target):
    silent.send(Ether(src=MAC, dst=BROADCAST) / ARP(op=1, hwsrc=MAC, psrc=ADDR4, pdst=target))
    p = silent.expect(lambda p: ARP in p and p[ARP].op == 2, "ARP reply")
    assert (p.src, p.dst) == (OUR_MAC, MAC)
    assert (p[ARP].psrc, p[ARP].hwsrc, p[ARP].pdst, p[ARP].hwdst) == (target, OUR_MAC, ADDR4, MAC)


def test_arp_probe_for_the_guests_own_address_is_not_answered(silent):
    """Else address conflict detection (RFC 5227) would take the address away from the guest."""
    silent.send(Ether(src=MAC, dst=BROADCAST) / ARP(op=1, hwsrc=MAC, psrc="0.0.0.0", pdst=ADDR4))
    silent.send(Ether(src=MAC, dst=BROADCAST) / ARP(op=1, hwsrc=MAC, psrc=ADDR4, pdst=ADDR4))
    silent.send(Ether(src=MAC, dst=BROADCAST) / ARP(op=1, hwsrc=MAC, psrc=ADDR4, pdst=GW4))
    p = silent.expect(lambda p: ARP in p and p[ARP].op == 2, "ARP reply")
    assert p[ARP].psrc == GW4


@pytest.mark.parametrize("dst", [ZERO, BROADCAST])
def test_all_zero_arp_probe_of_qrap(silent, dst):
    """qrap asks for 0.0.0.0 or for ::1, framed, with zeroes for addresses, and needs at least one byte back."""
    silent.send(Ether(src=ZERO, dst=dst) / ARP(op=1, hwsrc=ZERO, psrc="0.0.0.0", pdst="0.0.0.0"))
    ns = IPv6(src="::1", dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt="::1") / ICMPv6NDOptSrcLLAddr(lladdr=ZERO)
    silent.send(Ether(src=ZERO, dst=dst) / ns)
    assert silent.recv(), "no answer to either probe"


# Neighbour discovery


@pytest.mark.parametrize("src", [ADDR6, LL6])
def test_neighbour_solicitation(silent, src):
    ns = ICMPv6ND_NS(tgt=GW6) / ICMPv6NDOptSrcLLAddr(lladdr=MAC)
    silent.send(Ether(src=MAC, dst="33:33:ff:00:00:01") / IPv6(src=src, dst="ff02::1:ff00:1") / ns)
    p = silent.expect(lambda p: ICMPv6ND_NA in p, "neighbour advertisement")
    assert p[ICMPv6ND_NA].tgt == GW6 and p[ICMPv6ND_NA].S == 1 and p[ICMPv6ND_NA].R == 1
    assert p[IPv6].dst == src and p[IPv6].hlim == 255 and p.dst == MAC and p.src == OUR_MAC
    assert checksums_right(p)


def test_duplicate_address_detection_is_not_disturbed(silent):
    for tgt in ADDR6, LL6:
        silent.send(Ether(src=MAC, dst="33:33:ff:00:00:02") / IPv6(src="::", dst="ff02::1:ff00:2") / ICMPv6ND_NS(tgt=tgt))
    silent.barrier()
    silent.nothing(lambda p: ICMPv6ND_NA in p, "neighbour advertisement", 0)


# Router advertisements


def solicit_router(g):
    g.send(Ether(src=MAC, dst="33:33:00:00:00:02") / IPv6(src=LL6, dst="ff02::2") / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=MAC))
    return g.expect(lambda p: ICMPv6ND_RA in p, "router advertisement")


def test_router_advertisement(silent):
    p = solicit_router(silent)
    ra = p[ICMPv6ND_RA]
    assert p[IPv6].src.startswith("fe80:") and p[IPv6].hlim == 255
    assert checksums_right(p)
    assert ra.routerlifetime > 0
    prefix = p[ICMPv6NDOptPrefixInfo]
    assert (prefix.prefix, prefix.prefixlen, prefix.A) == ("2001:db8::", 64, 1)
    assert p[ICMPv6NDOptMTU].mtu == 65520
    assert p[ICMPv6NDOptSrcLLAddr].lladdr == OUR_MAC


def test_router_advertisement_search_list(silent):
    p = solicit_router(silent)
    assert [n.rstrip(".") for n in map(str, decode(p[ICMPv6NDOptDNSSL].searchlist))] == ["example.org", "example.net"]


def decode(names):
    return [n.decode() if isinstance(n, bytes) else n for n in names]


def test_router_advertisement_name_servers(start):
    p = start("--dns", "2001:db8::53", "--dns", "2001:db8::54")
    g = Guest(p.socket_path)
    assert solicit_router(g)[ICMPv6NDOptRDNSS].dns == ["2001:db8::53", "2001:db8::54"]
    g.close()


def test_router_is_advertised_unasked(silent):
    silent.expect(lambda p: ICMPv6ND_RA in p and p[IPv6].dst == "ff02::1", "unsolicited router advertisement", 40)


@pytest.mark.parametrize("option", ["--no-ra", "--no-ndp", "--ipv4-only"])
def test_no_router_advertisement(start, option):
    g = Guest(start(option).socket_path)
    g.send(Ether(src=MAC, dst="33:33:00:00:00:02") / IPv6(src=LL6, dst="ff02::2") / ICMPv6ND_RS())
    g.barrier()
    g.nothing(lambda p: ICMPv6ND_RA in p, "router advertisement", 0)
    g.close()


# DHCP


def dhcp(kind, *options, xid=0x12345678, flags=0, ciaddr="0.0.0.0", src="0.0.0.0"):
    boot = BOOTP(op=1, chaddr=bytes.fromhex(MAC.replace(":", "")), xid=xid, flags=flags, ciaddr=ciaddr)
    opts = ([("message-type", kind)] if kind else []) + list(options) + ["end"]
    udp = UDP(sport=68, dport=67) / boot
    return Ether(src=MAC, dst=BROADCAST) / IP(src=src, dst="255.255.255.255") / (udp / DHCP(options=opts))


def dhcp_reply(g, kind):
    p = g.expect(lambda p: DHCP in p and ("message-type", kind) in p[DHCP].options, f"DHCP message of type {kind}")
    assert (p[UDP].sport, p[UDP].dport) == (67, 68)
    assert checksums_right(p)
    return p, {o[0]: o[1] if len(o) == 2 else o[1:] for o in p[DHCP].options if isinstance(o, tuple)}


OFFER, ACK, NAK = 2, 5, 6


def test_dhcp_discover_and_request(silent):
    silent.send(dhcp("discover", ("param_req_list", [1, 3, 6, 15, 26, 119])))
    p, o = dhcp_reply(silent, OFFER)
    assert p[BOOTP].yiaddr == ADDR4 and p[BOOTP].xid == 0x12345678
    server = o["server_id"]
    silent.send(dhcp("request", ("server_id", server), ("requested_addr", ADDR4), ("param_req_list", [1, 3, 6, 15, 26, 119])))
    p, o = dhcp_reply(silent, ACK)
    assert p[BOOTP].yiaddr == ADDR4
    assert (o["subnet_mask"], o["router"], o["name_server"]) == ("255.255.255.0", GW4, DNS4)
    assert int.from_bytes(o["interface-mtu"], "big") if isinstance(o["interface-mtu"], bytes) else o["interface-mtu"] == 65520
    assert o["lease_time"] > 0
    assert p[UDP].len - 8 >= 300, "some clients discard less than a BOOTP message (RFC 1542 2.1)"


def test_dhcp_broadcast_flag(silent):
    silent.send(dhcp("discover", flags=0x8000))
    p, _ = dhcp_reply(silent, OFFER)
    assert (p.dst, p[IP].dst) == (BROADCAST, "255.255.255.255")
    silent.send(dhcp("discover"))
    p, _ = dhcp_reply(silent, OFFER)
    assert p.dst == MAC


def test_dhcp_rapid_commit(silent):
    """RFC 4039: the client of libkrun takes nothing else, and within 100 ms."""
    silent.send(dhcp("discover", (80, b""), flags=0x8000))
    p, _ = dhcp_reply(silent, ACK)
    assert p[BOOTP].yiaddr == ADDR4
    assert any(o[0] in (80, "rapid_commit") for o in p[DHCP].options if isinstance(o, tuple))


def test_bootp(silent):
    """A request without any DHCP option."""
    boot = BOOTP(op=1, chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7) / bytes(64)
    silent.send(Ether(src=MAC, dst=BROADCAST) / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / boot)
    p = silent.expect(lambda p: BOOTP in p and p[BOOTP].op == 2, "BOOTP reply")
    assert p[BOOTP].yiaddr == ADDR4 and p[BOOTP].xid == 7


def test_dhcp_request_for_another_address_is_refused(silent):
    silent.send(dhcp("discover"))
    _, o = dhcp_reply(silent, OFFER)
    silent.send(dhcp("request", ("server_id", o["server_id"]), ("requested_addr", "10.9.8.7")))
    p = silent.expect(lambda p: DHCP in p, "DHCP reply")
    kind = dict(x for x in p[DHCP].options if isinstance(x, tuple) and len(x) == 2)["message-type"]
    assert kind == NAK or (kind == ACK and p[BOOTP].yiaddr == ADDR4)


def test_dhcp_given_addresses(start):
    g = Guest(start("-a", "10.1.2.0", "-n", "255.255.0.0", "-g", "10.1.2.2", "-m", "1400", "-D", "10.1.2.3", "-H", "box").socket_path)
    g.send(dhcp("discover", ("param_req_list", [1, 3, 6, 12, 26])))
    p, o = dhcp_reply(g, OFFER)
    assert p[BOOTP].yiaddr == "10.1.2.0"
    assert (o["subnet_mask"], o["router"], o["name_server"]) == ("255.255.0.0", "10.1.2.2", "10.1.2.3")
    assert o["interface-mtu"] == 1400 and o["hostname"] == b"box"
    g.close()


def test_dhcp_without_dns(start):
    g = Guest(start("--no-dhcp-dns", "--no-dhcp-search").socket_path)
    g.send(dhcp("discover", ("param_req_list", [1, 3, 6, 119])))
    _, o = dhcp_reply(g, OFFER)
    assert "name_server" not in o and 119 not in o and "domain_search" not in o
    g.close()


@pytest.mark.parametrize("option", ["--no-dhcp", "--ipv6-only"])
def test_no_dhcp(start, option):
    g = Guest(start(option).socket_path)
    g.send(dhcp("discover"))
    g.send(Ether(src=MAC, dst="33:33:ff:00:00:01") / IPv6(src=LL6, dst="ff02::1:ff00:1") / ICMPv6ND_NS(tgt=GW6))
    g.send(Ether(src=MAC, dst=BROADCAST) / ARP(op=1, hwsrc=MAC, psrc=ADDR4, pdst=GW4))
    g.expect(lambda p: ARP in p or ICMPv6ND_NA in p, "answer to the barrier")
    g.nothing(lambda p: DHCP in p, "DHCP reply", 0)
    g.close()


# DHCPv6


def dhcp6(message):
    return Ether(src=MAC, dst="33:33:00:01:00:02") / IPv6(src=LL6, dst="ff02::1:2") / UDP(sport=546, dport=547) / message


CLIENT = DHCP6OptClientId(duid=DUID_LL(lladdr=MAC))


def test_dhcpv6_exchange(silent):
    ia = DHCP6OptIA_NA(iaid=0xABCD)
    want = DHCP6OptOptReq(reqopts=[23, 24])
    silent.send(dhcp6(DHCP6_Solicit(trid=0x111111) / CLIENT / ia / want / DHCP6OptElapsedTime()))
    p = silent.expect(lambda p: DHCP6_Advertise in p, "DHCPv6 advertise")
    assert p[DHCP6_Advertise].trid == 0x111111 and checksums_right(p)
    server = p[DHCP6OptServerId]
    server.remove_payload()
    silent.send(dhcp6(DHCP6_Request(trid=0x222222) / CLIENT / server / ia / want / DHCP6OptElapsedTime()))
    p = silent.expect(lambda p: DHCP6_Reply in p, "DHCPv6 reply")
    assert p[DHCP6_Reply].trid == 0x222222
    assert p[DHCP6OptIA_NA].iaid == 0xABCD
    given = p[DHCP6OptIA_NA].ianaopts[0]
    assert isinstance(given, DHCP6OptIAAddress) and given.addr == ADDR6 and given.preflft > 0
    names = [n.rstrip(".") for n in decode(p[DHCP6OptDNSDomains].dnsdomains)]
    assert names == ["example.org", "example.net"]


def test_dhcpv6_rapid_commit(silent):
    ask = DHCP6_Solicit(trid=5) / CLIENT / DHCP6OptIA_NA(iaid=1) / DHCP6OptRapidCommit()
    silent.send(dhcp6(ask))
    p = silent.expect(lambda p: DHCP6_Reply in p or DHCP6_Advertise in p, "DHCPv6 answer")
    assert p[DHCP6OptIA_NA].ianaopts[0].addr == ADDR6


def test_dhcpv6_information_request(start):
    g = Guest(start("--dns", "2001:db8::53").socket_path)
    g.send(dhcp6(DHCP6_InfoRequest(trid=6) / CLIENT / DHCP6OptOptReq(reqopts=[23])))
    p = g.expect(lambda p: DHCP6_Reply in p, "DHCPv6 reply")
    assert p[DHCP6OptDNSServers].dnsservers == ["2001:db8::53"]
    assert DHCP6OptIA_NA not in p
    g.close()


def test_no_dhcpv6(start):
    g = Guest(start("--no-dhcpv6").socket_path)
    g.send(dhcp6(DHCP6_Solicit(trid=1) / CLIENT / DHCP6OptIA_NA(iaid=1)))
    g.barrier()
    g.nothing(lambda p: DHCP6_Advertise in p or DHCP6_Reply in p, "DHCPv6 answer", 0)
    g.close()
