/* SPDX-License-Identifier: MIT */
/*
 * Bounded reader over a run of bytes, with a sticky error.
 *
 * A read past the end returns zero (or NULL), moves nothing and marks the reader bad; all later reads do the same. Parse a whole
 * message first, then check rd_ok() (nothing was missing) or rd_done() (nothing was missing and nothing is left) once.
 * Multi-byte numbers are big-endian (network order) on the wire and host order in the result. The reader does not own the bytes.
 */
#pragma once

#include <string.h>

#include "base/defs.h"

struct rd {
	const uint8_t *p;
	size_t len;
	size_t pos;
	bool bad;
};

static inline struct rd rd_init(const void *buf, size_t len)
{
	/* A place even for no bytes: NULL is the answer to a read that fails. */
	return (struct rd){ .p = len ? buf : (const void *)"", .len = len };
}

/* Bytes not read yet. */
static inline size_t rd_left(const struct rd *r)
{
	return r->bad ? 0 : r->len - r->pos;
}

static inline bool rd_ok(const struct rd *r)
{
	return !r->bad;
}

static inline bool rd_done(const struct rd *r)
{
	return !r->bad && r->pos == r->len;
}

/* The next n bytes, in place; NULL if there are fewer. */
static inline const uint8_t *rd_bytes(struct rd *r, size_t n)
{
	const uint8_t *p;

	if (unlikely(r->bad || r->len - r->pos < n)) {
		r->bad = true;
		return NULL;
	}
	p = r->p + r->pos;
	r->pos += n;
	return p;
}

static inline void rd_skip(struct rd *r, size_t n)
{
	(void)rd_bytes(r, n);
}

/* Copies the next n bytes to dst; fills dst with zero if there are fewer. */
static inline void rd_copy(struct rd *r, void *dst, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

/* A reader over the next n bytes, which this one skips; a bad reader if there are fewer. */
static inline struct rd rd_sub(struct rd *r, size_t n)
{
	const uint8_t *p = rd_bytes(r, n);

	return (struct rd){ .p = p, .len = p ? n : 0, .bad = !p };
}

static inline uint8_t rd_u8(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t rd_be16(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 2);

	return (uint16_t)(p ? p[0] << 8 | p[1] : 0);
}

static inline uint32_t rd_be32(struct rd *r)
{
	const uint8_t *p = rd_bytes(r, 4);

	return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}
