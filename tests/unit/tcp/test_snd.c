/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "tcp/snd.h"

#define ISS 0xffffff00u
#define MSS 1000
#define MS NSEC_PER_MSEC

static struct tcp_snd snd_open(uint32_t wnd)
{
	struct tcp_snd s;

	tcp_snd_init(&s, ISS, MSS);
	s.wscale = 4;
	s.wl2 = ISS;
	s.wnd = wnd;
	return s;
}

static struct tcp_snd_ack ack(struct tcp_snd *s, uint32_t ackno, uint16_t window, uint32_t len, uint64_t now)
{
	struct tcp_hdr h = { .flags = TCP_ACK, .seq = s->wl1, .ack = ackno, .window = window };

	return tcp_snd_on_ack(s, &h, len, now);
}

static void room_and_progress(void **state)
{
	struct tcp_snd s = snd_open(3000);
	struct tcp_snd_ack a;

	assert_int_equal(tcp_snd_room(&s), 3000);
	tcp_snd_on_sent(&s, 3000, 1);
	assert_int_equal(tcp_snd_room(&s), 0);
	a = ack(&s, ISS + 1000, 3000 >> 4, 0, 2);
	assert_int_equal(a.acked, 1000);
	assert_true(a.opened);
	assert_false(a.retransmit);
	assert_int_equal(tcp_snd_inflight(&s), 2000);
	/* a shrunken window: no room, but what is in flight counts still */
	a = ack(&s, ISS + 2000, 10, 0, 3);
	assert_int_equal(a.acked, 1000);
	assert_int_equal(tcp_snd_room(&s), 0);
	a = ack(&s, ISS + 3000, 0, 0, 3);
	assert_int_equal(tcp_snd_inflight(&s), 0);
	assert_int_equal(tcp_snd_room(&s), 0);
	a = ack(&s, ISS + 3000, 100, 0, 3);
	assert_true(a.opened);
	assert_int_equal(a.acked, 0);
	assert_int_equal(tcp_snd_room(&s), 1600);
}

static void acknowledgements_that_lie(void **state)
{
	struct tcp_snd s = snd_open(3000);
	struct tcp_snd_ack a;

	tcp_snd_on_sent(&s, 500, 1);
	a = ack(&s, ISS + 501, 1, 0, 2);
	assert_true(a.bad);
	assert_int_equal(s.una, ISS);
	assert_int_equal(s.wnd, 3000);
	a = ack(&s, ISS + 500, 100, 0, 2);
	assert_int_equal(a.acked, 500);
	a = ack(&s, ISS + 400, 0, 0, 2); /* old: not even its window counts */
	assert_false(a.bad);
	assert_int_equal(a.acked, 0);
	assert_int_equal(s.wnd, 1600);
}

static void window_updates_in_order_only(void **state)
{
	struct tcp_snd s = snd_open(1600);
	struct tcp_hdr old = { .flags = TCP_ACK, .seq = 100, .ack = ISS, .window = 1 };
	struct tcp_hdr new = { .flags = TCP_ACK, .seq = 200, .ack = ISS, .window = 500 };

	s.wl1 = 50;
	(void)tcp_snd_on_ack(&s, &new, 0, 1);
	assert_int_equal(s.wnd, 8000);
	(void)tcp_snd_on_ack(&s, &old, 0, 1);
	assert_int_equal(s.wnd, 8000);
	/* windows of SYN segments are not scaled */
	new.flags |= TCP_SYN;
	(void)tcp_snd_on_ack(&s, &new, 1, 1);
	assert_int_equal(s.wnd, 500);
}

static void three_duplicates_make_a_fast_retransmit(void **state)
{
	struct tcp_snd s = snd_open(16000);
	struct tcp_snd_ack a;

	s.wnd = 16000;
	tcp_snd_on_sent(&s, 5000, 1);
	(void)ack(&s, ISS + 1000, 1000, 0, 2);
	for (int i = 1; i <= 5; i++) {
		a = ack(&s, ISS + 1000, 1000, 0, 3);
		assert_int_equal(a.retransmit, i == 3);
	}
	/* a partial acknowledgement: the next hole at once */
	a = ack(&s, ISS + 3000, 1000, 0, 4);
	assert_int_equal(a.acked, 2000);
	assert_true(a.retransmit);
	a = ack(&s, ISS + 5000, 1000, 0, 5);
	assert_false(a.retransmit);
	assert_false(s.repair);
}

static void not_every_repetition_is_a_duplicate(void **state)
{
	struct tcp_snd s = snd_open(16000);

	tcp_snd_on_sent(&s, 5000, 1);
	for (int i = 0; i < 9; i++) {
		assert_false(ack(&s, ISS, 1000, 10, 2).retransmit); /* carries data */
		assert_false(ack(&s, ISS, (uint16_t)(900 + i), 0, 2).retransmit); /* window update */
	}
	assert_int_equal(s.dupacks, 0);
	(void)ack(&s, ISS + 5000, 1000, 0, 3);
	for (int i = 0; i < 9; i++)
		assert_false(ack(&s, ISS + 5000, 1000, 0, 2).retransmit); /* nothing in flight */
}

static void timeout_goes_back_and_starts_slowly(void **state)
{
	struct tcp_snd s = snd_open(16000);
	struct tcp_snd_ack a;

	tcp_snd_on_sent(&s, 8000, 1);
	assert_true(tcp_snd_on_rto(&s));
	assert_int_equal(tcp_snd_inflight(&s), 0);
	assert_int_equal(tcp_snd_room(&s), MSS);
	tcp_snd_on_sent(&s, 1000, 2);
	assert_int_equal(s.max, ISS + 8000);
	a = ack(&s, ISS + 1000, 1000, 0, 3);
	assert_int_equal(tcp_snd_room(&s), 2 * MSS);
	tcp_snd_on_sent(&s, 2000, 3);
	/* the guest had all the rest */
	a = ack(&s, ISS + 8000, 1000, 0, 4);
	assert_int_equal(a.acked, 7000);
	assert_int_equal(s.nxt, ISS + 8000);
	assert_false(s.repair);
	assert_int_equal(tcp_snd_room(&s), 16000);
}

static void backoff_and_giving_up(void **state)
{
	struct tcp_snd s = snd_open(16000);
	uint64_t last = tcp_snd_rto_ns(&s);

	assert_int_equal(last, TCP_RTO_INIT_US * NSEC_PER_USEC);
	tcp_snd_on_sent(&s, 1000, 1);
	for (int i = 0; i < TCP_SND_RETRIES; i++) {
		uint64_t now;

		assert_true(tcp_snd_on_rto(&s));
		now = tcp_snd_rto_ns(&s);
		assert_true(now == MIN(2 * last, (uint64_t)TCP_RTO_MAX_US * NSEC_PER_USEC));
		last = now;
		tcp_snd_on_sent(&s, 1000, 1);
	}
	assert_false(tcp_snd_on_rto(&s));
	(void)ack(&s, ISS + 1000, 1000, 0, 9);
	assert_int_equal(s.backoff, 0);
	assert_true(tcp_snd_on_rto(&s));
}

static void round_trip_is_measured(void **state)
{
	struct tcp_snd s = snd_open(16000);
	uint64_t now = 1;

	for (int i = 0; i < 50; i++) {
		tcp_snd_on_sent(&s, 1000, now);
		now += 50 * MS;
		(void)ack(&s, s.nxt, 1000, 0, now);
	}
	assert_in_range(s.srtt_us, 49000, 51000);
	assert_int_equal(s.rto_us, TCP_RTO_MIN_US);
	for (int i = 0; i < 50; i++) {
		tcp_snd_on_sent(&s, 1000, now);
		now += 700 * MS;
		(void)ack(&s, s.nxt, 1000, 0, now);
	}
	assert_in_range(s.srtt_us, 680000, 700000);
	assert_in_range(s.rto_us, 690000, 1500000);
	/* Karn: no sample from what was sent twice */
	tcp_snd_on_sent(&s, 1000, now);
	assert_true(tcp_snd_on_rto(&s));
	tcp_snd_on_sent(&s, 1000, now + 1000 * MS);
	(void)ack(&s, s.nxt, 1000, 0, now + 1001 * MS);
	assert_in_range(s.srtt_us, 680000, 700000);
}

static void huge_windows_are_bounded(void **state)
{
	struct tcp_snd s = snd_open(0);

	s.wscale = 14;
	(void)ack(&s, ISS, 65535, 0, 1);
	assert_int_equal(s.wnd, TCP_SND_WND_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(room_and_progress),
		cmocka_unit_test(acknowledgements_that_lie),
		cmocka_unit_test(window_updates_in_order_only),
		cmocka_unit_test(three_duplicates_make_a_fast_retransmit),
		cmocka_unit_test(not_every_repetition_is_a_duplicate),
		cmocka_unit_test(timeout_goes_back_and_starts_slowly),
		cmocka_unit_test(backoff_and_giving_up),
		cmocka_unit_test(round_trip_is_measured),
		cmocka_unit_test(huge_windows_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
