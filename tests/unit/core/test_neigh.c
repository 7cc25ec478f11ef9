/* SPDX-License-Identifier: MIT */
/* When the guest is asked for its MAC. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/neigh.h"

struct fix {
	struct link link;
	struct timers w;
	struct neigh n;
	uint64_t now_ns;
	unsigned asked;
};

static void fired(struct timer *t, uint64_t now_ns)
{
	struct fix *f = container_of(t, struct fix, n.timer);

	if (!neigh_due(&f->n))
		return;
	f->asked++;
	f->link.stats.tx_frames++;
	neigh_asked(&f->n, now_ns);
}

static void setup(struct fix *f)
{
	*f = (struct fix){ .link = { .up = true } };
	timers_init(&f->w, 0);
	neigh_init(&f->n, &f->link, fired);
}

/* A second, in turns of a millisecond. Each sends tx frames and receives rx. */
static void second(struct fix *f, unsigned tx, unsigned rx)
{
	for (unsigned i = 0; i < 1000; i++) {
		f->now_ns += NSEC_PER_MSEC;
		f->link.stats.tx_frames += tx;
		f->link.stats.rx_frames += rx;
		timers_run(&f->w, f->now_ns);
		neigh_turn(&f->n, &f->w, f->now_ns);
	}
}

static void nothing_to_ask(void **state)
{
	static const unsigned cases[][2] = { { 0, 0 }, { 0, 1 }, { 1, 1 }, { 5, 1 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fix f;

		setup(&f);
		for (unsigned s = 0; s < 100; s++)
			second(&f, cases[i][0], cases[i][1]);
		assert_int_equal(f.asked, 0);
	}
}

/* One frame: one question, though the timer was set to see what comes. A second frame: a second one. */
static void one_for_each_wait(void **state)
{
	struct fix f;

	setup(&f);
	for (unsigned i = 1; i <= 3; i++) {
		f.link.stats.tx_frames++;
		second(&f, 0, 0);
		assert_int_equal(f.asked, i - 1);
		for (unsigned s = 0; s < 5; s++)
			second(&f, 0, 0);
		assert_int_equal(f.asked, i);
		assert_false(timer_armed(&f.n.timer));
	}
}

/* What is sent goes on without an answer: asked about every second until there is one, then not before the end of the trust. */
static void one_sided(void **state)
{
	struct fix f;
	unsigned before;

	setup(&f);
	for (unsigned s = 0; s < 20; s++)
		second(&f, 1, 0);
	assert_in_range(f.asked, 15, 20);
	before = f.asked;
	f.link.stats.rx_frames++;
	for (unsigned s = 0; s < 28; s++)
		second(&f, 1, 0);
	assert_in_range(f.asked, before, before + 1); /* the wait may have begun before the answer */
	before = f.asked;
	for (unsigned s = 0; s < 4; s++)
		second(&f, 1, 0);
	assert_in_range(f.asked, before + 1, before + 4);
}

static void nobody_there(void **state)
{
	struct fix f;

	setup(&f);
	f.link.up = false;
	second(&f, 1, 0);
	second(&f, 1, 0);
	assert_int_equal(f.asked, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_to_ask),
		cmocka_unit_test(one_for_each_wait),
		cmocka_unit_test(one_sided),
		cmocka_unit_test(nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
