/* SPDX-License-Identifier: MIT */
#include "core/budget.h"

#define KINDS 4 /* of sockets in stock */
#define FAMILIES 2
#define FEW 64u /* of each kind there is that much at least */
#define STOCK_MIN 2u
#define STOCK_SHARE 32 /* of this many descriptors, one may be in stock */
#define READY_SHARE 128 /* the same, for those towards the host */

static uint64_t most(bool loopback, bool tap)
{
	uint64_t n = tap ? BUDGET_FLOWS : FEW;

	return loopback ? n + UINT64_C(2) * BUDGET_SPLICES + UINT64_C(2) * BUDGET_PIPES + BUDGET_PEERS : n;
}

uint64_t budget_want(uint64_t others, bool loopback)
{
	return most(loopback, true) + others + BUDGET_SPARE + FAMILIES * BUDGET_READY + (loopback ? KINDS * BUDGET_STOCK : 0);
}

/* A few, and of the rest in proportion. */
static uint32_t part(uint32_t max, uint64_t have, uint64_t want)
{
	return (uint32_t)(FEW + (max - FEW) * MIN(have, want) / MAX(want, UINT64_C(1)));
}

struct budget budget_share(uint64_t limit, uint64_t others, bool loopback, bool tap)
{
	uint32_t ready = tap ? (uint32_t)MIN(limit / READY_SHARE, (uint64_t)BUDGET_READY) : 0;
	uint64_t few = loopback ? UINT64_C(6) * FEW : FEW, taken = others + BUDGET_SPARE + FAMILIES * ready + few,
		 want = most(loopback, tap) - few;
	uint64_t have = limit > taken ? limit - taken : 0;
	struct budget b = { .ready = ready };

	if (loopback) {
		b.stock = (uint32_t)MIN(MAX(have / KINDS / STOCK_SHARE, (uint64_t)STOCK_MIN), (uint64_t)BUDGET_STOCK);
		have -= MIN(have, (uint64_t)KINDS * b.stock);
		b.splices = part(BUDGET_SPLICES, have, want);
		b.pipes = part(BUDGET_PIPES, have, want);
		b.peers = part(BUDGET_PEERS, have, want);
	}
	b.flows = part(tap ? BUDGET_FLOWS : FEW, have, want);
	return b;
}
