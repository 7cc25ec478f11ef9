/* SPDX-License-Identifier: MIT */
/* Pasta mode: what the command line means, on a host with both families and on one with nothing. */
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
static char logged[8192]; /* all lines, each with a newline */

static void sink(void *ctx, enum log_level level, const char *line)
{
	strcat(logged, line);
	strcat(logged, "\n");
}

static struct addr address(const char *s)
{
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void eq(const struct addr *a, const char *want)
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
	h.v4 = (struct host_family){ .ifindex = 2, .ifname = "eth0", .addr = address("192.0.2.2"), .plen = 24 };
	h.v4.gw = address("192.0.2.1");
	h.v6 = (struct host_family){ .ifindex = 3, .ifname = "eth1", .addr = address("2001:db8::2"), .plen = 64 };
	h.v6.gw = address("fe80::1234");
	h.resolv.dns[0] = address("10.255.255.53");
	h.resolv.n_dns = 1;
	strcpy(h.resolv.search[0], "example.org");
	h.resolv.n_search = 1;
}

static enum opts_verdict parse_as(enum conf_mode mode, const char *line)
{
	static char text[2048];
	static char *argv[128];
	int argc = 1;
	char *save;

	argv[0] = (char *)"pasta";
	strcpy(text, line);
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save))
		argv[argc++] = w;
	argv[argc] = NULL;
	logged[0] = err[0] = '\0';
	memset(&c, 0, sizeof(c));
	log_set_sink(sink, NULL);
	return opts_parse(mode, argc, argv, &o);
}

static void parse_ok(const char *line)
{
	if (parse_as(CONF_PASTA, line) != OPTS_RUN)
		fail_msg("%s: %s", line, o.err);
}

static void run_ok(const char *line)
{
	parse_ok(line);
	if (derive(&o, &h, &c, err) || derive_ports(&o, &h, &c, err))
		fail_msg("%s: %s", line, err);
}

static void expect_err(enum conf_mode mode, const char *line, const char *want)
{
	if (parse_as(mode, line) != OPTS_ERROR)
		fail_msg("%s: no error", line);
	assert_string_equal(o.err, want);
}

static void test_words(void **state)
{
	static const struct {
		const char *line;
		const char *command[4];
		int pid;
		bool spawn, quiet;
	} t[] = {
		{ "", { NULL }, 0, true, true },
		{ "--", { NULL }, 0, true, true },
		{ "1234", { NULL }, 1234, false, false },
		{ "-q 1", { NULL }, 1, false, true },
		{ "-- 77", { NULL }, 77, false, false },
		{ "sh", { "sh" }, 0, true, true },
		{ "sh -c -q", { "sh", "-c", "-q" }, 0, true, true },
		{ "-d sh", { "sh" }, 0, true, false },
		{ "--trace sh", { "sh" }, 0, true, false },
		{ "-d -q sh", { "sh" }, 0, true, true },
		{ "-q -d sh", { "sh" }, 0, true, false },
		{ "-f -- --version", { "--version" }, 0, true, true },
		{ "-- sh --", { "sh", "--" }, 0, true, true },
		{ "1234 5", { "1234", "5" }, 0, true, true },
		{ "12x", { "12x" }, 0, true, true },
		{ "-q -f --runas 1000:1000 --splice-only -t none -u none -T 80 -U none -- bwrap x",
		  { "bwrap", "x" },
		  0,
		  true,
		  true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned n = 0;

		parse_ok(t[i].line);
		assert_int_equal(o.spawn, t[i].spawn);
		assert_int_equal(o.foreground, t[i].spawn);
		assert_int_equal(o.quiet, t[i].quiet);
		assert_int_equal(o.pid, t[i].pid);
		for (; t[i].command[n]; n++)
			assert_string_equal(o.command[n], t[i].command[n]);
		assert_int_equal(!!o.command, n > 0);
		if (o.command)
			assert_null(o.command[n]);
	}
	parse_ok("--netns /run/x");
	assert_false(o.spawn || o.foreground || o.quiet || o.command || o.pid);
}

static void test_errors(void **state)
{
	expect_err(CONF_PASTA, "--netns x sh", "Both --netns and a process or command: sh");
	expect_err(CONF_PASTA, "--netns x 1234", "Both --netns and a process or command: 1234");
	expect_err(CONF_PASTA, "--netns=", "Invalid network namespace:  (--netns)");
	expect_err(CONF_PASTA, "0", "Invalid process: 0");
	expect_err(CONF_PASTA, "2147483648", "Invalid process: 2147483648");
	expect_err(CONF_PASTA, "--userns /proc/1/ns/user sh", "--userns needs --netns or a process");
	expect_err(CONF_PASTA, "--userns /proc/1/ns/user", "--userns needs --netns or a process");
	expect_err(CONF_PASTA, "--userns /u --netns-only --netns x", "Options --userns and --netns-only exclude each other");
	expect_err(CONF_PASTA, "--splice-only --no-splice", "Options --splice-only and --no-splice exclude each other");
	expect_err(CONF_PASTA, "--no-copy-routes", "--no-copy-routes needs --config-net");
	expect_err(CONF_PASTA, "--no-copy-addrs", "--no-copy-addrs needs --config-net");
	expect_err(CONF_PASTA, "-I longer-than-fifteen", "Invalid interface name: longer-than-fifteen (--ns-ifname)");
	expect_err(CONF_PASTA, "-I lo", "Invalid interface name: lo (--ns-ifname)");
	expect_err(CONF_PASTA, "-I tap%d", "Invalid interface name: tap%d (--ns-ifname)");
	expect_err(CONF_PASTA, "--ns-mac-addr 01:00:00:00:00:00", "Invalid MAC address: 01:00:00:00:00:00 (--ns-mac-addr)");

	expect_err(CONF_PASTA, "-s x", "--socket is for passt mode only");
	expect_err(CONF_PASTA, "-F 3", "--fd is for passt mode only");
	expect_err(CONF_PASTA, "-1", "--one-off is for passt mode only");
	expect_err(CONF_PASTA, "--no-dhcp-dns", "--no-dhcp-dns is for passt mode only");
	expect_err(CONF_PASTA, "--no-dhcp-search", "--no-dhcp-search is for passt mode only");
	expect_err(CONF_PASST, "--splice-only", "--splice-only is for pasta mode only");
	expect_err(CONF_PASST, "1234", "Extra non-option argument: 1234");
	/* Programs find out in this way what there is. */
	assert_int_equal(parse_as(CONF_PASTA, "--host-lo-to-ns-lo --version"), OPTS_VERSION);
	assert_int_equal(parse_as(CONF_PASTA, "--no-such-option --version"), OPTS_USAGE);
}

/* Command lines of programs that start us, as they are. */
static void test_callers(void **state)
{
	static const char *const line[] = {
		("--config-net -t 80-80:60-60 -u ::1/53-54:53-54 --dns-forward 169.254.1.1 -T none -U none --no-map-gw --quiet "
		 "--netns /run/netns/netns-1 --map-guest-addr 169.254.1.2"),
		("--stderr --ns-ifname=tap0 --mtu=65520 --config-net --address=10.0.2.100 --netmask=24 --gateway=10.0.2.2 "
		 "--dns-forward=10.0.2.3 --no-map-gw --tcp-ports=auto --udp-ports=auto --ipv4-only --host-lo-to-ns-lo 4242"),
		("--quiet --foreground --config-net --gateway 169.254.1.1 --address 169.254.1.2 --netmask 16 --dns-forward 169.254.1.1 "
		 "--gateway 64:ff9b:1:4b8e:472e:a5c8:a9fe:101 --address 64:ff9b:1:4b8e:472e:a5c8:a9fe:102 "
		 "--dns-forward 64:ff9b:1:4b8e:472e:a5c8:a9fe:101 --ns-ifname eth0 --no-netns-quit --netns /proc/self/fd/0 "
		 "--userns /proc/self/fd/1"),
		("-f -q --no-dhcp --no-dhcpv6 --no-ra --config-net --dns-forward 10.0.2.3 --no-map-gw -a 10.0.2.15 -n 255.255.255.0 "
		 "-g 10.0.2.2 -a fd00::2 -g fd00::1 -I eth0 -t none -u none -T none -U none 4242"),
		"-f -q -t 80 -u none -T 22 -U none --splice-only 4242",
		"--quiet --config-net --splice-only --netns-only --tcp-ns 80:8080,90:9090 -T 1 -- cmd",
		"--config-net -q -f -- cmd",
		"--config-net --no-splice --map-host-loopback 10.0.2.2 --map-host-loopback fd00::1 --userns /proc/1/ns/user "
		"--netns /proc/1/ns/net",
		"--config-net --runas 0:0 --ipv4-only -t none -Tnone --netns name -P /tmp/pid",
		"-q --ipv4-only -a 10.0.2.0 -n 24 -g 10.0.2.2 --dns-forward 10.0.2.3 -m 1500 --no-ndp --no-dhcpv6 --no-dhcp -P /p 4242",
		"--mtu 2000 --ns-mac-addr 9a:dd:31:ea:92:98 --ns-mac-addr 9a:dd:31:ea:92:99 --netns /proc/77/ns/net",
	};

	for (size_t i = 0; i < ARRAY_SIZE(line); i++) {
		host_full();
		run_ok(line[i]);
		host_none();
		run_ok(line[i]);
	}
}

static void test_namespace(void **state)
{
	host_full();
	run_ok("1234");
	assert_int_equal(c.mode, CONF_PASTA);
	assert_int_equal(c.ns.pid, 1234);
	assert_false(c.ns.spawn || c.ns.netns_only || c.ns.no_quit || c.foreground);
	assert_string_equal(c.ns.netns, "");
	run_ok("--netns-only 1234");
	assert_true(c.ns.netns_only);
	run_ok("--netns name");
	assert_true(c.ns.netns_only);
	assert_string_equal(c.ns.netns, "name");
	run_ok("--netns /a --userns /b --no-netns-quit");
	assert_true(!c.ns.netns_only && c.ns.no_quit);
	assert_string_equal(c.ns.netns, "/a");
	assert_string_equal(c.ns.userns, "/b");
	run_ok("-H box sh");
	assert_true(c.ns.spawn && c.foreground && c.quiet && !c.ns.netns_only);
	assert_string_equal(c.ns.command[0], "sh");
	assert_string_equal(c.guest.hostname, "box");
	run_ok("--netns-only");
	assert_true(c.ns.spawn && c.ns.netns_only && !c.ns.command);
}

static void test_interface(void **state)
{
	char mac[MAC_STRLEN];

	host_full();
	run_ok("");
	assert_string_equal(c.ns.ifname, "eth0");
	assert_int_equal(c.template4_ifindex, 2);
	assert_int_equal(c.template6_ifindex, 3);
	assert_string_equal(mac_fmt(c.guest_mac, mac), "00:00:00:00:00:00");
	assert_false(c.ns.config_net || c.ns.copy_addrs4 || c.ns.copy_routes6);
	assert_true(c.ns.splice && !c.ns.splice_only && !c.ns.host_lo_to_ns_lo);
	run_ok("-6");
	assert_string_equal(c.ns.ifname, "eth1");
	assert_int_equal(c.template4_ifindex, 0);
	run_ok("-I wan0 --ns-mac-addr 9a:dd:31:ea:92:98 --no-splice --host-lo-to-ns-lo");
	assert_string_equal(c.ns.ifname, "wan0");
	assert_string_equal(mac_fmt(c.guest_mac, mac), "9a:dd:31:ea:92:98");
	assert_true(!c.ns.splice && c.ns.host_lo_to_ns_lo);
	parse_ok("--ns-mac-addr 9a:55:9a:55:9a:55");
	assert_int_equal(derive(&o, &h, &c, err), -EINVAL);
	assert_string_equal(err, "The MAC address of --ns-mac-addr can't be that of --mac-addr");

	strcpy(h.v4.ifname, "lo");
	run_ok("-4");
	assert_string_equal(c.ns.ifname, "tap0");
	host_none();
	run_ok("");
	assert_string_equal(c.ns.ifname, "tap0");
	assert_string_equal(c.template4, "");
	eq(&c.guest.addr4, "169.254.2.1");
	eq(&c.nat.v4.map_loopback, "169.254.2.2");
}

static void test_config_net(void **state)
{
	static const struct {
		const char *line;
		bool addrs4, addrs6, routes4, routes6;
	} t[] = {
		{ "", true, true, true, true },
		{ "-4", true, false, true, false },
		{ "-6", false, true, false, true },
		{ "-a 10.0.2.15/24", false, true, false, true }, /* the gateway is another */
		{ "-a 192.0.2.77/24", false, true, true, true },
		{ "-g 192.0.2.99", true, true, false, true },
		{ "-a fd00::2", true, false, true, true }, /* by the link-local address of the router, still */
		{ "-g fe80::9", true, true, true, false },
		{ "--no-copy-addrs", false, false, true, true },
		{ "--no-copy-routes", true, true, false, false },
	};
	char line[256];

	host_full();
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		snprintf(line, sizeof(line), "--config-net %s", t[i].line);
		run_ok(line);
		assert_true(c.ns.config_net);
		assert_int_equal(c.ns.copy_addrs4, t[i].addrs4);
		assert_int_equal(c.ns.copy_addrs6, t[i].addrs6);
		assert_int_equal(c.ns.copy_routes4, t[i].routes4);
		assert_int_equal(c.ns.copy_routes6, t[i].routes6);
		assert_false(c.guest.ra);
	}
	assert_string_equal(logged, "--no-copy-routes will be dropped soon, as --gateway does the same\n");
	h.v6.gw = address("2001:db8::1");
	run_ok("--config-net -a fd00::2");
	assert_false(c.ns.copy_routes6);
	/* A template without an address. */
	h.v4.addr = h.v6.addr = (struct addr){ 0 };
	run_ok("--config-net");
	assert_false(c.ns.copy_addrs4 || c.ns.copy_routes4);
	host_none();
	run_ok("--config-net");
	assert_false(c.ns.copy_addrs4 || c.ns.copy_addrs6 || c.ns.copy_routes4 || c.ns.copy_routes6);
	run_ok("");
	assert_true(c.guest.ra && c.guest.dhcp);
}

static void test_dns(void **state)
{
	host_full();
	run_ok("-D 10.0.0.1 -S a");
	assert_false(c.guest.dns || c.guest.search_on);
	run_ok("--dhcp-dns");
	assert_true(c.guest.dns && !c.guest.search_on);
	eq(&c.guest.dns4[0], "10.255.255.53");
	run_ok("--dhcp-search --no-dhcp");
	assert_true(!c.guest.dns && c.guest.search_on && !c.guest.dhcp && c.guest.dhcp6);
	h.resolv.n_dns = 0;
	run_ok("");
	assert_string_equal(logged, "");
	run_ok("--dhcp-dns");
	assert_string_equal(logged, "Couldn't get any nameserver address\n");
	/* Forwarding of queries is no matter of what is told. */
	run_ok("--dns-forward 10.0.2.3 --dns-host 127.0.0.1");
	eq(&c.nat.v4.dns_forward, "10.0.2.3");
}

static void test_handover(void **state)
{
	static const struct {
		const char *line;
		bool want;
	} row[] = {
		{ "1234", true },
		{ "--no-handover 1234", false },
		{ "--no-tcp 1234", false },
		{ "--splice-only 1234", false },
		{ "--pcap /tmp/x 1234", false },
	};

	host_none();
	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		run_ok(row[i].line);
		assert_int_equal(c.ns.handover, row[i].want);
	}
	expect_err(CONF_PASST, "--no-handover", "--no-handover is for pasta mode only");
}

static void test_splice_only(void **state)
{
	char before[sizeof(c.ns.ifname)] = "";

	host_none();
	run_ok("--splice-only --config-net -i eth9 -H box 1234");
	assert_string_equal(logged, "");
	assert_true(c.v4 && c.v6 && c.tcp && c.udp && !c.icmp);
	assert_true(c.ns.splice && c.ns.splice_only && c.ns.host_lo_to_ns_lo && !c.ns.config_net);
	assert_memory_equal(c.ns.ifname, before, sizeof(before));
	assert_false(c.guest.v4 || c.guest.v6 || c.guest.dhcp || c.guest.dhcp6 || c.guest.ndp || c.guest.ra || c.guest.dns);
	eq(&c.guest.addr4, "::");
	assert_string_equal(c.guest.hostname, "box");
	assert_int_not_equal(c.mtu, 0);
	assert_int_equal(c.in.n, 4);
	conf_print(&c);
	assert_ptr_equal(strstr(logged, "Inbound"), logged);
	run_ok("--splice-only -4 1234");
	assert_true(c.v4 && !c.v6);
}

/* Rules as text, inbound before outwards: protocol's letter and rule, separated by spaces; of "auto" only the start. */
static void expect_rules(const char *line, const char *want)
{
	const struct fwd_table *t[] = { &c.in, &c.out_rules };
	char got[1024] = "", buf[128];

	run_ok(line);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < t[k]->n; i++) {
			const struct fwd_rule *r = &t[k]->rule[i];

			fwd_rule_fmt(r, buf, sizeof(buf));
			buf[strcspn(buf, ",")] = '\0';
			/* The part above the ephemeral ports. */
			if (r->flags & FWD_WEAK && r->first > 1)
				continue;
			strcat(got, got[0] ? " " : "");
			strncat(got, &"tuTU"[2 * k + (r->proto == IPPROTO_UDP)], 1);
			strcat(got, buf);
		}
	}
	assert_string_equal(got, want);
}

static void test_ports(void **state)
{
	host_full();
	expect_rules("", "t*/auto u*/auto T*/auto U*/auto");
	expect_rules("-t none", "u*/auto T*/auto U*/auto");
	expect_rules("-t none -u none -T none -U none", "");
	expect_rules("-t none -u none -T 80 -U none -t 81", "t*/81 T*/80");
	expect_rules("-t 80 -t 90:91 -U 53,auto", "t*/80 t*/90:91 u*/auto U*/53 T*/auto");
	expect_rules("--no-udp", "t*/auto T*/auto");
	expect_rules("--no-tcp -U none", "u*/auto");
	expect_rules("--tcp-ports=auto --udp-ports=none --ipv4-only -Tnone -Unone", "t0.0.0.0/auto");
	expect_rules("-t 8000-8010,auto -u none -T none -U none", "t*/8000-8010");
	assert_int_equal(c.in.rule[0].flags & FWD_SCAN, FWD_SCAN);
	assert_false(c.in.freebind);
	expect_rules("--freebind -t none -u none -T none -U none", "");
	assert_true(c.in.freebind && !c.out_rules.freebind);
}

static void test_port_errors(void **state)
{
	static const struct {
		const char *line, *want;
	} t[] = {
		{ "-T 127.0.0.1/80", "Listening address not allowed for -T 127.0.0.1/80" },
		{ "-U 53 -U none", "-U none conflicts with previous options" },
		{ "-T 80 --no-tcp", "Port forwarding of TCP, but TCP is disabled: -T 80" },
		{ "--no-udp -U auto", "Port forwarding of UDP, but UDP is disabled: -U auto" },
		{ "-t ::1/80 -4", "IPv6 forward, but IPv6 not enabled" },
		{ "-T all -T 80", "Forwarding configuration conflict: */80 versus */all,~32768-65535" },
	};

	host_full();
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		parse_ok(t[i].line);
		assert_int_equal(derive(&o, &h, &c, err), 0);
		assert_int_equal(derive_ports(&o, &h, &c, err), -EINVAL);
		assert_string_equal(err, t[i].want);
	}
}

static void test_print(void **state)
{
	host_full();
	run_ok("-d -t 80 -u none -T 90 -U none --ns-mac-addr 9a:dd:31:ea:92:98");
	conf_print(&c);
	assert_non_null(strstr(logged, "Template interface: eth0 (IPv4)\n"));
	assert_non_null(strstr(logged, "Namespace interface: eth0\n"));
	assert_non_null(strstr(logged, "MAC:\n    host: 9a:55:9a:55:9a:55\n    namespace: 9a:dd:31:ea:92:98\n"));
	assert_non_null(strstr(logged, "\nDHCP:\n    assign: 192.0.2.2\n"));
	assert_null(strstr(logged, "DNS:"));
	assert_non_null(strstr(logged, "\nInbound forwarding rules (HOST):\n    TCP */80\n"
				       "Outbound forwarding rules (SPLICE):\n    TCP */90\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),     cmocka_unit_test(test_errors),      cmocka_unit_test(test_callers),
		cmocka_unit_test(test_namespace), cmocka_unit_test(test_interface),   cmocka_unit_test(test_config_net),
		cmocka_unit_test(test_dns),       cmocka_unit_test(test_splice_only), cmocka_unit_test(test_handover),
		cmocka_unit_test(test_ports),     cmocka_unit_test(test_port_errors), cmocka_unit_test(test_print),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
