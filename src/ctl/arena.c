/* SPDX-License-Identifier: MIT */
#include "ctl/arena.h"

#include <errno.h>
#include <jansson.h>
#include <sys/mman.h>
#include <sys/random.h>

#define ALIGN 16u

/* jansson's functions get no context. */
static struct {
	uint8_t *mem;
	size_t used;
	size_t live; /* pieces that were not given back */
} arena;

static void *arena_alloc(size_t len)
{
	size_t need = (len + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	void *p;

	if (len > CTL_ARENA_SIZE || need > CTL_ARENA_SIZE - arena.used)
		return NULL;
	p = arena.mem + arena.used;
	arena.used += need;
	arena.live++;
	return p;
}

/* Nothing is used again before everything is free: messages are short-lived. */
static void arena_free(void *p)
{
	if (p && !--arena.live)
		arena.used = 0;
}

int ctl_arena_open(void)
{
	size_t seed = 0;
	void *mem;

	mem = mmap(NULL, CTL_ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -ENOMEM;
	arena.mem = mem;
	json_set_alloc_funcs(arena_alloc, arena_free);
	/* Else it would look for one when it first needs it, in files that are out of reach then. */
	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
	json_object_seed(seed | 1);
	return 0;
}

void ctl_arena_reset(void)
{
	arena.used = arena.live = 0;
}

size_t ctl_arena_live(void)
{
	return arena.live;
}
