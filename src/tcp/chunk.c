/* SPDX-License-Identifier: MIT */
#include "tcp/chunk.h"

#include <stdlib.h>
#include <sys/mman.h>

#define CHUNKS_KEEP 16u /* of them the pages stay: a chunk now and then costs no system call */

struct chunk_pool {
	uint8_t *mem;
	uint32_t *next; /* for each chunk: what its owner set, or the next of the free list */
	uint32_t chunks;
	uint32_t fresh; /* chunks from here on were never used */
	uint32_t free; /* first of the free list */
	uint32_t used;
};

struct chunk_pool *chunk_pool_new(uint32_t chunks)
{
	struct chunk_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->chunks = chunks;
	p->next = calloc(chunks, sizeof(*p->next));
	p->mem =
		mmap(NULL, (size_t)chunks * CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (!p->next || p->mem == MAP_FAILED) {
		if (p->mem != MAP_FAILED)
			munmap(p->mem, (size_t)chunks * CHUNK_SIZE);
		free(p->next);
		free(p);
		return NULL;
	}
	return p;
}

void chunk_pool_free(struct chunk_pool *p)
{
	if (!p)
		return;
	munmap(p->mem, (size_t)p->chunks * CHUNK_SIZE);
	free(p->next);
	free(p);
}

uint32_t chunk_pool_used(const struct chunk_pool *p)
{
	return p->used;
}

bool chunk_pool_scarce(const struct chunk_pool *p)
{
	return p->used >= p->chunks / 2;
}

void *chunk_mem(const struct chunk_pool *p, uint32_t chunk)
{
	return p->mem + (size_t)(chunk - 1) * CHUNK_SIZE;
}

uint32_t chunk_of(const struct chunk_pool *p, const void *mem)
{
	return (uint32_t)((size_t)((const uint8_t *)mem - p->mem) / CHUNK_SIZE) + 1;
}

uint32_t chunk_next(const struct chunk_pool *p, uint32_t chunk)
{
	return p->next[chunk - 1];
}

void chunk_set_next(struct chunk_pool *p, uint32_t chunk, uint32_t next)
{
	p->next[chunk - 1] = next;
}

uint32_t chunk_get(struct chunk_pool *p)
{
	uint32_t c = p->free;

	if (c)
		p->free = p->next[c - 1];
	else if (p->fresh < p->chunks)
		c = ++p->fresh;
	else
		return 0;
	p->next[c - 1] = 0;
	p->used++;
	return c;
}

void chunk_put(struct chunk_pool *p, uint32_t c)
{
	p->next[c - 1] = p->free;
	p->free = c;
	if (--p->used || p->fresh <= CHUNKS_KEEP)
		return;
	/* All back: give the pages to the kernel, so that a burst long ago does not stay in our resident set. */
	madvise(p->mem, (size_t)p->fresh * CHUNK_SIZE, MADV_DONTNEED);
	p->fresh = 0;
	p->free = 0;
}
