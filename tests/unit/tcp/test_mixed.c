/* SPDX-License-Identifier: MIT */
/* Both directions at once, with everything chosen by a number: many small worlds instead of a few that somebody thought of. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sim.h"

#define PICK(r, tab) ((tab)[rnd(r) % ARRAY_SIZE(tab)])

static uint32_t rnd(uint32_t *r)
{
	*r = *r * 1664525u + 1013904223u;
	return *r >> 8;
}

static struct sim_conf mixed(uint32_t seed)
{
	static const size_t mtu[] = { 576, 1280, 1500, 9000, 65520 };
	static const uint32_t sndbuf[] = { 4608, 10000, 40000, 87040, 500000 };
	static const uint32_t rcvbuf[] = { 600, 3000, 20000, 65535, 400000 };
	static const uint32_t bytes[] = { 0, 1, 100, 5000, 70000, 200000 };
	static const uint32_t piece[] = { 0, 10, 1000, 1460, 9999, 70000 };
	static const uint64_t gap_us[] = { 0, 10, 1000, 20000 };
	uint32_t r = seed * 2654435761u;
	struct sim_conf c = { .seed = seed, .close = true, .in = rnd(&r) & 1 };

	c.w.mtu = PICK(&r, mtu);
	c.w.v6 = rnd(&r) & 1;
	c.w.peek_off_err = rnd(&r) & 1 ? EOPNOTSUPP : 0;
	c.w.offloads = rnd(&r) & 1 ? LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 : 0;
	c.g.mss = (uint16_t)(c.w.mtu - (c.w.v6 ? 60 : 40));
	c.g.tso = rnd(&r) & 1 && c.g.mss < 30000 ? 60000 : 0;
	c.g.no_wscale = rnd(&r) % 4 == 0;
	c.g.wscale = (uint8_t)(rnd(&r) % 8);
	c.g.rcvbuf = PICK(&r, rcvbuf);
	c.g.iss = rnd(&r) << 8;
	c.g.ack_delay_ns = rnd(&r) % 3 * 20 * NSEC_PER_MSEC;
	c.g.close = true;
	c.g.total = PICK(&r, bytes);
	c.write = PICK(&r, piece);
	c.write_gap_ns = PICK(&r, gap_us) * NSEC_PER_USEC;
	c.sndbuf = PICK(&r, sndbuf);
	c.overhead = rnd(&r) % 1000;
	c.chunk = rnd(&r) & 1 ? 4096 : 1;
	c.ack_delay_ns = PICK(&r, gap_us) * NSEC_PER_USEC;
	c.total = PICK(&r, bytes);
	c.push = PICK(&r, piece);
	c.push_gap_ns = PICK(&r, gap_us) * NSEC_PER_USEC;
	c.rcvbuf = rnd(&r) & 1 ? 3000 : 0;
	c.link_room = rnd(&r) % 4 ? 0 : 1 + rnd(&r) % 10;
	c.link_gap_ns = PICK(&r, gap_us) * NSEC_PER_USEC;
	c.g.sack = rnd(&r) & 1;
	c.g.ts = rnd(&r) & 1;
	c.w.lossy = rnd(&r) % 4;
	/* A byte at a time takes as long as it takes. */
	if (c.write && c.write < 100)
		c.g.total = MIN(c.g.total, (uint64_t)5000);
	if (c.push && c.push < 100)
		c.total = MIN(c.total, (uint64_t)5000);
	return c;
}

/* Nothing is lost on the way, so nothing is sent twice, by anybody, and no probe is needed of the guest. */
static void test_lossless(void **state)
{
	for (uint32_t seed = 1; seed <= 300; seed++) {
		struct sim_conf c = mixed(seed);
		struct sim s;

		sim_init(&s, &c);
		sim_finish(&s, 3600 * NSEC_PER_SEC);
		if (s.p.rexmits || s.p.probes || s.p.dup_in)
			print_error("seed %u: guest sent %u again and %u probes, got %u twice\n", seed, s.p.rexmits, s.p.probes,
				    s.p.dup_in);
		assert_int_equal(s.p.rexmits, 0);
		assert_int_equal(s.p.probes, 0);
		assert_int_equal(s.p.dup_in, 0);
		sim_fini(&s);
	}
}

static void test_lossy(void **state)
{
	for (uint32_t seed = 1001; seed <= 1160; seed++) {
		struct sim_conf c = mixed(seed);
		uint32_t r = seed;

		c.up = (struct path){ .loss = rnd(&r) % 150, .dup = rnd(&r) % 50, .reorder = rnd(&r) % 100 };
		c.down = (struct path){ .loss = rnd(&r) % 150, .dup = rnd(&r) % 50, .reorder = rnd(&r) % 100 };
		c.up.delay_ns = rnd(&r) % 30 * NSEC_PER_MSEC;
		c.g.sack = rnd(&r) & 1;
		c.g.ts = rnd(&r) & 1;
		c.w.lossy = rnd(&r) % 4;
		sim_transfer(&c, 20000 * NSEC_PER_SEC);
	}
}

/* Half or all of the memory for connections in trouble is gone, but for a few chunks. */
static uint32_t world_starve(struct world *w, uint32_t *r, uint32_t *chunk)
{
	static const uint32_t tab[] = { 0, CHUNKS_MAX / 2 - 10, CHUNKS_MAX / 2, CHUNKS_MAX - 6 };
	uint32_t n = 0, max = PICK(r, tab);

	for (max += max ? rnd(r) % 6 : 0; n < max; n++) {
		chunk[n] = chunk_get(w->t->pool);
		assert_int_not_equal(chunk[n], 0);
	}
	return n;
}

/* Worse than any link: much is lost, doubled or overtaken, the path has delay, the remote rests for seconds, memory is short. */
static void test_wild(void **state)
{
	static const unsigned loss[] = { 1, 10, 50, 150 };
	static const uint32_t bytes[] = { 1, 100, 5000, 70000, 400000 };
	static uint32_t chunk[CHUNKS_MAX];

	for (uint32_t seed = 2001; seed <= 2100; seed++) {
		struct sim_conf c = mixed(seed);
		uint32_t r = seed * 7919u, kind = rnd(&r) % 4, n;
		struct sim s;

		c.g.total = c.write && c.write < 100 ? 5000 : PICK(&r, bytes);
		c.total = c.push && c.push < 100 ? 5000 : PICK(&r, bytes);
		c.up = (struct path){ .loss = PICK(&r, loss), .delay_ns = rnd(&r) % 30 * NSEC_PER_MSEC };
		c.down = (struct path){ .loss = PICK(&r, loss), .delay_ns = rnd(&r) % 30 * NSEC_PER_MSEC };
		c.up.dup = c.down.dup = kind & 1 ? rnd(&r) % 100 : 0;
		c.up.reorder = c.down.reorder = kind & 2 ? rnd(&r) % 200 : 0;
		c.stall_at = rnd(&r) % 300000;
		c.stall_ns = rnd(&r) % 3 ? 0 : rnd(&r) % 20 * NSEC_PER_SEC;
		sim_init(&s, &c);
		n = world_starve(&s.w, &r, chunk);
		sim_finish(&s, 20000 * NSEC_PER_SEC);
		while (n)
			chunk_put(s.w.t->pool, chunk[--n]);
		sim_fini(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lossless),
		cmocka_unit_test(test_lossy),
		cmocka_unit_test(test_wild),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
