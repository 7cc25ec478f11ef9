/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "os/loop.h"

struct fix {
	struct loop loop;
	struct timer timer;
	unsigned events, ticks, turn_ends;
	struct ref last;
	uint32_t last_events;
	uint64_t fired_ns;
	bool stop_in_event;
};

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct fix *x = ctx;

	x->events++;
	x->last = ref;
	x->last_events = events;
	if (x->stop_in_event)
		loop_stop(&x->loop, 42);
}

static void on_other(void *ctx, struct ref ref, uint32_t events)
{
	fail_msg("event for the wrong owner");
}

static void on_timer(struct timer *t, uint64_t now_ns)
{
	struct fix *x = container_of(t, struct fix, timer);

	x->ticks++;
	x->fired_ns = now_ns;
}

static void on_turn_end(void *ctx)
{
	((struct fix *)ctx)->turn_ends++;
}

static void fix_init(struct fix *x)
{
	memset(x, 0, sizeof(*x));
	assert_int_equal(loop_init(&x->loop), 0);
	timer_init(&x->timer, on_timer);
	x->loop.turn_end = on_turn_end;
	x->loop.turn_ctx = x;
}

static void turn_now(struct fix *x)
{
	timer_set(&x->loop.timers, &x->timer, 0);
	assert_int_equal(loop_turn(&x->loop), 0);
}

static void test_refs(void **state)
{
	struct fix x;
	unsigned other, owner;
	int p[2], q[2];

	fix_init(&x);
	other = loop_owner(&x.loop, on_other, &x);
	owner = loop_owner(&x.loop, on_event, &x);
	assert_int_not_equal(other, owner);
	assert_int_not_equal(other, 0);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(pipe(q), 0);

	assert_int_equal(loop_add(&x.loop, p[0], ref_init(owner, 0xfedcba98, 0xabcdef), EPOLLIN), 0);
	assert_int_equal(loop_add(&x.loop, p[0], ref_init(owner, 1, 1), EPOLLIN), -EEXIST);
	assert_int_equal(loop_add(&x.loop, q[0], (struct ref){ .index = 5 }, EPOLLIN), 0);
	turn_now(&x);
	assert_int_equal(x.events, 0);
	assert_int_equal(write(p[1], "", 1), 1);
	assert_int_equal(write(q[1], "", 1), 1); /* nobody's: ignored */
	turn_now(&x);
	assert_int_equal(x.events, 1);
	assert_int_equal(x.last.index, 0xfedcba98);
	assert_int_equal(x.last.gen, 0xabcdef);
	assert_int_equal(x.last.owner, owner);
	assert_int_equal(x.last_events, EPOLLIN);

	assert_int_equal(loop_mod(&x.loop, p[0], ref_init(owner, 2, 3), 0), 0);
	turn_now(&x);
	assert_int_equal(x.events, 1);
	assert_int_equal(loop_mod(&x.loop, p[0], ref_init(owner, 2, 3), EPOLLIN), 0);
	turn_now(&x);
	assert_int_equal(x.events, 2);
	assert_int_equal(x.last.index, 2);
	loop_del(&x.loop, p[0]);
	turn_now(&x);
	assert_int_equal(x.events, 2);
	assert_int_equal(loop_mod(&x.loop, p[0], ref_init(owner, 2, 3), EPOLLIN), -ENOENT);
	assert_int_equal(x.turn_ends, x.loop.turns);

	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
	loop_fini(&x.loop);
}

/* With nothing but a timer, one turn waits for it and runs it: not early, so there is no second turn for the same one. */
static void test_timer(void **state)
{
	struct fix x;
	uint64_t due;

	fix_init(&x);
	for (unsigned i = 1; i <= 20; i++) {
		due = x.loop.now_ns + i * 300000;
		timer_set(&x.loop.timers, &x.timer, due);
		while (timer_armed(&x.timer))
			assert_int_equal(loop_turn(&x.loop), 0);
		assert_int_equal(x.ticks, i);
		assert_true(x.fired_ns >= due);
	}
	assert_true(x.loop.turns <= 2 * 20);
	loop_fini(&x.loop);
}

static void test_run_stops(void **state)
{
	struct fix x;
	unsigned owner;
	int p[2];

	fix_init(&x);
	owner = loop_owner(&x.loop, on_event, &x);
	assert_int_equal(pipe(p), 0);
	assert_int_equal(loop_add(&x.loop, p[0], ref_init(owner, 0, 0), EPOLLIN), 0);
	assert_int_equal(write(p[1], "", 1), 1);
	x.stop_in_event = true;
	assert_int_equal(loop_run(&x.loop), 42);
	assert_int_equal(x.turn_ends, 1); /* what the last turn gathered is still flushed */
	assert_int_equal(loop_run(&x.loop), 42);
	assert_int_equal(x.events, 1);
	close(p[0]);
	close(p[1]);
	close(x.loop.epfd);
	x.loop.epfd = -1;
	x.loop.stop = false;
	assert_int_equal(loop_run(&x.loop), -EBADF);
	loop_fini(&x.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refs),
		cmocka_unit_test(test_timer),
		cmocka_unit_test(test_run_stops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
