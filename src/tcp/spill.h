/* SPDX-License-Identifier: MIT */
/*
 * Bytes that the guest was invited to send and the host's socket did not take at once: a queue for each connection, in chunks of the
 * pool. A connection never holds more than the window that it offered.
 */
#pragma once

#include <sys/uio.h>

#include "tcp/chunk.h"

/* All zero is an empty queue. */
struct spill {
	uint32_t head, tail; /* chunks; 0: none */
	uint32_t off; /* of the first byte in the head chunk */
	uint32_t len; /* bytes in the queue */
};

/* Appends len bytes of the vector from offset skip on. Returns how many found room: fewer only if the pool is exhausted. */
size_t spill_put(struct chunk_pool *p, struct spill *s, const struct iovec *iov, unsigned n, size_t skip, size_t len);

/* The first bytes of the queue, up to max entries; returns the number of entries. */
unsigned spill_peek(const struct chunk_pool *p, const struct spill *s, struct iovec *iov, unsigned max);

/* Takes len bytes, at most s->len, off the front. */
void spill_drop(struct chunk_pool *p, struct spill *s, size_t len);
