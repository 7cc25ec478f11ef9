/* SPDX-License-Identifier: MIT */
/* Odd segments, batches, numbers that wrap around, and what stands in the segments that we send. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"
#include "wire/ip.h"

/* Sequence numbers pass 2^32 in both directions, at every kind of byte: SYN, data, FIN. */
static void test_wrap_up(void **state)
{
	for (uint32_t before = 0; before < 12; before++) {
		for (unsigned in = 0; in < 2; in++) {
			struct world w;
			uint8_t data[10];

			pattern_fill(DIR_UP, 0, data, sizeof(data));
			world_init(&w, &(struct world_conf){ 0 });
			w.iss = UINT32_MAX - before;
			conn_open(&w, in);
			for (unsigned i = 0; i < 10; i++) {
				conn_send(&w, TCP_ACK, data + i, 1);
				conn_expect(&w, TCP_ACK, w.ack, w.seq);
			}
			assert_int_equal(host_check(w.s), 10);
			conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
			conn_expect(&w, TCP_ACK, w.ack, w.seq);
			assert_true(w.s->fin_out);
			fake_stream_fin(w.s);
			world_settle(&w);
			conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
			conn_ack(&w, w.ack + 1);
			assert_null(world_conn(&w));
			world_fini(&w);
		}
	}
}

/* Our initial number comes from a clock (RFC 6528): it is set so that it ends up just before the wrap. */
static void test_wrap_down(void **state)
{
	for (unsigned v = 0; v < 4; v++) {
		struct sim_conf c = {
			.w = { .peek_off_err = v & 1 ? EOPNOTSUPP : 0 },
			.g = { .mss = 1460, .wscale = 7, .close = true },
			.total = 100000,
			.down = { .loss = v & 2 ? 50 : 0 },
			.up = { .loss = v & 2 ? 50 : 0 },
			.seed = 5,
			.close = true,
		};
		struct sim s;
		struct flow_key key;
		struct tcp_snd *snd;
		uint64_t now;

		sim_init(&s, &c);
		/* Only now is the SYN there, and the answer is still to come. */
		key = world_conn(&s.w)->f.key;
		now = s.w.loop.now_ns;
		assert_int_equal(world_conn(&s.w)->snd.iss, conn_isn(s.w.t, &key));
		s.w.loop.now_ns += 4096;
		assert_int_equal(conn_isn(s.w.t, &key), world_conn(&s.w)->snd.iss + 1);
		key.rport++;
		assert_int_not_equal(conn_isn(s.w.t, &key), world_conn(&s.w)->snd.iss + 1);
		s.w.loop.now_ns = now;
		snd = &world_conn(&s.w)->snd;
		snd->iss = snd->una = snd->nxt = snd->max = snd->recover = UINT32_MAX - 50000;
		sim_finish(&s, 1000 * NSEC_PER_SEC);
		sim_fini(&s);
	}
}

/* Different connections have initial numbers that tell nothing of each other. */
static void test_isn(void **state)
{
	uint32_t isn[16];
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	for (unsigned i = 0; i < 16; i++) {
		struct flow_key key = flow_key_init(PROTO_TCP, &w.g.addr, (uint16_t)(1000 + i), &w.r.addr, 80);

		isn[i] = conn_isn(w.t, &key);
		for (unsigned j = 0; j < i; j++)
			assert_true(isn[i] - isn[j] > 1000 && isn[j] - isn[i] > 1000);
	}
	world_fini(&w);
}

/* Without ACK a segment of an open connection counts for nothing (RFC 9293 3.10.7.4, fifth). */
static void test_no_ack_flag(void **state)
{
	static const uint8_t flags[] = { 0, TCP_PSH, TCP_FIN, TCP_URG, TCP_FIN | TCP_PSH | TCP_URG, TCP_ECE | TCP_CWR };
	uint8_t data[10] = { 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		struct world w;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		conn_send(&w, flags[i], data, sizeof(data));
		conn_expect_none(&w);
		assert_int_equal(w.s->out_len, 0);
		assert_false(world_conn(&w)->guest_fin);
		w.seq = w.iss + 1;
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Flags and options that mean nothing to us do no harm; urgent data stays in line. */
static void test_other_flags(void **state)
{
	uint8_t data[30];
	struct world w;
	struct gseg s = { .data = data, .len = 10 };

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	s.h = (struct tcp_hdr){ .flags = TCP_ACK | TCP_URG | TCP_PSH, .seq = w.seq, .ack = w.ack, .window = w.window, .urgent = 5 };
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq + 10);
	s.h = (struct tcp_hdr){ .flags = TCP_ACK | TCP_ECE | TCP_CWR, .seq = w.seq + 10, .ack = w.ack, .window = w.window };
	s.h.has_ts = s.h.sack_ok = true;
	s.data = data + 10;
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq + 20);
	s.h = (struct tcp_hdr){
		.flags = TCP_ACK, .seq = w.seq + 20, .ack = w.ack, .window = w.window, .mss = 5, .has_wscale = true
	};
	s.data = data + 20;
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq + 30);
	assert_int_equal(host_check(w.s), 30);
	assert_int_equal(world_conn(&w)->snd.mss, 1460); /* options of a SYN count only there */
	assert_int_equal(world_conn(&w)->snd.wnd, (uint32_t)w.window << 7);
	conn_kill(&w);
	world_fini(&w);
}

/* A SYN with data: the data comes again behind the handshake. */
static void test_syn_with_data(void **state)
{
	uint8_t data[10];
	struct world w;
	struct gseg s = { .h = { .flags = TCP_SYN, .window = 1000, .mss = 1460 }, .data = data, .len = 10 };
	struct seen a;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	s.h.seq = w.iss;
	world_put(&w, &s, 1);
	w.s = fake_stream_last();
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.ack, w.iss + 1);
	w.seq = w.iss + 1;
	w.ack = a.h.seq + 1;
	w.checked = true;
	conn_send(&w, TCP_ACK, data, 10);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 11);
	assert_int_equal(host_check(w.s), 10);
	conn_kill(&w);
	world_fini(&w);
}

/* A batch of as many segments as there can be: one send, one acknowledgement. */
static void test_batch(void **state)
{
	static const unsigned sizes[] = { 1, 2, 3, 63, 64 };

	for (unsigned c = 0; c < ARRAY_SIZE(sizes) * 2; c++) {
		struct world w;
		struct gseg s[LINK_BATCH];
		static uint8_t data[LINK_BATCH * 1000];
		unsigned n = sizes[c / 2], sends;

		pattern_fill(DIR_UP, 0, data, sizeof(data));
		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		for (unsigned i = 0; i < n; i++) {
			s[i] = (struct gseg){
				.h = { .flags = TCP_ACK, .seq = w.seq + i * 1000, .ack = w.ack, .window = w.window }
			};
			s[i].data = data + i * 1000;
			s[i].len = 1000;
		}
		if (c & 1)
			s[n - 1].h.flags |= TCP_FIN;
		sends = fake_os.calls[FAKE_SEND];
		world_put(&w, s, n);
		assert_int_equal(host_check(w.s), n * 1000);
		assert_int_equal(fake_os.calls[FAKE_SEND] - sends, 1);
		conn_expect(&w, TCP_ACK, w.ack, w.seq + n * 1000 + (c & 1));
		conn_expect_none(&w);
		assert_int_equal(w.s->fin_out, c & 1);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Batches in every order of a few segments, with doubles: what is in order is taken, exactly once. */
static void test_batch_orders(void **state)
{
	static uint8_t data[500];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned perm = 0; perm < 256; perm++) {
		struct world w;
		struct gseg s[4];
		unsigned there = 0;
		size_t want;
		bool fin;

		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		for (unsigned i = 0; i < 4; i++) {
			unsigned at = perm >> 2 * i & 3;

			s[i] = (struct gseg){
				.h = { .flags = TCP_ACK, .seq = w.seq + at * 100, .ack = w.ack, .window = w.window }
			};
			s[i].data = data + at * 100;
			s[i].len = 100;
			if (at == 3)
				s[i].h.flags |= TCP_FIN;
			there |= 1u << at;
		}
		for (want = 0; there >> want / 100 & 1; want += 100)
			;
		fin = want == 400;
		world_put(&w, s, 4);
		assert_int_equal(host_check(w.s), want);
		assert_int_equal(w.s->fin_out, fin);
		assert_int_equal(conn_ack_seq(world_conn(&w)), w.seq + want + fin);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* A reset in the middle of a batch ends the connection; what comes behind it belongs to none. */
static void test_batch_with_rst(void **state)
{
	uint8_t data[20];
	struct world w;
	struct gseg s[3];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	s[0] = (struct gseg){ .h = { .flags = TCP_ACK, .seq = w.seq, .ack = w.ack, .window = 100 }, .data = data, .len = 10 };
	s[1] = (struct gseg){ .h = { .flags = TCP_RST, .seq = w.seq + 10 } };
	s[2] = (struct gseg){ .h = { .flags = TCP_ACK, .seq = w.seq + 10, .ack = w.ack, .window = 100 },
			      .data = data + 10,
			      .len = 10 };
	world_put(&w, s, 3);
	assert_null(world_conn(&w));
	assert_true(w.s->rst_out);
	w.checked = false;
	conn_expect(&w, TCP_RST, w.ack, 0);
	conn_expect_none(&w);
	world_fini(&w);

	/* And a new connection may begin right behind it. */
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	s[1].h.seq = w.seq;
	s[2] = (struct gseg){ .h = { .flags = TCP_SYN, .seq = 5555, .window = 100, .mss = 1000 } };
	world_put(&w, &s[1], 2);
	assert_non_null(world_conn(&w));
	assert_int_equal(world_conn(&w)->state, CONN_CONNECTING);
	assert_int_equal(world_conn(&w)->rcv.irs, 5555);
	tcp_flow_abort(w.t, &world_conn(&w)->f);
	world_fini(&w);

	/* Of what was gathered for the old one, data or its end, nothing gets into the new one. */
	for (unsigned fin = 0; fin < 2; fin++) {
		world_init(&w, &(struct world_conf){ 0 });
		conn_open_out(&w);
		s[0] = (struct gseg){ .h = { .flags = TCP_ACK, .seq = w.seq, .ack = w.ack, .window = 100 },
				      .data = data,
				      .len = 10 };
		s[0].h.flags |= fin ? TCP_FIN : 0;
		s[1] = (struct gseg){ .h = { .flags = TCP_RST, .seq = w.seq + 10 + fin } };
		s[2] = (struct gseg){ .h = { .flags = TCP_SYN, .seq = 5555, .window = 100, .mss = 1000 } };
		world_put(&w, s, 3);
		assert_non_null(world_conn(&w));
		assert_int_equal(world_conn(&w)->rcv.nxt, 5556);
		assert_int_equal(world_conn(&w)->spill.len, 0);
		assert_false(world_conn(&w)->guest_fin);
		tcp_flow_abort(w.t, &world_conn(&w)->f);
		world_fini(&w);
	}
}

/* SYN, its double, and more in one batch. */
static void test_batch_with_syn(void **state)
{
	struct world w;
	struct gseg s[3] = { { .h = { .flags = TCP_SYN, .seq = 100, .window = 1000 } },
			     { .h = { .flags = TCP_SYN, .seq = 100, .window = 1000 } },
			     { .h = { .flags = TCP_ACK, .seq = 101, .ack = 7, .window = 1000 } } };

	world_init(&w, &(struct world_conf){ 0 });
	world_put(&w, s, 3);
	assert_int_equal(fake_open_count(), 2);
	assert_int_equal(world_conn(&w)->state, CONN_CONNECTING);
	conn_expect_none(&w);
	tcp_flow_abort(w.t, &world_conn(&w)->f);
	world_fini(&w);
}

/*
 * An answer at once, which an old segment behind new data asks for, is an acknowledgement like any other: the window moves on, or
 * something is armed that will move it. Only the guest's probes would get it out of a shut window otherwise, and those ask for an answer
 * at once as well.
 */
static void test_batch_shuts_window(void **state)
{
	static uint8_t data[1 << 20];
	struct gseg s[LINK_BATCH];
	struct tcp_conn *k;
	struct world w;
	uint32_t left, end;
	unsigned n = 0;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	k = world_conn(&w);
	left = tcp_rcv_limit(&k->rcv) - k->rcv.nxt;
	end = w.seq + left;
	assert_true(left <= sizeof(data));
	for (uint32_t at = 0; at < left; at += 32768) {
		s[n++] = (struct gseg){ .h = { .flags = TCP_ACK, .seq = w.seq + at, .ack = w.ack, .window = 100 },
					.data = data + at,
					.len = MIN(left - at, 32768u) };
	}
	s[n++] = (struct gseg){ .h = { .flags = TCP_ACK, .seq = w.seq - 1, .ack = w.ack, .window = 100 } };
	world_put(&w, s, n);
	assert_int_equal(k->rcv.nxt, end);
	fake_stream_ack(w.s, left);
	world_settle(&w);
	w.seq = end;
	assert_true(k->rcv.adv_edge - end >= 2u * k->rcv.mss);
	world_clear(&w);
	conn_kill(&w);
	world_fini(&w);
}

/* Superframes of the guest are taken whole, whatever their segment size says. */
static void test_guest_superframe(void **state)
{
	uint8_t *data = malloc(65000);
	struct world w;
	struct gseg s = { .data = data, .len = 65000, .gso_size = 1460 };

	pattern_fill(DIR_UP, 0, data, 65000);
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	s.h = (struct tcp_hdr){ .flags = TCP_ACK | TCP_FIN, .seq = w.seq, .ack = w.ack, .window = w.window };
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.seq + 65001);
	assert_int_equal(host_check(w.s), 65000);
	free(data);
	w.seq += 65001;
	conn_kill(&w);
	world_fini(&w);
}

/* Two connections side by side have nothing to do with each other. */
static void test_two_connections(void **state)
{
	uint8_t data[10];
	struct world w;
	struct fake_stream *first;
	uint32_t seq, ack;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_open_out(&w);
	first = w.s;
	seq = w.seq;
	ack = w.ack;
	w.checked = false;
	w.g.port++;
	conn_open_out(&w);
	host_push(first, 100);
	conn_send(&w, TCP_ACK, data, 10);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_int_equal(host_check(w.s), 10);
	assert_int_equal(first->out_len, 0);
	fake_stream_rst(w.s);
	world_settle(&w);
	assert_null(world_conn(&w));
	w.g.port--;
	w.s = first;
	w.seq = seq;
	w.checked = false;
	world_clear(&w);
	conn_send(&w, TCP_ACK, data, 10);
	assert_int_equal(host_check(first), 10);
	w.ack = ack + 100;
	conn_send(&w, TCP_ACK, NULL, 0);
	assert_int_equal(conn_unacked(&w), 0);
	conn_kill(&w);
	world_fini(&w);
}

/* The gateway's address is the host's loopback; what the guest may not reach is not connected to. */
static void test_nat(void **state)
{
	static const struct tcp_hdr usual = { .mss = 1460 };

	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world w;

		world_init(&w, &(struct world_conf){ .v6 = v6 });
		w.r.addr = v6 ? w.nat.v6.our : w.nat.v4.our;
		conn_syn(&w, &usual);
		w.s = fake_stream_last();
		assert_true(addr_is_loopback(&w.s->peer.addr));
		assert_int_equal(w.s->peer.port, w.r.port);
		tcp_flow_abort(w.t, &world_conn(&w)->f);
		world_clear(&w);
		w.r.addr = v6 ? addr_loopback6 : addr_loopback4;
		conn_syn(&w, &usual);
		assert_null(world_conn(&w));
		conn_expect(&w, TCP_RST | TCP_ACK, 0, w.iss + 1); /* nobody listens there */
		conn_expect_none(&w);
		world_fini(&w);
	}
}

/* A forwarded connection from the host's loopback is seen to come from the gateway; two from one port and address are refused. */
static void test_forwarded_source(void **state)
{
	struct world w;
	struct seen a;
	struct ep peer = { .addr = addr_loopback4, .port = 45678 };

	world_init(&w, &(struct world_conf){ 0 });
	w.s = fake_stream_arrive(w.listener.fd, &peer);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_true(addr_eq(&a.src, &w.nat.v4.our));
	assert_int_equal(a.h.sport, 45678);
	/* Another address of the loopback looks the same: it gets another port. */
	peer.addr.b[15] = 2;
	(void)fake_stream_arrive(w.listener.fd, &peer);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_true(addr_eq(&a.src, &w.nat.v4.our));
	assert_int_not_equal(a.h.sport, 45678);
	assert_int_equal(flow_count(w.flows), 2);
	w.g.port = 80;
	w.r = (struct ep){ .addr = w.nat.v4.our, .port = a.h.sport };
	tcp_flow_abort(w.t, &world_conn(&w)->f);
	w.r = (struct ep){ .addr = w.nat.v4.our, .port = 45678 };
	tcp_flow_abort(w.t, &world_conn(&w)->f);
	world_fini(&w);
}

/* Segments take the queue that the guest's came by last: acknowledgements, data, and a reset of what is no connection. */
static void test_queue(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	w.fl.link.rx_queue = 2;
	conn_open_out(&w);
	for (size_t i = 0; i < w.fl.frames; i++)
		assert_int_equal(w.fl.frame[i].queue, 2);
	world_clear(&w);
	for (unsigned queue = 0; queue < 4; queue++) {
		w.fl.link.rx_queue = queue;
		conn_send(&w, TCP_ACK, "x", 1);
		w.fl.link.rx_queue = 0;
		host_push(w.s, 5000);
		world_settle(&w);
		assert_in_range(w.fl.frames, 4, 6);
		for (size_t i = 0; i < w.fl.frames; i++)
			assert_int_equal(w.fl.frame[i].queue, queue);
		w.ack += 5000;
		world_clear(&w);
	}
	conn_kill(&w);
	w.fl.link.rx_queue = 3;
	conn_send(&w, TCP_ACK, "x", 1);
	assert_int_equal(w.fl.frames, 1);
	assert_int_equal(w.fl.frame[0].queue, 3);
	world_fini(&w);
}

/* A queue that is full keeps nobody waiting who goes by another. */
static void test_queue_full(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	for (uint16_t i = 0; i < 2; i++) {
		w.fl.link.rx_queue = i;
		w.g.port = (uint16_t)(1000 + i);
		conn_open_out(&w);
	}
	world_clear(&w);
	w.fl.full = 1;
	for (uint16_t i = 0; i < 2; i++) {
		struct gseg s = { .h = { .flags = TCP_ACK, .window = 65535 }, .data = "x", .len = 1 };

		w.fl.link.rx_queue = i;
		w.g.port = (uint16_t)(1000 + i);
		s.h.seq = world_conn(&w)->rcv.nxt;
		s.h.ack = world_conn(&w)->snd.nxt;
		world_put(&w, &s, 1);
	}
	world_settle(&w);
	assert_int_equal(w.fl.frames, 1);
	assert_int_equal(w.fl.frame[0].queue, 1);
	w.fl.full = 0;
	world_link_ready(&w, SIZE_MAX);
	assert_int_equal(w.fl.frames, 2);
	assert_int_equal(w.fl.frame[1].queue, 0);
	for (uint16_t i = 0; i < 2; i++) {
		w.g.port = (uint16_t)(1000 + i);
		tcp_flow_abort(w.t, &world_conn(&w)->f);
	}
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrap_up),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_queue_full),
		cmocka_unit_test(test_wrap_down),
		cmocka_unit_test(test_isn),
		cmocka_unit_test(test_no_ack_flag),
		cmocka_unit_test(test_other_flags),
		cmocka_unit_test(test_syn_with_data),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_batch_orders),
		cmocka_unit_test(test_batch_with_rst),
		cmocka_unit_test(test_batch_with_syn),
		cmocka_unit_test(test_batch_shuts_window),
		cmocka_unit_test(test_guest_superframe),
		cmocka_unit_test(test_two_connections),
		cmocka_unit_test(test_nat),
		cmocka_unit_test(test_forwarded_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
