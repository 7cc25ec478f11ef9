/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tcp/reflect.h"

#define AT 0xffffff00u /* the sequence space wraps in every test */

static void test_short_path(void **state)
{
	struct tcp_reflect r = { 0 };

	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT), AT + 1000);
	assert_false(tcp_reflect_start(&r, TCP_REFLECT_RTT_US - 1, 500000, 500000, AT));
	assert_int_equal(r.mode, TCP_REFLECT_OFF);
	tcp_reflect_on_data(&r, AT + 1000, NSEC_PER_SEC);
	assert_int_equal(r.timed_at, 0);
	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT), AT + 1000);
	assert_false(tcp_reflect_on_report(&r, AT + 1000, 10, NSEC_PER_SEC));
	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT), AT + 1000);
}

static void test_reports(void **state)
{
	struct tcp_reflect r = { 0 };

	assert_true(tcp_reflect_start(&r, TCP_REFLECT_RTT_US, 20000, 20000, AT));
	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT), AT);
	assert_true(tcp_reflect_on_report(&r, AT + 1000, 400, 0));
	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT), AT + 600);
	assert_int_equal(tcp_reflect_ack(&r, AT + 2000, AT + 600), AT + 600);
	assert_false(tcp_reflect_on_report(&r, AT + 2000, 1400, 0)); /* no news */
	assert_false(tcp_reflect_on_report(&r, AT + 2000, 2400, 0)); /* older than what the guest knows */
	assert_int_equal(tcp_reflect_ack(&r, AT + 2000, AT + 600), AT + 600);
	assert_true(tcp_reflect_on_report(&r, AT + 2000, 0, 0));
	assert_int_equal(tcp_reflect_ack(&r, AT + 2000, AT + 600), AT + 2000);
}

/* Never behind what the guest was told, never ahead of what the kernel took. */
static void test_bounds(void **state)
{
	struct tcp_reflect r = { 0 };

	assert_true(tcp_reflect_start(&r, 50000, 60000, 0, AT + 500));
	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT + 700), AT + 700);
	r.acked = AT + 3000;
	assert_int_equal(tcp_reflect_ack(&r, AT + 1000, AT), AT + 1000);
}

static void test_hold(void **state)
{
	static const struct {
		uint32_t path, seen, hold;
	} cases[] = {
		{ 40000, 40000, 50000 }, /* of the path */
		{ 40000, 20000, 30000 }, /* of what the guest expects */
		{ 40000, 100000, 50000 },          { 40000, 0, TCP_REFLECT_HOLD_MIN_US },
		{ 0, 0, TCP_REFLECT_HOLD_MIN_US }, { 3000000, 1000000, TCP_REFLECT_HOLD_MAX_US },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tcp_reflect r = { 0 };

		assert_true(tcp_reflect_start(&r, 20000, cases[i].path, cases[i].seen, AT));
		assert_int_equal(tcp_reflect_hold_ns(&r), cases[i].hold * NSEC_PER_USEC);
	}
}

/*
 * A guest that knows of no delay is led to the true one: each round trip that it sees is longer by half than it expects at most, or the
 * least time, and an eighth of that is what it learns.
 */
static void test_ramp(void **state)
{
	struct tcp_reflect r = { 0 };
	uint64_t now = NSEC_PER_SEC;
	uint32_t seq = AT;
	unsigned rounds = 0;

	assert_true(tcp_reflect_start(&r, 150000, 150000, 0, AT));
	while (tcp_reflect_hold_ns(&r) < 180 * NSEC_PER_MSEC) {
		uint64_t hold = MIN(tcp_reflect_hold_ns(&r), 150 * NSEC_PER_MSEC);
		uint32_t before = r.seen_us;

		seq += 1000;
		tcp_reflect_on_data(&r, seq, now);
		tcp_reflect_on_data(&r, seq + 500, now + 1); /* one at a time is timed */
		now += hold;
		tcp_reflect_release(&r, seq, now);
		assert_int_equal(tcp_reflect_ack(&r, seq + 500, AT), seq);
		assert_in_range(r.seen_us, before + 1, before - before / 8 + MAX(before * 3 / 2, TCP_REFLECT_HOLD_MIN_US) / 8);
		assert_true(++rounds < 200);
	}
	/* Some seconds: one after the other they last as long as they are. */
	assert_in_range(now / NSEC_PER_SEC, 1, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_path), cmocka_unit_test(test_reports), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_hold),       cmocka_unit_test(test_ramp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
