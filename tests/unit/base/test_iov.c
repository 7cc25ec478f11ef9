/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/iov.h"

static uint32_t rnd(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s;
}

/* A vector of random cuts over flat bytes; returns the number of entries. */
static unsigned cut(uint32_t *s, uint8_t *flat, size_t len, struct iovec iov[8])
{
	unsigned n = 0;
	size_t at = 0;

	while (n < 8) {
		size_t part = rnd(s) % 3 ? rnd(s) % 20 : 0;

		part = n == 7 ? len - at : MIN(part, len - at);
		iov[n++] = (struct iovec){ .iov_base = flat + at, .iov_len = part };
		at += part;
	}
	return n;
}

static void test_len(void **state)
{
	struct iovec v[] = { { .iov_len = 3 }, { .iov_len = 0 }, { .iov_len = 4000 } };

	assert_int_equal(iov_len(v, 3), 4003);
	assert_int_equal(iov_len(v, 1), 3);
	assert_int_equal(iov_len(NULL, 0), 0);
}

static void test_copy(void **state)
{
	uint8_t flat[100], mem[100], dst[128], want[128];
	struct iovec iov[8];
	uint32_t s = 7;
	unsigned round, i;

	for (round = 0; round < 5000; round++) {
		size_t skip = rnd(&s) % 110, len = rnd(&s) % 110, fit = skip < 100 ? MIN(len, 100 - skip) : 0;
		unsigned n = cut(&s, mem, sizeof(mem), iov);

		for (i = 0; i < 100; i++)
			flat[i] = mem[i] = (uint8_t)rnd(&s);
		memset(dst, 0xaa, sizeof(dst));
		memset(want, 0xaa, sizeof(want));
		memcpy(want, flat + (fit ? skip : 0), fit);
		assert_int_equal(iov_copy_out(iov, n, skip, dst, len), fit);
		assert_memory_equal(dst, want, sizeof(dst));

		for (i = 0; i < 128; i++)
			dst[i] = (uint8_t)rnd(&s);
		memcpy(flat + (fit ? skip : 0), dst, fit);
		assert_int_equal(iov_copy_in(iov, n, skip, dst, len), fit);
		assert_memory_equal(mem, flat, sizeof(mem));
	}
}

static void test_slice(void **state)
{
	uint8_t mem[100], got[100];
	struct iovec iov[8], part[8];
	uint32_t s = 99;
	unsigned round, i;

	for (i = 0; i < 100; i++)
		mem[i] = (uint8_t)i;
	for (round = 0; round < 5000; round++) {
		size_t skip = rnd(&s) % 110, len = rnd(&s) % 110, fit = skip < 100 ? MIN(len, 100 - skip) : 0, covered = 999;
		unsigned n = cut(&s, mem, sizeof(mem), iov), room = rnd(&s) % 9, used;

		used = iov_slice(iov, n, skip, len, part, room, &covered);
		assert_true(used <= room);
		assert_true(covered <= fit);
		if (used < room)
			assert_int_equal(covered, fit);
		assert_int_equal(iov_len(part, used), covered);
		for (i = 0; i < used; i++)
			assert_true(part[i].iov_len > 0);
		assert_int_equal(iov_copy_out(part, used, 0, got, sizeof(got)), covered);
		if (covered)
			assert_memory_equal(got, mem + skip, covered);
		assert_int_equal(iov_slice(iov, n, skip, len, part, room, NULL), used);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_len),
		cmocka_unit_test(test_copy),
		cmocka_unit_test(test_slice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
