/* SPDX-License-Identifier: MIT */
#include "base/timer.h"

#define SLOT_BITS 6
#define LOOK_THROUGH 4 /* timers of one slot */

_Static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "one bit of used for each slot");

/*
 * A slot of level l stands for 64^l ticks and begins at a multiple of that. When the clock reaches its beginning, its timers are put
 * into lower levels, or fire if l is 0. So all timers in slots begin after w->tick, and a slot below the last level holds those of one
 * lap only.
 */

void timers_init(struct timers *w, uint64_t now_ns)
{
	unsigned l, s;

	*w = (struct timers){ .tick = now_ns / TIMER_TICK_NS, .until = now_ns / TIMER_TICK_NS };
	list_init(&w->passed);
	for (l = 0; l < TIMER_LEVELS; l++) {
		for (s = 0; s < TIMER_SLOTS; s++)
			list_init(&w->slot[l][s]);
	}
}

/*
 * Puts t, which is in no list and is not due before w->tick, into its slot. One that is due beyond the reach of the last wheel comes
 * through here again with each lap, as its slot begins before it is due in every one.
 */
static void slot_put(struct timers *w, struct timer *t)
{
	uint64_t ahead = t->due_tick - w->tick;
	unsigned l = 0, s;

	while (l < TIMER_LEVELS - 1 && ahead >> SLOT_BITS * (l + 1))
		l++;
	s = t->due_tick >> SLOT_BITS * l & (TIMER_SLOTS - 1);
	list_push(&w->slot[l][s], &t->node);
	w->used[l] |= UINT64_C(1) << s;
}

void timer_set(struct timers *w, struct timer *t, uint64_t due_ns)
{
	timer_cancel(w, t);
	t->due_tick = due_ns / TIMER_TICK_NS + !!(due_ns % TIMER_TICK_NS);
	if (t->due_tick <= w->until)
		list_push(&w->passed, &t->node);
	else
		slot_put(w, t);
	w->armed++;
}

void timer_cancel(struct timers *w, struct timer *t)
{
	struct list *head = t->node.next;
	bool last = head == t->node.prev;
	uintptr_t off;

	if (!timer_armed(t))
		return;
	list_del(&t->node);
	w->armed--;
	/* What is left of a list of one is its head. If that is a slot, mark it unused, so that nobody wakes up for it. */
	off = (uintptr_t)head - (uintptr_t)w->slot;
	if (last && off < sizeof(w->slot)) {
		unsigned i = (unsigned)(off / sizeof(w->slot[0][0]));

		w->used[i / TIMER_SLOTS] &= ~(UINT64_C(1) << i % TIMER_SLOTS);
	}
}

/* The tick at which the next used slot of a level begins; UINT64_MAX if all are empty. */
static uint64_t level_next(const struct timers *w, unsigned l)
{
	uint64_t used = w->used[l], pos = (w->tick >> SLOT_BITS * l) + 1;
	unsigned first = pos & (TIMER_SLOTS - 1);

	if (!used)
		return UINT64_MAX;
	/* Turned so that bit 0 is the slot behind the present one. */
	used = used >> first | used << (-first & (TIMER_SLOTS - 1));
	return (pos + (unsigned)__builtin_ctzll(used)) << SLOT_BITS * l;
}

/* That of all levels. */
static uint64_t slot_next(const struct timers *w)
{
	uint64_t next = UINT64_MAX;

	for (unsigned l = 0; l < TIMER_LEVELS; l++)
		next = MIN(next, level_next(w, l));
	return next;
}

/*
 * The first tick at which a timer of the next used slot of a level may be due. Where there are few, as on an idle process, they are looked
 * through, so that it doesn't wake up only to put them into a lower level; the last level may hold those of later laps.
 */
static uint64_t level_due(const struct timers *w, unsigned l)
{
	uint64_t begin = level_next(w, l), due = UINT64_MAX;
	const struct list *head, *at;
	unsigned n = 0;

	if (!l || l == TIMER_LEVELS - 1 || begin == UINT64_MAX)
		return begin;
	head = &w->slot[l][begin >> SLOT_BITS * l & (TIMER_SLOTS - 1)];
	for (at = head->next; at != head && n < LOOK_THROUGH; at = at->next, n++)
		due = MIN(due, container_of(at, const struct timer, node)->due_tick);
	return at == head ? due : begin;
}

uint64_t timers_next(const struct timers *w, uint64_t now_ns)
{
	uint64_t next = UINT64_MAX;

	if (!w->armed)
		return UINT64_MAX;
	if (!list_empty(&w->passed))
		return 0;
	for (unsigned l = 0; l < TIMER_LEVELS; l++)
		next = MIN(next, level_due(w, l));
	if (next <= now_ns / TIMER_TICK_NS)
		return 0;
	if (next > UINT64_MAX / TIMER_TICK_NS)
		return UINT64_MAX;
	return next * TIMER_TICK_NS - now_ns;
}

/* Takes the first timer out of l, which is not empty. */
static struct timer *list_pop(struct list *l)
{
	struct timer *t = container_of(l->next, struct timer, node);

	list_del(&t->node);
	return t;
}

/* Empties slot s of level l into ret_list. */
static void slot_take(struct timers *w, unsigned l, struct list *ret_list)
{
	unsigned s = w->tick >> SLOT_BITS * l & (TIMER_SLOTS - 1);

	list_init(ret_list);
	list_splice(ret_list, &w->slot[l][s]);
	w->used[l] &= ~(UINT64_C(1) << s);
}

/* A function may cancel or set any timer, also those that still wait in l: so pop one by one. */
static void fire(struct timers *w, struct list *l, uint64_t now_ns)
{
	while (!list_empty(l)) {
		struct timer *t = list_pop(l);

		w->armed--;
		t->fn(t, now_ns);
	}
}

void timers_run(struct timers *w, uint64_t now_ns)
{
	uint64_t next;
	struct list l;
	unsigned i;

	w->until = MAX(w->tick, now_ns / TIMER_TICK_NS);
	list_init(&l);
	list_splice(&l, &w->passed);
	fire(w, &l, now_ns);

	while ((next = slot_next(w)) <= w->until) {
		w->tick = next;
		for (i = TIMER_LEVELS - 1; i > 0; i--) {
			if (next & ((UINT64_C(1) << SLOT_BITS * i) - 1))
				continue;
			slot_take(w, i, &l);
			while (!list_empty(&l))
				slot_put(w, list_pop(&l));
		}
		slot_take(w, 0, &l);
		fire(w, &l, now_ns);
	}
	w->tick = w->until;
}
