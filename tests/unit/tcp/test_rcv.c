/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/defs.h"
#include "tcp/rcv.h"

#define IRS 0xfffffff0u /* the sequence space wraps in every test */
#define MSS 1460

static struct tcp_rcv rcv_at(uint32_t nxt, uint32_t window)
{
	struct tcp_rcv r;

	tcp_rcv_init(&r, IRS, MSS);
	r.wscale = TCP_WSCALE;
	r.nxt = r.adv_ack = IRS + 1 + nxt;
	r.edge = r.adv_edge = r.nxt + window;
	return r;
}

static void check_cases(void **state)
{
	static const struct {
		uint32_t window;
		int32_t at; /* seq relative to nxt */
		uint32_t len;
		bool fin;
		enum tcp_rcv_verdict v;
		uint32_t skip, take;
		bool take_fin;
	} cases[] = {
		{ 1000, 0, 0, false, TCP_RCV_TAKE, 0, 0, false },
		{ 1000, 0, 100, false, TCP_RCV_TAKE, 0, 100, false },
		{ 1000, 0, 100, true, TCP_RCV_TAKE, 0, 100, true },
		{ 1000, 0, 0, true, TCP_RCV_TAKE, 0, 0, true },
		{ 1000, 0, 1000, true, TCP_RCV_TAKE, 0, 1000, true },
		{ 1000, 0, 1001, true, TCP_RCV_TAKE, 0, 1000, false },
		{ 1000, 0, 5000, false, TCP_RCV_TAKE, 0, 1000, false },
		{ 1000, -50, 100, false, TCP_RCV_TAKE, 50, 50, false },
		{ 1000, -50, 100, true, TCP_RCV_TAKE, 50, 50, true },
		{ 1000, -50, 50, true, TCP_RCV_TAKE, 50, 0, true },
		{ 1000, -50, 50, false, TCP_RCV_OLD, 0, 0, false },
		{ 1000, -50, 49, true, TCP_RCV_OLD, 0, 0, false },
		{ 1000, -50, 10, false, TCP_RCV_OLD, 0, 0, false },
		{ 1000, -1, 0, false, TCP_RCV_OLD, 0, 0, false }, /* keepalive, window probe */
		{ 1000, -1, 1, false, TCP_RCV_OLD, 0, 0, false },
		{ 1000, 1, 10, false, TCP_RCV_AHEAD, 0, 0, false },
		{ 1000, 999, 1, true, TCP_RCV_AHEAD, 0, 0, false },
		{ 1000, 1000, 0, false, TCP_RCV_AHEAD, 0, 0, false },
		{ 1000, 1001, 0, false, TCP_RCV_BEYOND, 0, 0, false },
		{ 1000, 5000, 100, false, TCP_RCV_BEYOND, 0, 0, false },
		{ 0, 0, 0, false, TCP_RCV_TAKE, 0, 0, false },
		{ 0, 0, 1, false, TCP_RCV_BEYOND, 0, 0, false },
		{ 0, 0, 1000, true, TCP_RCV_BEYOND, 0, 0, false },
		{ 0, 0, 0, true, TCP_RCV_TAKE, 0, 0, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* around the wrap of the sequence space and away from it */
		for (uint32_t nxt = 0; nxt <= 4000; nxt += 5) {
			struct tcp_rcv r = rcv_at(nxt, cases[i].window);
			struct tcp_rcv_cut cut = { 0 };
			enum tcp_rcv_verdict v = tcp_rcv_check(&r, r.nxt + (uint32_t)cases[i].at, cases[i].len, cases[i].fin, &cut);

			if (v != cases[i].v || cut.skip != cases[i].skip || cut.len != cases[i].take ||
			    cut.fin != cases[i].take_fin)
				fail_msg("case %zu at %u: verdict %d, skip %u, len %u, fin %d", i, nxt, v, cut.skip, cut.len,
					 cut.fin);
		}
	}
}

static void window_follows_room(void **state)
{
	struct tcp_rcv r = rcv_at(0, 0);
	uint32_t acc = r.nxt;

	assert_true(tcp_rcv_open(&r, acc, 1 << 20, 0));
	assert_int_equal(r.edge - acc, (1 << 20) - (1 << 16)); /* all but a sixteenth */
	assert_true(tcp_rcv_open(&r, acc, 64 << 20, 0));
	assert_int_equal(r.edge - acc, TCP_WINDOW_MAX);
	/* it never moves back */
	assert_true(tcp_rcv_open(&r, acc, 100000, 0));
	assert_int_equal(r.edge - acc, TCP_WINDOW_MAX);
	/* where the kernel says that it is not writable, nothing is offered */
	assert_false(tcp_rcv_open(&r, acc + TCP_WINDOW_MAX, 90000, 60002));
	assert_int_equal(r.edge - acc, TCP_WINDOW_MAX);
	assert_false(tcp_rcv_open(&r, acc + TCP_WINDOW_MAX, 90000, 200000));
	assert_true(tcp_rcv_open(&r, acc + TCP_WINDOW_MAX, 90000, 60000));
	assert_int_equal(r.edge - acc - TCP_WINDOW_MAX, 30000 - 30000 / 16);
}

/* Any buffer, however small, with any MSS: while the kernel calls the socket writable, at least a segment can be sent. */
static void window_is_never_silly(void **state)
{
	static const uint16_t mss[] = { 88, 536, 1460, 8960, 32768, 65480 };

	for (size_t m = 0; m < ARRAY_SIZE(mss); m++) {
		for (uint32_t size = 2304; size < 8u << 20; size *= 3) {
			for (uint32_t used = 0; used <= size; used += size / 16) {
				struct tcp_rcv r = rcv_at(77, 0);
				uint32_t acc = r.nxt;

				r.mss = mss[m];
				if (!tcp_rcv_open(&r, acc, size, used)) {
					assert_true(size - used < used / 2);
					assert_int_equal(r.edge, acc);
					continue;
				}
				assert_true(r.edge - acc >= MIN((uint32_t)mss[m], TCP_WINDOW_LOW));
				assert_true(r.edge - acc <= MAX(size, TCP_WINDOW_LOW));
			}
		}
	}
}

/* The same, where nothing is offered that the socket does not take: what there is is enough for who has seen the largest window. */
static void window_is_true(void **state)
{
	static const uint16_t mss[] = { 88, 536, 1460, 8960, 32768, 65480 };

	for (size_t m = 0; m < ARRAY_SIZE(mss); m++) {
		for (uint32_t size = 2304; size < 8u << 20; size += size / 2) {
			for (uint32_t used = 0; used <= size; used += size / 64) {
				struct tcp_rcv r = rcv_at(77, 0);
				uint32_t least;

				r.mss = mss[m];
				r.strict = true;
				assert_true(tcp_rcv_open(&r, r.nxt, size, 0));
				assert_true(r.edge - r.nxt <= size);
				(void)tcp_rcv_advertise(&r, r.nxt, false);
				least = MIN((uint32_t)mss[m], r.told / 2);
				/* The guest used all but what is too little for it. */
				r.nxt = r.adv_edge - (least - 1);
				if (!tcp_rcv_open(&r, r.nxt, size, used))
					continue;
				assert_true(r.edge - r.nxt <= size - used + (1u << TCP_WSCALE));
				assert_true(r.edge - r.nxt >= least);
				assert_true(tcp_rcv_update_due(&r));
			}
		}
	}
}

/* A buffer that the kernel made smaller since: the guest could not send into what is left of it. */
static void window_of_less(void **state)
{
	struct tcp_rcv r = rcv_at(0, 0);

	r.strict = true;
	r.mss = 65480;
	assert_true(tcp_rcv_open(&r, r.nxt, 1 << 20, 0));
	(void)tcp_rcv_advertise(&r, r.nxt, false);
	r.nxt = r.adv_edge;
	assert_true(tcp_rcv_open(&r, r.nxt, 30000, 0));
	assert_int_equal(r.edge - r.nxt, 65480);
}

static void window_without_scale(void **state)
{
	struct tcp_rcv r = rcv_at(0, 0);

	r.wscale = 0;
	assert_true(tcp_rcv_open(&r, r.nxt, 1 << 20, 0));
	assert_int_equal(r.edge - r.nxt, 65535);
	assert_int_equal(tcp_rcv_advertise(&r, r.nxt, false), 65535);
}

/* What the guest was told is accepted, whatever it is rounded to, and does not creep away from what the socket gave. */
static void advertise_keeps_its_word(void **state)
{
	struct tcp_rcv r = rcv_at(0, 0);
	uint32_t told = r.nxt, ack = r.nxt;

	assert_true(tcp_rcv_open(&r, ack, 87040, 0));
	for (unsigned i = 0; ack != told || !i; i++) {
		uint32_t right = ack + ((uint32_t)tcp_rcv_advertise(&r, ack, false) << TCP_WSCALE);
		struct tcp_rcv_cut cut;

		assert_true((int32_t)(right - told) > -(1 << TCP_WSCALE));
		if (seq_gt(right, told))
			told = right;
		assert_true(tcp_rcv_limit(&r) == told);
		assert_true(told - r.edge < 1u << TCP_WSCALE);
		r.nxt = ack;
		if (told != ack) {
			assert_int_equal(tcp_rcv_check(&r, ack, told - ack, false, &cut), TCP_RCV_TAKE);
			assert_int_equal(cut.len, told - ack);
		}
		ack += MIN(17u, told - ack);
	}
	assert_true(seq_ge(ack, r.edge));
}

static void advertise_syn(void **state)
{
	struct tcp_rcv r = rcv_at(0, 0);

	assert_true(tcp_rcv_open(&r, r.nxt, 1 << 20, 0));
	assert_int_equal(tcp_rcv_advertise(&r, r.nxt, true), 65535);
	assert_int_equal(r.adv_edge - r.nxt, 65535);
	assert_true(tcp_rcv_update_due(&r));
	assert_int_equal(tcp_rcv_advertise(&r, r.nxt, false), ((1 << 20) - (1 << 16)) >> TCP_WSCALE);
	assert_false(tcp_rcv_update_due(&r));
}

static void update_due(void **state)
{
	struct tcp_rcv r = rcv_at(0, 100000);

	assert_false(tcp_rcv_update_due(&r));
	r.edge += 2 * MSS - 1;
	assert_false(tcp_rcv_update_due(&r));
	r.edge++;
	assert_true(tcp_rcv_update_due(&r));
	r = rcv_at(0, 0);
	r.edge++;
	assert_true(tcp_rcv_update_due(&r)); /* a shut window opens */
	r.adv_edge = r.edge + 200; /* rounded up */
	assert_false(tcp_rcv_update_due(&r));
}

static void in_window(void **state)
{
	struct tcp_rcv r = rcv_at(10, 100);

	assert_true(tcp_rcv_in_window(&r, r.nxt));
	assert_true(tcp_rcv_in_window(&r, r.nxt + 99));
	assert_false(tcp_rcv_in_window(&r, r.nxt + 100));
	assert_false(tcp_rcv_in_window(&r, r.nxt - 1));
	r = rcv_at(10, 0);
	assert_true(tcp_rcv_in_window(&r, r.nxt));
	assert_false(tcp_rcv_in_window(&r, r.nxt + 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_cases),
		cmocka_unit_test(window_follows_room),
		cmocka_unit_test(window_is_never_silly),
		cmocka_unit_test(window_is_true),
		cmocka_unit_test(window_of_less),
		cmocka_unit_test(window_without_scale),
		cmocka_unit_test(advertise_keeps_its_word),
		cmocka_unit_test(advertise_syn),
		cmocka_unit_test(update_due),
		cmocka_unit_test(in_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
