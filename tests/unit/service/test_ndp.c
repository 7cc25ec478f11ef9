/* SPDX-License-Identifier: MIT */
#include "expect.h"

#define DNSNAME_TEXT_LONG 253 /* longest name that is one */

#define HDR(hop) "86dd 60000000 0000 3a " hop " "
#define GUEST_LL "fe80 00*6 5054 00ff fe12 3456 "
#define ANY6 "00*16 "
#define ALL_NODES "ff02 00*13 01 "
#define SOL(x) "ff02 00*9 01ff " x " "
#define SOL_MAC(x) "3333ff" x " "
#define P64 "20010db8 00*4 "
#define GW6 P64 "00*7 01 "
#define ADDR6 P64 "00*7 02 "
#define FAR6 "20010db8 ffff 00*9 77 "
#define NS "87 00 0000 00000000 "
#define RS "85 00 0000 00000000 "
#define SLLA "0101 " GUEST_MAC

#define FROM_LL SOL_MAC("000001") GUEST_MAC HDR("ff") GUEST_LL SOL("000001")
#define FROM_ANY(x) SOL_MAC(x) GUEST_MAC HDR("ff") ANY6 SOL(x)
#define NA(src, dst, flags, target) HDR("ff") src dst "88 00 0000 " flags "000000 " target "0201 " OUR_MAC
#define TO_LL GUEST_MAC OUR_MAC
#define TO_ALL "333300000001 " OUR_MAC

static void neighbours(void **state)
{
	static const struct {
		const char *what, *ask, *want;
	} cases[] = {
		{ "router", FROM_LL NS OUR_LL6 SLLA, TO_LL NA(OUR_LL6, GUEST_LL, "e0", OUR_LL6) },
		{ "router's other address", FROM_LL NS GW6 SLLA, TO_LL NA(GW6, GUEST_LL, "e0", GW6) },
		{ "anyone else", FROM_LL NS FAR6 SLLA, TO_LL NA(OUR_LL6, GUEST_LL, "60", FAR6) },
		{ "no options", FROM_LL NS FAR6, TO_LL NA(OUR_LL6, GUEST_LL, "60", FAR6) },
		{ "a nonce too", FROM_LL NS FAR6 "0e01 010203040506 " SLLA, TO_LL NA(OUR_LL6, GUEST_LL, "60", FAR6) },
		{ "from loopback, for itself",
		  "00*6 00*6 " HDR("ff") "00*15 01 "
					 "00*15 01 " NS "00*15 01 ",
		  "00*6 " OUR_MAC NA(OUR_LL6, "00*15 01 ", "60", "00*15 01 ") },
		{ "from loopback, for nothing",
		  "00*6 00*6 " HDR("ff") "00*15 01 "
					 "00*16 " NS "00*16 ",
		  "00*6 " OUR_MAC NA(OUR_LL6, "00*15 01 ", "60", "00*16 ") },
		{ "guest's own address", FROM_LL NS ADDR6 SLLA, NULL },
		{ "detection of its own address", FROM_ANY("000002") NS ADDR6, NULL },
		{ "detection of a free address", FROM_ANY("123456") NS GUEST_LL, NULL },
		{ "detection of ours", FROM_ANY("000001") NS OUR_LL6, TO_ALL NA(OUR_LL6, ALL_NODES, "a0", OUR_LL6) },
		{ "detection of our other one", FROM_ANY("000001") NS GW6, TO_ALL NA(GW6, ALL_NODES, "a0", GW6) },
		{ "detection with an address", FROM_ANY("000001") NS OUR_LL6 SLLA, NULL },
		{ "detection to one host", SOL_MAC("000001") GUEST_MAC HDR("ff") ANY6 OUR_LL6 NS OUR_LL6, NULL },
		{ "has passed a router", SOL_MAC("000001") GUEST_MAC HDR("fe") GUEST_LL SOL("000001") NS OUR_LL6 SLLA, NULL },
		{ "code", FROM_LL "87 01 0000 00000000 " OUR_LL6, NULL },
		{ "multicast target", FROM_LL NS ALL_NODES, NULL },
		{ "multicast sender", SOL_MAC("000001") GUEST_MAC HDR("ff") ALL_NODES SOL("000001") NS OUR_LL6, NULL },
		{ "IPv4-mapped sender", SOL_MAC("000001") GUEST_MAC HDR("ff") "00*10 ffff c0000202 " SOL("000001") NS OUR_LL6,
		  NULL },
		{ "empty option", FROM_LL NS OUR_LL6 "0100 00*6", NULL },
		{ "option past the end", FROM_LL NS OUR_LL6 "0102 00*6", NULL },
		{ "bytes behind the options", FROM_LL NS OUR_LL6 SLLA "01", NULL },
		{ "advertisement", FROM_LL "88 00 0000 60000000 " OUR_LL6, NULL },
		{ "router advertisement", FROM_LL "86 00 0000 40000000 00*8", NULL },
		{ "redirect", FROM_LL "89 00 0000 00000000 " OUR_LL6 FAR6, NULL },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, cases[i].want);
	c.ndp = false;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, NULL);
	c = kit_conf();
	c.v6 = false;
	expect_reply(&c, "no IPv6", FROM_LL NS OUR_LL6 SLLA, NULL);
}

/* A checksum that only a device would complete, or none at all, is no reason to be silent. */
static void checksum_ignored(void **state)
{
	struct guestconf c = kit_conf();
	struct kit_reply r = { 0 };
	uint8_t f[256];
	size_t len = kit_hex(FROM_LL NS OUR_LL6 SLLA, f, sizeof(f));

	kit_seal(f, len);
	f[56] ^= 0x55;
	assert_int_equal(kit_ask(&c, f, len, &r), 0);
	assert_int_equal(r.v, SERVICE_REPLY);
	assert_null(kit_reply_fault(&c, r.f, r.len));
}

#define RA_HDR(src, dst) HDR("ff") src dst "86 00 0000 40 "
#define RA_SLLA "0101 " OUR_MAC
#define RA_PREFIX "0304 40 c0 ffffffff ffffffff 00000000 " P64 "00*8 "
#define RA_MTU "0501 0000 0000fff0 "
#define RA_RDNSS "1903 0000 ffffffff " P64 "00*7 53 "
#define RA_DNSSL "1f04 0000 ffffffff 07 6578616d706c65 03 6f7267 00 01 61 04 74657374 00 00*3 "
#define ASK_RA "333300000002 " GUEST_MAC HDR("ff") GUEST_LL "ff02 00*13 02 " RS
#define TO_LL_RA TO_LL RA_HDR(OUR_LL6, GUEST_LL)

static void routers(void **state)
{
	static const char all[] = TO_LL_RA "c0 ffff 00*8 " RA_SLLA RA_PREFIX RA_MTU RA_RDNSS RA_DNSSL;
	struct guestconf c = kit_conf();

	expect_reply(&c, "all of it", ASK_RA SLLA, all);
	expect_reply(&c, "without an option", ASK_RA, all);
	expect_reply(&c, "from nowhere yet", "333300000002 " GUEST_MAC HDR("ff") ANY6 "ff02 00*13 02 " RS,
		     TO_ALL RA_HDR(OUR_LL6, ALL_NODES) "c0 ffff 00*8 " RA_SLLA RA_PREFIX RA_MTU RA_RDNSS RA_DNSSL);
	expect_reply(&c, "from nowhere, with an address", "333300000002 " GUEST_MAC HDR("ff") ANY6 "ff02 00*13 02 " RS SLLA, NULL);
	expect_reply(&c, "has passed a router", "333300000002 " GUEST_MAC HDR("40") GUEST_LL "ff02 00*13 02 " RS SLLA, NULL);

	c.dhcp6 = false;
	expect_reply(&c, "no DHCPv6", ASK_RA, TO_LL_RA "00 ffff 00*8 " RA_SLLA RA_PREFIX RA_MTU RA_RDNSS RA_DNSSL);
	c.dns = false;
	expect_reply(&c, "no DNS", ASK_RA, TO_LL_RA "00 ffff 00*8 " RA_SLLA RA_PREFIX RA_MTU RA_DNSSL);
	c.search_on = false;
	expect_reply(&c, "no search list", ASK_RA, TO_LL_RA "00 ffff 00*8 " RA_SLLA RA_PREFIX RA_MTU);
	c.mtu = 0;
	expect_reply(&c, "no MTU", ASK_RA, TO_LL_RA "00 ffff 00*8 " RA_SLLA RA_PREFIX);
	c.addr6 = addr_any6;
	expect_reply(&c, "no address", ASK_RA, TO_LL_RA "00 ffff 00*8 " RA_SLLA);
	c.dhcp6 = true;
	expect_reply(&c, "no address but DHCPv6", ASK_RA, TO_LL_RA "40 ffff 00*8 " RA_SLLA);
	c.addr6 = c.our_ll6;
	c.addr6.b[15] = 9;
	expect_reply(&c, "link-local address", ASK_RA, TO_LL_RA "c0 ffff 00*8 " RA_SLLA);
	c.ra = false;
	expect_reply(&c, "no advertisements", ASK_RA, NULL);
	expect_reply(&c, "but neighbours", FROM_LL NS OUR_LL6 SLLA, TO_LL NA(OUR_LL6, GUEST_LL, "e0", OUR_LL6));
}

/* A search list of any length: never an option of length zero, never a padding of eight (kit_reply_fault() walks the options). */
static void search_lengths(void **state)
{
	for (unsigned len = 1; len <= DNSNAME_TEXT_LONG; len++) {
		struct guestconf c = kit_conf();
		size_t wire = len + 2, units = (wire + 7) / 8;
		uint8_t buf[SERVICE_FRAME_MAX];
		struct wr w = wr_init(buf, sizeof(buf));

		for (unsigned i = 0; i < len; i++)
			c.search[0][i] = i % 60 == 59 ? '.' : 'x';
		c.search[0][len] = 0;
		if (c.search[0][len - 1] == '.')
			wire--, units = (wire + 7) / 8;
		c.n_search = 1;
		service_ra(&c, &w);
		assert_null(kit_reply_fault(&c, buf, wr_len(&w)));
		assert_int_equal(wr_len(&w), 54 + 16 + 8 + 32 + 8 + 24 + 8 + units * 8);
		assert_int_equal(buf[54 + 16 + 8 + 32 + 8 + 24 + 1], 1 + units);
	}
}

/* More names than fit: the first ones, whole, and the packet fits the smallest MTU. */
static void search_too_long(void **state)
{
	struct guestconf c = kit_conf();
	uint8_t buf[SERVICE_FRAME_MAX];
	struct wr w = wr_init(buf, sizeof(buf));

	for (unsigned i = 0; i < GUESTCONF_SEARCH; i++) {
		for (unsigned k = 0; k < DNSNAME_TEXT_LONG; k++)
			c.search[i][k] = k % 50 == 49 ? '.' : 'x';
	}
	c.n_search = GUESTCONF_SEARCH;
	c.n_dns6 = GUESTCONF_DNS;
	service_ra(&c, &w);
	assert_null(kit_reply_fault(&c, buf, wr_len(&w)));
	/* Four of 255 bytes each are 1020, 1024 with padding; a fifth would not fit 1280. */
	assert_int_equal(wr_len(&w), 54 + 16 + 8 + 32 + 8 + 136 + 8 + 4 * 255 + 4);
	assert_true(wr_len(&w) <= 14 + 1280);
}

static void no_names_no_option(void **state)
{
	struct guestconf c = kit_conf();
	uint8_t buf[SERVICE_FRAME_MAX];
	struct wr w = wr_init(buf, sizeof(buf));

	strcpy(c.search[0], "..");
	strcpy(c.search[1], "");
	service_ra(&c, &w);
	assert_null(kit_reply_fault(&c, buf, wr_len(&w)));
	assert_int_equal(wr_len(&w), 54 + 16 + 8 + 32 + 8 + 24);
}

static void unsolicited(void **state)
{
	static const char want[] = TO_ALL RA_HDR(OUR_LL6, ALL_NODES) "c0 ffff 00*8 " RA_SLLA RA_PREFIX RA_MTU RA_RDNSS RA_DNSSL;
	struct guestconf c = kit_conf();
	uint8_t buf[SERVICE_FRAME_MAX], exp[SERVICE_FRAME_MAX];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t len = kit_hex(want, exp, sizeof(exp));

	kit_seal(exp, len);
	service_ra(&c, &w);
	expect_same("unsolicited", buf, wr_len(&w), exp, len);
	for (unsigned i = 0; i < 3; i++) {
		c = kit_conf();
		if (i == 0)
			c.v6 = false;
		else if (i == 1)
			c.ra = false;
		else
			c.ndp = false;
		w = wr_init(buf, sizeof(buf));
		service_ra(&c, &w);
		assert_int_equal(wr_len(&w), 0);
		assert_true(wr_ok(&w));
	}
	w = wr_init(buf, 100);
	c = kit_conf();
	service_ra(&c, &w);
	assert_int_equal(wr_len(&w), 0);
}

/* RFC 4861 6.2.4 and 10; and the lifetime of the route is far longer than the longest wait. */
static void intervals(void **state)
{
	uint32_t rnd[] = { 0, 1, 15, 16, 399, 400, 401, 0x7fffffff, UINT32_MAX };

	for (unsigned sent = 0; sent < 10; sent++) {
		for (size_t i = 0; i < ARRAY_SIZE(rnd); i++) {
			unsigned s = service_ra_interval(sent, rnd[i]);

			assert_true(s >= (sent < 3 ? 1 : 200) && s <= (sent < 3 ? 16 : 600));
			assert_true(s * 3 < 65535);
		}
	}
	assert_int_not_equal(service_ra_interval(3, 7), service_ra_interval(3, 8));
	assert_int_equal(service_ra_interval(UINT32_MAX, 400), 600);
}

static void cut(void **state)
{
	struct guestconf c = kit_conf();

	expect_cuts(&c, "neighbour", FROM_LL NS OUR_LL6 "0e01 00*6 " SLLA, 78);
	expect_cuts(&c, "router", ASK_RA "0e01 00*6 " SLLA, 62);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours),     cmocka_unit_test(checksum_ignored), cmocka_unit_test(routers),
		cmocka_unit_test(search_lengths), cmocka_unit_test(search_too_long),  cmocka_unit_test(no_names_no_option),
		cmocka_unit_test(unsolicited),    cmocka_unit_test(intervals),        cmocka_unit_test(cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
