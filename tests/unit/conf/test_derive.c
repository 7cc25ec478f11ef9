/* SPDX-License-Identifier: MIT */
/* Options and host -> configuration. Three hosts: one with both families, one with a point-to-point link, one with nothing. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "conf/derive.h"

static struct opts o;
static struct host h;
static struct conf c;
static char err[DERIVE_ERR_LEN];
static char logged[8192]; /* all lines of a derive(), each with a newline */

static void sink(void *ctx, enum log_level level, const char *line)
{
	strcat(logged, line);
	strcat(logged, "\n");
}

static struct addr A(const char *s) {
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void
eq(const struct addr *a, const char *want)
{
	char buf[ADDR_STRLEN];

	assert_string_equal(addr_fmt(a, buf), want);
}

static void host_none(void)
{
	memset(&h, 0, sizeof(h));
	h.eph_first = 32768;
	h.eph_last = 60999;
}

static void host_full(void)
{
	host_none();
	h.v4 = (struct host_family){ .ifindex = 2, .ifname = "eth0", .addr = A("192.0.2.2"), .plen = 24, .gw = A("192.0.2.1") };
	h.v6 = (struct host_family){ .ifindex = 2, .ifname = "eth0", .addr = A("2001:db8::2"), .plen = 64, .gw = A("fe80::1234") };
	h.resolv.dns[0] = A("10.255.255.53");
	h.resolv.dns[1] = A("2001:db8::53");
	h.resolv.n_dns = 2;
	strcpy(h.resolv.search[0], "example.org");
	h.resolv.n_search = 1;
}

static void host_ppp(void)
{
	host_none();
	h.v4 = (struct host_family){ .ifindex = 7, .ifname = "ppp0", .addr = A("198.51.100.7"), .plen = 32 };
}

static int run(const char *line)
{
	static char text[1024];
	char *argv[64] = { (char *)"passt" };
	int argc = 1;
	char *save;

	strcpy(text, line);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	logged[0] = err[0] = '\0';
	if (opts_parse(CONF_PASST, argc, argv, &o) != OPTS_RUN)
		fail_msg("%s: %s", line, o.err);
	log_set_sink(sink, NULL);
	memset(&c, 0, sizeof(c));
	return derive(&o, &h, &c, err);
}

static void run_ok(const char *line)
{
	if (run(line))
		fail_msg("%s: %s", line, err);
}

static void run_err(const char *line, const char *want)
{
	assert_int_equal(run(line), -EINVAL);
	assert_string_equal(err, want);
}

/* Large tables, of which no page is to be touched that no rule is in. */
static void test_tables_untouched(void **state)
{
	host_full();
	run_ok("");
	c.in.rule[0].to = c.out_rules.rule[0].to = 7;
	assert_int_equal(derive(&o, &h, &c, err), 0);
	assert_int_equal(c.in.rule[0].to + c.out_rules.rule[0].to, 14);
}

static void test_defaults(void **state)
{
	char mac[MAC_STRLEN];

	host_full();
	run_ok("");
	assert_string_equal(logged, "");
	assert_true(c.v4 && c.v6 && c.tcp && c.udp && c.icmp);
	assert_int_equal(c.mtu, 65520);
	assert_int_equal(c.guest.mtu, 65520);
	assert_int_equal(c.fd, -1);
	assert_false(c.one_off || c.fixed4 || c.fixed6 || c.have_runas);
	assert_int_equal(c.log_size, 1 << 20);
	assert_string_equal(mac_fmt(c.guest.our_mac, mac), "9a:55:9a:55:9a:55");
	assert_true(c.guest.dhcp && c.guest.dhcp6 && c.guest.ndp && c.guest.ra && c.guest.dns && c.guest.search_on);

	eq(&c.guest.addr4, "192.0.2.2");
	assert_int_equal(c.guest.plen4, 24);
	eq(&c.guest.gw4, "192.0.2.1");
	eq(&c.guest.our4, "192.0.2.1");
	assert_int_equal(c.guest.n_route4, 0);
	eq(&c.guest.addr6, "2001:db8::2");
	eq(&c.guest.our_ll6, "fe80::1234");
	eq(&c.guest.gw6, "::");
	assert_int_equal(c.guest.n_dns4, 1);
	eq(&c.guest.dns4[0], "10.255.255.53");
	assert_int_equal(c.guest.n_dns6, 1);
	eq(&c.guest.dns6[0], "2001:db8::53");
	assert_int_equal(c.guest.n_search, 1);

	eq(&c.nat.v4.our, "192.0.2.1");
	eq(&c.nat.v4.map_loopback, "192.0.2.1");
	eq(&c.nat.v4.host, "192.0.2.2");
	eq(&c.nat.v4.map_guest, "::");
	eq(&c.nat.v4.dns_forward, "::");
	eq(&c.nat.v6.map_loopback, "fe80::1234");
	eq(&c.nat.our_ll6, "fe80::1234");
	assert_string_equal(c.template4, "eth0");
	assert_string_equal(c.template6, "eth0");
	assert_int_equal(c.out.scope6, 2);
}

static void test_local(void **state)
{
	host_none();
	run_ok("");
	assert_string_equal(logged, "IPv4: no external interface as template, use local mode\n"
				    "IPv6: no external interface as template, use local mode\n"
				    "Couldn't get any nameserver address\n");
	eq(&c.guest.addr4, "169.254.2.1");
	assert_int_equal(c.guest.plen4, 16);
	eq(&c.guest.gw4, "169.254.2.2");
	eq(&c.guest.addr6, "::");
	eq(&c.guest.our_ll6, "fe80::1");
	assert_true(c.guest.dhcp && c.guest.ndp && !c.guest.dhcp6);
	assert_string_equal(c.template4, "");
	eq(&c.nat.v4.host, "::");

	/* One family only says nothing of the other. */
	run_ok("-4 -D none");
	assert_string_equal(logged, "IPv4: no external interface as template, use local mode\n");
	assert_false(c.v6 || c.guest.v6 || c.guest.ndp || c.guest.ra || c.guest.dhcp6);
	run_ok("-6 -D none");
	assert_false(c.v4 || c.guest.v4 || c.guest.dhcp);
	eq(&c.guest.addr4, "::");

	/* With addresses of its own it is a full configuration. */
	run_ok("-a 169.254.2.15 -n 16 -g 169.254.2.2 -a fd00::2");
	eq(&c.guest.addr4, "169.254.2.15");
	eq(&c.guest.gw4, "169.254.2.2");
	eq(&c.guest.addr6, "fd00::2");
	assert_true(c.guest.dhcp6);
	assert_true(c.fixed4 && c.fixed6);
}

static void test_gateways(void **state)
{
	static const struct {
		const char *line, *gw;
		unsigned plen, routes;
	} t[] = {
		{ "-a 192.0.2.9 -n 24", "192.0.2.1", 24, 0 },
		{ "-a 192.0.2.9", "192.0.2.1", 24, 0 }, /* by class */
		{ "-a 10.0.2.0/24", "10.0.2.254", 24, 0 },
		{ "-a 10.0.2.254/24", "10.0.2.253", 24, 0 },
		{ "-a 10.0.2.15", "10.255.255.254", 8, 0 },
		{ "-a 10.0.2.1/30", "10.0.2.2", 30, 0 },
		{ "-a 10.0.2.2/30", "10.0.2.1", 30, 0 },
		{ "-a 10.0.2.2/31", "10.0.2.3", 31, 0 },
		{ "-a 10.0.2.2/32", "169.254.2.2", 32, 1 },
		{ "-a 192.0.2.1/24", "192.0.2.254", 24, 0 }, /* the host's gateway */
		{ "-g 192.0.2.77", "192.0.2.77", 24, 0 },
		{ "-g 10.9.9.9", "10.9.9.9", 24, 1 },
		{ "-n 16", "192.0.2.1", 16, 0 },
		{ "-n 255.255.255.255", "192.0.2.1", 32, 1 },
	};

	host_full();
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		run_ok(t[i].line);
		eq(&c.guest.gw4, t[i].gw);
		eq(&c.guest.our4, t[i].gw);
		eq(&c.nat.v4.map_loopback, t[i].gw);
		assert_int_equal(c.guest.plen4, t[i].plen);
		assert_int_equal(c.guest.n_route4, t[i].routes);
	}

	/* A gateway outside of the network needs a route on the link. */
	run_ok("-g 10.9.9.9");
	eq(&c.guest.route4[0].dst, "10.9.9.9");
	assert_int_equal(c.guest.route4[0].plen, 32);
	eq(&c.guest.route4[0].gw, "0.0.0.0");

	host_ppp();
	run_ok("");
	eq(&c.guest.addr4, "198.51.100.7");
	eq(&c.guest.gw4, "169.254.2.2");
	assert_int_equal(c.guest.n_route4, 1);
	h.v4.plen = 24;
	run_ok("");
	eq(&c.guest.gw4, "198.51.100.254");
	/* An interface, but no address. */
	h.v4.addr = addr_any6;
	run_ok("");
	eq(&c.guest.addr4, "169.254.2.1");
	eq(&c.guest.gw4, "169.254.2.2");
	assert_string_equal(c.template4, "ppp0");
}

static void test_gateways6(void **state)
{
	host_full();
	h.v6.gw = A("2001:db8::1");
	run_ok("");
	eq(&c.guest.our_ll6, "fe80::9855:9aff:fe55:9a55");
	eq(&c.guest.gw6, "2001:db8::1");
	eq(&c.nat.v6.our, "2001:db8::1");
	eq(&c.nat.v6.map_loopback, "2001:db8::1");
	run_ok("-M 52:54:00:12:34:56");
	eq(&c.guest.our_ll6, "fe80::9855:9aff:fe55:9a55");
	assert_true(c.guest.mac_given);
	run_ok("-g fe80::77");
	eq(&c.guest.our_ll6, "fe80::77");
	eq(&c.guest.gw6, "::");
	h.v6.gw = addr_any6;
	run_ok("");
	eq(&c.guest.our_ll6, "fe80::9855:9aff:fe55:9a55");
	eq(&c.nat.v6.map_loopback, "fe80::9855:9aff:fe55:9a55");
	run_ok("-a fd00::1/48");
	assert_non_null(strstr(logged, "/48"));
}

static void test_routes(void **state)
{
	host_full();
	h.v4.route[0] = (struct guestconf_route){ .dst = A("10.1.0.0"), .plen = 16, .gw = A("192.0.2.7") };
	h.v4.route[1] = (struct guestconf_route){ .dst = A("10.2.0.0"), .plen = 16, .gw = addr_any6 };
	h.v4.route[2] = (struct guestconf_route){ .dst = A("10.3.0.0"), .plen = 16, .gw = A("172.16.0.1") };
	h.v4.n_routes = 3;
	run_ok("");
	assert_int_equal(c.guest.n_route4, 2);
	eq(&c.guest.route4[0].gw, "192.0.2.7");
	eq(&c.guest.route4[1].dst, "10.2.0.0");
	eq(&c.guest.route4[1].gw, "0.0.0.0");
	run_ok("-a 192.0.2.9");
	assert_int_equal(c.guest.n_route4, 0);
	run_ok("-g 192.0.2.9");
	assert_int_equal(c.guest.n_route4, 0);

	/* The route to a gateway outside counts into the limit, and comes first. */
	h.v4.gw = A("203.0.113.1");
	for (unsigned i = 0; i < GUESTCONF_ROUTES; i++)
		h.v4.route[i] = h.v4.route[1];
	h.v4.n_routes = GUESTCONF_ROUTES;
	run_ok("");
	assert_int_equal(c.guest.n_route4, GUESTCONF_ROUTES);
	eq(&c.guest.route4[0].dst, "203.0.113.1");
}

static void test_maps(void **state)
{
	host_full();
	run_ok("--no-map-gw");
	eq(&c.nat.v4.map_loopback, "::");
	eq(&c.nat.v6.map_loopback, "::");
	eq(&c.nat.v4.our, "192.0.2.1");
	run_ok("--map-host-loopback none");
	eq(&c.nat.v4.map_loopback, "::");
	run_ok("--no-map-gw --map-host-loopback 10.0.0.9");
	eq(&c.nat.v4.map_loopback, "10.0.0.9");
	eq(&c.nat.v6.map_loopback, "::");
	run_ok("--map-host-loopback 10.0.0.9");
	eq(&c.nat.v6.map_loopback, "fe80::1234");
	run_ok("--map-guest-addr 169.254.1.2 --map-guest-addr fd00::9");
	eq(&c.nat.v4.map_guest, "169.254.1.2");
	eq(&c.nat.v6.map_guest, "fd00::9");
}

/* What the guest is told, separated by spaces, and what is forwarded where (IPv4). */
static void expect_dns(const char *line, const char *told, const char *forward, const char *to)
{
	char got[1024] = "", buf[ADDR_STRLEN];

	run_ok(line);
	for (unsigned i = 0; i < c.guest.n_dns4; i++) {
		strcat(got, i ? " " : "");
		strcat(got, addr_fmt(&c.guest.dns4[i], buf));
	}
	assert_string_equal(got, told);
	eq(&c.nat.v4.dns_forward, forward);
	eq(&c.nat.v4.dns_host, to);
}

static void test_dns(void **state)
{
	host_full();
	expect_dns("", "10.255.255.53", "::", "::");
	expect_dns("-D none", "", "::", "::");
	expect_dns("-D 10.0.0.1 -D 10.0.0.1 -D 10.0.0.2", "10.0.0.1 10.0.0.2", "::", "::");
	assert_int_equal(c.guest.n_dns6, 0);
	expect_dns("--dns-forward 10.0.2.3", "10.255.255.53", "10.0.2.3", "10.255.255.53");
	expect_dns("--dns-forward 10.0.2.3 -D none", "", "10.0.2.3", "10.255.255.53");
	expect_dns("--dns-forward 10.0.2.3 --dns-host 127.0.0.1", "10.255.255.53", "10.0.2.3", "127.0.0.1");

	/* A resolver on loopback is reached by the gateway's address, and it need not be 127.0.0.1. */
	h.resolv.dns[0] = A("127.0.0.53");
	h.resolv.n_dns = 1;
	expect_dns("", "192.0.2.1", "192.0.2.1", "127.0.0.53");
	assert_string_equal(logged, "");
	expect_dns("--no-map-gw", "", "::", "::");
	assert_string_equal(logged, "Couldn't get any nameserver address\n");
	expect_dns("--no-map-gw --no-dhcp-dns", "", "::", "::");
	assert_string_equal(logged, "");
	expect_dns("--no-map-gw --dns-forward 10.0.2.3", "10.0.2.3", "10.0.2.3", "127.0.0.53");
	expect_dns("--dns-forward 10.0.2.3", "10.0.2.3", "10.0.2.3", "127.0.0.53");
	expect_dns("--map-host-loopback 10.0.2.9", "10.0.2.9", "10.0.2.9", "127.0.0.53");

	/* A resolver at the gateway's address stays what it is, whatever that address is mapped to. */
	h.resolv.dns[0] = A("192.0.2.1");
	expect_dns("", "192.0.2.1", "192.0.2.1", "192.0.2.1");
	expect_dns("--no-map-gw", "192.0.2.1", "::", "::");
	/* One at the host's own address, which is the guest's as well. */
	h.resolv.dns[0] = A("192.0.2.2");
	expect_dns("", "192.0.2.1", "192.0.2.1", "192.0.2.2");
	expect_dns("-a 192.0.2.9/24", "192.0.2.2", "::", "::");

	h.resolv.n_dns = 0;
	expect_dns("--dns-forward 10.0.2.3", "", "::", "::");
	assert_string_equal(logged, "No IPv4 name server to forward queries for 10.0.2.3 to (--dns-forward)\n"
				    "Couldn't get any nameserver address\n");
	expect_dns("--dns-forward 10.0.2.3 --dns-host 10.9.9.9", "10.0.2.3", "10.0.2.3", "10.9.9.9");
	expect_dns("--dns-forward 10.0.2.3 -D 10.8.8.8", "10.8.8.8", "10.0.2.3", "10.8.8.8");
	/* Servers of a family that is off are of no use. */
	expect_dns("-6 -D 10.0.0.1", "", "::", "::");
}

static void test_search(void **state)
{
	host_full();
	run_ok("-S none");
	assert_int_equal(c.guest.n_search, 0);
	run_ok("-S a -S b");
	assert_int_equal(c.guest.n_search, 2);
	assert_string_equal(c.guest.search[1], "b");
	run_ok("--no-dhcp-search");
	assert_false(c.guest.search_on);
}

static void test_mtu(void **state)
{
	host_full();
	run_ok("-m 1500");
	assert_int_equal(c.mtu, 1500);
	assert_int_equal(c.guest.mtu, 1500);
	run_ok("-m 0");
	assert_int_equal(c.mtu, 1500);
	assert_int_equal(c.guest.mtu, 0);
	run_ok("-m 65521");
	assert_int_equal(c.mtu, 65521);
	run_ok("-m 1279");
	assert_string_equal(logged, "MTU 1279 is too small for IPv6 (minimum 1280)\n");
	run_ok("-4 -m 1279");
	assert_string_equal(logged, "");
	run_ok("-4 -m 20");
	assert_string_equal(logged, "MTU 20 is too small for IPv4 (minimum 68)\n");
	assert_int_equal(c.guest.mtu, 20);
	assert_int_equal(c.mtu, 68);
}

static void test_outbound(void **state)
{
	host_full();
	run_ok("-o 192.0.2.2 -o :: --outbound-if4 eth1");
	eq(&c.out.addr4, "192.0.2.2");
	eq(&c.out.addr6, "::");
	assert_string_equal(c.out.if4, "eth1");
	run_ok("-o 0.0.0.0");
	eq(&c.out.addr4, "::");
	h.out6 = 9;
	run_ok("--outbound-if6 eth2");
	assert_int_equal(c.out.scope6, 9);
}

static void test_switches(void **state)
{
	host_full();
	run_ok("--no-tcp --no-udp --no-icmp --no-dhcp --no-dhcpv6 --no-ra --no-dhcp-dns -H h -f -1 -P /p -p /c -l /l --log-size 50000 "
	       "--runas 1:2");
	assert_false(c.tcp || c.udp || c.icmp || c.guest.dhcp || c.guest.dhcp6 || c.guest.ra || c.guest.dns);
	assert_true(c.guest.ndp && c.foreground && c.one_off && c.have_runas);
	assert_string_equal(c.guest.hostname, "h");
	assert_string_equal(c.pid_file, "/p");
	assert_string_equal(c.pcap_file, "/c");
	assert_string_equal(c.log_file, "/l");
	assert_int_equal(c.log_size, 50000);
	assert_int_equal(c.runas_uid, 1);
	assert_int_equal(c.runas_gid, 2);
	assert_false(c.vhost_user);
	run_ok("--no-ndp --vhost-user");
	assert_false(c.guest.ndp || c.guest.ra);
	assert_true(c.vhost_user);
	run_ok("-F 0");
	assert_true(c.one_off);
	assert_int_equal(c.fd, 0);
	run_ok("-F 7 -s /tmp/s");
	assert_false(c.one_off);
	assert_string_equal(c.socket_path, "/tmp/s");
}

static void test_conflicts(void **state)
{
	host_full();
	run_err("-a 10.0.0.1 -g 10.0.0.1", "Address 10.0.0.1 can't be that of --address and of --gateway");
	run_err("--map-guest-addr fd00::1 --map-host-loopback fd00::1",
		"Address fd00::1 can't be that of --map-guest-addr and of --map-host-loopback");
	run_err("-g 192.0.2.2", "Invalid gateway: 192.0.2.2 is the guest's own address (--gateway)");
	run_err("-g 2001:db8::2", "Invalid gateway: 2001:db8::2 is the guest's own address (--gateway)");
	run_ok("-g 10.0.0.1 --map-host-loopback 10.0.0.1 --dns-forward 10.0.0.1");

	host_none();
	run_err("-i eth0", "External interface not usable: eth0 (--interface)");
	host_ppp();
	run_ok("-i ppp0");
	run_err("-6 -i ppp0", "External interface not usable: ppp0 (--interface)");
}

static void test_ports(void **state)
{
	host_full();
	run_ok("-t 80 -u 53 -t 22:2222");
	assert_int_equal(derive_ports(&o, &h, &c, err), 0);
	assert_int_equal(c.in.n, 3);
	assert_int_equal(c.in.rule[0].proto, IPPROTO_TCP);
	assert_int_equal(c.in.rule[1].proto, IPPROTO_UDP);
	assert_int_equal(c.in.rule[2].to, 2222);

	run_ok("-t 80 -u 53-54,~1-60");
	assert_int_equal(derive_ports(&o, &h, &c, err), 0);
	assert_int_equal(c.in.n, 1);
	assert_string_equal(logged, "Everything is excluded, no port is forwarded: -u 53-54,~1-60\n");
	run_ok("-t none -u 53-54,~54");
	assert_int_equal(derive_ports(&o, &h, &c, err), 0);
	assert_string_equal(logged, "");

	run_ok("-t 80 -t nonsense");
	assert_int_equal(derive_ports(&o, &h, &c, err), -EINVAL);
	assert_non_null(strstr(err, "nonsense"));
	run_ok("-t auto");
	assert_int_equal(derive_ports(&o, &h, &c, err), -EINVAL);

	/* The order of words is of no matter. */
	run_ok("-t 2001:db8::2/80 -4");
	assert_int_equal(derive_ports(&o, &h, &c, err), -EINVAL);
	run_ok("-t 80 --no-tcp");
	assert_int_equal(derive_ports(&o, &h, &c, err), -EINVAL);
	assert_string_equal(err, "Port forwarding of TCP, but TCP is disabled: -t 80");
	run_ok("-t none --no-tcp -u 1");
	assert_int_equal(derive_ports(&o, &h, &c, err), 0);
	assert_int_equal(c.in.n, 1);
}

/* The block that programs read addresses from. */
static void test_print(void **state)
{
	host_full();
	run_ok("-t 80");
	assert_int_equal(derive_ports(&o, &h, &c, err), 0);
	conf_print(&c);
	assert_non_null(
		strstr(logged, "\nDHCP:\n    assign: 192.0.2.2\n    mask: 255.255.255.0\n    router: 192.0.2.1\nDNS:\n    10.255"));
	assert_non_null(strstr(logged, "Template interface: eth0"));
	assert_non_null(strstr(logged, "MAC:\n    host: 9a:55:9a:55:9a:55\n"));
	assert_non_null(strstr(logged, "NAT to host 127.0.0.1: 192.0.2.1\n"));
	assert_non_null(strstr(logged, "\nNDP/DHCPv6:\n    assign: 2001:db8::2\n"));
	assert_non_null(strstr(logged, "\nInbound forwarding rules (HOST):\n    TCP "));

	run_ok("--no-dhcp -n 32");
	conf_print(&c);
	assert_null(strstr(logged, "\nDHCP:"));
	run_ok("-n 32");
	conf_print(&c);
	assert_non_null(strstr(logged, "    mask: 255.255.255.255\n"));
}

/* The same host is no change, whatever the options; see conf/follow.h for what else changes. */
static void test_again_same(void **state)
{
	static const char *const lines[] = {
		"",
		"--dns-forward 192.0.2.99",
		"-D 192.0.2.7 --dns-forward 192.0.2.99",
		"--no-map-gw",
		"--map-guest-addr 192.0.2.77",
		"-D none",
		"-4",
		"-S none",
		"-a 192.0.2.50 -g 192.0.2.60",
	};

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(lines); i++) {
		static struct conf before;

		host_full();
		if (i % 2)
			h.resolv.dns[0] = A("127.0.0.53");
		run_ok(lines[i / 2]);
		before = c;
		derive_again(&o, &h, &c);
		assert_memory_equal(&before, &c, sizeof(c));
	}
}

static void test_again(void **state)
{
	host_full();
	run_ok("--dns-forward 192.0.2.99 --map-guest-addr 192.0.2.77");
	h.v4 = (struct host_family){
		.ifindex = 3, .ifname = "wlan0", .addr = A("203.0.113.5"), .plen = 24, .gw = A("203.0.113.1")
	};
	h.v6 = (struct host_family){ .ifindex = 0 };
	h.resolv.dns[0] = A("203.0.113.1");
	h.resolv.n_dns = 1;
	strcpy(h.resolv.search[0], "example.com");
	derive_again(&o, &h, &c);
	eq(&c.nat.v4.host, "203.0.113.5");
	eq(&c.nat.v4.dns_host, "203.0.113.1");
	eq(&c.nat.v4.dns_forward, "192.0.2.99");
	eq(&c.nat.v4.map_guest, "192.0.2.77");
	assert_int_equal(c.guest.n_dns4, 1);
	eq(&c.guest.dns4[0], "203.0.113.1");
	assert_int_equal(c.guest.n_dns6, 0);
	assert_string_equal(c.guest.search[0], "example.com");
	/* What the guest has, and an address without another in its place. */
	eq(&c.guest.addr4, "192.0.2.2");
	eq(&c.guest.gw4, "192.0.2.1");
	eq(&c.nat.v6.host, "2001:db8::2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_gateways),
		cmocka_unit_test(test_gateways6),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_dns),
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_mtu),
		cmocka_unit_test(test_outbound),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_again_same),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_tables_untouched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
