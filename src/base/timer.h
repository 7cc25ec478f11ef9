/* SPDX-License-Identifier: MIT */
/*
 * Timer wheel: any number of timers, set and cancelled in constant time, no system call.
 *
 * A hierarchy of four wheels of 64 slots with a tick of one millisecond; a timer further ahead than the last wheel reaches stays in
 * it for more than one lap. Timers never fire early and at most one tick late. All times are CLOCK_MONOTONIC nanoseconds
 * given by the caller; a fake clock works as well. (G. Varghese and T. Lauck, "Hashed and Hierarchical Timing Wheels", 1987.)
 */
#pragma once

#include "base/defs.h"
#include "base/list.h"

#define TIMER_LEVELS 4
#define TIMER_SLOTS 64
#define TIMER_TICK_NS NSEC_PER_MSEC

struct timer;
typedef void timer_fn(struct timer *t, uint64_t now_ns);

/* Inside its owner (container_of). Initialise with timer_init() once; the wheel must outlive an armed timer. */
struct timer {
	struct list node;
	uint64_t due_tick;
	timer_fn *fn;
};

struct timers {
	uint64_t tick; /* all timers due up to here have fired */
	uint64_t until; /* where the present or last run ends */
	uint64_t used[TIMER_LEVELS]; /* a bit for each slot that may hold timers */
	struct list slot[TIMER_LEVELS][TIMER_SLOTS];
	struct list passed; /* set to a time that had passed; they fire at the next run */
	size_t armed;
};

void timers_init(struct timers *w, uint64_t now_ns);

static inline void timer_init(struct timer *t, timer_fn *fn)
{
	list_init(&t->node);
	t->fn = fn;
}

static inline bool timer_armed(const struct timer *t)
{
	return !list_empty(&t->node);
}

/* Arms t to fire at due_ns (at once at the next timers_run() if that has passed); moves it if it was armed. */
void timer_set(struct timers *w, struct timer *t, uint64_t due_ns);

/* Disarms t; no effect if it is not armed. Allowed from within any timer's function. */
void timer_cancel(struct timers *w, struct timer *t);

/* Nanoseconds from now_ns until timers_run() has work (0: now), or UINT64_MAX if no timer is armed. May be early, never late. */
uint64_t timers_next(const struct timers *w, uint64_t now_ns);

/*
 * Fires, in order of ticks, all timers due at now_ns. A timer is disarmed before its function runs, which may set it again;
 * what a timer's function sets fires at the next run at the earliest.
 */
void timers_run(struct timers *w, uint64_t now_ns);
