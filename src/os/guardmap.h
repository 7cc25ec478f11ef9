/* SPDX-License-Identifier: MIT */
/* A piece of somebody else's file (os/filemap.h) that turns to zeros of our own when the file is cut short (os/busguard.h). */
#pragma once

#include "os/busguard.h"
#include "os/filemap.h"

struct guardmap {
	struct filemap file; /* file.at NULL: nothing is mapped */
	struct busguard guard;
};

/* Errors as of filemap_open() and busguard_add(). It must not move until guardmap_close(), which has no effect where nothing is mapped. */
MUST_USE int guardmap_open(struct guardmap *g, int fd, uint64_t len, uint64_t offset);
void guardmap_close(struct guardmap *g);
