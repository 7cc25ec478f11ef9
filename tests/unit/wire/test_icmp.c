/* SPDX-License-Identifier: MIT */
#include "wire/icmp.h"

#include <errno.h>

#include "frames.h"
#include "wire/ip.h"

static const struct addr router4 = ADDR4_INIT(10, 0, 0, 1), guest4 = ADDR4_INIT(192, 168, 1, 2);
static const struct addr router6 = { .b = { 0xfe, 0x80, [15] = 1 } }, guest6 = { .b = { 0x20, 1, 0xd, 0xb8, [15] = 9 } };

static void echo_read(void **state)
{
	uint8_t b[10];
	size_t len = hex_bytes("8001 1234 abcd 0102 9999", b, sizeof(b));

	for (size_t cut = 0; cut <= len; cut++) {
		struct rd r = rd_init(b, cut);
		struct icmp_echo e = { .type = 5 };

		assert_int_equal(icmp_echo_read(&r, &e), cut < ICMP_HLEN ? -EBADMSG : 0);
		if (cut < ICMP_HLEN) {
			assert_int_equal(e.type, 5);
			continue;
		}
		assert_int_equal(e.type, ICMP6_ECHO);
		assert_int_equal(e.code, 1);
		assert_int_equal(e.id, 0xabcd);
		assert_int_equal(e.seq, 0x0102);
		assert_int_equal(rd_left(&r), cut - ICMP_HLEN);
	}
}

static void check_err4(const uint8_t *b, size_t len, size_t quoted)
{
	assert_int_equal(len, IP4_HLEN + ICMP_HLEN + quoted);
	assert_true(len <= 576);
	assert_int_equal(b[0], 0x45);
	assert_int_equal(get16(&b[2]), len);
	assert_int_equal(b[9], PROTO_ICMP);
	assert_memory_equal(&b[12], addr_bytes(&router4), 4);
	assert_memory_equal(&b[16], addr_bytes(&guest4), 4);
	assert_int_equal(slow_sum(b, IP4_HLEN, 0), 0xffff);
	assert_int_equal(slow_sum(&b[IP4_HLEN], len - IP4_HLEN, 0), 0xffff);
}

static void check_err6(const uint8_t *b, size_t len, size_t quoted)
{
	uint16_t sum;

	assert_int_equal(len, IP6_HLEN + ICMP_HLEN + quoted);
	assert_true(len <= 1280);
	assert_int_equal(b[0] >> 4, 6);
	assert_int_equal(get16(&b[4]), len - IP6_HLEN);
	assert_int_equal(b[6], PROTO_ICMP6);
	assert_memory_equal(&b[8], router6.b, 16);
	assert_memory_equal(&b[24], guest6.b, 16);
	/* pseudo-header: addresses, length, next header */
	sum = slow_sum(&b[8], 32, PROTO_ICMP6);
	sum = slow_sum(&b[4], 2, sum);
	assert_int_equal(slow_sum(&b[IP6_HLEN], len - IP6_HLEN, sum), 0xffff);
}

static void err_sizes(void **state)
{
	static const size_t quotes[] = { 0, 1, 7, 28, 547, 548, 549, 1000, 1231, 1232, 1233, 1500, 65535 };
	static uint8_t quote[65535];
	uint64_t rnd = 7;

	for (size_t i = 0; i < sizeof(quote); i++)
		quote[i] = (uint8_t)next_random(&rnd);
	for (size_t i = 0; i < ARRAY_SIZE(quotes); i++) {
		for (int v4 = 0; v4 < 2; v4++) {
			struct icmp_err e = { .from = v4 ? router4 : router6, .to = v4 ? guest4 : guest6, .type = 3, .code = 1 };
			size_t room = v4 ? 548 : 1232, quoted = quotes[i] < room ? quotes[i] : room;
			size_t hlen = v4 ? IP4_HLEN : IP6_HLEN;
			uint8_t b[1300];
			struct wr w = wr_init(b, sizeof(b));

			icmp_err_put(&w, &e, quote, quotes[i]);
			(v4 ? check_err4 : check_err6)(b, wr_len(&w), quoted);
			assert_int_equal(b[hlen], 3);
			assert_int_equal(b[hlen + 1], 1);
			assert_memory_equal(&b[hlen + ICMP_HLEN], quote, quoted);

			w = wr_init(b, hlen + ICMP_HLEN + quoted - 1);
			icmp_err_put(&w, &e, quote, quotes[i]);
			assert_false(wr_ok(&w));
		}
	}
}

static void err_second_word(void **state)
{
	static const struct {
		bool v4;
		uint8_t type, code;
		uint32_t info;
		const char *want;
	} cases[] = {
		{ true, ICMP4_UNREACH, ICMP4_CODE_FRAG, 1400, "00000578" },
		{ true, ICMP4_UNREACH, ICMP4_CODE_FRAG, 70000, "0000ffff" },
		{ true, ICMP4_UNREACH, ICMP4_CODE_PORT, 0, "00000000" },
		{ true, ICMP4_TIME_EXCEEDED, 0, 0, "00000000" },
		{ true, ICMP4_PARAM, 0, 9, "09000000" },
		{ false, ICMP6_TOO_BIG, 0, 1280, "00000500" },
		{ false, ICMP6_TOO_BIG, 0, 0x12345678, "12345678" },
		{ false, ICMP6_PARAM, ICMP6_CODE_NEXTHDR, 40, "00000028" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool v4 = cases[i].v4;
		struct icmp_err e = {
			.from = v4 ? router4 : router6, .to = v4 ? guest4 : guest6, .type = cases[i].type, .code = cases[i].code
		};
		size_t hlen = v4 ? IP4_HLEN : IP6_HLEN;
		uint8_t b[128], want[4];
		struct wr w = wr_init(b, sizeof(b));

		e.info = cases[i].info;
		icmp_err_put(&w, &e, "quotation", 9);
		(v4 ? check_err4 : check_err6)(b, wr_len(&w), 9);
		hex_bytes(cases[i].want, want, sizeof(want));
		assert_int_equal(b[hlen], cases[i].type);
		assert_int_equal(b[hlen + 1], cases[i].code);
		assert_memory_equal(&b[hlen + 4], want, 4);
	}
}

static void err_of_two_families(void **state)
{
	struct icmp_err e = { .from = router4, .to = guest6 };
	uint8_t b[128];
	struct wr w = wr_init(b, sizeof(b));

	icmp_err_put(&w, &e, "x", 1);
	assert_false(wr_ok(&w));
	w = wr_init(b, sizeof(b));
	e = (struct icmp_err){ .from = router6, .to = guest4 };
	icmp_err_put(&w, &e, NULL, 0);
	assert_false(wr_ok(&w));
}

static void from_errno(void **state)
{
	static const struct {
		int err;
		int type4, code4, type6, code6; /* -1: none */
	} cases[] = {
		{ ENETUNREACH, 3, 0, 1, 0 },  { EHOSTUNREACH, 3, 1, 1, 3 }, { ENOPROTOOPT, 3, 2, 4, 1 },
		{ ECONNREFUSED, 3, 3, 1, 4 }, { EHOSTDOWN, 3, 7, 1, 3 },    { ENONET, 3, 8, 1, 3 },
		{ EACCES, 3, 13, 1, 1 },      { EPERM, 3, 13, 1, 1 },       { EPROTO, 12, 0, 4, 1 },
		{ EMSGSIZE, -1, 0, -1, 0 },   { ETIMEDOUT, -1, 0, -1, 0 },  { ECONNRESET, -1, 0, -1, 0 },
		{ 0, -1, 0, -1, 0 },          { EINVAL, -1, 0, -1, 0 },     { EADDRNOTAVAIL, 3, 0, 1, 0 },
		{ ENODEV, 3, 0, 1, 0 },       { EOPNOTSUPP, 3, 5, 1, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t type = 0xee, code = 0xdd;
		bool any = cases[i].type4 >= 0;

		assert_int_equal(icmp_from_errno(true, cases[i].err, &type, &code), any);
		assert_int_equal(type, any ? cases[i].type4 : 0xee);
		assert_int_equal(code, any ? cases[i].code4 : 0xdd);
		assert_int_equal(icmp_from_errno(false, cases[i].err, &type, &code), any);
		assert_int_equal(type, any ? cases[i].type6 : 0xee);
		assert_int_equal(code, any ? cases[i].code6 : 0xdd);
	}
}

static void check_too_big(const char *hex, bool v4, const struct icmp_too_big *want)
{
	uint8_t b[128];
	size_t len = hex_bytes(hex, b, sizeof(b));

	for (size_t cut = 0; cut <= len; cut++) {
		struct rd r = rd_init(b, cut);
		struct icmp_too_big got = { .mtu = 7 };
		int rc = icmp_too_big_read(&r, v4, &got);

		if (!want || cut < len) {
			assert_int_equal(rc, -EBADMSG);
			assert_int_equal(got.mtu, 7);
			continue;
		}
		assert_int_equal(rc, 0);
		assert_int_equal(got.mtu, want->mtu);
		assert_int_equal(got.proto, want->proto);
		assert_true(addr_eq(&got.src, &want->src) && addr_eq(&got.dst, &want->dst));
		assert_true(got.sport == want->sport && got.dport == want->dport && got.seq == want->seq);
	}
}

#define PORTS_SEQ "0050 c350 01020304"

static void too_big_read(void **state)
{
	static const char v4[] = "0304 ffff 0000 058c 4500 05dc 0000 4000 4006 0000 0a000001 c0a80102 " PORTS_SEQ;
	static const char v6[] = "0200 ffff 00000578 60000000 05b4 06 40 fe800000000000000000000000000001 "
				 "20010db8000000000000000000000009 " PORTS_SEQ;
	struct icmp_too_big want = {
		.mtu = 1420, .proto = PROTO_TCP, .src = router4, .dst = guest4, .sport = 80, .dport = 50000, .seq = 0x01020304
	};

	check_too_big(v4, true, &want);
	/* With options in the quoted header. */
	check_too_big("0304 ffff 0000 058c 4600 05dc 0000 4000 4006 0000 0a000001 c0a80102 94040000 " PORTS_SEQ, true, &want);
	want.mtu = 1400;
	want.src = router6;
	want.dst = guest6;
	check_too_big(v6, false, &want);
	/* Others: of the other family, of another code or type, with a header that is none. */
	check_too_big(v4, false, NULL);
	check_too_big(v6, true, NULL);
	check_too_big("0303 ffff 0000 058c 4500 05dc 0000 4000 4006 0000 0a000001 c0a80102 " PORTS_SEQ, true, NULL);
	check_too_big("0804 ffff 0000 058c 4500 05dc 0000 4000 4006 0000 0a000001 c0a80102 " PORTS_SEQ, true, NULL);
	check_too_big("0304 ffff 0000 058c 4400 05dc 0000 4000 4006 0000 0a000001 c0a80102 " PORTS_SEQ, true, NULL);
	check_too_big("0304 ffff 0000 058c 6500 05dc 0000 4000 4006 0000 0a000001 c0a80102 " PORTS_SEQ, true, NULL);
	check_too_big("0304 ffff 0000 058c 4f00 05dc 0000 4000 4006 0000 0a000001 c0a80102 " PORTS_SEQ, true, NULL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(echo_read),           cmocka_unit_test(err_sizes),  cmocka_unit_test(err_second_word),
		cmocka_unit_test(err_of_two_families), cmocka_unit_test(from_errno), cmocka_unit_test(too_big_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
