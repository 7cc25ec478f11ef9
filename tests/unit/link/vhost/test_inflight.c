/* SPDX-License-Identifier: MIT */
/* A queue whose device vanishes in the middle of its work, and the one that goes on with it by the in-flight buffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front.h"

#define SIZE 16u
#define CHAINS 4096u
#define ROOM 8u
#define TABLES (DRV_ROOM + 0x10000)

struct world {
	struct vmem m;
	struct drv d;
	struct vq q;
	uint8_t notes[32 + 32 * SIZE] __attribute__((aligned(64)));
	struct {
		uint16_t head;
		uint8_t descs;
		size_t len;
	} chain[CHAINS]; /* that were made available */
	unsigned added, taken, pushed, shown, reaped;
	unsigned descs; /* of those that the driver has not got back */
	uint32_t seed;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(vmem_init(&w->m), 0);
	drv_mem_init(&w->d, &w->m);
	w->d.packed = *state;
	w->seed = 1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	drv_mem_fini(&w->d);
	vmem_fini(&w->m);
	free(w);
	return 0;
}

static uint32_t rnd(struct world *w, uint32_t below)
{
	w->seed = w->seed * 1664525u + 1013904223u;
	return (w->seed >> 8) % below;
}

/* The front-end knows nothing of what the device before this one did. */
static int start(struct world *w, bool resume)
{
	struct vq_conf c = {
		.desc = w->d.desc - DRV_GUEST + DRV_USER,
		.avail = w->d.avail - DRV_GUEST + DRV_USER,
		.used = w->d.used - DRV_GUEST + DRV_USER,
		.size = w->d.size,
		.packed = w->d.packed,
		.indirect = true,
		.notes = w->notes,
		.resume = resume,
	};

	return vq_start(&w->q, &w->m, &c);
}

static void add(struct world *w)
{
	unsigned n = 1 + rnd(w, 4), indirect = rnd(w, 2), descs = indirect ? 1 : n;
	struct drv_piece p[4];
	uint64_t table = TABLES + 64 * (w->added % SIZE);

	if (w->added == CHAINS || w->descs + descs > SIZE)
		return;
	for (unsigned i = 0; i < n; i++) {
		p[i] = (struct drv_piece){ .addr = DRV_ROOM + 64 * rnd(w, 100), .len = 1 + rnd(w, 60) };
		w->chain[w->added].len += p[i].len;
	}
	w->chain[w->added].head = indirect ? drv_add_indirect(&w->d, table, p, n, 0) : drv_add(&w->d, p, n, 0);
	w->chain[w->added++].descs = (uint8_t)descs;
	w->descs += descs;
}

static void take(struct world *w)
{
	struct iovec iov[ROOM];
	struct vq_chain c;

	assert_int_equal(vq_pop(&w->q, iov, ROOM, &c), w->taken < w->added);
	if (w->taken == w->added)
		return;
	assert_int_equal(c.head, w->chain[w->taken].head);
	assert_int_equal(c.len, w->chain[w->taken].len);
	w->taken++;
}

static void show(struct world *w)
{
	(void)!vq_publish(&w->q);
	w->shown = w->pushed;
	assert_int_equal(drv_used_total(&w->d), w->shown);
	for (; w->reaped < w->shown; w->reaped++) {
		assert_int_equal(drv_reap(&w->d).id, w->chain[w->reaped].head);
		w->descs -= w->chain[w->reaped].descs;
	}
}

/* Whatever was taken, and given back without being shown, comes again in its order; what was shown does not. */
static void vanish(struct world *w)
{
	w->taken = w->pushed = w->shown;
	assert_int_equal(start(w, true), 0);
}

static void test_restart_in_the_middle(void **state)
{
	struct world *w = *state;
	unsigned restarts = 0;

	drv_ring_init(&w->d, SIZE, 0, false);
	assert_int_equal(start(w, true), 0);
	while (w->shown < CHAINS) {
		unsigned n;

		switch (rnd(w, 9)) {
		case 0:
			vanish(w);
			restarts++;
			break;
		case 1:
			show(w);
			break;
		case 2:
			n = rnd(w, 1 + w->taken - w->pushed);
			vq_unpop(&w->q, n);
			w->taken -= n;
			break;
		case 3:
		case 4:
			if (w->pushed < w->taken)
				vq_push(&w->q, w->chain[w->pushed++].head, 0);
			break;
		case 5:
		case 6:
			take(w);
			break;
		default:
			add(w);
		}
	}
	assert_in_range(restarts, 500, UINT32_MAX);
}

/* Where the front-end was told the position, the notes count no more. */
static void test_end(void **state)
{
	struct world *w = *state;

	drv_ring_init(&w->d, SIZE, 0, false);
	for (unsigned round = 0; round < 3; round++) {
		drv_ring_init(&w->d, SIZE, 0, false);
		w->added = w->taken = w->pushed = w->shown = w->reaped = w->descs = 0;
		memset(w->chain, 0, sizeof(w->chain));
		assert_int_equal(start(w, true), 0);
		while (w->added < 3)
			add(w);
		take(w);
		vq_push(&w->q, w->chain[w->pushed++].head, 0);
		show(w);
		take(w);
		vq_end(&w->q);
		/* Others are not taken for what they aren't. */
		assert_int_equal(w->notes[8] | w->notes[9], 0);
	}
	/* Nor are those of a ring of another size. */
	assert_int_equal(start(w, false), 0);
	w->notes[10]++;
	drv_ring_init(&w->d, SIZE, 0, false);
	assert_int_equal(start(w, true), 0);
	assert_int_equal(w->notes[10], SIZE);
}

static uint64_t get(const uint8_t *p, unsigned len)
{
	uint64_t v = 0;

	memcpy(&v, p, len);
	return v;
}

/* As the protocol's text has it, byte by byte. */
static void test_layout(void **state)
{
	struct world *w = *state;
	struct drv_piece p[2] = { { DRV_ROOM, 100 }, { DRV_ROOM + 500, 77 } };
	const uint8_t *n = w->notes, *e = n + 32;

	memset(w->notes, 0xee, sizeof(w->notes));
	drv_ring_init(&w->d, SIZE, 0, false);
	assert_int_equal(start(w, true), 0);
	assert_int_equal(get(n, 8), 0);
	assert_int_equal(get(n + 8, 2), 1);
	assert_int_equal(get(n + 10, 2), SIZE);
	w->chain[0].len = 177;
	w->chain[0].head = drv_add(&w->d, p, 2, 0);
	w->added = 1;
	take(w);
	if (!w->d.packed) {
		assert_int_equal(get(n + 14, 2), 0);
		for (unsigned i = 0; i < SIZE; i++)
			assert_int_equal(n[16 + 16 * i], 0);
		vq_push(&w->q, w->chain[0].head, 0);
		(void)!vq_publish(&w->q);
		assert_int_equal(get(n + 14, 2), 1);
		return;
	}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(get(n + 12 + 2 * i, 2), 2); /* free_head, old_free_head */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(get(n + 16 + 2 * i, 2), 0); /* used_idx, old_used_idx */
		assert_int_equal(n[20 + i], 1); /* wrap counters */
	}
	assert_int_equal(e[0], 1);
	assert_int_equal(get(e + 2, 2), 1); /* next */
	assert_int_equal(get(e + 4, 2), 1); /* last */
	assert_int_equal(get(e + 6, 2), 2); /* num */
	assert_int_equal(get(e + 8, 8), 0); /* counter */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(get(e + 32 * i + 20, 4), p[i].len);
		assert_int_equal(get(e + 32 * i + 24, 8), p[i].addr);
	}
	assert_int_equal(get(e + 32 + 16, 2), w->chain[0].head); /* id */
	assert_int_equal(get(e + 18, 2) & DRV_NEXT, DRV_NEXT);
	vq_push(&w->q, w->chain[0].head, 0);
	(void)!vq_publish(&w->q);
	assert_int_equal(e[0], 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(get(n + 12 + 2 * i, 2), 0);
		assert_int_equal(get(n + 16 + 2 * i, 2), 2);
	}
	for (uint16_t i = 2; i < SIZE; i++)
		assert_int_equal(get(e + 32 * i + 2, 2), i + 1);
}

static uint16_t note(struct inflight *f, unsigned descs)
{
	struct vring_packed_desc d = { .len = 5 };
	uint16_t entry = inflight_begin(f);

	while (descs--)
		inflight_add(f, entry, &d);
	inflight_end(f, entry);
	return entry;
}

/* Its end came while it showed something: before the guest could see it, or after. */
static void test_end_while_showing(void **state)
{
	struct world *w = *state;
	struct inflight_packed *at = (void *)w->notes;
	uint16_t entry[INFLIGHT_CHAINS], descs[INFLIGHT_CHAINS], old;
	struct inflight f;

	for (unsigned shown = 0; shown < 2; shown++) {
		uint16_t first, second, third;

		inflight_start(&f, at, SIZE, SIZE - 1);
		first = note(&f, 3);
		second = note(&f, 1);
		third = note(&f, 2);
		inflight_give_back(&f, first);
		inflight_give_back(&f, second);
		inflight_show(&f, 0x8000 | 3);

		assert_int_equal(inflight_resume(&f, at, SIZE, &old), 0);
		assert_int_equal(old, SIZE - 1);
		inflight_settle(&f, shown);
		assert_int_equal(inflight_used(&f), shown ? 0x8000 | 3 : SIZE - 1);
		assert_int_equal(inflight_chains(&f, entry, descs), shown ? 1 : 3);
		assert_int_equal(entry[shown ? 0 : 2], third);
		assert_int_equal(descs[shown ? 0 : 2], 2);
		if (!shown) {
			assert_int_equal(entry[0], first);
			assert_int_equal(entry[1], second);
			assert_int_equal(descs[0], 3);
		}
		/* All others are free. */
		for (unsigned i = 0; i < (shown ? SIZE - 2 : SIZE - 6); i++)
			note(&f, 1);
		assert_int_equal(at->free_head, SIZE);
		assert_int_equal(inflight_chains(&f, entry, descs), shown ? SIZE - 1 : SIZE - 3);
		for (unsigned i = shown ? 1 : 3, n = 0; i < SIZE - 3; i++, n++)
			assert_int_equal(descs[i], 1);
	}
}

/* The notes are in other hands as well. */
static void test_notes_that_make_no_sense(void **state)
{
	struct world *w = *state;
	struct drv_piece p = { DRV_ROOM, 4 };

	for (unsigned round = 0; round < 5000; round++) {
		struct vq_chain c;
		struct iovec iov[ROOM];
		unsigned n = 0;

		drv_ring_init(&w->d, SIZE, 0, false);
		for (unsigned i = 0; i < sizeof(w->notes); i++)
			w->notes[i] = rnd(w, 3) ? (uint8_t)rnd(w, round & 1 ? 256 : SIZE) : 0;
		memcpy(w->notes + 8, &(uint16_t[]){ 1, SIZE }, 4);
		assert_int_equal(start(w, true), 0);
		for (unsigned i = 0; i < SIZE; i++)
			drv_add(&w->d, &p, 1, 0);
		while (n < 2 * SIZE && vq_pop(&w->q, iov, ROOM, &c) == 1) {
			w->notes[rnd(w, sizeof(w->notes))] = (uint8_t)rnd(w, 256);
			if (n++ % 3 == 2)
				vq_unpop(&w->q, 1);
			else
				vq_push(&w->q, c.head, 0);
			if (n % 5 == 0)
				(void)!vq_publish(&w->q);
		}
	}
}

/* --- the messages --- */

#define FEATURES (UINT64_C(1) << 32 | UINT64_C(1) << 30)
#define RING_PACKED (UINT64_C(1) << 34)

static int front_setup(void **state)
{
	struct front *f = calloc(1, sizeof(*f));
	bool packed = *state;

	front_init(f);
	f->drv.packed = packed;
	*state = f;
	return 0;
}

static int front_teardown(void **state)
{
	front_fini(*state);
	free(*state);
	return 0;
}

/* The test program puts a handler of its own for SIGBUS in place for each test. */
static void front_again(void **state)
{
	bool packed = ((struct front *)*state)->drv.packed;

	front_teardown(state);
	*state = (void *)(packed ? "packed" : NULL);
	front_setup(state);
}

/* The device takes n chains of ring 1, and gives back so many of them; the first one's name. */
static unsigned work(struct front *f, unsigned n, unsigned back)
{
	struct vq *q = &f->d.ring[1].q;
	unsigned first = 0;
	uint16_t head[SIZE];

	for (unsigned i = 0; i < n; i++) {
		struct vq_chain c;
		struct iovec iov;

		assert_int_equal(vq_pop(q, &iov, 1, &c), 1);
		head[i] = c.head;
		first = head[0];
	}
	for (unsigned i = 0; i < back; i++)
		vq_push(q, head[i], 0);
	vdev_ring_publish(&f->d, 1);
	return first;
}

static void connect_again(struct front *f, const uint8_t *buffer, int fd)
{
	vdev_reset(&f->d);
	front_negotiate(f, FEATURES | (f->drv.packed ? RING_PACKED : 0), 0);
	assert_int_equal(front_memory(f), 0);
	assert_int_equal(front_ask_fd(f, 32, FRONT_NEED_REPLY, buffer, 24, fd), 0);
	/* It believes that all that was added is over. */
	front_ring(f, &f->drv, 1, -1, -1);
}

static void test_front_end_comes_back(void **state)
{
	struct front *f;
	uint16_t queues = 2, size = SIZE;
	uint8_t ask[24] = { 0 }, buffer[24] = { 0 };
	struct drv_piece p = { DRV_ROOM, 4 };
	struct vq_chain c;
	struct iovec iov;
	struct stat st;
	int fd;

	front_again(state);
	f = *state;
	memcpy(ask + 16, &queues, 2);
	memcpy(ask + 18, &size, 2);
	front_negotiate(f, FEATURES | (f->drv.packed ? RING_PACKED : 0), 0);
	front_send(f, 31, 0, ask, sizeof(ask));
	assert_int_equal(front_work(f), 0);
	assert_int_equal(front_answer(f, 31, buffer, sizeof(buffer), &fd), sizeof(buffer));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, f->drv.packed ? 2 * (64 + 32 * SIZE) : 2 * (64 + 16 * SIZE));
	drv_ring_init(&f->drv, SIZE, 0, false);
	connect_again(f, buffer, fd);
	for (unsigned i = 0; i < 5; i++)
		drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(work(f, 3, 1), 0);
	connect_again(f, buffer, fd);
	assert_int_equal(work(f, 4, 2), 1);
	/* Another buffer while the ring runs: nothing is lost, and it counts from now on. */
	vq_unpop(&f->d.ring[1].q, 2);
	memset(buffer, 0, 8);
	assert_int_equal(front_ask_fd(f, 32, FRONT_NEED_REPLY, buffer, 24, fd), 1);
	assert_int_equal(work(f, 1, 1), 3);
	buffer[0] = (uint8_t)(st.st_size & 0xff);
	buffer[1] = (uint8_t)(st.st_size >> 8);
	assert_int_equal(front_ask_fd(f, 32, FRONT_NEED_REPLY, buffer, 24, fd), 0);
	connect_again(f, buffer, fd);
	assert_int_equal(work(f, 1, 0), 4);
	vq_unpop(&f->d.ring[1].q, 1);
	/* Where it was told the position it knows better. */
	assert_int_equal(front_ring_stop(f, 1), drv_base(&f->drv, 4));
	connect_again(f, buffer, fd);
	assert_int_equal(vq_pop(&f->d.ring[1].q, &iov, 1, &c), 0);
	/* The file is cut short: there are no notes, and no more happens. */
	assert_int_equal(ftruncate(fd, 0), 0);
	drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(work(f, 1, 1), 5);
	queues = 0xffff;
	memcpy(buffer + 16, &queues, 2);
	assert_int_equal(front_ask_fd(f, 32, FRONT_NEED_REPLY, buffer, 24, fd), 1);
	close(fd);
}

#define SPLIT_ONE(f, s, t) \
	{ \
#f, f, s, t, NULL \
	}
#define PACKED_TOO(f, s, t) \
	SPLIT_ONE(f, s, t), \
	{ \
#f " (packed)", f, s, t, (void *)"packed" \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PACKED_TOO(test_restart_in_the_middle, setup, teardown),
		PACKED_TOO(test_end, setup, teardown),
		PACKED_TOO(test_layout, setup, teardown),
		SPLIT_ONE(test_end_while_showing, setup, teardown),
		PACKED_TOO(test_notes_that_make_no_sense, setup, teardown),
		PACKED_TOO(test_front_end_comes_back, front_setup, front_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
