/* SPDX-License-Identifier: MIT */
/* The echo translator among fakes. */
#pragma once

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "icmp/icmp.h"
#include "net.h"

#define FLOWS 64

struct world {
	struct net net;
	struct icmp *icmp;
	struct seen seen, quote;
	struct gframe g;
	unsigned warnings;
	char warning[1024];
};

int world_setup(void **state);
int world_teardown(void **state);

/* An echo request of the guest. */
void world_ping(struct world *w, const struct addr *src, const struct addr *dst, uint16_t id, uint16_t seq, const struct gopt *o);

/* The host's kernel gets the reply to the last request that was sent by this socket: the request, turned around. */
void world_reply(struct world *w, const struct addr *from);

void world_settle(struct world *w);

/* Frame i is an echo reply with this source, identifier and sequence number, and the payload of world_ping(). */
void world_expect(struct world *w, size_t i, const struct addr *src, const struct addr *dst, uint16_t id, uint16_t seq);
