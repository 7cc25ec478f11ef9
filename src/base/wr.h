/* SPDX-License-Identifier: MIT */
/*
 * Bounded writer into a buffer of the caller, with a sticky error.
 *
 * A write that does not fit writes nothing and marks the writer bad; all later writes do nothing. Write a whole message first, then
 * check wr_ok() once. A length that stands before what it measures is reserved (wr_reserve) and filled in later (wr_patch_*).
 * Numbers are given in host order and written big-endian.
 */
#pragma once

#include <string.h>

#include "base/defs.h"

struct wr {
	uint8_t *p;
	size_t cap;
	size_t pos;
	bool bad;
};

static inline struct wr wr_init(void *buf, size_t cap)
{
	return (struct wr){ .p = buf, .cap = cap };
}

static inline bool wr_ok(const struct wr *w)
{
	return !w->bad;
}

/* Bytes written so far; 0 for a bad writer, so that a failed message is never sent in part. */
static inline size_t wr_len(const struct wr *w)
{
	return w->bad ? 0 : w->pos;
}

static inline size_t wr_left(const struct wr *w)
{
	return w->bad ? 0 : w->cap - w->pos;
}

static inline void wr_fail(struct wr *w)
{
	w->bad = true;
}

/* The place of the next n bytes, which the caller fills; NULL if there is no room. */
static inline uint8_t *wr_put(struct wr *w, size_t n)
{
	uint8_t *p;

	if (unlikely(w->bad || w->cap - w->pos < n)) {
		w->bad = true;
		return NULL;
	}
	p = w->p + w->pos;
	w->pos += n;
	return p;
}

static inline void wr_bytes(struct wr *w, const void *src, size_t n)
{
	uint8_t *p = wr_put(w, n);

	if (p && n)
		memcpy(p, src, n);
}

static inline void wr_zero(struct wr *w, size_t n)
{
	uint8_t *p = wr_put(w, n);

	if (p)
		memset(p, 0, n);
}

static inline void wr_u8(struct wr *w, uint8_t v)
{
	wr_bytes(w, &v, 1);
}

static inline void wr_be16(struct wr *w, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	wr_bytes(w, b, sizeof(b));
}

static inline void wr_be32(struct wr *w, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	wr_bytes(w, b, sizeof(b));
}

/* Leaves n zero bytes to be filled in later; returns their offset, good for wr_patch_*() while the writer is not bad. */
static inline size_t wr_reserve(struct wr *w, size_t n)
{
	size_t at = w->pos;

	wr_zero(w, n);
	return at;
}

static inline void wr_patch_u8(struct wr *w, size_t at, uint8_t v)
{
	if (w->bad || at >= w->pos) {
		w->bad = true;
		return;
	}
	w->p[at] = v;
}

static inline void wr_patch_be16(struct wr *w, size_t at, uint16_t v)
{
	wr_patch_u8(w, at, (uint8_t)(v >> 8));
	wr_patch_u8(w, at + 1, (uint8_t)v);
}
