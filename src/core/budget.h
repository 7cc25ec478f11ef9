/* SPDX-License-Identifier: MIT */
/* What may be open at once: descriptors are one stock, and no kind of traffic shall find that another one has used it up. Pure. */
#pragma once

#include "base/defs.h"

#define BUDGET_FLOWS 65536u /* at most; one descriptor each */
#define BUDGET_SPLICES 16384u /* connections from loopback to loopback, of two sockets */
#define BUDGET_PIPES 1024u /* of two descriptors, for the busiest of those */
#define BUDGET_PEERS 4096u /* of datagrams from loopback to loopback, of one socket each */
#define BUDGET_STOCK 32u /* sockets of the namespace, of each kind */
#define BUDGET_READY 16u
#define BUDGET_SPARE 64u /* descriptors for everything else but listeners */

struct budget {
	uint32_t flows;
	uint32_t ready; /* sockets towards the host, of each family, that are made before there is a flow for them */
	uint32_t splices, pipes, peers, stock; /* 0 without loopback: passt */
};

/* What there is. */
#define BUDGET_LOOPBACK 1u /* traffic from loopback to loopback */
#define BUDGET_LINK 2u /* other traffic */
#define BUDGET_HANDOVER 4u /* with both: most connections become pairs of sockets, so flows and splices change places */

/* The number of descriptors that suffices for the most of everything, beside that many others. */
uint64_t budget_want(uint64_t others, unsigned what);

/*
 * How a limit is shared, of which others have that many. What doesn't suffice for the most of everything is shared in proportion;
 * there is always a little of everything, as some of it is closed most of the time.
 */
struct budget budget_share(uint64_t limit, uint64_t others, unsigned what);
