/* SPDX-License-Identifier: MIT */
/* Several pairs of queues: which one a frame comes by, and which one it goes to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../link_world.h"
#include "base/log.h"
#include "front.h"

#define BIT(n) (UINT64_C(1) << (n))
#define BASIC (BIT(32) | BIT(30))
#define MERGE BIT(15)
#define MQ BIT(22)
#define SIZE 16u /* of a queue */
#define PAIRS 4u /* that the guest uses */
#define BUF 2048u
#define FRAME 100u
#define VNET 12u

struct world {
	struct link_world w;
	struct front f;
	struct drv d[2 * PAIRS];
	int kick[2 * PAIRS], call[2 * PAIRS];
	unsigned frames, queue; /* queue: of the last frame */
};

static void on_frame(struct link_world *w, const struct frame *f)
{
	struct world *t = container_of(w, struct world, w);

	assert_int_equal(f->len, FRAME);
	t->frames++;
	t->queue = w->link->rx_queue;
}

static int turns(struct front *f)
{
	struct world *t = container_of(f, struct world, f);

	for (unsigned i = 0; i < 4; i++)
		link_world_turn(&t->w);
	/* Rings are looked at once more soon after they have started. */
	while (timers_next(&t->w.loop.timers, t->w.loop.now_ns) != UINT64_MAX)
		link_world_turn(&t->w);
	return 0;
}

static void quiet(void *ctx, enum log_level level, const char *line)
{
}

/* A guest that has started its card, with all its queues empty. */
static int setup(void **state)
{
	struct world *t = calloc(1, sizeof(*t));
	struct sockaddr_un sa;
	socklen_t len;

	log_set_sink(quiet, NULL);
	assert_int_equal(link_world_init(&t->w, on_frame), 0);
	len = link_world_vhost(&t->w, false, &sa);
	front_init_client(&t->f, &sa, len, turns);
	front_negotiate(&t->f, BASIC | MERGE, 0);
	assert_int_equal(front_memory(&t->f), 0);
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		t->kick[i] = eventfd(0, EFD_NONBLOCK);
		t->call[i] = eventfd(0, EFD_NONBLOCK);
		t->d[i] = t->f.drv;
		t->d[i].ring_at = 0x1000 * (i + 1);
		drv_ring_init(&t->d[i], SIZE, 0, false);
		front_ring(&t->f, &t->d[i], i, t->kick[i], t->call[i]);
	}
	assert_int_equal(t->w.up, 1);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct world *t = *state;

	link_world_fini(&t->w);
	for (unsigned i = 0; i < 2 * PAIRS; i++) {
		close(t->kick[i]);
		close(t->call[i]);
	}
	front_fini_client(&t->f);
	free(t);
	return 0;
}

static void kick(struct world *t, unsigned ring)
{
	if (drv_kick(&t->d[ring]))
		assert_int_equal(eventfd_write(t->kick[ring], 1), 0);
	turns(&t->f);
}

/* The guest offers n buffers to a pair. */
static void buffers(struct world *t, unsigned pair, unsigned n)
{
	struct drv *d = &t->d[2 * pair];

	for (unsigned i = 0; i < n; i++) {
		struct drv_piece p = { DRV_ROOM + (pair * SIZE + d->added % SIZE) * BUF, BUF };

		drv_add(d, &p, 1, DRV_WRITE);
	}
	kick(t, 2 * pair);
}

static void enable(struct world *t, unsigned ring, bool on)
{
	uint32_t state[2] = { ring, on };

	assert_int_equal(front_ask(&t->f, 18, FRONT_NEED_REPLY, state, 8), 0);
}

static size_t reserve(struct world *t, unsigned queue, struct txframe *f, unsigned n)
{
	return link_reserve(t->w.link, f, &(struct txwant){ .n = n, .hdr = 54, .len = 1000, .queue = queue });
}

static void commit(struct world *t, const struct txframe *f)
{
	static const uint8_t hdr[54];
	struct txhdr h = { .bytes = hdr, .len = sizeof(hdr) };

	link_commit(t->w.link, f, &h, 1000);
}

/* As many frames have come by each pair. */
static void expect(struct world *t, const uint64_t want[PAIRS])
{
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(drv_used_total(&t->d[2 * i]), want[i]);
}

/* A driver is told of several queues only by a front-end that knows of them, as that has the control queue that goes with them. */
static void test_offer(void **state)
{
	struct world *t = *state;
	uint64_t none = 0, mq = 1;

	assert_int_equal((uint64_t)front_ask(&t->f, 1, 0, NULL, 0) & MQ, MQ);
	assert_int_equal(front_ask(&t->f, 17, 0, NULL, 0), VDEV_PAIRS);
	front_ask(&t->f, 16, 0, &none, 8);
	assert_int_equal((uint64_t)front_ask(&t->f, 1, 0, NULL, 0) & MQ, 0);
	front_ask(&t->f, 16, 0, &mq, 8);
	assert_int_equal((uint64_t)front_ask(&t->f, 1, 0, NULL, 0) & MQ, MQ);
}

static void test_from_each_pair(void **state)
{
	struct world *t = *state;
	struct drv_piece p = { DRV_ROOM, VNET + FRAME };

	memset(drv_at(&t->f.drv, p.addr, p.len), 0, p.len);
	for (unsigned i = 0; i < 5 * PAIRS; i++) {
		unsigned pair = i * 3 % PAIRS;

		drv_add(&t->d[2 * pair + 1], &p, 1, 0);
		kick(t, 2 * pair + 1);
		assert_int_equal(t->frames, i + 1);
		assert_int_equal(t->queue, pair);
		assert_int_equal(t->w.link->rx_queue, 0);
		drv_reap(&t->d[2 * pair + 1]);
	}
}

static void test_to_each_pair(void **state)
{
	struct world *t = *state;
	uint8_t frame[FRAME] = { 0 };
	eventfd_t n;

	for (unsigned i = 0; i < PAIRS; i++) {
		buffers(t, i, SIZE);
		(void)!eventfd_read(t->call[2 * i], &n);
	}
	/* All of one turn, and all shown at its end, each with a call. */
	assert_int_equal(link_send(t->w.link, 3, frame, sizeof(frame)), 0);
	assert_int_equal(link_send(t->w.link, 1, frame, sizeof(frame)), 0);
	assert_int_equal(link_send(t->w.link, 3, frame, sizeof(frame)), 0);
	expect(t, (uint64_t[PAIRS]){ 0, 0, 0, 0 });
	link_flush(t->w.link);
	expect(t, (uint64_t[PAIRS]){ 0, 1, 0, 2 });
	for (unsigned i = 0; i < PAIRS; i++)
		assert_int_equal(eventfd_read(t->call[2 * i], &n), i & 1 ? 0 : -1);

	/* Of a pair that is switched off, that the driver never had, or that cannot be: by the first. */
	enable(t, 6, false);
	assert_int_equal(link_send(t->w.link, 3, frame, sizeof(frame)), 0);
	assert_int_equal(link_send(t->w.link, VDEV_PAIRS - 1, frame, sizeof(frame)), 0);
	assert_int_equal(link_send(t->w.link, VDEV_PAIRS, frame, sizeof(frame)), 0);
	assert_int_equal(link_send(t->w.link, UINT32_MAX, frame, sizeof(frame)), 0);
	link_flush(t->w.link);
	expect(t, (uint64_t[PAIRS]){ 4, 1, 0, 2 });
	enable(t, 6, true);
	assert_int_equal(link_send(t->w.link, 3, frame, sizeof(frame)), 0);
	link_flush(t->w.link);
	expect(t, (uint64_t[PAIRS]){ 4, 1, 0, 3 });
}

/* What is reserved on one pair and not committed goes back when something is reserved on another. */
static void test_reservations(void **state)
{
	struct world *t = *state;
	struct txframe f[LINK_BATCH];

	buffers(t, 1, SIZE);
	buffers(t, 2, SIZE);
	for (unsigned round = 0; round < SIZE / 2; round++) {
		assert_int_equal(reserve(t, 1, f, SIZE), SIZE - round);
		commit(t, &f[0]);
		assert_int_equal(reserve(t, 2, f, SIZE), SIZE - 2 * round);
		commit(t, &f[0]);
		commit(t, &f[1]);
		if (round % 2)
			link_flush(t->w.link);
	}
	expect(t, (uint64_t[PAIRS]){ 0, SIZE / 2, SIZE, 0 });
	for (unsigned i = 0; i < SIZE; i++) {
		if (i < SIZE / 2)
			assert_int_equal(drv_reap(&t->d[2]).id, i);
		assert_int_equal(drv_reap(&t->d[4]).id, i);
	}
	assert_int_equal(reserve(t, 2, f, 1), 0);
	assert_int_equal(reserve(t, 1, f, SIZE), SIZE / 2);
	/* The ring stops: nothing of it is kept. */
	assert_int_equal(front_ring_stop(&t->f, 2), SIZE / 2);
	commit(t, &f[0]);
	link_flush(t->w.link);
	expect(t, (uint64_t[PAIRS]){ 0, SIZE / 2, SIZE, 0 });
}

/* Who waits for a pair goes on when that has room, or when it is no more; others don't wait. */
static void test_out_of_buffers(void **state)
{
	struct world *t = *state;
	struct txframe f[LINK_BATCH];

	for (unsigned round = 0; round < 2; round++) {
		unsigned ready = t->w.ready;

		assert_int_equal(reserve(t, 1, f, 1), 0);
		assert_int_equal(reserve(t, 2, f, 1), 0);
		buffers(t, 0, 2);
		assert_int_equal(t->w.ready, ready);
		assert_int_equal(reserve(t, 0, f, 1), 1);
		buffers(t, 2, 1);
		assert_int_equal(t->w.ready, ready + 1);
		assert_int_equal(reserve(t, 2, f, 1), 1);
		commit(t, &f[0]);
		if (!round)
			enable(t, 2, false);
		else
			front_ring_stop(&t->f, 2);
		assert_int_equal(t->w.ready, ready + 2);
		assert_int_equal(reserve(t, 1, f, 1), 1);
		if (!round)
			enable(t, 2, true);
		assert_int_equal(t->w.ready, ready + 2);
	}
	assert_int_equal(t->w.down, 0);
}

/* No superframe is longer than half of the smallest queue can hold that is in use. */
static void test_smallest_queue(void **state)
{
	struct world *t = *state;
	size_t all = t->w.link->max_body;

	front_ring_stop(&t->f, 4);
	assert_int_equal(t->w.link->max_body, all);
	drv_ring_init(&t->d[4], SIZE / 2, 0, false);
	front_ring(&t->f, &t->d[4], 4, t->kick[4], t->call[4]);
	assert_in_range(t->w.link->max_body, 1500, all - 1);
	front_ring_stop(&t->f, 4);
	assert_int_equal(t->w.link->max_body, all);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_offer),        T(test_from_each_pair), T(test_to_each_pair),
		T(test_reservations), T(test_out_of_buffers), T(test_smallest_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
