/* SPDX-License-Identifier: MIT */
#include "expect.h"

/* A frame of the guest to the server: IPv4 with UDP, then flags, ciaddr, giaddr and options of the message. */
#define UDP4(src, dst) "0800 4500 0000 0000 4000 40 11 0000 " src dst
#define OUT BCAST_MAC GUEST_MAC UDP4(ANY4, BCAST4) "0044 0043 0000 0000 "
#define FIX(op, flags, ci, yi, gi) op " 01 06 00 deadbeef 0000 " flags " " ci yi ANY4 gi GUEST_MAC "00*10 00*192 63825363 "
#define ASK(flags, ci, opts) OUT FIX("01", flags, ci, ANY4, ANY4) opts "ff"

#define TO_MAC(mac) mac OUR_MAC
#define IN(dst, port) UDP4(OUR4, dst) "0043 " port " 0000 0000 "
#define TO_YOU TO_MAC(GUEST_MAC) IN(GUEST4, "0044")
#define TO_ALL TO_MAC(BCAST_MAC) IN(BCAST4, "0044")
#define ANS(flags, ci, yi) FIX("02", flags, ci, yi, ANY4)

#define TYPE(t) "35 01 " t " "
#define PARAMS0 "37 01 00 "
#define SERVER "36 04 " OUR4
#define LEASE "33 04 ffffffff "
#define NET "01 04 ffffff00 03 04 " OUR4
#define DNS "06 08 c6336435 c6336436 "
#define NAME "0c 05 6775657374 "
#define MTU "1a 02 fff0 "
#define SEARCH "77 15 07 6578616d706c65 03 6f7267 00 01 61 04 74657374 00 "
#define ALL NET DNS NAME MTU SEARCH

/* Options behind the cookie are padded with zero to 300 bytes of message: 60 bytes. n is what stands before. */
#define END(pad) "ff 00*" #pad

static void leases(void **state)
{
	static const struct {
		const char *what, *ask, *want;
	} cases[] = {
		{ "discover", ASK("0000", ANY4, TYPE("01")), TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE ALL "ff" },
		{ "discover, broadcast", ASK("8000", ANY4, TYPE("01")),
		  TO_ALL ANS("8000", ANY4, GUEST4) TYPE("02") SERVER LEASE ALL "ff" },
		{ "rapid commit", ASK("8000", ANY4, TYPE("01") "50 00 "),
		  TO_ALL ANS("8000", ANY4, GUEST4) TYPE("05") SERVER LEASE "50 00 " ALL "ff" },
		{ "request: selecting", ASK("0000", ANY4, TYPE("03") SERVER "32 04 " GUEST4),
		  TO_YOU ANS("0000", ANY4, GUEST4) TYPE("05") SERVER LEASE ALL "ff" },
		{ "request: selecting another server", ASK("0000", ANY4, TYPE("03") "36 04 0a000001 32 04 " GUEST4), NULL },
		{ "request: wrong address", ASK("0000", ANY4, TYPE("03") SERVER "32 04 0a000005 "),
		  TO_ALL ANS("0000", ANY4, ANY4) TYPE("06") SERVER END(50) },
		{ "request: rebooting", ASK("0000", ANY4, TYPE("03") "32 04 " GUEST4),
		  TO_YOU ANS("0000", ANY4, GUEST4) TYPE("05") SERVER LEASE ALL "ff" },
		{ "request: rebooting elsewhere", ASK("0000", ANY4, TYPE("03") "32 04 0a000005 "),
		  TO_ALL ANS("0000", ANY4, ANY4) TYPE("06") SERVER END(50) },
		{ "request: renewing", ASK("0000", GUEST4, TYPE("03")),
		  TO_YOU ANS("0000", GUEST4, GUEST4) TYPE("05") SERVER LEASE ALL "ff" },
		{ "request: renewing another", ASK("0000", "0a000005 ", TYPE("03")),
		  TO_ALL ANS("0000", ANY4, ANY4) TYPE("06") SERVER END(50) },
		{ "request: no address at all", ASK("0000", ANY4, TYPE("03")),
		  TO_YOU ANS("0000", ANY4, GUEST4) TYPE("05") SERVER LEASE ALL "ff" },
		{ "rapid commit is not for a request", ASK("0000", ANY4, TYPE("03") "50 00 "),
		  TO_YOU ANS("0000", ANY4, GUEST4) TYPE("05") SERVER LEASE ALL "ff" },
		{ "inform", ASK("0000", "c0000237 ", TYPE("08")),
		  TO_MAC(GUEST_MAC) IN("c0000237 ", "0044") ANS("0000", "c0000237 ", ANY4) TYPE("05") SERVER ALL "ff" },
		{ "inform without address", ASK("0000", ANY4, TYPE("08")),
		  TO_ALL ANS("0000", ANY4, ANY4) TYPE("05") SERVER ALL "ff" },
		{ "decline", ASK("0000", ANY4, TYPE("04") SERVER "32 04 " GUEST4), NULL },
		{ "release", ASK("0000", GUEST4, TYPE("07") SERVER), NULL },
		{ "offer", ASK("0000", ANY4, TYPE("02") SERVER), NULL },
		{ "acknowledgement", ASK("0000", ANY4, TYPE("05") SERVER), NULL },
		{ "unknown type", ASK("0000", ANY4, TYPE("63")), NULL },
		{ "client identifier", ASK("0000", ANY4, TYPE("01") PARAMS0 "3d 07 01 " GUEST_MAC),
		  TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE "3d 07 01 " GUEST_MAC NET END(23) },
		{ "client identifier, refused", ASK("0000", ANY4, TYPE("03") "32 04 0a000005 3d 02 00 31 "),
		  TO_ALL ANS("0000", ANY4, ANY4) TYPE("06") SERVER "3d 02 00 31 " END(46) },
		{ "relay", OUT FIX("01", "0000", ANY4, ANY4, "c0000209 ") TYPE("01") PARAMS0 "ff",
		  TO_MAC(GUEST_MAC) IN("c0000209 ", "0043") FIX("02", "0000", ANY4, GUEST4, "c0000209 ") TYPE("02")
			  SERVER LEASE NET END(32) },
		{ "relay, refused", OUT FIX("01", "0000", ANY4, ANY4, "c0000209 ") TYPE("03") "32 04 0a000005 ff",
		  TO_MAC(GUEST_MAC) IN("c0000209 ", "0043") FIX("02", "8000", ANY4, ANY4, "c0000209 ") TYPE("06") SERVER END(50) },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, cases[i].want);
}

static void bootp(void **state)
{
	static const char want[] = TO_YOU ANS("0000", ANY4, GUEST4) NET DNS NAME MTU END(26);
	struct guestconf c = kit_conf();

	expect_reply(&c, "with a cookie", OUT FIX("01", "0000", ANY4, ANY4, ANY4) "ff 00*59", want);
	expect_reply(&c, "without options", OUT FIX("01", "0000", ANY4, ANY4, ANY4), want);
	expect_reply(&c, "another vendor area", OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*192 42*64", want);
	expect_reply(&c, "no vendor area", OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*192", want);
	/* What does not fit the 64 bytes that BOOTP has is left out. */
	memset(c.hostname, 'n', 36);
	c.hostname[36] = 0;
	expect_reply(&c, "long name", OUT FIX("01", "0000", ANY4, ANY4, ANY4) "ff",
		     TO_YOU ANS("0000", ANY4, GUEST4) NET DNS MTU END(33));
}

static void bad_requests(void **state)
{
	static const struct {
		const char *what, *ask;
	} cases[] = {
		{ "reply", OUT FIX("02", "0000", ANY4, ANY4, ANY4) TYPE("01") "ff" },
		{ "hardware type", OUT "01 06 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*192 63825363 " TYPE("01") "ff" },
		{ "hardware length",
		  OUT "01 01 10 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*192 63825363 " TYPE("01") "ff" },
		{ "fixed part cut", OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*191" },
		{ "type of no bytes", ASK("0000", ANY4, "35 00 ") },
		{ "type of two bytes", ASK("0000", ANY4, "35 02 01 01 ") },
		{ "requested address of three", ASK("0000", ANY4, TYPE("01") "32 03 c00002 ") },
		{ "server of five", ASK("0000", ANY4, TYPE("03") "36 05 c000020100 ") },
		{ "empty request list", ASK("0000", ANY4, TYPE("01") "37 00 ") },
		{ "size of one", ASK("0000", ANY4, TYPE("01") "39 01 ff ") },
		{ "client identifier of one", ASK("0000", ANY4, TYPE("01") "3d 01 00 ") },
		{ "rapid commit with a body", ASK("0000", ANY4, TYPE("01") "50 01 00 ") },
		{ "name of two", ASK("0000", ANY4, TYPE("01") "51 02 0000 ") },
		{ "overload of two", ASK("0000", ANY4, TYPE("01") "34 02 0101 ") },
		{ "option past the end", ASK("0000", ANY4, TYPE("01") "3d 09 00 ") },
		{ "option without length", OUT FIX("01", "0000", ANY4, ANY4, ANY4) TYPE("01") "0c" },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		expect_reply(&c, cases[i].what, cases[i].ask, NULL);
}

#define MIN_OFFER TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE NET

/* Pad anywhere, no end, things behind the end, options in the file and sname fields. */
static void odd_lists(void **state)
{
	static const char want[] = MIN_OFFER END(32);
	struct guestconf c = kit_conf();

	expect_reply(&c, "pad", ASK("0000", ANY4, "00*7 " TYPE("01") "00 " PARAMS0 "00*90 "), want);
	expect_reply(&c, "no end", OUT FIX("01", "0000", ANY4, ANY4, ANY4) TYPE("01") PARAMS0, want);
	expect_reply(&c, "behind the end", ASK("0000", ANY4, TYPE("01") PARAMS0 "ff 35 01 04 42 "), want);
	expect_reply(&c, "options of no interest", ASK("0000", ANY4, "0c 03 616263 " TYPE("01") "52 00 fa 02 0101 " PARAMS0), want);
	expect_reply(&c, "in file",
		     OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 00*64 " TYPE("01") PARAMS0
		     "ff 00*121 63825363 34 01 01 ff",
		     want);
	expect_reply(&c, "in sname",
		     OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 " TYPE("01") PARAMS0
		     "ff 00*57 00*128 63825363 34 01 02 ff",
		     want);
	expect_reply(&c, "in both",
		     OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 " TYPE("01") "ff 00*60 " PARAMS0
											       "ff 00*124 63825363 34 01 03 ff",
		     want);
	expect_reply(&c, "cut in file",
		     OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC
			 "00*10 00*64 00*126 0c05 63825363 " TYPE("01") "34 01 01 ff",
		     NULL);
}

static void request_lists(void **state)
{
	static const struct {
		const char *what, *opts, *want;
	} cases[] = {
		{ "order kept", "37 04 77 1a 0c 06 ", MIN_OFFER SEARCH MTU NAME DNS "ff" },
		{ "twice", "37 03 1a 1a 1a ", MIN_OFFER MTU END(28) },
		{ "in two parts", "37 01 1a 37 01 06 ", MIN_OFFER MTU DNS END(18) },
		{ "what we do not have", "37 05 0f 2a 21 79 51 ",
		  MIN_OFFER "51 16 0c ff ff 05 6775657374 07 6578616d706c65 03 6f7267 00 " END(8) },
		{ "name sent, ASCII", "37 01 00 51 04 01 00 00 78 ",
		  MIN_OFFER "51 14 0a ff ff 67756573742e6578616d706c652e6f7267 " END(10) },
		{ "name sent, wire format", "37 01 00 51 03 05 00 00 ",
		  MIN_OFFER "51 16 0e ff ff 05 6775657374 07 6578616d706c65 03 6f7267 00 " END(8) },
		{ "name sent, no update wished", "37 01 00 51 03 0c 00 00 ",
		  MIN_OFFER "51 16 0c ff ff 05 6775657374 07 6578616d706c65 03 6f7267 00 " END(8) },
	};
	struct guestconf c = kit_conf();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char ask[2048];

		snprintf(ask, sizeof(ask), "%s%s%sff", OUT FIX("01", "0000", ANY4, ANY4, ANY4), TYPE("01"), cases[i].opts);
		expect_reply(&c, cases[i].what, ask, cases[i].want);
	}
}

#define DISCOVER0 ASK("0000", ANY4, TYPE("01") "37 05 06 0c 1a 51 77 ")

static void less_to_say(void **state)
{
	struct guestconf c = kit_conf();

	c.dns = c.search_on = false;
	c.mtu = 0;
	c.hostname[0] = c.fqdn[0] = 0;
	expect_reply(&c, "nothing", DISCOVER0, MIN_OFFER END(32));
	c.gw4 = addr_any4;
	c.plen4 = 16;
	expect_reply(&c, "no gateway", DISCOVER0,
		     TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE "01 04 ffff0000 " END(38));
	c.plen4 = 0;
	expect_reply(&c, "prefix of nothing", DISCOVER0,
		     TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE "01 04 00000000 " END(38));
	c.mtu = 67;
	strcpy(c.fqdn, "a..b");
	strcpy(c.search[0], ".");
	c.search_on = true;
	c.n_search = 1;
	expect_reply(&c, "what cannot be said", DISCOVER0,
		     TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE "01 04 00000000 " END(38));
}

#define OFFER_SLASH32 TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE "01 04 ffffffff "
#define ASK_ROUTES ASK("0000", ANY4, TYPE("01") "37 01 79 ")

static void routes(void **state)
{
	struct guestconf c = kit_conf();

	expect_reply(&c, "plain", ASK_ROUTES, MIN_OFFER END(32));
	c.plen4 = 32;
	expect_reply(&c, "single address", ASK_ROUTES, OFFER_SLASH32 "79 0e 20 " OUR4 ANY4 "00 " OUR4 "03 04 " OUR4 END(16));
	expect_reply(&c, "single address, not asked", ASK("0000", ANY4, TYPE("01") PARAMS0), OFFER_SLASH32 "03 04 " OUR4 END(32));
	c.plen4 = 24;
	c.gw4 = c.our4 = ADDR4_INIT(169, 254, 1, 1);
	expect_reply(&c, "gateway elsewhere", ASK_ROUTES,
		     TO_MAC(GUEST_MAC) UDP4("a9fe0101 ", GUEST4) "0043 0044 0000 0000 " ANS("0000", ANY4, GUEST4)
			     TYPE("02") "36 04 a9fe0101 " LEASE
					"01 04 ffffff00 79 0e 20 a9fe0101 00000000 00 a9fe0101 03 04 a9fe0101 " END(16));

	c = kit_conf();
	c.n_route4 = 4;
	c.route4[0] = (struct guestconf_route){ ADDR4_INIT(10, 255, 255, 255), 9, ADDR4_INIT(192, 0, 2, 9) };
	c.route4[1] = (struct guestconf_route){ ADDR4_INIT(10, 9, 8, 0), 24, addr_any4 };
	c.route4[2] = (struct guestconf_route){ ADDR4_INIT(172, 16, 0, 0), 12, ADDR4_INIT(192, 0, 2, 9) };
	c.route4[3] = (struct guestconf_route){ ADDR4_INIT(1, 2, 3, 4), 32, addr_any6 };
	expect_reply(&c, "many", ASK_ROUTES,
		     TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE
		     "01 04 ffffff00 79 24 18 0a0908 00000000 20 01020304 00000000 00 " OUR4
		     "09 0a80 c0000209 0c ac10 c0000209 03 04 " OUR4 "ff");
	c.gw4 = addr_any4;
	expect_reply(&c, "no default", ASK_ROUTES,
		     TO_YOU ANS("0000", ANY4, GUEST4) TYPE("02") SERVER LEASE
		     "01 04 ffffff00 79 1f 18 0a0908 00000000 20 01020304 00000000 09 0a80 c0000209 0c ac10 c0000209 " END(5));
}

/* Asks and returns the length of the reply's frame, checked. */
static size_t reply_size(const struct guestconf *c, const char *ask, struct kit_reply *r)
{
	uint8_t in[2048];
	size_t len = kit_hex(ask, in, sizeof(in));

	kit_seal(in, len);
	assert_int_equal(kit_ask(c, in, len, r), 0);
	assert_int_equal(r->v, SERVICE_REPLY);
	assert_null(kit_reply_fault(c, r->f, r->len));
	return r->len;
}

/* Bytes of all parts of option code put together; *ret_parts counts them. */
static size_t option_len(const struct kit_reply *r, uint8_t code, unsigned *ret_parts)
{
	size_t i = 42 + 240, sum = 0;

	*ret_parts = 0;
	for (; r->f[i] != 255; i += r->f[i] ? 2u + r->f[i + 1] : 1u) {
		if (r->f[i] == code) {
			sum += r->f[i + 1];
			++*ret_parts;
		}
	}
	return sum;
}

static void long_search(struct guestconf *c, unsigned n)
{
	c->n_search = n;
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < 98; k++)
			c->search[i][k] = k % 50 == 49 ? '.' : (char)('a' + i);
		c->search[i][98] = 0;
	}
}

/* A frame of 576 bytes unless the client takes more; whole names only; over 255 bytes in parts. */
static void sizes(void **state)
{
	static const struct {
		const char *opts;
		uint16_t mtu;
		size_t max, search, parts;
	} cases[] = {
		{ "37 01 77 ", 0, 576, 200, 1 },
		{ "37 01 77 39 02 0100 ", 0, 590, 200, 1 },
		{ "37 01 77 39 02 0240 ", 0, 590, 200, 1 },
		{ "37 01 77 39 02 02c0 ", 0, 718, 400, 2 },
		{ "37 01 77 39 02 05dc ", 0, 1514, 800, 4 },
		{ "37 01 77 39 02 ffff ", 0, 1514, 800, 4 },
		{ "37 01 77 39 02 ffff ", 690, 704, 300, 2 },
		{ "37 01 77 39 02 ffff ", 500, 1514, 800, 4 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct guestconf c = kit_conf();
		struct kit_reply r = { 0 };
		unsigned parts;
		char ask[2048];

		long_search(&c, 8);
		c.mtu = cases[i].mtu;
		snprintf(ask, sizeof(ask), "%s%s%sff", OUT FIX("01", "0000", ANY4, ANY4, ANY4), TYPE("01"), cases[i].opts);
		assert_true(reply_size(&c, ask, &r) <= cases[i].max);
		assert_int_equal(option_len(&r, 119, &parts), cases[i].search);
		assert_int_equal(parts, cases[i].parts);
	}
}

/* Wherever the limit cuts the list, the end marker has its place. */
static void every_size(void **state)
{
	struct guestconf c = kit_conf();

	long_search(&c, 8);
	c.mtu = 0;
	for (unsigned size = 576; size <= 1500; size++) {
		struct kit_reply r = { 0 };
		char ask[2048];

		snprintf(ask, sizeof(ask), "%s%s37 01 77 39 02 %04x ff", OUT FIX("01", "0000", ANY4, ANY4, ANY4), TYPE("01"), size);
		assert_true(reply_size(&c, ask, &r) <= 14 + size);
	}
}

/* A sum that comes out as zero is sent as 0xffff, as zero would say that there is none (RFC 768). */
static void zero_checksum(void **state)
{
	struct guestconf c = kit_conf();
	struct kit_reply r = { 0 };
	uint8_t in[2048];
	size_t len = kit_hex(ASK("0000", ANY4, TYPE("01")), in, sizeof(in));

	/* With the first checksum as the low half of the transaction identifier, the sum is complete. */
	kit_set16(in + 42 + 6, 0);
	kit_seal(in, len);
	assert_int_equal(kit_ask(&c, in, len, &r), 0);
	kit_set16(in + 42 + 6, kit_get16(r.f + 40));
	assert_int_equal(kit_ask(&c, in, len, &r), 0);
	assert_int_equal(r.v, SERVICE_REPLY);
	assert_int_equal(kit_get16(r.f + 40), 0xffff);
	assert_null(kit_reply_fault(&c, r.f, r.len));
}

/* With the longest client identifier, what every client needs is still there in 576 bytes. */
static void crowded(void **state)
{
	struct guestconf c = kit_conf();
	struct kit_reply r = { 0 };
	unsigned parts;

	long_search(&c, 8);
	assert_true(reply_size(&c, ASK("0000", ANY4, TYPE("01") "50 00 3d ff 00*255 "), &r) <= 576);
	for (unsigned i = 0; i < 7; i++) {
		static const uint8_t codes[] = { 53, 54, 51, 61, 80, 1, 3 };

		(void)option_len(&r, codes[i], &parts);
		assert_int_equal(parts, 1);
	}
}

static void off(void **state)
{
	static const char ask[] = ASK("0000", ANY4, TYPE("01"));
	struct guestconf c = kit_conf();

	c.dhcp = false;
	expect_verdict(&c, "switched off", ask, SERVICE_NOT_MINE);
	c = kit_conf();
	c.v4 = false;
	expect_verdict(&c, "no IPv4", ask, SERVICE_DROP);
	c = kit_conf();
	c.addr4 = addr_any4;
	expect_verdict(&c, "no address", ask, SERVICE_DROP);
}

static void cut(void **state)
{
	struct guestconf c = kit_conf();

	expect_cuts(&c, "discover", ASK("8000", ANY4, TYPE("01") "50 00 3d 07 01 " GUEST_MAC "37 04 01 03 06 1a 39 02 0240 "),
		    42 + 236);
	expect_cuts(&c, "request", ASK("0000", ANY4, TYPE("03") SERVER "32 04 " GUEST4 "51 04 01 00 00 78 "), 42 + 236);
	expect_cuts(&c, "inform", ASK("0000", GUEST4, TYPE("08") "37 03 01 03 77 "), 42 + 236);
	expect_cuts(&c, "overload",
		    OUT "01 01 06 00 deadbeef 0000 0000 00*16 " GUEST_MAC "00*10 " TYPE("01") "ff 00*60 " PARAMS0
											      "ff 00*124 63825363 34 01 03 ff",
		    42 + 236);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leases),        cmocka_unit_test(bootp),         cmocka_unit_test(bad_requests),
		cmocka_unit_test(odd_lists),     cmocka_unit_test(request_lists), cmocka_unit_test(less_to_say),
		cmocka_unit_test(routes),        cmocka_unit_test(sizes),         cmocka_unit_test(every_size),
		cmocka_unit_test(zero_checksum), cmocka_unit_test(crowded),       cmocka_unit_test(off),
		cmocka_unit_test(cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
