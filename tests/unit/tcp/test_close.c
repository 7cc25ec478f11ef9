/* SPDX-License-Identifier: MIT */
/* Orderly ends: FIN as the last byte of each direction, in every order. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "sim.h"

static void world_open(struct world *w, bool in)
{
	world_init(w, &(struct world_conf){ 0 });
	conn_open(w, in);
}

/* The guest closes first. */
static void test_guest_first(void **state)
{
	for (unsigned in = 0; in < 2; in++) {
		struct world w;

		world_open(&w, in);
		conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		conn_expect(&w, TCP_ACK, w.ack, w.iss + 2);
		assert_true(w.s->fin_out);
		assert_false(w.s->rst_out);
		/* It repeats itself: acknowledged again, passed on once. */
		w.seq--;
		conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		conn_expect(&w, TCP_ACK, w.ack, w.iss + 2);
		assert_int_equal(fake_os.calls[FAKE_SHUTDOWN], 1);
		/* The host goes on sending for a while. */
		host_push(w.s, 5000);
		world_settle(&w);
		assert_int_equal(conn_take_data(&w, 0), 5000);
		conn_ack(&w, w.ack);
		assert_int_equal(conn_unacked(&w), 0);
		fake_stream_fin(w.s);
		world_settle(&w);
		conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.iss + 2);
		assert_non_null(world_conn(&w));
		conn_ack(&w, w.ack + 1);
		conn_expect_none(&w);
		assert_null(world_conn(&w));
		assert_int_equal(w.s->fd, -1);
		assert_false(w.s->rst_out);
		world_fini(&w);
	}
}

/* The host closes first. */
static void test_host_first(void **state)
{
	uint8_t data[1000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned in = 0; in < 2; in++) {
		struct world w;

		world_open(&w, in);
		fake_stream_fin(w.s);
		assert_in_range(world_settle(&w), 1, 2);
		conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
		conn_ack(&w, w.ack + 1);
		conn_expect_none(&w);
		assert_int_equal(world_settle(&w), 0);
		/* The guest goes on sending for a while. */
		for (unsigned i = 0; i < 10; i++) {
			conn_send(&w, TCP_ACK, data + i * 100, 100);
			conn_expect(&w, TCP_ACK, w.ack, w.seq);
		}
		assert_int_equal(host_check(w.s), 1000);
		assert_false(w.s->fin_out);
		conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		assert_null(world_conn(&w));
		assert_true(w.s->fin_out);
		assert_false(w.s->rst_out);
		world_fini(&w);
	}
}

/* Both at once: our FIN and that of the guest cross. */
static void test_both_at_once(void **state)
{
	struct world w;

	world_open(&w, false);
	fake_stream_fin(w.s);
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0); /* before the event of the host's FIN */
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	world_settle(&w);
	conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
	conn_ack(&w, w.ack + 1);
	conn_expect_none(&w);
	assert_null(world_conn(&w));
	world_fini(&w);

	world_open(&w, false);
	fake_stream_fin(w.s);
	world_settle(&w);
	conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0); /* before it has seen ours */
	conn_expect(&w, TCP_ACK, w.ack + 1, w.seq);
	conn_ack(&w, w.ack + 1);
	conn_expect_none(&w);
	assert_null(world_conn(&w));
	assert_false(w.s->rst_out);
	world_fini(&w);
}

/* The guest's FIN acknowledges ours. */
static void test_fin_acks_fin(void **state)
{
	struct world w;

	world_open(&w, false);
	fake_stream_fin(w.s);
	world_settle(&w);
	conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
	w.ack++;
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	conn_expect_none(&w);
	assert_null(world_conn(&w));
	assert_false(w.s->rst_out);
	world_fini(&w);
}

/* Data stands before the host's FIN: the FIN is its last byte, however the window lies. */
static void test_host_fin_behind_data(void **state)
{
	static const unsigned windows[] = { 512, 8, 0 }; /* scaled by 128 */

	for (unsigned i = 0; i < ARRAY_SIZE(windows); i++) {
		struct world w;
		size_t done = 0;
		struct seen a;
		bool fin = false;

		world_open(&w, false);
		w.window = (uint16_t)windows[i];
		conn_send(&w, TCP_ACK, NULL, 0);
		host_push(w.s, 3072);
		fake_stream_fin(w.s);
		world_settle(&w);
		for (unsigned round = 0; !fin && round < 20; round++) {
			while (world_take(&w, &a)) {
				if (!a.len && !(a.h.flags & TCP_FIN))
					continue;
				assert_false(fin);
				assert_int_equal(a.h.seq, w.irs + 1 + done);
				done += a.len;
				fin = a.h.flags & TCP_FIN;
				assert_true(!fin || done == 3072);
			}
			if (!w.window)
				w.window = 8;
			if (!fin)
				conn_ack(&w, w.irs + 1 + (uint32_t)done);
			world_settle(&w);
		}
		assert_true(fin);
		assert_int_equal(done, 3072);
		conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		conn_ack(&w, w.irs + 1 + 3073);
		assert_null(world_conn(&w));
		assert_false(w.s->rst_out);
		world_fini(&w);
	}
}

/* The FIN does not fit the window: it waits, and its wait is a probe's business. */
static void test_host_fin_shut_window(void **state)
{
	struct world w;
	struct seen a;

	world_open(&w, false);
	w.window = 8;
	conn_send(&w, TCP_ACK, NULL, 0);
	host_push(w.s, 1024);
	world_settle(&w);
	assert_int_equal(conn_take_data(&w, 0), 1024);
	w.window = 0;
	conn_ack(&w, w.ack);
	fake_stream_fin(w.s);
	world_settle(&w);
	conn_expect_none(&w);
	world_wait(&w, 70 * NSEC_PER_SEC);
	assert_true(world_take(&w, &a)); /* probes */
	assert_int_equal(a.h.seq, w.ack - 1);
	world_clear(&w);
	w.window = 1;
	conn_ack(&w, w.ack);
	conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, w.seq);
	conn_kill(&w);
	world_fini(&w);
}

/* Our FIN is lost: it comes again, with back-off, and is the same byte each time. */
static void test_fin_repeated(void **state)
{
	for (unsigned data = 0; data < 2; data++) {
		struct world w;
		struct seen a;
		unsigned n = 0;

		world_open(&w, false);
		if (data)
			host_push(w.s, 100);
		fake_stream_fin(w.s);
		world_settle(&w);
		world_clear(&w);
		if (data)
			conn_ack(&w, w.irs + 1 + 100);
		for (unsigned i = 0; i < 60 && n < 5; i++) {
			world_wait(&w, 500 * NSEC_PER_MSEC);
			while (world_take(&w, &a)) {
				assert_int_equal(a.h.flags, TCP_FIN | TCP_ACK);
				assert_int_equal(a.h.seq, w.ack);
				n++;
			}
		}
		assert_int_equal(n, 5);
		conn_ack(&w, w.ack + 1);
		world_wait(&w, 100 * NSEC_PER_SEC);
		conn_expect_none(&w);
		conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

/* Data and FIN are lost together: the time-out brings both back. */
static void test_data_and_fin_lost(void **state)
{
	for (unsigned v = 0; v < 2; v++) {
		struct world w;
		struct seen a;
		size_t done = 0;
		bool fin = false;

		world_init(&w, &(struct world_conf){ .peek_off_err = v ? ENOPROTOOPT : 0 });
		conn_open_out(&w);
		host_push(w.s, 2000);
		fake_stream_fin(w.s);
		world_settle(&w);
		world_clear(&w);
		for (unsigned i = 0; i < 20 && !fin; i++) {
			world_wait(&w, 300 * NSEC_PER_MSEC);
			while (world_take(&w, &a)) {
				assert_true(a.h.seq == w.irs + 1 + done || seq_lt(a.h.seq, w.irs + 1 + (uint32_t)done));
				if (a.h.seq != w.irs + 1 + done)
					continue;
				done += a.len;
				fin |= !!(a.h.flags & TCP_FIN);
			}
			if (!fin)
				conn_ack(&w, w.irs + 1 + (uint32_t)done);
		}
		assert_true(fin);
		assert_int_equal(done, 2000);
		w.ack = w.irs + 1 + 2001;
		conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
		assert_null(world_conn(&w));
		assert_false(w.s->rst_out);
		world_fini(&w);
	}
}

/* The FIN of the guest comes ahead of data that is missing: it counts only when all is there. */
static void test_guest_fin_ahead(void **state)
{
	uint8_t data[300];
	struct world w;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_open(&w, false);
	w.seq += 100;
	conn_send(&w, TCP_FIN | TCP_ACK, data + 100, 200);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 1);
	w.seq--;
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 1);
	assert_false(w.s->fin_out);
	w.seq = w.iss + 1;
	conn_send(&w, TCP_ACK, data, 99);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 100);
	assert_false(w.s->fin_out);
	conn_send(&w, TCP_ACK, data + 99, 1);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 302);
	assert_true(w.s->fin_out);
	assert_int_equal(host_check(w.s), 300);
	conn_kill(&w);
	world_fini(&w);
}

/* Data behind the guest's FIN is none; it is acknowledged, not taken. */
static void test_data_behind_fin(void **state)
{
	uint8_t data[10] = { 0 };
	struct world w;

	world_open(&w, false);
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 2);
	conn_send(&w, TCP_ACK, data, 10);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 2);
	w.seq = w.iss + 1;
	conn_send(&w, TCP_ACK, data, 10);
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 2);
	assert_int_equal(w.s->out_len, 0);
	w.seq = w.iss + 2;
	conn_kill(&w);
	world_fini(&w);
}

/* The guest says all it has with its SYN barely answered: data and FIN in the third segment of the handshake. */
static void test_short_life(void **state)
{
	static const struct tcp_hdr usual = { .mss = 1460 };
	uint8_t data[50];
	struct world w;
	struct seen a;

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &usual);
	w.s = fake_stream_last();
	fake_stream_connected(w.s);
	host_push(w.s, 70);
	fake_stream_fin(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	conn_expect_none(&w);
	w.irs = a.h.seq;
	w.ack = w.irs + 1;
	w.checked = true;
	conn_send(&w, TCP_FIN | TCP_ACK | TCP_PSH, data, sizeof(data));
	world_settle(&w);
	assert_int_equal(host_check(w.s), 50);
	assert_true(w.s->fin_out);
	assert_int_equal(conn_take_data(&w, 0), 70);
	conn_ack(&w, w.ack + 1);
	assert_null(world_conn(&w));
	assert_false(w.s->rst_out);
	world_fini(&w);
}

/* shutdown() fails as it does when the connection is dead. */
static void test_shutdown_fails(void **state)
{
	struct world w;

	world_open(&w, false);
	fake_fail(FAKE_SHUTDOWN, w.s->fd, ENOTCONN, 0, 1);
	conn_send(&w, TCP_FIN | TCP_ACK, NULL, 0);
	fake_stream_rst(w.s);
	world_settle(&w);
	assert_null(world_conn(&w));
	world_fini(&w);
}

/* One side closes early, data flows on in the other, at all speeds. */
static void test_half_closed_flows(void **state)
{
	for (unsigned i = 0; i < 32; i++) {
		struct sim_conf c = {
			.w = { .peek_off_err = i & 1 ? ENOPROTOOPT : 0 },
			.g = { .mss = 1460,
			       .wscale = 7,
			       .rcvbuf = i & 2 ? 4000 : 100000,
			       .close = true,
			       .total = i & 4 ? 0 : 150000 },
			.in = i & 8,
			.total = i & 4 ? 150000 : 10,
			.close = true,
			.sndbuf = i & 16 ? 4608 : 0,
			.ack_delay_ns = i & 16 ? 30 * NSEC_PER_MSEC : 0,
		};

		sim_lossless(&c, 600 * NSEC_PER_SEC);
	}
}

/* Heavy loss around the FINs. */
static void test_lossy_end(void **state)
{
	for (unsigned seed = 1; seed <= 150; seed++) {
		struct sim_conf c = {
			.g = { .mss = 1460, .wscale = 7, .close = true, .total = seed % 3 * 1000 },
			.seed = seed * 7919,
			.in = seed & 1,
			.up = { .loss = 300, .dup = 100, .reorder = 200 },
			.down = { .loss = 300, .dup = 100, .reorder = 200 },
			.total = seed % 5 * 1000,
			.close = true,
			.sndbuf = seed % 4 ? 0 : 4608,
			.ack_delay_ns = seed % 4 * 30 * NSEC_PER_MSEC,
		};

		sim_transfer(&c, 4000 * NSEC_PER_SEC);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_guest_first),          cmocka_unit_test(test_host_first),
		cmocka_unit_test(test_both_at_once),         cmocka_unit_test(test_fin_acks_fin),
		cmocka_unit_test(test_host_fin_behind_data), cmocka_unit_test(test_host_fin_shut_window),
		cmocka_unit_test(test_fin_repeated),         cmocka_unit_test(test_data_and_fin_lost),
		cmocka_unit_test(test_guest_fin_ahead),      cmocka_unit_test(test_data_behind_fin),
		cmocka_unit_test(test_short_life),           cmocka_unit_test(test_shutdown_fails),
		cmocka_unit_test(test_half_closed_flows),    cmocka_unit_test(test_lossy_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
