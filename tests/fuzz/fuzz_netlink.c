/* SPDX-License-Identifier: MIT */
/* One datagram of rtnetlink, and the choices that start-up makes from its entries. */
#include <assert.h>

#include "conf/discover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct all {
	struct nexthops nexthops;
	struct pick pick;
	struct pick_addr addr;
	struct pick_static statics;
};

static void feed(void *ctx, const struct nl_entry *e)
{
	struct all *a = ctx;

	if (e->kind == NL_LINK)
		assert(e->link.index && strnlen(e->link.name, NL_NAME_MAX) < NL_NAME_MAX);
	pick_nexthop(&a->nexthops, e);
	pick_route(&a->pick, e);
	pick_addr(&a->addr, e);
	pick_static(&a->statics, e);
	assert(a->pick.ifindex != 1 && a->nexthops.n <= DISCOVER_NEXTHOPS && a->statics.n <= GUESTCONF_ROUTES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct all a = { .addr.ifindex = 2, .statics.ifindex = 2 };
	bool intr = false;
	int r;

	a.pick.nexthops = a.statics.nexthops = &a.nexthops;
	r = nl_parse(data, len, 0, &intr, feed, &a);
	assert(r <= 1);
	return 0;
}
