/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/iov.h"
#include "tcp/spill.h"

#define CHUNKS 8

/* Byte at position pos of stream number id. */
static uint8_t at(unsigned id, size_t pos)
{
	return (uint8_t)(pos * 31 + pos / 251 + id * 77);
}

static size_t put(struct chunk_pool *p, struct spill *s, unsigned id, size_t pos, size_t len)
{
	uint8_t *buf = malloc(len + 3);
	struct iovec iov[3] = { { buf, 3 + len / 3 }, { buf + 3 + len / 3, 0 }, { buf + 3 + len / 3, len - len / 3 } };
	size_t done;

	for (size_t i = 0; i < len; i++)
		buf[3 + i] = at(id, pos + i);
	done = spill_put(p, s, iov, 3, 3, len);
	free(buf);
	return done;
}

/* Takes up to len bytes and checks them. */
static size_t take(struct chunk_pool *p, struct spill *s, unsigned id, size_t pos, size_t len)
{
	struct iovec iov[CHUNKS + 1];
	unsigned n = spill_peek(p, s, iov, CHUNKS + 1);
	size_t all = iov_len(iov, n), done = 0;

	assert_int_equal(all, s->len);
	if (len > all)
		len = all;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *b = iov[i].iov_base;

		for (size_t j = 0; j < iov[i].iov_len && done < len; j++, done++)
			assert_int_equal(b[j], at(id, pos + done));
	}
	spill_drop(p, s, len);
	return len;
}

static void random_queues(void **state)
{
	struct chunk_pool *p = chunk_pool_new(CHUNKS);
	struct spill s[3] = { 0 };
	size_t in[3] = { 0 }, out[3] = { 0 };

	assert_non_null(p);
	srand(7);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned id = (unsigned)rand() % 3;
		size_t len = (size_t)rand() % (rand() % 4 ? 3000 : 40000);

		if (rand() % 2) {
			size_t done = put(p, &s[id], id, in[id], len);

			if (done < len)
				assert_int_equal(chunk_pool_used(p), CHUNKS);
			in[id] += done;
		} else {
			out[id] += take(p, &s[id], id, out[id], len);
		}
		assert_int_equal(s[id].len, in[id] - out[id]);
	}
	for (unsigned id = 0; id < 3; id++) {
		out[id] += take(p, &s[id], id, out[id], SIZE_MAX);
		assert_int_equal(in[id], out[id]);
		assert_int_equal(s[id].head, 0);
		assert_int_equal(s[id].tail, 0);
	}
	assert_int_equal(chunk_pool_used(p), 0);
	chunk_pool_free(p);
}

static void exact_chunks(void **state)
{
	struct chunk_pool *p = chunk_pool_new(CHUNKS);
	struct spill s = { 0 };

	assert_int_equal(put(p, &s, 0, 0, CHUNK_SIZE), CHUNK_SIZE);
	assert_int_equal(chunk_pool_used(p), 1);
	assert_int_equal(put(p, &s, 0, CHUNK_SIZE, 1), 1);
	assert_int_equal(chunk_pool_used(p), 2);
	assert_int_equal(take(p, &s, 0, 0, CHUNK_SIZE), CHUNK_SIZE);
	assert_int_equal(chunk_pool_used(p), 1);
	assert_int_equal(take(p, &s, 0, CHUNK_SIZE, 1), 1);
	assert_int_equal(chunk_pool_used(p), 0);
	assert_int_equal(put(p, &s, 0, 0, (CHUNKS + 1) * CHUNK_SIZE), CHUNKS * CHUNK_SIZE);
	assert_int_equal(put(p, &s, 0, 0, 1), 0);
	spill_drop(p, &s, s.len);
	assert_int_equal(chunk_pool_used(p), 0);
	chunk_pool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_queues),
		cmocka_unit_test(exact_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
