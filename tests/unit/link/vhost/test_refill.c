/* SPDX-License-Identifier: MIT */
/* A guest that was out of buffers: when does who waits for them hear of new ones? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

#include "guest.h"

/* Uses up all that the guest has; then nothing can be reserved. */
static void use_up(struct guest *t)
{
	static const uint8_t frame[1000];

	while (link_send(t->w.link, 0, frame, sizeof(frame)) == 0)
		link_flush(t->w.link);
	assert_int_equal(drv_used_total(&t->rx), t->rx.added);
	while (t->rx.reaped < t->rx.added)
		guest_receive(t, GUEST_BUF);
}

/* Until no timer waits for the guest any more. */
static void wait_for_timers(struct guest *t)
{
	while (timers_next(&t->w.loop.timers, t->w.loop.now_ns) != UINT64_MAX)
		guest_wait(t);
}

#define REFILL_NS (20 * NSEC_PER_MSEC) /* after that, somebody looks */

/* Takes all buffers, and waits for new ones, of which the guest then offers n. False: it took so long that the clock may have told of them. */
static bool refill_some(struct guest *t, unsigned n)
{
	uint64_t since = t->w.loop.now_ns;

	use_up(t);
	guest_buffers(t, n, GUEST_BUF);
	return t->w.loop.now_ns - since < REFILL_NS;
}

static void rings_stop(struct guest *t)
{
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
}

/* Who is out of buffers hears of new ones when they are worth it. */
static void test_half_of_the_buffers(void **state)
{
	struct guest *t = *state;
	struct link_stats *s = &t->w.link->stats;
	unsigned good = 0;

	for (unsigned tries = 0; good < 5 && tries < 1000; tries++) {
		uint64_t kicks;
		unsigned ready;

		guest_up(t, GUEST_MERGE | GUEST_EVENTS, 64);
		guest_buffers(t, 64, GUEST_BUF);
		wait_for_timers(t);
		kicks = s->kicks;
		ready = t->w.ready;
		if (refill_some(t, 31)) {
			assert_int_equal(t->w.ready, ready);
			guest_buffers(t, 1, GUEST_BUF);
			guest_buffers(t, 32, GUEST_BUF);
			assert_in_range(s->kicks, kicks, kicks + 1);
			good++;
		} else {
			guest_buffers(t, 33, GUEST_BUF);
		}
		assert_int_equal(t->w.ready, ready + 1);
		/* Nobody waits. */
		assert_int_equal(timers_next(&t->w.loop.timers, t->w.loop.now_ns), UINT64_MAX);
		rings_stop(t);
	}
	assert_int_equal(good, 5);
}

/* Or when some are there, and no others come for a while. */
static void test_fewer_buffers_than_before(void **state)
{
	struct guest *t = *state;
	unsigned ready = t->w.ready;
	uint64_t turns;

	guest_up(t, GUEST_MERGE | GUEST_EVENTS, 64);
	guest_buffers(t, 64, GUEST_BUF);
	wait_for_timers(t);
	for (unsigned round = 0; round < 20; round++) {
		use_up(t);
		guest_buffers(t, 5, GUEST_BUF);
		/* At first only the clock tells; then it is known that there are no more. */
		turns = t->w.loop.turns;
		wait_for_timers(t);
		assert_true(round < 4 || t->w.loop.turns == turns);
		assert_int_equal(t->w.ready, ++ready);
	}
	/* A guest that does nothing for long is not looked at again and again, and its first buffer is welcome. */
	guest_buffers(t, 59, GUEST_BUF);
	use_up(t);
	wait_for_timers(t);
	assert_int_equal(t->w.ready, ready);
	guest_buffers(t, 1, GUEST_BUF);
	assert_int_equal(t->w.ready, ++ready);
	assert_int_equal(timers_next(&t->w.loop.timers, t->w.loop.now_ns), UINT64_MAX);
}

/* The queue is stopped, and started again, while somebody waits for half of it; or taken away with its front-end. */
static void test_half_of_another_queue(void **state)
{
	struct guest *t = *state;
	unsigned ready = t->w.ready;

	for (unsigned round = 0; round < 6; round++) {
		guest_up(t, GUEST_MERGE | (round == 2 ? 0 : GUEST_EVENTS), round & 1 ? 256 : 64);
		/* Who waited for the one before goes on. */
		assert_int_equal(t->w.ready, ready += round > 0);
		guest_buffers(t, round == 1 ? 8 : 64, GUEST_BUF);
		wait_for_timers(t);
		if (refill_some(t, 1))
			assert_int_equal(t->w.ready, ready + (round == 2));
		wait_for_timers(t);
		assert_int_equal(t->w.ready, ++ready);
		use_up(t);
		if (round & 1) {
			close(t->f.sock);
			guest_turns(t);
			t->f.sock = front_connect(&t->f);
		} else {
			rings_stop(t);
		}
		assert_false(t->w.link->up);
		if (round < 3)
			wait_for_timers(t);
		assert_int_equal(t->w.ready, ready);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(test_half_of_the_buffers),  SPLIT(test_fewer_buffers_than_before),  SPLIT(test_half_of_another_queue),
		PACKED(test_half_of_the_buffers), PACKED(test_fewer_buffers_than_before), PACKED(test_half_of_another_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
