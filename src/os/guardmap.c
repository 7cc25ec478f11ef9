/* SPDX-License-Identifier: MIT */
#include "os/guardmap.h"

static bool map_holds(void *ctx, void *addr)
{
	return filemap_holds(&((struct guardmap *)ctx)->file, addr);
}

static bool map_fix(void *ctx, void *addr)
{
	return filemap_replace(&((struct guardmap *)ctx)->file);
}

int guardmap_open(struct guardmap *g, int fd, uint64_t len, uint64_t offset)
{
	int err = filemap_open(fd, len, offset, &g->file);

	if (err)
		return err;
	g->guard = (struct busguard){ .holds = map_holds, .fix = map_fix, .ctx = g };
	err = busguard_add(&g->guard);
	if (err)
		filemap_close(&g->file);
	return err;
}

void guardmap_close(struct guardmap *g)
{
	if (!g->file.at)
		return;
	busguard_del(&g->guard);
	filemap_close(&g->file);
}
