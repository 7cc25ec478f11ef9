/* SPDX-License-Identifier: MIT */
#include "core/share.h"

#include "os/rlimit.h"
#include "tcp/hand.h"

/* Where a UNIX socket can't be joined with one of the guest's network. */
static bool wants_unix_in(const struct engine *e)
{
	return (conf_has_control(e->conf) || fwd_table_has(&e->in, FWD_AT_PATH)) && !e->pasta && e->conf->tcp;
}

static unsigned what_there_is(const struct engine *e)
{
	unsigned what = e->conf->ns.splice_only ? 0 : BUDGET_LINK;

	if (e->pasta)
		what |= BUDGET_LOOPBACK;
	if (e->pasta && e->pasta->annex.h.fd >= 0)
		what |= BUDGET_HANDOVER;
	return what;
}

/* Automatic ports are closed most of the time. */
struct budget share_find(struct engine *e)
{
	uint64_t held = (uint64_t)listeners_held(&e->listeners) + listeners_held(&e->ns_listeners), limit;
	unsigned what = what_there_is(e);

	if (what & BUDGET_HANDOVER)
		held += HAND_PORTS;
	limit = rlimit_nofile_want(budget_want(held, what));
	if (wants_unix_in(e)) {
		e->unix_in_max = (uint32_t)MIN(limit / 32 + 1, (uint64_t)UNIX_IN_MAX);
		held += UINT64_C(2) * (e->unix_in_max + MIN(e->unix_in_max, UNIX_IN_PIPES));
	}
	return budget_share(limit, held, what);
}
