/* SPDX-License-Identifier: MIT */
/* What time brings: keepalives, vanished guests, time-outs that follow the path. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "sim.h"

#define MINUTE (60 * NSEC_PER_SEC)

/* A guest that is alive and has nothing to say keeps its connection for ever. */
static void test_idle_guest(void **state)
{
	struct world w;
	struct seen a;
	unsigned probes = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	for (unsigned i = 0; i < 24 * 60; i++) {
		world_wait(&w, MINUTE);
		while (world_take(&w, &a)) {
			/* A keepalive: the byte before the next (RFC 9293 3.8.4). */
			assert_int_equal(a.h.flags, TCP_ACK);
			assert_int_equal(a.h.seq, w.ack - 1);
			assert_int_equal(a.len, 0);
			probes++;
			conn_send(&w, TCP_ACK, NULL, 0);
		}
		world_clear(&w);
	}
	assert_in_range(probes, 100, 150); /* one in ten to eleven minutes of silence */
	assert_non_null(world_conn(&w));
	/* Its answers made us send nothing. */
	assert_int_equal(w.t->stats.rexmit, 0);
	conn_kill(&w);
	world_fini(&w);
}

/* A guest that has vanished, whatever was going on: both sides are freed in a bounded time. */
static void test_vanished_guest(void **state)
{
	for (unsigned how = 0; how < 6; how++) {
		struct world w;
		struct seen a;
		unsigned minutes = 0, rst = 0;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open(&w, how & 1);
		if (how == 1) {
			w.window = 0;
			conn_send(&w, TCP_ACK, NULL, 0);
			host_push(w.s, 1000); /* the window never opens */
		} else if (how == 2) {
			host_push(w.s, 1000);
		} else if (how == 3) {
			conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		} else if (how == 4) {
			fake_stream_fin(w.s);
			world_settle(&w);
			conn_ack(&w, w.ack + 1);
		} else if (how == 5) {
			fake_stream_fin(w.s);
		}
		while (world_conn(&w) && minutes < 60) {
			world_wait(&w, MINUTE);
			minutes++;
			while (world_take(&w, &a))
				rst += !!(a.h.flags & TCP_RST);
			world_clear(&w);
		}
		assert_null(world_conn(&w));
		assert_in_range(minutes, how == 2 || how == 5 ? 1 : 10, 25);
		assert_int_equal(rst, 1);
		assert_true(w.s->rst_out);
		world_fini(&w);
	}
}

/* The last probe but one is answered: all starts again. */
static void test_answers_late(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	for (unsigned i = 0; i < 5; i++) {
		while (world_conn(&w)->probes < TCP_KEEP_PROBES)
			world_wait(&w, NSEC_PER_SEC);
		conn_send(&w, TCP_ACK, NULL, 0);
		assert_int_equal(world_conn(&w)->probes, 0);
		world_clear(&w);
	}
	conn_kill(&w);
	world_fini(&w);
}

/*
 * A probe or a keepalive lies before what the guest expects, so it looks at nothing else in it (RFC 9293 3.10.7.4, first): what is due
 * to be acknowledged is told by a segment of its own.
 */
static void test_probe_tells_nothing(void **state)
{
	uint8_t data[100];
	struct world w;
	struct seen a;
	bool told = false;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	w.window = 0;
	conn_send(&w, TCP_ACK, NULL, 0);
	host_push(w.s, 100);
	world_settle(&w);
	/* No room for the acknowledgement; when there is, the probe comes first. */
	fake_link_room(&w.fl, 0);
	conn_send(&w, TCP_ACK, data, sizeof(data));
	conn_expect_none(&w);
	fake_link_room(&w.fl, SIZE_MAX);
	fake_os.now_ns += 300 * NSEC_PER_MSEC;
	world_turn(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.seq, w.ack - 1);
	while (world_take(&w, &a))
		told |= a.h.seq == w.ack && a.h.ack == w.seq;
	assert_true(told);
	conn_kill(&w);
	world_fini(&w);
}

/* The first keepalive probe of the guest has the host's kernel probe the remote as well, after the same silence; nothing else has. */
static void test_guest_keepalive(void **state)
{
	static const uint8_t byte[1];

	for (unsigned i = 0; i < 4; i++) {
		bool in = i & 1, garbage = i & 2; /* a byte of that: before 4.4BSD-Lite, all probes had one */
		struct world w;
		struct fake_fd *f;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open(&w, in);
		f = fake_fd(world_conn(&w)->fd);
		world_wait(&w, 50 * NSEC_PER_SEC);
		conn_send(&w, TCP_ACK, NULL, 0);
		conn_expect_none(&w);
		assert_int_equal(fake_opt(f, SOL_SOCKET, SO_KEEPALIVE, 0), 0);
		world_wait(&w, 100 * NSEC_PER_SEC);
		w.seq--;
		conn_send(&w, TCP_ACK, byte, garbage);
		w.seq += !garbage;
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		assert_int_equal(fake_opt(f, SOL_SOCKET, SO_KEEPALIVE, 0), 1);
		assert_int_equal(fake_opt(f, IPPROTO_TCP, TCP_KEEPIDLE, 0), 100);
		/* Once is enough. */
		world_wait(&w, 75 * NSEC_PER_SEC);
		w.seq--;
		conn_send(&w, TCP_ACK, NULL, 0);
		w.seq++;
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		assert_int_equal(fake_opt(f, IPPROTO_TCP, TCP_KEEPIDLE, 0), 100);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* The probe of a window that is shut looks the same. */
static void test_window_probe_is_no_keepalive(void **state)
{
	static uint8_t data[1 << 19];
	struct world w;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	w.s->fill = w.s->size;
	while (seq_lt(w.seq, world_conn(&w)->rcv.adv_edge)) {
		conn_send(&w, TCP_ACK, data + (w.seq - w.iss - 1), MIN(world_conn(&w)->rcv.adv_edge - w.seq, 1460u));
		w.seq -= 2;
		conn_send(&w, TCP_ACK, data + (w.seq - w.iss - 1),
			  2); /* again, so that it is acknowledged though it had to be kept */
	}
	assert_int_equal(world_conn(&w)->rcv.adv_edge, world_conn(&w)->rcv.adv_ack);
	world_clear(&w);
	w.seq--;
	conn_send(&w, TCP_ACK, NULL, 0);
	assert_int_equal(fake_opt(fake_fd(world_conn(&w)->fd), SOL_SOCKET, SO_KEEPALIVE, 0), 0);
	conn_kill(&w);
	world_fini(&w);
}

/* With no connection there is no timer, so nothing wakes us. */
static void test_no_timer(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	assert_int_equal(w.loop.timers.armed, 0);
	conn_open_out(&w);
	assert_int_equal(w.loop.timers.armed, 1); /* the sweep */
	host_push(w.s, 100);
	world_settle(&w);
	assert_int_equal(w.loop.timers.armed, 2);
	conn_take_data(&w, 0);
	conn_ack(&w, w.ack);
	assert_int_equal(w.loop.timers.armed, 1);
	conn_kill(&w);
	assert_int_equal(w.loop.timers.armed, 0);
	world_fini(&w);
}

/* Slow paths: the time-out follows the round trip, and nothing is sent twice. */
static void test_slow_path(void **state)
{
	static const unsigned ms[] = { 0, 10, 90, 150, 300, 450 };

	for (unsigned i = 0; i < ARRAY_SIZE(ms) * 2; i++) {
		struct sim_conf c = {
			.g = { .mss = 1460, .wscale = 7, .close = true, .total = 100000 },
			.in = i & 1,
			.up = { .delay_ns = ms[i / 2] * NSEC_PER_MSEC },
			.down = { .delay_ns = ms[i / 2] * NSEC_PER_MSEC },
			.total = 100000,
			.push = 10000,
			.push_gap_ns = 3 * NSEC_PER_MSEC,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		sim_finish(&s, 600 * NSEC_PER_SEC);
		assert_int_equal(s.p.rexmits + s.p.probes, 0);
		assert_int_equal(s.p.dup_in, 0);
		assert_int_equal(s.w.t->stats.rto + s.w.t->stats.rexmit, 0);
		sim_fini(&s);
	}
}

/* A short connection: how often we are woken up, and how many system calls it costs. */
static void test_cost(void **state)
{
	struct sim_conf c = { .g = { .wscale = 7, .close = true, .total = 100 }, .total = 1000, .close = true };
	struct sim s;
	unsigned calls = 0;

	sim_init(&s, &c);
	sim_finish(&s, 10 * NSEC_PER_SEC);
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		calls += fake_os.calls[i];
	/* Four of them opened the listener. */
	assert_in_range(calls - 4 + s.w.loop.turns, 1, 64);
	assert_in_range(s.events, 1, 6);
	assert_true(s.p.segs_in <= 8);
	sim_fini(&s);
}

/* One request and one response on an open connection. */
static void test_cost_round_trip(void **state)
{
	uint8_t req[100];
	struct world w;
	unsigned before = 0, after = 0;
	const unsigned rounds = 100;
	size_t done = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		before += fake_os.calls[i];
	for (unsigned i = 0; i < rounds; i++) {
		pattern_fill(DIR_UP, i * 100, req, sizeof(req));
		conn_send(&w, TCP_ACK | TCP_PSH, req, sizeof(req));
		fake_stream_ack(w.s, 100);
		host_push(w.s, 200);
		assert_in_range(world_settle(&w), 0, 1);
		assert_int_equal(conn_take_data(&w, done), 200);
		done += 200;
		world_clear(&w);
	}
	conn_ack(&w, w.ack);
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		after += fake_os.calls[i];
	/*
	 * send, recv (peek), for every few a recv (discard), seldom SO_MEMINFO; reading the guest's frame and sending ours, with
	 * epoll_wait, are not counted.
	 */
	assert_in_range(after - before, 2 * rounds, 2 * rounds + rounds / 4);
	assert_int_equal(host_check(w.s), rounds * 100);
	conn_kill(&w);
	world_fini(&w);
}

/*
 * The rest of something long is taken off at once. The kernel frees none of a buffer before all of it was read, and the window stays shut
 * meanwhile: then nothing else would ever come to take that rest along.
 */
static void test_rest_of_much(void **state)
{
	static const size_t rests[] = { 1, 500, 1000 };

	for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
		struct world w;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		/* Whatever came before. */
		host_push(w.s, 10);
		world_settle(&w);
		conn_ack(&w, w.ack + 10);
		host_push(w.s, 60000);
		world_settle(&w);
		conn_ack(&w, w.ack + 60000 - (uint32_t)rests[i]);
		assert_int_equal(w.s->in_len, rests[i]);
		conn_ack(&w, w.ack + (uint32_t)rests[i]);
		assert_int_equal(w.s->in_len, 0);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Nor does anything stay for ever. */
static void test_lazy_sweep(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 10);
	world_settle(&w);
	conn_ack(&w, w.ack + 10);
	assert_int_equal(w.s->in_len, 10);
	world_wait(&w, 2 * TCP_SWEEP_S * NSEC_PER_SEC);
	assert_int_equal(w.s->in_len, 0);
	conn_kill(&w);
	world_fini(&w);
}

/* Short messages that were acknowledged are taken off the queue a few at a time, where the kernel skips them for us; or all at once. */
static void test_lazy(void **state)
{
	for (unsigned v = 0; v < 4; v++) {
		bool skips = v & 1, ends = v & 2;
		struct world w;
		unsigned before;
		size_t most = 0, done = 0;

		world_init(&w, &(struct world_conf){ .peek_off_err = skips ? 0 : ENOPROTOOPT });
		conn_open_out(&w);
		before = fake_os.calls[FAKE_DISCARD];
		for (unsigned i = 0; i < 107; i++) {
			size_t n = i < 100 ? 10 : 150;

			host_push(w.s, n);
			world_settle(&w);
			assert_int_equal(conn_take_data(&w, done), n);
			done += n;
			conn_ack(&w, w.ack);
			assert_int_equal(conn_unacked(&w), 0);
			most = MAX(most, w.s->in_len);
		}
		assert_in_range(most, skips ? 150 : 0, skips ? 1024 : 0);
		assert_in_range(fake_os.calls[FAKE_DISCARD] - before, 1, skips ? 107 / 8 : 107);
		/* What is lost is found behind what was left. */
		host_push(w.s, 2000);
		world_settle(&w);
		world_clear(&w);
		world_wait(&w, 300 * NSEC_PER_MSEC);
		assert_int_equal(conn_take_data(&w, done), 1460);
		conn_ack(&w, w.irs + 1 + (uint32_t)done + 2000);
		host_push(w.s, 10);
		world_settle(&w);
		conn_ack(&w, w.ack + 10);
		assert_int_equal(conn_unacked(&w), 0);
		/* Nor does it make a reset of the end. */
		if (ends) {
			conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
			fake_stream_fin(w.s);
			world_settle(&w);
			conn_ack(&w, w.ack + 1);
			assert_null(world_conn(&w));
			assert_true(w.s->fin_out);
			assert_false(w.s->rst_out);
		} else {
			conn_kill(&w);
		}
		world_fini(&w);
	}
}

/* A request of n segments. */
static void ask(struct world *w, size_t *up, unsigned n)
{
	uint8_t req[100];

	while (n--) {
		pattern_fill(DIR_UP, *up, req, sizeof(req));
		conn_send(w, TCP_ACK | TCP_PSH, req, sizeof(req));
		*up += sizeof(req);
	}
	fake_stream_ack(w->s, *up);
}

static void answer(struct world *w, size_t *down)
{
	host_push(w->s, 50);
	world_settle(w);
	assert_int_equal(conn_take_data(w, *down), 50);
	*down += 50;
}

/* Requests and responses: an acknowledgement goes with the response, where that is what happened before. */
static void test_talk(void **state)
{
	size_t up = 0, down = 0;
	struct world w;
	struct seen a;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	for (unsigned again = 0; again < 3; again++) {
		for (unsigned i = 0; i < 10; i++) {
			ask(&w, &up, 1);
			if (i + !!again < TCP_TALK_TURNS) /* an answer that came late was one turn */
				conn_expect(&w, TCP_ACK, w.ack, w.seq);
			else
				conn_expect_none(&w);
			host_push(w.s, 50);
			world_settle(&w);
			a = conn_expect(&w, TCP_ACK, w.ack, w.seq);
			assert_int_equal(a.len, 50);
			down += 50;
			w.ack += 50;
		}
		if (again == 0) {
			/* No response: it goes by itself, once, and soon enough. */
			ask(&w, &up, 1);
			conn_expect_none(&w);
			world_wait(&w, TCP_TALK_WAIT_NS + 2 * TIMER_TICK_NS);
			conn_expect(&w, TCP_ACK, w.ack, w.seq);
			world_wait(&w, NSEC_PER_SEC);
			conn_expect_none(&w);
			answer(&w, &down);
		} else if (again == 1) {
			/* The second segment of a guest that waits for the acknowledgement of the first is not held up again. */
			ask(&w, &up, 1);
			conn_expect_none(&w);
			ask(&w, &up, 1);
			conn_expect(&w, TCP_ACK, w.ack, w.seq);
			answer(&w, &down);
		}
	}
	/* Nor is the end of the guest's half, nor what can not be told from a repetition. */
	ask(&w, &up, 1);
	w.seq -= 100;
	conn_send(&w, TCP_ACK, NULL, 0);
	w.seq += 100;
	world_clear(&w);
	answer(&w, &down);
	ask(&w, &up, 1);
	conn_expect_none(&w);
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_int_equal(host_check(w.s), up);
	conn_kill(&w);
	world_fini(&w);
}

/* Guests that go to and fro, some of them with a last segment before the end: whoever is still waiting is not forgotten. */
static void test_talk_many(void **state)
{
	enum { N = 3 };
	struct world w;
	struct {
		struct ep g;
		struct fake_stream *s;
		uint32_t seq, ack, irs;
	} c[N];

	world_init(&w, &(struct world_conf){ 0 });
	for (unsigned i = 0; i < N; i++) {
		size_t up = 0, down = 0;

		w.checked = false;
		conn_open_out(&w);
		for (unsigned j = 0; j <= TCP_TALK_TURNS; j++) {
			ask(&w, &up, 1);
			answer(&w, &down);
		}
		world_clear(&w);
		ask(&w, &up, 1);
		conn_expect_none(&w);
		c[i].g = w.g;
		c[i].s = w.s;
		c[i].seq = w.seq;
		c[i].ack = w.ack;
		c[i].irs = w.irs;
		w.g.port++;
		world_wait(&w, NSEC_PER_MSEC);
	}
	/* The first one goes away; each of the others is told in its own time. */
	w.checked = false;
	w.g = c[0].g;
	w.s = c[0].s;
	w.seq = c[0].seq;
	conn_kill(&w);
	world_clear(&w);
	world_wait(&w, TCP_TALK_WAIT_NS);
	for (unsigned i = 1; i < N; i++) {
		struct seen a;

		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.dport, c[i].g.port);
		assert_int_equal(a.h.ack, c[i].seq);
		world_wait(&w, 2 * TIMER_TICK_NS);
	}
	assert_false(timer_armed(&w.t->late_timer));
	for (unsigned i = 1; i < N; i++) {
		w.g = c[i].g;
		w.s = c[i].s;
		w.seq = c[i].seq;
		conn_kill(&w);
	}
	world_fini(&w);
}

/* Many rounds and turns: one connection does not keep the others from being served. */
static void fair_turns(size_t mtu, uint32_t offloads, size_t most)
{
	struct world w;
	size_t done, n, mss;

	world_init(&w, &(struct world_conf){ .mtu = mtu, .offloads = offloads });
	conn_open_out(&w);
	mss = world_conn(&w)->snd.mss;
	host_push(w.s, 3000000);
	world_turn(&w);
	n = conn_take_data(&w, 0);
	assert_in_range(n, 1460, most);
	world_clear(&w);
	/* It goes on by itself, as far as the window (65535 << 7) goes. */
	for (done = n; done < 3000000; done += n) {
		world_turn(&w);
		n = conn_take_data(&w, done);
		assert_in_range(n, 1, most);
		/* In whole segments. */
		assert_true(done + n == 3000000 || n % mss == 0);
		world_clear(&w);
	}
	conn_ack(&w, w.ack);
	assert_int_equal(conn_unacked(&w), 0);
	assert_int_equal(world_settle(&w), 0);
	conn_kill(&w);
	world_fini(&w);
}

static void test_fair_turns(void **state)
{
	fair_turns(0, 0, 1460 * LINK_BATCH * 8);
	fair_turns(0, LINK_OFF_CSUM | LINK_OFF_TSO4, 512u << 10);
	fair_turns(65520, LINK_OFF_CSUM | LINK_OFF_TSO4, 512u << 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_guest),
		cmocka_unit_test(test_vanished_guest),
		cmocka_unit_test(test_answers_late),
		cmocka_unit_test(test_probe_tells_nothing),
		cmocka_unit_test(test_guest_keepalive),
		cmocka_unit_test(test_window_probe_is_no_keepalive),
		cmocka_unit_test(test_no_timer),
		cmocka_unit_test(test_slow_path),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_cost_round_trip),
		cmocka_unit_test(test_lazy),
		cmocka_unit_test(test_rest_of_much),
		cmocka_unit_test(test_lazy_sweep),
		cmocka_unit_test(test_talk),
		cmocka_unit_test(test_talk_many),
		cmocka_unit_test(test_fair_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
