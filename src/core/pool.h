/* SPDX-License-Identifier: MIT */
/* Sockets of the namespace in stock, so that nobody waits for the agent when a connection comes. The stock is filled up off that path. */
#pragma once

#include "netns/agent.h"

#define POOL_KEEP 32 /* of each kind, at most */

enum pool_kind { POOL_TCP4, POOL_TCP6, POOL_UDP4, POOL_UDP6, POOL_KINDS };

struct pool {
	struct agent *agent;
	unsigned kinds; /* the first of them are kept */
	bool stand_in; /* the agent's are those of an annex, and can stand in for others (netns/annex.h) */
	unsigned keep; /* of each kind; below half of that, more are asked for */
	int fd[POOL_KINDS][POOL_KEEP];
	unsigned n[POOL_KINDS];
	struct {
		bool open; /* a reply is on its way: */
		uint32_t cookie;
		bool few; /* the last request failed: next time, for one socket only */
	} ask[POOL_KINDS];
};

/* keep: 1 to POOL_KEEP. */
void pool_init(struct pool *p, struct agent *agent, unsigned keep);

/* The same, for sockets of TCP that can stand in for others. */
void pool_init_annex(struct pool *p, struct agent *agent, unsigned keep);
void pool_fini(struct pool *p);

/* A non-blocking, unconnected socket. -EAGAIN: none in stock, but pool_reply() will tell of this kind. Else -errno of agent_send(). */
MUST_USE int pool_take(struct pool *p, enum pool_kind kind, int *ret_fd);

/* Fills it for the first time, and waits for that: at start only. -errno if the agent is of no use; sockets that it can't open are logged. */
MUST_USE int pool_open(struct pool *p);

/*
 * A reply of the agent of type AGENT_SOCKETS: takes the descriptors. *ret_kind: of this kind, or POOL_KINDS if nobody had asked. -errno,
 * logged: not even one is to be had, and nobody asks again until somebody needs one.
 */
int pool_reply(struct pool *p, const struct agent_reply *r, const int *fds, enum pool_kind *ret_kind);
