/* SPDX-License-Identifier: MIT */
/*
 * Survives SIGBUS on memory that others can take away.
 *
 * Who maps a file of somebody else's gets SIGBUS on access to pages that the owner has cut off (mmap(2)). A guard is asked about the
 * address, maps something else there, and the access is made again. A signal that no guard knows about ends the process as always.
 * System calls on such memory fail with EFAULT and raise no signal: busguard_look() finds out.
 */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"

struct busguard {
	bool (*holds)(void *ctx, void *addr); /* inside the signal handler as well: whether addr is of the guarded memory */
	bool (*fix)(void *ctx, void *addr); /* inside the signal handler, for what it holds; true if there is memory at addr now */
	void *ctx;
	struct busguard *next;
};

/* The first one installs the handler; -errno of sigaction(2). The guard is the caller's, and stays until busguard_del(). */
MUST_USE int busguard_add(struct busguard *g);
void busguard_del(struct busguard *g);

/* After EFAULT of a system call on these pieces: what is of guarded memory is fixed where it is gone. False if nothing is guarded. */
bool busguard_look(const struct iovec *iov, unsigned n);
