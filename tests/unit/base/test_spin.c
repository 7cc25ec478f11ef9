/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/spin.h"

#define USEC 1000u

static void turns(struct spin *s, unsigned n, uint64_t work_us, uint64_t wait_us, bool slept)
{
	for (unsigned i = 0; i < n; i++)
		spin_turn(s, work_us * USEC, wait_us * USEC, slept);
}

/* On, by as many short turns as it takes; returns how many. */
static unsigned turn_on(struct spin *s)
{
	for (unsigned n = 1; n < 100000; n++) {
		turns(s, 1, 10, 50, true);
		if (s->ns)
			return n;
	}
	fail_msg("never on");
	return 0;
}

static void short_waits(void **state)
{
	struct spin s;

	(void)state;
	spin_init(&s);
	assert_int_equal(s.ns, 0);
	assert_in_range(turn_on(&s), 2, 100);
	assert_in_range(s.ns, 1, SPIN_MAX_NS);
}

static void long_waits_and_long_work(void **state)
{
	struct spin s;

	(void)state;
	spin_init(&s);
	turns(&s, 100000, 10, 1000, true);
	turns(&s, 100000, 1000, 10, false);
	/* And now and then a short one between. */
	for (unsigned i = 0; i < 10000; i++) {
		turns(&s, 4, 10, 50, true);
		turns(&s, 1, 10, 1000, true);
	}
	assert_int_equal(s.ns, 0);
}

/* What comes after 20 us is waited for about as long, not less and not much more. */
static void finds_the_time(void **state)
{
	struct spin s;
	unsigned in_time = 0;

	(void)state;
	spin_init(&s);
	turn_on(&s);
	turns(&s, 1000, 10, 1, false);
	for (unsigned i = 0; i < 2000; i++) {
		bool slept = s.ns < 20 * USEC;

		spin_turn(&s, 10 * USEC, slept ? 80 * USEC : s.ns, slept);
		assert_in_range(s.ns, 1, 30 * USEC);
		in_time += !slept;
	}
	assert_in_range(in_time, 1500, 2000);
}

static void never_longer_than_the_limit(void **state)
{
	struct spin s;

	(void)state;
	spin_init(&s);
	turn_on(&s);
	for (unsigned i = 0; i < 10000; i++) {
		spin_turn(&s, 10 * USEC, 100 * USEC, i % 4 == 0);
		assert_in_range(s.ns, 1, SPIN_MAX_NS);
	}
}

/* Ends within a few waits in which nothing came, and needs more to begin again each time. */
static void in_vain(void **state)
{
	struct spin s;
	unsigned before = 0;

	(void)state;
	spin_init(&s);
	for (unsigned i = 0; i < 5; i++) {
		unsigned n = turn_on(&s), spent = 0;

		assert_true(n > before);
		before = n;
		while (s.ns) {
			turns(&s, 1, 10, 1000000, true);
			assert_true(++spent < 20);
		}
	}
	/* But not for ever. */
	for (unsigned i = 0; i < 100; i++) {
		assert_in_range(turn_on(&s), 1, 5000);
		turns(&s, 20, 10, 1000000, true);
	}
	/* And less once it has paid. */
	turn_on(&s);
	turns(&s, 100000, 10, 20, false);
	turns(&s, 20, 10, 1000000, true);
	assert_int_equal(s.ns, 0);
	assert_in_range(turn_on(&s), 1, before);
}

static void somebody_else_needs_it(void **state)
{
	struct spin s;

	(void)state;
	spin_init(&s);
	turn_on(&s);
	spin_preempted(&s, 32, 1);
	assert_true(s.ns);
	spin_preempted(&s, 32, 20);
	assert_int_equal(s.ns, 0);
	spin_preempted(&s, 32, 20);
	assert_in_range(turn_on(&s), 1, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_waits),    cmocka_unit_test(long_waits_and_long_work),
		cmocka_unit_test(finds_the_time), cmocka_unit_test(never_longer_than_the_limit),
		cmocka_unit_test(in_vain),        cmocka_unit_test(somebody_else_needs_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
