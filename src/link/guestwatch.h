/* SPDX-License-Identifier: MIT */
/*
 * The events of a guest's socket. Where the system has no memory for what was asked of it, that passes, but events would tell all the time
 * to ask again: then there are none for a moment.
 */
#pragma once

#include "os/loop.h"

struct guestwatch {
	struct loop *loop;
	int fd; /* -1: none */
	struct ref ref;
	uint32_t want, armed; /* events: while there is no rest; of now */
	struct timer rest; /* armed: there are none */
};

void guestwatch_init(struct guestwatch *w, struct loop *loop);

/* Enters fd into the loop. -errno. */
MUST_USE int guestwatch_begin(struct guestwatch *w, int fd, struct ref ref, uint32_t events);

/* Takes it out again; nothing without one. */
void guestwatch_end(struct guestwatch *w);

/* Other events from now on, or from the end of the rest on; nothing without a socket. */
void guestwatch_set(struct guestwatch *w, uint32_t events);

/* The same socket for another guest, without a rest: tried again until it succeeds. */
void guestwatch_next(struct guestwatch *w, struct ref ref, uint32_t events);

/* No events for a moment, and these behind it. */
void guestwatch_rest(struct guestwatch *w, uint32_t events);

static inline bool guestwatch_rests(const struct guestwatch *w)
{
	return timer_armed(&w->rest);
}
