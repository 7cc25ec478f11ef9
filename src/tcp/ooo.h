/* SPDX-License-Identifier: MIT */
/*
 * Segments of the guest that came ahead of a hole. They are kept at their place in sequence space until the hole is filled, and told to
 * the guest by SACK (RFC 2018). Nothing is lost with them: the guest holds all of it until it is acknowledged, so where memory is short
 * they are dropped, as section 8 allows.
 *
 * What is kept lies within OOO_SPAN of what is expected next. Without a hole there is no queue: its pointer is NULL and costs nothing.
 */
#pragma once

#include <sys/uio.h>

#include "tcp/chunk.h"
#include "wire/tcp.h"

#define OOO_RANGES 128 /* with a hole between each */
#define OOO_SLOTS 512u /* a power of two */
#define OOO_SPAN ((OOO_SLOTS - 1) * CHUNK_SIZE)

struct ooo;

/* A segment: len bytes from offset off of the vector on, at seq; fin: the FIN stands behind them. */
struct ooo_seg {
	const struct iovec *iov;
	unsigned n;
	size_t off;
	uint32_t seq, len;
	bool fin;
};

/* Keeps s, of which nothing lies before nxt, the next expected; as much of it as there is room for. Makes *o if need be. */
void ooo_put(struct chunk_pool *p, struct ooo **o, uint32_t nxt, const struct ooo_seg *s);

/* The bytes that are kept from nxt on without a hole, up to max entries; returns the number of entries. */
unsigned ooo_peek(const struct chunk_pool *p, const struct ooo *o, uint32_t nxt, struct iovec *iov, unsigned max);

/* Whether the FIN is what comes at nxt. */
bool ooo_fin(const struct ooo *o, uint32_t nxt);

/* Forgets all before nxt; *o is NULL if nothing is left. */
void ooo_drop(struct chunk_pool *p, struct ooo **o, uint32_t nxt);
void ooo_free(struct chunk_pool *p, struct ooo **o);

/* The ranges that are kept, the one that grew last first (RFC 2018 section 4); returns their number, at most max. */
unsigned ooo_blocks(const struct ooo *o, struct tcp_sack *ret_block, unsigned max);
