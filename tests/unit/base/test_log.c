/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static struct {
	unsigned n;
	enum log_level level;
	char line[LOG_LINE_MAX + 1];
	char first[LOG_LINE_MAX + 1]; /* after n was set to 0 */
} got;

static void sink(void *ctx, enum log_level level, const char *line)
{
	assert_ptr_equal(ctx, &got);
	assert_true(strlen(line) < LOG_LINE_MAX);
	snprintf(got.line, sizeof(got.line), "%s", line);
	if (!got.n++)
		snprintf(got.first, sizeof(got.first), "%s", line);
	got.level = level;
	errno = ENOTTY;
}

static int setup(void **state)
{
	memset(&got, 0, sizeof(got));
	log_set_level(LOG_LVL_INFO);
	log_set_sink(sink, &got);
	log_set_now(0);
	return 0;
}

static void test_levels(void **state)
{
	enum log_level at, of;

	for (at = LOG_LVL_ERR; at <= LOG_LVL_TRACE; at++) {
		log_set_level(at);
		assert_int_equal(log_get_level(), at);
		for (of = LOG_LVL_ERR; of <= LOG_LVL_TRACE; of++) {
			got.n = 0;
			log_msg(of, "x");
			assert_int_equal(got.n, of <= at);
			if (got.n)
				assert_int_equal(got.level, of);
		}
	}
}

static void test_macros(void **state)
{
	log_set_level(LOG_LVL_TRACE);
	log_err("a%d", 1);
	assert_string_equal(got.line, "a1");
	assert_int_equal(got.level, LOG_LVL_ERR);
	log_warn("b");
	assert_int_equal(got.level, LOG_LVL_WARN);
	log_info("c");
	assert_int_equal(got.level, LOG_LVL_INFO);
	log_debug("d");
	assert_int_equal(got.level, LOG_LVL_DEBUG);
	log_trace("e");
	assert_int_equal(got.level, LOG_LVL_TRACE);
	log_set_level(LOG_LVL_INFO);
	log_debug("%d", ({
			  fail();
			  0;
		  }));
	assert_int_equal(got.n, 5);
}

static void test_escape(void **state)
{
	log_info("%s", "name\nERROR: forged\t\x1b[2J\x7f\xc3\xa9~ \\");
	assert_string_equal(got.line, "name\\x0aERROR: forged\\x09\\x1b[2J\\x7f\\xc3\\xa9~ \\");
}

static void test_long(void **state)
{
	char in[3000];

	memset(in, 'x', sizeof(in) - 1);
	in[sizeof(in) - 1] = '\0';
	log_info("%s", in);
	assert_int_equal(strlen(got.line), LOG_LINE_MAX - 1);

	/* An escape is never cut in half. */
	memset(in, '\n', sizeof(in) - 1);
	log_info("ab%s", in);
	assert_int_equal((strlen(got.line) - 2) % 4, 0);
	assert_true(strlen(got.line) > LOG_LINE_MAX - 5);
}

static void test_errno_survives(void **state)
{
	static struct log_site site;

	errno = EPERM;
	log_info("x");
	assert_int_equal(errno, EPERM);
	log_msg_limited(&site, LOG_LVL_INFO, "%m");
	assert_int_equal(errno, EPERM);
	assert_string_equal(got.line, strerror(EPERM));
}

static void noisy(void)
{
	log_limited(LOG_LVL_WARN, "noise");
}

static void test_limit(void **state)
{
	struct log_site other = { 0 };
	unsigned i;

	log_set_now(100);
	for (i = 0; i < 12; i++)
		noisy();
	assert_int_equal(got.n, 5);

	/* Another place is not affected. */
	log_msg_limited(&other, LOG_LVL_WARN, "other");
	assert_int_equal(got.n, 6);

	/* The next second: one line that counts, then five again. */
	log_set_now(101);
	got.n = 0;
	noisy();
	assert_int_equal(got.n, 2);
	assert_string_equal(got.line, "noise");
	for (i = 0; i < 10; i++)
		noisy();
	assert_int_equal(got.n, 6);

	/* Nothing held back: no line that counts. */
	log_set_now(200);
	noisy();
	got.n = 0;
	log_set_now(201);
	noisy();
	assert_int_equal(got.n, 1);
}

static void test_limit_counts(void **state)
{
	struct log_site site = { 0 };
	unsigned i;

	log_set_now(1);
	for (i = 0; i < 8; i++)
		log_msg_limited(&site, LOG_LVL_WARN, "x");
	log_set_now(2);
	got.n = 0;
	log_set_level(LOG_LVL_ERR);
	log_msg_limited(&site, LOG_LVL_WARN, "x"); /* above the level: neither told nor counted */
	assert_int_equal(got.n, 0);
	log_set_level(LOG_LVL_INFO);
	log_msg_limited(&site, LOG_LVL_WARN, "x");
	assert_int_equal(got.n, 2);
	assert_non_null(strstr(got.first, "3 more"));
	assert_string_equal(got.line, "x");
}

/* Runs first: no sink was set yet. */
static void test_stderr(void **state)
{
	char buf[64] = { 0 };
	int p[2], saved;

	assert_int_equal(pipe(p), 0);
	saved = dup(2);
	assert_true(saved > 2);
	assert_int_equal(dup2(p[1], 2), 2);
	log_warn("to %s", "stderr\n");
	assert_int_equal(dup2(saved, 2), 2);
	assert_int_equal(read(p[0], buf, sizeof(buf)), strlen("to stderr\\x0a\n"));
	assert_string_equal(buf, "to stderr\\x0a\n");
	close(saved);
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stderr),
		cmocka_unit_test_setup(test_levels, setup),
		cmocka_unit_test_setup(test_macros, setup),
		cmocka_unit_test_setup(test_escape, setup),
		cmocka_unit_test_setup(test_long, setup),
		cmocka_unit_test_setup(test_errno_survives, setup),
		cmocka_unit_test_setup(test_limit, setup),
		cmocka_unit_test_setup(test_limit_counts, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
