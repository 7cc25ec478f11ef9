# SPDX-License-Identifier: MIT
"""
UDP from the guest: echo, sizes, fragments, errors of the network.

    guest (scapy) ---socket--- passt in "host" ---veth--- "remote" (topology.py)
"""
import pytest
from lab import servers
from lab.control import Control
from lab.guest import Guest, checksums_right, l3
from lab.topology import FAR4, FAR6, GW4, GW6, HOST4, HOST6, REMOTE4, REMOTE6, UNREACHABLE4, UNREACHABLE6
from lab.wait import until
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

BOTH = pytest.mark.parametrize("remote", [REMOTE4, REMOTE6], ids=["v4", "v6"])


@pytest.fixture
def echo(net):
    """echo(address): a server on the remote side."""
    running = []

    def start(addr, ns=net.remote):
        running.append(servers.udp_echo(ns.udp(addr)))
        return running[-1]

    yield start
    for s in running:
        s.close()


@BOTH
@pytest.mark.parametrize("size", [0, 1, 17, 18, 19, 512, 1400])
def test_echo(guest, echo, remote, size):
    server = echo(remote)
    data = bytes(i & 0xFF for i in range(size))
    guest.udp(remote, server.port, data)
    p = guest.expect(lambda p: UDP in p and p[UDP].sport == server.port, "echo")
    assert l3(p).src == remote and p[UDP].dport == 4000 and p[UDP].len == 8 + size
    assert bytes(p[UDP].payload)[:size] == data
    assert checksums_right(p)


@BOTH
def test_largest_datagram_within_the_mtu(guest, echo, remote):
    server = echo(remote)
    size = 65520 - (48 if ":" in remote else 28)
    guest.udp(remote, server.port, bytes(size))
    assert guest.expect_udp(server.port) == bytes(size)


def test_order_is_kept_with_empty_datagrams_between(guest, echo):
    server = echo(REMOTE4)
    sent = [b"%d" % i if i % 3 else b"" for i in range(60)]
    guest.send(*(guest.ip(REMOTE4) / UDP(sport=4000, dport=server.port) / Raw(d) for d in sent))
    assert [guest.expect_udp(server.port) for _ in sent] == sent


def test_source_is_the_hosts_address(guest, echo):
    for remote, host in (REMOTE4, HOST4), (REMOTE6, HOST6):
        server = echo(remote)
        guest.udp(remote, server.port, b"x")
        guest.expect_udp(server.port)
        assert server.peers[0][0] == host


def test_gateway_is_the_hosts_loopback(net, guest, echo):
    for gateway, loopback in (GW4, "127.0.0.1"), (GW6, "::1"):
        server = echo(loopback, net.host)
        guest.udp(gateway, server.port, b"lo")
        p = guest.expect(lambda p, s=server: UDP in p and p[UDP].sport == s.port, "echo")
        assert l3(p).src == gateway


def test_flows_are_kept_apart(guest, echo):
    server = echo(REMOTE4)
    for port in range(4000, 4020):
        guest.udp(REMOTE4, server.port, b"%d" % port, sport=port)
    for port in reversed(range(4000, 4020)):
        assert guest.expect_udp(server.port, port) == b"%d" % port
    assert len(set(server.peers)) == 20


def test_port_unreachable(guest):
    guest.udp(REMOTE4, 9, b"nobody", sport=4444)
    p = guest.expect(lambda p: ICMP in p and p[ICMP].type == 3, "ICMP destination unreachable")
    assert p[ICMP].code == 3 and p[IP].src == REMOTE4 and checksums_right(p)
    inner = IP(bytes(p[ICMP].payload))
    assert (inner.dst, inner.src, inner[UDP].sport, inner[UDP].dport) == (REMOTE4, guest.addr4, 4444, 9)


def test_port_unreachable_v6(guest):
    guest.udp(REMOTE6, 9, b"nobody", sport=4444)
    p = guest.expect(lambda p: ICMPv6DestUnreach in p, "ICMPv6 destination unreachable")
    assert p[ICMPv6DestUnreach].code == 4 and p[IPv6].src == REMOTE6
    inner = IPv6(bytes(p[ICMPv6DestUnreach].payload))
    assert (inner.dst, inner.src, inner[UDP].sport, inner[UDP].dport) == (REMOTE6, guest.addr6, 4444, 9)


def test_host_unreachable(guest):
    guest.udp(UNREACHABLE4, 5000, b"x")
    p = guest.expect(lambda p: ICMP in p and p[ICMP].type == 3, "ICMP destination unreachable")
    assert p[ICMP].code in (0, 1)
    guest.udp(UNREACHABLE6, 5000, b"x")
    guest.expect(lambda p: ICMPv6DestUnreach in p, "ICMPv6 destination unreachable")


def test_ttl_is_carried_over(guest):
    """So that traceroute works: the error comes from the router where the datagram ended."""
    guest.udp(FAR4, 33434, b"probe", ttl=1)
    p = guest.expect(lambda p: ICMP in p and p[ICMP].type == 11, "ICMP time exceeded")
    assert p[IP].src == GW4
    guest.udp(FAR6, 33434, b"probe", ttl=1)
    p = guest.expect(lambda p: ICMPv6TimeExceeded in p, "ICMPv6 time exceeded")
    assert p[IPv6].src == GW6


def test_fragments_from_guest_v4(guest, echo):
    server = echo(REMOTE4)
    data = bytes(i & 0xFF for i in range(5000))
    whole = IP(src=guest.addr4, dst=REMOTE4, id=77) / UDP(sport=4000, dport=server.port) / Raw(data)
    pieces = [guest.ether() / f for f in fragment(whole, 1400)]
    guest.send(*reversed(pieces))
    assert guest.expect_udp(server.port) == data


def test_fragments_from_guest_v6(guest, echo):
    server = echo(REMOTE6)
    data = bytes(i & 0xFF for i in range(5000))
    whole = IPv6(src=guest.addr6, dst=REMOTE6) / IPv6ExtHdrFragment(id=99) / UDP(sport=4000, dport=server.port) / Raw(data)
    guest.send(*(guest.ether() / f for f in fragment6(whole, 1400)))
    assert guest.expect_udp(server.port) == data


def test_overlapping_fragments_are_dropped(guest, echo):
    server = echo(REMOTE4)
    whole = IP(src=guest.addr4, dst=REMOTE4, id=78) / UDP(sport=4000, dport=server.port) / Raw(bytes(2000))
    pieces = fragment(whole, 1000)
    twisted = pieces[1].copy()
    twisted.frag -= 4
    guest.send(guest.ether() / pieces[0], guest.ether() / twisted, *(guest.ether() / f for f in pieces[1:]))
    guest.udp(REMOTE4, server.port, b"next", sport=4001)
    guest.expect_udp(server.port, 4001)
    guest.nothing(lambda p: UDP in p and p[UDP].dport == 4000, "echo of overlapping fragments", 0)


def reassemble4(guest, sport):
    """Datagram to the guest that comes in fragments: its UDP header and payload."""
    parts, total = {}, None
    while total is None or sum(map(len, parts.values())) < total:
        p = guest.expect(lambda p: IP in p and p[IP].proto == 17, "fragment")
        assert len(p) - 14 <= 1500 and p[IP].len <= 1500
        body = bytes(p[IP].payload)[: p[IP].len - p[IP].ihl * 4]
        parts[p[IP].frag * 8] = body
        if not p[IP].flags.MF:
            total = p[IP].frag * 8 + len(body)
    datagram = b"".join(parts[k] for k in sorted(parts))
    assert int.from_bytes(datagram[:2], "big") == sport
    return datagram[8:]


def test_datagram_larger_than_the_mtu_is_fragmented_to_the_guest(start, echo):
    guest = Guest(start("-m", "1500").socket_path)
    guest.announce()
    server = echo(REMOTE4)
    data = bytes(i & 0xFF for i in range(4000))
    whole = IP(src=guest.addr4, dst=REMOTE4, id=7) / UDP(sport=4000, dport=server.port) / Raw(data)
    guest.send(*(guest.ether() / f for f in fragment(whole, 1400)))
    assert reassemble4(guest, server.port) == data
    guest.close()


def test_short_frames_are_trimmed_by_the_ip_length(guest, echo):
    """What a network interface pads is not data."""
    server = echo(REMOTE4)
    guest.send(guest.ip(REMOTE4) / UDP(sport=4000, dport=server.port) / Raw(b"ab") / Raw(b""))
    assert guest.expect_udp(server.port) == b"ab"
    frame = bytes(guest.ip(REMOTE4) / UDP(sport=4000, dport=server.port) / Raw(b"cd"))
    guest.send(frame + bytes(60 - len(frame)))
    assert guest.expect_udp(server.port) == b"cd"


def test_dns_forward(start, net):
    guest = Guest(start("--dns-forward", "169.254.1.1", "--dns-host", "127.0.0.53").socket_path)
    guest.announce()
    names = {"www.example.org": ["198.51.100.1"]}
    server = servers.dns_udp(net.host.udp("127.0.0.53", 53), names)
    query = bytes.fromhex("abcd01000001000000000000") + b"\x03www\x07example\x03org\x00\x00\x01\x00\x01"
    guest.udp("169.254.1.1", 53, query)
    p = guest.expect(lambda p: UDP in p and p[UDP].sport == 53, "answer of the resolver")
    assert p[IP].src == "169.254.1.1"
    assert bytes([198, 51, 100, 1]) in bytes(p[UDP].payload)
    server.close()
    guest.close()


def test_no_udp(start, echo):
    guest = Guest(start("--no-udp").socket_path)
    guest.announce()
    server = echo(REMOTE4)
    guest.udp(REMOTE4, server.port, b"x")
    guest.barrier()
    guest.nothing(lambda p: UDP in p, "echo")
    assert not server.peers
    guest.close()


AS_HOST = """mount -t tmpfs none /proc/sys/net && mkdir /proc/sys/net/netfilter && cd /proc/sys/net/netfilter &&
    echo 2 >nf_conntrack_udp_timeout && echo 3 >nf_conntrack_udp_timeout_stream && cd / && exec "$@"
"""


def test_time_outs_of_the_host(net, start, tmp_path):
    """As its sysctls say, where it tracks connections: in less than the 30 and 180 seconds that a flow would have had otherwise."""
    p = start("-c", tmp_path / "control", prefix=["unshare", "-U", "-r", "-m", "sh", "-c", AS_HOST, "sh"])
    guest = Guest(p.socket_path)
    guest.announce()
    with Control(tmp_path / "control") as control, net.remote.udp(REMOTE4) as answers:
        for reply in False, True:
            guest.udp(REMOTE4, answers.getsockname()[1], b"question")
            _, peer = answers.recvfrom(100)
            assert control.flows()
            if reply:
                answers.sendto(b"answer", peer)
                until(lambda: [f for f in control.flows() if f["state"] == "answered"], "answer")
            until(lambda: not control.flows(), "time-out of the flow")
    guest.close()
