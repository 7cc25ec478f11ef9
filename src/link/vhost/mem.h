/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory, as a vhost-user front-end describes it: regions, each a piece of a file that is mapped here.
 *
 * A region has an address in the guest, which no other one shares, and one in the front-end, the "user address", by which only rings are
 * named. Everything that comes from outside is checked here: a range that is not wholly memory of the guest is -EFAULT.
 * A file that is cut short after it was mapped does not end the process: its region turns to zeros, and vmem_torn() tells.
 */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"
#include "os/busguard.h"
#include "os/filemap.h"

#define VMEM_REGIONS 512u

/* As in the messages. */
struct vmem_region {
	uint64_t guest;
	uint64_t size;
	uint64_t user;
	uint64_t offset; /* in the file */
};

struct vmem_slot {
	struct vmem_region r;
	struct filemap file; /* not mapped: the slot is free */
	uint32_t added; /* times; it goes when it was taken away as often */
};

struct vmem {
	unsigned n;
	uint16_t order[VMEM_REGIONS]; /* slots in use, by address in the guest */
	struct vmem_slot slot[VMEM_REGIONS];
	struct busguard guard;
	volatile bool torn;
};

/* Pieces of memory of this process, in order; neighbours are joined. */
struct vmem_iovs {
	struct iovec *iov;
	unsigned n, room;
};

MUST_USE int vmem_init(struct vmem *m);
void vmem_fini(struct vmem *m);

/*
 * Maps a region of the file fd, which stays the caller's. -EINVAL: empty, or past the end of an address space; -EEXIST: overlaps another
 * in the guest; -EFBIG: goes beyond the end of the file; -ENOSPC: too many; -errno of fstat(2) or mmap(2). The very region may be there
 * already: QEMU adds each once for every pair of queues, and takes it away as often.
 */
MUST_USE int vmem_add(struct vmem *m, const struct vmem_region *r, int fd);

/* Takes away the region with these two addresses and this size; -ENOENT. Nobody may hold a pointer into it any more. */
MUST_USE int vmem_del(struct vmem *m, const struct vmem_region *r);

void vmem_clear(struct vmem *m); /* unmaps all; what was torn is forgotten */

/* True if a file was cut short. Only another table, or another front-end, makes it good again. */
static inline bool vmem_torn(const struct vmem *m)
{
	return m->torn;
}

/* Appends the len bytes at address guest to v. -EFAULT; -ENOBUFS if v is full: what fitted is in it. */
MUST_USE int vmem_iov(const struct vmem *m, uint64_t guest, uint64_t len, struct vmem_iovs *v);

/* Copies len bytes from address guest, each read once; what arrives does not change any more. -EFAULT: part of it may have been copied. */
MUST_USE int vmem_read(const struct vmem *m, uint64_t guest, void *dst, size_t len);

/* Memory of len bytes at an address of the front-end, within one region; NULL if there is none. */
void *vmem_user(const struct vmem *m, uint64_t user, uint64_t len);

/* Address in the guest of memory of this process; -EFAULT if it is no region's. */
MUST_USE int vmem_guest(const struct vmem *m, const void *host, uint64_t *ret_guest);
