/* SPDX-License-Identifier: MIT */
/*
 * TCP between two namespaces without a guest's frame in between: two connected sockets, data moved by splice(2), through a pipe for
 * each direction. What happens on one side is made to happen on the other: end of file and half-close, reset, urgent data, and that
 * somebody doesn't read. The process has to ignore SIGPIPE.
 */
#pragma once

#include "base/addr.h"
#include "os/loop.h"

struct splice_conf {
	struct loop *loop;
	uint32_t max; /* connections */
	unsigned pipes_max; /* beyond that many pipes at once, data is copied */
	unsigned pipes_big; /* so many of them may be larger than the default */
};

struct splice_stats {
	uint64_t opened; /* connections to the other side that were started */
	uint64_t refused; /* of these, those that did not succeed */
	uint64_t closed, reset; /* ends of connections */
	uint64_t bytes[2]; /* from the accepted socket, and to it */
	uint64_t copied; /* of these, those that found no pipe */
	uint64_t urgent; /* bytes passed on as such */
	uint32_t now; /* connections that live */
};

/* Which side the accepted socket is on: that of the host, or the guest's. */
enum splice_way { SPLICE_IN, SPLICE_OUT };

/* Added to a way. UNIX sockets of the stream kind have no urgent data, and no reset but the end. */
#define SPLICE_FROM_UNIX 2u /* the accepted socket is one */
#define SPLICE_TO_UNIX 4u /* the other one is, and is connected already */

/* A connection, for those who look on. */
struct splice_show {
	const char *state;
	enum splice_way way;
	uint64_t born_ns;
	uint64_t bytes[2]; /* as in struct splice_stats */
	int fd[2]; /* accepted, connected */
};

struct splice;

/* NULL: no memory. Slots are mapped once; pages are used when slots are. */
struct splice *splice_new(const struct splice_conf *c);

/* Resets all connections. */
void splice_free(struct splice *s);

/*
 * way: enum splice_way, and perhaps what may be added to it. Connects the stream socket to (of the address family of dst, not connected,
 * perhaps bound) to dst, and joins it with the connection from. Takes both in any case. On failure, now or later, from is reset. -ENOSPC:
 * too many connections; other -errno as for connect(2).
 */
MUST_USE int splice_open(struct splice *s, unsigned way, int from, int to, const struct ep *dst);

/*
 * Joins two that are connected already. Takes both in any case. to is in the loop, and is watched by us from now on. On failure, both are
 * reset. -ENOSPC as above.
 */
MUST_USE int splice_join(struct splice *s, unsigned way, int from, int to);

/* How many connections there may be, and how many more than there are. */
uint32_t splice_max(const struct splice *s);
uint32_t splice_room(const struct splice *s);

/* The first connection in slot *slot or behind it, before slot end; *slot is its slot. False: there is none. */
bool splice_next(const struct splice *s, uint32_t *slot, uint32_t end, struct splice_show *ret_show);

const struct splice_stats *splice_stats(const struct splice *s);
