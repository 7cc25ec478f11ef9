# SPDX-License-Identifier: MIT
"""
The network that the tests run in; documentation addresses throughout.

    +-- host: where the program runs ----+            +-- remote --------------------+
    | lo      127.0.0.1, ::1             |    veth    | eth0  192.0.2.1/24           |
    | eth0    192.0.2.2/24               |------------|       2001:db8::1/64         |
    |         2001:db8::2/64             |            | lo    198.51.100.1/32        |
    | default 192.0.2.1, 2001:db8::1     |            |       2001:db8:1::1/128      |
    +------------------------------------+            +------------------------------+

The gateway's address means the host's loopback to the guest, so tests that want the remote side use what it has on lo.
198.51.100.9 and 2001:db8:1::9 are unreachable (the remote side says so), 203.0.113.0/24 and 2001:db8:3::/64 drop everything silently,
198.51.100.64/26 and 2001:db8:1:1::/64 are a network behind the remote side, with nobody there.
"""
from . import netns
from .wait import until

HOST4, HOST6 = "192.0.2.2", "2001:db8::2"
GW4, GW6 = "192.0.2.1", "2001:db8::1"
REMOTE4, REMOTE6 = "198.51.100.1", "2001:db8:1::1"
UNREACHABLE4, UNREACHABLE6 = "198.51.100.9", "2001:db8:1::9"
FAR4, FAR6 = "198.51.100.77", "2001:db8:1:1::77"
SILENT4, SILENT6 = "203.0.113.9", "2001:db8:3::9"


class Topology:
    def __init__(self, workdir, mtu=65520, ping=True, resolv="nameserver 198.51.100.53\nsearch example.org example.net\n"):
        self.host = netns.Ns("host")
        self.remote = netns.Ns("remote", parent=self.host)
        host, remote = self.host, self.remote
        self._join(mtu)
        for ns, v4, v6 in (host, HOST4, HOST6), (remote, GW4, GW6):
            ns.write("/proc/sys/net/ipv6/conf/eth0/accept_dad", "0")
            if ping:
                ns.write("/proc/sys/net/ipv4/ping_group_range", "0 0")
            ns.ip("address", "add", f"{v4}/24", "dev", "eth0")
            ns.ip("address", "add", f"{v6}/64", "dev", "eth0", "nodad")
            ns.ip("link", "set", "eth0", "up")
        self._routes()
        self._settle()
        host.bind_file("/etc/resolv.conf", resolv, f"{workdir}/resolv.conf")

    def _join(self, mtu):
        """Makes eth0 of both."""
        # With the same index at both ends the kernel takes up to a second to notice that the link is up.
        near, far = (["name", "eth0", "index", i, "mtu", mtu] for i in (10, 11))
        self.host.ip("link", "add", *near, "type", "veth", "peer", *far, "netns", self.remote.pid)

    def _routes(self):
        host, remote = self.host, self.remote
        remote.ip("address", "add", f"{REMOTE4}/32", "dev", "lo")
        remote.ip("address", "add", f"{REMOTE6}/128", "dev", "lo", "nodad")
        remote.write("/proc/sys/net/ipv4/ip_forward", "1")
        remote.write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
        # An error for every packet. Not icmp_ratelimit 0, which leaves the errors of unreachable routes no tokens.
        remote.write("/proc/sys/net/ipv4/icmp_ratemask", "0")
        remote.write("/proc/sys/net/ipv6/icmp/ratelimit", "0")
        remote.ip("route", "add", "unreachable", f"{UNREACHABLE4}/32")
        remote.ip("-6", "route", "add", "unreachable", f"{UNREACHABLE6}/128")
        remote.ip("link", "add", "far", "type", "veth", "peer", "name", "nobody")
        for dev in "far", "nobody":
            remote.ip("link", "set", dev, "up")
        remote.ip("route", "add", "198.51.100.64/26", "dev", "far")
        remote.ip("-6", "route", "add", "2001:db8:1:1::/64", "dev", "far")
        remote.ip("route", "add", "blackhole", "203.0.113.0/24")
        remote.ip("-6", "route", "add", "blackhole", "2001:db8:3::/64")
        host.ip("route", "add", "default", "via", GW4, "dev", "eth0")
        host.ip("-6", "route", "add", "default", "via", GW6, "dev", "eth0")

    def _settle(self):
        """For the first second of a new link IPv6 gets lost on it: no test is to take that for a fault of the program's."""
        for addr in REMOTE4, REMOTE6:
            until(lambda a=addr: not self.host.run("ping", "-n", "-c", "1", "-W", "1", a, check=False).returncode, f"the host reaches {addr}")

    def close(self):
        self.remote.close()
        self.host.close()
