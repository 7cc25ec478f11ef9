/* SPDX-License-Identifier: MIT */
/*
 * Survives SIGBUS on memory that others can take away.
 *
 * Who maps a file of somebody else's gets SIGBUS on access to pages that the owner has cut off (mmap(2)). A guard is asked about the
 * address, maps something else there, and the access is made again. A signal that no guard knows about ends the process as always.
 * System calls on such memory fail with EFAULT and raise no signal.
 */
#pragma once

#include "base/defs.h"

struct busguard {
	bool (*fix)(void *ctx, void *addr); /* inside the signal handler; true if there is memory at addr now */
	void *ctx;
	struct busguard *next;
};

/* The first one installs the handler; -errno of sigaction(2). The guard is the caller's, and stays until busguard_del(). */
MUST_USE int busguard_add(struct busguard *g);
void busguard_del(struct busguard *g);
