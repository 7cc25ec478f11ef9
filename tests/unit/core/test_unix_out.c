/* SPDX-License-Identifier: MIT */
/* A server that has no room for connections, and those that wait for it. It, the splice engine and the listeners are fakes. */
#include "core/unix_out.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>
#include <unistd.h>

#include "os/sock.h"
#include "os/unixpath.h"

#define USED 3

struct fix {
	struct loop loop;
	struct fwd_table table;
	struct listener l[USED];
	struct listeners ls;
	struct unix_out out;
	int client[USED];
	unsigned tries, joined, woken;
	int err; /* of a connection to the server */
};

static struct fix *cur; /* of the running test: the fakes have no other way to it */

/* --- fakes --- */

int unixpath_connect(int dir, const char *path, int *ret_fd)
{
	cur->tries++;
	assert_int_equal(path[0] - 'a', dir - 100);
	if (cur->err)
		return cur->err;
	*ret_fd = dup(STDIN_FILENO);
	return 0;
}

int splice_open(struct splice *s, unsigned way, int from, int to, const struct ep *dst)
{
	assert_int_equal(way, SPLICE_OUT | SPLICE_TO_UNIX);
	assert_int_equal(send(from, "joined", 6, 0), 6);
	sock_close(from);
	sock_close(to);
	cur->joined++;
	return 0;
}

void listeners_wake(struct listeners *ls)
{
	cur->woken++;
}

/* --- the world --- */

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	cur = *state = x;
	x->loop.now_ns = 5 * NSEC_PER_SEC;
	timers_init(&x->loop.timers, x->loop.now_ns);
	x->ls.table = &x->table;
	x->ls.l = x->l;
	x->ls.n = x->table.n = USED;
	for (unsigned i = 0; i < USED; i++) {
		x->table.rule[i].path[0] = (char)('a' + i);
		x->l[i] = (struct listener){ .fd = -1, .rule = (uint16_t)i, .dir = 100 + (int)i };
		x->client[i] = -1;
	}
	unix_out_init(&x->out, &x->loop, &x->ls, NULL);
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	unix_out_fini(&x->out);
	assert_int_equal(x->loop.timers.armed, 0);
	for (unsigned i = 0; i < USED; i++)
		sock_close(x->client[i]);
	free(x);
	return 0;
}

static int come(struct fix *x, unsigned i)
{
	int sock[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sock), 0);
	sock_close(x->client[i]);
	x->client[i] = sock[0];
	return unix_out_open(&x->out, &x->l[i], sock[1]);
}

static bool is_joined(const struct fix *x, unsigned i)
{
	char buf[6];

	return recv(x->client[i], buf, sizeof(buf), 0) == sizeof(buf);
}

static bool is_over(const struct fix *x, unsigned i)
{
	char byte;

	return !recv(x->client[i], &byte, 1, 0);
}

static void pass(struct fix *x, uint64_t ns)
{
	for (uint64_t end = x->loop.now_ns + ns; x->loop.now_ns < end;) {
		x->loop.now_ns += NSEC_PER_MSEC;
		timers_run(&x->loop.timers, x->loop.now_ns);
	}
}

/* --- tests --- */

static void test_at_once(void **state)
{
	struct fix *x = *state;

	assert_int_equal(come(x, 0), 0);
	assert_true(is_joined(x, 0));
	x->err = -ECONNREFUSED;
	assert_int_equal(come(x, 0), -ECONNREFUSED);
	assert_true(is_over(x, 0));
	assert_false(unix_out_waits(&x->out, &x->l[0]));
	assert_int_equal(x->loop.timers.armed, 0);
}

/* Soon, and then not so often, until there is room. */
static void test_waits(void **state)
{
	struct fix *x = *state;

	x->err = -EAGAIN;
	assert_int_equal(come(x, 0), 0);
	assert_int_equal(come(x, 2), 0);
	assert_true(unix_out_waits(&x->out, &x->l[0]) && unix_out_waits(&x->out, &x->l[2]) && !unix_out_waits(&x->out, &x->l[1]));
	pass(x, 5 * NSEC_PER_SEC);
	assert_in_range(x->tries, 2 * 40, 2 * 70);
	assert_int_equal(x->joined + x->woken, 0);
	x->err = 0;
	pass(x, NSEC_PER_SEC / 4);
	assert_true(is_joined(x, 0) && is_joined(x, 2));
	assert_true(x->woken > 0);
	assert_int_equal(x->loop.timers.armed, 0);
}

static void test_too_long(void **state)
{
	struct fix *x = *state;

	x->err = -EAGAIN;
	assert_int_equal(come(x, 0), 0);
	pass(x, UNIX_OUT_WAIT_NS / 2);
	assert_int_equal(come(x, 1), 0);
	pass(x, UNIX_OUT_WAIT_NS / 2 + NSEC_PER_SEC);
	assert_true(is_over(x, 0) && !is_over(x, 1));
	assert_true(!unix_out_waits(&x->out, &x->l[0]) && unix_out_waits(&x->out, &x->l[1]));
	assert_true(x->woken > 0);
	pass(x, UNIX_OUT_WAIT_NS / 2);
	assert_true(is_over(x, 1));
	assert_int_equal(x->loop.timers.armed, 0);
}

/* One who goes is not seen by the server; nor is the server asked for somebody whose rule is gone. */
static void test_gone(void **state)
{
	struct fix *x = *state;
	unsigned tries;

	x->err = -EAGAIN;
	for (unsigned i = 0; i < USED; i++)
		assert_int_equal(come(x, i), 0);
	sock_close(x->client[0]);
	x->client[0] = -1;
	unix_out_gone(&x->out, &x->l[1]);
	assert_true(is_over(x, 1));
	x->err = 0;
	tries = x->tries;
	pass(x, NSEC_PER_SEC);
	assert_int_equal(x->tries, tries + 1);
	assert_int_equal(x->joined, 1);
	assert_true(is_joined(x, 2));
}

/* One for each port, as nobody takes more: who comes all the same is reset. */
static void test_one_each(void **state)
{
	struct fix *x = *state;
	int sock[2];

	x->err = -EAGAIN;
	assert_int_equal(come(x, 0), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock), 0);
	assert_int_equal(unix_out_open(&x->out, &x->l[0], sock[1]), -ENOBUFS);
	close(sock[0]);
	assert_int_equal(x->out.n, 1);
	unix_out_fini(&x->out);
	assert_true(is_over(x, 0));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = { T(test_at_once), T(test_waits), T(test_too_long), T(test_gone), T(test_one_each) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
