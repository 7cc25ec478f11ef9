/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/rd.h"

static const uint8_t bytes[] = { 1, 2, 3, 0x84, 5, 6, 7, 8, 9 };

static void test_numbers(void **state)
{
	struct rd r = rd_init(bytes, 7);

	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_be16(&r), 0x0203);
	assert_int_equal(rd_left(&r), 4);
	assert_int_equal(rd_be32(&r), 0x84050607);
	assert_true(rd_ok(&r));
	assert_true(rd_done(&r));
}

/* Each kind of read, with one byte too few: zero, nothing moved, and bad ever after. */
static void test_short(void **state)
{
	unsigned kind;

	for (kind = 0; kind < 6; kind++) {
		static const size_t need[] = { 1, 2, 4, 3, 3, 3 };
		struct rd r = rd_init(bytes, need[kind] - 1), sub;
		uint8_t copy[3] = { 9, 9, 9 };

		switch (kind) {
		case 0:
			assert_int_equal(rd_u8(&r), 0);
			break;
		case 1:
			assert_int_equal(rd_be16(&r), 0);
			break;
		case 2:
			assert_int_equal(rd_be32(&r), 0);
			break;
		case 3:
			rd_skip(&r, 3);
			break;
		case 4:
			rd_copy(&r, copy, 3);
			assert_int_equal(copy[0] | copy[1] | copy[2], 0);
			break;
		case 5:
			sub = rd_sub(&r, 3);
			assert_false(rd_ok(&sub));
			assert_int_equal(rd_u8(&sub), 0);
			break;
		}
		assert_false(rd_ok(&r));
		assert_false(rd_done(&r));
		assert_int_equal(rd_left(&r), 0);
		assert_null(rd_bytes(&r, 0));
		assert_int_equal(r.pos, 0);
	}
}

static void test_sticky(void **state)
{
	struct rd r = rd_init(bytes, 4);

	assert_int_equal(rd_be32(&r), 0x01020384);
	assert_int_equal(rd_be16(&r), 0);
	assert_false(rd_done(&r));

	r = rd_init(bytes, 4);
	assert_int_equal(rd_u8(&r), 1);
	assert_int_equal(rd_be32(&r), 0);
	assert_int_equal(rd_u8(&r), 0); /* there is a byte, but the message is bad */
}

static void test_sub(void **state)
{
	struct rd r = rd_init(bytes, 9), sub;

	rd_skip(&r, 1);
	sub = rd_sub(&r, 3);
	assert_int_equal(rd_left(&r), 5);
	assert_int_equal(rd_be16(&sub), 0x0203);
	assert_int_equal(rd_be16(&sub), 0); /* does not see what lies behind its end */
	assert_false(rd_ok(&sub));
	assert_true(rd_ok(&r));
	assert_int_equal(rd_u8(&r), 5);
	sub = rd_sub(&r, 0);
	assert_true(rd_done(&sub));
}

static void test_huge_count(void **state)
{
	struct rd r = rd_init(bytes, 9);

	rd_skip(&r, 5);
	assert_null(rd_bytes(&r, SIZE_MAX));
	r = rd_init(bytes, 9);
	rd_skip(&r, 5);
	assert_null(rd_bytes(&r, SIZE_MAX - 3)); /* would come round to 1 */
	assert_false(rd_ok(&r));
}

/* No bytes at all are a good message of length zero, wherever they are. */
static void test_empty(void **state)
{
	struct rd r = rd_init(NULL, 0), sub = rd_sub(&r, 0);

	assert_true(rd_done(&r));
	assert_true(rd_done(&sub));
	assert_non_null(rd_bytes(&r, 0));
	assert_int_equal(rd_u8(&r), 0);
	assert_false(rd_ok(&r));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_short),      cmocka_unit_test(test_sticky),
		cmocka_unit_test(test_sub),     cmocka_unit_test(test_huge_count), cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
