/* SPDX-License-Identifier: MIT */
#include "tcp/ooo.h"

#include <assert.h>
#include <string.h>

#include "base/iov.h"

struct ooo_range {
	uint32_t from, to;
	uint32_t grown; /* count of the segment that came last */
};

/* In a chunk of its own. Byte seq stands in chunk slot[slot_of(seq)] at seq % CHUNK_SIZE. */
struct ooo {
	uint32_t n;
	uint32_t count; /* segments that came */
	uint32_t base; /* slots of what lies before this are empty */
	uint32_t fin_at;
	bool fin;
	struct ooo_range range[OOO_RANGES]; /* by sequence number, with holes between */
	uint32_t slot[OOO_SLOTS]; /* chunks; 0: none */
};

static uint32_t slot_of(uint32_t seq)
{
	return seq / CHUNK_SIZE % OOO_SLOTS;
}

static struct ooo *ooo_new(struct chunk_pool *p, uint32_t nxt)
{
	uint32_t c = chunk_pool_scarce(p) ? 0 : chunk_get(p);
	struct ooo *o;

	static_assert(sizeof(*o) <= CHUNK_SIZE, "one chunk holds it");
	if (!c)
		return NULL;
	o = chunk_mem(p, c);
	memset(o, 0, sizeof(*o));
	o->base = nxt;
	return o;
}

void ooo_free(struct chunk_pool *p, struct ooo **o)
{
	if (!*o)
		return;
	for (unsigned i = 0; i < OOO_SLOTS; i++) {
		if ((*o)->slot[i])
			chunk_put(p, (*o)->slot[i]);
	}
	chunk_put(p, chunk_of(p, *o));
	*o = NULL;
}

/* Copies the bytes to their place; returns how many there was memory for. */
static uint32_t ooo_copy(struct chunk_pool *p, struct ooo *o, const struct ooo_seg *s)
{
	uint32_t done = 0;

	while (done < s->len) {
		uint32_t seq = s->seq + done, part = MIN(s->len - done, CHUNK_SIZE - seq % CHUNK_SIZE),
			 *slot = &o->slot[slot_of(seq)];

		if (!*slot && !chunk_pool_scarce(p))
			*slot = chunk_get(p);
		if (!*slot)
			break;
		if (iov_copy_out(s->iov, s->n, s->off + done, (uint8_t *)chunk_mem(p, *slot) + seq % CHUNK_SIZE, part) != part)
			break;
		done += part;
	}
	return done;
}

/* Where a range from..to goes: it takes the place of the ranges [i, j), which it overlaps or touches. */
static void ooo_place(const struct ooo *o, uint32_t from, uint32_t to, unsigned *ret_i, unsigned *ret_j)
{
	unsigned i = o->n, j;

	/* From the end: most segments continue the last range. */
	while (i && seq_ge(o->range[i - 1].to, from))
		i--;
	for (j = i; j < o->n && seq_le(o->range[j].from, to); j++)
		;
	*ret_i = i;
	*ret_j = j;
}

void ooo_put(struct chunk_pool *p, struct ooo **op, uint32_t nxt, const struct ooo_seg *s)
{
	uint32_t from = s->seq, to = s->seq + s->len;
	unsigned i, j;
	struct ooo *o;

	if (to - nxt > OOO_SPAN || (!s->len && !s->fin))
		return;
	ooo_drop(p, op, nxt);
	if (!*op)
		*op = ooo_new(p, nxt);
	o = *op;
	if (!o)
		return;
	ooo_place(o, from, to, &i, &j);
	if (i == j && o->n == OOO_RANGES)
		return;
	to = from + ooo_copy(p, o, s);
	if (s->fin && to == s->seq + s->len) {
		o->fin = true;
		o->fin_at = to;
	}
	if (to == from) {
		if (!o->n && !o->fin)
			ooo_free(p, op);
		return;
	}
	ooo_place(o, from, to, &i, &j);
	if (i == j && o->n == OOO_RANGES)
		return;
	if (i < j) {
		from = seq_lt(o->range[i].from, from) ? o->range[i].from : from;
		to = seq_gt(o->range[j - 1].to, to) ? o->range[j - 1].to : to;
	}
	memmove(&o->range[i + 1], &o->range[j], (o->n - j) * sizeof(o->range[0]));
	o->n = o->n + 1 + i - j;
	o->range[i] = (struct ooo_range){ .from = from, .to = to, .grown = ++o->count };
}

unsigned ooo_peek(const struct chunk_pool *p, const struct ooo *o, uint32_t nxt, struct iovec *iov, unsigned max)
{
	unsigned n = 0;
	uint32_t seq = nxt;

	if (!o || !o->n || seq_gt(o->range[0].from, nxt))
		return 0;
	for (; seq_lt(seq, o->range[0].to) && n < max; n++) {
		uint32_t at = seq % CHUNK_SIZE, part = MIN(o->range[0].to - seq, CHUNK_SIZE - at);

		iov[n] = (struct iovec){ (uint8_t *)chunk_mem(p, o->slot[slot_of(seq)]) + at, part };
		seq += part;
	}
	return n;
}

bool ooo_fin(const struct ooo *o, uint32_t nxt)
{
	return o && o->fin && o->fin_at == nxt;
}

void ooo_drop(struct chunk_pool *p, struct ooo **op, uint32_t nxt)
{
	struct ooo *o = *op;
	unsigned gone = 0;

	if (!o)
		return;
	while (gone < o->n && seq_le(o->range[gone].to, nxt))
		gone++;
	o->n -= gone;
	memmove(&o->range[0], &o->range[gone], o->n * sizeof(o->range[0]));
	if (o->n && seq_lt(o->range[0].from, nxt))
		o->range[0].from = nxt;
	if (o->fin && seq_lt(o->fin_at, nxt))
		o->fin = false;
	if (!o->n && !o->fin) {
		ooo_free(p, op);
		return;
	}
	for (; nxt / CHUNK_SIZE != o->base / CHUNK_SIZE; o->base += CHUNK_SIZE) {
		uint32_t *slot = &o->slot[slot_of(o->base)];

		if (*slot)
			chunk_put(p, *slot);
		*slot = 0;
	}
}

unsigned ooo_blocks(const struct ooo *o, struct tcp_sack *ret_block, unsigned max)
{
	uint32_t below = UINT32_MAX;
	unsigned n;

	for (n = 0; o && n < max; n++) {
		const struct ooo_range *best = NULL;

		for (unsigned i = 0; i < o->n; i++) {
			if (o->range[i].grown < below && (!best || o->range[i].grown > best->grown))
				best = &o->range[i];
		}
		if (!best)
			break;
		ret_block[n] = (struct tcp_sack){ best->from, best->to };
		below = best->grown;
	}
	return n;
}
