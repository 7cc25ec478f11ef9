/* SPDX-License-Identifier: MIT */
/* From the guest to the host: every byte that was invited arrives, once. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

/* The guest sends no segment twice, and every shut window is reopened by an event: its probe timer never fires. */
static void test_matrix(void **state)
{
	static const uint32_t sndbuf[] = { 4608, 16384, 87040, 212992, 4194304 };
	static const size_t mtu[] = { 576, 1500, 9000, 32768, 65520 };
	static const unsigned delay_ms[] = { 0, 1, 20, 150 };

	for (unsigned i = 0; i < ARRAY_SIZE(sndbuf) * ARRAY_SIZE(mtu) * ARRAY_SIZE(delay_ms); i++) {
		unsigned d = i % ARRAY_SIZE(delay_ms), m = i / ARRAY_SIZE(delay_ms) % ARRAY_SIZE(mtu);
		unsigned b = i / ARRAY_SIZE(delay_ms) / ARRAY_SIZE(mtu);

		for (unsigned v = 0; v < 4; v++) {
			struct sim_conf c = {
				.w = { .mtu = mtu[m], .v6 = v & 1 },
				.g = { .mss = (uint16_t)(mtu[m] - (v & 1 ? 60 : 40)), .wscale = 7, .total = 250000, .close = true },
				.in = v & 2,
				.sndbuf = sndbuf[b],
				.overhead = v & 2 ? 600 : 0,
				.chunk = v & 1 ? 4096 : 1,
				.ack_delay_ns = delay_ms[d] * NSEC_PER_MSEC,
				.close = true,
			};

			sim_lossless(&c, 600 * NSEC_PER_SEC);
		}
	}
}

/* The remote connects from afar, and its acknowledgements take longer than the guest would wait: it never has to. */
static void test_far_inwards(void **state)
{
	static const uint32_t sndbuf[] = { 16384, 87040, 212992, 4194304 };
	static const size_t mtu[] = { 576, 1500, 9000, 32768, 65520 };

	for (unsigned i = 0; i < ARRAY_SIZE(sndbuf) * ARRAY_SIZE(mtu) * 4; i++) {
		size_t m = mtu[i / 4 % ARRAY_SIZE(mtu)];
		struct sim_conf c = {
			.w = { .mtu = m },
			.g = { .mss = (uint16_t)(m - 40), .wscale = 7, .tso = i & 1 ? 65160 : 0, .total = 250000, .close = true },
			.in = true,
			.sndbuf = sndbuf[i / 4 / ARRAY_SIZE(mtu)],
			.overhead = i & 2 ? 50 : 0,
			.ack_delay_ns = 400 * NSEC_PER_MSEC,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		sim_finish(&s, 600 * NSEC_PER_SEC);
		assert_int_equal(s.p.rexmits, 0);
		assert_int_equal(s.p.tlps, 0);
		assert_int_equal(s.w.t->stats.spilled, 0);
		sim_fini(&s);
	}
}

/* It is offered more than there is room for only where that waits for no longer than the guest does. */
static void test_near_inwards(void **state)
{
	static const struct {
		uint32_t sndbuf;
		unsigned delay_ms;
		bool spills;
	} cases[] = { { 16384, 1, true }, { 16384, 20, true },  { 16384, 60, false },
		      { 87040, 1, true }, { 87040, 20, false }, { 4194304, 1, false } };

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sim_conf c = {
			.w = { .mtu = 65520 },
			.g = { .mss = 65480, .wscale = 7, .total = 500000, .close = true },
			.in = true,
			.sndbuf = cases[i].sndbuf,
			.ack_delay_ns = cases[i].delay_ms * NSEC_PER_MSEC,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		sim_finish(&s, 600 * NSEC_PER_SEC);
		assert_int_equal(s.p.rexmits, 0);
		assert_int_equal(s.w.t->stats.spilled > 0, cases[i].spills);
		sim_fini(&s);
	}
}

/* Guests without window scaling, with delayed start, with superframes. */
static void test_guests(void **state)
{
	static const struct peer_conf guests[] = {
		{ .no_wscale = true },
		{ .no_wscale = true, .mss = 536 },
		{ .wscale = 14 },
		{ .tso = 65160, .wscale = 7 },
		{ .tso = 14600, .mss = 500 },
		{ .iss = UINT32_MAX - 1000 },
		{ .iss = UINT32_MAX },
		{ .iss = 0x7fffff00 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(guests) * 3; i++) {
		struct sim_conf c = {
			.g = guests[i / 3], .ack_delay_ns = i % 3 * 7 * NSEC_PER_MSEC, .sndbuf = i % 3 ? 20000 : 0, .close = true
		};

		c.g.total = 300000;
		c.g.close = true;
		sim_lossless(&c, 600 * NSEC_PER_SEC);
	}
}

/* Applications that write little at a time, with every kind of window: no silly one is left without an event. */
static void test_small_writes(void **state)
{
	static const uint32_t writes[] = { 1, 7, 700, 1461, 20000, 40000, 65481 };
	static const uint16_t mss[] = { 536, 1460, 65480 };

	for (unsigned i = 0; i < ARRAY_SIZE(writes) * ARRAY_SIZE(mss) * 8; i++) {
		unsigned v = i % 8, m = i / 8 % ARRAY_SIZE(mss), n = i / 8 / ARRAY_SIZE(mss);
		struct sim_conf c = {
			.w = { .mtu = 65520 },
			.g = { .mss = mss[m],
			       .no_wscale = v & 1,
			       .wscale = 7,
			       .close = true,
			       .total = MIN(writes[n] * 40, 400000u) },
			.write = writes[n],
			.write_gap_ns = v & 2 ? 100000 : 0,
			.sndbuf = v & 4 ? 10000 : 0,
			.ack_delay_ns = v & 4 ? 2 * NSEC_PER_MSEC : 0,
			.close = true,
		};

		sim_lossless(&c, 600 * NSEC_PER_SEC);
	}
}

/* A kernel that does not tell about the send buffer: the window is a guess, the spill buffer takes what the socket does not. */
static void test_no_meminfo(void **state)
{
	static const uint32_t sndbuf[] = { 4608, 30000, 1000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(sndbuf) * 2; i++) {
		struct sim_conf c = {
			.g = { .mss = 1460, .wscale = 7, .total = 500000, .close = true },
			.sndbuf = sndbuf[i / 2],
			.ack_delay_ns = i % 2 * 5 * NSEC_PER_MSEC,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		fake_fail(FAKE_SNDMEM, -1, ENOPROTOOPT, 0, UINT_MAX);
		sim_finish(&s, 600 * NSEC_PER_SEC);
		assert_int_equal(s.p.probes, 0);
		sim_fini(&s);
	}
}

/* The remote stops reading for a time, at every kind of moment. */
static void test_stall(void **state)
{
	static const uint64_t at[] = { 0, 1, 1460, 5000, 20000, 86000, 100000, 199999, 200000 };

	for (unsigned i = 0; i < ARRAY_SIZE(at) * 3; i++) {
		static const size_t mtu[] = { 1500, 9000, 65520 };
		struct sim_conf c = {
			.w = { .mtu = mtu[i % 3] },
			.g = { .mss = (uint16_t)(mtu[i % 3] - 40), .wscale = 7, .total = 200000, .close = true },
			.sndbuf = 30000,
			.stall_at = at[i / 3],
			.stall_ns = 10 * NSEC_PER_SEC,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		assert_false(sim_run(&s, 9 * NSEC_PER_SEC) && at[i / 3] < 150000);
		sim_finish(&s, 100 * NSEC_PER_SEC);
		/* All is held that long; nothing was lost. */
		assert_int_equal(s.w.t->stats.spill_full, 0);
		/* Only a window too small for two segments promises more than the socket has room for. */
		if (mtu[i % 3] == 1500)
			assert_int_equal(s.p.rexmits, 0);
		sim_fini(&s);
	}
}

/* A reader that pauses for long: no guest gives the connection up, as what waits here is acknowledged when it comes again. */
static void test_long_stall(void **state)
{
	static const struct {
		size_t mtu;
		uint32_t rtt_us;
		bool in;
	} tab[] = { { 1500, 0, false }, { 9000, 0, false }, { 65520, 0, false }, { 65520, 20000, false }, { 65520, 0, true } };

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct sim_conf c = {
			.w = { .mtu = tab[i].mtu, .rtt_us = tab[i].rtt_us },
			.g = { .mss = (uint16_t)(tab[i].mtu - 40), .wscale = 7, .total = 400000, .close = true },
			.in = tab[i].in,
			.sndbuf = 30000,
			.stall_at = 5000,
			.stall_ns = 3600 * NSEC_PER_SEC,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		assert_false(sim_run(&s, 3500 * NSEC_PER_SEC));
		assert_int_equal(s.p.state, PEER_OPEN);
		/* Nothing new was said to the first one; whatever may have been lost then, from there on it knows. */
		assert_in_range(s.p.rexmits, 0, 1);
		assert_int_equal(s.p.una, s.p.max);
		sim_finish(&s, 4000 * NSEC_PER_SEC);
		assert_int_equal(s.w.t->stats.spill_full, 0);
		sim_fini(&s);
	}
}

/* The socket takes exactly n bytes of a segment, for all n; the rest waits, and goes on in order. */
static void test_short_writes(void **state)
{
	uint8_t data[600];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (uint32_t n = 0; n <= 301; n++) {
		struct world w;
		struct tcp_conn *k;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		k = world_conn(&w);
		w.s->fill = w.s->size - n;
		conn_send(&w, TCP_ACK, data, 300);
		assert_int_equal(w.s->out_len, MIN(n, 300u));
		assert_int_equal(k->spill.len, 300 - MIN(n, 300u));
		if (n) /* nothing new is not worth an acknowledgement: three of them would tell of a loss */
			conn_expect(&w, TCP_ACK, w.ack, w.iss + 1 + MIN(n, 300u));
		if (n < 300)
			conn_expect_none(&w);
		/* More comes while it waits: it queues up behind. */
		conn_send(&w, TCP_ACK, data + 300, 300);
		assert_int_equal(w.s->out_len + k->spill.len, 600);
		if (k->spill.len)
			assert_true(w.s->nospace);
		assert_int_equal(world_settle(&w), 0);
		world_clear(&w);
		w.s->fill = w.s->size / 2;
		fake_stream_ack(w.s, 0);
		assert_in_range(world_settle(&w), 0, 1);
		assert_int_equal(k->spill.len, 0);
		assert_int_equal(host_check(w.s), 600);
		if (n < 301)
			conn_expect(&w, TCP_ACK, w.ack, w.iss + 1 + 600);
		world_clear(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Little by little: one byte of room at a time. */
static void test_spill_drop_by_drop(void **state)
{
	uint8_t data[40];
	struct world w;
	struct seen a;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	w.s->size = 3;
	w.s->fill = 3;
	conn_send(&w, TCP_ACK | TCP_FIN, data, sizeof(data));
	conn_expect_none(&w);
	for (unsigned i = 0; i < 40; i++) {
		assert_false(w.s->fin_out);
		assert_int_equal(w.s->out_len, i);
		w.s->fill = 2;
		fake_stream_ack(w.s, 1); /* one byte is free: half of what is in use */
		assert_int_equal(world_settle(&w), 1);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.ack, w.iss + 1 + i + 1 + (i == 39));
	}
	assert_true(w.s->fin_out);
	assert_int_equal(host_check(w.s), 40);
	conn_kill(&w);
	world_fini(&w);
}

/* TRAP: data and FIN in one batch, the data partly written. The FIN waits; it is neither passed on nor acknowledged. */
static void test_fin_behind_spill(void **state)
{
	uint8_t data[3000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned n = 0; n < 3000; n += 100) {
		struct world w;
		struct gseg s[3];

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		w.s->fill = w.s->size - n;
		for (unsigned i = 0; i < 3; i++) {
			s[i] = (struct gseg){
				.h = { .flags = TCP_ACK, .seq = w.seq + i * 1000, .ack = w.ack, .window = w.window }
			};
			s[i].data = data + i * 1000;
			s[i].len = 1000;
		}
		s[2].h.flags |= TCP_FIN;
		world_put(&w, s, 3);
		if (n)
			conn_expect(&w, TCP_ACK, w.ack, w.seq + n);
		conn_expect_none(&w);
		assert_int_equal(w.s->out_len, n);
		assert_false(w.s->fin_out);
		/* The guest is impatient and repeats it. */
		world_put(&w, &s[2], 1);
		conn_expect(&w, TCP_ACK, w.ack, w.seq + n);
		assert_false(w.s->fin_out);
		w.s->fill = 0;
		fake_stream_ack(w.s, 0);
		world_settle(&w);
		conn_expect(&w, TCP_ACK, w.ack, w.seq + 3001);
		conn_expect_none(&w);
		assert_int_equal(host_check(w.s), 3000);
		assert_true(w.s->fin_out);
		/* The other direction is open. */
		host_push(w.s, 500);
		world_settle(&w);
		assert_int_equal(conn_take_data(&w, 0), 500);
		fake_stream_fin(w.s);
		w.seq += 3001;
		conn_ack(&w, w.ack);
		world_settle(&w);
		conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
		conn_ack(&w, w.ack + 1);
		assert_null(world_conn(&w));
		assert_false(w.s->rst_out);
		world_fini(&w);
	}
}

/* The socket dies with data in the spill buffer. */
static void test_death_with_spill(void **state)
{
	uint8_t data[1000] = { 0 };

	for (unsigned how = 0; how < 3; how++) {
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		w.s->fill = w.s->size - 10;
		conn_send(&w, how == 1 ? TCP_ACK | TCP_FIN : TCP_ACK, data, sizeof(data));
		conn_expect(&w, TCP_ACK, w.ack, w.iss + 1 + 10);
		if (how == 2)
			fake_stream_die(w.s, ETIMEDOUT);
		else
			fake_stream_rst(w.s);
		assert_in_range(world_settle(&w), 1, 2);
		assert_true(world_take(&w, &a));
		assert_true(a.h.flags & TCP_RST);
		assert_int_equal(a.h.seq, w.ack);
		conn_expect_none(&w);
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

/* Every way in which a segment may lie relative to what is expected (RFC 9293 3.10.7.4). */
static void test_overlaps(void **state)
{
	static const struct {
		int seq; /* relative to the next expected, of which 500 bytes came before */
		uint32_t len;
		uint32_t takes;
		bool acked; /* an answer is due */
	} tab[] = {
		{ 0, 100, 100, true },    { -100, 100, 0, true }, { -500, 500, 0, true },    { -100, 150, 50, true },
		{ -500, 600, 100, true }, { -500, 501, 1, true }, { -1, 1, 0, true },        { -1, 2, 1, true },
		{ 1, 100, 0, true },      { 1000, 100, 0, true }, { 10000000, 10, 0, true }, { -10000000, 10, 0, true },
		{ -1, 0, 0, true },       { 0, 0, 0, false },     { 10000000, 0, 0, true },  { 1, 1, 0, true },
	};
	uint8_t data[2000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned i = 0; i < ARRAY_SIZE(tab) * 2; i++) {
		struct world w;
		struct gseg s = { 0 };
		unsigned c = i / 2;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		w.iss = i % 2 ? UINT32_MAX - 499 : 1000; /* the numbers wrap around at the next expected byte */
		conn_open_out(&w);
		conn_send(&w, TCP_ACK, data, 500);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		s.h = (struct tcp_hdr){ .flags = TCP_ACK, .seq = w.seq + (uint32_t)tab[c].seq, .ack = w.ack, .window = w.window };
		s.len = tab[c].len;
		s.data = data + (tab[c].seq < -500 || tab[c].seq > 1000 ? 0 : 500 + tab[c].seq);
		world_put(&w, &s, 1);
		assert_int_equal(host_check(w.s), 500 + tab[c].takes);
		assert_int_equal(world_take(&w, &a), tab[c].acked);
		if (tab[c].acked) {
			assert_int_equal(a.h.ack, w.seq + tab[c].takes);
			assert_int_equal(a.h.seq, w.ack);
		}
		conn_expect_none(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Of a segment that reaches behind the window only what lies inside counts; its FIN does not. */
static void test_window_edge(void **state)
{
	for (unsigned over = 0; over < 3; over++) {
		struct world w;
		struct tcp_conn *k;
		uint8_t *data = malloc(65536 * 3);
		uint32_t wnd, sent = 1460;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		k = world_conn(&w);
		pattern_fill(DIR_UP, 0, data, 65536 * 3);
		w.s->fill = w.s->size; /* takes nothing: the window does not move */
		conn_send(&w, TCP_ACK, data, 1460);
		wnd = tcp_rcv_limit(&k->rcv) - (w.iss + 1);
		assert_in_range(wnd, 1460, 65536 * 2);
		while (sent + 1460 < wnd) {
			conn_send(&w, TCP_ACK, data + sent, 1460);
			sent += 1460;
		}
		world_clear(&w);
		assert_int_equal(k->spill.len, sent);
		conn_send(&w, TCP_ACK | TCP_FIN, data + sent, wnd - sent + over);
		assert_int_equal(k->spill.len, wnd);
		assert_int_equal(k->guest_fin, !over);
		conn_expect_none(&w);
		/* A probe is answered, takes nothing. */
		if (over) {
			w.seq = w.iss + 1 + wnd;
			conn_send(&w, TCP_ACK, data + wnd, 1);
			w.seq--;
			conn_expect(&w, TCP_ACK, w.ack, w.iss + 1);
			assert_int_equal(k->spill.len, wnd);
			w.seq--;
			conn_send(&w, TCP_ACK, NULL, 0);
			conn_expect(&w, TCP_ACK, w.ack, w.iss + 1);
		}
		w.s->fill = 0;
		fake_stream_ack(w.s, 0);
		world_settle(&w);
		assert_int_equal(host_check(w.s), wnd);
		assert_int_equal(w.s->fin_out, !over);
		free(data);
		world_clear(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Data up to the edge of the window with a duplicate behind it, in one batch: the window moves on all the same. */
static void test_full_window_and_duplicate(void **state)
{
	struct world w;
	struct seen a;
	struct gseg s[2];
	uint8_t *data = malloc(200000);
	uint32_t wnd;
	bool open = false;

	pattern_fill(DIR_UP, 0, data, 200000);
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	wnd = tcp_rcv_limit(&world_conn(&w)->rcv) - w.seq;
	for (uint32_t done = 0, n; done < wnd; done += n) {
		n = MIN(wnd - done, 60000u);
		for (unsigned i = 0; i < 2; i++) {
			s[i] = (struct gseg){
				.h = { .flags = TCP_ACK, .seq = w.iss + 1 + done, .ack = w.ack, .window = w.window }
			};
			s[i].data = data + done;
			s[i].len = n;
		}
		world_put(&w, s, 2);
	}
	assert_int_equal(host_check(w.s), wnd);
	fake_stream_ack(w.s, wnd);
	world_settle(&w);
	while (world_take(&w, &a))
		open = a.h.window;
	assert_true(open);
	free(data);
	conn_kill(&w);
	world_fini(&w);
}

/* What came ahead of a hole is not sent again: one segment of the guest fills it. */
static void test_hole(void **state)
{
	uint8_t data[5000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned lost = 0; lost < 5; lost++) {
		struct world w;
		uint32_t first;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		first = w.seq;
		for (unsigned i = 0; i < 5; i++) {
			w.seq = first + i * 1000;
			if (i == lost)
				continue;
			conn_send(&w, i == 4 ? TCP_FIN | TCP_ACK : TCP_ACK, data + i * 1000, 1000);
			conn_expect(&w, TCP_ACK, w.ack, first + MIN(i + 1, i < lost ? 5 : lost) * 1000);
		}
		assert_int_equal(host_check(w.s), lost * 1000);
		w.seq = first + lost * 1000;
		conn_send(&w, lost == 4 ? TCP_FIN | TCP_ACK : TCP_ACK, data + lost * 1000, 1000);
		conn_expect(&w, TCP_ACK, w.ack, first + 5001);
		assert_int_equal(host_check(w.s), 5000);
		assert_true(w.s->fin_out);
		assert_null(world_conn(&w)->ooo);
		w.seq = first + 5001;
		conn_kill(&w);
		world_fini(&w);
	}
}

/* What fills a hole may reach over other holes, into the middle of what was kept behind them: that is next, too. */
static void test_hole_filled_by_much(void **state)
{
	uint8_t data[4000];
	struct world w;
	uint32_t first;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	first = w.seq;
	for (unsigned at = 1000; at < 4000; at += 2000) {
		w.seq = first + at;
		conn_send(&w, TCP_ACK, data + at, 1000);
		conn_expect(&w, TCP_ACK, w.ack, first);
	}
	w.seq = first;
	conn_send(&w, TCP_ACK, data, 3500);
	conn_expect(&w, TCP_ACK, w.ack, first + 4000);
	assert_int_equal(host_check(w.s), 4000);
	assert_null(world_conn(&w)->ooo);
	w.seq = first + 4000;
	conn_kill(&w);
	world_fini(&w);
}

/*
 * Behind a hole the socket takes only a part. To acknowledge that part would tell the guest that the rest of what was kept is gone: all of
 * it is acknowledged at once, or the part when the guest's timer has fired.
 */
static void test_hole_and_full_socket(void **state)
{
	uint8_t data[1000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned impatient = 0; impatient < 2; impatient++) {
		struct world w;
		uint32_t first;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		first = w.seq;
		w.s->fill = w.s->size - 300;
		w.seq = first + 100;
		conn_send(&w, TCP_ACK, data + 100, 900);
		conn_expect(&w, TCP_ACK, w.ack, first);
		w.seq = first;
		conn_send(&w, TCP_ACK, data, 100);
		conn_expect(&w, TCP_ACK, w.ack, first);
		assert_int_equal(host_check(w.s), 300);
		assert_int_equal(world_conn(&w)->spill.len, 700);
		if (impatient) {
			w.seq = first;
			conn_send(&w, TCP_ACK, data, 100);
			conn_expect(&w, TCP_ACK, w.ack, first + 1000);
		}
		w.s->fill = 0;
		fake_stream_ack(w.s, 0);
		world_settle(&w);
		if (!impatient)
			conn_expect(&w, TCP_ACK, w.ack, first + 1000);
		assert_int_equal(host_check(w.s), 1000);
		assert_false(world_conn(&w)->vouched);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* What was kept for a guest that is not heard of any more goes, and what it sends later fills the place. */
static void test_hole_for_ever(void **state)
{
	uint8_t data[300];
	struct world w;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	w.seq += 100;
	conn_send(&w, TCP_ACK, data + 100, 100);
	world_wait(&w, 30 * NSEC_PER_SEC);
	assert_int_not_equal(chunk_pool_used(w.t->pool), 0);
	world_wait(&w, 100 * NSEC_PER_SEC);
	assert_int_equal(chunk_pool_used(w.t->pool), 0);
	world_clear(&w);
	w.seq = w.iss + 1;
	conn_send(&w, TCP_ACK, data, 100);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 101);
	conn_send(&w, TCP_ACK, data + 100, 200);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 301);
	assert_int_equal(host_check(w.s), 300);
	conn_kill(&w);
	world_fini(&w);
}

/* Loss, duplicates and reordering on the way: contents are right, and it ends. */
static void test_lossy(void **state)
{
	for (unsigned seed = 1; seed <= 60; seed++) {
		struct sim_conf c = {
			.g = { .mss = seed % 3 ? 1460 : 536,
			       .wscale = 7,
			       .total = 150000,
			       .close = true,
			       .iss = seed * 0x9e3779b9u },
			.seed = seed,
			.in = seed & 1,
			.up = { .loss = seed * 2, .dup = 20, .reorder = seed % 5 * 30, .delay_ns = seed % 4 * NSEC_PER_MSEC },
			.down = { .loss = seed * 2, .dup = 20, .reorder = seed % 5 * 30, .delay_ns = seed % 4 * NSEC_PER_MSEC },
			.sndbuf = seed % 4 ? 30000 : 4608,
			.ack_delay_ns = seed % 7 * NSEC_PER_MSEC,
			.close = true,
		};

		sim_transfer(&c, 3000 * NSEC_PER_SEC);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_far_inwards),
		cmocka_unit_test(test_near_inwards),
		cmocka_unit_test(test_guests),
		cmocka_unit_test(test_small_writes),
		cmocka_unit_test(test_no_meminfo),
		cmocka_unit_test(test_stall),
		cmocka_unit_test(test_long_stall),
		cmocka_unit_test(test_short_writes),
		cmocka_unit_test(test_spill_drop_by_drop),
		cmocka_unit_test(test_fin_behind_spill),
		cmocka_unit_test(test_death_with_spill),
		cmocka_unit_test(test_overlaps),
		cmocka_unit_test(test_window_edge),
		cmocka_unit_test(test_full_window_and_duplicate),
		cmocka_unit_test(test_hole),
		cmocka_unit_test(test_hole_filled_by_much),
		cmocka_unit_test(test_hole_and_full_socket),
		cmocka_unit_test(test_hole_for_ever),
		cmocka_unit_test(test_lossy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
