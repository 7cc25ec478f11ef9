# SPDX-License-Identifier: MIT
"""
A host that changes while the program runs: what the guest is told of it, and what its addresses stand for.

    guest ---socket--- passt in "host" ---veth--- "remote"
"""
import os
import shutil
import signal
import socket

import pytest
from lab.guest import ADDR4, MAC, OUR_MAC, Guest
from lab.pasta import host_agent
from lab.program import assert_clean, gone
from lab.topology import HOST6, REMOTE4
from lab.wait import LIMIT, until
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptRDNSS
from scapy.layers.l2 import Ether

CHANGED = "The host's resolver or addresses have changed"
LOST = "What changes on the host is not noticed any more: "
FORWARD4 = "192.0.2.99"
OTHER6 = "2001:db8::22"


@pytest.fixture
def resolv(net):
    """resolv(text): what the host's /etc/resolv.conf says from now on."""
    before = net.host.run("cat", "/etc/resolv.conf").stdout

    def write(text):
        net.host.run("sh", "-c", 'printf %s "$1" >/etc/resolv.conf', "sh", text)

    yield write
    write(before)


def ask_dhcp(g):
    """Options of the offer."""
    boot = BOOTP(op=1, chaddr=bytes.fromhex(MAC.replace(":", "")), xid=7)
    g.send(Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67) / boot /
           DHCP(options=[("message-type", "discover"), ("param_req_list", [1, 3, 6]), "end"]))
    p = g.expect(lambda p: DHCP in p and ("message-type", 2) in p[DHCP].options, "offer")
    return p[BOOTP].yiaddr, {o[0]: o[1:] for o in p[DHCP].options if isinstance(o, tuple)}


def told(p, text):
    until(lambda: text in p.output(), text)


@pytest.mark.parametrize("options", [[], ["-i", "eth0"]], ids=["default", "interface"])
def test_resolver(start, resolv, options):
    """An advertisement comes by itself, and DHCP tells who asks; nothing of the guest's own has changed."""
    p = start(*options)
    g = Guest(p.socket_path)
    g.announce()
    address, before = ask_dhcp(g)
    resolv("nameserver 203.0.113.53\nnameserver 2001:db8::77\nsearch example.com\n")
    g.expect(lambda p: ICMPv6ND_RA in p and ICMPv6NDOptRDNSS in p and p[ICMPv6NDOptRDNSS].dns == ["2001:db8::77"], "advertisement of the new server", LIMIT)
    told(p, CHANGED)
    now, after = ask_dhcp(g)
    assert before["name_server"] == ("198.51.100.53",) and after["name_server"] == ("203.0.113.53",)
    assert now == address and after["router"] == before["router"] and after["subnet_mask"] == before["subnet_mask"]
    g.close()


def test_dns_forward(net, start, resolv):
    """The address stays what it is to the guest, and leads to the new one."""
    p = start("--dns-forward", FORWARD4)
    g = Guest(p.socket_path)
    g.announce()
    resolv(f"nameserver {REMOTE4}\n")
    told(p, CHANGED)
    with net.remote.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((REMOTE4, 53))
        s.settimeout(LIMIT)
        g.send(Ether(src=MAC, dst=OUR_MAC) / IP(src=ADDR4, dst=FORWARD4) / UDP(sport=4000, dport=53) / b"query")
        data, peer = s.recvfrom(100)
        assert data == b"query"
        s.sendto(b"reply", peer)
    reply = g.expect(lambda p: UDP in p and p[UDP].dport == 4000, "the reply")
    assert (reply[IP].src, reply[UDP].sport, bytes(reply[UDP].payload)[:5]) == (FORWARD4, 53, b"reply")
    g.close()


def test_same_meaning(start, resolv):
    """Another text that means the same is no news."""
    p = start()
    resolv("# comment\nsearch example.org example.net\nnameserver 198.51.100.53\nnameserver 198.51.100.53\n")
    resolv("nameserver 203.0.113.99\n")
    told(p, CHANGED)
    assert p.output().count(CHANGED) == 1


class Files:
    """/etc and /run of the program's own, as seen from here; resolv.conf is a link into the folder "one" of the latter."""

    def __init__(self, where):
        self.etc, self.run = where / "etc", where / "run"
        for folder in self.etc, self.run, self.run / "one", self.run / "two":
            folder.mkdir()
        for name in "passwd", "group", "nsswitch.conf", "ld.so.cache":
            if os.path.exists(f"/etc/{name}"):
                shutil.copy(f"/etc/{name}", self.etc / name)
        self.put(self.run / "one" / "resolv.conf", "198.51.100.53")
        self.link("one")
        self.prefix = ["unshare", "-m", "sh", "-c", f'mount --bind {self.etc} /etc; mount --bind {self.run} /run; exec "$@"', "sh"]

    @staticmethod
    def put(path, server):
        """In the place of what was there, at once."""
        new = path.with_name("new")
        new.write_text(f"nameserver {server}\n", encoding="ascii")
        new.rename(path)

    def link(self, folder):
        new = self.etc / "link"
        new.symlink_to(f"/run/{folder}/resolv.conf")
        new.rename(self.etc / "resolv.conf")


def renamed(f):
    f.put(f.run / "one" / "resolv.conf", "203.0.113.53")


def gone_for_a_while(f):
    (f.run / "one" / "resolv.conf").unlink()
    renamed(f)


def no_link_any_more(f):
    f.put(f.etc / "resolv.conf", "203.0.113.53")


def no_link_and_one_again(f):
    f.put(f.run / "one" / "resolv.conf", "192.0.2.66")
    f.put(f.etc / "resolv.conf", "192.0.2.77")
    f.link("one")
    renamed(f)


@pytest.mark.parametrize("change", [renamed, gone_for_a_while, no_link_any_more, no_link_and_one_again])
def test_file_that_is_replaced(start, tmp_path, change):
    """As those do who write it: by another file, or another link. What is told in the end is what the last one says."""
    f = Files(tmp_path)
    p = start(prefix=f.prefix)
    g = Guest(p.socket_path)
    g.announce()
    assert ask_dhcp(g)[1]["name_server"] == ("198.51.100.53",)
    change(f)
    until(lambda: ask_dhcp(g)[1].get("name_server") == ("203.0.113.53",), "the new server")
    g.close()


@pytest.fixture
def other_address(net):
    """other_address(): the host's address of IPv6 is another one, until the end of the test."""

    def change():
        net.host.ip("address", "add", f"{OTHER6}/64", "dev", "eth0", "nodad")
        net.host.ip("address", "change", f"{HOST6}/64", "dev", "eth0", "preferred_lft", "0")

    yield change
    net.host.ip("address", "change", f"{HOST6}/64", "dev", "eth0", "preferred_lft", "forever")
    net.host.ip("address", "del", f"{OTHER6}/64", "dev", "eth0")


def test_file_out_of_reach(start, tmp_path, other_address):
    """Behind a link into another folder than at the start, where Landlock keeps us out: as if it were the same, until one is in reach again."""
    f = Files(tmp_path)
    f.put(f.run / "two" / "resolv.conf", "192.0.2.88")
    p = start(prefix=f.prefix)
    g = Guest(p.socket_path)
    g.announce()
    f.link("two")
    other_address()
    told(p, CHANGED)
    assert ask_dhcp(g)[1]["name_server"] == ("198.51.100.53",)
    f.put(f.run / "one" / "resolv.conf", "203.0.113.53")
    f.link("one")
    until(lambda: ask_dhcp(g)[1].get("name_server") == ("203.0.113.53",), "the new server")
    g.close()


def test_agent_dies(start, resolv):
    """Said once; the guest is served with what was known."""
    p = start()
    pid = host_agent(p.pid)
    os.kill(pid, signal.SIGKILL)
    told(p, LOST)
    until(lambda: gone(pid), "the agent is gone")
    resolv("nameserver 203.0.113.98\n")
    g = Guest(p.socket_path)
    g.announce()
    assert ask_dhcp(g)[1]["name_server"] == ("198.51.100.53",)
    g.close()
    assert p.output().count(LOST) == 1 and CHANGED not in p.output()
    assert_clean(p.output())
