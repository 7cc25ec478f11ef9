/* SPDX-License-Identifier: MIT */
#include "tcp/spill.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/iov.h"

struct spill_pool {
	uint8_t *mem;
	uint32_t *next; /* for each chunk: the one behind it in its queue or in the free list, plus one */
	uint32_t chunks;
	uint32_t fresh; /* chunks from here on were never used */
	uint32_t free; /* first of the free list, plus one */
	uint32_t used;
};

struct spill_pool *spill_pool_new(uint32_t chunks)
{
	struct spill_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->chunks = chunks;
	p->next = calloc(chunks, sizeof(*p->next));
	p->mem = mmap(NULL, (size_t)chunks * SPILL_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		      0);
	if (!p->next || p->mem == MAP_FAILED) {
		if (p->mem != MAP_FAILED)
			munmap(p->mem, (size_t)chunks * SPILL_CHUNK);
		free(p->next);
		free(p);
		return NULL;
	}
	return p;
}

void spill_pool_free(struct spill_pool *p)
{
	if (!p)
		return;
	munmap(p->mem, (size_t)p->chunks * SPILL_CHUNK);
	free(p->next);
	free(p);
}

uint32_t spill_pool_used(const struct spill_pool *p)
{
	return p->used;
}

static uint8_t *spill_mem(const struct spill_pool *p, uint32_t chunk)
{
	return p->mem + (size_t)(chunk - 1) * SPILL_CHUNK;
}

/* Chunk number plus one, or 0. */
static uint32_t spill_chunk_get(struct spill_pool *p)
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

static void spill_chunk_put(struct spill_pool *p, uint32_t c)
{
	p->next[c - 1] = p->free;
	p->free = c;
	if (--p->used)
		return;
	/* All back: give the pages to the kernel, so that a burst long ago does not stay in our resident set. */
	madvise(p->mem, (size_t)p->fresh * SPILL_CHUNK, MADV_DONTNEED);
	p->fresh = 0;
	p->free = 0;
}

/* Room behind the last byte; takes a new chunk if there is none. 0 if the pool is exhausted. */
static uint32_t spill_room(struct spill_pool *p, struct spill *s, uint8_t **ret_at)
{
	uint32_t end = (s->off + s->len) % SPILL_CHUNK, c;

	if (!s->tail || (!end && s->len)) {
		c = spill_chunk_get(p);
		if (!c)
			return 0;
		if (s->tail)
			p->next[s->tail - 1] = c;
		else
			s->head = c;
		s->tail = c;
	}
	*ret_at = spill_mem(p, s->tail) + end;
	return SPILL_CHUNK - end;
}

size_t spill_put(struct spill_pool *p, struct spill *s, const struct iovec *iov, unsigned n, size_t skip, size_t len)
{
	size_t done = 0;

	while (done < len) {
		uint8_t *at;
		size_t room = spill_room(p, s, &at);

		if (!room)
			break;
		room = iov_copy_out(iov, n, skip + done, at, MIN(room, len - done));
		if (!room)
			break;
		s->len += (uint32_t)room;
		done += room;
	}
	return done;
}

unsigned spill_peek(const struct spill_pool *p, const struct spill *s, struct iovec *iov, unsigned max)
{
	uint32_t left = s->len, off = s->off, c = s->head;
	unsigned n = 0;

	for (; left && n < max; n++) {
		uint32_t part = MIN(left, SPILL_CHUNK - off);

		iov[n] = (struct iovec){ .iov_base = spill_mem(p, c) + off, .iov_len = part };
		left -= part;
		off = 0;
		c = p->next[c - 1];
	}
	return n;
}

void spill_drop(struct spill_pool *p, struct spill *s, size_t len)
{
	uint32_t left = (uint32_t)MIN(len, (size_t)s->len);

	s->len -= left;
	while (left || (s->head && !s->len)) {
		uint32_t part = MIN(left, SPILL_CHUNK - s->off), c = s->head;

		left -= part;
		s->off += part;
		if (s->off < SPILL_CHUNK && s->len)
			break;
		s->head = p->next[c - 1];
		s->off = 0;
		if (!s->head)
			s->tail = 0;
		spill_chunk_put(p, c);
	}
}
