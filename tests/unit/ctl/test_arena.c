/* SPDX-License-Identifier: MIT */
#include "ctl/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>

#include "ctl/line.h"
#include "ctl/server.h"

static void test_life(void **state)
{
	json_t *a, *b;

	assert_int_equal(ctl_arena_live(), 0);
	a = json_string("text");
	b = json_pack("{s:[i, i], s:s}", "list", 1, 2, "name", "value");
	assert_non_null(a);
	assert_non_null(b);
	assert_true(ctl_arena_live() > 2);
	json_decref(b);
	json_decref(a);
	assert_int_equal(ctl_arena_live(), 0);
}

/* Many times as much as there is room for, one after the other. */
static void test_again(void **state)
{
	for (unsigned i = 0; i < 2000; i++) {
		json_t *a = json_array();

		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(json_array_append_new(a, json_string("some text that takes room")), 0);
		json_decref(a);
		assert_int_equal(ctl_arena_live(), 0);
	}
}

/* What doesn't fit is an error, and everything works afterwards. */
static void test_full(void **state)
{
	json_t *a = json_array();
	unsigned n = 0;

	while (!json_array_append_new(a, json_string("more")) && n < CTL_ARENA_SIZE)
		n++;
	assert_in_range(n, 1000, CTL_ARENA_SIZE / sizeof(json_t));
	json_decref(a);
	ctl_arena_reset();
	a = json_string("text");
	assert_non_null(a);
	json_decref(a);
	assert_int_equal(ctl_arena_live(), 0);
}

/* The largest requests that there can be. */
static void test_requests(void **state)
{
	static const char *const piece[] = { "0,", "{},", "[],", "{\"a\":1},", "\"text\"," };
	static char line[CTL_LINE_MAX];
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(piece); i++) {
		size_t len = 0, n = strlen(piece[i]);
		json_t *j;

		len += (size_t)snprintf(line, sizeof(line), "{\"a\":[");
		while (len + n + 3 < sizeof(line)) {
			memcpy(line + len, piece[i], n);
			len += n;
		}
		memcpy(line + len - 1, "]}", 2);
		len++;
		j = ctl_line_parse(line, len, &why);
		/* It may be too much, but never half of it. */
		assert_true(j || !why);
		assert_true(!j || json_array_size(json_object_get(j, "a")) > 6000);
		json_decref(j);
		ctl_arena_reset();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_requests),
	};

	if (ctl_arena_open())
		return EXIT_FAILURE;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
