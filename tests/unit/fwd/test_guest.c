/* SPDX-License-Identifier: MIT */
#include "fwd/guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const uint8_t our_mac[MAC_LEN] = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 };
static const uint8_t mac_a[MAC_LEN] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t mac_bcast[MAC_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

static struct addr ip(const char *text)
{
	struct addr a = addr_any6;

	if (text[0])
		assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static void assert_addr(const struct addr *got, const char *want, const char *what)
{
	char buf[ADDR_STRLEN];
	struct addr w = ip(want);

	if (!addr_eq(got, &w))
		fail_msg("%s: got %s, want %s", what, addr_fmt(got, buf), want);
}

static struct guest guest_start(void)
{
	struct guest g = { .addr4 = ip("10.0.2.15"), .addr6 = ip("2001:db8::15") };

	memcpy(g.our_mac, our_mac, MAC_LEN);
	memcpy(g.mac, mac_bcast, MAC_LEN);
	return g;
}

static void test_learn_addr(void **state)
{
	static const struct {
		const char *src, *addr4, *addr6, *ll6; /* afterwards; NULL: as before */
	} t[] = {
		{ "192.0.2.1", "192.0.2.1", NULL, NULL },
		{ "169.254.2.15", "169.254.2.15", NULL, NULL },
		{ "10.0.2.0", "10.0.2.0", NULL, NULL }, /* host part zero is an address like any other (RFC 3021) */
		{ "0.0.0.0", NULL, NULL, NULL },
		{ "0.1.2.3", NULL, NULL, NULL },
		{ "127.0.0.1", NULL, NULL, NULL },
		{ "127.8.8.8", NULL, NULL, NULL },
		{ "224.0.0.1", NULL, NULL, NULL },
		{ "239.255.255.250", NULL, NULL, NULL },
		{ "240.0.0.1", NULL, NULL, NULL },
		{ "255.255.255.255", NULL, NULL, NULL },
		{ "2001:db8::99", NULL, "2001:db8::99", NULL },
		{ "fd00::1", NULL, "fd00::1", NULL },
		{ "fe80::1234", NULL, NULL, "fe80::1234" },
		{ "::", NULL, NULL, NULL },
		{ "::1", NULL, NULL, NULL },
		{ "ff02::1", NULL, NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr src = ip(t[i].src);
		struct guest g = guest_start();

		guest_learn(&g, mac_a, &src);
		assert_memory_equal(g.mac, mac_a, MAC_LEN);
		assert_addr(&g.addr4, t[i].addr4 ? t[i].addr4 : "10.0.2.15", t[i].src);
		assert_addr(&g.addr6, t[i].addr6 ? t[i].addr6 : "2001:db8::15", t[i].src);
		assert_addr(&g.ll6, t[i].ll6 ? t[i].ll6 : "", t[i].src);
	}
}

/* With an assigned address: another one counts only until the guest has used that, or a new guest comes. */
static void test_learn_settles(void **state)
{
	static const struct {
		const char *src, *addr4, *addr6; /* afterwards */
	} t[] = {
		{ "2001:db8::5054", "10.0.2.15", "2001:db8::5054" }, /* SLAAC comes first */
		{ "2001:db8::15", "10.0.2.15", "2001:db8::15" },     { "2001:db8::5054", "10.0.2.15", "2001:db8::15" },
		{ "192.0.2.9", "192.0.2.9", "2001:db8::15" },        { "10.0.2.15", "10.0.2.15", "2001:db8::15" },
		{ "192.0.2.9", "10.0.2.15", "2001:db8::15" },        { NULL, "10.0.2.15", "2001:db8::15" },
		{ "192.0.2.9", "192.0.2.9", "2001:db8::15" },        { "2001:db8::99", "192.0.2.9", "2001:db8::99" },
	};
	struct guest g = guest_start();

	g.assigned4 = g.addr4;
	g.assigned6 = g.addr6;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr src = ip(t[i].src ? t[i].src : "");

		if (t[i].src)
			guest_learn(&g, mac_a, &src);
		else
			guest_forget(&g);
		assert_addr(&g.addr4, t[i].addr4, "IPv4");
		assert_addr(&g.addr6, t[i].addr6, "IPv6");
	}
}

static void test_learn_fixed(void **state)
{
	struct addr v4 = ip("192.0.2.1"), v6 = ip("2001:db8::99"), ll = ip("fe80::7");
	struct guest g = guest_start();

	g.fixed4 = g.fixed6 = true;
	guest_learn(&g, mac_a, &v4);
	guest_learn(&g, mac_a, &v6);
	guest_learn(&g, mac_a, &ll);
	assert_memory_equal(g.mac, mac_a, MAC_LEN);
	assert_addr(&g.addr4, "10.0.2.15", "fixed4");
	assert_addr(&g.addr6, "2001:db8::15", "fixed6");
	assert_addr(&g.ll6, "fe80::7", "link-local is never configured");
}

static void test_learn_bad_mac(void **state)
{
	static const uint8_t zero[MAC_LEN], mcast[MAC_LEN] = { 0x33, 0x33, 0, 0, 0, 1 };
	const uint8_t *bad[] = { zero, mcast, mac_bcast, our_mac };
	struct addr src = ip("192.0.2.1");

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct guest g = guest_start();

		guest_learn(&g, bad[i], &src);
		assert_memory_equal(g.mac, mac_bcast, MAC_LEN);
		assert_addr(&g.addr4, "10.0.2.15", "frame that the guest can't have sent");
	}
}

static void test_addr_for(void **state)
{
	static const struct {
		const char *ll6, *addr6, *peer, *want;
	} t[] = {
		{ "fe80::9", "2001:db8::15", "192.0.2.1", "10.0.2.15" },
		{ "fe80::9", "2001:db8::15", "127.0.0.1", "10.0.2.15" },
		{ "fe80::9", "2001:db8::15", "2001:db8::1", "2001:db8::15" },
		{ "fe80::9", "2001:db8::15", "::1", "2001:db8::15" },
		{ "fe80::9", "2001:db8::15", "fe80::1", "fe80::9" },
		{ "", "2001:db8::15", "fe80::1", "2001:db8::15" },
		{ "fe80::9", "", "2001:db8::1", "fe80::9" },
		{ "", "", "2001:db8::1", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct guest g = guest_start();
		struct addr peer = ip(t[i].peer);

		g.ll6 = ip(t[i].ll6);
		g.addr6 = ip(t[i].addr6);
		assert_addr(guest_addr_for(&g, &peer), t[i].want, t[i].peer);
	}
}

/* What is ours is nobody else's, unless the guest was given it; networks behind the guest are its own business. */
static void test_may_send(void **state)
{
	static const struct {
		const char *src, *dst;
		bool may;
	} t[] = {
		{ "10.0.2.15", "198.51.100.1", true },
		{ "10.0.2.99", "198.51.100.1", true },
		{ "172.17.0.2", "198.51.100.1", true },
		{ "10.0.2.15", "10.0.2.2", true },
		{ "10.0.2.2", "198.51.100.1", false },
		{ "169.254.1.1", "198.51.100.1", false },
		{ "169.254.1.2", "198.51.100.1", false },
		{ "169.254.1.3", "198.51.100.1", false },
		{ "10.0.2.15", "10.0.2.15", false },
		{ "127.0.0.1", "198.51.100.1", false },
		{ "0.0.0.0", "198.51.100.1", false },
		{ "224.0.0.1", "198.51.100.1", false },
		{ "255.255.255.255", "198.51.100.1", false },
		{ "2001:db8::15", "2001:db8:1::1", true },
		{ "fd00::7", "2001:db8:1::1", true },
		{ "fe80::15", "fe80::1", true },
		{ "fe80::1", "2001:db8:1::1", false },
		{ "::1", "2001:db8:1::1", false },
		{ "::", "2001:db8:1::1", false },
		{ "ff02::1", "2001:db8:1::1", false },
	};
	struct nat n = { .v4 = { .our = ip("10.0.2.2"),
				 .map_loopback = ip("169.254.1.1"),
				 .map_guest = ip("169.254.1.2"),
				 .dns_forward = ip("169.254.1.3"),
				 .guest = ip("10.0.2.15"),
				 .host = ip("10.0.2.15") },
			 .our_ll6 = ip("fe80::1") };
	struct guest g = guest_start();

	g.nat = &n;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct addr src = ip(t[i].src), dst = ip(t[i].dst);

		if (guest_may_send(&g, &src, &dst) != t[i].may)
			fail_msg("%s to %s", t[i].src, t[i].dst);
		guest_learn(&g, mac_a, &src);
		assert_false(nat_is_ours(&n, &g.addr4) || nat_is_ours(&n, &g.addr6) ||
			     (addr_is_set(&g.ll6) && nat_is_ours(&n, &g.ll6)));
	}
	n.v4.our = n.v4.guest;
	assert_true(guest_may_send(&g, &n.v4.guest, &n.v4.map_guest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_learn_addr),    cmocka_unit_test(test_learn_settles), cmocka_unit_test(test_learn_fixed),
		cmocka_unit_test(test_learn_bad_mac), cmocka_unit_test(test_addr_for),      cmocka_unit_test(test_may_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
