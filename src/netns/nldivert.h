/* SPDX-License-Identifier: MIT */
/* Frames that come in by one interface and leave by another, before the kernel's IP has seen them (tc(8): clsact, bpf, mirred). */
#pragma once

#include "netns/annex_filter.h"
#include "netns/nlreq.h"

/* The place on an interface where the following works. -EEXIST: it has one. -ENOENT, -EOPNOTSUPP: the kernel has no such thing. */
MUST_USE int nldivert_open(struct nlreq *q, int ifindex);

struct nldivert {
	int from, to; /* interfaces */
	struct annex_filter what;
	bool copy; /* they stay where they are as well */
	uint16_t prio; /* those of one interface are asked in this order, from 1 on */
};

MUST_USE int nldivert_add(struct nlreq *q, const struct nldivert *d);
