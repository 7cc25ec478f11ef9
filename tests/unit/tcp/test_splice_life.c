/* SPDX-License-Identifier: MIT */
/* The splice engine: life and number of connections, and urgent data. */
#include "splice_world.h"
#include "fds.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void linger_close(struct sw_peer *p)
{
	assert_int_equal(sock_linger_reset(p->fd), 0);
	sw_peer_close(p);
}

/* --- life --- */

static void test_refused(void **state)
{
	struct sw *x = *state;
	struct ep closed;
	int fd = sw_listener(x, &closed);
	struct sw_peer p = { .salt = 1 };

	close(fd);
	p.fd = sw_open_near(x, &closed, 0);
	sw_until_end(x, &p, &p);
	assert_int_equal(p.err, ECONNRESET);
	assert_int_equal(splice_stats(x->s)->refused, 1);
	assert_int_equal(splice_stats(x->s)->now, 0);
	sw_peer_close(&p);
}

/* A service whose queue is full, by these. */
static int full_open(struct sw *x, struct ep *ret_ep, int waiting[3])
{
	int fd = sw_listener(x, ret_ep);

	assert_int_equal(listen(fd, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sock_open(x->family, SOCK_STREAM, 0, &waiting[i]), 0);
		assert_int_equal(sock_connect(waiting[i], x->family, ret_ep, 0), -EINPROGRESS);
	}
	return fd;
}

/* Nobody answers yet: who goes away meanwhile by a reset is forgotten at once; who has said all he wants to say waits on. */
static void test_reset_while_connecting(void **state)
{
	struct sw *x = *state;
	struct sw_peer p = { .salt = 1 }, patient = { .salt = 2 };
	struct ep full;
	int waiting[3], fd = full_open(x, &full, waiting);
	unsigned fds = fds_open();

	patient.fd = sw_open_near(x, &full, 0);
	assert_int_equal(shutdown(patient.fd, SHUT_WR), 0);
	p.fd = sw_open_near(x, &full, 0);
	sw_peer_send(&p, 100);
	sw_settle(x);
	assert_int_equal(splice_stats(x->s)->now, 2);
	linger_close(&p);
	for (unsigned i = 0; splice_stats(x->s)->now > 1; i++) {
		assert_true(i < SW_ROUNDS);
		sw_turn(x, NSEC_PER_MSEC);
	}
	sw_settle(x);
	assert_int_equal(splice_stats(x->s)->now, 1);
	assert_int_equal(splice_stats(x->s)->refused, 1);
	assert_int_equal(fds_open(), fds + 3);
	linger_close(&patient);
	sw_until_none(x);
	for (unsigned i = 0; i < ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
	close(fd);
}

/* What came, and went wrong, before the two were joined. */
static void test_joined_late(void **state)
{
	struct sw *x = *state;
	struct sw_peer near = { .salt = 17 }, far = { .salt = 99 };
	int to;

	for (unsigned round = 0; round < 2; round++) {
		struct sw_peer direct[2];

		sw_open_direct(x, &direct[0], &direct[1]);
		to = direct[0].fd;
		far = (struct sw_peer){ .fd = direct[1].fd, .salt = 99 };
		sw_peer_send(&far, 1000);
		if (round)
			linger_close(&far);
		assert_int_equal(loop_add(&x->loop, to, ref_init(LOOP_OWNERS, 0, 0), EPOLLIN | EPOLLET), 0);
		sw_settle(x);
		sw_open_direct(x, &direct[0], &direct[1]);
		near = (struct sw_peer){ .fd = direct[0].fd, .salt = 17 };
		sw_peer_send(&near, 500);
		(void)!splice_join(x->s, SPLICE_IN, direct[1].fd, to);
		if (!round) {
			sw_until_read(x, &near, &far, 1000);
			sw_until_read(x, &far, &near, 500);
			sw_peer_close(&far);
		}
		sw_until_end(x, &near, &far);
		assert_int_equal(near.err, round ? ECONNRESET : 0);
		sw_peer_close(&near);
		sw_until_none(x);
	}
}

static void test_table_full(void **state)
{
	struct sw *x = *state;
	struct sw_peer p[2][2], late = { .salt = 3 };

	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 2; i++)
			sw_open_pair(x, &p[i][0], &p[i][1]);
		late = (struct sw_peer){ .fd = sw_open_near(x, &x->back_ep, -ENOSPC) };
		sw_until_end(x, &late, &late);
		assert_int_equal(late.err, ECONNRESET);
		sw_peer_close(&late);
		for (unsigned i = 0; i < 4; i++) {
			sw_peer_send(&p[i / 2][i % 2], 100);
			sw_until_read(x, &p[i / 2][!(i % 2)], &p[i / 2][i % 2], 100);
		}
		for (unsigned i = 0; i < 4; i++)
			sw_peer_close(&p[i / 2][i % 2]);
		sw_until_none(x);
	}
}

/* Many at once, closed in another order than they came, again and again: nothing is left over. */
static void test_many(void **state)
{
	enum { MANY = 500 };
	static struct sw_peer p[MANY][2];
	struct sw *x = *state;
	unsigned fds = 0;

	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < MANY; i++)
			sw_open_pair(x, &p[i][0], &p[i][1]);
		assert_int_equal(splice_stats(x->s)->now, MANY);
		for (unsigned i = 0; i < MANY; i++) {
			sw_peer_send(&p[i][i % 2], 100 + i);
			if (i % 3 == 0)
				linger_close(&p[i][!(i % 2)]);
		}
		sw_settle(x);
		for (unsigned i = 0; i < MANY; i++) {
			struct sw_peer *q = p[i * 7 % MANY];

			if (i * 7 % MANY % 3)
				sw_until_read(x, &q[!(i * 7 % 2)], &q[i * 7 % 2], 100 + i * 7 % MANY);
			for (unsigned k = 0; k < 2; k++) {
				if (q[k].fd >= 0)
					sw_peer_close(&q[k]);
			}
		}
		sw_until_none(x);
		if (!round)
			fds = fds_open(); /* with the idle pipes */
		assert_int_equal(fds_open(), fds);
	}
	assert_int_equal(splice_stats(x->s)->opened, 4 * MANY);
	assert_int_equal(splice_stats(x->s)->closed + splice_stats(x->s)->reset, 4 * MANY);
}

/* The end of the engine is not the end of a stream. */
static void test_engine_free(void **state)
{
	struct sw *x = *state;
	unsigned fds = fds_open();
	struct sw_peer p[2];

	sw_open_pair(x, &p[0], &p[1]);
	sw_peer_send(&p[0], 1000);
	sw_until_read(x, &p[1], &p[0], 1000);
	splice_free(x->s);
	x->s = NULL;
	for (unsigned i = 0; i < 2; i++) {
		sw_until_end(x, &p[i], &p[!i]);
		assert_int_equal(p[i].err, ECONNRESET);
		sw_peer_close(&p[i]);
	}
	assert_int_equal(fds_open(), fds);
}

/* --- urgent data --- */

/* An urgent byte may come before there is another end, and is not forgotten when there is one: that takes a SYN of a second later. */
static void test_urgent_while_connecting(void **state)
{
	struct sw *x = *state;
	struct ep full;
	int waiting[3], fd = full_open(x, &full, waiting), far = -1;
	int near = sw_open_near(x, &full, 0);
	uint8_t byte = 0;

	assert_int_equal(send(near, "!", 1, MSG_OOB), 1);
	sw_settle(x);
	for (unsigned i = 0; i < ARRAY_SIZE(waiting); i++)
		close(waiting[i]);
	/* Those have ended; ours says nothing yet. */
	do {
		if (far >= 0)
			close(far);
		far = sw_accept(x, fd);
	} while (!recv(far, &byte, 1, MSG_PEEK | MSG_DONTWAIT));
	for (unsigned i = 0; i < SW_ROUNDS && recv(far, &byte, 1, MSG_OOB | MSG_DONTWAIT) != 1; i++)
		sw_turn(x, NSEC_PER_MSEC);
	assert_int_equal(byte, '!');
	close(near);
	close(far);
	sw_until_none(x);
	close(fd);
}

/* before bytes, the urgent one, after bytes, perhaps the end; the urgent one comes apart from the stream. */
static void urgent(struct sw *x, unsigned from, size_t before, size_t after, bool end)
{
	struct sw_peer p[2];
	struct sw_peer *a = &p[from], *b = &p[!from];
	uint8_t byte = 0;
	unsigned i;

	sw_open_pair(x, &p[0], &p[1]);
	sw_peer_send(a, before);
	assert_int_equal(send(a->fd, "!", 1, MSG_OOB), 1);
	sw_peer_send(a, after);
	if (end)
		shutdown(a->fd, SHUT_WR);
	for (i = 0; i < SW_ROUNDS && recv(b->fd, &byte, 1, MSG_OOB | MSG_DONTWAIT) != 1; i++)
		sw_turn(x, NSEC_PER_MSEC);
	assert_int_equal(byte, '!');
	/* A plain read stops in front of the mark. */
	for (i = 0; b->got < before && i < SW_ROUNDS; i++) {
		if (!sw_peer_read(b, a, before - b->got))
			sw_turn(x, NSEC_PER_MSEC);
	}
	assert_int_equal(b->got, before);
	sw_until_read(x, b, a, before + after);
	if (end) {
		sw_until_end(x, b, a);
		assert_true(b->eof);
	}
	/* The other direction, and this one, still work. */
	sw_peer_send(b, 100);
	sw_until_read(x, a, b, 100);
	if (!end) {
		sw_peer_send(a, 3000);
		sw_until_read(x, b, a, before + after + 3000);
	}
	sw_peer_close(a);
	sw_peer_close(b);
	sw_until_none(x);
}

static void test_urgent(void **state)
{
	static const size_t sizes[] = { 0, 1, 30000 };
	struct sw *x = *state;
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(sizes) * ARRAY_SIZE(sizes); i++) {
		for (unsigned k = 0; k < 4; k++, n++)
			urgent(x, k & 1, sizes[i / 3], sizes[i % 3], k & 2);
	}
	assert_int_equal(splice_stats(x->s)->urgent, n);
}

/* It waits its turn behind a reader that doesn't read. */
static void test_urgent_while_full(void **state)
{
	struct sw *x = *state;
	struct sw_peer p[2];
	size_t before, got = 0;
	uint8_t buf[4096];
	bool at_mark = false;

	sw_open_pair(x, &p[0], &p[1]);
	while (sw_peer_send(&p[0], 1u << 20))
		sw_settle(x);
	before = p[0].sent;
	while (send(p[0].fd, "!", 1, MSG_OOB | MSG_DONTWAIT) != 1)
		got += sw_peer_read(&p[1], &p[0], 4096) + (sw_turn(x, 0), 0u);
	sw_settle(x);
	assert_int_equal(x->loop.timers.armed, 0);
	assert_int_equal(sock_set_int(p[1].fd, SOL_SOCKET, SO_OOBINLINE, 1), 0);
	for (unsigned i = 0; got <= before; i++) {
		int mark = 0;
		ssize_t r;

		assert_true(i < 10 * SW_ROUNDS);
		assert_int_equal(ioctl(p[1].fd, SIOCATMARK, &mark), 0);
		at_mark = mark;
		r = recv(p[1].fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (r > 0)
			got += (size_t)r;
		else
			sw_turn(x, NSEC_PER_MSEC);
	}
	assert_true(at_mark);
	assert_int_equal(got, before + 1);
	assert_int_equal(splice_stats(x->s)->urgent, 1);
	sw_peer_close(&p[0]);
	sw_peer_close(&p[1]);
	sw_until_none(x);
}

/* Whoever looks on sees each connection once, and what has gone through it. */
static void test_show(void **state)
{
	struct sw *x = *state;
	struct sw_peer near[2], far[2];
	struct splice_show s[3];
	uint32_t slot = 0, first = 0;
	unsigned n = 0;

	assert_false(splice_next(x->s, &slot, splice_max(x->s), &s[0]));
	for (unsigned i = 0; i < 2; i++)
		sw_open_pair(x, &near[i], &far[i]);
	assert_int_equal(sw_peer_send(&near[1], 1000), 1000);
	assert_int_equal(sw_peer_send(&far[1], 10), 10);
	sw_settle(x);
	assert_int_equal(shutdown(near[0].fd, SHUT_WR), 0);
	sw_settle(x);
	for (slot = 0; n < 3 && splice_next(x->s, &slot, splice_max(x->s), &s[n]); slot++) {
		first = n++ ? first : slot;
		assert_int_equal(s[n - 1].way, SPLICE_IN);
		assert_in_range(s[n - 1].born_ns, 1, x->loop.now_ns);
	}
	assert_int_equal(n, 2);
	assert_string_equal(s[0].state, "closing");
	assert_string_equal(s[1].state, "established");
	assert_int_equal(s[0].bytes[0] + s[0].bytes[1], 0);
	assert_int_equal(s[1].bytes[0], 1000);
	assert_int_equal(s[1].bytes[1], 10);
	slot = first;
	assert_false(splice_next(x->s, &slot, first, &s[0]));

	sw_peer_close(&near[0]);
	sw_peer_close(&far[0]);
	for (unsigned i = 0; splice_stats(x->s)->now > 1; i++) {
		assert_true(i < SW_ROUNDS);
		sw_turn(x, NSEC_PER_MSEC);
	}
	slot = 0;
	assert_true(splice_next(x->s, &slot, splice_max(x->s), &s[0]));
	assert_int_equal(s[0].bytes[0], 1000);
	sw_peer_close(&near[1]);
	sw_peer_close(&far[1]);
	sw_until_none(x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_refused, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_refused, sw_setup6, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset_while_connecting, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent_while_connecting, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_joined_late, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_table_full, sw_setup_two, sw_teardown),
		cmocka_unit_test_setup_teardown(test_many, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_many, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_show, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_engine_free, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_urgent_while_full, sw_setup, sw_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
