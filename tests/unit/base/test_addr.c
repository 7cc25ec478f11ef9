/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/socket.h>

#include "base/addr.h"

static struct addr A(const char *s) {
	struct addr a;

	assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

/* Text in and the same or canonical text out (RFC 5952). */
static const struct {
	const char *in, *out;
} good[] = {
	{ "0.0.0.0", "0.0.0.0" },
	{ "255.255.255.255", "255.255.255.255" },
	{ "192.0.2.1", "192.0.2.1" },
	{ "::", "::" },
	{ "::1", "::1" },
	{ "1::", "1::" },
	{ "0:0:0:0:0:0:0:1", "::1" },
	{ "2001:0DB8:0000:0000:0008:0800:200C:417A", "2001:db8::8:800:200c:417a" },
	{ "2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1" },
	{ "2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1" },
	{ "2001:0:0:1:0:0:0:1", "2001:0:0:1::1" },
	{ "0:0:1:1:1:1:0:0", "::1:1:1:1:0:0" },
	{ "1:0:1:1:1:1:0:0", "1:0:1:1:1:1::" },
	{ "::ffff:10.1.2.3", "10.1.2.3" },
	{ "::ffff:a01:203", "10.1.2.3" },
	{ "::1:2", "::1:2" },
	{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
};

static const char *const bad[] = {
	"",
	" ",
	"1",
	"1.2.3",
	"1.2.3.4.5",
	"1.2.3.256",
	"1.2.3.4 ",
	" 1.2.3.4",
	"1.2.3.-4",
	"a.b.c.d",
	"1.2.3.4/24",
	":",
	":::",
	"1::2::3",
	"1:2:3:4:5:6:7",
	"1:2:3:4:5:6:7:8:9",
	"12345::",
	"g::",
	"fe80::1%eth0",
	"::1/64",
	"[::1]",
};

static void test_parse_fmt(void **state)
{
	char buf[ADDR_STRLEN];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(good); i++) {
		struct addr a = A(good[i].in), b;

		assert_string_equal(addr_fmt(&a, buf), good[i].out);
		b = A(buf);
		assert_true(addr_eq(&a, &b));
	}
}

static void test_parse_bad(void **state)
{
	struct addr a = addr_loopback4;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(addr_parse(bad[i], &a), -EINVAL);
	assert_true(addr_eq(&a, &addr_loopback4));
}

static void test_parse_n(void **state)
{
	static const struct {
		const char *s;
		size_t len;
		const char *want; /* NULL: -EINVAL */
	} cases[] = {
		{ "192.0.2.1:80", 9, "192.0.2.1" },
		{ "192.0.2.1:80", 12, NULL },
		{ "192.0.2.1", 8, NULL },
		{ "192.0.2.11", 9, "192.0.2.1" },
		{ "[2001:db8::1]:80", 13, "2001:db8::1" },
		{ "[2001:db8::1]:80", 12, NULL },
		{ "2001:db8::1", 11, "2001:db8::1" },
		{ "[::ffff:1.2.3.4]", 16, "1.2.3.4" },
		{ "[1.2.3.4]", 9, "1.2.3.4" },
		{ "[]", 2, NULL },
		{ "[", 1, NULL },
		{ "", 0, NULL },
		{ "::1\0::", 6, NULL },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", 45, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]", 47, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
		{ "0000000000000000000000000000000000000000000000001", 49, NULL },
	};
	char buf[ADDR_STRLEN];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a;

		assert_int_equal(addr_parse_n(cases[i].s, cases[i].len, &a), cases[i].want ? 0 : -EINVAL);
		if (cases[i].want)
			assert_string_equal(addr_fmt(&a, buf), cases[i].want);
	}
}

#define ANY 1
#define LOOP 2
#define MULTI 4
#define LINK 8
#define BROAD 16

static void test_class(void **state)
{
	static const struct {
		const char *s;
		int family;
		unsigned is;
	} cases[] = {
		{ "0.0.0.0", AF_INET, ANY },
		{ "::", AF_INET6, ANY },
		{ "0.0.0.1", AF_INET, 0 },
		{ "127.0.0.1", AF_INET, LOOP },
		{ "127.255.255.255", AF_INET, LOOP },
		{ "128.0.0.1", AF_INET, 0 },
		{ "::1", AF_INET6, LOOP },
		{ "::2", AF_INET6, 0 },
		{ "::7f00:1", AF_INET6, 0 },
		{ "223.255.255.255", AF_INET, 0 },
		{ "224.0.0.1", AF_INET, MULTI },
		{ "239.255.255.255", AF_INET, MULTI },
		{ "240.0.0.1", AF_INET, 0 },
		{ "ff02::1", AF_INET6, MULTI },
		{ "fe80::1", AF_INET6, LINK },
		{ "febf::1", AF_INET6, LINK },
		{ "fec0::1", AF_INET6, 0 },
		{ "169.254.7.7", AF_INET, LINK },
		{ "169.253.7.7", AF_INET, 0 },
		{ "255.255.255.255", AF_INET, BROAD },
		{ "2001:db8::1", AF_INET6, 0 },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = A(cases[i].s);
		unsigned is = cases[i].is;

		assert_int_equal(addr_family(&a), cases[i].family);
		assert_int_equal(addr_len(&a), cases[i].family == AF_INET ? 4 : 16);
		assert_int_equal(addr_is_any(&a), !!(is & ANY));
		assert_int_equal(addr_is_loopback(&a), !!(is & LOOP));
		assert_int_equal(addr_is_multicast(&a), !!(is & MULTI));
		assert_int_equal(addr_is_linklocal(&a), !!(is & LINK));
		assert_int_equal(addr_is_broadcast(&a), !!(is & BROAD));
		assert_int_equal(addr_is_unicast(&a), !(is & ~LINK));
		assert_int_equal(addr_is_set(&a), strcmp(cases[i].s, "::") != 0);
	}
}

static void test_mac_is_zero(void **state)
{
	for (unsigned i = 0; i <= MAC_LEN; i++) {
		uint8_t mac[MAC_LEN] = { 0 };

		if (i < MAC_LEN)
			mac[i] = 1;
		assert_int_equal(mac_is_zero(mac), i == MAC_LEN);
	}
}

static void test_same_net(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned plen;
		bool same;
	} cases[] = {
		{ "10.0.0.1", "10.0.0.2", 30, true },
		{ "10.0.0.1", "10.0.0.2", 31, false },
		{ "10.0.0.1", "10.0.0.1", 32, true },
		{ "10.0.0.1", "10.0.0.1", 99, true },
		{ "10.0.0.1", "192.168.0.1", 0, true },
		{ "10.0.0.1", "192.168.0.1", 1, false },
		{ "10.0.0.1", "::1", 0, false },
		{ "2001:db8::1", "2001:db8::ffff", 112, true },
		{ "2001:db8::1", "2001:db8::ffff", 113, false },
		{ "2001:db8::1", "3001:db8::1", 3, true },
		{ "2001:db8::1", "3001:db8::1", 4, false },
		{ "2001:db8::1", "2001:db8::1", 128, true },
		{ "2001:db8::1", "2001:db8::2", 128, false },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct addr a = A(cases[i].a), b = A(cases[i].b);

		assert_int_equal(addr_same_net(&a, &b, cases[i].plen), cases[i].same);
		assert_int_equal(addr_same_net(&b, &a, cases[i].plen), cases[i].same);
	}
}

static void test_ep(void **state)
{
	struct ep e4 = { .addr = A("192.0.2.1"), .port = 80 }, e6 = { .addr = A("2001:db8::1"), .port = 65535 };
	struct ep longest = { .addr = A("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), .port = 65535 };
	struct ep other = e4;
	char buf[EP_STRLEN];

	assert_string_equal(ep_fmt(&e4, buf), "192.0.2.1:80");
	assert_string_equal(ep_fmt(&e6, buf), "[2001:db8::1]:65535");
	assert_string_equal(ep_fmt(&longest, buf), "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	assert_true(ep_eq(&e4, &other));
	other.port++;
	assert_false(ep_eq(&e4, &other));
	assert_false(ep_eq(&e4, &e6));
}

static void test_mac(void **state)
{
	static const char *const wrong[] = {
		"",
		"9a:55:9a:55:9a",
		"9a:55:9a:55:9a:5",
		"9a:55:9a:55:9a:55:",
		"9a:55:9a:55:9a:55:01",
		"9a-55-9a-55-9a-55",
		"9a:55:9a:55:9a:5g",
		"9a:55:9a:55:9a: 5",
		"00:00:00:00:00:00",
		"01:00:5e:00:00:01",
		"ff:ff:ff:ff:ff:ff",
	};
	static const uint8_t want[] = { 0x9a, 0x0B, 0, 1, 0xFE, 0xff };
	uint8_t mac[MAC_LEN];
	char buf[MAC_STRLEN];
	size_t i;

	assert_int_equal(mac_parse("9A:0b:00:01:fE:Ff", mac), 0);
	assert_memory_equal(mac, want, MAC_LEN);
	assert_string_equal(mac_fmt(mac, buf), "9a:0b:00:01:fe:ff");
	for (i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(mac_parse(wrong[i], mac), -EINVAL);
	assert_memory_equal(mac, want, MAC_LEN);
}

static void test_mask(void **state)
{
	static const char *const wrong[] = { "255.0.255.0", "0.0.0.1", "254.255.0.0", "255.255.255.1", "ffff::", "::" };
	unsigned plen, got;
	size_t i;

	for (plen = 0; plen <= 32; plen++) {
		uint32_t m = plen ? UINT32_MAX << (32 - plen) : 0;
		struct addr a = ADDR4_INIT((uint8_t)(m >> 24), (uint8_t)(m >> 16), (uint8_t)(m >> 8), (uint8_t)m);

		assert_int_equal(mask_to_plen(&a, &got), 0);
		assert_int_equal(got, plen);
	}
	got = 77;
	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct addr a = A(wrong[i]);

		assert_int_equal(mask_to_plen(&a, &got), -EINVAL);
	}
	assert_int_equal(got, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_fmt), cmocka_unit_test(test_parse_bad),   cmocka_unit_test(test_parse_n),
		cmocka_unit_test(test_class),     cmocka_unit_test(test_mac_is_zero), cmocka_unit_test(test_same_net),
		cmocka_unit_test(test_ep),        cmocka_unit_test(test_mac),         cmocka_unit_test(test_mask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
