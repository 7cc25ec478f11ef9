/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "base/defs.h"
#include "base/num.h"

#define U64 UINT64_MAX

static const struct {
	const char *s;
	uint64_t min, max;
	int rc;
	uint64_t val;
} cases[] = {
	{ "0", 0, U64, 0, 0 },
	{ "007", 0, U64, 0, 7 },
	{ "65535", 1, 65535, 0, 65535 },
	{ "65536", 1, 65535, -ERANGE, 0 },
	{ "0", 1, 65535, -ERANGE, 0 },
	{ "18446744073709551615", 0, U64, 0, U64 },
	{ "18446744073709551616", 0, U64, -ERANGE, 0 },
	{ "18446744073709551625", 0, U64, -ERANGE, 0 },
	{ "99999999999999999999999999", 0, U64, -ERANGE, 0 },
	{ "", 0, U64, -EINVAL, 0 },
	{ "+1", 0, U64, -EINVAL, 0 },
	{ "-1", 0, U64, -EINVAL, 0 },
	{ " 1", 0, U64, -EINVAL, 0 },
	{ "1 ", 0, U64, -EINVAL, 0 },
	{ "0x10", 0, U64, -EINVAL, 0 },
	{ "1.5", 0, U64, -EINVAL, 0 },
	{ "70000x", 0, 65535, -EINVAL, 0 },
	{ "x", 0, U64, -EINVAL, 0 },
};

static void test_parse(void **state)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t v = 0xdead;

		assert_int_equal(num_parse(cases[i].s, cases[i].min, cases[i].max, &v), cases[i].rc);
		assert_int_equal(v, cases[i].rc ? 0xdead : cases[i].val);
	}
}

static void test_take(void **state)
{
	const char *text = "22-80:70000", *p = text;
	uint64_t v = 0;

	assert_int_equal(num_take(&p, 1, 65535, &v), 0);
	assert_int_equal(v, 22);
	assert_ptr_equal(p, text + 2);
	assert_int_equal(num_take(&p, 1, 65535, &v), -EINVAL);
	assert_ptr_equal(p, text + 2);
	p++;
	assert_int_equal(num_take(&p, 1, 65535, &v), 0);
	assert_int_equal(v, 80);
	p++;
	assert_int_equal(num_take(&p, 1, 65535, &v), -ERANGE);
	assert_string_equal(p, "70000");
	assert_int_equal(v, 80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
