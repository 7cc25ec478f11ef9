/* SPDX-License-Identifier: MIT */
#include "os/sockwatch.h"

#define REST_NS (2 * NSEC_PER_MSEC)

static void update(struct sockwatch *w)
{
	uint32_t events = sockwatch_rests(w) ? 0 : w->want;

	if (w->fd < 0 || events == w->armed)
		return;
	if (loop_mod(w->loop, w->fd, w->ref, events))
		timer_set(&w->loop->timers, &w->rest, w->loop->now_ns + REST_NS);
	else
		w->armed = events;
}

static void rest_end(struct timer *t, uint64_t now_ns)
{
	update(container_of(t, struct sockwatch, rest));
}

void sockwatch_init(struct sockwatch *w, struct loop *loop)
{
	*w = (struct sockwatch){ .loop = loop, .fd = -1 };
	timer_init(&w->rest, rest_end);
}

int sockwatch_begin(struct sockwatch *w, int fd, struct ref ref, uint32_t events)
{
	int err = loop_add(w->loop, fd, ref, events);

	if (err)
		return err;
	w->fd = fd;
	w->ref = ref;
	w->want = w->armed = events;
	return 0;
}

void sockwatch_end(struct sockwatch *w)
{
	timer_cancel(&w->loop->timers, &w->rest);
	if (w->fd >= 0)
		loop_del(w->loop, w->fd);
	w->fd = -1;
}

void sockwatch_set(struct sockwatch *w, uint32_t events)
{
	w->want = events;
	update(w);
}

void sockwatch_next(struct sockwatch *w, struct ref ref, uint32_t events)
{
	timer_cancel(&w->loop->timers, &w->rest);
	w->ref = ref;
	w->want = events;
	w->armed = 0; /* those that are armed are the old ones' */
	rest_end(&w->rest, w->loop->now_ns);
}

void sockwatch_rest(struct sockwatch *w, uint32_t events)
{
	w->want = events;
	timer_set(&w->loop->timers, &w->rest, w->loop->now_ns + REST_NS);
	update(w);
}
