/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/iov.h"
#include "tcp/ooo.h"

#define CHUNKS 64
#define SPAN 300000u /* of the slow twin */

static uint8_t at(uint32_t seq)
{
	return (uint8_t)(seq * 31 + (seq >> 8) * 7 + (seq >> 16) * 13);
}

static void put(struct chunk_pool *p, struct ooo **o, uint32_t nxt, uint32_t seq, uint32_t len, bool fin)
{
	uint8_t *buf = malloc(len + 5);
	struct iovec iov[3] = { { buf, 2 + len / 3 }, { buf, 0 }, { buf + 2 + len / 3, len - len / 3 } };
	struct ooo_seg s = { .iov = iov, .n = 3, .off = 2, .seq = seq, .len = len, .fin = fin };

	for (uint32_t i = 0; i < len; i++)
		buf[2 + i] = at(seq + i);
	ooo_put(p, o, nxt, &s);
	free(buf);
}

/* Takes what is next in order, checks it, returns the length. */
static uint32_t take(struct chunk_pool *p, struct ooo **o, uint32_t nxt)
{
	struct iovec iov[3];
	uint32_t done = 0;
	unsigned n;

	while ((n = ooo_peek(p, *o, nxt + done, iov, 3))) {
		for (unsigned i = 0; i < n; i++) {
			const uint8_t *b = iov[i].iov_base;

			for (size_t j = 0; j < iov[i].iov_len; j++, done++)
				assert_int_equal(b[j], at(nxt + done));
		}
	}
	ooo_drop(p, o, nxt + done);
	return done;
}

/* Segments in any order, against a map of bytes; the numbers wrap around. */
static void against_a_map(void **state)
{
	uint8_t *map = malloc(SPAN);
	uint32_t r = 1;

	for (unsigned round = 0; round < 60; round++) {
		struct chunk_pool *p = chunk_pool_new(CHUNKS);
		uint32_t base = round % 2 ? 0u - SPAN / 2 : round * 77777, nxt = 0;
		struct ooo *o = NULL;

		memset(map, 0, SPAN);
		while (nxt < SPAN) {
			uint32_t seq, len;

			r = r * 1664525u + 1013904223u;
			len = 1 + (r >> 8) % (round % 3 ? 1460 : 9000);
			r = r * 1664525u + 1013904223u;
			seq = nxt + 1 + (r >> 8) % (round % 5 ? 20000 : 60000);
			if (seq < SPAN) {
				len = MIN(len, SPAN - seq);
				put(p, &o, base + nxt, base + seq, len, false);
				if (o)
					memset(map + seq, 1, len);
			}
			if ((r >> 28) == 0) { /* the hole is filled, and perhaps more */
				uint32_t fill = 1, got;

				while (nxt + fill < SPAN && !map[nxt + fill])
					fill++;
				nxt += fill;
				ooo_drop(p, &o, base + nxt);
				got = take(p, &o, base + nxt);
				for (uint32_t i = 0; i < got; i++)
					assert_true(map[nxt + i]);
				nxt += got;
				assert_true(nxt >= SPAN || !map[nxt]);
			}
		}
		assert_null(o);
		assert_int_equal(chunk_pool_used(p), 0);
		chunk_pool_free(p);
	}
	free(map);
}

/* RFC 2018 section 4: the range of the segment that came last stands first, then the others by age. */
static void blocks_in_order(void **state)
{
	static const struct {
		uint32_t seq, len;
		const char *want; /* a letter for each range, by its place */
	} steps[] = {
		{ 100, 10, "b" },    { 300, 10, "db" },   { 200, 10, "cdb" }, { 500, 10, "fcdb" },
		{ 110, 10, "bfcd" }, { 400, 10, "ebfc" }, { 300, 5, "debf" }, { 600, 10, "gdeb" },
	};
	struct chunk_pool *p = chunk_pool_new(CHUNKS);
	struct tcp_sack b[4];
	struct ooo *o = NULL;

	assert_int_equal(ooo_blocks(o, b, 4), 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		put(p, &o, 0, steps[i].seq, steps[i].len, false);
		assert_int_equal(ooo_blocks(o, b, 4), strlen(steps[i].want));
		for (size_t j = 0; steps[i].want[j]; j++)
			assert_int_equal(b[j].from / 100, steps[i].want[j] - 'a');
		assert_int_equal(ooo_blocks(o, b, 2), MIN(strlen(steps[i].want), (size_t)2));
	}
	assert_int_equal(b[0].from, 600);
	assert_int_equal(b[0].to, 610);
	/* Ranges that meet become one. */
	put(p, &o, 0, 120, 480, false);
	assert_int_equal(ooo_blocks(o, b, 4), 1);
	assert_int_equal(b[0].from, 100);
	assert_int_equal(b[0].to, 610);
	ooo_free(p, &o);
	assert_int_equal(chunk_pool_used(p), 0);
	chunk_pool_free(p);
}

static void memory_is_bounded(void **state)
{
	struct chunk_pool *p = chunk_pool_new(CHUNKS);
	struct tcp_sack b[4];
	struct ooo *o = NULL, *o2 = NULL;

	/* Too far ahead. */
	put(p, &o, 5, 5 + OOO_SPAN, 1, false);
	assert_null(o);
	put(p, &o, 5, 4 + OOO_SPAN, 1, false);
	assert_non_null(o);
	ooo_free(p, &o);
	/* Ranges. */
	for (uint32_t i = 0; i < OOO_RANGES + 9; i++)
		put(p, &o, 0, 10 + i * 10, 5, false);
	for (uint32_t i = 0; i < OOO_RANGES - 1; i++)
		put(p, &o, 0, 15 + i * 10, 5, false);
	assert_int_equal(ooo_blocks(o, b, 4), 1);
	assert_int_equal(b[0].to - b[0].from, OOO_RANGES * 10 - 5);
	ooo_free(p, &o);
	/* Half of the pool is for others. */
	put(p, &o, 0, 100, CHUNKS * CHUNK_SIZE, false);
	assert_int_equal(chunk_pool_used(p), CHUNKS / 2);
	assert_int_equal(ooo_blocks(o, b, 4), 1);
	assert_int_equal(b[0].to, (CHUNKS / 2 - 1) * CHUNK_SIZE);
	put(p, &o2, 0, 100, 1, false);
	assert_null(o2);
	assert_int_equal(take(p, &o, 100), b[0].to - 100);
	assert_null(o);
	assert_int_equal(chunk_pool_used(p), 0);
	chunk_pool_free(p);
}

static void fin(void **state)
{
	struct chunk_pool *p = chunk_pool_new(CHUNKS);
	struct ooo *o = NULL;

	assert_false(ooo_fin(o, 0));
	put(p, &o, 0, 100, 0, true); /* nothing but a FIN */
	assert_false(ooo_fin(o, 99));
	assert_true(ooo_fin(o, 100));
	put(p, &o, 0, 50, 50, false);
	assert_int_equal(take(p, &o, 50), 50);
	assert_true(ooo_fin(o, 100));
	ooo_drop(p, &o, 101);
	assert_null(o);
	put(p, &o, 0, 50, 50, true);
	assert_int_equal(take(p, &o, 50), 50);
	assert_true(ooo_fin(o, 100));
	ooo_free(p, &o);
	assert_int_equal(chunk_pool_used(p), 0);
	chunk_pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(against_a_map),
		cmocka_unit_test(blocks_in_order),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(fin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
