/* SPDX-License-Identifier: MIT */
/*
 * Bytes that the guest was invited to send and the host's socket did not take at once: a queue for each connection, in chunks of one
 * pool that is mapped once. A connection never holds more than the window that it offered.
 */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"

#define SPILL_CHUNK 16384u
#define SPILL_CHUNKS_MAX 8192u /* 128 MiB for all connections together */

struct spill_pool;

/* Maps the pool; pages are used when chunks are. NULL if there is no memory. */
struct spill_pool *spill_pool_new(uint32_t chunks);
void spill_pool_free(struct spill_pool *p);

/* Chunks in use. */
uint32_t spill_pool_used(const struct spill_pool *p);

/* All zero is an empty queue. */
struct spill {
	uint32_t head, tail; /* chunk numbers plus one; 0: none */
	uint32_t off; /* of the first byte in the head chunk */
	uint32_t len; /* bytes in the queue */
};

/* Appends len bytes of the vector from offset skip on. Returns how many found room: fewer only if the pool is exhausted. */
size_t spill_put(struct spill_pool *p, struct spill *s, const struct iovec *iov, unsigned n, size_t skip, size_t len);

/* The first bytes of the queue, up to max entries; returns the number of entries. */
unsigned spill_peek(const struct spill_pool *p, const struct spill *s, struct iovec *iov, unsigned max);

/* Takes len bytes, at most s->len, off the front. */
void spill_drop(struct spill_pool *p, struct spill *s, size_t len);
