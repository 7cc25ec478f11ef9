/* SPDX-License-Identifier: MIT */
/*
 * Connections that are joined with new ones to the namespace. A connection that finds no socket of the namespace in stock waits until the
 * agent has answered, but not for ever; one that nobody can be found for is reset, and so are all that wait at the end.
 */
#pragma once

#include "core/pool.h"
#include "os/loop.h"
#include "tcp/splice.h"

#define JOIN_WAIT_MAX 256 /* connections */
#define JOIN_WAIT_NS (10 * NSEC_PER_SEC)

struct join {
	struct loop *loop;
	struct pool *pool;
	struct splice *splice;
	struct timer late; /* armed while some wait: for the first of them */
	struct {
		int fd;
		unsigned way;
		struct ep dst;
		uint64_t due_ns;
	} wait[JOIN_WAIT_MAX]; /* in the order in which they came */
	unsigned n;
};

void join_init(struct join *j, struct loop *loop, struct pool *pool, struct splice *splice);
void join_fini(struct join *j);

/*
 * way: as for splice_open(). Joins the connection fd, which it takes in any case, with one to dst in the namespace. 0, perhaps to wait; -ENOBUFS if too many wait
 * already, -ENOSPC if there are too many connections with those that wait; else -errno of pool_take() or splice_open().
 */
MUST_USE int join_open(struct join *j, unsigned way, int fd, const struct ep *dst);

/* After a pool_reply() that told this of that kind (POOL_KINDS: of none). */
void join_reply(struct join *j, enum pool_kind kind, int err);
