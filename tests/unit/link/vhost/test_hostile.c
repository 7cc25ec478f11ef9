/* SPDX-License-Identifier: MIT */
/*
 * A guest that breaks the rules in every way there is, and whoever comes next: the device stops and says so once, and the next front-end
 * is served. PASST_TEST_LONG in the environment makes random rings and messages several times as many.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "guest.h"

#define SIZE GUEST_SIZE
#define BEYOND (DRV_GUEST + DRV_MEM)
#define TABLE (DRV_ROOM + 0x10000)
#define FRAME GUEST_FRAME

static const struct drv_piece fine = { DRV_ROOM, GUEST_VNET + FRAME };

/* Descriptor 0, and the chain that begins there. way: DRV_WRITE for the queue that leads to the guest. */
static void one(struct drv *d, struct drv_piece p, unsigned flags, uint16_t next)
{
	drv_desc(d, d->desc, 0, &p, flags | (d->packed ? DRV_AVAIL : 0), next);
	if (!d->packed)
		drv_avail(d, 0);
}

static void indirect(struct drv *d, uint32_t len, unsigned flags, unsigned inside)
{
	drv_desc(d, TABLE, 0, &fine, inside, 5);
	one(d, (struct drv_piece){ TABLE, len }, DRV_INDIRECT | flags, 1);
}

static void address_low(struct drv *d, unsigned way)
{
	one(d, (struct drv_piece){ DRV_GUEST - 1, 100 }, way, 0);
}

static void address_high(struct drv *d, unsigned way)
{
	one(d, (struct drv_piece){ BEYOND, 1 }, way, 0);
}

static void address_wraps(struct drv *d, unsigned way)
{
	one(d, (struct drv_piece){ UINT64_MAX - 50, 100 }, way, 0);
}

static void length_long(struct drv *d, unsigned way)
{
	one(d, (struct drv_piece){ DRV_ROOM, UINT32_MAX }, way, 0);
}

static void length_one_more(struct drv *d, unsigned way)
{
	one(d, (struct drv_piece){ BEYOND - 200, 201 }, way, 0);
}

static void second_piece(struct drv *d, unsigned way)
{
	drv_desc(d, d->desc, 1, &(struct drv_piece){ 0, 10 }, way, 0);
	one(d, fine, way | DRV_NEXT, 1);
}

static void direction(struct drv *d, unsigned way)
{
	one(d, fine, way ^ DRV_WRITE, 0);
}

static void directions_mixed(struct drv *d, unsigned way)
{
	drv_desc(d, d->desc, 1, &fine, way ^ DRV_WRITE, 0);
	one(d, fine, way | DRV_NEXT, 1);
}

static void next_outside(struct drv *d, unsigned way)
{
	one(d, fine, way | DRV_NEXT, SIZE);
}

static void next_far_outside(struct drv *d, unsigned way)
{
	one(d, fine, way | DRV_NEXT, UINT16_MAX);
}

static void loop_of_one(struct drv *d, unsigned way)
{
	one(d, fine, way | DRV_NEXT, 0);
}

static void loop_of_all(struct drv *d, unsigned way)
{
	for (uint16_t i = 1; i < SIZE; i++)
		drv_desc(d, d->desc, i, &(struct drv_piece){ DRV_ROOM, 0 }, way | DRV_NEXT, (uint16_t)((i + 1) % SIZE));
	one(d, (struct drv_piece){ DRV_ROOM, 0 }, way | DRV_NEXT, 1);
}

static void head_outside(struct drv *d, unsigned way)
{
	drv_avail(d, SIZE);
}

static void head_far_outside(struct drv *d, unsigned way)
{
	drv_avail(d, UINT16_MAX);
}

static void position_ahead(struct drv *d, unsigned way)
{
	drv_put16(d, d->avail + 2, (uint16_t)(d->added + SIZE + 1));
}

static void position_back(struct drv *d, unsigned way)
{
	drv_put16(d, d->avail + 2, (uint16_t)(d->added - 1));
}

static void position_half_way(struct drv *d, unsigned way)
{
	drv_put16(d, d->avail + 2, (uint16_t)(d->added + 0x8000));
}

static void table_empty(struct drv *d, unsigned way)
{
	indirect(d, 0, 0, way);
}

static void table_short(struct drv *d, unsigned way)
{
	indirect(d, 15, 0, way);
}

static void table_odd(struct drv *d, unsigned way)
{
	indirect(d, 17, 0, way);
}

static void table_huge(struct drv *d, unsigned way)
{
	indirect(d, UINT32_MAX - 15, 0, way);
}

static void table_too_long(struct drv *d, unsigned way)
{
	indirect(d, 16 * 32769, 0, way);
}

static void table_with_next(struct drv *d, unsigned way)
{
	indirect(d, 16, DRV_NEXT, way);
}

static void table_in_table(struct drv *d, unsigned way)
{
	indirect(d, 16, 0, way | DRV_INDIRECT);
}

static void table_left(struct drv *d, unsigned way)
{
	indirect(d, 16, 0, way | DRV_NEXT);
}

static void table_outside(struct drv *d, unsigned way)
{
	one(d, (struct drv_piece){ BEYOND - 8, 16 }, DRV_INDIRECT, 0);
}

static void table_loop(struct drv *d, unsigned way)
{
	drv_desc(d, TABLE, 0, &fine, way | DRV_NEXT, 1);
	drv_desc(d, TABLE, 1, &fine, way | DRV_NEXT, 0);
	one(d, (struct drv_piece){ TABLE, 32 }, DRV_INDIRECT, 0);
}

#define BOTH(name) \
	{ \
#name, name, true \
	}
#define SPLIT_ONLY(name) \
	{ \
#name, name, false \
	}
static const struct {
	const char *name;
	void (*put)(struct drv *d, unsigned way);
	bool packed; /* is one in a packed ring as well */
} crimes[] = {
	BOTH(address_low),
	BOTH(address_high),
	BOTH(address_wraps),
	BOTH(length_long),
	BOTH(length_one_more),
	BOTH(second_piece),
	BOTH(direction),
	BOTH(directions_mixed),
	BOTH(loop_of_all),
	BOTH(table_empty),
	BOTH(table_short),
	BOTH(table_odd),
	BOTH(table_huge),
	BOTH(table_too_long),
	BOTH(table_with_next),
	BOTH(table_in_table),
	BOTH(table_outside),
	SPLIT_ONLY(next_outside),
	SPLIT_ONLY(next_far_outside),
	SPLIT_ONLY(loop_of_one),
	SPLIT_ONLY(head_outside),
	SPLIT_ONLY(head_far_outside),
	SPLIT_ONLY(position_ahead),
	SPLIT_ONLY(position_back),
	SPLIT_ONLY(position_half_way),
	SPLIT_ONLY(table_left),
	SPLIT_ONLY(table_loop),
};

/* Where errors of this ring are told, when it has started. */
static int error_event(struct guest *t, uint64_t ring)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	assert_int_equal(front_ask_fd(&t->f, 14, FRONT_NEED_REPLY, &ring, 8, fd), 0);
	return fd;
}

static void test_broken_rings(void **state)
{
	struct guest *t = *state;
	unsigned told = 0, broken = 0;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(crimes); i++) {
		unsigned ring = i & 1, warnings = t->warnings;
		struct drv *d = ring ? &t->f.drv : &t->rx;
		eventfd_t n = 0;
		int err;

		if (t->packed && !crimes[i / 2].packed)
			continue;
		print_message("%s, ring %u\n", crimes[i / 2].name, ring);
		guest_up(t, GUEST_MERGE | GUEST_INDIRECT, SIZE);
		err = error_event(t, ring);
		crimes[i / 2].put(d, ring ? 0 : DRV_WRITE);
		for (unsigned k = 0; k < 3; k++) {
			guest_kick(t, d, ring);
			assert_false(guest_frame(t));
		}
		assert_false(t->w.link->up);
		/* Once, or not at all when there was more to be told in that second than anybody wants to read. */
		assert_in_range(t->warnings - warnings, 0, 1);
		told += t->warnings - warnings;
		assert_int_equal(eventfd_read(err, &n), 0);
		assert_int_equal(n, 1);
		close(err);
		if (i & 2)
			guest_again(t);
		guest_serves(t);
		guest_again(t);
		broken++;
	}
	assert_in_range(told, t->packed ? 0 : 5, UINT32_MAX);
	assert_int_equal(t->frames, broken);
}

/* Odd, but within the rules: nothing stops. */
static void test_odd_rings(void **state)
{
	struct guest *t = *state;
	static const uint8_t hdr[GUEST_VNET] = { 0 };
	struct drv_piece none = { UINT64_MAX, 0 }, split[FRAME + GUEST_VNET];

	guest_up(t, GUEST_MERGE | GUEST_INDIRECT, SIZE);
	memset(drv_at(&t->f.drv, DRV_ROOM, 4096), 0, 4096);
	/* Nothing at all, and a header alone. */
	drv_add(&t->f.drv, &none, 1, 0);
	drv_add(&t->f.drv, &(struct drv_piece){ DRV_ROOM, GUEST_VNET }, 1, 0);
	guest_kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 0);
	assert_int_equal(t->w.link->stats.rx_bad, 2);
	/* Byte by byte, with nothing in between. */
	for (unsigned i = 0; i < ARRAY_SIZE(split); i++)
		split[i] = i % 3 == 2 ? none : (struct drv_piece){ DRV_ROOM + i, 1 };
	drv_add_indirect(&t->f.drv, TABLE, split, ARRAY_SIZE(split), 0);
	guest_kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->last.len, ARRAY_SIZE(split) - ARRAY_SIZE(split) / 3 - GUEST_VNET);
	/* What the device writes is nothing that it reads. */
	if (!t->packed)
		memset(drv_at(&t->f.drv, t->f.drv.used, 4 + 8 * SIZE), 0x5a, 4 + 8 * SIZE);
	guest_send(t, hdr, FRAME);
	assert_int_equal(t->frames, 2);

	/* Receive buffers without room, and then some in which the header lies in several. */
	for (unsigned i = 0; i < 8; i++)
		drv_add(&t->rx, &none, 1, DRV_WRITE);
	guest_kick(t, &t->rx, 0);
	assert_false(guest_frame(t));
	for (unsigned i = 0; i < 40; i++)
		drv_add(&t->rx, &(struct drv_piece){ DRV_ROOM + 0x20000 + 5 * i, 5 }, 1, DRV_WRITE);
	guest_kick(t, &t->rx, 0);
	assert_true(guest_frame(t));
	assert_int_equal(drv_used_total(&t->rx), 8 + (GUEST_VNET + FRAME + 4) / 5);
	assert_int_equal(*drv_at(&t->rx, DRV_ROOM + 0x20000 + GUEST_VNET + 2, 1), 3);
	assert_true(t->w.link->up);
	assert_int_equal(t->warnings, 0);
}

/* Up to a few frames of any length to the guest, as translators build them. */
static void some_to_guest(struct guest *t)
{
	static struct txframe f[LINK_BATCH];
	uint8_t bytes[54] = { 0 };
	struct txhdr h = { .bytes = bytes, .len = sizeof(bytes) };
	static const uint32_t lens[] = { 100, 3000, 65000 };
	size_t len = guest_rnd(t, lens[guest_rnd(t, ARRAY_SIZE(lens))]);
	struct txwant w = { .n = 1 + guest_rnd(t, 8), .hdr = h.len, .len = len, .queue = guest_rnd(t, 3) };
	size_t n = link_reserve(t->w.link, f, &w);

	for (size_t i = 0; i < n; i++) {
		for (unsigned k = 0; k < f[i].n; k++)
			memset(f[i].body[k].iov_base, 0x77, f[i].body[k].iov_len);
	}
	for (size_t i = 0; i < n && guest_rnd(t, 5); i++)
		link_commit(t->w.link, &f[i], &h, guest_rnd(t, 2) ? len : guest_rnd(t, (uint32_t)len + 1));
	link_flush(t->w.link);
}

/* Descriptors and positions of no sense in all of a queue, or here and there: how many. */
static unsigned ring_any(struct guest *t, struct drv *d, unsigned way)
{
	unsigned every = 1 + 8 * guest_rnd(t, 3), n = 10;

	for (unsigned i = 0; i < SIZE; i++) {
		bool any = !guest_rnd(t, every);

		if (any)
			drv_desc_any(d, d->desc, i, &t->seed);
		else
			drv_desc(d, d->desc, i, &fine, way | (guest_rnd(t, 2) ? DRV_AVAIL : DRV_USED), (uint16_t)i);
		n += any;
		if (!d->packed)
			drv_put16(d, d->avail + 4 + 2 * i, (uint16_t)guest_rnd(t, guest_rnd(t, 8) ? SIZE : 2 * SIZE));
	}
	for (unsigned i = 0; i < 10; i++)
		drv_desc_any(d, DRV_ROOM, i, &t->seed);
	/* Of a packed ring these are what the guest wants to be told of. */
	drv_put16(d, d->avail + 2, (uint16_t)(d->added += guest_rnd(t, guest_rnd(t, 8) ? 4 : 2 * SIZE)));
	return n;
}

static void test_random_rings(void **state)
{
	struct guest *t = *state;
	unsigned descriptors = getenv("PASST_TEST_LONG") ? 1000000 : 100000;
	unsigned broken = 0;

	for (unsigned done = 0; done < descriptors;) {
		if (!t->w.link->up) {
			broken++;
			if (guest_rnd(t, 8) == 0)
				guest_again(t);
			guest_up(t, GUEST_MERGE | GUEST_INDIRECT | (guest_rnd(t, 2) ? GUEST_EVENTS : 0), SIZE);
		}
		done += ring_any(t, &t->rx, DRV_WRITE);
		done += ring_any(t, &t->f.drv, 0);
		for (unsigned i = 0; i < 2; i++)
			assert_int_equal(eventfd_write(t->kick[i], 1), 0);
		some_to_guest(t);
		guest_turns(t);
		some_to_guest(t);
	}
	assert_in_range(broken, 100, UINT32_MAX);
	assert_in_range(t->frames, 100, UINT32_MAX);
	assert_in_range(t->w.link->stats.tx_frames, 100, UINT32_MAX);
	guest_again(t);
	guest_serves(t);
}

/* Messages of any number, flags, size and with any descriptors, at any time, and then a front-end in its right mind. */
static void test_random_messages(void **state)
{
	struct guest *t = *state;
	unsigned messages = getenv("PASST_TEST_LONG") ? 100000 : 14000;

	for (unsigned i = 0; i < messages; i++) {
		static uint8_t body[400];
		int fd[8] = { t->f.drv.fd, t->kick[0], t->f.drv.fd, t->kick[1], t->f.drv.fd, t->call[0], t->call[1], t->kick[1] };
		uint32_t request = guest_rnd(t, 8) ? 1 + guest_rnd(t, 48) : guest_rnd(t, 1u << 24);
		uint32_t flags = guest_rnd(t, 16) ? FRONT_NEED_REPLY : guest_rnd(t, 16) << 2;
		static const size_t sizes[] = { 0, 8, 8, 16, 20, 40, 40, 72 };
		size_t len = guest_rnd(t, 4) ? sizes[guest_rnd(t, 8)] : guest_rnd(t, sizeof(body));

		if (i % 20 == 0) {
			guest_again(t);
			guest_to(t, i / 20 % GUEST_PHASES);
		}
		for (unsigned k = 0; k < sizeof(body); k++)
			body[k] = (uint8_t)(guest_rnd(t, 4) ? 0 : guest_rnd(t, 256));
		front_send_fds(&t->f, request, flags, body, len, fd, guest_rnd(t, 3) ? guest_rnd(t, 2) : guest_rnd(t, 9));
		guest_turns(t);
		/* The connection lives on; what it answers is of no interest. */
		while (recv(t->f.sock, body, sizeof(body), 0) > 0)
			;
		assert_int_equal(errno, EAGAIN);
		if (i % 100 == 99) {
			guest_again(t);
			guest_serves(t);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(test_broken_rings),  SPLIT(test_odd_rings),  SPLIT(test_random_rings),  SPLIT(test_random_messages),
		PACKED(test_broken_rings), PACKED(test_odd_rings), PACKED(test_random_rings), PACKED(test_random_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
