/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* One character of each length: 0, 1-2, 3-5, 6-9, 10. */
static const char mixed[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";

static void test_cut(void **state)
{
	static const size_t want[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11, 11 };

	for (size_t max = 0; max < ARRAY_SIZE(want); max++)
		assert_int_equal(utf8_cut(mixed, max), want[max]);
}

/* Whatever a shorter buffer leaves of it. */
static void test_trim(void **state)
{
	for (size_t len = 0; len < sizeof(mixed); len++) {
		char buf[sizeof(mixed)];

		memcpy(buf, mixed, len);
		buf[len] = '\0';
		utf8_trim(buf);
		assert_int_equal(strlen(buf), utf8_cut(mixed, len));
		assert_memory_equal(buf, mixed, strlen(buf));
	}
}

/* It is cut, though not with any sense. */
static void test_other(void **state)
{
	char buf[] = "\x80\x80\x80\x80\x80";

	assert_int_equal(utf8_cut(buf, 4), 4);
	utf8_trim(buf);
	assert_int_equal(strlen(buf), 5);
	assert_int_equal(utf8_cut("\xff", 1), 0);
	assert_int_equal(utf8_cut("\x80", 1), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_cut), cmocka_unit_test(test_trim), cmocka_unit_test(test_other) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
