/* SPDX-License-Identifier: MIT */
/*
 * Hop limit and type of service of the guest's packets, as options of the socket that they leave by: they cost a call only when they
 * change.
 */
#pragma once

#include "fwd/out.h"

struct ipopts {
	bool v4, group; /* where the socket sends to */
	bool tells_ttl; /* of what arrives (os/hops.h) */
	uint8_t ttl, tos; /* what it has; ttl 0: not known */
};

/* Of a new socket, made as out says, that is to send to this address, in the host's view. */
void ipopts_init(struct ipopts *o, const struct outbound *out, const struct addr *to);

static inline bool ipopts_same(const struct ipopts *o, uint8_t ttl, uint8_t tos)
{
	return o->ttl == ttl && o->tos == tos;
}

/*
 * What differs is set. -errno if something can't be; it counts as set even then, once is enough. Who sets a low hop limit looks for the
 * way: from then on the socket tells that of what comes back, too.
 */
int ipopts_set(struct ipopts *o, int fd, uint8_t ttl, uint8_t tos);
