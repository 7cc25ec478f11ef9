/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "flow/flow.h"

static const struct hash_key hash_key = { { 0x1234, 0x5678 } };

struct thing {
	struct flow f;
	uint64_t data[6];
};

static struct flow_key key(uint32_t n)
{
	struct addr g = ADDR4_INIT(10, 0, 2, 15), r = ADDR4_INIT(198, 51, 100, (uint8_t)(n >> 16));

	return flow_key_init(6, &g, (uint16_t)n, &r, 80);
}

static struct flow_table *table(uint32_t max)
{
	struct flow_table *t = flow_table_new(max, sizeof(struct thing), &hash_key);

	assert_non_null(t);
	assert_int_equal(flow_count(t), 0);
	assert_int_equal(flow_max(t), max);
	return t;
}

static struct flow *add(struct flow_table *t, uint32_t n)
{
	struct flow_key k = key(n);

	return flow_new(t, &k);
}

static struct flow *find(struct flow_table *t, uint32_t n)
{
	struct flow_key k = key(n);

	return flow_find(t, &k);
}

static void test_arguments(void **state)
{
	assert_null(flow_table_new(0, sizeof(struct thing), &hash_key));
	assert_null(flow_table_new(UINT32_MAX, sizeof(struct thing), &hash_key));
	assert_null(flow_table_new(8, sizeof(struct flow) - 8, &hash_key));
	assert_null(flow_table_new(8, sizeof(struct flow) + 4, &hash_key));
	assert_null(flow_table_new(1 << 30, SIZE_MAX & ~(size_t)7, &hash_key));
	flow_table_free(NULL);
}

static void test_life(void **state)
{
	struct flow_table *t = table(4);
	struct flow *f = add(t, 1), *g;
	struct thing *thing;
	uint32_t gen, index;
	size_t i;

	assert_non_null(f);
	assert_true(f->used);
	assert_ptr_equal(find(t, 1), f);
	assert_null(find(t, 2));
	assert_null(add(t, 1)); /* is there already */
	assert_int_equal(flow_count(t), 1);
	assert_ptr_equal(flow_get(t, f->index, f->gen), f);
	assert_null(flow_get(t, f->index, f->gen + 1));
	assert_null(flow_get(t, f->index + 1, 0)); /* never used */
	assert_null(flow_get(t, 4, 0)); /* no such slot */
	assert_null(flow_get(t, UINT32_MAX, 0));

	thing = container_of(f, struct thing, f);
	for (i = 0; i < ARRAY_SIZE(thing->data); i++)
		thing->data[i] = UINT64_MAX;
	gen = f->gen;
	index = f->index;
	flow_free(t, f);
	assert_null(find(t, 1));
	assert_null(flow_get(t, index, gen));
	assert_null(flow_get(t, index, gen + 1));
	assert_int_equal(flow_count(t), 0);
	flow_free(t, f); /* twice: no effect */
	assert_int_equal(flow_count(t), 0);

	/* The slot comes back zeroed, in its next generation. */
	g = add(t, 2);
	assert_ptr_equal(g, f);
	assert_int_equal(g->index, index);
	assert_int_equal(g->gen, gen + 1);
	for (i = 0; i < ARRAY_SIZE(thing->data); i++)
		assert_int_equal(thing->data[i], 0);
	assert_null(flow_get(t, index, gen));
	assert_ptr_equal(flow_get(t, index, gen + 1), g);
	flow_table_free(t);
}

static void test_full(void **state)
{
	struct flow_table *t = table(5);
	uint32_t i;

	for (i = 0; i < 5; i++)
		assert_non_null(add(t, i));
	assert_null(add(t, 5));
	assert_int_equal(flow_count(t), 5);
	assert_null(find(t, 5));
	flow_free(t, find(t, 3));
	assert_non_null(add(t, 5));
	assert_null(add(t, 3));
	for (i = 0; i < 6; i++)
		assert_int_equal(!!find(t, i), i != 3);
	flow_table_free(t);
}

/* All parts of a key count. */
static void test_key_parts(void **state)
{
	struct flow_table *t = table(16);
	struct addr a = ADDR4_INIT(10, 0, 0, 1), b = ADDR4_INIT(10, 0, 0, 2);
	const struct flow_key keys[] = {
		flow_key_init(6, &a, 1, &b, 2), flow_key_init(17, &a, 1, &b, 2), flow_key_init(6, &b, 1, &b, 2),
		flow_key_init(6, &a, 3, &b, 2), flow_key_init(6, &a, 1, &a, 2),  flow_key_init(6, &a, 1, &b, 4),
		flow_key_init(6, &b, 2, &a, 1),
	};
	struct flow *f[ARRAY_SIZE(keys)];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys); i++) {
		f[i] = flow_new(t, &keys[i]);
		assert_non_null(f[i]);
	}
	for (i = 0; i < ARRAY_SIZE(keys); i++)
		assert_ptr_equal(flow_find(t, &keys[i]), f[i]);
	flow_table_free(t);
}

/* Bucket in which a table of 8 flows, thus 16 buckets, looks for a key first. */
static unsigned home(uint32_t n)
{
	struct flow_key k = key(n);

	return hash_bytes(&hash_key, &k, sizeof(k)) & 15;
}

/* Keys that all want the same few buckets, around the end of the table; every order of leaving. */
static void test_collisions(void **state)
{
	static const unsigned wanted[] = { 14, 14, 15, 14, 0, 15, 14 };
	uint32_t n[ARRAY_SIZE(wanted)], next = 0;
	unsigned start, step;
	size_t i, j, c = ARRAY_SIZE(wanted);

	for (i = 0; i < c; i++) {
		while (home(next) != wanted[i])
			next++;
		n[i] = next++;
	}
	for (start = 0; start < c; start++) {
		for (step = 1; step < c; step++) { /* c is a prime */
			struct flow_table *t = table(8);

			for (i = 0; i < c; i++)
				assert_non_null(add(t, n[i]));
			for (i = 0; i < c; i++) {
				flow_free(t, find(t, n[(start + i * step) % c]));
				for (j = 0; j < c; j++)
					assert_int_equal(!find(t, n[(start + j * step) % c]), j <= i);
			}
			flow_table_free(t);
		}
	}
}

static uint32_t seed;

static uint32_t rnd(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

static void each_count(void *ctx, struct flow *f)
{
	uint32_t *last = ctx;

	assert_true(f->used);
	assert_true(last[0] == UINT32_MAX || f->index > last[0]);
	last[0] = f->index;
	last[1]++;
}

/*
 * The twin: an array with the flow of each key number, looked through from end to end. Slot and generation of what was freed are kept
 * as well: they must never come alive again.
 */
static void twin_compare(uint32_t max, uint32_t keys)
{
	struct flow_table *t = table(max);
	struct twin {
		struct flow *f;
		uint32_t index, gen;
		bool dead;
	} *twin = calloc(keys, sizeof(*twin));
	uint32_t step, n, count = 0, seen[2];

	assert_non_null(twin);
	for (step = 0; step < 20000; step++) {
		struct twin *k = &twin[n = rnd(keys)];
		bool grow = rnd(2000) < (step / 1000 % 2 ? 1300u : 700u);

		if (grow && k->f) {
			assert_null(add(t, n));
		} else if (grow) {
			k->f = add(t, n);
			assert_int_equal(!!k->f, count < max);
			if (k->f) {
				count++;
				*k = (struct twin){ .f = k->f, .index = k->f->index, .gen = k->f->gen };
			}
		} else if (k->f) {
			flow_free(t, k->f);
			k->f = NULL;
			k->dead = true;
			count--;
		}
		assert_int_equal(flow_count(t), count);
		if (step % 100)
			continue;
		for (n = 0; n < keys; n++) {
			k = &twin[n];
			assert_ptr_equal(find(t, n), k->f);
			if (k->f)
				assert_ptr_equal(flow_get(t, k->index, k->gen), k->f);
			else if (k->dead)
				assert_null(flow_get(t, k->index, k->gen));
		}
		seen[0] = UINT32_MAX;
		seen[1] = 0;
		flow_each(t, each_count, seen);
		assert_int_equal(seen[1], count);
	}
	free(twin);
	flow_table_free(t);
}

static void test_random(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 8, 31, 200 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		seed = (uint32_t)(i + 1) * 2654435761u;
		twin_compare(sizes[i], sizes[i] + sizes[i] / 2 + 1);
	}
}

static void test_generation_wraps(void **state)
{
	struct flow_table *t = table(2);
	struct flow *f = add(t, 1);
	uint32_t i;

	/* As after 2^24 - 2 lives. */
	f->gen = FLOW_GEN_MASK - 1;
	for (i = 0; i < 3; i++) {
		uint32_t gen = f->gen;

		assert_ptr_equal(flow_get(t, 0, gen), f);
		flow_free(t, f);
		assert_null(flow_get(t, 0, gen));
		f = add(t, 1);
		assert_int_equal(f->gen, (gen + 1) & FLOW_GEN_MASK);
		assert_true(f->used);
	}
	assert_int_equal(f->gen, 1);
	flow_table_free(t);
}

static struct flow_table *each_table;

static void each_free_odd(void *ctx, struct flow *f)
{
	if (f->key.gport % 2)
		flow_free(each_table, f);
	++*(unsigned *)ctx;
}

static void test_each_may_free(void **state)
{
	struct flow_table *t = each_table = table(100);
	unsigned calls = 0;
	uint32_t i;

	for (i = 0; i < 100; i++)
		assert_non_null(add(t, i));
	flow_each(t, each_free_odd, &calls);
	assert_int_equal(calls, 100);
	assert_int_equal(flow_count(t), 50);
	for (i = 0; i < 100; i++)
		assert_int_equal(!!find(t, i), i % 2 == 0);
	flow_table_free(t);
}

/* Resident pages of this process. */
static unsigned long resident(void)
{
	unsigned long size, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &pages), 2);
	fclose(f);
	return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

/* A large table costs nothing until it is used: neither making it nor a few flows touch its other slots. */
static void test_memory_on_demand(void **state)
{
	unsigned long before = resident();
	struct flow_table *t = flow_table_new(1 << 20, 512, &hash_key);
	uint32_t i;

	assert_non_null(t);
	for (i = 0; i < 10; i++)
		assert_non_null(add(t, i));
	for (i = 0; i < 10; i++)
		flow_free(t, find(t, i));
	assert_true(resident() - before < 4 << 20);
	flow_table_free(t);
}

struct displaced {
	struct flow_table *t;
	uint32_t port[8];
	unsigned n;
};

static void on_displaced(void *ctx, struct flow *f)
{
	struct displaced *d = ctx;

	assert_in_range(d->n, 0, ARRAY_SIZE(d->port) - 1);
	d->port[d->n++] = f->key.gport;
	flow_free(d->t, f);
}

static struct flow *add_half(struct flow_table *t, uint32_t n)
{
	struct flow *f = add(t, n);

	assert_non_null(f);
	flow_half_open(t, f);
	return f;
}

/* A full table: the newest of the half-open flows gives way, the others stay; when none is left, there is no room. */
static void test_displace(void **state)
{
	struct flow_table *t = table(4);
	struct displaced d = { .t = t };

	assert_non_null(add(t, 1));
	add_half(t, 2);
	assert_non_null(add(t, 3));
	add_half(t, 4);
	assert_false(flow_make_room(t)); /* nobody to tell */
	flow_table_on_displace(t, on_displaced, &d);
	assert_null(add(t, 3)); /* is there: nothing gives way for that */
	assert_int_equal(d.n, 0);
	assert_int_equal(flow_stats(t)->half_open, 2);

	assert_non_null(add(t, 5));
	assert_int_equal(d.n, 1);
	assert_int_equal(d.port[0], 4);
	assert_true(flow_make_room(t));
	assert_int_equal(d.port[1], 2);
	assert_true(flow_make_room(t)); /* there is some already */
	assert_int_equal(d.n, 2);
	assert_non_null(add(t, 6));
	assert_false(flow_make_room(t));
	assert_null(add(t, 7));
	for (uint32_t i = 1; i < 8; i++)
		assert_int_equal(!!find(t, i), i != 2 && i != 4 && i != 7);
	assert_int_equal(flow_stats(t)->half_open, 0);
	assert_int_equal(flow_stats(t)->displaced, 2);
	flow_table_free(t);
}

static void test_half_open_limit(void **state)
{
	struct flow_limits l = { .half_open = 2 };
	struct flow_table *t = table(16);
	struct displaced d = { .t = t };
	struct flow *f;

	flow_table_on_displace(t, on_displaced, &d);
	flow_table_limit(t, &l);
	assert_non_null(add(t, 1));
	f = add_half(t, 2);
	add_half(t, 3);
	flow_half_open(t, f); /* again: it is counted once, and is the newest now */
	assert_int_equal(d.n, 0);
	add_half(t, 4);
	assert_int_equal(d.n, 1);
	assert_int_equal(d.port[0], 2);

	/* Who is settled, or gone, makes room for others. */
	flow_settle(t, find(t, 4));
	flow_settle(t, find(t, 4));
	add_half(t, 5);
	assert_int_equal(d.n, 1);
	flow_free(t, find(t, 3));
	assert_int_equal(flow_stats(t)->half_open, 1);
	add_half(t, 6);
	add_half(t, 7);
	assert_int_equal(d.n, 2);
	assert_int_equal(d.port[1], 6);
	assert_int_equal(flow_count(t), 4);
	flow_table_free(t);
}

/* As many at once as in a second, then one each time that one more is due. */
static void test_rate(void **state)
{
	static const uint32_t rates[] = { 1, 3, 1000 };

	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
		struct flow_limits l = { .rate = rates[i] };
		struct flow_table *t = table(16);
		uint64_t now_ns = 77 * NSEC_PER_SEC;

		flow_table_limit(t, &l);
		for (uint32_t n = 0; n < l.rate; n++)
			assert_true(flow_admit(t, now_ns));
		assert_false(flow_admit(t, now_ns));
		now_ns += NSEC_PER_SEC / l.rate;
		assert_true(flow_admit(t, now_ns));
		assert_false(flow_admit(t, now_ns));
		assert_int_equal(flow_stats(t)->over_rate, 2);
		now_ns += 100 * NSEC_PER_SEC;
		for (uint32_t n = 0; n < l.rate; n++)
			assert_true(flow_admit(t, now_ns));
		assert_false(flow_admit(t, now_ns));
		l.rate = 0;
		flow_table_limit(t, &l);
		assert_true(flow_admit(t, now_ns));
		flow_table_free(t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_key_parts),
		cmocka_unit_test(test_collisions),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_generation_wraps),
		cmocka_unit_test(test_each_may_free),
		cmocka_unit_test(test_memory_on_demand),
		cmocka_unit_test(test_displace),
		cmocka_unit_test(test_half_open_limit),
		cmocka_unit_test(test_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
