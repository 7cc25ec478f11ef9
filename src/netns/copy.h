/* SPDX-License-Identifier: MIT */
/*
 * The host's addresses and routes of an interface, as those of the one interface in the namespace. Pure, but for warnings and nscopy_host().
 *
 * Feed entries of nexthops, then addresses, then routes to nscopy_entry(), and end with nscopy_finish().
 */
#pragma once

#include "netns/config.h"
#include "os/netlink.h"

#define NSCOPY_NEXTHOPS 64 /* objects that routes may refer to */
#define NSCOPY_OTHERS 32

struct nscopy_family {
	unsigned ifindex; /* template; 0: nothing of this family is copied */
	bool addrs, routes; /* what to copy */
	bool has_default; /* in the main table */
	bool has_other; /* a default route of another table, */
	struct nl_route other; /* the best by metric: taken if there is none in the main one */
};

struct nscopy {
	struct nscopy_family v4, v6;
	struct nsconf *conf; /* is added to; not owned */
	struct nl_nexthop nexthop[NSCOPY_NEXTHOPS];
	unsigned n_nexthops;
	bool nexthops_lost; /* there were more */
	struct nsconf_addr elsewhere[NSCOPY_OTHERS]; /* addresses of other interfaces: routes may prefer one as the source */
	unsigned n_elsewhere;
	unsigned lost; /* addresses and routes that can't be copied; each was a warning, */
	unsigned too_many; /* but for these of them, which nscopy_finish() warns about */
	unsigned without; /* routes that are copied without some of their attributes; likewise */
};

/* An nl_entry_fn; ctx is a struct nscopy. */
void nscopy_entry(void *ctx, const struct nl_entry *e);
void nscopy_finish(struct nscopy *k);

/*
 * All of it, from the kernel. The interfaces and what to copy are set before; the rest is zero. What can't be read is a warning.
 */
void nscopy_host(struct nscopy *k);
