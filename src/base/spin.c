/* SPDX-License-Identifier: MIT */
#include "base/spin.h"

#define FIRST_NS 30000u
#define LEAST_NS 4000u
#define STEP_NS 4000u
#define NEED_MIN 16u
#define NEED_MAX 4096u
#define MISSED_MAX 8u

void spin_init(struct spin *s)
{
	*s = (struct spin){ .need = NEED_MIN };
}

static void spin_off(struct spin *s)
{
	s->ns = 0;
	s->streak = 0;
	s->missed = 0;
	s->need = MIN(2 * s->need, NEED_MAX);
}

void spin_preempted(struct spin *s, unsigned turns, uint64_t times)
{
	if (s->ns && times > turns / 8)
		spin_off(s);
}

void spin_turn(struct spin *s, uint64_t work_ns, uint64_t wait_ns, bool slept)
{
	bool small = work_ns <= SPIN_WORK_NS && wait_ns <= SPIN_WAIT_NS;

	if (!s->ns) {
		s->streak = small ? s->streak + 1 : 0;
		if (s->streak >= s->need)
			s->ns = FIRST_NS;
	} else if (slept || !small) {
		s->missed += small ? 1 : 2;
		s->ns = MIN(s->ns + STEP_NS, SPIN_MAX_NS);
		if (s->missed >= MISSED_MAX)
			spin_off(s);
	} else {
		/* In time: a little shorter the next time, as what is waited for too long is time of somebody else. */
		s->ns = MAX(s->ns - s->ns / 64, LEAST_NS);
		s->missed -= s->missed > 0;
		s->need = MAX(s->need - 1, NEED_MIN);
	}
}
