/* SPDX-License-Identifier: MIT */
/* The names of what is done are those of the protocol's text, and so is the order. */
#include "link/vhost/inflight.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WRAP 0x8000u

/* Whoever looks at the buffer after our end sees what we wrote in the order in which we did, and the other half may change at any time. */
#define GET(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define PUT(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

uint64_t inflight_len(bool packed, unsigned size)
{
	uint64_t len =
		packed ? offsetof(struct inflight_packed, desc) + (uint64_t)size * sizeof(struct inflight_desc)
		       : offsetof(struct inflight_split, desc) + (uint64_t)size * sizeof(((struct inflight_split *)0)->desc[0]);

	return (len + INFLIGHT_ALIGN - 1) & ~(uint64_t)(INFLIGHT_ALIGN - 1);
}

/* Always one that there is, whatever the number. */
static struct inflight_desc *entry_at(const struct inflight *f, uint16_t i)
{
	return &f->at->desc[i % f->size];
}

void inflight_start(struct inflight *f, struct inflight_packed *at, uint16_t size, uint16_t used)
{
	*f = (struct inflight){ .at = at, .size = size };
	PUT(at->version, 0);
	memset(at->desc, 0, size * sizeof(at->desc[0]));
	at->features = 0;
	at->desc_num = size;
	at->free_head = at->old_free_head = 0;
	at->used_idx = at->old_used_idx = used & (WRAP - 1);
	at->used_wrap_counter = at->old_used_wrap_counter = used & WRAP ? 1 : 0;
	for (unsigned i = 0; i < size; i++)
		at->desc[i].next = (uint16_t)(i + 1);
	PUT(at->version, INFLIGHT_VERSION);
}

static uint16_t code(uint16_t idx, uint8_t wrap)
{
	return (uint16_t)(idx | (wrap ? WRAP : 0));
}

uint16_t inflight_used(const struct inflight *f)
{
	return code(GET(f->at->old_used_idx), GET(f->at->old_used_wrap_counter));
}

int inflight_resume(struct inflight *f, struct inflight_packed *at, uint16_t size, uint16_t *ret_old)
{
	uint16_t used = GET(at->used_idx), old = GET(at->old_used_idx);

	if (GET(at->version) != INFLIGHT_VERSION || GET(at->desc_num) != size || used >= size || old >= size)
		return -EINVAL;
	*f = (struct inflight){ .at = at, .size = size };
	*ret_old = code(old, GET(at->old_used_wrap_counter));
	return 0;
}

static void old_update(struct inflight *f)
{
	PUT(f->at->old_free_head, GET(f->at->free_head));
	PUT(f->at->old_used_idx, GET(f->at->used_idx));
	PUT(f->at->old_used_wrap_counter, GET(f->at->used_wrap_counter));
}

void inflight_settle(struct inflight *f, bool shown)
{
	uint16_t i;

	if (inflight_used(f) != code(GET(f->at->used_idx), GET(f->at->used_wrap_counter)) && shown)
		old_update(f);
	PUT(f->at->free_head, GET(f->at->old_free_head));
	PUT(f->at->used_idx, GET(f->at->old_used_idx));
	PUT(f->at->used_wrap_counter, GET(f->at->old_used_wrap_counter));
	i = GET(f->at->free_head);
	for (unsigned n = 0; n < f->size && i < f->size; n++) {
		PUT(f->at->desc[i].inflight, 0);
		i = GET(f->at->desc[i].next);
	}
}

/* What is to be put into order: read once, as it may change meanwhile. */
struct chain {
	uint64_t counter;
	uint16_t entry, descs;
};

static int chain_cmp(const void *a, const void *b)
{
	uint64_t x = ((const struct chain *)a)->counter, y = ((const struct chain *)b)->counter;

	return (x > y) - (x < y);
}

int inflight_chains(struct inflight *f, uint16_t *ret_entry, uint16_t *ret_descs)
{
	struct chain c[INFLIGHT_CHAINS];
	unsigned n = 0, descs = 0;

	for (uint16_t i = 0; i < f->size; i++) {
		struct inflight_desc *d = &f->at->desc[i];

		if (!GET(d->inflight))
			continue;
		if (n == INFLIGHT_CHAINS)
			return -EINVAL;
		c[n] = (struct chain){ .counter = GET(d->counter), .entry = i, .descs = GET(d->num) };
		descs += c[n].descs;
		if (!c[n].descs || descs > f->size)
			return -EINVAL;
		n++;
	}
	qsort(c, n, sizeof(c[0]), chain_cmp);
	for (unsigned i = 0; i < n; i++) {
		ret_entry[i] = c[i].entry;
		ret_descs[i] = c[i].descs;
		f->counter = c[i].counter + 1;
	}
	return (int)n;
}

uint16_t inflight_begin(const struct inflight *f)
{
	uint16_t entry = GET(f->at->free_head) % f->size;

	PUT(entry_at(f, entry)->num, 0);
	return entry;
}

void inflight_add(struct inflight *f, uint16_t entry, const struct vring_packed_desc *d)
{
	uint16_t i = GET(f->at->free_head) % f->size;
	struct inflight_desc *head = entry_at(f, entry), *e = entry_at(f, i);

	e->addr = d->addr;
	e->len = d->len;
	e->id = d->id;
	e->flags = d->flags;
	PUT(head->last, i);
	PUT(head->num, GET(head->num) + 1);
	PUT(f->at->free_head, GET(e->next));
}

/* That the chain is under way is noted when all of it is, so that nobody goes on with a part. */
void inflight_end(struct inflight *f, uint16_t entry)
{
	struct inflight_desc *head = entry_at(f, entry);

	PUT(head->counter, f->counter++);
	PUT(head->inflight, 1);
	PUT(f->at->old_free_head, GET(f->at->free_head));
}

struct vring_packed_desc inflight_desc(const struct inflight *f, uint16_t *entry)
{
	const struct inflight_desc *e = entry_at(f, *entry);

	*entry = GET(e->next);
	return (struct vring_packed_desc){
		.addr = GET(e->addr),
		.len = GET(e->len),
		.id = GET(e->id),
		.flags = GET(e->flags),
	};
}

/* Those that were given back are linked to each other, and to the free ones only when they are about to be shown. */
void inflight_give_back(struct inflight *f, uint16_t entry)
{
	uint16_t last = GET(entry_at(f, entry)->last);

	if (f->n_back++)
		PUT(entry_at(f, last)->next, f->back);
	else
		f->back_last = last;
	f->back = entry;
}

void inflight_show(struct inflight *f, uint16_t used)
{
	if (f->n_back) {
		PUT(entry_at(f, f->back_last)->next, GET(f->at->free_head));
		PUT(f->at->free_head, f->back);
	}
	PUT(f->at->used_idx, used & (WRAP - 1));
	PUT(f->at->used_wrap_counter, used & WRAP ? 1 : 0);
}

void inflight_shown(struct inflight *f)
{
	uint16_t i = f->back;

	for (; f->n_back; f->n_back--) {
		struct inflight_desc *head = entry_at(f, i);

		PUT(head->inflight, 0);
		i = GET(entry_at(f, GET(head->last))->next);
	}
	old_update(f);
}
