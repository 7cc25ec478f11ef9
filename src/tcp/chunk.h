/* SPDX-License-Identifier: MIT */
/*
 * Memory for what only connections in trouble need: chunks of one size from a pool that is mapped once. Pages are used when chunks are,
 * and but for a few go back to the kernel when no chunk is in use any more.
 */
#pragma once

#include "base/defs.h"

#define CHUNK_SIZE 16384u
#define CHUNKS_MAX 8192u /* 128 MiB for all connections together */

struct chunk_pool;

/* NULL if there is no memory. */
struct chunk_pool *chunk_pool_new(uint32_t chunks);
void chunk_pool_free(struct chunk_pool *p);

/* Chunks in use. */
uint32_t chunk_pool_used(const struct chunk_pool *p);

/* Half of the pool or more is in use: nothing for what the guest would send again. */
bool chunk_pool_scarce(const struct chunk_pool *p);

/* A chunk is a number from 1 on; 0 is none. What a new one holds is undefined. 0: none is left. */
uint32_t chunk_get(struct chunk_pool *p);
void chunk_put(struct chunk_pool *p, uint32_t chunk);

void *chunk_mem(const struct chunk_pool *p, uint32_t chunk);

/* The chunk that mem is the beginning of. */
uint32_t chunk_of(const struct chunk_pool *p, const void *mem);

/* A link from each chunk in use to another, for its owner; 0 in a new one. */
uint32_t chunk_next(const struct chunk_pool *p, uint32_t chunk);
void chunk_set_next(struct chunk_pool *p, uint32_t chunk, uint32_t next);
