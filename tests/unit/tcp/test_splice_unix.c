/* SPDX-License-Identifier: MIT */
/* The splice engine where one of the ends is a UNIX socket: what such sockets do in another way. */
#include "splice_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#define MUCH (4u << 20) /* more than fits anywhere on the way */

static void unix_pair(int fd[2])
{
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

/* Somebody at a UNIX socket, whose connection is passed on to the service. */
static struct sw_peer from_unix(struct sw *x)
{
	int fd[2], to;

	unix_pair(fd);
	assert_int_equal(sock_open(x->family, SOCK_STREAM, 0, &to), 0);
	assert_int_equal(splice_open(x->s, SPLICE_IN | SPLICE_FROM_UNIX, fd[1], to, &x->back_ep), 0);
	return (struct sw_peer){ .fd = fd[0], .salt = 17 };
}

static void open_in(struct sw *x, struct sw_peer *near, struct sw_peer *far)
{
	*near = from_unix(x);
	*far = (struct sw_peer){ .fd = sw_accept(x, x->back), .salt = 99 };
	sw_settle(x);
}

/* The service is at a UNIX socket. */
static void open_out(struct sw *x, struct sw_peer *near, struct sw_peer *far)
{
	int fd[2], client;

	unix_pair(fd);
	assert_int_equal(sock_open(x->family, SOCK_STREAM, 0, &client), 0);
	assert_int_equal(sock_connect(client, x->family, &x->front_ep, 0), -EINPROGRESS);
	assert_int_equal(splice_open(x->s, SPLICE_OUT | SPLICE_TO_UNIX, sw_accept(x, x->front), fd[1], NULL), 0);
	*near = (struct sw_peer){ .fd = client, .salt = 17 };
	*far = (struct sw_peer){ .fd = fd[0], .salt = 99 };
	sw_settle(x);
}

typedef void open_fn(struct sw *x, struct sw_peer *near, struct sw_peer *far);

static open_fn *const ways[] = { open_in, open_out };

/* One sends as much as it likes and ends; then so does the other. */
static void both_ends(struct sw *x, struct sw_peer *a, struct sw_peer *b)
{
	for (unsigned i = 0; i < 2; i++) {
		struct sw_peer *from = i ? b : a, *to = i ? a : b;

		for (unsigned k = 0; from->sent < MUCH; k++) {
			assert_true(k < SW_ROUNDS);
			if (!sw_peer_send(from, MUCH - from->sent))
				sw_turn(x, NSEC_PER_MSEC);
			sw_peer_read(to, from, SIZE_MAX);
		}
		assert_int_equal(sock_shutdown_wr(from->fd), 0);
		sw_until_end(x, to, from);
		assert_int_equal(to->err, 0);
		assert_int_equal(to->got, MUCH);
	}
	sw_until_none(x);
	sw_peer_close(a);
	sw_peer_close(b);
}

static void test_bytes_and_ends(void **state)
{
	struct sw *x = *state;
	struct sw_peer near, far;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(ways); i++) {
		ways[i / 2](x, &near, &far);
		if (i % 2)
			both_ends(x, &near, &far);
		else
			both_ends(x, &far, &near);
	}
	assert_int_equal(splice_stats(x->s)->closed, 2 * ARRAY_SIZE(ways));
	assert_int_equal(splice_stats(x->s)->reset, 0);
}

/* Words, and gone before there was anybody to hear them: with TCP this would be a reset. */
static void test_gone_before_connected(void **state)
{
	struct sw *x = *state;
	struct sw_peer near = from_unix(x), far = { .salt = 99 };

	assert_int_equal(sw_peer_send(&near, 1000), 1000);
	sw_peer_close(&near);
	far.fd = sw_accept(x, x->back);
	sw_until_end(x, &far, &near);
	assert_int_equal(far.err, 0);
	assert_int_equal(far.got, 1000);
	sw_peer_close(&far);
	sw_until_none(x);
}

/* Who goes with something unread is a reset to the other, from a UNIX socket, too. */
static void test_gone_with_unread(void **state)
{
	struct sw *x = *state;
	struct sw_peer near, far;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct sw_peer *local, *tcp;

		ways[i](x, &near, &far);
		local = i ? &far : &near;
		tcp = i ? &near : &far;
		assert_int_equal(sw_peer_send(tcp, 1000), 1000);
		sw_settle(x);
		sw_peer_close(local);
		sw_until_end(x, tcp, local);
		assert_int_equal(tcp->err, ECONNRESET);
		sw_peer_close(tcp);
		sw_until_none(x);
	}
}

/* The other way round there is no reset that could be passed on: it is an end. */
static void test_reset_is_an_end(void **state)
{
	struct sw *x = *state;
	struct sw_peer near, far;

	open_in(x, &near, &far);
	sock_abort(far.fd);
	sw_until_end(x, &near, &far);
	assert_true(near.eof || near.err == ECONNRESET);
	sw_peer_close(&near);
	sw_until_none(x);
}

/* Urgent data is data like any other where there is nothing urgent. */
static void test_urgent(void **state)
{
	struct sw *x = *state;
	struct sw_peer near, far;
	char buf[16];

	open_out(x, &near, &far);
	assert_int_equal(send(near.fd, "ab", 2, 0), 2);
	assert_int_equal(send(near.fd, "!", 1, MSG_OOB), 1);
	sw_settle(x);
	assert_int_equal(send(near.fd, "cd", 2, 0), 2);
	sw_settle(x);
	assert_int_equal(recv(far.fd, buf, sizeof(buf), 0), 5);
	assert_memory_equal(buf, "ab!cd", 5);
	sw_peer_close(&near);
	sw_peer_close(&far);
	sw_until_none(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bytes_and_ends, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_bytes_and_ends, sw_setup6, sw_teardown),
		cmocka_unit_test_setup_teardown(test_bytes_and_ends, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_gone_before_connected, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_gone_before_connected, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_gone_with_unread, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset_is_an_end, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent, sw_setup_copy, sw_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
