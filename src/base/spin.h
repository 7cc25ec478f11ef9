/* SPDX-License-Identifier: MIT */
/*
 * Whether to wait for the next event awake: an engine without a clock of its own.
 *
 * A request and its response each wake the program up, and on a processor that has gone idle that takes longer than all the work. As
 * long as turns of the loop are short and follow each other within microseconds, the end of a wait is therefore awaited without sleeping,
 * for about as long as the last waits took. Where that does not pay (nothing comes, turns are long, there is no other processor on which
 * the peer could run) it ends at once, and it takes longer each time to begin again.
 */
#pragma once

#include "base/defs.h"

#define SPIN_MAX_NS 60000u /* of one wait */
#define SPIN_WORK_NS 120000u /* turns that take longer are no request or response */
#define SPIN_WAIT_NS 250000u /* waits that take longer, the wake-up included, end it */

struct spin {
	uint32_t ns; /* how long to stay awake in the next wait; 0: sleep at once */
	unsigned streak; /* short turns, one after the other, while it is off */
	unsigned need; /* so many turn it on */
	unsigned missed; /* waits that it did not cover, in a row or nearly so */
};

void spin_init(struct spin *s);

/* After a turn: how long its work took and how long the wait for the next event, and whether that took sleep. */
void spin_turn(struct spin *s, uint64_t work_ns, uint64_t wait_ns, bool slept);

/* In so many turns the processor was taken away so many times: somebody else has a use for it. */
void spin_preempted(struct spin *s, unsigned turns, uint64_t times);
