/* SPDX-License-Identifier: MIT */
/* Ports in the namespace that come later, or not at all. We are the agent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/ns_ports.h"
#include "os/sock.h"

#define FIRST 20000

static struct fwd_table table;
static struct listeners ls;
static struct ns_ports p;
static struct agent agent;
static int sock[2];
static int failed_port, failed_err, done_port;

static void done(void *ctx, unsigned rule, uint16_t port, int err)
{
	assert_int_equal(rule, 0);
	done_port = port;
	if (!err)
		return;
	failed_port = port;
	failed_err = err;
}

static int setup(void **state)
{
	table = (struct fwd_table){ .n = 1 };
	table.rule[0] =
		(struct fwd_rule){ .first = FIRST, .last = FIRST + 999, .to = FIRST, .proto = IPPROTO_TCP, .flags = FWD_SCAN };
	table.rule[0].addr = addr_loopback4;
	assert_int_equal(listeners_open(&ls, &table, &(struct listen_place){ .name = "SPLICE", .dev = "lo" }), 0);
	assert_int_equal(fdpass_pair(sock), 0);
	agent = (struct agent){ .h.fd = sock[0] };
	p = (struct ns_ports){ .agent = &agent, .ls = &ls, .done = done };
	failed_port = failed_err = done_port = 0;
	return 0;
}

static int teardown(void **state)
{
	listeners_close(&ls);
	close(sock[0]);
	close(sock[1]);
	return 0;
}

/* The next question; its port. */
static uint16_t asked(struct agent_req *q)
{
	int fds[FDPASS_MAX];
	unsigned n;

	if (fdpass_recv(sock[1], q, sizeof(*q), MSG_DONTWAIT, fds, &n) < 0)
		return 0;
	assert_int_equal(q->head.type, AGENT_LISTEN);
	assert_true(addr_eq(&q->listen.addr, &addr_loopback4));
	assert_string_equal(q->listen.dev, "lo");
	return q->listen.port;
}

/* The descriptor that the answer has, or -1. */
static int answer(const struct agent_req *q, int err)
{
	struct agent_reply r = { .head = q->head, .err = err };
	int fd = -1;

	if (!err)
		assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &fd), 0);
	r.n_fds = fd >= 0;
	ns_ports_reply(&p, &r, &fd);
	return fd;
}

static bool is_open(int fd)
{
	int copy = dup(fd);

	if (copy >= 0)
		close(copy);
	return copy >= 0;
}

static int fd_of(uint16_t port)
{
	return listener_find(&ls, 0, port)->fd;
}

static void test_comes(void **state)
{
	struct agent_req q, more;
	int fd;

	assert_int_equal(ns_ports_open(&p, 0, FIRST + 7), 0);
	assert_int_equal(ns_ports_open(&p, 0, FIRST + 7), 0);
	assert_int_equal(asked(&q), FIRST + 7);
	assert_int_equal(asked(&more), 0);
	assert_int_equal(fd_of(FIRST + 7), -1);
	fd = answer(&q, 0);
	assert_int_equal(fd_of(FIRST + 7), fd);
	assert_int_equal(done_port, FIRST + 7);
	assert_int_equal(p.n, 0);
	assert_int_equal(ns_ports_open(&p, 0, FIRST + 7), 0);
	assert_int_equal(asked(&more), 0);
	ns_ports_close(&p, 0, FIRST + 7);
	assert_false(is_open(fd));
	assert_int_equal(failed_port, 0);
}

static void test_cannot_come(void **state)
{
	struct agent_req q;

	assert_int_equal(ns_ports_open(&p, 0, FIRST - 1), -EINVAL);
	assert_int_equal(ns_ports_open(&p, 0, FIRST), 0);
	assert_int_equal(asked(&q), FIRST);
	answer(&q, -EADDRINUSE);
	assert_int_equal(failed_port, FIRST);
	assert_int_equal(failed_err, -EADDRINUSE);
	assert_int_equal(fd_of(FIRST), -1);
}

/* Answers in any order; one that nobody wants any more, one that is wanted again, one that nobody asked for. */
static void test_changes(void **state)
{
	struct agent_req q[3], more;
	int fd;

	for (uint16_t i = 0; i < 3; i++) {
		assert_int_equal(ns_ports_open(&p, 0, FIRST + i), 0);
		assert_int_equal(asked(&q[i]), FIRST + i);
	}
	ns_ports_close(&p, 0, FIRST);
	ns_ports_close(&p, 0, FIRST + 1);
	assert_int_equal(ns_ports_open(&p, 0, FIRST + 1), 0);
	assert_int_equal(asked(&more), 0);
	fd = answer(&q[2], 0);
	assert_int_equal(fd_of(FIRST + 2), fd);
	done_port = 0;
	assert_false(is_open(answer(&q[0], 0)));
	assert_int_equal(done_port, 0);
	assert_int_equal(fd_of(FIRST), -1);
	fd = answer(&q[1], 0);
	assert_int_equal(fd_of(FIRST + 1), fd);
	assert_false(is_open(answer(&q[1], 0)));
	assert_true(is_open(fd));
	assert_int_equal(failed_port, 0);
}

/* An agent that doesn't answer is not waited for. */
static void test_silence(void **state)
{
	struct agent_req q;
	unsigned n = 0;
	int err = 0;

	while (!err && n < 1000)
		err = ns_ports_open(&p, 0, (uint16_t)(FIRST + n++));
	assert_int_equal(err, -EAGAIN);
	assert_int_equal(p.n, n - 1);
	while (asked(&q))
		answer(&q, -EACCES);
	assert_int_equal(p.n, 0);
	assert_int_equal(ns_ports_open(&p, 0, (uint16_t)(FIRST + n)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_comes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cannot_come, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silence, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
