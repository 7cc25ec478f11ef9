/* SPDX-License-Identifier: MIT */
#include "ctl/line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void test_lines(void **state)
{
	static const struct {
		const char *line, *why;
	} t[] = {
		{ "{}", NULL },
		{ " {\"do\": \"hello\"} \r", NULL },
		{ "{\"a\":[[[[[[[]]]]]]]}", NULL }, /* eight */
		{ "{\"a\":\"[[[[[[[[[[[[{{{{\"}", NULL },
		{ "{\"a\":\"\\\"[[[[[[[[[[[[{{{{\"}", NULL },
		{ "{\"a\":[[[[[[[[]]]]]]]]}", "The request is nested too deeply" },
		{ "[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "The request is nested too deeply" },
		{ "", "The request is not JSON" },
		{ "hello", "The request is not JSON" },
		{ "{\"a\":1", "The request is not JSON" },
		{ "{\"a\":1}}", "The request is not JSON" },
		{ "{\"a\":1} {}", "The request is not JSON" },
		{ "{\"a\":1,\"a\":2}", "The request is not JSON" },
		{ "{\"a\":\"\\u0000\"}", "The request is not JSON" },
		{ "{\"a\":\"\xff\"}", "The request is not JSON" },
		{ "{\"a\":1e999}", "The request is not JSON" },
		{ "[]", "The request is not an object" },
		{ "[{}]", "The request is not an object" },
		{ "\"\\", "The request is not JSON" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const char *why = "unset";
		json_t *j = ctl_line_parse(t[i].line, strlen(t[i].line), &why);

		if (t[i].why) {
			assert_null(j);
			assert_string_equal(why, t[i].why);
		} else {
			assert_true(json_is_object(j));
		}
		json_decref(j);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_lines) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
