/* SPDX-License-Identifier: MIT */
#include "os/acceptor.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <cmocka.h>
#include <unistd.h>

#include "base/log.h"
#include "os/sock.h"

struct fix {
	struct loop loop;
	struct acceptor a;
	struct ep at; /* where it listens */
	int client;
	struct ep client_ep;
	unsigned warnings;

	/* of the last event */
	unsigned events;
	int err, fd;
	struct ep peer;
};

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct fix *x = ctx;

	x->events++;
	x->err = acceptor_take(&x->a, &x->peer, &x->fd);
}

static void on_line(void *ctx, enum log_level level, const char *line)
{
	struct fix *x = ctx;

	x->warnings += level == LOG_LVL_WARN;
}

static int setup(void **state)
{
	static struct fix fix;
	struct fix *x = &fix;
	struct ep lo = { .addr = addr_loopback4 };
	int fd;

	*x = (struct fix){ .client = -1, .fd = -1 };
	*state = x;
	log_set_sink(on_line, x);
	assert_int_equal(loop_init(&x->loop), 0);
	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &fd), 0);
	assert_int_equal(sock_bind(fd, AF_INET, &lo, 0), 0);
	assert_int_equal(sock_listen(fd, 8), 0);
	assert_int_equal(sock_local(fd, &x->at), 0);
	acceptor_init(&x->a, &x->loop, fd, "a test");
	acceptor_start(&x->a, ref_init(loop_owner(&x->loop, on_event, x), 0, 0));
	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &x->client), 0);
	assert_int_equal(sock_connect(x->client, AF_INET, &x->at, 0), -EINPROGRESS);
	assert_int_equal(sock_local(x->client, &x->client_ep), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	sock_close(x->fd);
	sock_close(x->client);
	acceptor_fini(&x->a);
	loop_fini(&x->loop);
	log_set_sink(NULL, NULL);
	return 0;
}

static void test_take(void **state)
{
	struct fix *x = *state;

	assert_int_equal(loop_turn(&x->loop), 0);
	assert_int_equal(x->err, 0);
	assert_true(ep_eq(&x->peer, &x->client_ep));
	assert_int_equal(acceptor_take(&x->a, &x->peer, &x->fd), -EAGAIN);
	assert_int_equal(x->warnings, 0);
}

/* Who it was is known of a connection that was reset before anybody took it, too. */
static void test_take_reset(void **state)
{
	struct fix *x = *state;
	struct ep now;

	sock_abort(x->client);
	x->client = -1;
	assert_int_equal(loop_turn(&x->loop), 0);
	assert_int_equal(x->err, 0);
	assert_true(ep_eq(&x->peer, &x->client_ep));
	assert_int_equal(sock_peer(x->fd, &now), -ENOTCONN);
}

static bool is_ready(struct fix *x)
{
	struct epoll_event e;

	return epoll_wait(x->loop.epfd, &e, 1, 0);
}

/* Out of descriptors: nothing more is heard of it for a while, and then it is there. */
static void test_shortage(void **state)
{
	struct fix *x = *state;
	struct rlimit had, none;
	int next = dup(x->client);

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &had), 0);
	none = (struct rlimit){ (rlim_t)next, had.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(loop_turn(&x->loop), 0);
	assert_int_equal(x->events, 1);
	assert_int_equal(x->err, -EAGAIN);
	assert_int_equal(x->warnings, 1);
	assert_false(is_ready(x));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &had), 0);
	assert_false(is_ready(x));

	timers_run(&x->loop.timers, x->loop.now_ns + 2 * NSEC_PER_SEC);
	assert_true(is_ready(x));
	assert_int_equal(loop_turn(&x->loop), 0);
	assert_int_equal(x->err, 0);
	assert_true(ep_eq(&x->peer, &x->client_ep));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_take), T(test_take_reset), T(test_shortage) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
