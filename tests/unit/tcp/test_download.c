/* SPDX-License-Identifier: MIT */
/* From the host to the guest: segments, windows, repair of losses, the link's room. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

/* Whole downloads on a path that loses nothing: nothing is sent twice. */
static void test_matrix(void **state)
{
	static const uint32_t rcvbuf[] = { 2000, 16384, 65535, 1000000 };
	static const uint16_t mss[] = { 536, 1460, 8960, 65480 };
	static const unsigned ack_ms[] = { 0, 1, 40 };

	for (unsigned i = 0; i < ARRAY_SIZE(rcvbuf) * ARRAY_SIZE(mss) * ARRAY_SIZE(ack_ms) * 4; i++) {
		unsigned v = i % 4, a = i / 4 % 3, m = i / 12 % 4, b = i / 48;
		struct sim_conf c = {
			.w = { .mtu = 65520, .v6 = v & 1, .peek_off_err = v & 2 ? ENOPROTOOPT : 0 },
			.g = { .mss = mss[m],
			       .wscale = 5,
			       .rcvbuf = rcvbuf[b],
			       .ack_delay_ns = ack_ms[a] * NSEC_PER_MSEC,
			       .close = true },
			.in = i & 4,
			.total = 200000,
			.push = v == 3 ? 5000 : 0,
			.push_gap_ns = v == 3 ? 2 * NSEC_PER_MSEC : 0,
			.close = true,
		};
		struct sim s;

		sim_init(&s, &c);
		sim_finish(&s, 600 * NSEC_PER_SEC);
		assert_int_equal(s.p.dup_in, 0);
		assert_int_equal(s.w.t->stats.rexmit + s.w.t->stats.rto, 0);
		assert_int_equal(s.p.rexmits + s.p.probes, 0);
		sim_fini(&s);
	}
}

/* Superframes on links that segment for us: multiples of the MSS, and told so. */
static void test_superframes(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		for (unsigned csum_only = 0; csum_only < 2; csum_only++) {
			struct world w;
			struct seen a;
			size_t done = 0, big = 0;

			world_init(&w,
				   &(struct world_conf){
					   .v6 = v6, .offloads = LINK_OFF_CSUM | (csum_only ? 0 : LINK_OFF_TSO4 | LINK_OFF_TSO6) });
			conn_open_out(&w);
			host_push(w.s, 100000);
			world_settle(&w);
			while (world_take(&w, &a)) {
				assert_int_equal(a.h.seq, w.irs + 1 + done);
				pattern_check(DIR_DOWN, done, a.data, a.len);
				done += a.len;
				big = MAX(big, a.len);
				if (a.len > world_conn(&w)->snd.mss)
					assert_int_equal(a.gso_size, world_conn(&w)->snd.mss);
				if (done < 100000)
					assert_int_equal(a.len % world_conn(&w)->snd.mss, 0);
			}
			assert_int_equal(done, 100000);
			assert_int_equal(big > 1460, !csum_only);
			conn_kill(&w);
			world_fini(&w);
		}
	}
}

/* PSH stands where the host's data ended for now, and nowhere else. */
static void test_push(void **state)
{
	static const size_t lens[] = { 1, 100, 1459, 1460, 1461, 2920, 2921, 10000 };

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		struct world w;
		struct seen a;
		size_t done = 0;
		unsigned psh = 0;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		for (unsigned round = 0; round < 3; round++) {
			host_push(w.s, lens[i]);
			world_settle(&w);
			while (world_take(&w, &a)) {
				done += a.len;
				psh += !!(a.h.flags & TCP_PSH);
				if (a.h.flags & TCP_PSH)
					assert_int_equal(done, lens[i] * (round + 1));
			}
			assert_int_equal(done, lens[i] * (round + 1));
			assert_int_equal(psh, round + 1);
			conn_ack(&w, w.irs + 1 + (uint32_t)done);
			conn_expect_none(&w);
		}
		conn_kill(&w);
		world_fini(&w);
	}
}

/* A window of any size is used to its last byte, and not beyond. */
static void test_window_exact(void **state)
{
	static const uint16_t windows[] = { 1, 2, 1459, 1460, 1461, 2000, 2920, 5000, 65535 };

	for (unsigned i = 0; i < ARRAY_SIZE(windows) * 2; i++) {
		struct world w;
		struct seen a;
		size_t done = 0, wnd = windows[i / 2];
		static const struct tcp_hdr plain = { .mss = 1460 };

		world_init(&w, &(struct world_conf){ .peek_off_err = i & 1 ? EOPNOTSUPP : 0 });
		w.window = windows[i / 2];
		conn_syn(&w, &plain);
		w.s = fake_stream_last();
		fake_stream_connected(w.s);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		w.irs = a.h.seq;
		conn_ack(&w, a.h.seq + 1);
		host_push(w.s, 400000);
		world_settle(&w);
		for (unsigned round = 0; round < 3; round++) {
			assert_int_equal(conn_take_data(&w, done), wnd);
			done += wnd;
			conn_ack(&w, w.ack);
			world_settle(&w);
		}
		/* Half of it acknowledged: half of it more. */
		assert_int_equal(conn_take_data(&w, done), wnd);
		done += wnd;
		conn_ack(&w, w.irs + 1 + (uint32_t)(done - wnd + wnd / 2));
		world_settle(&w);
		assert_int_equal(conn_take_data(&w, done), wnd / 2);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* A shut window: probes with back-off that end only when it opens, however long that takes. */
static void test_shut_window(void **state)
{
	struct world w;
	struct tcp_conn *k;
	uint64_t last, gap = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	k = world_conn(&w);
	w.window = 0;
	conn_send(&w, TCP_ACK, NULL, 0);
	host_push(w.s, 5000);
	world_settle(&w);
	conn_expect_none(&w);
	last = fake_os.now_ns;
	for (unsigned n = 0; n < 20; n++) {
		uint64_t now;

		while (w.seen == w.fl.frames)
			world_wait(&w, 10 * NSEC_PER_MSEC);
		now = fake_os.now_ns - last;
		conn_expect(&w, TCP_ACK, w.irs, w.seq);
		assert_true(now + 20 * NSEC_PER_MSEC >= gap && now <= 61 * NSEC_PER_SEC);
		if (gap && gap < 30 * NSEC_PER_SEC)
			assert_in_range(now / NSEC_PER_MSEC, gap * 2 / NSEC_PER_MSEC - 21, gap * 2 / NSEC_PER_MSEC + 21);
		gap = now;
		last = fake_os.now_ns;
		conn_send(&w, TCP_ACK, NULL, 0); /* still shut */
		conn_expect_none(&w);
		world_clear(&w);
	}
	assert_true(world_conn(&w) == k);
	/* It opens a little, then wholly. */
	w.window = 1; /* scaled: 128 */
	conn_send(&w, TCP_ACK, NULL, 0);
	assert_int_equal(conn_take_data(&w, 0), 128);
	w.window = 65535;
	conn_ack(&w, w.ack);
	assert_int_equal(conn_take_data(&w, 128), 5000 - 128);
	conn_ack(&w, w.ack);
	world_wait(&w, 100 * NSEC_PER_SEC);
	conn_expect_none(&w);
	conn_kill(&w);
	world_fini(&w);
}

/* The guest takes its window back below what is in flight: nothing beyond it is sent, and all arrives in the end. */
static void test_shrunk_window(void **state)
{
	struct world w;
	struct seen a;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 20000);
	w.window = 80; /* 10240 */
	conn_send(&w, TCP_ACK, NULL, 0);
	world_settle(&w);
	world_clear(&w);
	w.window = 8; /* 1024, with 20000 in flight */
	conn_ack(&w, w.irs + 1 + 1460);
	world_settle(&w);
	conn_expect_none(&w);
	/* Silence: after the time-out, one segment at most is sent again, inside the window. */
	world_wait(&w, 3 * NSEC_PER_SEC);
	while (world_take(&w, &a)) {
		assert_int_equal(a.h.seq, w.irs + 1 + 1460);
		assert_true(a.len <= 1024);
	}
	w.window = 1000;
	conn_ack(&w, w.irs + 1 + 1460 + 1024);
	for (size_t done = 2484; done < 20000;) {
		size_t n = conn_take_data(&w, done);

		assert_true(n);
		done += n;
		conn_ack(&w, w.ack);
		world_settle(&w);
	}
	assert_int_equal(world_conn(&w)->snd.una, w.irs + 1 + 20000);
	assert_int_equal(conn_unacked(&w), 0);
	conn_kill(&w);
	world_fini(&w);
}

/* The window is taken back wholly while data is in flight: the time-out sends nothing into it, and it all goes on when it opens. */
static void test_window_taken_back(void **state)
{
	for (unsigned v = 0; v < 2; v++) {
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ .peek_off_err = v ? ENOPROTOOPT : 0 });
		conn_open_out(&w);
		host_push(w.s, 20000);
		w.window = 80; /* 10240 */
		conn_send(&w, TCP_ACK, NULL, 0);
		world_settle(&w);
		world_clear(&w);
		w.window = 0;
		conn_ack(&w, w.irs + 1 + 1460);
		for (unsigned i = 0; i < 30; i++) {
			world_wait(&w, 10 * NSEC_PER_SEC);
			while (world_take(&w, &a)) {
				assert_int_equal(a.len, 0);
				conn_send(&w, TCP_ACK, NULL, 0); /* the guest is there */
			}
		}
		w.window = 1000;
		conn_send(&w, TCP_ACK, NULL, 0);
		for (size_t done = 1460, n; done < 20000; done += n) {
			n = conn_take_data(&w, done);
			assert_true(n);
			conn_ack(&w, w.ack);
			world_settle(&w);
		}
		assert_int_equal(conn_unacked(&w), 0);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* One segment is lost: three duplicates bring it back at once, and only it. */
static void test_fast_retransmit(void **state)
{
	for (unsigned v = 0; v < 4; v++) {
		struct world w;
		struct tcp_conn *k;

		world_init(&w, &(struct world_conf){ .peek_off_err = v & 1 ? ENOPROTOOPT : 0 });
		conn_open_out(&w);
		k = world_conn(&w);
		host_push(w.s, 1460 * 10);
		if (v & 2)
			fake_stream_fin(w.s);
		world_settle(&w);
		world_clear(&w);
		/* The third is lost. */
		conn_ack(&w, w.irs + 1 + 2920);
		for (unsigned i = 0; i < 2; i++) {
			conn_send(&w, TCP_ACK, NULL, 0);
			conn_expect_none(&w);
		}
		conn_send(&w, TCP_ACK, NULL, 0);
		assert_int_equal(conn_take_data(&w, 2920), 1460);
		w.ack = w.irs + 1 + 2920;
		for (unsigned i = 0; i < 4; i++) {
			conn_send(&w, TCP_ACK, NULL, 0);
			conn_expect_none(&w);
		}
		assert_int_equal(k->t->stats.rexmit, 1);
		/* New data is found at the right place. */
		conn_ack(&w, w.irs + 1 + 14600 + !!(v & 2));
		conn_expect_none(&w);
		if (!(v & 2)) {
			host_push(w.s, 3000);
			world_settle(&w);
			assert_int_equal(conn_take_data(&w, 14600), 3000);
		}
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Two holes: the acknowledgement of the first one's repair brings the second (RFC 6582). */
static void test_two_holes(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 14600);
	world_settle(&w);
	world_clear(&w);
	for (unsigned i = 0; i < 4; i++)
		conn_ack(&w, w.irs + 1 + 1460);
	assert_int_equal(conn_take_data(&w, 1460), 1460);
	conn_ack(&w, w.irs + 1 + 5 * 1460);
	assert_int_equal(conn_take_data(&w, 5 * 1460), 1460);
	conn_ack(&w, w.irs + 1 + 14600);
	conn_expect_none(&w);
	world_wait(&w, 10 * NSEC_PER_SEC);
	conn_expect_none(&w);
	conn_kill(&w);
	world_fini(&w);
}

/* What is no duplicate acknowledgement: with data, with another window, with nothing in flight, a keepalive (RFC 5681 2). */
static void test_not_duplicate(void **state)
{
	uint8_t data[10];
	struct world w;
	struct seen a;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	for (unsigned i = 0; i < 10; i++)
		conn_send(&w, TCP_ACK, NULL, 0); /* nothing is in flight */
	host_push(w.s, 14600);
	world_settle(&w);
	world_clear(&w);
	for (unsigned i = 0; i < 10; i++) {
		w.window--;
		conn_send(&w, TCP_ACK, NULL, 0);
	}
	for (unsigned i = 0; i < 10; i++)
		conn_send(&w, TCP_ACK, data + i, 1);
	while (world_take(&w, &a))
		assert_int_equal(a.len, 0);
	assert_int_equal(w.t->stats.rexmit, 0);
	conn_kill(&w);
	world_fini(&w);
}

/* The guest answers nothing: one segment each time-out with back-off; then it is given up, and both sides hear of it. */
static void test_give_up(void **state)
{
	struct world w;
	struct seen a;
	unsigned n = 0;
	uint64_t last, gap = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 14600);
	world_settle(&w);
	world_clear(&w);
	last = fake_os.now_ns;
	while (world_conn(&w) && n < 50) {
		world_wait(&w, 5 * NSEC_PER_MSEC);
		if (w.seen == w.fl.frames)
			continue;
		assert_true(world_take(&w, &a));
		conn_expect_none(&w);
		world_clear(&w);
		if (a.h.flags & TCP_RST)
			break;
		assert_int_equal(a.h.seq, w.irs + 1);
		assert_true(a.len <= 1460);
		if (gap && gap < 30 * NSEC_PER_SEC)
			assert_in_range((fake_os.now_ns - last) / NSEC_PER_MSEC, gap * 2 / NSEC_PER_MSEC - 11,
					gap * 2 / NSEC_PER_MSEC + 11);
		gap = fake_os.now_ns - last;
		last = fake_os.now_ns;
		n++;
	}
	assert_in_range(n, 8, 20);
	assert_null(world_conn(&w));
	assert_true(w.s->rst_out);
	world_fini(&w);
}

/* After a time-out everything is sent again from the first hole on, but not what the guest turns out to have. */
static void test_go_back(void **state)
{
	for (unsigned v = 0; v < 2; v++) {
		struct world w;

		world_init(&w, &(struct world_conf){ .peek_off_err = v ? ENOPROTOOPT : 0 });
		conn_open_out(&w);
		host_push(w.s, 14600);
		world_settle(&w);
		world_clear(&w);
		world_wait(&w, 210 * NSEC_PER_MSEC);
		assert_int_equal(conn_take_data(&w, 0), 1460);
		/* It was all there but the first. */
		conn_ack(&w, w.irs + 1 + 14600);
		conn_expect_none(&w);
		host_push(w.s, 1000);
		world_settle(&w);
		assert_int_equal(conn_take_data(&w, 14600), 1000);
		conn_ack(&w, w.ack);
		/* All is lost: it comes again in doubling bursts. */
		host_push(w.s, 14600);
		world_settle(&w);
		world_clear(&w);
		world_wait(&w, 2 * NSEC_PER_SEC);
		world_clear(&w);
		for (size_t done = 15600 + 1460, n; done < 15600 + 14600; done += n) {
			conn_ack(&w, w.irs + 1 + (uint32_t)done);
			n = conn_take_data(&w, done);
			assert_true(n);
		}
		conn_ack(&w, w.ack);
		world_wait(&w, 10 * NSEC_PER_SEC);
		conn_expect_none(&w);
		assert_int_equal(conn_unacked(&w), 0);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* The same with so little that what was acknowledged stays in the queue for a while. */
static void test_go_back_lazy(void **state)
{
	const struct tcp_hdr syn = { .mss = 100 };
	struct world w;
	struct seen a;

	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &syn);
	w.s = fake_stream_last();
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	w.irs = a.h.seq;
	conn_ack(&w, w.irs + 1);
	host_push(w.s, 600);
	world_settle(&w);
	world_clear(&w);
	world_wait(&w, 210 * NSEC_PER_MSEC);
	assert_int_equal(conn_take_data(&w, 0), 100);
	conn_ack(&w, w.irs + 1 + 600);
	assert_int_equal(w.s->in_len, 600);
	host_push(w.s, 100);
	world_settle(&w);
	assert_int_equal(conn_take_data(&w, 600), 100);
	conn_ack(&w, w.ack);
	assert_int_equal(conn_unacked(&w), 0);
	conn_kill(&w);
	world_fini(&w);
}

/*
 * The guest has all, but its acknowledgements were lost, and a time-out took us back: it ignores segments that lie wholly before what it
 * expects, so its own data must not be acknowledged by them alone.
 */
static void test_ack_while_going_back(void **state)
{
	uint8_t data[100];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned fin = 0; fin < 2; fin++) {
		struct world w;
		struct seen a;
		struct gseg s = { .data = data, .len = 100 };
		bool told = false;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		host_push(w.s, 5000);
		if (fin)
			fake_stream_fin(w.s);
		world_settle(&w);
		world_wait(&w, 250 * NSEC_PER_MSEC);
		world_clear(&w);
		/* Its data has an acknowledgement of old. */
		s.h = (struct tcp_hdr){ .flags = TCP_ACK, .seq = w.seq, .ack = w.irs + 1, .window = w.window };
		world_put(&w, &s, 1);
		w.seq += 100;
		while (world_take(&w, &a))
			told |= a.h.seq == w.irs + 1 + 5000 + fin && a.h.ack == w.seq;
		assert_true(told);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* A segment that is sent again may be one that the guest has: it does not take the place of an acknowledgement. */
static void test_resend_tells_nothing(void **state)
{
	uint8_t data[100];
	struct world w;
	struct gseg s[4];
	struct seen a;
	unsigned told = 0;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 5000);
	world_settle(&w);
	world_clear(&w);
	/* New data, and then three duplicates in one batch. */
	for (unsigned i = 0; i < 4; i++) {
		s[i] = (struct gseg){ .h = { .flags = TCP_ACK, .seq = w.seq + (i ? 100 : 0), .ack = w.ack, .window = w.window } };
		s[i].data = data;
		s[i].len = i ? 0 : 100;
	}
	world_put(&w, s, 4);
	w.seq += 100;
	assert_int_equal(w.t->stats.rexmit, 1);
	while (world_take(&w, &a))
		told += a.h.seq == w.irs + 1 + 5000 && a.h.ack == w.seq;
	assert_int_equal(told, 1);
	conn_kill(&w);
	world_fini(&w);
}

/* The link takes a few frames at a time: what does not fit waits for it, without a wake-up in between. */
static void test_link_without_room(void **state)
{
	struct world w;
	size_t done = 0, n;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	fake_link_room(&w.fl, 3);
	host_push(w.s, 14600);
	assert_in_range(world_settle(&w), 1, 2);
	done = conn_take_data(&w, 0);
	assert_int_equal(done, 3 * 1460);
	assert_false(list_empty(&w.t->wait));
	host_push(w.s, 100);
	host_push(w.s, 100);
	host_push(w.s, 100);
	assert_in_range(world_settle(&w), 0, 4);
	conn_expect_none(&w);
	while (done < 14900) {
		world_link_ready(&w, 2);
		n = conn_take_data(&w, done);
		assert_in_range(n, 1, 2920);
		done += n;
	}
	assert_true(list_empty(&w.t->wait));
	fake_link_room(&w.fl, SIZE_MAX);
	conn_ack(&w, w.ack);
	assert_int_equal(conn_unacked(&w), 0);
	world_wait(&w, 10 * NSEC_PER_SEC);
	conn_expect_none(&w);
	conn_kill(&w);
	world_fini(&w);
}

/* No room for an acknowledgement, a FIN, a reset. */
static void test_link_without_room_control(void **state)
{
	uint8_t data[10];
	struct world w;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	fake_link_room(&w.fl, 0);
	conn_send(&w, TCP_ACK, data, sizeof(data));
	conn_expect_none(&w);
	assert_int_equal(host_check(w.s), 10);
	world_link_ready(&w, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	fake_stream_fin(w.s);
	world_settle(&w);
	conn_expect_none(&w);
	world_link_ready(&w, 1);
	conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
	conn_ack(&w, w.ack + 1);
	/* The last acknowledgement of all. */
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
	conn_expect_none(&w);
	world_link_ready(&w, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_null(world_conn(&w));
	assert_false(w.s->rst_out);
	world_fini(&w);
}

static void test_link_slow(void **state)
{
	for (unsigned room = 1; room < 6; room++) {
		struct sim_conf c = {
			.g = { .mss = 1460, .wscale = 7, .total = 50000, .close = true },
			.total = 200000,
			.close = true,
			.link_room = room,
			.link_gap_ns = 50000,
		};

		sim_lossless(&c, 600 * NSEC_PER_SEC);
	}
}

/* Peeked data with a shut window: a small number of wake-ups, however much comes and however long it takes. */
static void test_no_storm(void **state)
{
	for (unsigned v = 0; v < 2; v++) {
		struct world w;
		unsigned events = 0;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		if (v)
			fake_link_room(&w.fl, 2);
		else
			w.window = 8;
		conn_send(&w, TCP_ACK, NULL, 0);
		host_push(w.s, 20000);
		events += world_settle(&w);
		for (unsigned i = 0; i < 200; i++) {
			host_push(w.s, 10);
			events += world_settle(&w);
		}
		assert_in_range(events, 1, 6);
		for (unsigned i = 0; i < 100; i++)
			world_turn(&w);
		assert_in_range(fake_fd(w.s->fd)->events, 1, 8);
		world_clear(&w);
		/* It all goes on when there is room. */
		if (v) {
			world_link_ready(&w, SIZE_MAX);
			world_settle(&w);
			assert_int_equal(conn_take_data(&w, 2920), 22000 - 2920);
		} else {
			w.window = 65535;
			conn_ack(&w, w.irs + 1 + 1024);
			world_settle(&w);
			assert_int_equal(conn_take_data(&w, 1024), 22000 - 1024);
		}
		conn_ack(&w, w.ack);
		/* And wakes us again. */
		host_push(w.s, 700);
		world_settle(&w);
		assert_int_equal(conn_take_data(&w, 22000), 700);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* In-flight data, everything peeked, the guest slow: new data is one event each and is sent each time. */
static void test_events_per_push(void **state)
{
	struct world w;
	size_t done = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	for (unsigned i = 0; i < 50; i++) {
		host_push(w.s, 100);
		assert_in_range(world_settle(&w), 1, 1);
		assert_int_equal(conn_take_data(&w, done), 100);
		done += 100;
	}
	assert_int_equal(w.t->stats.idle_events, 0);
	conn_ack(&w, w.ack);
	assert_int_equal(world_settle(&w), 0);
	assert_int_equal(conn_unacked(&w), 0);
	conn_kill(&w);
	world_fini(&w);
}

/* Acknowledgements of what was never sent are answered and count for nothing (RFC 9293 3.10.7.4). */
static void test_bad_ack(void **state)
{
	struct world w;
	uint32_t good;

	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	host_push(w.s, 1000);
	world_settle(&w);
	conn_take_data(&w, 0);
	good = w.ack;
	conn_ack(&w, good + 1);
	conn_expect(&w, TCP_ACK, good, w.seq);
	conn_ack(&w, good + 0x7fffffff);
	conn_expect(&w, TCP_ACK, good, w.seq);
	assert_int_equal(conn_unacked(&w), 1000);
	/* Old ones as well: their window does not count. */
	w.window = 0;
	conn_ack(&w, w.irs - 5);
	w.window = 65535;
	assert_true(world_conn(&w)->snd.wnd > 0);
	conn_ack(&w, good);
	assert_int_equal(conn_unacked(&w), 0);
	conn_kill(&w);
	world_fini(&w);
}

/* Discarding fails, peeking fails. */
static void test_recv_errors(void **state)
{
	static const enum fake_call calls[] = { FAKE_RECV, FAKE_DISCARD };

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		struct world w;
		struct seen a;
		bool rst = false;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		fake_fail(calls[i], w.s->fd, ECONNRESET, 0, 1);
		host_push(w.s, 1400);
		world_settle(&w);
		if (world_conn(&w))
			conn_ack(&w, w.irs + 1 + 1400);
		while (world_take(&w, &a))
			rst |= !!(a.h.flags & TCP_RST);
		assert_true(rst);
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

static void test_lossy(void **state)
{
	for (unsigned seed = 1; seed <= 80; seed++) {
		struct sim_conf c = {
			.w = { .peek_off_err = seed % 2 ? ENOPROTOOPT : 0, .v6 = seed % 3 == 0 },
			.g = { .mss = seed % 3 ? 1440 : 536,
			       .wscale = 7,
			       .rcvbuf = seed % 5 ? 100000 : 5000,
			       .close = true,
			       .iss = seed * 77777 },
			.seed = seed,
			.in = seed & 1,
			.up = { .loss = seed * 2, .dup = 20, .reorder = seed % 5 * 30, .delay_ns = seed % 4 * NSEC_PER_MSEC },
			.down = { .loss = seed * 2, .dup = 20, .reorder = seed % 5 * 30, .delay_ns = seed % 4 * NSEC_PER_MSEC },
			.total = 150000,
			.push = seed % 7 ? 0 : 3000,
			.push_gap_ns = NSEC_PER_MSEC,
			.close = true,
		};

		c.g.total = seed % 4 ? 0 : 60000;
		sim_transfer(&c, 3000 * NSEC_PER_SEC);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),
		cmocka_unit_test(test_superframes),
		cmocka_unit_test(test_push),
		cmocka_unit_test(test_window_exact),
		cmocka_unit_test(test_shut_window),
		cmocka_unit_test(test_shrunk_window),
		cmocka_unit_test(test_window_taken_back),
		cmocka_unit_test(test_fast_retransmit),
		cmocka_unit_test(test_two_holes),
		cmocka_unit_test(test_not_duplicate),
		cmocka_unit_test(test_give_up),
		cmocka_unit_test(test_go_back),
		cmocka_unit_test(test_go_back_lazy),
		cmocka_unit_test(test_ack_while_going_back),
		cmocka_unit_test(test_resend_tells_nothing),
		cmocka_unit_test(test_link_without_room),
		cmocka_unit_test(test_link_without_room_control),
		cmocka_unit_test(test_link_slow),
		cmocka_unit_test(test_no_storm),
		cmocka_unit_test(test_events_per_push),

		cmocka_unit_test(test_bad_ack),
		cmocka_unit_test(test_recv_errors),
		cmocka_unit_test(test_lossy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
