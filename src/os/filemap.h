/* SPDX-License-Identifier: MIT */
/* A piece of somebody else's file, mapped for reading and writing, shared. */
#pragma once

#include "base/defs.h"

struct filemap {
	uint8_t *at; /* where the piece begins; NULL: nothing is mapped */
	void *map; /* what was mapped, from a page boundary on */
	size_t map_len;
};

/* The descriptor stays the caller's. -EINVAL: empty, or past all ends; -EFBIG: beyond the end of the file; -errno of fstat(2), mmap(2). */
MUST_USE int filemap_open(int fd, uint64_t len, uint64_t offset, struct filemap *ret_map);
void filemap_close(struct filemap *f);

bool filemap_holds(const struct filemap *f, const void *addr);

/* Puts zeros of our own in its place, when the file was cut short (os/busguard.h). May be called in a signal handler. */
MUST_USE bool filemap_replace(const struct filemap *f);
