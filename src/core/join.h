/* SPDX-License-Identifier: MIT */
/*
 * Connections that are joined with new ones to the namespace. A connection that finds no socket of the namespace in stock waits until the
 * agent has answered, and for want of descriptors or memory longer than that, but not for ever; one that nobody can be found for is reset,
 * and so are all that wait at the end.
 *
 * One that waits has a descriptor, and needs another one. So that there is one left, no more should be taken while join_waits().
 */
#pragma once

#include "core/pool.h"
#include "os/loop.h"
#include "tcp/splice.h"

#define JOIN_WAIT_MAX 256 /* connections */
#define JOIN_WAIT_NS (10 * NSEC_PER_SEC)
#define JOIN_AGAIN_NS (500 * NSEC_PER_MSEC) /* until the next try, in a shortage */

/* Who a socket stands in for, where it can (netns/annex.h). */
struct join_as {
	struct ep ep; /* port 0: nobody */
	uint8_t tos; /* of what it sends */
};

struct join {
	struct loop *loop;
	struct pool *pool;
	struct splice *splice;
	struct timer late; /* armed while some wait: until the first of them has to go, or the next try */
	uint64_t again_ns; /* when that is; 0: what was asked for is on its way */
	struct {
		int fd;
		struct join_as as;
		unsigned way;
		struct ep dst;
		uint64_t due_ns;
	} wait[JOIN_WAIT_MAX]; /* in the order in which they came */
	unsigned n;
};

void join_init(struct join *j, struct loop *loop, struct pool *pool, struct splice *splice);
void join_fini(struct join *j);

/*
 * way: as for splice_open(). Joins the connection fd, which it takes in any case, with one to dst in the namespace. 0, perhaps to wait;
 * -ENOBUFS if too many wait already, -ENOSPC if there are too many connections with those that wait; else -errno of pool_take() or
 * splice_open().
 */
MUST_USE int join_open(struct join *j, unsigned way, int fd, const struct ep *dst);

static inline bool join_waits(const struct join *j)
{
	return j->n;
}

/* The same, by a socket that stands in for somebody. */
MUST_USE int join_open_as(struct join *j, int fd, const struct join_as *as, const struct ep *dst);

/* After a pool_reply() that told this of that kind (POOL_KINDS: of none). */
void join_reply(struct join *j, enum pool_kind kind, int err);
