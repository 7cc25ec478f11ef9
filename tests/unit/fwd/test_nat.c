/* SPDX-License-Identifier: MIT */
#include "fwd/nat.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct addr ip(const char *text)
{
	struct addr a = addr_any6;

	if (text)
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* The tables that start-up would fill. */
enum which {
	DEFAULTS, /* guest has the host's addresses, gateway is the host's loopback */
	NO_MAP, /* --no-map-gw */
	MAPPED, /* own subnet, --map-guest-addr, --map-host-loopback and --dns-forward */
	LOCAL, /* nothing known of the host */
	DNS_GW, /* --dns-forward of the gateway's address, which is mapped as well */
	DNS_NONE, /* --dns-forward without a resolver */
};

static struct nat table(enum which which)
{
	struct nat n = {
		.v4 = { ip("192.0.2.1"), ip("192.0.2.1"), .host = ip("192.0.2.10"), .guest = ip("192.0.2.10") },
		.v6 = { ip("fe80::1"), ip("fe80::1"), .host = ip("2001:db8::10"), .guest = ip("2001:db8::10") },
		.our_ll6 = ip("fe80::1"),
	};

	switch (which) {
	case DEFAULTS:
		break;
	case NO_MAP:
		n.v4.map_loopback = n.v6.map_loopback = addr_any6;
		break;
	case MAPPED:
		n.v4.our = ip("10.0.2.2");
		n.v4.map_loopback = ip("10.0.2.4");
		n.v4.map_guest = ip("169.254.1.2");
		n.v4.dns_forward = ip("169.254.1.1");
		n.v4.dns_host = ip("127.0.0.53");
		n.v6.our = ip("fd00::2");
		n.v6.map_loopback = ip("fd00::4");
		n.v6.map_guest = ip("fd00::5");
		n.v6.dns_forward = ip("fd00::53");
		n.v6.dns_host = ip("2001:db8::53");
		n.our_ll6 = ip("fe80::2");
		break;
	case LOCAL:
		n.v4 = (struct nat_family){ .our = ip("169.254.2.2"), .map_loopback = ip("169.254.2.2") };
		n.v6 = (struct nat_family){ .our = ip("fe80::1"), .map_loopback = ip("fe80::1") };
		break;
	case DNS_GW:
		n.v4.dns_forward = ip("192.0.2.1");
		n.v4.dns_host = ip("198.51.100.53");
		n.v6.dns_forward = ip("fe80::1");
		break;
	case DNS_NONE:
		n.v4.dns_forward = ip("169.254.1.1");
		n.v6.dns_forward = ip("fd00::53");
		break;
	}
	return n;
}

static void test_to_host(void **state)
{
	static const struct {
		enum which which;
		uint8_t proto;
		const char *dst;
		uint16_t port;
		const char *want; /* NULL: unreachable */
	} t[] = {
		/* nothing of ours */
		{ DEFAULTS, IPPROTO_TCP, "198.51.100.7", 80, "198.51.100.7" },
		{ DEFAULTS, IPPROTO_UDP, "198.51.100.7", 53, "198.51.100.7" },
		{ DEFAULTS, IPPROTO_TCP, "2001:db8:1::7", 80, "2001:db8:1::7" },
		{ DEFAULTS, IPPROTO_ICMP, "198.51.100.7", 9, "198.51.100.7" },
		{ DEFAULTS, IPPROTO_UDP, "192.0.2.10", 80, "192.0.2.10" },
		{ DEFAULTS, IPPROTO_UDP, "224.0.0.251", 5353, "224.0.0.251" },
		{ DEFAULTS, IPPROTO_UDP, "255.255.255.255", 9, "255.255.255.255" },
		{ DEFAULTS, IPPROTO_UDP, "ff02::fb", 5353, "ff02::fb" },
		{ DEFAULTS, IPPROTO_TCP, "fe80::7", 80, "fe80::7" },

		/* the gateway is the host's loopback */
		{ DEFAULTS, IPPROTO_TCP, "192.0.2.1", 80, "127.0.0.1" },
		{ DEFAULTS, IPPROTO_UDP, "192.0.2.1", 53, "127.0.0.1" },
		{ DEFAULTS, IPPROTO_ICMP, "192.0.2.1", 1, "127.0.0.1" },
		{ DEFAULTS, IPPROTO_TCP, "fe80::1", 80, "::1" },
		{ LOCAL, IPPROTO_TCP, "169.254.2.2", 80, "127.0.0.1" },
		{ LOCAL, IPPROTO_TCP, "fe80::1", 80, "::1" },

		/* what a guest must not name itself */
		{ DEFAULTS, IPPROTO_TCP, "127.0.0.1", 80, NULL },
		{ DEFAULTS, IPPROTO_UDP, "127.1.2.3", 80, NULL },
		{ DEFAULTS, IPPROTO_TCP, "::1", 80, NULL },
		{ DEFAULTS, IPPROTO_TCP, "0.0.0.0", 80, NULL },
		{ DEFAULTS, IPPROTO_TCP, "::", 80, NULL },
		{ NO_MAP, IPPROTO_TCP, "127.0.0.1", 80, NULL },

		/* not mapped: the true gateway */
		{ NO_MAP, IPPROTO_TCP, "192.0.2.1", 80, "192.0.2.1" },
		{ NO_MAP, IPPROTO_TCP, "fe80::1", 80, "fe80::1" },

		/* addresses that were given */
		{ MAPPED, IPPROTO_TCP, "10.0.2.4", 80, "127.0.0.1" },
		{ MAPPED, IPPROTO_TCP, "fd00::4", 80, "::1" },
		{ MAPPED, IPPROTO_TCP, "169.254.1.2", 80, "192.0.2.10" },
		{ MAPPED, IPPROTO_TCP, "fd00::5", 80, "2001:db8::10" },
		{ MAPPED, IPPROTO_TCP, "10.0.2.2", 80, "10.0.2.2" },
		{ MAPPED, IPPROTO_TCP, "fe80::2", 80, NULL }, /* made up, stands for nothing */
		{ MAPPED, IPPROTO_ICMPV6, "fe80::2", 1, NULL },

		/* resolver: two ports, two protocols, nothing else */
		{ MAPPED, IPPROTO_UDP, "169.254.1.1", 53, "127.0.0.53" },
		{ MAPPED, IPPROTO_TCP, "169.254.1.1", 53, "127.0.0.53" },
		{ MAPPED, IPPROTO_UDP, "169.254.1.1", 853, "127.0.0.53" },
		{ MAPPED, IPPROTO_TCP, "169.254.1.1", 853, "127.0.0.53" },
		{ MAPPED, IPPROTO_TCP, "169.254.1.1", 80, "169.254.1.1" },
		{ MAPPED, IPPROTO_UDP, "169.254.1.1", 54, "169.254.1.1" },
		{ MAPPED, IPPROTO_ICMP, "169.254.1.1", 53, "169.254.1.1" },
		{ MAPPED, IPPROTO_UDP, "fd00::53", 53, "2001:db8::53" },
		{ MAPPED, IPPROTO_TCP, "fd00::53", 853, "2001:db8::53" },
		{ MAPPED, IPPROTO_ICMPV6, "fd00::53", 53, "fd00::53" },
		{ MAPPED, IPPROTO_UDP, "198.51.100.1", 53, "198.51.100.1" },

		/* resolver on a mapped address: more specific, where there is one */
		{ DNS_GW, IPPROTO_UDP, "192.0.2.1", 53, "198.51.100.53" },
		{ DNS_GW, IPPROTO_UDP, "192.0.2.1", 80, "127.0.0.1" },
		{ DNS_GW, IPPROTO_UDP, "fe80::1", 53, "::1" },
		{ DNS_NONE, IPPROTO_UDP, "169.254.1.1", 53, NULL },
		{ DNS_NONE, IPPROTO_TCP, "fd00::53", 853, NULL },
		{ DNS_NONE, IPPROTO_UDP, "169.254.1.1", 80, "169.254.1.1" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const struct ep mark = { .addr = ip("203.0.113.1"), .port = 1 };
		struct ep dst = { .addr = ip(t[i].dst), .port = t[i].port }, got = mark;
		struct nat n = table(t[i].which);
		char buf[EP_STRLEN];
		int rc = nat_to_host(&n, t[i].proto, &dst, &got);

		if (!t[i].want) {
			if (rc != -EHOSTUNREACH || !ep_eq(&got, &mark))
				fail_msg("case %zu, %s: rc %d, %s", i, t[i].dst, rc, ep_fmt(&got, buf));
			continue;
		}
		struct addr want = ip(t[i].want);

		if (rc || !addr_eq(&got.addr, &want) || got.port != t[i].port)
			fail_msg("case %zu, %s: rc %d, %s, want %s", i, t[i].dst, rc, ep_fmt(&got, buf), t[i].want);
	}
}

static void test_map_guest_without_host(void **state)
{
	struct nat n = table(MAPPED);
	struct ep dst = { .addr = ip("169.254.1.2"), .port = 80 }, got;

	n.v4.host = addr_any6;
	assert_int_equal(nat_to_host(&n, IPPROTO_TCP, &dst, &got), -EHOSTUNREACH);
}

static void test_to_guest(void **state)
{
	static const struct {
		enum which which;
		const char *guest, *peer;
		const char *want; /* NULL: not possible */
	} t[] = {
		/* the true source */
		{ DEFAULTS, "192.0.2.10", "198.51.100.7", "198.51.100.7" },
		{ DEFAULTS, "2001:db8::10", "2001:db8:1::7", "2001:db8:1::7" },
		{ DEFAULTS, "192.0.2.10", "192.0.2.1", "192.0.2.1" },
		{ DEFAULTS, "192.0.2.10", "169.254.7.7", "169.254.7.7" },
		{ DEFAULTS, "fe80::9", "fe80::7", "fe80::7" },
		{ DEFAULTS, "2001:db8::10", "fe80::7", "fe80::7" },
		{ MAPPED, "10.0.2.15", "198.51.100.7", "198.51.100.7" },

		/* loopback */
		{ DEFAULTS, "192.0.2.10", "127.0.0.1", "192.0.2.1" },
		{ DEFAULTS, "192.0.2.10", "127.9.9.9", "192.0.2.1" },
		{ DEFAULTS, "2001:db8::10", "::1", "fe80::1" },
		{ MAPPED, "10.0.2.15", "127.0.0.1", "10.0.2.4" },
		{ MAPPED, "fd00::15", "::1", "fd00::4" },
		{ NO_MAP, "192.0.2.10", "127.0.0.1", "192.0.2.1" },
		{ NO_MAP, "2001:db8::10", "::1", "fe80::1" },
		{ NO_MAP, "192.0.2.1", "127.0.0.1", NULL }, /* the guest has our address, and we have no other */
		{ MAPPED, "10.0.2.4", "127.0.0.1", "10.0.2.2" },
		{ MAPPED, "fd00::4", "::1", "fd00::2" },
		{ LOCAL, "169.254.2.1", "127.0.0.1", "169.254.2.2" },

		/* the host's own address, which the guest may have too */
		{ DEFAULTS, "192.0.2.10", "192.0.2.10", "192.0.2.1" },
		{ DEFAULTS, "2001:db8::10", "2001:db8::10", "fe80::1" },
		/* whatever it uses just now: it may have the one that it was given all the same */
		{ DEFAULTS, "192.0.2.99", "192.0.2.10", "192.0.2.1" },
		{ DEFAULTS, "2001:db8::5054", "2001:db8::10", "fe80::1" },
		{ DEFAULTS, "192.0.2.99", "198.51.100.7", "198.51.100.7" },
		{ MAPPED, "10.0.2.15", "192.0.2.10", "169.254.1.2" },
		{ MAPPED, "fd00::15", "2001:db8::10", "fd00::5" },
		{ MAPPED, "192.0.2.10", "192.0.2.10", "169.254.1.2" },
		{ MAPPED, "169.254.1.2", "192.0.2.10", "10.0.2.2" },

		/* any other peer with the guest's address */
		{ MAPPED, "10.0.2.15", "10.0.2.15", "10.0.2.2" },
		{ MAPPED, "fd00::15", "fd00::15", "fd00::2" },
		{ MAPPED, "fd00::2", "fd00::2", "fe80::2" },
		{ MAPPED, "fe80::9", "fe80::9", "fe80::2" },
		{ MAPPED, "fe80::2", "fe80::2", "fd00::2" },
		{ LOCAL, "fe80::1", "::1", NULL },

		/* no host */
		{ DEFAULTS, "192.0.2.10", "0.0.0.0", NULL },
		{ DEFAULTS, "2001:db8::10", "::", NULL },
		{ DEFAULTS, "192.0.2.10", "224.0.0.1", NULL },
		{ DEFAULTS, "192.0.2.10", "255.255.255.255", NULL },
		{ DEFAULTS, "2001:db8::10", "ff02::1", NULL },

		/* families don't mix */
		{ DEFAULTS, "192.0.2.10", "2001:db8::7", NULL },
		{ DEFAULTS, "192.0.2.10", "::1", NULL },
		{ DEFAULTS, "2001:db8::10", "127.0.0.1", NULL },
		{ DEFAULTS, "2001:db8::10", "198.51.100.7", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const struct ep mark = { .addr = ip("203.0.113.1"), .port = 1 };
		struct ep peer = { .addr = ip(t[i].peer), .port = 40000 }, got = mark;
		struct addr guest = ip(t[i].guest);
		struct nat n = table(t[i].which);
		char buf[EP_STRLEN];
		int rc = nat_to_guest(&n, &guest, &peer, &got);

		if (!t[i].want) {
			if (rc != -EADDRNOTAVAIL || !ep_eq(&got, &mark))
				fail_msg("case %zu, %s: rc %d, %s", i, t[i].peer, rc, ep_fmt(&got, buf));
			continue;
		}
		struct addr want = ip(t[i].want);

		if (rc || !addr_eq(&got.addr, &want) || got.port != 40000)
			fail_msg("case %zu, %s: rc %d, %s, want %s", i, t[i].peer, rc, ep_fmt(&got, buf), t[i].want);
	}
}

/* What the guest sees as the source of a local peer must lead back to the host if it answers by a connection of its own. */
static void test_round_trip(void **state)
{
	static const struct {
		const char *guest, *peer, *back;
	} t[] = {
		{ "10.0.2.15", "127.0.0.1", "127.0.0.1" },       { "fd00::15", "::1", "::1" },
		{ "10.0.2.15", "192.0.2.10", "192.0.2.10" },     { "fd00::15", "2001:db8::10", "2001:db8::10" },
		{ "10.0.2.15", "198.51.100.7", "198.51.100.7" },
	};
	struct nat n = table(MAPPED);

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct ep peer = { .addr = ip(t[i].peer), .port = 1234 }, seen, back;
		struct addr guest = ip(t[i].guest), want = ip(t[i].back);

		assert_int_equal(nat_to_guest(&n, &guest, &peer, &seen), 0);
		assert_int_equal(nat_to_host(&n, IPPROTO_TCP, &seen, &back), 0);
		assert_true(addr_eq(&back.addr, &want));
		assert_int_equal(back.port, 1234);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_host),
		cmocka_unit_test(test_map_guest_without_host),
		cmocka_unit_test(test_to_guest),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
