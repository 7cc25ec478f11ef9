/* SPDX-License-Identifier: MIT */
/* Loss on the link, and a guest that tells what it has and is told what we have (RFC 2018, RFC 6675, RFC 2883). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

#define SEG 1460u

static const struct tcp_hdr with_sack = { .mss = SEG, .has_wscale = true, .wscale = 7, .sack_ok = true };

/* Done only if both sides want it: guest's option, ours, in connections of either side. */
static void test_negotiation(void **state)
{
	for (unsigned v = 0; v < 4; v++) {
		struct world w;
		struct seen a;
		bool sack = v & 1, in = v & 2;
		struct gseg s = { .h = { .flags = TCP_SYN | TCP_ACK, .mss = SEG, .sack_ok = sack, .window = 1000 } };
		struct tcp_hdr syn = with_sack;

		world_init(&w, &(struct world_conf){ 0 });
		syn.sack_ok = sack;
		if (in) {
			w.g.port = 80;
			w.s = fake_stream_arrive(w.listener.fd, &w.r);
		} else {
			conn_syn(&w, &syn);
			w.s = fake_stream_last();
			fake_stream_connected(w.s);
		}
		world_settle(&w);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.sack_ok, in || sack);
		s.h.seq = w.iss;
		s.h.ack = w.ack = a.h.seq + 1;
		w.seq = w.iss + 1;
		if (in)
			world_put(&w, &s, 1);
		else
			conn_send(&w, TCP_ACK, NULL, 0);
		world_settle(&w);
		assert_int_equal(world_conn(&w)->sack, sack);
		world_clear(&w);
		/* Ahead of a hole. */
		w.seq += 10;
		conn_send(&w, TCP_ACK, "hello", 5);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.n_sack, sack);
		assert_false(a.h.sack_ok);
		conn_kill(&w);
		world_fini(&w);
	}
}

static void open_sack(struct world *w, const struct world_conf *c)
{
	struct seen a;

	world_init(w, c);
	conn_syn(w, &with_sack);
	w->s = fake_stream_last();
	fake_stream_connected(w->s);
	world_settle(w);
	assert_true(world_take(w, &a));
	w->irs = a.h.seq;
	w->scale = a.h.wscale;
	conn_ack(w, a.h.seq + 1);
	world_settle(w);
	world_clear(w);
}

/* --- what we tell --- */

static void test_blocks(void **state)
{
	uint8_t data[1000];
	struct world w;
	struct seen a;
	uint32_t first;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	open_sack(&w, &(struct world_conf){ 0 });
	first = w.seq;
	for (uint32_t i = 1; i <= 5; i++) {
		w.seq = first + i * 100;
		conn_send(&w, TCP_ACK, data + i * 100, 50);
		a = conn_expect(&w, TCP_ACK, w.ack, first);
		assert_int_equal(a.h.n_sack, MIN(i, 4u));
		for (uint32_t j = 0; j < a.h.n_sack; j++) {
			assert_int_equal(a.h.sack[j].from, first + (i - j) * 100);
			assert_int_equal(a.h.sack[j].to, first + (i - j) * 100 + 50);
		}
	}
	/* Something that we have comes once more: told once. */
	w.seq = first;
	conn_send(&w, TCP_ACK, data, 100);
	a = conn_expect(&w, TCP_ACK, w.ack, first + 150);
	assert_int_equal(a.h.n_sack, 4);
	assert_int_equal(a.h.sack[0].from, first + 500);
	w.seq = first + 20;
	conn_send(&w, TCP_ACK, data + 20, 30);
	a = conn_expect(&w, TCP_ACK, w.ack, first + 150);
	assert_int_equal(a.h.n_sack, 4);
	assert_int_equal(a.h.sack[0].from, first + 20);
	assert_int_equal(a.h.sack[0].to, first + 50);
	assert_int_equal(a.h.sack[1].from, first + 500);
	w.seq = first + 150;
	conn_send(&w, TCP_ACK, data + 150, 400);
	a = conn_expect(&w, TCP_ACK, w.ack, first + 550);
	assert_int_equal(a.h.n_sack, 0);
	assert_int_equal(host_check(w.s), 550);
	w.seq = first + 550;
	conn_kill(&w);
	world_fini(&w);
}

/* Segments with data have no room for blocks: they do not take the place of the acknowledgement that has them. */
static void test_blocks_beside_data(void **state)
{
	uint8_t data[400];
	struct world w;
	struct seen a;
	bool told = false;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	open_sack(&w, &(struct world_conf){ 0 });
	w.seq += 300;
	conn_send(&w, TCP_ACK, data + 300, 100);
	world_clear(&w);
	host_push(w.s, 3000);
	w.seq = w.iss + 1;
	conn_send(&w, TCP_ACK, data, 100);
	world_settle(&w);
	while (world_take(&w, &a)) {
		assert_true(!a.len || !a.h.n_sack);
		told = told || (a.h.n_sack == 1 && a.h.ack == w.iss + 101);
	}
	assert_true(told);
	conn_kill(&w);
	world_fini(&w);
}

/* --- what we are told --- */

/* n full segments are on their way to the guest. */
static void download(struct world *w, const struct world_conf *c, unsigned n)
{
	open_sack(w, c);
	host_push(w->s, n * SEG);
	world_settle(w);
	world_clear(w);
}

/* The guest has all before segment ack, and those of the list: pairs of first and last, the end is a zero pair. */
static void tell(struct world *w, uint32_t ack, const uint32_t (*have)[2])
{
	struct gseg s = { .h = { .flags = TCP_ACK, .seq = w->seq, .window = w->window } };

	s.h.ack = w->ack = w->irs + 1 + ack * SEG;
	for (unsigned i = 0; have && have[i][1]; i++) {
		s.h.sack[i].from = w->irs + 1 + have[i][0] * SEG;
		s.h.sack[i].to = w->irs + 1 + have[i][1] * SEG + SEG;
		s.h.n_sack++;
	}
	world_put(w, &s, 1);
}

/* Bit i: segment i was sent. */
static uint64_t sent(struct world *w)
{
	uint64_t r = 0;
	struct seen a;

	while (world_take(w, &a)) {
		uint32_t off = a.h.seq - w->irs - 1;

		pattern_check(DIR_DOWN, off, a.data, a.len);
		assert_int_equal(off % SEG, 0);
		for (uint32_t at = 0; at < a.len; at += SEG) {
			assert_int_equal(r >> (off + at) / SEG & 1, 0);
			r |= 1ull << (off + at) / SEG;
		}
	}
	world_clear(w);
	return r;
}

static void finish(struct world *w, unsigned n)
{
	tell(w, n, NULL);
	assert_null(world_conn(w)->snd.board);
	assert_int_equal(chunk_pool_used(w->t->pool), 0);
	assert_int_equal(conn_unacked(w), 0);
	/* New data is found at the right place. */
	host_push(w->s, 2 * SEG);
	world_settle(w);
	assert_int_equal(sent(w), 3ull << n);
	world_wait(w, 100 * NSEC_PER_MSEC);
	assert_int_equal(sent(w), 0);
	conn_kill(w);
	world_fini(w);
}

static void test_holes(void **state)
{
	for (unsigned v = 0; v < 4; v++) {
		struct world_conf c = { .peek_off_err = v & 1 ? EOPNOTSUPP : 0,
					.offloads = v & 2 ? LINK_OFF_CSUM | LINK_OFF_TSO4 : 0 };
		struct world w;

		download(&w, &c, 40);
		tell(&w, 2, (const uint32_t[][2]){ { 3, 4 }, { 0 } });
		assert_int_equal(sent(&w), 0);
		/* Three segments behind the first hole, not behind the second. */
		tell(&w, 2, (const uint32_t[][2]){ { 6, 6 }, { 3, 4 }, { 0 } });
		assert_int_equal(sent(&w), 1ull << 2);
		tell(&w, 2, (const uint32_t[][2]){ { 20, 30 }, { 6, 6 }, { 3, 4 }, { 0 } });
		assert_int_equal(sent(&w), 1ull << 5 | 0x1fffull << 7);
		/* Nothing twice. */
		tell(&w, 2, (const uint32_t[][2]){ { 20, 35 }, { 6, 6 }, { 3, 4 }, { 0 } });
		assert_int_equal(sent(&w), 0);
		/* A repair arrives, the one before it did not: once more. */
		tell(&w, 2, (const uint32_t[][2]){ { 3, 6 }, { 20, 35 }, { 0 } });
		assert_int_equal(sent(&w), 1ull << 2 | 0xfull << 36);
		tell(&w, 39, NULL);
		assert_int_equal(sent(&w), 0);
		finish(&w, 40);
	}
}

/* A timeout: what the guest has is not sent again, and it goes slowly at first. */
static void test_timeout(void **state)
{
	struct world w;
	uint64_t got;

	download(&w, &(struct world_conf){ 0 }, 30);
	tell(&w, 0, (const uint32_t[][2]){ { 5, 20 }, { 0 } });
	assert_int_equal(sent(&w), 0x1f);
	world_wait(&w, 250 * NSEC_PER_MSEC);
	assert_int_equal(sent(&w), 1);
	tell(&w, 1, (const uint32_t[][2]){ { 5, 20 }, { 0 } });
	assert_int_equal(sent(&w), 6);
	tell(&w, 3, (const uint32_t[][2]){ { 5, 20 }, { 0 } });
	got = sent(&w);
	assert_int_equal(got, 0x18 | 3 << 21);
	tell(&w, 21, NULL);
	assert_int_equal(sent(&w) & 0x7fffff, 0);
	finish(&w, 30);
}

/* The guest drops what it had told of: it gets it when the timer says so (RFC 2018 section 8). */
static void test_reneging(void **state)
{
	for (unsigned v = 0; v < 2; v++) {
		struct world w;
		uint64_t got = 0;

		download(&w, &(struct world_conf){ 0 }, 10);
		tell(&w, 0, (const uint32_t[][2]){ { 2, 9 }, { 0 } });
		assert_int_equal(sent(&w), 3);
		if (v)
			tell(&w, 2, NULL); /* and so says that 2 is missing */
		for (uint32_t ack = v ? 2 : 0; ack < 10;) {
			if (!got)
				world_wait(&w, 100 * NSEC_PER_MSEC);
			got |= sent(&w);
			if (!(got >> ack & 1))
				continue;
			while (got >> ack & 1)
				ack++;
			got = 0;
			tell(&w, ack, NULL);
		}
		(void)sent(&w);
		finish(&w, 10);
	}
}

/* The last ones are lost, and the FIN: nothing behind them tells of it, the timer does. */
static void test_tail(void **state)
{
	for (unsigned v = 0; v < 2; v++) {
		struct world w;
		struct seen a;

		download(&w, &(struct world_conf){ .peek_off_err = v ? EOPNOTSUPP : 0 }, 4);
		fake_stream_fin(w.s);
		world_settle(&w);
		conn_expect(&w, TCP_FIN | TCP_ACK, w.irs + 1 + 4 * SEG, w.seq);
		world_clear(&w);
		tell(&w, 2, NULL);
		conn_expect_none(&w);
		world_wait(&w, 250 * NSEC_PER_MSEC);
		assert_int_equal(sent(&w), 4);
		tell(&w, 3, NULL);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.seq, w.irs + 1 + 3 * SEG);
		assert_int_equal(a.len, SEG);
		conn_expect(&w, TCP_FIN | TCP_ACK, w.irs + 1 + 4 * SEG, w.seq);
		w.ack = w.irs + 1 + 4 * SEG + 1;
		conn_send(&w, TCP_ACK, NULL, 0);
		assert_null(world_conn(&w)->snd.board);
		assert_true(world_conn(&w)->fin_acked);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Three acknowledgements that tell of little each, as after segments of a few bytes. */
static void test_small_segments(void **state)
{
	struct world w;

	open_sack(&w, &(struct world_conf){ 0 });
	for (unsigned i = 0; i < 5; i++) {
		host_push(w.s, 10);
		world_settle(&w);
	}
	world_clear(&w);
	for (unsigned i = 1; i <= 4; i++) {
		struct gseg s = { .h = { .flags = TCP_ACK, .seq = w.seq, .ack = w.ack, .window = w.window, .n_sack = 1 } };

		s.h.sack[0] = (struct tcp_sack){ w.irs + 11, w.irs + 11 + i * 10 };
		world_put(&w, &s, 1);
		if (i == 3)
			assert_int_equal(conn_take_data(&w, 0), 10);
		w.ack = w.irs + 1;
		conn_expect_none(&w);
	}
	conn_kill(&w);
	world_fini(&w);
}

/* Blocks that make no sense do no harm: behind what was sent, before what was acknowledged, inside out. */
static void test_odd_blocks(void **state)
{
	static const int32_t odd[][2] = {
		{ 40, 50 }, { 5, 41 }, { -3, -1 }, { -1, 3 }, { 0, 5 }, { 7, 3 }, { 3, 3 }, { 0x40000000, 0x40000001 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
		struct world w;

		download(&w, &(struct world_conf){ 0 }, 40);
		for (unsigned n = 0; n < 5; n++) {
			struct gseg s = { .h = { .flags = TCP_ACK, .seq = w.seq, .ack = w.ack, .window = w.window, .n_sack = 1 } };

			s.h.sack[0].from = w.irs + 1 + (uint32_t)odd[i][0] * SEG;
			s.h.sack[0].to = w.irs + 1 + (uint32_t)odd[i][1] * SEG;
			world_put(&w, &s, 1);
		}
		assert_int_equal(sent(&w), 0);
		assert_null(world_conn(&w)->snd.board);
		finish(&w, 40);
	}
}

/* The guest shuts its window on what is in flight, with holes in it. */
static void test_shut_window(void **state)
{
	struct world w;
	uint64_t got = 0;

	download(&w, &(struct world_conf){ 0 }, 20);
	tell(&w, 0, (const uint32_t[][2]){ { 5, 20 - 1 }, { 0 } });
	(void)sent(&w);
	w.window = 0;
	tell(&w, 2, (const uint32_t[][2]){ { 5, 20 - 1 }, { 0 } });
	assert_int_equal(sent(&w), 0);
	for (unsigned i = 0; i < 40; i++) {
		struct seen a;

		world_wait(&w, 20 * NSEC_PER_SEC);
		while (world_take(&w, &a))
			assert_int_equal(a.len, 0);
		world_clear(&w);
		tell(&w, 2, NULL); /* the guest is there */
	}
	w.window = UINT16_MAX;
	tell(&w, 2, NULL);
	for (uint32_t ack = 2; ack < 20; tell(&w, ack, NULL)) {
		got |= sent(&w);
		assert_true(got >> ack & 1);
		while (got >> ack & 1)
			ack++;
	}
	(void)sent(&w);
	finish(&w, 20);
}

/* The link has no room for a repair: it goes when there is. */
static void test_full_link(void **state)
{
	struct world w;

	download(&w, &(struct world_conf){ 0 }, 20);
	fake_link_room(&w.fl, 1);
	tell(&w, 0, (const uint32_t[][2]){ { 1, 1 }, { 5, 9 }, { 0 } });
	assert_int_equal(sent(&w), 1);
	world_link_ready(&w, 2);
	assert_int_equal(sent(&w), 1 << 2 | 1 << 3);
	world_link_ready(&w, SIZE_MAX);
	assert_int_equal(sent(&w), 1 << 4);
	finish(&w, 20);
}

/* --- whole transfers --- */

struct cost {
	uint64_t rexmit, rto, ms;
};

static struct cost transfer(unsigned loss, bool up, bool sack, uint32_t seed)
{
	struct sim_conf c = {
		.g = { .mss = SEG, .wscale = 7, .close = true, .total = up ? 2000000 : 0, .sack = sack },
		.total = up ? 0 : 2000000,
		.up = { .loss = loss, .delay_ns = NSEC_PER_MSEC },
		.down = { .loss = loss, .delay_ns = NSEC_PER_MSEC },
		.sndbuf = 1 << 20,
		.rcvbuf = 1 << 20,
		.close = true,
		.seed = seed,
	};
	uint64_t start;
	struct cost r;
	struct sim s;

	sim_init(&s, &c);
	start = fake_os.now_ns;
	sim_finish(&s, 3000 * NSEC_PER_SEC);
	r = (struct cost){ up ? s.p.rexmits : s.w.t->stats.rexmit, up ? s.p.rtos : s.w.t->stats.rto,
			   (fake_os.now_ns - start) / NSEC_PER_MSEC };
	if (up)
		assert_int_equal(s.p.reneged, 0);
	sim_fini(&s);
	return r;
}

/*
 * What SACK is good for: of what is lost little more is sent again, the timer fires less often, and it is over sooner, in time that is made
 * up. Of 1000 frames so many are lost; all figures are sums over some transfers, the bounds shares of what it costs without SACK, in percent.
 */
static void test_gain(void **state)
{
	static const struct {
		unsigned loss;
		bool up;
		unsigned rexmit, rto, ms;
	} tab[] = {
		{ 10, false, 130, 100, 100 },
		{ 10, true, 40, 50, 60 },
		{ 50, false, 110, 20, 25 },
		{ 50, true, 20, 80, 70 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct cost sum[2] = { { 0 } };

		for (uint32_t seed = 1; seed <= 8; seed++) {
			for (unsigned sack = 0; sack < 2; sack++) {
				struct cost c = transfer(tab[i].loss, tab[i].up, sack, seed);

				sum[sack].rexmit += c.rexmit;
				sum[sack].rto += c.rto;
				sum[sack].ms += c.ms;
			}
		}
		print_message("%s, %u of 1000 lost: sent again %u without, %u with SACK; timeouts %u, %u; ms %u, %u\n",
			      tab[i].up ? "from the guest" : "to the guest", tab[i].loss, (unsigned)sum[0].rexmit,
			      (unsigned)sum[1].rexmit, (unsigned)sum[0].rto, (unsigned)sum[1].rto, (unsigned)sum[0].ms,
			      (unsigned)sum[1].ms);
		assert_true(sum[1].rexmit * 100 <= sum[0].rexmit * tab[i].rexmit);
		assert_true(sum[1].rto * 100 <= sum[0].rto * tab[i].rto);
		assert_true(sum[1].ms * 100 <= sum[0].ms * tab[i].ms);
	}
}

/*
 * A path that loses nothing, but lets many segments overtake others: what is sent again is sent for nothing. Of 1000 segments so many are
 * late; the bounds are those of segments sent again, of 1000, in the sum of some transfers.
 */
static void test_reordering(void **state)
{
	static const struct {
		unsigned late, again;
	} tab[] = { { 1, 2 }, { 10, 5 }, { 100, 10 }, { 500, 50 } };

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		unsigned again = 0, segs = 0;

		for (uint32_t seed = 1; seed <= 4; seed++) {
			struct sim_conf c = {
				.g = { .mss = SEG, .wscale = 7, .close = true, .sack = true },
				.total = 4000000,
				.up = { .delay_ns = NSEC_PER_MSEC },
				.down = { .reorder = tab[i].late, .delay_ns = 1300 * NSEC_PER_USEC },
				.rcvbuf = 1 << 20,
				.close = true,
				.seed = seed,
			};
			struct sim s;

			sim_init(&s, &c);
			sim_finish(&s, 3000 * NSEC_PER_SEC);
			again += s.p.twice_in;
			segs += (unsigned)(c.total / SEG);
			assert_int_equal(s.w.t->stats.rto, 0);
			sim_fini(&s);
		}
		print_message("%u of 1000 late: %u of %u segments came twice\n", tab[i].late, again, segs);
		assert_in_range(again, 0, segs / 1000 * tab[i].again);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_negotiation),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_blocks_beside_data),
		cmocka_unit_test(test_holes),
		cmocka_unit_test(test_timeout),
		cmocka_unit_test(test_reneging),
		cmocka_unit_test(test_tail),
		cmocka_unit_test(test_small_segments),
		cmocka_unit_test(test_odd_blocks),
		cmocka_unit_test(test_shut_window),
		cmocka_unit_test(test_full_link),
		cmocka_unit_test(test_gain),
		cmocka_unit_test(test_reordering),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
