/* SPDX-License-Identifier: MIT */
/*
 * The log of pages that were written to, which a front-end shares while it moves its guest to another place: one bit for each 4096
 * bytes of the guest's address space, from address 0 on.
 */
#pragma once

#include "base/defs.h"
#include "os/guardmap.h"

struct dirty {
	struct guardmap map; /* the bits; not mapped: there is no log */
	uint64_t len; /* bytes */
	bool marked; /* since dirty_told() */
};

void dirty_init(struct dirty *d);

/* Maps len bytes at that offset of a file, which stays the caller's; the log before it is gone in any case. -EINVAL, -EFBIG, -errno. */
MUST_USE int dirty_open(struct dirty *d, int fd, uint64_t len, uint64_t offset);
void dirty_close(struct dirty *d);

static inline bool dirty_wanted(const struct dirty *d)
{
	return d->map.file.at;
}

/* Whether anything was noted since the last question. */
static inline bool dirty_told(struct dirty *d)
{
	bool marked = d->marked;

	d->marked = false;
	return marked;
}

/* Notes that the len bytes at address guest were written to. What the log does not reach is left out. */
void dirty_mark(struct dirty *d, uint64_t guest, uint64_t len);
