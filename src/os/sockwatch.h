/* SPDX-License-Identifier: MIT */
/*
 * The events of a socket. Where the system has no memory for what was asked of it (sock_lacks_memory()), that passes, but events would tell
 * all the time to ask again: then there are none for a moment.
 */
#pragma once

#include "os/loop.h"

struct sockwatch {
	struct loop *loop;
	int fd; /* -1: none */
	struct ref ref;
	uint32_t want, armed; /* events: while there is no rest; of now */
	struct timer rest; /* armed: there are none */
};

void sockwatch_init(struct sockwatch *w, struct loop *loop);

/* Enters fd into the loop. -errno. */
MUST_USE int sockwatch_begin(struct sockwatch *w, int fd, struct ref ref, uint32_t events);

/* Takes it out again; nothing without one. */
void sockwatch_end(struct sockwatch *w);

/* Other events from now on, or from the end of the rest on; nothing without a socket. What the system refuses is tried again. */
void sockwatch_set(struct sockwatch *w, uint32_t events);

/* The same socket with another reference, without a rest. */
void sockwatch_next(struct sockwatch *w, struct ref ref, uint32_t events);

/* No events for a moment, and these behind it. */
void sockwatch_rest(struct sockwatch *w, uint32_t events);

static inline bool sockwatch_rests(const struct sockwatch *w)
{
	return timer_armed(&w->rest);
}
