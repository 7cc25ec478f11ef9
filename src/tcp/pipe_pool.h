/* SPDX-License-Identifier: MIT */
/* Pipes for the splice engine: taken when data flows, given back empty, kept for the next one. */
#pragma once

#include "os/pipe.h"

#define PIPE_POOL_KEEP 64 /* empty pipes that are kept open */
#define PIPE_POOL_BIG (512u << 10) /* size that is asked for */
#define PIPE_POOL_SMALL (64u << 10) /* below that, copying is faster */
#define PIPE_POOL_PAUSE 1000 /* requests that get none, after one that could not be met */

struct pipe_pool {
	struct pipe idle[PIPE_POOL_KEEP];
	unsigned n_idle;
	unsigned open, max; /* pipes, in use or idle */
	unsigned big, big_max; /* those of them that were made big */
	unsigned pause; /* requests that are not tried */
	uint64_t short_of; /* times that there was none */
};

/*
 * All pipes of one user share a budget of memory (pipe(7)): big_max bounds how much of it is asked for. When it is spent, by whomever,
 * the kernel gives pipes that hold next to nothing; those are not taken.
 */
void pipe_pool_init(struct pipe_pool *pp, unsigned max, unsigned big_max);
void pipe_pool_fini(struct pipe_pool *pp); /* closes the idle ones */

/* Closes idle ones beyond that many, so that others find something of the budget. */
void pipe_pool_trim(struct pipe_pool *pp, unsigned keep);

/* An empty pipe. False: none is to be had now. */
MUST_USE bool pipe_pool_get(struct pipe_pool *pp, struct pipe *ret_pipe);

/* Gives *p back, or closes it if there is something in it; *p is PIPE_NONE then. */
void pipe_pool_put(struct pipe_pool *pp, struct pipe *p, bool empty);
