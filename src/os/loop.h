/* SPDX-License-Identifier: MIT */
/*
 * Event loop over epoll (epoll(7)) with typed references instead of pointers.
 *
 * Whoever wants events registers a handler once and gets an owner number. A descriptor is added with a reference that names the owner,
 * an index of the owner's choice and a generation; the owner compares the generation with that of the slot before it acts, so an
 * event that was already queued for a slot in another life is dropped.
 */
#pragma once

#include <sys/epoll.h>

#include "base/defs.h"
#include "base/spin.h"
#include "base/timer.h"

#define LOOP_OWNERS 32
#define LOOP_EVENTS 64 /* taken from the kernel at once */

struct ref {
	uint32_t index;
	uint32_t gen : 24;
	uint32_t owner : 8;
};

static inline struct ref ref_init(unsigned owner, uint32_t index, uint32_t gen)
{
	return (struct ref){ .index = index, .gen = gen & 0xffffffu, .owner = owner & 0xffu };
}

typedef void loop_event_fn(void *ctx, struct ref ref, uint32_t events);
typedef void loop_turn_fn(void *ctx);

struct loop {
	int epfd;
	bool stop;
	int exit_status;
	uint64_t now_ns; /* CLOCK_MONOTONIC, read once a turn after the wait */
	struct timers timers;
	struct spin spin;
	bool may_spin; /* reading the clock takes no system call */
	unsigned spin_turns; /* since it was turned on */
	uint64_t preemptions;
	loop_turn_fn *turn_end; /* after all events and timers of a turn: flush what was gathered */
	void *turn_ctx;
	unsigned owners;
	struct {
		loop_event_fn *fn;
		void *ctx;
	} owner[LOOP_OWNERS];
	uint64_t turns; /* wake-ups so far */
};

MUST_USE int loop_init(struct loop *l);
void loop_fini(struct loop *l);

/* Number for struct ref.owner; at most LOOP_OWNERS - 1 may be registered, at start. */
unsigned loop_owner(struct loop *l, loop_event_fn *fn, void *ctx);

/* EPOLL_CTL_ADD, MOD, DEL; -errno. Events as for epoll_ctl(2), EPOLLET included. What is not there can be taken out as well. */
MUST_USE int loop_add(struct loop *l, int fd, struct ref ref, uint32_t events);
MUST_USE int loop_mod(struct loop *l, int fd, struct ref ref, uint32_t events);
void loop_del(struct loop *l, int fd);

/* One turn: wait for events or the next timer, run them, then turn_end. -errno if epoll_wait() failed other than by EINTR. */
MUST_USE int loop_turn(struct loop *l);

/* Turns until loop_stop(); returns its status, or -errno. */
int loop_run(struct loop *l);
void loop_stop(struct loop *l, int status);
