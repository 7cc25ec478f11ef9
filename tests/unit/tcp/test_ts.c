/* SPDX-License-Identifier: MIT */
/* Timestamps (RFC 7323): the rules alone, then on the link. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

#define DAY_NS (86400 * NSEC_PER_SEC)
#define RECENT 0xfffffffeu /* the clock of the guest wraps around in every test */

/* RFC 7323 5.3, with the exceptions of 5.2 (RST) and 5.5 (24 days). */
static void test_check(void **state)
{
	static const struct {
		bool on, has;
		uint8_t flags;
		int32_t ahead; /* of what came before */
		uint64_t idle_ns;
		enum tcp_ts_verdict want;
	} tab[] = {
		{ true, true, TCP_ACK, 0, 0, TCP_TS_TAKE },
		{ true, true, TCP_ACK, 1, 0, TCP_TS_TAKE },
		{ true, true, TCP_ACK, 5, 0, TCP_TS_TAKE },
		{ true, true, TCP_ACK, INT32_MAX, 0, TCP_TS_TAKE },
		{ true, true, TCP_ACK, -1, 0, TCP_TS_OLD },
		{ true, true, TCP_ACK, INT32_MIN + 1, 0, TCP_TS_OLD },
		{ true, true, TCP_SYN, -1, 0, TCP_TS_OLD },
		{ true, true, TCP_FIN | TCP_ACK, -1, 0, TCP_TS_OLD },
		{ true, true, TCP_RST, -1, 0, TCP_TS_TAKE },
		{ true, true, TCP_RST | TCP_ACK, -1, 0, TCP_TS_TAKE },
		{ true, false, TCP_RST, 0, 0, TCP_TS_TAKE },
		{ true, false, TCP_ACK, 0, 0, TCP_TS_NONE },
		{ true, false, TCP_SYN, 0, 0, TCP_TS_OLD },
		{ true, true, TCP_ACK, -1, 24 * DAY_NS, TCP_TS_OLD },
		{ true, true, TCP_ACK, -1, 24 * DAY_NS + 2 * NSEC_PER_SEC, TCP_TS_TAKE },
		{ true, true, TCP_ACK, -1, 40 * DAY_NS, TCP_TS_TAKE },
		{ false, true, TCP_ACK, -1, 0, TCP_TS_TAKE },
		{ false, false, TCP_ACK, 0, 0, TCP_TS_TAKE },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct tcp_hdr syn = { .flags = TCP_SYN, .has_ts = true, .ts_val = RECENT };
		struct tcp_hdr h = { .flags = tab[i].flags, .has_ts = tab[i].has, .ts_val = RECENT + (uint32_t)tab[i].ahead };
		uint64_t start = 1000 * NSEC_PER_SEC, now = start + tab[i].idle_ns;
		struct tcp_ts t = { .offset = 5 };
		bool take = tab[i].want == TCP_TS_TAKE && tab[i].has && tab[i].on;

		tcp_ts_syn(&t, &syn, tab[i].on, start);
		if (tcp_ts_check(&t, &h, now) != tab[i].want)
			fail_msg("case %u", i);
		if (h.flags & TCP_RST)
			continue;
		tcp_ts_note(&t, &h, now);
		assert_int_equal(t.recent, take ? h.ts_val : RECENT);
	}
}

/* What we acknowledged last ends in it, or right before it. */
static void test_covers(void **state)
{
	static const struct {
		int32_t seq, end;
		bool want;
	} tab[] = {
		{ 0, 0, true },   { 0, 1, true },    { 0, 100, true },  { -1, 1, true }, { -100, 100, true },
		{ -1, 0, false }, { -1, -1, false }, { -9, -1, false }, { 1, 1, false }, { 1, 9, false },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		for (uint32_t acked = UINT32_MAX - 50; acked != 50; acked++)
			assert_int_equal(tcp_ts_covers(acked, acked + (uint32_t)tab[i].seq, acked + (uint32_t)tab[i].end),
					 tab[i].want);
	}
}

static void test_clock(void **state)
{
	struct tcp_hdr syn = { .has_ts = true }, h = { .has_ts = true };
	struct tcp_ts t;
	uint64_t rtt = 7;

	tcp_ts_init(&t, UINT32_MAX - 99, 0);
	tcp_ts_syn(&t, &syn, true, 0);
	assert_int_equal(tcp_ts_now(&t, 0), UINT32_MAX - 99);
	assert_int_equal(tcp_ts_now(&t, 100 * NSEC_PER_MSEC), 0);
	h.ts_ecr = UINT32_MAX - 9;
	assert_int_equal(tcp_ts_rtt(&t, &h, 130 * NSEC_PER_MSEC, &rtt), TCP_TS_RTT);
	assert_int_equal(rtt, 40 * NSEC_PER_MSEC);
	assert_int_equal(tcp_ts_rtt(&t, &h, 90 * NSEC_PER_MSEC, &rtt), TCP_TS_RTT);
	assert_int_equal(rtt, 0);
	/* From the future, or from long ago. */
	assert_int_equal(tcp_ts_rtt(&t, &h, 89 * NSEC_PER_MSEC, &rtt), TCP_TS_RTT_NONE);
	assert_int_equal(tcp_ts_rtt(&t, &h, 100 * NSEC_PER_SEC, &rtt), TCP_TS_RTT_NONE);
	/* From before a time-out. */
	tcp_ts_timeout(&t, 90 * NSEC_PER_MSEC, true);
	assert_int_equal(tcp_ts_rtt(&t, &h, 130 * NSEC_PER_MSEC, &rtt), TCP_TS_RTT);
	tcp_ts_timeout(&t, 91 * NSEC_PER_MSEC, true);
	assert_int_equal(tcp_ts_rtt(&t, &h, 130 * NSEC_PER_MSEC, &rtt), TCP_TS_RTT_BEFORE);
	h.has_ts = false;
	assert_int_equal(tcp_ts_rtt(&t, &h, 130 * NSEC_PER_MSEC, &rtt), TCP_TS_RTT_NONE);
}

/* --- on the link --- */

static struct gseg seg(const struct world *w, uint8_t flags, uint32_t ts_val)
{
	return (struct gseg){
		.h = { .flags = flags, .seq = w->seq, .ack = w->ack, .window = w->window, .has_ts = true, .ts_val = ts_val }
	};
}

static struct seen open_sack(struct world *w, const struct world_conf *c, bool sack)
{
	const struct tcp_hdr syn = {
		.mss = 1460, .has_wscale = true, .wscale = 7, .has_ts = true, .ts_val = RECENT, .sack_ok = sack
	};
	struct seen a;
	struct gseg s;

	world_init(w, c);
	conn_syn(w, &syn);
	w->s = fake_stream_last();
	fake_stream_connected(w->s);
	world_settle(w);
	assert_true(world_take(w, &a));
	w->irs = a.h.seq;
	w->ack = w->irs + 1;
	s = seg(w, TCP_ACK, RECENT);
	world_put(w, &s, 1);
	world_settle(w);
	assert_int_equal(world_conn(w)->state, CONN_ESTABLISHED);
	world_clear(w);
	return a;
}

static struct seen open_ts(struct world *w, const struct world_conf *c)
{
	return open_sack(w, c, false);
}

/* Offered on links that may lose, used if the guest does it as well; in no segment otherwise. */
static void test_negotiation(void **state)
{
	for (unsigned v = 0; v < 8; v++) {
		bool lossy = v & 1, ts = v & 2, in = v & 4;
		struct gseg s = { .h = { .flags = TCP_SYN | TCP_ACK, .mss = 1460, .has_ts = ts, .ts_val = 77, .window = 1000 } };
		struct tcp_hdr syn = { .mss = 1460, .has_ts = ts, .ts_val = 77 };
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ .lossy = lossy });
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
		assert_int_equal(a.h.has_ts, lossy && (in || ts));
		assert_int_equal(a.h.ts_ecr, !in && lossy && ts ? 77 : 0);
		w.irs = a.h.seq;
		s.h.seq = w.iss;
		s.h.ack = w.ack = a.h.seq + 1;
		w.seq = w.iss + 1;
		if (!in) {
			s = seg(&w, TCP_ACK, 77);
			s.h.has_ts = ts;
			s.h.ts_ecr = a.h.ts_val;
		}
		world_put(&w, &s, 1);
		host_push(w.s, 5000);
		world_settle(&w);
		while (world_take(&w, &a)) {
			assert_int_equal(a.h.has_ts, lossy && ts);
			assert_int_equal(a.h.ts_ecr, lossy && ts ? 77 : 0);
			assert_true(a.len <= 1460 - (lossy && ts ? TCP_TS_LEN : 0));
		}
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Frames stay within the MTU, superframes are multiples of what a segment carries, both families. */
static void test_lengths(void **state)
{
	for (unsigned v = 0; v < 8; v++) {
		uint32_t off = LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6;
		struct sim_conf c = {
			.w = { .v6 = v & 1, .lossy = true, .offloads = v & 2 ? off : 0, .peek_off_err = v & 4 ? ENOPROTOOPT : 0 },
			.g = { .mss = v & 1 ? 1440 : 1460, .wscale = 7, .total = 200000, .close = true, .ts = true, .sack = true },
			.total = 300000,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		sim_finish(&s, 100 * NSEC_PER_SEC);
		assert_true(s.p.ts);
		assert_int_equal(s.p.dup_in + s.p.rexmits + s.p.paws, 0);
		sim_fini(&s);
	}
}

/* An old duplicate whose sequence number fits again: answered, and nothing in it counts. */
static void test_paws(void **state)
{
	uint8_t data[30];
	struct world w;
	struct seen a;
	struct gseg s;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	open_ts(&w, &(struct world_conf){ .lossy = true });
	s = seg(&w, TCP_ACK, RECENT + 10);
	s.data = data;
	s.len = 10;
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 10);
	assert_int_equal(a.h.ts_ecr, RECENT + 10);
	w.seq += 10;
	s = seg(&w, TCP_ACK | TCP_FIN, RECENT + 9);
	s.h.ack = w.ack + 1000; /* not even that is looked at */
	s.data = "wrong";
	s.len = 5;
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_int_equal(a.h.ts_ecr, RECENT + 10);
	conn_expect_none(&w);
	/* Without any: silence. */
	s.h.has_ts = false;
	world_put(&w, &s, 1);
	conn_expect_none(&w);
	assert_int_equal(host_check(w.s), 10);
	assert_false(world_conn(&w)->guest_fin);
	/* But not to a guest that has restarted, which resets on the answer: it may do without them now. */
	s = (struct gseg){ .h = { .flags = TCP_SYN, .seq = w.seq + 100000, .window = 1000, .mss = 1460 } };
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	conn_expect_none(&w);
	/* 25 days later. The guest was asked now and then whether it is there. */
	fake_os.now_ns += 25 * DAY_NS;
	s = seg(&w, TCP_ACK, RECENT - 5);
	s.data = data + 10;
	s.len = 10;
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 10);
	assert_int_equal(a.h.ts_ecr, RECENT - 5);
	assert_int_equal(host_check(w.s), 20);
	w.seq += 10;
	/* A reset needs no timestamp. */
	conn_kill(&w);
	world_fini(&w);
}

/* What is echoed is the timestamp of what was acknowledged, not of what lies ahead of a hole, nor of what came first of many (4.3). */
static void test_echo(void **state)
{
	uint8_t data[400];
	struct world w;
	struct seen a;
	struct gseg s[3];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	open_ts(&w, &(struct world_conf){ .lossy = true });
	for (unsigned i = 0; i < 3; i++) {
		s[i] = seg(&w, TCP_ACK, RECENT + 1 + i);
		s[i].h.seq += i * 100;
		s[i].data = data + i * 100;
		s[i].len = 100;
	}
	world_put(&w, s, 3);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 300);
	assert_int_equal(a.h.ts_ecr, RECENT + 1);
	w.seq += 310;
	s[0] = seg(&w, TCP_ACK, RECENT + 50);
	s[0].data = data + 310;
	s[0].len = 90;
	world_put(&w, s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq - 10);
	assert_int_equal(a.h.ts_ecr, RECENT + 1);
	w.seq -= 10;
	s[0] = seg(&w, TCP_ACK, RECENT + 40);
	s[0].data = data + 300;
	s[0].len = 10;
	world_put(&w, s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 100);
	assert_int_equal(a.h.ts_ecr, RECENT + 40);
	assert_int_equal(host_check(w.s), 400);
	w.seq += 100;
	conn_kill(&w);
	world_fini(&w);
}

/* Nothing of a segment counts that acknowledges what was never sent, and what comes once more is not what was acknowledged. */
static void test_echo_not(void **state)
{
	uint8_t data[100];
	struct world w;
	struct seen a;
	struct gseg s;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	open_ts(&w, &(struct world_conf){ .lossy = true });
	s = seg(&w, TCP_ACK, RECENT + 1);
	s.data = data;
	s.len = sizeof(data);
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 100);
	assert_int_equal(a.h.ts_ecr, RECENT + 1);
	s.h.ts_val += 5;
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 100);
	assert_int_equal(a.h.ts_ecr, RECENT + 1);
	w.seq += 100;
	s = seg(&w, TCP_ACK, RECENT + 1000);
	s.h.ack++;
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_int_equal(a.h.ts_ecr, RECENT + 1);
	/* So this one is not old. */
	s = seg(&w, TCP_ACK | TCP_FIN, RECENT + 6);
	world_put(&w, &s, 1);
	a = conn_expect(&w, TCP_ACK, w.ack, w.seq + 1);
	assert_int_equal(a.h.ts_ecr, RECENT + 6);
	conn_kill(&w);
	world_fini(&w);
}

/* A handshake in which something was lost: the second SYN is the one that is answered, and the round trip is known all the same. */
static void test_handshake(void **state)
{
	const struct tcp_hdr syn = { .mss = 1460, .has_ts = true, .ts_val = RECENT };
	struct world w;
	struct seen a;
	struct gseg s;

	world_init(&w, &(struct world_conf){ .lossy = true });
	conn_syn(&w, &syn);
	w.s = fake_stream_last();
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.ts_ecr, RECENT);
	w.irs = a.h.seq;
	w.ack = w.irs + 1;
	world_wait(&w, 1100 * NSEC_PER_MSEC);
	assert_true(world_take(&w, &a)); /* the time-out */
	s = seg(&w, TCP_SYN, RECENT + 1200);
	s.h.seq = w.iss;
	world_put(&w, &s, 1);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(a.h.ts_ecr, RECENT + 1200);
	/* A reset that acknowledges nothing echoes nothing. */
	s = seg(&w, TCP_ACK, RECENT + 1201);
	s.h.ack = w.ack + 5;
	world_put(&w, &s, 1);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.flags, TCP_RST);
	assert_true(a.h.has_ts);
	assert_int_equal(a.h.ts_ecr, 0);
	world_wait(&w, 300 * NSEC_PER_MSEC);
	s = seg(&w, TCP_ACK, RECENT + 1500);
	s.h.ts_ecr = tcp_ts_now(&world_conn(&w)->ts, fake_os.now_ns) - 300;
	world_put(&w, &s, 1);
	world_settle(&w);
	assert_int_equal(world_conn(&w)->state, CONN_ESTABLISHED);
	assert_int_equal(world_conn(&w)->snd.srtt_us, 300000);
	conn_kill(&w);
	world_fini(&w);
}

/* What was sent twice can't be timed, but for its timestamp: the time-out follows a path that has become slower. */
static void test_round_trip(void **state)
{
	for (unsigned ts = 0; ts < 2; ts++) {
		struct world w;
		struct tcp_conn *k;
		struct seen a;
		struct gseg s;

		open_ts(&w, &(struct world_conf){ .lossy = ts });
		k = world_conn(&w);
		host_push(w.s, 100);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		world_wait(&w, 1500 * NSEC_PER_MSEC);
		assert_true(k->t->stats.rto > 0);
		s = seg(&w, TCP_ACK, RECENT + 1500);
		s.h.has_ts = ts;
		s.h.ts_ecr = a.h.ts_val; /* of the first one */
		s.h.ack += 100;
		world_put(&w, &s, 1);
		/* Perhaps the path is that slow: the time-out that this one came in time for stays until it is known. */
		assert_int_equal(k->snd.rto_us, ts ? TCP_RTO_MIN_US << 3 : TCP_RTO_MIN_US);
		w.ack += 100;
		host_push(w.s, 100);
		world_settle(&w);
		world_wait(&w, 1500 * NSEC_PER_MSEC);
		assert_int_equal(k->t->stats.rto, ts ? 3 : 6);
		s.h.ts_val += 1500;
		s.h.ts_ecr += 1500;
		s.h.ack += 100;
		world_put(&w, &s, 1);
		assert_in_range(k->snd.srtt_us, ts ? 150000 : 0, ts ? 1500000 : 1000);
		w.ack += 100;
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Segments with data that went to the guest; the first and the last of their timestamps. */
static unsigned data_taken(struct world *w, uint32_t *ret_first, uint32_t *ret_last)
{
	unsigned n = 0;
	struct seen a;

	while (world_take(w, &a)) {
		if (!a.len)
			continue;
		if (!n++)
			*ret_first = a.h.ts_val;
		*ret_last = a.h.ts_val;
	}
	world_clear(w);
	return n;
}

/*
 * The guest has been stalled, and acknowledges the first two of twenty segments when the timer has fired: if it answers what was sent
 * before, nothing more is sent again; if it answers what was sent then, all the rest.
 */
static void test_stalled(void **state)
{
	for (unsigned v = 0; v < 8; v++) {
		bool sack = v & 1, spurious = v & 2, twice = v & 4;
		uint32_t seg_len = 1460 - TCP_TS_LEN, first, last, again, before;
		struct tcp_conn *k;
		struct world w;
		struct gseg s;

		open_sack(&w, &(struct world_conf){ .lossy = true }, sack);
		k = world_conn(&w);
		host_push(w.s, 20ul * seg_len);
		world_settle(&w);
		assert_int_equal(data_taken(&w, &first, &last), 20);
		world_wait(&w, (twice ? 1000 : 300) * NSEC_PER_MSEC);
		assert_int_equal(data_taken(&w, &before, &again), twice ? 2 : 1);
		assert_int_equal(k->t->stats.rto, twice ? 2 : 1);
		s = seg(&w, TCP_ACK, RECENT + 1000);
		s.h.ack += 2 * seg_len;
		/* Answered: what was sent first, or what was sent again first, which is late all the same. */
		s.h.ts_ecr = spurious ? first : before;
		world_put(&w, &s, 1);
		world_settle(&w);
		assert_int_equal(data_taken(&w, &before, &again), spurious ? 0 : sack ? 4 : 2);
		/* The rest comes, and more is sent. */
		s.h.ack += 18 * seg_len;
		s.h.ts_val++;
		world_put(&w, &s, 1);
		host_push(w.s, seg_len);
		world_settle(&w);
		assert_int_equal(data_taken(&w, &before, &again), 1);
		s.h.ack += seg_len;
		s.h.ts_ecr = again;
		world_put(&w, &s, 1);
		world_settle(&w);
		w.ack += 21 * seg_len;
		conn_kill(&w);
		world_fini(&w);
	}
}

/*
 * The guest acknowledges at once, but each of its acknowledgements is lost once: what it echoes then is older than the time-out, and no
 * round trip. The time-outs don't lengthen each other.
 */
static void test_lost_acks(void **state)
{
	struct world w;
	struct tcp_conn *k;
	struct seen a;
	struct gseg s;

	open_ts(&w, &(struct world_conf){ .lossy = true });
	k = world_conn(&w);
	s = seg(&w, TCP_ACK, RECENT);
	for (unsigned i = 0; i < 20; i++) {
		host_push(w.s, 100);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		s.h.ts_ecr = a.h.ts_val;
		/* The second one of each pair arrives at once. */
		if (!(i & 1))
			world_wait(&w, 1000 * NSEC_PER_MSEC);
		world_clear(&w);
		s.h.ack += 100;
		world_put(&w, &s, 1);
	}
	assert_in_range(k->snd.srtt_us, 0, 1000);
	assert_int_equal(k->snd.rto_us, TCP_RTO_MIN_US);
	w.ack += 2000;
	conn_kill(&w);
	world_fini(&w);
}

/* Another connection, another clock. */
static void test_offset(void **state)
{
	struct flow_key key;
	struct world w;

	open_ts(&w, &(struct world_conf){ .lossy = true });
	key = world_conn(&w)->f.key;
	assert_int_equal(conn_ts_offset(w.t, &key), world_conn(&w)->ts.offset);
	key.gport++;
	assert_int_not_equal(conn_ts_offset(w.t, &key), world_conn(&w)->ts.offset);
	conn_kill(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),       cmocka_unit_test(test_covers),   cmocka_unit_test(test_clock),
		cmocka_unit_test(test_negotiation), cmocka_unit_test(test_lengths),  cmocka_unit_test(test_paws),
		cmocka_unit_test(test_echo),        cmocka_unit_test(test_echo_not), cmocka_unit_test(test_handshake),
		cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_offset),   cmocka_unit_test(test_lost_acks),
		cmocka_unit_test(test_stalled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
