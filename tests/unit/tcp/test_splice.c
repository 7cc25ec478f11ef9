/* SPDX-License-Identifier: MIT */
/* The splice engine: data and its end. What it has to look like is a plain TCP connection, so one of these is the oracle. */
#include "splice_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- every order of the end --- */

enum op { NEAR_SHUT, NEAR_CLOSE, FAR_SHUT, FAR_CLOSE, OPS };

struct script {
	enum op op[OPS];
	size_t data; /* that each side sends at first */
	unsigned reads; /* a bit for each side that reads after each step; the other one closes with unread data */
	bool more; /* each side that can still sends after each step */
	bool early; /* the first step comes while the data is still under way */
};

static void script_op(const struct script *sc, enum op op, struct sw_peer *p)
{
	if (p->fd < 0)
		return;
	if (op == NEAR_CLOSE || op == FAR_CLOSE) {
		sw_peer_close(p);
		return;
	}
	shutdown(p->fd, SHUT_WR);
	p->shut = true;
}

static void script_run(struct sw *x, const struct script *sc, struct sw_peer p[2])
{
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(sw_peer_send(&p[i], sc->data), sc->data);
	for (unsigned k = 0; k < OPS; k++) {
		if (k || !sc->early)
			sw_settle(x);
		script_op(sc, sc->op[k], &p[sc->op[k] >= FAR_SHUT]);
		sw_settle(x);
		for (unsigned i = 0; i < 2 && sc->more; i++) {
			if (p[i].fd >= 0 && !p[i].shut)
				sw_peer_send(&p[i], 10);
		}
		sw_settle(x);
		for (unsigned i = 0; i < 2; i++) {
			if (p[i].fd >= 0 && sc->reads >> i & 1)
				sw_peer_read(&p[i], &p[!i], SIZE_MAX);
		}
	}
}

/* The two that close early never know what the other sees later; the last state that each saw is to be the same. */
static bool same(const struct sw_peer a[2], const struct sw_peer b[2])
{
	for (unsigned i = 0; i < 2; i++) {
		if (a[i].got != b[i].got || a[i].eof != b[i].eof || a[i].err != b[i].err)
			return false;
	}
	return true;
}

static bool script_agrees(struct sw *x, const struct script *sc, struct sw_peer direct[2], struct sw_peer spliced[2])
{
	sw_open_direct(x, &direct[0], &direct[1]);
	script_run(x, sc, direct);
	sw_open_pair(x, &spliced[0], &spliced[1]);
	script_run(x, sc, spliced);
	sw_until_none(x);
	return same(direct, spliced);
}

static void script_check(struct sw *x, const struct script *sc)
{
	struct sw_peer direct[2], spliced[2];

	x->patience_ms = 0;
	while (!script_agrees(x, sc, direct, spliced)) {
		x->patience_ms = x->patience_ms * 4 + 2;
		if (x->patience_ms < 200)
			continue;
		for (unsigned i = 0; i < 2; i++)
			print_error("%s: direct %zu eof %d err %d, spliced %zu eof %d err %d\n", i ? "far" : "near", direct[i].got,
				    direct[i].eof, direct[i].err, spliced[i].got, spliced[i].eof, spliced[i].err);
		fail_msg("order %d %d %d %d, data %zu, reads %u, more %d, early %d", sc->op[0], sc->op[1], sc->op[2], sc->op[3],
			 sc->data, sc->reads, sc->more, sc->early);
	}
}

static void test_orders(void **state)
{
	static const size_t data[] = { 0, 1, 50000 };

	for (unsigned n = 0; n < OPS * OPS * OPS * OPS; n++) {
		struct script sc = { .op = { n % 4, n / 4 % 4, n / 16 % 4, n / 64 } };
		unsigned seen = 1u << sc.op[0] | 1u << sc.op[1] | 1u << sc.op[2] | 1u << sc.op[3];

		if (seen != 15)
			continue;
		for (unsigned k = 0; k < ARRAY_SIZE(data) * 12; k++) {
			sc.data = data[k / 12];
			sc.reads = 1 + k / 4 % 3;
			sc.more = k & 1;
			/* What is unread at a close makes it a reset: before a close, that hangs on what has arrived. */
			sc.early = k & 2 && (sc.op[0] == NEAR_SHUT || sc.op[0] == FAR_SHUT);
			script_check(*state, &sc);
		}
	}
}

/* --- data --- */

/* total bytes both ways at once, in pieces of step, then an orderly end. */
static void bulk(struct sw *x, size_t total, size_t step)
{
	struct sw_peer p[2];

	sw_open_pair(x, &p[0], &p[1]);
	for (unsigned i = 0; p[0].got < total || p[1].got < total; i++) {
		bool moved = false;

		for (unsigned k = 0; k < 2; k++) {
			moved = sw_peer_send(&p[k], MIN(step, total - p[k].sent)) || moved;
			moved = sw_peer_read(&p[k], &p[!k], SIZE_MAX) || moved;
			if (p[k].sent == total && !p[k].shut) {
				shutdown(p[k].fd, SHUT_WR);
				p[k].shut = true;
			}
			assert_int_equal(p[k].err, 0);
		}
		sw_turn(x, moved ? 0 : NSEC_PER_MSEC);
		assert_true(i < 10 * SW_ROUNDS);
	}
	for (unsigned k = 0; k < 2; k++) {
		sw_until_end(x, &p[k], &p[!k]);
		assert_true(p[k].eof);
		assert_int_equal(p[k].got, total);
		sw_peer_close(&p[k]);
	}
	sw_until_none(x);
}

static void test_bulk(void **state)
{
	struct sw *x = *state;
	const struct splice_stats *st = splice_stats(x->s);

	bulk(x, 16u << 20, 300000);
	assert_int_equal(st->bytes[0], 16u << 20);
	assert_int_equal(st->bytes[1], 16u << 20);
	assert_int_equal(st->copied, 0);
	assert_int_equal(st->closed, 1);
	assert_int_equal(st->reset, 0);
	bulk(x, 200000, 77); /* small pieces fill a pipe with few bytes */
}

static void test_bulk_copy(void **state)
{
	struct sw *x = *state;

	bulk(x, 16u << 20, 300000);
	assert_int_equal(splice_stats(x->s)->copied, 32u << 20);
}

/* Some have a pipe, some don't, and it changes. */
static void test_few_pipes(void **state)
{
	struct sw *x = *state;
	struct sw_peer p[20][2];
	const size_t total = 300000;

	for (unsigned i = 0; i < 20; i++) {
		sw_open_pair(x, &p[i][0], &p[i][1]);
		/* Nobody reads yet: pipes stay full. */
		sw_peer_send(&p[i][0], SIZE_MAX);
		sw_settle(x);
	}
	assert_true(splice_stats(x->s)->copied > 0);
	for (unsigned i = 0; i < 20; i++) {
		struct sw_peer *q = p[(i * 7) % 20];

		sw_until_read(x, &q[1], &q[0], q[0].sent);
		sw_peer_send(&q[1], total);
		sw_until_read(x, &q[0], &q[1], q[1].sent);
		sw_peer_close(&q[0]);
		sw_until_end(x, &q[1], &q[0]);
		assert_true(q[1].eof);
		sw_peer_close(&q[1]);
	}
	sw_until_none(x);
}

/* No descriptor for a pipe is left: the same as no pipe. */
static void test_no_descriptors(void **state)
{
	struct sw *x = *state;
	struct rlimit was, now;
	struct sw_peer p[2];

	sw_open_pair(x, &p[0], &p[1]);
	getrlimit(RLIMIT_NOFILE, &was);
	now = was;
	now.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
	/* sw_settle() used up none; the pool may have pipes from before. */
	splice_free(x->s);
	setrlimit(RLIMIT_NOFILE, &was);
	x->s = splice_new(&(struct splice_conf){ .loop = &x->loop, .max = 4, .pipes_max = 4 });
	sw_peer_close(&p[0]);
	sw_peer_close(&p[1]);

	p[0] = (struct sw_peer){ .fd = sw_open_near(x, &x->back_ep, 0), .salt = 1 };
	p[1] = (struct sw_peer){ .fd = sw_accept(x, x->back), .salt = 2 };
	setrlimit(RLIMIT_NOFILE, &now);
	sw_peer_send(&p[0], 50000);
	sw_settle(x);
	sw_until_read(x, &p[1], &p[0], 50000);
	setrlimit(RLIMIT_NOFILE, &was);
	assert_true(splice_stats(x->s)->copied >= 50000);
	sw_peer_send(&p[1], 50000);
	sw_until_read(x, &p[0], &p[1], 50000);
	assert_int_equal(splice_stats(x->s)->bytes[1], 50000);
	sw_peer_close(&p[0]);
	sw_peer_close(&p[1]);
	sw_until_none(x);
}

/* Half-closed, each side in turn, for as long as the other likes. */
static void test_half_close(void **state)
{
	struct sw *x = *state;

	for (unsigned first = 0; first < 2; first++) {
		struct sw_peer p[2];
		struct sw_peer *a = &p[first], *b = &p[!first];

		sw_open_pair(x, &p[0], &p[1]);
		sw_peer_send(a, 1000);
		shutdown(a->fd, SHUT_WR);
		sw_until_end(x, b, a);
		assert_true(b->eof && b->got == 1000);
		for (unsigned i = 1; i <= 100; i++) {
			sw_peer_send(b, 5000);
			sw_until_read(x, a, b, i * 5000);
			assert_false(a->eof);
		}
		shutdown(b->fd, SHUT_WR);
		sw_until_end(x, a, b);
		assert_true(a->eof && a->got == 500000);
		sw_until_none(x);
		sw_peer_close(a);
		sw_peer_close(b);
	}
	assert_int_equal(splice_stats(x->s)->reset, 0);
}

static void linger_close(struct sw_peer *p)
{
	assert_int_equal(sock_linger_reset(p->fd), 0);
	sw_peer_close(p);
}

/* A reset stays a reset, and what came before it is not lost where a plain connection would not lose it. */
static void test_reset(void **state)
{
	static const size_t data[] = { 0, 1, 100000 };
	struct sw *x = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(data) * 4; i++) {
		struct sw_peer p[2];
		struct sw_peer *a = &p[i & 1], *b = &p[!(i & 1)];

		sw_open_pair(x, &p[0], &p[1]);
		sw_peer_send(a, data[i / 4]);
		/* The other one has ended already, or not. */
		if (i & 2)
			shutdown(b->fd, SHUT_WR);
		sw_until_read(x, b, a, data[i / 4]);
		linger_close(a);
		sw_until_end(x, b, a);
		assert_int_equal(b->err, ECONNRESET);
		sw_peer_close(b);
		sw_until_none(x);
	}
	assert_int_equal(splice_stats(x->s)->reset, ARRAY_SIZE(data) * 4);
}

/* The far end, in a process of its own: reads so often, and resets. */
static void read_and_reset(struct sw_peer *p, unsigned reads)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		static uint8_t buf[64 << 10];

		fcntl(p->fd, F_SETFL, 0);
		while (reads--)
			(void)!recv(p->fd, buf, sizeof(buf), 0);
		linger_close(p);
		_exit(0);
	}
	sw_peer_close(p);
}

/* The reset comes while we send: with luck in the middle of a call, which then tells of it in no way. */
static void test_reset_under_way(void **state)
{
	struct sw *x = *state;

	static const uint8_t data[128 << 10];

	for (unsigned i = 0; i < 150; i++) {
		struct sw_peer p[2];
		ssize_t r;
		int err;

		sw_open_pair(x, &p[0], &p[1]);
		read_and_reset(&p[1], i % 50);
		do {
			r = send(p[0].fd, data, sizeof(data), MSG_NOSIGNAL | MSG_DONTWAIT);
			err = r < 0 ? errno : 0;
			sw_turn(x, r > 0 ? 0 : NSEC_PER_MSEC);
		} while (!err || err == EAGAIN);
		assert_int_equal(err, ECONNRESET); /* behind an end of file it would be EPIPE */
		sw_peer_close(&p[0]);
		sw_until_none(x);
		assert_true(waitpid(-1, NULL, 0) > 0);
	}
}

/* One closes while the other still sends: the sender learns it. */
static void test_close_under_send(void **state)
{
	struct sw *x = *state;
	struct sw_peer p[2];
	unsigned i;

	sw_open_pair(x, &p[0], &p[1]);
	sw_peer_send(&p[0], 100000);
	sw_until_read(x, &p[1], &p[0], 100000);
	sw_peer_close(&p[1]);
	for (i = 0; i < SW_ROUNDS && (sw_peer_send(&p[0], 100) || errno == EAGAIN); i++)
		sw_turn(x, NSEC_PER_MSEC);
	assert_true(i < SW_ROUNDS);
	sw_until_none(x);
	sw_peer_close(&p[0]);
}

/* The reader stops: the writer is held up, nobody spins, memory is that of the socket buffers and one pipe. */
static void test_slow_reader(void **state)
{
	struct sw *x = *state;
	struct sw_peer p[2];
	size_t before;
	uint64_t turns;

	sw_open_pair(x, &p[0], &p[1]);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(sock_set_int(p[i].fd, SOL_SOCKET, SO_RCVBUF, 32768), 0);
		assert_int_equal(sock_set_int(p[i].fd, SOL_SOCKET, SO_SNDBUF, 32768), 0);
	}
	do {
		before = p[0].sent;
		for (unsigned i = 0; i < 20; i++) {
			sw_peer_send(&p[0], 1u << 20);
			sw_turn(x, NSEC_PER_MSEC);
		}
		assert_true(p[0].sent < 64u << 20);
	} while (p[0].sent > before);
	sw_settle(x);
	turns = splice_stats(x->s)->bytes[0];
	sw_turn(x, 0);
	assert_int_equal(splice_stats(x->s)->bytes[0], turns);
	assert_int_equal(x->loop.timers.armed, 0);

	/* The other direction is not held up by it. */
	sw_peer_send(&p[1], 10000);
	sw_until_read(x, &p[0], &p[1], 10000);

	shutdown(p[0].fd, SHUT_WR);
	for (unsigned i = 0; p[1].got < p[0].sent; i++) {
		sw_peer_read(&p[1], &p[0], 10000);
		sw_turn(x, i % 16 ? 0 : NSEC_PER_MSEC);
		assert_true(i < SW_ROUNDS);
	}
	sw_until_end(x, &p[1], &p[0]);
	assert_true(p[1].eof);
	sw_peer_close(&p[1]);
	sw_peer_close(&p[0]);
	sw_until_none(x);
}

/* A writer that dies while it is held up by a reader: both connections end. */
static void test_reset_while_full(void **state)
{
	struct sw *x = *state;
	struct sw_peer p[2];

	sw_open_pair(x, &p[0], &p[1]);
	while (sw_peer_send(&p[0], 1u << 20))
		sw_settle(x);
	linger_close(&p[0]);
	sw_until_none(x);
	sw_until_end(x, &p[1], &p[0]);
	assert_int_equal(p[1].err, ECONNRESET);
	sw_peer_close(&p[1]);
}

/* A reader that resets while more is on its way to it: the writer sees that, and no end of file before. */
static void test_reader_resets_while_full(void **state)
{
	struct sw *x = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct sw_peer p[2];
		struct sw_peer *writer = &p[i & 1], *reader = &p[!(i & 1)];

		sw_open_pair(x, &p[0], &p[1]);
		/* What it had said before is not lost. */
		sw_peer_send(reader, i & 2 ? 1000 : 0);
		while (sw_peer_send(writer, 1u << 20))
			sw_settle(x);
		sw_until_read(x, writer, reader, reader->sent);
		linger_close(reader);
		sw_until_none(x);
		sw_until_end(x, writer, reader);
		assert_int_equal(writer->err, ECONNRESET);
		sw_peer_close(writer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_orders, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_orders, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_orders, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_bulk, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_bulk, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_bulk, sw_setup6, sw_teardown),
		cmocka_unit_test_setup_teardown(test_bulk_copy, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_few_pipes, sw_setup_few, sw_teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_half_close, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_half_close, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_half_close, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset_under_way, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset_under_way, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_close_under_send, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_close_under_send, sw_setup_joined, sw_teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, sw_setup_copy, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reset_while_full, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reader_resets_while_full, sw_setup, sw_teardown),
		cmocka_unit_test_setup_teardown(test_reader_resets_while_full, sw_setup_copy, sw_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
