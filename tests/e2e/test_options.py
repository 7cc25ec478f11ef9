# SPDX-License-Identifier: MIT
"""
Wrong options: one clear line that names the word, status 1, and nothing left behind.
"""
import pytest

from lab.program import binary

# (options, what the message has to contain)
BAD = [
    (["--address", "1.2.3"], ["1.2.3"]),
    (["--address", "192.0.2.1/33"], ["192.0.2.1/33"]),
    (["--address", "192.0.2.1/0"], ["192.0.2.1/0"]),
    (["--address", "2001:db8::1/129"], ["2001:db8::1/129"]),
    (["--address", "127.0.0.1"], ["127.0.0.1"]),
    (["--address", "224.0.0.1"], ["224.0.0.1"]),
    (["--address", "192.0.2.5/24", "--netmask", "24"], ["Redundant prefix length specification"]),
    (["--netmask", "255.0.255.0"], ["255.0.255.0"]),
    (["--netmask", "33"], ["33"]),
    (["--netmask", "x"], ["x"]),
    (["--gateway", "gateway"], ["gateway"]),
    (["--gateway", "0.0.0.0"], ["0.0.0.0"]),
    (["--mtu", "65522"], ["MTU 65522 too large (max 65521)"]),
    (["--mtu", "99999999999999999999"], ["99999999999999999999"]),
    (["--mtu", "-1"], ["-1"]),
    (["--mtu", "1500x"], ["1500x"]),
    (["--mtu", ""], ["mtu"]),
    (["--mac-addr", "52:54:00:12:34"], ["52:54:00:12:34"]),
    (["--mac-addr", "52:54:00:12:34:5g"], ["52:54:00:12:34:5g"]),
    (["--dns", "resolver"], ["resolver"]),
    (["--dns", "0.0.0.0"], ["0.0.0.0"]),
    (["--search", "exa mple..org"], ["mple..org"]),
    (["--hostname", "a" * 300], ["hostname"]),
    (["--dns-forward", "nowhere"], ["nowhere"]),
    (["--dns-host", "nowhere"], ["nowhere"]),
    (["--map-host-loopback", "nowhere"], ["nowhere"]),
    (["--map-guest-addr", "127.0.0.1"], ["127.0.0.1"]),
    (["--outbound", "nowhere"], ["nowhere"]),
    (["--outbound-if4", "a-name-that-is-too-long"], ["a-name-that-is-too-long"]),
    (["--interface", "nosuch0"], ["nosuch0"]),
    (["--runas", "no-such-user"], ["Invalid --runas option", "no-such-user"]),
    (["--log-size", "1000"], ["Invalid --log-size", "1000"]),
    (["--log-file", "/no/such/directory/log"], ["/no/such/directory/log"]),
    (["--pcap", "/no/such/directory/pcap"], ["/no/such/directory/pcap"]),
    (["--ipv4-only", "--ipv6-only"], ["--ipv4-only", "--ipv6-only"]),
    (["-4", "-a", "2001:db8::1"], ["--address 2001:db8::1 is for IPv6"]),
    (["-6", "-g", "192.0.2.1"], ["--gateway 192.0.2.1 is for IPv4"]),
    (["-t", "[::1/80"], ["[::1/80", "bracket"]),
    (["-t", "224.0.0.1/80"], ["224.0.0.1/80", "multicast"]),
    (["stray"], ["Extra non-option argument", "stray"]),
    (["--config-net"], ["config-net", "pasta"]),
    (["--netns", "x"], ["netns", "pasta"]),
    (["--tcp-ns", "80"], ["tcp-ns", "pasta"]),
    (["--no-such-option"], ["unrecognized option '--no-such-option'"]),
    (["-y"], ["invalid option -- 'y'"]),
    (["--mtu"], ["option '--mtu' requires an argument"]),
    (["-t", "0"], ["'0'"]),
    (["-t", "65536"], ["'65536'"]),
    (["-t", "80,"], ["'80,'"]),
    (["-t", "80-70"], ["'80-70'"]),
    (["-t", "80-90:100-105"], ["'80-90:100-105'"]),
    (["-t", "80x"], ["'80x'"]),
    (["-t", ""], ["''"]),
    (["-t", "auto"], ["'auto' port forwarding is only allowed for pasta"]),
    (["-t", "80", "-t", "80"], ["Forwarding configuration conflict"]),
    (["-t", "all", "-t", "80"], ["Forwarding configuration conflict"]),
    (["-t", "0.0.0.0/80", "-t", "127.0.0.1/80"], ["Forwarding configuration conflict"]),
    (["-t", "80", "-t", "none"], ["-t none conflicts with previous options"]),
    (["-t", "80:192.0.2.5/80"], ["Dual stack forward to IPv4 address 192.0.2.5 unsupported"]),
    (["-4", "-t", "::1/80"], ["IPv6 forward, but IPv6 not enabled"]),
    (["-t", "::1/80", "-4"], ["IPv6 forward, but IPv6 not enabled"]),
    (["-t", "80", "--no-tcp"], ["-t", "tcp"]),
    (["-u", "192.0.2.999/80"], ["192.0.2.999/80"]),
    (["-t", "192.0.2.77/8080"], ["Listen failed for HOST TCP port 192.0.2.77/8080"]),
    (["--socket", "/no/such/directory/socket"], ["/no/such/directory/socket"]),
    (["--socket", "/tmp/" + "x" * 120], ["x" * 20]),
    (["--fd", "77"], ["77"]),
    (["--fd", "x"], ["x"]),
]


@pytest.mark.parametrize("options,words", BAD, ids=[" ".join(o)[:40] or "empty" for o, _ in BAD])
@pytest.mark.parametrize("mode", ["foreground", "daemon"])
def test_bad_option(net, tmp_path, mode, options, words):
    argv = [binary(), "--pid", tmp_path / "pid"] + ([] if "--fd" in options or "--socket" in options else ["--socket", tmp_path / "s"])
    done = net.host.run(*argv, *(["-f"] if mode == "foreground" else []), *options, check=False, timeout=30)
    assert done.returncode == 1, f"status {done.returncode}: {done.stdout}{done.stderr}"
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if all(w.lower() in line.lower() for w in words)]
    assert said, done.stderr
    assert not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text()
    assert not (tmp_path / "s").exists() or not (tmp_path / "s").is_socket() or "Listen" in done.stderr


GOOD = [
    ["--mtu", "0"],
    ["--mtu=65521"],
    ["-m1400"],
    ["--mtu", "60"],
    ["-a", "10.0.2.0", "-n", "24", "-g", "10.0.2.2", "--dns-forward", "10.0.2.3"],
    ["-a", "169.254.2.15", "-n", "16", "-M", "52:56:00:00:00:02", "-g", "169.254.2.2"],
    ["-a", "192.0.2.9/24", "-a", "2001:db8::9"],
    ["-t", "none", "-u", "none"],
    ["-t", "none", "-t", "80"],
    ["-t", "[127.0.0.1]/80"],
    ["-6", "--dns-forward", "169.254.1.1", "--map-guest-addr", "169.254.1.2"],
    ["-t6443:192.0.2.2/6443", "-4"],
    ["-t", "~15000,~15001,80"],
    ["--search", "a.example b.example c.example"],
    ["-D", "none", "-S", "none"],
    ["--no-dhcp-dns", "--no-dhcp-search", "--no-map-gw"],
    ["--map-host-loopback", "192.0.2.8", "--map-host-loopback", "2001:db8::8"],
    ["--map-host-loopback", "none", "--map-guest-addr", "none"],
    ["--stderr"],
    ["-q", "-d"],
    ["--inter", "eth0"],
    ["--outbound", "192.0.2.2", "--outbound-if6", "eth0"],
    ["--hostname", "box", "--fqdn", "box.example.org"],
    ["--no-tcp", "--no-udp", "--no-icmp", "--no-dhcp", "--no-dhcpv6", "--no-ndp", "--no-ra"],
]


@pytest.mark.parametrize("options", GOOD, ids=" ".join)
def test_good_options(net, tmp_path, options):
    """Accepted, and ready: the socket is there."""
    pid = tmp_path / "pid"
    done = net.host.run(binary(), "--socket", tmp_path / "s", "--pid", pid, *options, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "s").is_socket()
    net.host.run("kill", pid.read_text().strip())
