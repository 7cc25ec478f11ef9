/* SPDX-License-Identifier: MIT */
/*
 * Which system calls a process may still make: seccomp(2) filters, made from a table of the caller's by libseccomp. A call that is not in
 * the table is logged by its name, and ends the process.
 */
#pragma once

#include "base/defs.h"

#define SYSCALL_CONDS 2

/* What an argument has to be: (argument & mask) == value. Arguments are numbers as the kernel gets them: pointers can't be followed. */
struct syscall_cond {
	uint64_t mask, value; /* mask 0: no condition */
	unsigned arg; /* 0..5 */
	bool self; /* value is the number of the process that loads the filter */
};

/* For arguments of 32 bits, of which the kernel ignores what a register holds beside them. */
#define SYSCALL_IS(n, what) \
	{ \
		.arg = (n), .mask = UINT32_MAX, .value = (uint32_t)(what) \
	}
#define SYSCALL_SELF(n) \
	{ \
		.arg = (n), .mask = UINT32_MAX, .self = true \
	}
#define SYSCALL_WITHOUT(n, bits) \
	{ \
		.arg = (n), .mask = (bits) \
	}

/* One row: all conditions have to hold. Several rows of one call: any of them will do. A call that the architecture has not is passed over. */
struct syscall_rule {
	const char *name;
	const char *why; /* for people */
	struct syscall_cond cond[SYSCALL_CONDS];
};

struct syscall_table {
	const struct syscall_rule *rule;
	size_t n;
};

/*
 * From here on only what these n tables allow, and what the C library and, in builds with sanitizers, their run-time do by themselves. A second filter
 * takes away what it has not; nothing comes back. No new privileges can be had from here on. -ENOSYS, -EINVAL: the kernel has no filters.
 */
MUST_USE int sysfilter_load(const struct syscall_table *const *t, size_t n);
