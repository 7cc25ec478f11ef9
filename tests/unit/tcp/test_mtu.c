/* SPDX-License-Identifier: MIT */
/* A smaller MTU behind the guest, of which it tells. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "wire/ip.h"
#include "world.h"

#define TOTAL 60000u

static struct icmp_too_big of(const struct world *w, uint32_t seq, uint32_t mtu)
{
	return (struct icmp_too_big){ .mtu = mtu,
				      .proto = PROTO_TCP,
				      .src = w->r.addr,
				      .dst = w->g.addr,
				      .sport = w->r.port,
				      .dport = w->g.port,
				      .seq = seq };
}

static void tell(struct world *w, uint32_t seq, uint32_t mtu)
{
	struct icmp_too_big b = of(w, seq, mtu);

	tcp_too_big(w->t, &b);
	world_turn(w);
}

/* All that is on its way, none of which is longer than mss nor was there; a superframe is of so many. Bytes. */
static size_t take(struct world *w, size_t from, size_t mss)
{
	size_t done = from;
	struct seen a;

	while (world_take(w, &a)) {
		assert_int_equal(a.h.seq, w->irs + 1 + done);
		pattern_check(DIR_DOWN, done, a.data, a.len);
		assert_true(a.len <= mss || a.gso_size == mss);
		done += a.len;
	}
	world_clear(w);
	w->ack = w->irs + 1 + (uint32_t)done;
	return done - from;
}

static void rest(struct world *w, size_t done, size_t mss)
{
	while (done < TOTAL) {
		size_t n;

		conn_ack(w, w->irs + 1 + (uint32_t)done);
		n = take(w, done, mss);
		assert_true(n);
		done += n;
	}
	conn_ack(w, w->ack);
	assert_int_equal(conn_unacked(w), 0);
}

/* The black hole ends at once: no time passes. Once more behind a second router. */
static void test_shrinks(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		bool v6 = i & 1, tso = i & 2;
		struct world w;
		size_t hdr, mss;

		world_init(&w, &(struct world_conf){ .v6 = v6,
						     .offloads = tso ? LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 : 0,
						     .peek_off_err = i & 4 ? ENOPROTOOPT : 0 });
		hdr = world_overhead(&w);
		conn_open_out(&w);
		mss = world_conn(&w)->snd.mss;
		host_push(w.s, TOTAL);
		world_settle(&w);
		take(&w, 0, mss);
		w.ack = w.irs + 1;
		tell(&w, w.irs + 1, 1420);
		assert_int_equal(world_conn(&w)->snd.mss, 1420 - hdr);
		assert_int_equal(take(&w, 0, 1420 - hdr), 1420 - hdr);
		tell(&w, w.irs + 1, 1400);
		assert_int_equal(take(&w, 0, 1400 - hdr), 1400 - hdr);
		rest(&w, 1400 - hdr, 1400 - hdr);
		assert_int_equal(world_conn(&w)->snd.backoff, 0);
		assert_int_equal(w.t->stats.rto, 0);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* As one that nobody sent, or that says nothing new. */
static void test_not_believed(void **state)
{
	static const struct {
		bool v6;
		int seq; /* from the first byte in flight on */
		uint32_t mtu;
	} tab[] = {
		{ false, -1, 1400 },   { false, TOTAL, 1400 }, { false, 0, 1500 },      { false, 0, 65535 },
		{ false, 0, 70000 },   { false, 0, 67 },       { false, 0, 0 },         { true, -1, 1400 },
		{ true, TOTAL, 1400 }, { true, 0, 1500 },      { true, 0, UINT32_MAX },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct icmp_too_big other;
		struct world w;
		size_t mss;

		world_init(&w, &(struct world_conf){ .v6 = tab[i].v6 });
		conn_open_out(&w);
		mss = world_conn(&w)->snd.mss;
		host_push(w.s, TOTAL);
		world_settle(&w);
		assert_int_equal(take(&w, 0, mss), TOTAL);
		w.ack = w.irs + 1;
		tell(&w, w.irs + 1 + (uint32_t)tab[i].seq, tab[i].mtu);
		other = of(&w, w.irs + 1, 1300);
		other.dport++;
		tcp_too_big(w.t, &other);
		assert_int_equal(world_conn(&w)->snd.mss, mss);
		conn_expect_none(&w);
		conn_ack(&w, w.irs + 1 + TOTAL);
		assert_int_equal(conn_unacked(&w), 0);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* What is less than every link has to carry in IPv6 is taken for that; in IPv4 segments are no smaller than the least MSS that we grant. */
static void test_least(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world w;
		size_t want;

		world_init(&w, &(struct world_conf){ .v6 = v6 });
		want = v6 ? 1280 - world_overhead(&w) : 48;
		conn_open_out(&w);
		host_push(w.s, TOTAL);
		world_settle(&w);
		world_clear(&w);
		tell(&w, w.irs + 1, 68);
		assert_int_equal(world_conn(&w)->snd.mss, want);
		assert_int_equal(take(&w, 0, want), want);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* In the handshake there is nothing that would not fit; with a shut window nothing may be sent. */
static void test_other_states(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &(struct tcp_hdr){ .mss = 1460 });
	tell(&w, 0, 1400);
	assert_int_equal(world_conn(&w)->snd.mss, 1460);
	w.s = fake_fd(world_conn(&w)->fd)->stream;
	conn_kill(&w);
	world_fini(&w);

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 1000);
	world_settle(&w);
	world_clear(&w);
	w.window = 0;
	conn_send(&w, TCP_ACK, NULL, 0);
	tell(&w, w.irs + 1, 500);
	assert_int_equal(world_conn(&w)->snd.mss, 460);
	conn_expect_none(&w);
	conn_kill(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shrinks),
		cmocka_unit_test(test_not_believed),
		cmocka_unit_test(test_least),
		cmocka_unit_test(test_other_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
