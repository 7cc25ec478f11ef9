/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/csum.h"

static uint8_t data[4096];

static uint32_t rnd(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s;
}

static int fill(void **state)
{
	uint32_t s = 4711;
	size_t i;

	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)rnd(&s);
	return 0;
}

/* The definition, one pair of bytes at a time with the carry brought round at once. */
static uint16_t slow(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
		if (sum > 0xffff)
			sum = (sum & 0xffff) + 1;
	}
	return (uint16_t)~sum;
}

/* RFC 1071 3: the example's bytes sum to ddf2. */
static void test_rfc1071(void **state)
{
	static const uint8_t b[] = { 0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7 };

	assert_int_equal(csum_fold(csum_add(b, sizeof(b), 0)), 0xffff ^ 0xddf2);
}

static void test_every_length_and_alignment(void **state)
{
	size_t len, off;

	for (len = 0; len < 400; len++) {
		for (off = 0; off < 9; off++)
			assert_int_equal(csum_fold(csum_add(data + off, len, 0)), slow(data + off, len));
	}
}

static void test_extremes(void **state)
{
	static uint8_t ones[65536], zero[65536];
	size_t len;

	memset(ones, 0xff, sizeof(ones));
	for (len = 0; len <= sizeof(ones); len += len < 64 ? 1 : 997) {
		assert_int_equal(csum_fold(csum_add(ones, len, 0)), slow(ones, len));
		assert_int_equal(csum_fold(csum_add(zero, len, 0)), 0xffff);
	}
	assert_int_equal(csum_fold(UINT64_MAX), 0);
	assert_int_equal(csum_fold(0), 0xffff);
	assert_int_equal(csum_fold(UINT64_C(0xffff0000ffff0001)), 0xfffe);
	assert_int_equal(csum_fold(UINT64_C(0xffffffffffff0001)), 0xfffe);
}

/* Sums of parts may be added, in any order. */
static void test_combine(void **state)
{
	uint64_t head = csum_add(data, 20, 0), tail = csum_add(data + 20, 1461, 0);

	assert_int_equal(csum_fold(head + tail), slow(data, 1481));
	assert_int_equal(csum_fold(csum_add(data, 20, tail)), slow(data, 1481));
}

/* A message that holds its own checksum sums to zero: what a receiver checks. */
static void test_verify(void **state)
{
	uint8_t msg[40];
	uint16_t c;

	memcpy(msg, data, sizeof(msg));
	msg[10] = msg[11] = 0;
	c = csum_fold(csum_add(msg, sizeof(msg), 0));
	msg[10] = (uint8_t)(c >> 8);
	msg[11] = (uint8_t)c;
	assert_int_equal(csum_fold(csum_add(msg, sizeof(msg), 0)), 0);
}

/* Random cuts, odd and empty segments included, each part at another place of memory. */
static void test_iov(void **state)
{
	static uint8_t spread[8192];
	struct iovec iov[12];
	uint32_t s = 1;
	unsigned round;

	for (round = 0; round < 3000; round++) {
		unsigned n = 1 + rnd(&s) % ARRAY_SIZE(iov), i;
		size_t at = 0, place = 0, skip, len, want;

		for (i = 0; i < n; i++) {
			size_t part = rnd(&s) % 4 ? rnd(&s) % 200 : rnd(&s) % 3;

			iov[i] = (struct iovec){ .iov_base = spread + place, .iov_len = part };
			memcpy(spread + place, data + at, part);
			at += part;
			place += part + rnd(&s) % 5;
		}
		skip = rnd(&s) % (at + 2);
		len = rnd(&s) % (at + 20);
		want = skip < at ? MIN(len, at - skip) : 0;
		assert_int_equal(csum_fold(csum_add_iov(iov, n, skip, len, 0)), slow(data + skip, want));
	}
}

static void test_pseudo(void **state)
{
	const struct addr a4 = ADDR4_INIT(192, 0, 2, 1), b4 = ADDR4_INIT(198, 51, 100, 77);
	uint8_t p4[] = { 192, 0, 2, 1, 198, 51, 100, 77, 0, 6, 0x12, 0x34 };
	struct addr a6 = addr_from6(data), b6 = addr_from6(data + 16);
	uint8_t p6[40] = { [32] = 0x00, 0x01, 0x23, 0x45, [39] = 58 };

	assert_int_equal(csum_fold(csum_pseudo(&a4, &b4, 6, 0x1234)), slow(p4, sizeof(p4)));
	memcpy(p6, data, 32);
	assert_int_equal(csum_fold(csum_pseudo(&a6, &b6, 58, 0x12345)), slow(p6, sizeof(p6)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc1071),  cmocka_unit_test(test_every_length_and_alignment),
		cmocka_unit_test(test_extremes), cmocka_unit_test(test_combine),
		cmocka_unit_test(test_verify),   cmocka_unit_test(test_iov),
		cmocka_unit_test(test_pseudo),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
