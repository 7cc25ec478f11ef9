# SPDX-License-Identifier: MIT
"""How the program is started for the test guest, and how the guest gets its addresses."""

OPTIONS = ["-t", "8080-8085", "-u", "5000-5005", "--dns-forward", "192.0.2.53", "--dns-host", "127.0.0.53", "-D", "192.0.2.53"]
DHCP = "udhcpc -i eth0 -n -q -f -O search -O mtu -s /etc/udhcpc-script"


def configure(vm):
    """Addresses as any guest gets them: DHCP, and SLAAC from router advertisements."""
    vm.sh("ip link set eth0 up; " + DHCP)
    wait_ipv6(vm)


def wait_ipv6(vm):
    """Waits for the address of router advertisements, the end of duplicate address detection, and the default route."""
    vm.until("ip -6 addr show dev eth0 | grep 2001:db8: | grep -qv tentative", "IPv6 address")
    vm.until("! ip -6 addr show dev eth0 | grep -q tentative", "end of duplicate address detection")
    vm.until("ip -6 route | grep -q ^default", "IPv6 default route")
