/* SPDX-License-Identifier: MIT */
/* The engine's half, with a host agent that says what the test wants. */
#include "core/hostwatch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/log.h"
#include "os/fdpass.h"

struct fix {
	struct loop loop;
	struct hostwatch w;
	int peer;
	unsigned news, warnings;
	int verdict; /* of who hears of it */
	char warning[512];
};

static void on_line(void *ctx, enum log_level level, const char *line)
{
	struct fix *x = ctx;

	if (level > LOG_LVL_WARN)
		return;
	x->warnings++;
	strncpy(x->warning, line, sizeof(x->warning) - 1);
}

static int on_news(void *ctx, const struct follow *f)
{
	struct fix *x = ctx;

	x->news += f->n_search;
	return x->verdict;
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));
	int sock[2];

	assert_non_null(x);
	log_set_sink(on_line, x);
	assert_int_equal(loop_init(&x->loop), 0);
	assert_int_equal(fdpass_pair(sock), 0);
	x->w.h = (struct helper){ .fd = sock[0] };
	x->peer = sock[1];
	assert_int_equal(hostwatch_open(&x->w, &x->loop, on_news, x), 0);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	if (x->peer >= 0)
		close(x->peer);
	hostwatch_close(&x->w);
	loop_fini(&x->loop);
	log_set_sink(NULL, NULL);
	free(x);
	return 0;
}

static void say(struct fix *x, uint32_t type, size_t len, bool with_fd)
{
	struct hostwatch_msg m;
	int fd = 0;

	memset(&m, 0, sizeof(m));
	m.type = type;
	if (type == HOSTWATCH_END)
		memset(m.text, 'x', sizeof(m.text));
	else
		m.follow.n_search = 1;
	assert_int_equal(fdpass_send(x->peer, &m, len, &fd, with_fd, 0), 0);
}

static void expect_end(struct fix *x, const char *why)
{
	assert_int_equal(x->w.h.fd, -1);
	assert_int_equal(x->warnings, 1);
	assert_non_null(strstr(x->warning, "What changes on the host is not noticed any more: "));
	assert_non_null(strstr(x->warning, why));
}

static void test_news(void **state)
{
	struct fix *x = *state;

	say(x, HOSTWATCH_NEWS, hostwatch_msg_size(HOSTWATCH_NEWS), false);
	say(x, HOSTWATCH_NEWS, hostwatch_msg_size(HOSTWATCH_NEWS), false);
	assert_int_equal(loop_turn(&x->loop), 0);
	assert_int_equal(x->news, 2);
	assert_true(x->w.h.fd >= 0);
	assert_int_equal(x->warnings, 0);
}

static void test_gone(void **state)
{
	struct fix *x = *state;

	say(x, HOSTWATCH_NEWS, hostwatch_msg_size(HOSTWATCH_NEWS), false);
	close(x->peer);
	x->peer = -1;
	assert_int_equal(loop_turn(&x->loop), 0);
	assert_int_equal(x->news, 1);
	expect_end(x, "gone");
}

static void test_says_why(void **state)
{
	struct fix *x = *state;

	say(x, HOSTWATCH_END, hostwatch_msg_size(HOSTWATCH_END), false);
	assert_int_equal(loop_turn(&x->loop), 0);
	expect_end(x, ": xxx");
}

/* A size that is not that of the type, a type that there is not, a descriptor: nothing that came with it counts, nor what follows. */
static void test_nonsense(void **state)
{
	static const struct {
		uint32_t type;
		size_t len;
		bool with_fd;
	} bad[] = {
		{ HOSTWATCH_NEWS, 1, false },
		{ HOSTWATCH_NEWS, 3, false },
		{ HOSTWATCH_NEWS, 4, false },
		{ HOSTWATCH_NEWS, sizeof(struct hostwatch_msg) - 1, false },
		{ HOSTWATCH_END, sizeof(struct hostwatch_msg), false },
		{ HOSTWATCH_TYPES, sizeof(struct hostwatch_msg), false },
		{ UINT32_MAX, 4, false },
		{ HOSTWATCH_NEWS, sizeof(struct hostwatch_msg), true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fix *x;

		setup((void **)&x);
		say(x, bad[i].type, bad[i].len, bad[i].with_fd);
		say(x, HOSTWATCH_NEWS, hostwatch_msg_size(HOSTWATCH_NEWS), false);
		assert_int_equal(loop_turn(&x->loop), 0);
		assert_int_equal(x->news, 0);
		expect_end(x, "host agent");
		teardown((void **)&x);
	}
	log_set_sink(on_line, *state);
}

static void test_not_believed(void **state)
{
	struct fix *x = *state;

	x->verdict = -EBADMSG;
	say(x, HOSTWATCH_NEWS, hostwatch_msg_size(HOSTWATCH_NEWS), false);
	assert_int_equal(loop_turn(&x->loop), 0);
	expect_end(x, "makes no sense");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_news), T(test_gone), T(test_says_why), T(test_nonsense), T(test_not_believed) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
