/* SPDX-License-Identifier: MIT */
/* A file of ours that a start which fails later has to remove, even when paths lead nowhere any more. */
#pragma once

#include "base/defs.h"

struct leftover {
	int dir_fd; /* -1: nothing to remove */
	const char *name; /* in that folder */
};

static inline struct leftover leftover_none(void)
{
	return (struct leftover){ .dir_fd = -1 };
}

/* The file at the path, which is not copied. -errno: it is removed now, as it could not be later. */
MUST_USE int leftover_note(const char *path, struct leftover *ret_l);

/* Removes it, and forgets it. 0, or -errno if it stays. */
MUST_USE int leftover_remove(struct leftover *l);

/* It is to stay: closes the descriptor. */
void leftover_forget(struct leftover *l);
