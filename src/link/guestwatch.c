/* SPDX-License-Identifier: MIT */
#include "link/guestwatch.h"

#define REST_NS (2 * NSEC_PER_MSEC)

static void update(struct guestwatch *w)
{
	uint32_t events = guestwatch_rests(w) ? 0 : w->want;

	if (w->fd < 0 || events == w->armed)
		return;
	if (!loop_mod(w->loop, w->fd, w->ref, events))
		w->armed = events;
}

static void rest_end(struct timer *t, uint64_t now_ns)
{
	struct guestwatch *w = container_of(t, struct guestwatch, rest);

	update(w);
	if (!w->armed)
		guestwatch_rest(w, w->want);
}

void guestwatch_init(struct guestwatch *w, struct loop *loop)
{
	*w = (struct guestwatch){ .loop = loop, .fd = -1 };
	timer_init(&w->rest, rest_end);
}

int guestwatch_begin(struct guestwatch *w, int fd, struct ref ref, uint32_t events)
{
	int err = loop_add(w->loop, fd, ref, events);

	if (err)
		return err;
	w->fd = fd;
	w->ref = ref;
	w->want = w->armed = events;
	return 0;
}

void guestwatch_end(struct guestwatch *w)
{
	timer_cancel(&w->loop->timers, &w->rest);
	if (w->fd >= 0)
		loop_del(w->loop, w->fd);
	w->fd = -1;
}

void guestwatch_set(struct guestwatch *w, uint32_t events)
{
	w->want = events;
	update(w);
}

void guestwatch_next(struct guestwatch *w, struct ref ref, uint32_t events)
{
	timer_cancel(&w->loop->timers, &w->rest);
	w->ref = ref;
	w->want = events;
	w->armed = 0; /* those that are armed are the old ones' */
	rest_end(&w->rest, w->loop->now_ns);
}

void guestwatch_rest(struct guestwatch *w, uint32_t events)
{
	w->want = events;
	timer_set(&w->loop->timers, &w->rest, w->loop->now_ns + REST_NS);
	update(w);
}
