/* SPDX-License-Identifier: MIT */
#include "flow/flow.h"

#include <sys/mman.h>

#include "base/log.h"

#define FLOWS_MAX (UINT32_C(1) << 30) /* twice as many buckets must be counted in 32 bits */

/* Half of the hash beside the slot number, so that a probe looks at a slot only where the hash agrees and a move needs no hash. */
struct bucket {
	uint32_t slot; /* number + 1; 0 if empty */
	uint32_t hash;
};

/*
 * Open addressing with linear probing: a key is in the first bucket from its home on, round the end, that is not another's, and no
 * empty bucket lies between. There are at least twice as many buckets as slots, so probes are short and there is always an empty one.
 *
 * Slots below high have been used at least once. Those that are free are chained from free_head by flow->index; slots from high on were
 * never touched and take no memory.
 */
struct flow_table {
	struct hash_key key;
	size_t map_len;
	size_t slot_size;
	uint32_t max;
	uint32_t count;
	uint32_t high;
	uint32_t free_head; /* number + 1; 0 if none */
	uint32_t mask; /* number of buckets - 1 */
	struct list half; /* half-open flows, oldest first */
	struct flow_limits limits;
	uint64_t admit_ns; /* when the guest would have begun all of its flows, had it kept to the rate */
	flow_displace_fn *displace;
	void *displace_ctx;
	struct flow_stats stats;
	uint8_t *slots;
	struct bucket *buckets;
};

static size_t round_up(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

struct flow_table *flow_table_new(uint32_t max, size_t slot_size, const struct hash_key *key)
{
	size_t head = round_up(sizeof(struct flow_table)), buckets = 2, hash_len, slots_len, len;
	struct flow_table *t;
	uint8_t *map;

	if (!max || max > FLOWS_MAX || slot_size % 8 || slot_size < sizeof(struct flow))
		return NULL;
	while (buckets < (size_t)max * 2)
		buckets *= 2;
	if (__builtin_mul_overflow(buckets, sizeof(struct bucket), &hash_len) ||
	    __builtin_mul_overflow(max, slot_size, &slots_len) || __builtin_add_overflow(head, hash_len, &len) ||
	    __builtin_add_overflow(len, slots_len, &len))
		return NULL;

	/* Room is taken when it is touched; without MAP_NORESERVE a strict host would charge all of it at once. */
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return NULL;
	t = (void *)map;
	*t = (struct flow_table){
		.key = *key,
		.map_len = len,
		.slot_size = slot_size,
		.max = max,
		.mask = (uint32_t)(buckets - 1),
		.buckets = (void *)(map + head),
		.slots = map + head + hash_len,
	};
	list_init(&t->half);
	return t;
}

void flow_table_free(struct flow_table *t)
{
	if (t)
		munmap(t, t->map_len);
}

static struct flow *slot_at(const struct flow_table *t, uint32_t index)
{
	return (void *)(t->slots + (size_t)index * t->slot_size);
}

uint32_t flow_hash(const struct flow_table *t, const struct flow_key *key)
{
	return (uint32_t)hash_bytes(&t->key, key, sizeof(*key));
}

/* The one walk: the bucket of the key, or the empty one where it would go. */
static struct bucket *bucket_find(const struct flow_table *t, const struct flow_key *key, uint32_t hash)
{
	uint32_t i;

	for (i = hash & t->mask; t->buckets[i].slot; i = (i + 1) & t->mask) {
		struct bucket *b = &t->buckets[i];

		if (b->hash == hash && !memcmp(&slot_at(t, b->slot - 1)->key, key, sizeof(*key)))
			return b;
	}
	return &t->buckets[i];
}

/*
 * Empties bucket hole and closes the gap: a later one of the cluster moves into it, if its home does not lie behind the gap, and leaves
 * a gap itself. So no marks of deletion pile up that would make probes longer.
 */
static void bucket_remove(struct flow_table *t, struct bucket *b)
{
	uint32_t hole = (uint32_t)(b - t->buckets), i;

	for (i = (hole + 1) & t->mask; t->buckets[i].slot; i = (i + 1) & t->mask) {
		uint32_t from_home = (i - t->buckets[i].hash) & t->mask;
		uint32_t from_hole = (i - hole) & t->mask;

		if (from_home < from_hole)
			continue;
		t->buckets[hole] = t->buckets[i];
		hole = i;
	}
	t->buckets[hole] = (struct bucket){ 0 };
}

void flow_table_limit(struct flow_table *t, const struct flow_limits *l)
{
	t->limits = *l;
}

void flow_table_on_displace(struct flow_table *t, flow_displace_fn *fn, void *ctx)
{
	t->displace = fn;
	t->displace_ctx = ctx;
}

/* The newest half-open flow before this node of the list gives way. */
static bool displace_before(struct flow_table *t, const struct list *node)
{
	if (!t->displace || node->prev == &t->half)
		return false;
	t->stats.displaced++;
	t->displace(t->displace_ctx, container_of(node->prev, struct flow, half));
	return true;
}

void flow_settle(struct flow_table *t, struct flow *f)
{
	if (list_empty(&f->half))
		return;
	list_del(&f->half);
	t->stats.half_open--;
}

void flow_half_open(struct flow_table *t, struct flow *f)
{
	flow_settle(t, f);
	list_push(&t->half, &f->half);
	t->stats.half_open++;
	if (t->limits.half_open && t->stats.half_open > t->limits.half_open && displace_before(t, &f->half))
		log_limited(LOG_LVL_WARN, "More than %u connections wait for an answer: the newest give way", t->limits.half_open);
}

bool flow_admit(struct flow_table *t, uint64_t now_ns)
{
	uint32_t rate = t->limits.rate;
	uint64_t at = MAX(t->admit_ns, now_ns);

	if (!rate)
		return true;
	if (at - now_ns > NSEC_PER_SEC - NSEC_PER_SEC / rate) {
		t->stats.over_rate++;
		log_limited(LOG_LVL_WARN, "The guest begins more than %u flows a second: what is beyond is dropped", rate);
		return false;
	}
	t->admit_ns = at + NSEC_PER_SEC / rate;
	return true;
}

bool flow_make_room(struct flow_table *t)
{
	if (t->count < t->max)
		return true;
	if (displace_before(t, &t->half) && t->count < t->max) {
		log_limited(LOG_LVL_WARN, "Flow table is full: connections that wait for an answer give way, the newest first");
		return true;
	}
	log_limited(LOG_LVL_WARN, "Flow table is full: nothing new is let in");
	return false;
}

struct flow *flow_new(struct flow_table *t, const struct flow_key *key)
{
	uint32_t hash = flow_hash(t, key), index, gen;
	struct bucket *b = bucket_find(t, key, hash);
	struct flow *f;

	if (b->slot)
		return NULL;
	if (t->count == t->max) {
		if (!flow_make_room(t))
			return NULL;
		b = bucket_find(t, key, hash); /* who gave way may have moved it */
	}
	if (t->free_head) {
		index = t->free_head - 1;
		t->free_head = slot_at(t, index)->index;
	} else {
		index = t->high++;
	}
	f = slot_at(t, index);
	gen = f->gen;
	memset(f, 0, t->slot_size);
	f->key = *key;
	f->index = index;
	f->gen = gen & FLOW_GEN_MASK;
	f->used = 1;
	list_init(&f->half);
	*b = (struct bucket){ .slot = index + 1, .hash = hash };
	t->count++;
	return f;
}

void flow_free(struct flow_table *t, struct flow *f)
{
	uint32_t index = f->index;

	if (!f->used)
		return;
	flow_settle(t, f);
	bucket_remove(t, bucket_find(t, &f->key, flow_hash(t, &f->key)));
	f->gen = (f->gen + 1) & FLOW_GEN_MASK;
	f->used = 0;
	f->index = t->free_head;
	t->free_head = index + 1;
	t->count--;
}

struct flow *flow_find(struct flow_table *t, const struct flow_key *key)
{
	struct bucket *b = bucket_find(t, key, flow_hash(t, key));

	return b->slot ? slot_at(t, b->slot - 1) : NULL;
}

struct flow *flow_get(struct flow_table *t, uint32_t index, uint32_t gen)
{
	struct flow *f;

	if (index >= t->high)
		return NULL;
	f = slot_at(t, index);
	return f->used && f->gen == gen ? f : NULL;
}

uint32_t flow_count(const struct flow_table *t)
{
	return t->count;
}

uint32_t flow_max(const struct flow_table *t)
{
	return t->max;
}

const struct flow_stats *flow_stats(const struct flow_table *t)
{
	return &t->stats;
}

void flow_each(struct flow_table *t, void (*fn)(void *ctx, struct flow *f), void *ctx)
{
	uint32_t i;

	for (i = 0; i < t->high; i++) {
		struct flow *f = slot_at(t, i);

		if (f->used)
			fn(ctx, f);
	}
}

struct flow *flow_next(struct flow_table *t, uint32_t *index, uint32_t end)
{
	for (; *index < MIN(end, t->high); ++*index) {
		struct flow *f = slot_at(t, *index);

		if (f->used)
			return f;
	}
	return NULL;
}
