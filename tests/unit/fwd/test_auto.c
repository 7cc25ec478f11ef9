/* SPDX-License-Identifier: MIT */
/* Automatic ports, the pure part: against slow twins that take one port at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "fwd/auto.h"

static uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* One bit in share is set. */
static void fill(struct portmap *m, uint64_t *seed, unsigned share)
{
	memset(m, 0, sizeof(*m));
	for (unsigned p = 0; p < PORTS; p++) {
		if (!(rnd(seed) % share))
			portmap_set(m, (uint16_t)p);
	}
}

static void want_check(uint16_t first, uint16_t last, uint16_t to, uint64_t *seed)
{
	struct fwd_rule r = { .first = first, .last = last, .to = to };
	struct portmap there, ours, want;

	fill(&there, seed, 3);
	fill(&ours, seed, 5);
	memset(&want, 0xff, sizeof(want));
	auto_want(&r, &there, &ours, &want);
	for (unsigned p = 0; p < PORTS; p++) {
		uint16_t over_there = (uint16_t)(to + (p - first));
		bool w = p >= first && p <= last && portmap_has(&there, over_there) && !portmap_has(&ours, over_there);

		if (portmap_has(&want, (uint16_t)p) != w)
			fail_msg("%u-%u:%u, port %u", first, last, to, p);
	}
}

static void test_want(void **state)
{
	static const uint16_t t[][3] = {
		{ 1, 65535, 1 },        { 80, 80, 80 },       { 63, 64, 63 },      { 64, 127, 64 },  { 1, 1, 65535 },
		{ 65535, 65535, 1 },    { 1000, 2000, 1001 }, { 1000, 2000, 999 }, { 1, 64, 65472 }, { 65472, 65535, 1 },
		{ 30000, 60000, 1000 }, { 1, 32768, 32768 },  { 128, 191, 64 },    { 1, 1, 1 },      { 65535, 65535, 65535 },
	};
	uint64_t seed = 88172645463325252u;

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		want_check(t[i][0], t[i][1], t[i][2], &seed);
	for (unsigned i = 0; i < 200; i++) {
		unsigned first = 1 + (unsigned)(rnd(&seed) % 65535), n = (unsigned)(rnd(&seed) % (65536 - first));
		unsigned to = 1 + (unsigned)(rnd(&seed) % (65535 - n));

		want_check((uint16_t)first, (uint16_t)(first + n), (uint16_t)to, &seed);
	}
}

static void test_diff(void **state)
{
	struct portmap m[4], none = { { 0 } };
	struct auto_diff d;
	uint64_t seed = 42;

	for (unsigned i = 0; i < 8; i++) {
		const struct portmap *keep = i & 1 ? &m[2] : NULL, *refused = i & 2 ? &m[3] : NULL;

		for (unsigned k = 0; k < 4; k++)
			fill(&m[k], &seed, 3);
		auto_diff(&m[0], &m[1], keep, refused, &d);
		assert_true(d.any);
		for (unsigned p = 0; p < PORTS; p++) {
			bool want = portmap_has(&m[0], (uint16_t)p), open = portmap_has(&m[1], (uint16_t)p);

			assert_int_equal(portmap_has(&d.open, (uint16_t)p),
					 want && !open && !(refused && portmap_has(refused, (uint16_t)p)));
			assert_int_equal(portmap_has(&d.close, (uint16_t)p),
					 open && !want && !(keep && portmap_has(keep, (uint16_t)p)));
		}
	}
	auto_diff(&m[0], &m[0], NULL, NULL, &d);
	assert_false(d.any);
	auto_diff(&m[0], &none, NULL, &m[0], &d);
	assert_false(d.any);
	auto_diff(&none, &m[0], &m[0], NULL, &d);
	assert_false(d.any);
}

static void test_next(void **state)
{
	static const uint16_t ports[] = { 0, 1, 63, 64, 65, 127, 128, 4000, 65471, 65472, 65535 };
	struct portmap m = { { 0 } };
	uint32_t p = 0;

	assert_false(auto_port_next(&m, &p));
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		portmap_set(&m, ports[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++, p++) {
		assert_true(auto_port_next(&m, &p));
		assert_int_equal(p, ports[i]);
	}
	assert_false(auto_port_next(&m, &p));
}

static void test_interval(void **state)
{
	const uint64_t s = NSEC_PER_SEC, now = 1000 * s;

	/* A port is found after half an interval on average: within 200 ms, the time of a look included. */
	assert_true(AUTO_IDLE_NS / 2 < 200 * NSEC_PER_MSEC);
	assert_int_equal(auto_interval(now, 0, 0), AUTO_IDLE_NS);
	assert_int_equal(auto_interval(now, now, 0), AUTO_BUSY_NS);
	assert_int_equal(auto_interval(now, now - s, 100 * NSEC_PER_USEC), AUTO_BUSY_NS);
	assert_int_equal(auto_interval(now, now - 2 * s, 0), AUTO_IDLE_NS);
	/* Whatever a look costs, it is half a percent of the time, unless that is longer than anybody wants to wait. */
	assert_int_equal(auto_interval(now, now, NSEC_PER_MSEC), 200 * NSEC_PER_MSEC);
	assert_int_equal(auto_interval(now, 0, 10 * NSEC_PER_MSEC), 2 * s);
	assert_int_equal(auto_interval(now, 0, s), AUTO_MAX_NS);
	assert_int_equal(auto_interval(now, now, UINT64_MAX), AUTO_MAX_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_want),
		cmocka_unit_test(test_diff),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
