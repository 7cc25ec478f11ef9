/* SPDX-License-Identifier: MIT */
/* Resets of either side in every state stay resets, and only true ones count (RFC 9293 3.5.3, RFC 5961). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

enum stage {
	SYN_RCVD, /* our SYN-ACK is under way */
	SYN_SENT, /* our SYN is under way */
	OPEN,
	DATA_DOWN, /* in flight */
	DATA_UP, /* in the spill buffer */
	GUEST_FIN,
	GUEST_FIN_SPILL, /* behind data in the spill buffer */
	HOST_FIN, /* sent */
	HOST_FIN_ACKED,
	WINDOW_SHUT, /* with data waiting */
	LINK_FULL, /* with data waiting */
	STAGES
};

static void stage_open(struct world *w, enum stage st)
{
	static const struct tcp_hdr usual = { .mss = 1460, .has_wscale = true, .wscale = 7 };
	struct seen a;

	if (st == SYN_SENT) {
		w->g.port = 80;
		w->s = fake_stream_arrive(w->listener.fd, &w->r);
		w->seq = w->iss;
	} else if (st == SYN_RCVD) {
		conn_syn(w, &usual);
		w->s = fake_stream_last();
		fake_stream_connected(w->s);
	} else {
		conn_open_out(w);
		return;
	}
	world_settle(w);
	assert_true(world_take(w, &a));
	w->irs = a.h.seq;
	w->ack = w->irs + 1;
	w->checked = true;
}

static void stage_init_conf(struct world *w, enum stage st, const struct world_conf *c)
{
	uint8_t data[1000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(w, c);
	stage_open(w, st);
	if (st == DATA_UP || st == GUEST_FIN_SPILL) {
		w->s->fill = w->s->size - 100;
		conn_send(w, st == DATA_UP ? TCP_ACK : TCP_FIN | TCP_ACK, data, sizeof(data));
	}
	if (st == GUEST_FIN)
		conn_send(w, TCP_FIN | TCP_ACK, NULL, 0);
	if (st == HOST_FIN || st == HOST_FIN_ACKED)
		fake_stream_fin(w->s);
	if (st == WINDOW_SHUT) {
		w->window = 0;
		conn_send(w, TCP_ACK, NULL, 0);
	}
	if (st == LINK_FULL)
		fake_link_room(&w->fl, 1);
	if (st == WINDOW_SHUT || st == LINK_FULL || st == DATA_DOWN)
		host_push(w->s, 5000);
	world_settle(w);
	if (st == HOST_FIN_ACKED)
		conn_ack(w, w->ack + 1);
	world_clear(w);
	assert_non_null(world_conn(w));
}

static void stage_init(struct world *w, enum stage st)
{
	stage_init_conf(w, st, &(struct world_conf){ 0 });
}

static void test_from_guest(void **state)
{
	for (unsigned st = 0; st < STAGES; st++) {
		for (unsigned ack = 0; ack < 2; ack++) {
			struct world w;

			stage_init(&w, st);
			if (st == SYN_SENT && !ack) {
				conn_send(&w, TCP_RST, NULL, 0);
				assert_non_null(world_conn(&w)); /* has to acknowledge our SYN (RFC 9293 3.10.7.3) */
			}
			conn_send(&w, ack || st == SYN_SENT ? TCP_RST | TCP_ACK : TCP_RST, NULL, 0);
			conn_expect_none(&w);
			assert_null(world_conn(&w));
			assert_int_equal(w.s->fd, -1);
			assert_true(w.s->rst_out);
			world_fini(&w);
		}
	}
}

/* While connect() is under way. */
static void test_from_guest_connecting(void **state)
{
	static const struct tcp_hdr usual = { .mss = 1460 };
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &usual);
	w.seq++;
	conn_send(&w, TCP_RST, NULL, 0);
	assert_non_null(world_conn(&w));
	w.seq--;
	conn_send(&w, TCP_RST, NULL, 0);
	assert_null(world_conn(&w));
	assert_int_equal(fake_stream_last()->fd, -1);
	conn_expect_none(&w);
	world_fini(&w);
}

static void test_from_host(void **state)
{
	for (unsigned i = 0; i < STAGES * 2; i++) {
		enum stage st = i / 2;
		struct world w;
		struct seen a;
		bool rst = false;
		unsigned events;

		stage_init_conf(&w, st, &(struct world_conf){ .v6 = i & 1, .peek_off_err = i & 1 ? ENOPROTOOPT : 0 });
		fake_stream_rst(w.s);
		events = world_settle(&w);
		assert_in_range(events, 1, 3);
		if (st == LINK_FULL) {
			assert_non_null(world_conn(&w)); /* what came before it comes first */
			world_link_ready(&w, SIZE_MAX);
			assert_in_range(world_settle(&w), 0, 1);
		}
		while (world_take(&w, &a)) {
			assert_false(rst);
			rst = a.h.flags & TCP_RST;
			/* The guest believes it only if its number is exact. */
			if (rst)
				assert_int_equal(a.h.seq, w.irs + 1 + w.s->in_total * (st != WINDOW_SHUT) + w.s->fin_in);
			if (rst && st != SYN_SENT)
				assert_int_equal(a.h.flags, TCP_RST | TCP_ACK);
		}
		assert_true(rst);
		assert_null(world_conn(&w));
		assert_int_equal(w.s->fd, -1);
		world_fini(&w);
	}
}

/* The kernel gives up (ETIMEDOUT) or learns that the host is gone: a reset for the guest. */
static void test_host_gone(void **state)
{
	static const int errs[] = { ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ECONNREFUSED, EPROTO };

	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		for (unsigned st = OPEN; st < LINK_FULL; st++) {
			struct world w;
			struct seen a;

			stage_init(&w, st);
			fake_stream_die(w.s, errs[i]);
			world_settle(&w);
			if (st == HOST_FIN || st == HOST_FIN_ACKED || world_conn(&w) == NULL)
				assert_true(world_take(&w, &a) && a.h.flags & TCP_RST);
			assert_null(world_conn(&w));
			world_fini(&w);
		}
	}
}

/* Data stands before the RST: it is delivered, then the RST. */
static void test_data_before_rst(void **state)
{
	struct world w;
	struct seen a;
	size_t done = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 10000);
	fake_stream_rst(w.s);
	world_settle(&w);
	while (world_take(&w, &a) && a.len) {
		assert_int_equal(a.h.seq, w.irs + 1 + done);
		pattern_check(DIR_DOWN, done, a.data, a.len);
		done += a.len;
	}
	assert_int_equal(done, 10000);
	assert_int_equal(a.h.flags, TCP_RST | TCP_ACK);
	assert_int_equal(a.h.seq, w.irs + 1 + 10000);
	assert_null(world_conn(&w));
	world_fini(&w);
}

/* After a time-out had us go back: the RST bears the number behind all that the guest may have, not the one to send next. */
static void test_rst_after_time_out(void **state)
{
	struct world w;
	struct seen a;
	bool rst = false;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 5000);
	world_settle(&w);
	world_wait(&w, 250 * NSEC_PER_MSEC); /* all acknowledgements were lost */
	assert_int_equal(w.t->stats.rto, 1);
	world_clear(&w);
	tcp_flow_abort(w.t, &world_conn(&w)->f);
	while (world_take(&w, &a)) {
		rst |= !!(a.h.flags & TCP_RST);
		if (a.h.flags & TCP_RST)
			assert_int_equal(a.h.seq, w.irs + 1 + 5000);
	}
	assert_true(rst);
	world_fini(&w);
}

/* RFC 5961 3.2: in the window but not exact is answered with an acknowledgement, outside of it with nothing. */
static void test_blind_rst(void **state)
{
	static const struct {
		int64_t seq; /* relative to the next expected */
		bool challenge;
	} tab[] = {
		{ 1, true },      { 1000, true },      { 10000, true },      { -1, false },
		{ -1000, false }, { 10 << 20, false }, { INT32_MAX, false }, { -(int64_t)INT32_MAX, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab) * 2; i++) {
		struct world w;
		struct gseg s = { .h = { .flags = i & 1 ? TCP_RST | TCP_ACK : TCP_RST } };

		world_init(&w, &(struct world_conf){ 0 });
		w.iss = i & 2 ? UINT32_MAX - 3 : 1000;
		conn_open_out(&w);
		s.h.seq = w.seq + (uint32_t)tab[i / 2].seq;
		s.h.ack = w.ack;
		world_put(&w, &s, 1);
		assert_non_null(world_conn(&w));
		if (tab[i / 2].challenge)
			conn_expect(&w, TCP_ACK, w.ack, w.seq);
		conn_expect_none(&w);
		assert_false(w.s->rst_out);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* RFC 5961 4.2: a SYN on an open connection is answered with an acknowledgement, whatever its number. A guest that has restarted
 * resets on that. */
static void test_blind_syn(void **state)
{
	static const int offs[] = { -1, 0, 1, 100000, -100000 };

	for (unsigned i = 0; i < ARRAY_SIZE(offs) * 2; i++) {
		struct world w;
		struct gseg s = { .h = { .flags = i & 1 ? TCP_SYN | TCP_ACK : TCP_SYN, .window = 1000, .mss = 1460 } };

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		s.h.seq = w.seq + (uint32_t)offs[i / 2];
		s.h.ack = w.ack;
		world_put(&w, &s, 1);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		conn_expect_none(&w);
		assert_int_equal(world_conn(&w)->state, CONN_ESTABLISHED);
		/* The restarted guest's answer. */
		s.h = (struct tcp_hdr){ .flags = TCP_RST, .seq = w.seq };
		world_put(&w, &s, 1);
		assert_null(world_conn(&w));
		assert_true(w.s->rst_out);
		world_fini(&w);
	}
}

/* In the handshake: a wrong acknowledgement of our SYN-ACK is answered with a RST, and the connection stays. */
static void test_bad_handshake_ack(void **state)
{
	struct world w;
	uint32_t good;

	stage_init(&w, SYN_RCVD);
	good = w.ack;
	conn_ack(&w, good + 1);
	conn_expect(&w, TCP_RST, good + 1, 0);
	conn_ack(&w, good - 1);
	conn_expect(&w, TCP_RST, good - 1, 0);
	assert_int_equal(world_conn(&w)->state, CONN_SYN_RCVD);
	conn_ack(&w, good);
	conn_expect_none(&w);
	assert_int_equal(world_conn(&w)->state, CONN_ESTABLISHED);
	conn_kill(&w);
	world_fini(&w);
}

/* SO_LINGER can't be set: the connection ends all the same. */
static void test_linger_fails(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	fake_fail(FAKE_LINGER, w.s->fd, ENOMEM, 0, 1);
	conn_send(&w, TCP_RST, NULL, 0);
	assert_null(world_conn(&w));
	world_fini(&w);
}

/* No room on the link for the RST: the guest gets its answer as soon as it sends something. */
static void test_rst_without_room(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	fake_link_room(&w.fl, 0);
	fake_stream_rst(w.s);
	world_settle(&w);
	world_link_ready(&w, SIZE_MAX);
	world_settle(&w);
	if (w.seen == w.fl.frames) {
		assert_null(world_conn(&w));
		w.checked = false;
		conn_send(&w, TCP_ACK, NULL, 0);
	}
	{
		struct seen a;

		assert_true(world_take(&w, &a));
		assert_true(a.h.flags & TCP_RST);
		assert_int_equal(a.h.seq, w.ack);
	}
	assert_null(world_conn(&w));
	world_fini(&w);
}

/* The end of the program, or of the guest. */
static void test_abort(void **state)
{
	for (unsigned st = 0; st < STAGES; st++) {
		struct world w;
		struct seen a;

		stage_init(&w, st);
		fake_link_room(&w.fl, SIZE_MAX);
		tcp_flow_abort(w.t, &world_conn(&w)->f);
		assert_null(world_conn(&w));
		/* What the guest ended in good order is delivered in good order. */
		assert_int_equal(w.s->rst_out, st != GUEST_FIN);
		assert_int_equal(world_take(&w, &a), st != GUEST_FIN);
		assert_true(st == GUEST_FIN || a.h.flags & TCP_RST);
		world_fini(&w);
	}
}

/* An event of the old socket does not reach a new connection in the same slot. */
static void test_late_event(void **state)
{
	struct world w;
	struct ref ref;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	ref = fake_fd(w.s->fd)->ref;
	conn_kill(&w);
	w.g.port++;
	conn_open_out(&w);
	tcp_on_host(w.t, ref, EPOLLIN | EPOLLERR | EPOLLHUP);
	assert_int_equal(world_conn(&w)->state, CONN_ESTABLISHED);
	assert_false(world_conn(&w)->host_rdhup);
	tcp_on_host(w.t, (struct ref){ .index = 5000, .owner = ref.owner }, EPOLLIN);
	conn_kill(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_from_guest),        cmocka_unit_test(test_from_guest_connecting),
		cmocka_unit_test(test_from_host),         cmocka_unit_test(test_host_gone),
		cmocka_unit_test(test_data_before_rst),   cmocka_unit_test(test_rst_after_time_out),
		cmocka_unit_test(test_blind_rst),         cmocka_unit_test(test_blind_syn),
		cmocka_unit_test(test_bad_handshake_ack), cmocka_unit_test(test_linger_fails),
		cmocka_unit_test(test_rst_without_room),  cmocka_unit_test(test_abort),
		cmocka_unit_test(test_late_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
