/* SPDX-License-Identifier: MIT */
/* Data of the guest that finds no room: in windows, in buffers, or as the socket is broken. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "world.h"

/* A guest that ignores all windows: memory stays bounded, and what was promised arrives. */
static void test_greedy_guest(void **state)
{
	struct world w;
	struct tcp_conn *k;
	uint8_t data[1460];
	uint32_t most = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	k = world_conn(&w);
	w.s->fill = w.s->size;
	for (unsigned i = 0; i < 3000; i++) {
		pattern_fill(DIR_UP, (uint64_t)i * 1460, data, sizeof(data));
		conn_send(&w, TCP_ACK, data, sizeof(data));
		most = MAX(most, k->spill.len);
		world_clear(&w);
	}
	assert_in_range(most, 1, 262144);
	w.s->fill = 0;
	fake_stream_ack(w.s, 0);
	world_settle(&w);
	assert_int_equal(host_check(w.s), most);
	conn_kill(&w);
	world_fini(&w);
}

static void pool_exhaust(struct world *w, struct spill *hog)
{
	static uint8_t big[1 << 20];
	const struct iovec iov = { big, sizeof(big) };

	while (spill_put(w->t->pool, hog, &iov, 1, 0, sizeof(big)) == sizeof(big))
		;
}

/* The pool has no chunk left: nothing is acknowledged that is not kept, and the guest's retransmission repairs it. */
static void test_pool_exhausted(void **state)
{
	struct world w;
	struct tcp_conn *k;
	struct spill hog = { 0 };
	uint8_t data[1000];

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	k = world_conn(&w);
	pool_exhaust(&w, &hog);
	pattern_fill(DIR_UP, 0, data, sizeof(data));
	w.s->fill = w.s->size - 300;
	conn_send(&w, TCP_ACK | TCP_FIN, data, sizeof(data));
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 1 + 300);
	assert_int_equal(k->spill.len, 0);
	assert_false(k->guest_fin);
	assert_int_equal(w.t->stats.spill_full, 1);
	w.s->fill = 0;
	fake_stream_ack(w.s, 0);
	world_settle(&w);
	world_clear(&w);
	w.seq = w.iss + 1;
	conn_send(&w, TCP_ACK | TCP_FIN, data, sizeof(data));
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 1 + 1001);
	assert_int_equal(host_check(w.s), 1000);
	assert_true(w.s->fin_out);
	spill_drop(w.t->pool, &hog, hog.len);
	conn_kill(&w);
	world_fini(&w);
}

/* More segments than one call of the kernel takes, the first of which find no room anywhere: none of the others goes in their place. */
static void test_pool_exhausted_between(void **state)
{
	enum { SEGS = LINK_BATCH, LEN = 400 };
	static struct gseg s[SEGS];
	static uint8_t data[SEGS * LEN];
	struct spill hog = { 0 };
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	pool_exhaust(&w, &hog);
	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned i = 0; i < SEGS; i++) {
		s[i] = (struct gseg){ .data = data + i * LEN, .len = LEN, .pieces = 6 };
		s[i].h = (struct tcp_hdr){ .seq = w.seq + i * LEN, .ack = w.ack, .flags = TCP_ACK, .window = w.window };
	}
	fake_fail(FAKE_SEND, w.s->fd, EAGAIN, 0, 1);
	world_put(&w, s, SEGS);
	assert_int_equal(w.s->out_len, 0);
	world_clear(&w);
	spill_drop(w.t->pool, &hog, hog.len);
	world_put(&w, s, SEGS);
	assert_int_equal(host_check(w.s), sizeof(data));
	conn_kill(&w);
	world_fini(&w);
}

/* Sends fail in every other way: EAGAIN is not the end, other errors are. */
static void test_send_errors(void **state)
{
	static const struct {
		int err;
		bool dead;
	} tab[] = { { EAGAIN, false }, { EPIPE, true }, { ECONNRESET, true }, { ETIMEDOUT, true }, { EHOSTUNREACH, true } };
	uint8_t data[100];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		fake_fail(FAKE_SEND, w.s->fd, tab[i].err, 0, 1);
		conn_send(&w, TCP_ACK, data, sizeof(data));
		assert_int_equal(world_take(&w, &a), tab[i].dead);
		assert_int_equal(!world_conn(&w), tab[i].dead);
		if (!tab[i].dead) {
			conn_kill(&w);
		} else {
			assert_int_equal(a.h.seq, w.ack);
			assert_true(a.h.flags & TCP_RST);
		}
		world_fini(&w);
	}
}

/* What the guest said is gone before it could be read: the connection is none the worse for it. */
static void test_data_taken_away(void **state)
{
	uint8_t data[100];
	struct world w;
	struct seen a;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	fake_fail(FAKE_SEND, w.s->fd, EFAULT, 0, 1);
	conn_send(&w, TCP_ACK, data, sizeof(data));
	world_settle(&w);
	assert_non_null(world_conn(&w));
	w.seq -= (uint32_t)sizeof(data);
	while (world_take(&w, &a)) {
		assert_false(a.h.flags & TCP_RST);
		assert_int_equal(a.h.ack, w.seq);
	}
	conn_send(&w, TCP_ACK, data, sizeof(data));
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.ack, w.seq);
	conn_kill(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greedy_guest),           cmocka_unit_test(test_pool_exhausted),
		cmocka_unit_test(test_pool_exhausted_between), cmocka_unit_test(test_send_errors),
		cmocka_unit_test(test_data_taken_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
