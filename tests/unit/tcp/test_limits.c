/* SPDX-License-Identifier: MIT */
/* What there may be at once: who gives way when the flow table is full, how many may wait, begin, or make us answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "wire/ip.h"
#include "world.h"

static const struct tcp_hdr usual = { .mss = 1460, .has_wscale = true, .wscale = 7 };

static void syn(struct world *w, uint16_t port)
{
	w->g.port = port;
	conn_syn(w, &usual);
}

static bool here(struct world *w, uint16_t port)
{
	w->g.port = port;
	return world_conn(w);
}

/* From CONNECTING on. */
static void establish(struct world *w, uint16_t port)
{
	struct seen a;

	assert_true(here(w, port));
	w->s = fake_fd(world_conn(w)->fd)->stream;
	fake_stream_connected(w->s);
	world_settle(w);
	assert_true(world_take(w, &a));
	assert_int_equal(a.h.flags, TCP_SYN | TCP_ACK);
	w->seq = w->iss + 1;
	conn_ack(w, a.h.seq + 1);
	assert_int_equal(world_conn(w)->state, CONN_ESTABLISHED);
}

static void abort_all(struct world *w)
{
	uint32_t index = 0;
	struct flow *f;

	while ((f = flow_next(w->flows, &index, UINT32_MAX)))
		tcp_flow_abort(w->t, f);
	world_clear(w);
}

/* The newest half-open connection gives way, without a word to the guest as long as connect() is under way. */
static void test_guest_floods(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ .flows = 3 });
	syn(&w, 1);
	establish(&w, 1);
	for (uint16_t port = 2; port <= 50; port++) {
		syn(&w, port);
		assert_true(here(&w, port));
	}
	assert_int_equal(flow_count(w.flows), 3);
	assert_int_equal(fake_open_count(), 1 + 3);
	assert_true(here(&w, 1) && here(&w, 2) && here(&w, 50));
	conn_expect_none(&w);
	assert_int_equal(flow_stats(w.flows)->displaced, 47);

	/* Where nobody waits, nobody gives way; no socket is opened for nothing, and the network hears nothing. */
	establish(&w, 2);
	establish(&w, 50);
	assert_int_equal(flow_stats(w.flows)->half_open, 0);
	fake_os.calls[FAKE_OPEN] = fake_os.calls[FAKE_CONNECT] = 0;
	syn(&w, 51);
	conn_expect_none(&w);
	assert_false(here(&w, 51));
	assert_int_equal(fake_os.calls[FAKE_OPEN] + fake_os.calls[FAKE_CONNECT], 0);

	/* As soon as one is gone there is room. */
	assert_true(here(&w, 2));
	tcp_flow_abort(w.t, &world_conn(&w)->f);
	world_clear(&w);
	syn(&w, 51);
	establish(&w, 51);
	abort_all(&w);
	world_fini(&w);
}

/* Somebody on the network floods a forwarded port, and the guest does not answer: both sides are told. */
static void test_host_floods(void **state)
{
	struct world w;
	struct fake_stream *s[5];
	struct seen a;

	world_init(&w, &(struct world_conf){ .flows = 3 });
	syn(&w, 1);
	establish(&w, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
		struct ep peer = { .addr = w.r.addr, .port = (uint16_t)(6000 + i) };

		s[i] = fake_stream_arrive(w.listener.fd, &peer);
		world_settle(&w);
	}
	assert_int_equal(flow_count(w.flows), 3);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++)
		assert_int_equal(s[i]->rst_out, i != 0 && i != 4);
	for (unsigned i = 0; i < ARRAY_SIZE(s); i++) {
		if (i > 1) {
			assert_true(world_take(&w, &a));
			assert_int_equal(a.h.flags, TCP_RST);
			assert_int_equal(a.h.sport, 6000 + i - 1);
		}
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.flags, TCP_SYN);
		assert_int_equal(a.h.sport, 6000 + i);
	}
	assert_true(here(&w, 1));
	abort_all(&w);
	world_fini(&w);
}

static void test_half_open(void **state)
{
	struct flow_limits l = { .half_open = 4 };
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	flow_table_limit(w.flows, &l);
	for (uint16_t port = 1; port <= 20; port++)
		syn(&w, port);
	for (uint16_t port = 1; port <= 20; port++)
		assert_int_equal(here(&w, port), port <= 3 || port == 20);
	establish(&w, 20);
	syn(&w, 21);
	for (uint16_t port = 1; port <= 3; port++)
		assert_true(here(&w, port));
	assert_int_equal(flow_count(w.flows), 5);
	abort_all(&w);
	world_fini(&w);
}

static void test_rate(void **state)
{
	struct flow_limits l = { .rate = 4 };
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	flow_table_limit(w.flows, &l);
	for (uint16_t port = 1; port <= 9; port++)
		syn(&w, port);
	assert_int_equal(flow_count(w.flows), 4);
	world_wait(&w, NSEC_PER_SEC / 2);
	for (uint16_t port = 5; port <= 9; port++)
		syn(&w, port); /* again, as a guest would */
	assert_int_equal(flow_count(w.flows), 6);
	/* What the host begins is not counted. */
	w.s = fake_stream_arrive(w.listener.fd, &w.r);
	world_settle(&w);
	assert_int_equal(flow_count(w.flows), 7);
	abort_all(&w);
	world_fini(&w);
}

/* RFC 5961 7: however many segments come that may be made up, only a few are answered, and the connection lives on. */
static void test_challenges(void **state)
{
	static const uint8_t flags[] = { TCP_RST, TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK };

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		struct world w;
		struct gseg s = { .h = { .flags = flags[i], .window = 1000 } };
		unsigned answers = 0;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		s.h.seq = w.seq + (flags[i] == TCP_RST);
		s.h.ack = w.ack + 100000; /* of what was never sent */
		for (unsigned n = 0; n < 1000; n++)
			world_put(&w, &s, 1);
		while (world_take(&w, &a)) {
			assert_int_equal(a.h.flags, TCP_ACK);
			answers++;
		}
		assert_int_equal(answers, 10);
		assert_int_equal(w.t->stats.challenges, 10);
		assert_int_equal(w.t->stats.challenges_held, 990);
		world_wait(&w, 6 * NSEC_PER_SEC);
		world_put(&w, &s, 1);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		/* Data is not held up by that. */
		conn_send(&w, TCP_ACK, "data", 4);
		assert_int_equal(w.s->out_len, 4);
		conn_kill(&w);
		world_fini(&w);
	}
}

static unsigned warnings;

static void count_line(void *ctx, enum log_level level, const char *line)
{
	warnings += level == LOG_LVL_WARN;
}

/* However many give way, the log has a few lines of it. */
static void test_warnings(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ .flows = 3 });
	warnings = 0;
	log_set_now(4711);
	log_set_sink(count_line, NULL);
	for (uint16_t port = 1; port <= 1000; port++)
		syn(&w, port);
	assert_in_range(warnings, 1, 6); /* one for what was held back before */
	abort_all(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_floods), cmocka_unit_test(test_host_floods), cmocka_unit_test(test_half_open),
		cmocka_unit_test(test_rate),         cmocka_unit_test(test_challenges),  cmocka_unit_test(test_warnings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
