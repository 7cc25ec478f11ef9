/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/wr.h"

static void test_message(void **state)
{
	static const uint8_t want[] = { 7, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 'a', 'b', 0, 0 };
	uint8_t buf[11];
	struct wr w = wr_init(buf, sizeof(buf));

	memset(buf, 0x55, sizeof(buf));
	wr_u8(&w, 7);
	wr_be16(&w, 0x1234);
	wr_be32(&w, 0xdeadbeef);
	assert_int_equal(wr_left(&w), 4);
	wr_bytes(&w, "ab", 2);
	wr_zero(&w, 2);
	assert_true(wr_ok(&w));
	assert_int_equal(wr_len(&w), 11);
	assert_int_equal(wr_left(&w), 0);
	assert_memory_equal(buf, want, sizeof(want));
}

/* Each kind of write, with one byte of room too few: nothing is touched, and bad ever after. */
static void test_full(void **state)
{
	unsigned kind;

	for (kind = 0; kind < 7; kind++) {
		static const size_t need[] = { 1, 2, 4, 3, 3, 3, 3 };
		uint8_t buf[8];
		struct wr w = wr_init(buf, need[kind] - 1);
		size_t i;

		memset(buf, 0x55, sizeof(buf));
		switch (kind) {
		case 0:
			wr_u8(&w, 1);
			break;
		case 1:
			wr_be16(&w, 1);
			break;
		case 2:
			wr_be32(&w, 1);
			break;
		case 3:
			wr_bytes(&w, "abc", 3);
			break;
		case 4:
			wr_zero(&w, 3);
			break;
		case 5:
			assert_null(wr_put(&w, 3));
			break;
		case 6:
			(void)wr_reserve(&w, 3);
			break;
		}
		assert_false(wr_ok(&w));
		assert_int_equal(wr_len(&w), 0);
		assert_int_equal(wr_left(&w), 0);
		wr_bytes(&w, "", 0);
		assert_false(wr_ok(&w));
		for (i = 0; i < sizeof(buf); i++)
			assert_int_equal(buf[i], 0x55);
	}
}

static void test_sticky(void **state)
{
	uint8_t buf[4] = { 0 };
	struct wr w = wr_init(buf, sizeof(buf));

	wr_u8(&w, 1);
	wr_be32(&w, 0xffffffff);
	wr_u8(&w, 2); /* there is room, but the message is bad */
	assert_int_equal(buf[0], 1);
	assert_int_equal(buf[1], 0);
	assert_int_equal(wr_len(&w), 0);
}

static void test_reserve(void **state)
{
	static const uint8_t want[] = { 9, 0x01, 0x03, 0, 0xaa };
	uint8_t buf[5];
	struct wr w = wr_init(buf, sizeof(buf));
	size_t at;

	wr_u8(&w, 9);
	at = wr_reserve(&w, 3);
	assert_int_equal(at, 1);
	wr_u8(&w, 0xaa);
	wr_patch_be16(&w, at, 0x0102);
	wr_patch_u8(&w, at + 1, 3);
	assert_true(wr_ok(&w));
	assert_memory_equal(buf, want, sizeof(want));
}

/* A patch may only change what was written. */
static void test_patch_bounds(void **state)
{
	uint8_t buf[4] = { 1, 2, 3, 4 };
	struct wr w = wr_init(buf, sizeof(buf));

	wr_be16(&w, 0);
	wr_patch_u8(&w, 2, 9);
	assert_false(wr_ok(&w));
	assert_int_equal(buf[2], 3);

	w = wr_init(buf, sizeof(buf));
	wr_be16(&w, 0);
	wr_patch_be16(&w, 1, 0x0909);
	assert_false(wr_ok(&w));
	assert_int_equal(buf[2], 3);
}

static void test_huge_count(void **state)
{
	uint8_t buf[8];
	struct wr w = wr_init(buf, sizeof(buf));

	wr_be32(&w, 0);
	assert_null(wr_put(&w, SIZE_MAX - 2)); /* would come round to 1 */
	assert_false(wr_ok(&w));
}

static void test_fail(void **state)
{
	uint8_t buf[8];
	struct wr w = wr_init(buf, sizeof(buf));

	wr_u8(&w, 1);
	wr_fail(&w);
	assert_int_equal(wr_len(&w), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_message), cmocka_unit_test(test_full),         cmocka_unit_test(test_sticky),
		cmocka_unit_test(test_reserve), cmocka_unit_test(test_patch_bounds), cmocka_unit_test(test_huge_count),
		cmocka_unit_test(test_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
