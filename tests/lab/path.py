# SPDX-License-Identifier: MIT
"""
A path of several hops, whose middle is narrower than its ends; documentation addresses throughout.

    +-- host ------------+    +-- r1 ------------------+    +-- r2 ------------------+    +-- far -------------+
    | eth0 192.0.2.2/24  |    | eth0 192.0.2.1/24      |    | west 198.51.100.2/24   |    | eth0 203.0.113.2   |
    |      2001:db8::2   |----|      2001:db8::1       |    |    2001:db8:1::2       |    |      2001:db8:2::2 |
    |                    |9000| east 198.51.100.1/24   |----| east 203.0.113.1/24    |----|                    |
    |                    |    |      2001:db8:1::1     |1400|      2001:db8:2::1     |9000|                    |
    +--------------------+    +------------------------+    +------------------------+    +--------------------+

r2 refuses 198.51.101.0/24 and 2001:db8:1:1::/64, each address in a way of its own (REFUSED).
"""
from . import netns
from .topology import GW4, GW6, HOST4, HOST6
from .wait import until

WIDE, NARROW = 9000, 1400
MID4, MID6 = "198.51.100.2", "2001:db8:1::2"
NEAR = {"v4": "198.51.100.1", "v6": "2001:db8:1::1"}
FAR4, FAR6 = "203.0.113.2", "2001:db8:2::2"
HOPS = {"v4": [GW4, MID4, FAR4], "v6": [GW6, MID6, FAR6]}
FAR = {"v4": FAR4, "v6": FAR6}
# What r2 says of an address: kind of route, and code of the message
REFUSED = {
    "v4": {"198.51.101.1": ("unreachable", 1), "198.51.101.3": ("prohibit", 13)},
    "v6": {"2001:db8:1:1::1": ("unreachable", 3), "2001:db8:1:1::3": ("prohibit", 1)},
}


def _wire(a, name_a, b, name_b, mtu):
    a.ip("link", "add", name_a, "mtu", mtu, "type", "veth", "peer", "name", name_b, "mtu", mtu, "netns", b.pid)
    for ns, dev in (a, name_a), (b, name_b):
        ns.write(f"/proc/sys/net/ipv6/conf/{dev}/accept_dad", "0")
        ns.ip("link", "set", dev, "up")


class Path:
    def __init__(self):
        self.host = netns.Ns("host")
        self.r1, self.r2, self.far = (netns.Ns(name, parent=self.host) for name in ("r1", "r2", "far"))
        _wire(self.host, "eth0", self.r1, "eth0", WIDE)
        _wire(self.r1, "east", self.r2, "west", NARROW)
        _wire(self.r2, "east", self.far, "eth0", WIDE)
        for ns, dev, v4, v6 in (
            (self.host, "eth0", HOST4, HOST6),
            (self.r1, "eth0", GW4, GW6),
            (self.r1, "east", *NEAR.values()),
            (self.r2, "west", MID4, MID6),
            (self.r2, "east", "203.0.113.1", "2001:db8:2::1"),
            (self.far, "eth0", FAR4, FAR6),
        ):
            ns.ip("address", "add", f"{v4}/24", "dev", dev)
            ns.ip("address", "add", f"{v6}/64", "dev", dev, "nodad")
        self._routes()
        for addr in FAR4, FAR6:
            until(lambda a=addr: not self.host.run("ping", "-n", "-c", "1", "-W", "1", a, check=False).returncode, f"the host reaches {addr}")

    def _routes(self):
        self.host.write("/proc/sys/net/ipv4/ping_group_range", "0 0")
        for ns, to4, to6 in (self.host, GW4, GW6), (self.r1, MID4, MID6), (self.far, "203.0.113.1", "2001:db8:2::1"):
            ns.ip("route", "add", "default", "via", to4)
            ns.ip("-6", "route", "add", "default", "via", to6)
        self.r2.ip("route", "add", "192.0.2.0/24", "via", NEAR["v4"])
        self.r2.ip("-6", "route", "add", "2001:db8::/64", "via", NEAR["v6"])
        for family, addresses in REFUSED.items():
            for addr, (kind, _) in addresses.items():
                self.r2.ip("-" + family[1], "route", "add", kind, addr)
        for ns in self.r1, self.r2, self.far:
            ns.write("/proc/sys/net/ipv4/ip_forward", "1")
            ns.write("/proc/sys/net/ipv6/conf/all/forwarding", "1")
            # An error for every packet. Not icmp_ratelimit 0, which leaves the errors of unreachable routes no tokens.
            ns.write("/proc/sys/net/ipv4/icmp_ratemask", "0")
            ns.write("/proc/sys/net/ipv6/icmp/ratelimit", "0")

    def narrow(self, mtu):
        """Another MTU in the middle, from now on."""
        self.r1.ip("link", "set", "east", "mtu", mtu)
        self.r2.ip("link", "set", "west", "mtu", mtu)

    def forget(self):
        """The host knows nothing any more of what it has learned of paths."""
        self.host.ip("route", "flush", "cache")
        self.host.ip("-6", "route", "flush", "cache")

    def close(self):
        for ns in self.far, self.r2, self.r1, self.host:
            ns.close()
