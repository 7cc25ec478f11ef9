/* SPDX-License-Identifier: MIT */
#include "link/vhost/dirty.h"

#define LOG_PAGE 4096u

void dirty_init(struct dirty *d)
{
	*d = (struct dirty){ .len = 0 };
}

void dirty_close(struct dirty *d)
{
	guardmap_close(&d->map);
}

/* If its file is cut short, the log is ours alone: the front-end has taken away what it wanted to read. */
int dirty_open(struct dirty *d, int fd, uint64_t len, uint64_t offset)
{
	int err;

	dirty_close(d);
	err = guardmap_open(&d->map, fd, len, offset);
	if (!err)
		d->len = len;
	return err;
}

void dirty_mark(struct dirty *d, uint64_t guest, uint64_t len)
{
	uint64_t page = guest / LOG_PAGE;
	uint64_t last;

	if (!dirty_wanted(d) || !len || len > UINT64_MAX - guest)
		return;
	last = MIN((guest + len - 1) / LOG_PAGE, d->len * 8 - 1);
	d->marked = true;
	for (; page <= last; page++)
		__atomic_fetch_or(&d->map.file.at[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_RELAXED);
}
