/* SPDX-License-Identifier: MIT */
#include "core/budget.h"

#define KINDS 4 /* of sockets in stock */
#define KINDS_HANDOVER 2 /* more of them */
#define FAMILIES 2
#define FEW 64u /* of each kind there is that much at least */
#define STOCK_MIN 2u
#define STOCK_SHARE 32 /* of this many descriptors, one may be in stock */
#define READY_SHARE 128 /* the same, for those towards the host */

static uint32_t flows_max(unsigned what)
{
	if (!(what & BUDGET_LINK))
		return FEW;
	return what & BUDGET_HANDOVER ? BUDGET_SPLICES : BUDGET_FLOWS;
}

static uint32_t splices_max(unsigned what)
{
	return what & BUDGET_HANDOVER ? BUDGET_FLOWS : BUDGET_SPLICES;
}

static uint32_t kinds(unsigned what)
{
	return KINDS + (what & BUDGET_HANDOVER ? KINDS_HANDOVER : 0);
}

static uint64_t most(unsigned what)
{
	uint64_t n = flows_max(what);

	return what & BUDGET_LOOPBACK ? n + UINT64_C(2) * splices_max(what) + UINT64_C(2) * BUDGET_PIPES + BUDGET_PEERS : n;
}

uint64_t budget_want(uint64_t others, unsigned what)
{
	return most(what | BUDGET_LINK) + others + BUDGET_SPARE + FAMILIES * BUDGET_READY +
	       (what & BUDGET_LOOPBACK ? kinds(what) * BUDGET_STOCK : 0);
}

/* A few, and of the rest in proportion. */
static uint32_t part(uint32_t max, uint64_t have, uint64_t want)
{
	return (uint32_t)(FEW + (max - FEW) * MIN(have, want) / MAX(want, UINT64_C(1)));
}

struct budget budget_share(uint64_t limit, uint64_t others, unsigned what)
{
	bool loopback = what & BUDGET_LOOPBACK;
	uint32_t ready = what & BUDGET_LINK ? (uint32_t)MIN(limit / READY_SHARE, (uint64_t)BUDGET_READY) : 0;
	uint64_t few = loopback ? UINT64_C(6) * FEW : FEW, taken = others + BUDGET_SPARE + FAMILIES * ready + few,
		 want = most(what) - few;
	uint64_t have = limit > taken ? limit - taken : 0;
	struct budget b = { .ready = ready };

	if (loopback) {
		b.stock = (uint32_t)MIN(MAX(have / kinds(what) / STOCK_SHARE, (uint64_t)STOCK_MIN), (uint64_t)BUDGET_STOCK);
		have -= MIN(have, (uint64_t)kinds(what) * b.stock);
		b.splices = part(splices_max(what), have, want);
		b.pipes = part(BUDGET_PIPES, have, want);
		b.peers = part(BUDGET_PEERS, have, want);
	}
	b.flows = part(flows_max(what), have, want);
	return b;
}
