/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/timer.h"

#define TIMERS 48
#define MSEC NSEC_PER_MSEC

/*
 * The twin of the wheel: for each timer, whether it is armed and its time in ticks, and a search through all of them. What comes due must
 * fire in the run that reaches its tick, in order of ticks, and nothing else may.
 */
static struct twin {
	struct timer t;
	bool armed;
	uint64_t tick;
	unsigned not_before_run; /* set to the past by a timer's function: waits for the next run */
	unsigned fired;
} twin[TIMERS];

static struct timers w;
static uint64_t now, model_tick;
static unsigned runs, fired;
static bool running;
static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

static void twin_set(struct twin *k, uint64_t due_ns)
{
	timer_set(&w, &k->t, due_ns);
	k->armed = true;
	k->tick = (due_ns + MSEC - 1) / MSEC;
	k->not_before_run = 0;
	if (k->tick <= model_tick) {
		k->tick = model_tick;
		k->not_before_run = runs + 1;
	}
}

static void twin_cancel(struct twin *k)
{
	timer_cancel(&w, &k->t);
	k->armed = false;
}

/* A time in the past, soon, or anywhere up to beyond the reach of the wheel; often on a boundary of a wheel. */
static uint64_t some_time(void)
{
	uint64_t ahead = rnd(UINT32_MAX) % (UINT64_C(1) << rnd(27)) * MSEC;

	switch (rnd(8)) {
	case 0:
		return now - MIN(now, ahead);
	case 1:
		return now;
	case 2:
		return ((now / MSEC | ((UINT64_C(1) << rnd(27)) - 1)) + rnd(3)) * MSEC;
	default:
		return now + ahead + (rnd(2) ? rnd(MSEC) : 0);
	}
}

static void on_timer(struct timer *t, uint64_t now_ns)
{
	struct twin *k = container_of(t, struct twin, t), *other = &twin[rnd(TIMERS)];
	size_t i;

	assert_true(running);
	assert_int_equal(now_ns, now);
	assert_true(k->armed);
	assert_false(timer_armed(t));
	assert_true(k->tick <= now / MSEC);
	assert_true(k->not_before_run <= runs);
	for (i = 0; i < TIMERS; i++) {
		if (twin[i].armed && twin[i].not_before_run <= runs)
			assert_true(twin[i].tick >= k->tick);
	}
	k->armed = false;
	k->fired++;
	fired++;
	switch (rnd(6)) {
	case 0:
		twin_set(k, some_time());
		break;
	case 1:
		twin_cancel(other);
		break;
	case 2:
		twin_set(other, now + 1 + rnd(100) * MSEC);
		break;
	}
}

static void twin_check(void)
{
	uint64_t first = UINT64_MAX, next = timers_next(&w, now);
	size_t i, armed = 0;

	for (i = 0; i < TIMERS; i++) {
		assert_int_equal(timer_armed(&twin[i].t), twin[i].armed);
		armed += twin[i].armed;
		if (twin[i].armed)
			first = MIN(first, twin[i].tick * MSEC);
	}
	assert_int_equal(w.armed, armed);
	if (!armed)
		assert_true(next == UINT64_MAX);
	else
		assert_true(next <= (first > now ? first - now : 0));
}

static void twin_run(void)
{
	size_t i;

	runs++;
	model_tick = MAX(model_tick, now / MSEC);
	running = true;
	timers_run(&w, now);
	running = false;
	for (i = 0; i < TIMERS; i++) {
		if (twin[i].armed && twin[i].not_before_run <= runs)
			assert_true(twin[i].tick > now / MSEC);
	}
	twin_check();
}

static void start(uint32_t s, uint64_t at)
{
	size_t i;

	seed = s;
	now = at;
	model_tick = at / MSEC;
	runs = fired = 0;
	timers_init(&w, now);
	for (i = 0; i < TIMERS; i++) {
		twin[i] = (struct twin){ 0 };
		timer_init(&twin[i].t, on_timer);
	}
}

static void test_random(void **state)
{
	uint32_t s, op;

	for (s = 1; s <= 40; s++) {
		start(s * 7919, s % 2 ? 0 : rnd(1u << 30) * (uint64_t)s * 12345);
		for (op = 0; op < 3000; op++) {
			struct twin *k = &twin[rnd(TIMERS)];

			switch (rnd(5)) {
			case 0:
				twin_cancel(k);
				break;
			case 1:
				now += rnd(UINT32_MAX) % (UINT64_C(1) << rnd(25)) * (rnd(2) ? MSEC : 1000);
				twin_run();
				break;
			case 2:
				now += MIN(timers_next(&w, now), 100000 * MSEC);
				twin_run();
				break;
			default:
				twin_set(k, some_time());
				twin_check();
			}
		}
		assert_true(fired > 200);
	}
}

/*
 * Sleeping for as long as timers_next() says, a single timer is reached in few steps, and in one if it is not minutes ahead; never early
 * and at most one tick late.
 */
static void test_sleep_until_due(void **state)
{
	uint64_t ahead;

	for (ahead = 1; ahead < UINT64_C(1) << 55; ahead += ahead / 3 + 1) {
		uint64_t due;
		unsigned steps = 0;

		start(1, 123456789012);
		due = now + ahead;
		twin_set(&twin[0], due);
		while (!fired) {
			uint64_t next = timers_next(&w, now);

			assert_true(next > 0 && next != UINT64_MAX);
			now += next;
			twin_run();
			assert_true(++steps <= 6 + ahead / MSEC / (1 << 24) * 2);
			if (ahead > (UINT64_C(1) << 27) * MSEC && steps > 8)
				break; /* far beyond the reach: steps of its length */
		}
		if (ahead < 240000 * MSEC)
			assert_int_equal(steps, 1);
		if (fired) {
			assert_true(now >= due);
			assert_true(now < due + MSEC);
		}
	}
}

static void count(struct timer *t, uint64_t now_ns)
{
	fired++;
}

/* A process with a few timers wakes up when one is due, and not in between. */
static void test_few_timers_few_wakeups(void **state)
{
	static const uint64_t ahead[] = { 320, 330, 5000, 60000 };
	struct timer t[ARRAY_SIZE(ahead)];

	start(1, 123456789012);
	for (unsigned i = 0; i < ARRAY_SIZE(ahead); i++) {
		timer_init(&t[i], count);
		timer_set(&w, &t[i], now + ahead[i] * MSEC);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(ahead); i++) {
		now += timers_next(&w, now);
		timers_run(&w, now);
		assert_int_equal(fired, i + 1);
	}
}

/* A cancelled timer leaves nothing to wake up for. */
static void test_cancel_leaves_no_wakeup(void **state)
{
	unsigned i;

	start(1, 50 * MSEC);
	twin_set(&twin[0], now + 5000 * MSEC);
	for (i = 0; i < 300; i++)
		twin_set(&twin[1], now + (i + 1) * MSEC);
	twin_cancel(&twin[1]);
	assert_true(timers_next(&w, now) > 2000 * MSEC);
	twin_cancel(&twin[0]);
	assert_true(timers_next(&w, now) == UINT64_MAX);
	twin_cancel(&twin[0]);
	assert_int_equal(w.armed, 0);
}

static unsigned rearmed;

static void rearm_now(struct timer *t, uint64_t now_ns)
{
	rearmed++;
	timer_set(&w, t, now_ns);
}

/* A timer that sets itself to the present fires once a run, not for ever within one. */
static void test_rearm_now(void **state)
{
	struct timer t;
	unsigned i;

	timers_init(&w, 0);
	timer_init(&t, rearm_now);
	timer_set(&w, &t, 0);
	rearmed = 0;
	for (i = 1; i <= 10; i++) {
		assert_int_equal(timers_next(&w, 7 * MSEC), 0);
		timers_run(&w, 7 * MSEC);
		assert_int_equal(rearmed, i);
	}
}

/* A clock that goes back changes nothing. */
static void test_clock_backwards(void **state)
{
	start(1, 1000 * MSEC);
	twin_set(&twin[0], 1005 * MSEC);
	now = 900 * MSEC;
	timers_run(&w, now);
	assert_int_equal(fired, 0);
	now = 1005 * MSEC;
	twin_run();
	assert_int_equal(fired, 1);
}

static void test_end_of_time(void **state)
{
	start(1, 0);
	timer_set(&w, &twin[0].t, UINT64_MAX);
	twin[0].armed = true;
	twin[0].tick = UINT64_MAX / MSEC + 1;
	now = 1000 * MSEC;
	timers_run(&w, now);
	assert_true(timer_armed(&twin[0].t));
	assert_true(timers_next(&w, now) > 0);
	timer_cancel(&w, &twin[0].t);
	assert_int_equal(w.armed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_sleep_until_due),
		cmocka_unit_test(test_few_timers_few_wakeups),
		cmocka_unit_test(test_cancel_leaves_no_wakeup),
		cmocka_unit_test(test_rearm_now),
		cmocka_unit_test(test_clock_backwards),
		cmocka_unit_test(test_end_of_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
