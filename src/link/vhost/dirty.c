/* SPDX-License-Identifier: MIT */
#include "link/vhost/dirty.h"

#define LOG_PAGE 4096u

static bool dirty_holds(void *ctx, void *addr)
{
	return filemap_holds(&((struct dirty *)ctx)->file, addr);
}

/* Without its file, the log is ours alone: the front-end has taken away what it wanted to read. */
static bool dirty_fix(void *ctx, void *addr)
{
	struct dirty *d = ctx;

	return filemap_replace(&d->file);
}

void dirty_init(struct dirty *d)
{
	*d = (struct dirty){ .guard = { .holds = dirty_holds, .fix = dirty_fix, .ctx = d } };
}

void dirty_close(struct dirty *d)
{
	if (!dirty_wanted(d))
		return;
	busguard_del(&d->guard);
	filemap_close(&d->file);
}

int dirty_open(struct dirty *d, int fd, uint64_t len, uint64_t offset)
{
	int err;

	dirty_close(d);
	err = filemap_open(fd, len, offset, &d->file);
	if (err)
		return err;
	err = busguard_add(&d->guard);
	if (err) {
		filemap_close(&d->file);
		return err;
	}
	d->len = len;
	return 0;
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
		__atomic_fetch_or(&d->file.at[page / 8], (uint8_t)(1u << page % 8), __ATOMIC_RELAXED);
}
