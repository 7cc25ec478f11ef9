/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/opt.h"

static struct opts o;

/* Parses the words of a line that are separated by single spaces; '~' stands for a space within a word. */
static enum opts_verdict parse(const char *line)
{
	static char text[8192];
	static char *argv[2048];
	int argc = 0;
	char *save;

	memcpy(text, line, strlen(line) + 1);
	argv[argc++] = (char *)"passt";
	for (char *w = strtok_r(text, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		for (char *c = w; *c; c++)
			*c = *c == '~' ? ' ' : *c;
		argv[argc++] = w;
	}
	argv[argc] = NULL;
	return opts_parse(CONF_PASST, argc, argv, &o);
}

static void expect_err(const char *line, const char *err)
{
	assert_int_equal(parse(line), OPTS_ERROR);
	assert_string_equal(o.err, err);
}

static void expect_addr(const struct addr *a, const char *want)
{
	char buf[ADDR_STRLEN];

	assert_string_equal(addr_fmt(a, buf), want);
}

/* By the name of a back end program it is one. */
static void test_back_end_program(void **state)
{
	static const char *const names[] = { "/usr/libexec/vhost-user-passt", "vhost-user-passt", "/opt/vhost-user/passt" };

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		char *argv[] = { (char *)names[i], (char *)"--fd=3", NULL };

		assert_int_equal(opts_parse(CONF_PASST, 2, argv, &o), OPTS_RUN);
		assert_int_equal(o.vhost_user, i < 2);
		assert_int_equal(o.foreground, i < 2);
		assert_int_equal(o.fd, 3);
	}
}

static void test_mode(void **state)
{
	static const struct {
		const char *argv0;
		int mode; /* -1: none */
	} t[] = {
		{ "passt", CONF_PASST },
		{ "/usr/bin/passt", CONF_PASST },
		{ "/usr/bin/passt.avx2", CONF_PASST },
		{ "/usr/libexec/vhost-user-passt", CONF_PASST },
		{ "/opt/pasta/passt", CONF_PASST },
		{ "pasta", CONF_PASTA },
		{ "./pasta", CONF_PASTA },
		{ "/opt/passt/other", -1 },
		{ "", -1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		enum conf_mode mode;

		assert_int_equal(opts_mode(t[i].argv0, &mode), t[i].mode < 0 ? -22 : 0);
		if (t[i].mode >= 0)
			assert_int_equal(mode, t[i].mode);
	}
}

static void test_verdicts(void **state)
{
	assert_int_equal(parse(""), OPTS_RUN);
	assert_int_equal(parse("-h"), OPTS_HELP);
	assert_int_equal(parse("--help"), OPTS_HELP);
	assert_int_equal(parse("--version"), OPTS_VERSION);
	assert_int_equal(parse("-q --vers"), OPTS_VERSION);
	assert_int_equal(parse("--vhost-user --print-capabilities --no-such-option"), OPTS_CAPABILITIES);
	assert_int_equal(parse("--no-such-option"), OPTS_USAGE);
	assert_int_equal(parse("--no-such-option --version"), OPTS_USAGE);
	assert_int_equal(parse("--version --no-such-option"), OPTS_VERSION);
	assert_int_equal(parse("-x"), OPTS_USAGE);
	assert_int_equal(parse("--mtu"), OPTS_USAGE);
	assert_int_equal(parse("--quiet=1"), OPTS_USAGE);
	assert_int_equal(parse("--no-"), OPTS_USAGE);
	assert_int_equal(parse("--mt 1500"), OPTS_RUN);
	assert_int_equal(o.mtu, 1500);
	assert_int_equal(parse("-t80 -t22:2222 -F3"), OPTS_RUN);
	assert_int_equal(o.n_ports, 2);
	assert_string_equal(o.port[1].spec, "22:2222");
	assert_int_equal(o.fd, 3);
}

static void test_errors(void **state)
{
	expect_err("--address 10.0.0.300", "Invalid address: 10.0.0.300 (--address)");
	expect_err("-a 10.0.0.1/24 -n 24", "Redundant prefix length specification (--address, --netmask)");
	expect_err("-n 255.255.0.0 -a 10.0.0.1/16", "Redundant prefix length specification (--address, --netmask)");
	expect_err("-n 40", "Invalid netmask: 40 (--netmask)");
	expect_err("-g 127.0.0.1", "Invalid gateway: 127.0.0.1 (--gateway)");
	expect_err("-m 65522", "MTU 65522 too large (max 65521)");
	expect_err("-m big", "Invalid MTU: big (--mtu)");
	expect_err("-M 01:00:00:00:00:00", "Invalid MAC address: 01:00:00:00:00:00 (--mac-addr)");
	expect_err("--runas no-such-user:0", "Invalid --runas option: no-such-user:0");
	expect_err("--log-size 40959", "Invalid --log-size: 40959 (minimum 40960 bytes)");
	expect_err("--max-flows 15", "Invalid number of flows: 15 (--max-flows, from 16 to 65536)");
	expect_err("--max-half-open many", "Invalid number of connections: many (--max-half-open, from 1 to 65536)");
	expect_err("--max-flow-rate 0", "Invalid number of flows: 0 (--max-flow-rate, from 1 to 1000000)");
	expect_err("--max-spill 1M", "Invalid size: 1M (--max-spill, from 1048576 to 1073741824)");
	expect_err("--max-reassembly 65535", "Invalid size: 65535 (--max-reassembly, from 65536 to 16777216)");
	assert_int_equal(
		parse("--max-flows 1000 --max-half-open 100 --max-flow-rate 50 --max-spill 2000000 --max-reassembly 70000"),
		OPTS_RUN);
	assert_int_equal(o.limits.flows, 1000);
	assert_int_equal(o.limits.half_open, 100);
	assert_int_equal(o.limits.flow_rate, 50);
	assert_int_equal(o.limits.spill, 2000000);
	assert_int_equal(o.limits.reassembly, 70000);
	expect_err("-F -1", "Invalid file descriptor: -1 (--fd)");
	expect_err("-D 1.2.3", "Invalid name server: 1.2.3 (--dns)");
	expect_err("-S a~b..c~d", "Invalid search domain: b..c (--search)");
	expect_err("-H bad/name", "Invalid host name: bad/name (--hostname)");
	expect_err("-i longer-than-fifteen", "Invalid interface name: longer-than-fifteen (--interface)");
	expect_err("--map-host-loopback nothing", "Invalid address: nothing (--map-host-loopback)");
	expect_err("--dns-forward none", "Invalid address: none (--dns-forward)");
	expect_err("-4 -6", "Options --ipv4-only and --ipv6-only exclude each other");
	expect_err("-4 -a 2001:db8::1", "Option --address 2001:db8::1 is for IPv6, which --ipv4-only turns off");
	expect_err("-a 1.2.3.4 -6", "Option --address 1.2.3.4 is for IPv4, which --ipv6-only turns off");
	expect_err("-4 -a 1.2.3.4 -g fe80::1", "Option --gateway fe80::1 is for IPv6, which --ipv4-only turns off");
	expect_err("-6 -o 0.0.0.0", "Option --outbound 0.0.0.0 is for IPv4, which --ipv6-only turns off");
	assert_int_equal(parse("-6 --dns-forward 169.254.1.1 --map-guest-addr 169.254.1.2 -D 192.0.2.1"), OPTS_RUN);
	expect_err("-q word -d", "Extra non-option argument: word");
	expect_err("--config-net", "--config-net is for pasta mode only");
	expect_err("-T 80", "--tcp-ns is for pasta mode only");
	expect_err("--netns=/proc/1/ns/net", "--netns is for pasta mode only");
	expect_err("--socket=", "Invalid socket path:  (--socket)");
}

static void test_families(void **state)
{
	assert_int_equal(
		parse("-a 10.0.2.0 -n 255.255.255.0 -a fd00::2 -g fd00::1 -g 10.0.2.2 -g 10.0.2.3 "
		      "--map-host-loopback none --map-host-loopback 10.0.2.9 --map-guest-addr 10.0.2.8 --map-guest-addr none"),
		OPTS_RUN);
	expect_addr(&o.address.v4, "10.0.2.0");
	expect_addr(&o.address.v6, "fd00::2");
	assert_int_equal(o.netmask, 24);
	expect_addr(&o.gateway.v4, "10.0.2.3");
	expect_addr(&o.gateway.v6, "fd00::1");
	assert_true(o.map_loopback.none);
	expect_addr(&o.map_loopback.v4, "10.0.2.9");
	expect_addr(&o.map_loopback.v6, "::");
	assert_true(o.map_guest.none);
	expect_addr(&o.map_guest.v4, "::");

	/* The length that came with an address that was replaced is gone with it. */
	assert_int_equal(parse("-a 10.0.0.1/8 -a 10.0.0.2"), OPTS_RUN);
	assert_int_equal(o.plen4, 0);
	assert_int_equal(parse("-a fd00::2/64 -n 24 -a 10.0.0.2"), OPTS_RUN);
}

static void test_lists(void **state)
{
	char many[8192] = "";

	assert_int_equal(parse("-D 10.0.0.1 --dns=fd00::1 -S a~b -S c"), OPTS_RUN);
	assert_int_equal(o.n_dns, 2);
	expect_addr(&o.dns[1], "fd00::1");
	assert_int_equal(o.n_search, 3);
	assert_string_equal(o.search[1], "b");
	assert_string_equal(o.search[2], "c");

	assert_int_equal(parse("-D 10.0.0.1 -D none -S a -S none"), OPTS_RUN);
	assert_true(o.have_dns);
	assert_true(o.have_search);
	assert_int_equal(o.n_dns, 0);
	assert_int_equal(o.n_search, 0);

	assert_int_equal(parse("-D none -D 10.0.0.1"), OPTS_RUN);
	assert_int_equal(o.n_dns, 1);
	assert_int_equal(parse("-S a~b~c~d~e~f~g~h"), OPTS_RUN);
	expect_err("-S a~b~c~d~e~f~g~h -S i", "Too many search domains (max 8): i (--search)");

	for (int i = 0; i < OPTS_PORTS_MAX; i++)
		strcat(many, " -u 1");
	assert_int_equal(parse(many), OPTS_RUN);
	assert_int_equal(o.n_ports, OPTS_PORTS_MAX);
	strcat(many, " -t 2");
	expect_err(many, "Too many port options (max 512): -t 2");
}

/* An option for each letter and name that programs know, with or without a value: '=' after those that take one. */
static void test_names(void **state)
{
	static const char letters[] = "dqfeh146s=c=F=I=p=P=m=a=n=M=g=i=o=D=S=H=t=u=T=U=l=";
	static const char *const names[] = {
		"debug",
		"quiet",
		"foreground",
		"stderr",
		"log-file=",
		"help",
		"socket=",
		"socket-path=",
		"fd=",
		"ns-ifname=",
		"pcap=",
		"pid=",
		"mtu=",
		"address=",
		"netmask=",
		"mac-addr=",
		"gateway=",
		"interface=",
		"outbound=",
		"outbound-if4=",
		"outbound-if6=",
		"dns=",
		"search=",
		"hostname=",
		"fqdn=",
		"no-tcp",
		"no-udp",
		"no-icmp",
		"no-dhcp",
		"no-dhcpv6",
		"no-ndp",
		"no-ra",
		"no-splice",
		"no-handover",
		"splice-only",
		"freebind",
		"no-map-gw",
		"map-host-loopback=",
		"map-guest-addr=",
		"ipv4-only",
		"ipv6-only",
		"one-off",
		"tcp-ports=",
		"udp-ports=",
		"tcp-ns=",
		"udp-ns=",
		"userns=",
		"netns=",
		"netns-only",
		"ns-mac-addr=",
		"dhcp-dns",
		"no-dhcp-dns",
		"dhcp-search",
		"no-dhcp-search",
		"dns-forward=",
		"dns-host=",
		"no-pidns",
		"no-netns-quit",
		"host-lo-to-ns-lo",
		"config-net",
		"no-copy-routes",
		"no-copy-addrs",
		"trace",
		"runas=",
		"log-size=",
		"version",
		"vhost-user",
		"print-capabilities",
		"repair-path=",
		"migrate-exit",
		"migrate-no-linger",
		"conf-path=",
		"chroot-fallback",
	};
	char word[64];

	for (const char *l = letters; *l; l += l[1] == '=' ? 2 : 1) {
		snprintf(word, sizeof(word), "-%c", *l);
		assert_int_equal(parse(word) == OPTS_USAGE, l[1] == '=');
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		size_t len = strlen(names[i]);
		bool takes = names[i][len - 1] == '=';

		snprintf(word, sizeof(word), "--%.*s", (int)(takes ? len - 1 : len), names[i]);
		assert_int_equal(parse(word) == OPTS_USAGE, takes);
		snprintf(word, sizeof(word), "--%.*s=x", (int)(takes ? len - 1 : len), names[i]);
		assert_int_equal(parse(word) == OPTS_USAGE, !takes);
	}
}

/* What is said of a migration. */
static void test_migration(void **state)
{
	assert_int_equal(parse("--vhost-user --repair-path none"), OPTS_RUN);
	assert_int_equal(parse("--repair-path /tmp/x.repair --vhost-user --migrate-exit --migrate-no-linger"), OPTS_RUN);
	expect_err("--repair-path none", "--repair-path needs --vhost-user");
	expect_err("--migrate-exit", "--migrate-* needs --vhost-user");
	expect_err("--migrate-no-linger", "--migrate-* needs --vhost-user");
	expect_err("--vhost-user --repair-path=", "Invalid repair socket path:  (--repair-path)");
}

static void test_last_wins(void **state)
{
	assert_int_equal(parse("-d -q"), OPTS_RUN);
	assert_true(o.quiet && !o.debug && !o.trace);
	assert_int_equal(parse("-q --trace"), OPTS_RUN);
	assert_true(!o.quiet && o.trace);
	assert_int_equal(parse("--fd 5 -s /tmp/x"), OPTS_RUN);
	assert_int_equal(o.fd, -1);
	assert_string_equal(o.socket_path, "/tmp/x");
	assert_int_equal(parse("--socket-path /tmp/x --fd 5"), OPTS_RUN);
	assert_int_equal(o.fd, 5);
	assert_string_equal(o.socket_path, "");
	assert_int_equal(parse("-l /tmp/a -l /tmp/b --stderr"), OPTS_RUN);
	assert_string_equal(o.log_file, "/tmp/b");
}

/* Command lines of programs that start us, as they are. */
static void test_callers(void **state)
{
	static const char *const line[] = {
		("--one-off --socket /run/1-vm-net0.socket --pid /run/1-vm-net0-passt.pid --mtu 1500 --interface eth0 --log-file /var/log/x "
		 "--hostname h --fqdn h.example.org --address 172.17.2.4 --netmask 24 --address fd00::4 --tcp-ports 2001:db8::1%eth0/80 "
		 "--udp-ports all"),
		"--quiet --search a~b.example~c --no-dhcp-dns --no-dhcp-search --map-host-loopback 10.0.2.2 --pid /tmp/x --fd 3",
		"-q -f --fd 12 -t 8000-8001:80-81 -u 127.0.0.1/53:53",
		"-t all -u all --no-dhcp-dns --no-map-gw --fd 9",
		"--one-off --socket S --pid P --address 169.254.2.15 --netmask 16 --mac-addr 52:56:00:00:00:02 --gateway 169.254.2.2",
		"--vhost-user --foreground -s S --repair-path none -4 -a 192.168.98.2 -n 30 -g 192.168.98.1 --map-host-loopback 192.168.98.1 -D 192.0.2.1",
		("-4 -a 10.0.0.5 -g 10.0.0.1 -n 255.255.255.0 -m 1500 -t 80,443 -u none -H host -M 02:11:22:33:44:55 --runas 0:0 -P /p -s /s "
		 "-l /l -q"),
	};

	for (size_t i = 0; i < ARRAY_SIZE(line); i++) {
		if (parse(line[i]) != OPTS_RUN)
			fail_msg("%s: %s", line[i], o.err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode),      cmocka_unit_test(test_back_end_program), cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_errors),    cmocka_unit_test(test_families),         cmocka_unit_test(test_lists),
		cmocka_unit_test(test_last_wins), cmocka_unit_test(test_callers),          cmocka_unit_test(test_names),
		cmocka_unit_test(test_migration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
