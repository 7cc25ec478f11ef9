/* SPDX-License-Identifier: MIT */
/* The requests of a front-end, as they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "front.h"

#define ASK FRONT_NEED_REPLY
#define VERSION_1 (UINT64_C(1) << 32)
#define PROTOCOL (UINT64_C(1) << 30)
#define LOG_ALL (UINT64_C(1) << 26)

static int setup(void **state)
{
	struct front *f = calloc(1, sizeof(*f));

	front_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	front_fini(*state);
	free(*state);
	return 0;
}

static void test_features(void **state)
{
	struct front *f = *state;
	uint64_t all = (uint64_t)front_ask(f, 1, 0, NULL, 0), more = all | UINT64_C(1) << 63;
	uint64_t want = VERSION_1 | PROTOCOL | LOG_ALL | UINT64_C(3) << 28 | UINT64_C(1) << 34;

	assert_int_equal(all, want);
	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(f->d.features, VERSION_1 | PROTOCOL);
	assert_int_equal(front_ask(f, 2, ASK, &more, 8), 1);
	assert_int_equal(f->d.features, VERSION_1 | PROTOCOL);
	assert_int_equal(front_ask(f, 16, ASK, &more, 8), 1);
	assert_int_equal(front_ask(f, 17, 0, NULL, 0), VDEV_PAIRS);
	assert_int_equal(front_ask(f, 36, 0, NULL, 0), VMEM_REGIONS);
}

/* An acknowledgement comes to who asked for it, once that was agreed on; what has an answer of its own has just that. */
static void test_acknowledgements(void **state)
{
	struct front *f = *state;
	uint64_t none = 0, ack = 1u << 3;

	assert_int_equal(front_ask(f, 3, ASK, NULL, 0), -1);
	assert_int_equal(front_ask(f, 16, ASK, &ack, 8), 0); /* agreed on by this one */
	assert_int_equal(front_ask(f, 3, ASK, NULL, 0), 0);
	assert_int_equal(front_ask(f, 3, 0, NULL, 0), -1);
	assert_int_equal(front_ask(f, 2, ASK, &none, 8), 0);
	assert_int_equal(front_ask(f, 4, ASK, NULL, 0), 0);
	assert_int_equal(front_ask(f, 19, ASK, &none, 8), 0);
	assert_true(front_ask(f, 1, ASK, NULL, 0) > 1);
	assert_int_equal(front_ask(f, 1, ASK, NULL, 0), front_ask(f, 1, 0, NULL, 0));
	/* Unknown ones are told of, and go on. */
	assert_int_equal(front_ask(f, 999, ASK, &none, 8), 1);
	assert_int_equal(front_ask(f, 999, 0, NULL, 0), -1);
	assert_int_equal(front_ask(f, 0, ASK, NULL, 0), 1);
	assert_int_equal(front_ask(f, UINT32_MAX, ASK, NULL, 0), 1);
	assert_int_equal(front_ask(f, 24, ASK, &none, 8), 1);
	/* So is what belongs to a feature that was not agreed on. */
	assert_int_equal(front_ask(f, 36, ASK, NULL, 0), 1);
	assert_int_equal(front_ask(f, 36, 0, NULL, 0), -1);
}

static void test_ring_runs_and_stops(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	struct drv_piece p = { DRV_ROOM, 100 };
	struct iovec iov[4];
	struct vq_chain c;
	eventfd_t n;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	drv_ring_init(&f->drv, 16, 5, false);
	front_ring(f, &f->drv, 1, kick, call);
	assert_true(vdev_ring_live(&f->d.ring[1]));
	assert_false(vdev_ring_live(&f->d.ring[0]));
	assert_true(f->watched[1]);
	assert_false(f->d.ring[1].q.conf.write);

	/* A call descriptor that comes to a running ring is called at once: it may have missed one. */
	assert_int_equal(eventfd_read(call, &n), 0);
	for (unsigned i = 0; i < 3; i++)
		drv_add(&f->drv, &p, 1, 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
		vq_push(&f->d.ring[1].q, c.head, 0);
	}
	vdev_ring_publish(&f->d, 1);
	assert_int_equal(drv_used_total(&f->drv), 7);
	assert_int_equal(eventfd_read(call, &n), 0);
	vdev_ring_publish(&f->d, 1);
	assert_int_equal(eventfd_read(call, &n), -1);

	f->settled = 0;
	assert_int_equal(front_ring_stop(f, 1), 7);
	assert_int_equal(f->settled, 1);
	assert_false(f->watched[1]);
	assert_int_equal(f->d.ring[1].kick, -1);
	assert_int_equal(f->d.ring[1].call, -1);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 0);
	assert_int_equal(front_ring_stop(f, 1), 7);

	/* Again on the same connection, as after a reboot of the guest. */
	drv_ring_init(&f->drv, 8, 0, false);
	front_ring(f, &f->drv, 1, kick, call);
	drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
	assert_int_equal(front_ring_stop(f, 1), 1);
	close(kick);
	close(call);
}

/* Without descriptors it runs and stops just so; one that comes later is watched. */
static void test_ring_without_descriptors(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK);
	struct drv_piece p = { DRV_ROOM, 100 };
	uint64_t ring = 1;
	struct iovec iov[4];
	struct vq_chain c;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	front_ring(f, &f->drv, 1, -1, -1);
	assert_true(vdev_ring_live(&f->d.ring[1]));
	assert_true(f->d.ring[1].polled);
	assert_false(f->watched[1]);
	drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
	vq_push(&f->d.ring[1].q, c.head, 0);
	vdev_ring_publish(&f->d, 1);
	assert_int_equal(drv_used_total(&f->drv), 1);
	assert_int_equal(front_ask_fd(f, 12, ASK, &ring, 8, kick), 0);
	assert_false(f->d.ring[1].polled);
	assert_true(f->watched[1]);
	ring = 0x101;
	assert_int_equal(front_ask(f, 12, ASK, &ring, 8), 0);
	assert_false(f->watched[1]);
	assert_true(vq_running(&f->d.ring[1].q));
	assert_int_equal(front_ring_stop(f, 1), 1);
	assert_false(f->d.ring[1].polled);
	close(kick);
}

/* What makes a ring complete may come in any order; the kick descriptor has to be there. */
static void test_order_of_a_rings_parts(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, 0);
	uint32_t num[2] = { 0, 8 }, on[2] = { 0, 1 };
	uint64_t ring = 0;
	uint64_t addr[5] = { 0, f->drv.desc - DRV_GUEST + DRV_USER, f->drv.used - DRV_GUEST + DRV_USER,
			     f->drv.avail - DRV_GUEST + DRV_USER, 0 };

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	assert_int_equal(front_ask_fd(f, 12, ASK, &ring, 8, kick), 0);
	assert_true(f->watched[0]);
	assert_int_equal(front_ask(f, 8, ASK, num, 8), 0);
	assert_false(vq_running(&f->d.ring[0].q));
	assert_int_equal(front_ask(f, 9, ASK, addr, 40), 0);
	assert_true(vq_running(&f->d.ring[0].q));
	assert_true(f->d.ring[0].q.conf.write);
	/* Not while it runs and is enabled. */
	assert_int_equal(front_ask(f, 18, ASK, on, 8), 0);
	assert_int_equal(front_ask(f, 8, ASK, num, 8), 1);
	assert_int_equal(front_ask(f, 10, ASK, num, 8), 1);
	/* There need not be any descriptor; a ring without kicks is looked at all the time. */
	ring = 0x101;
	assert_int_equal(front_ask(f, 12, ASK, &ring, 8), 0);
	assert_true(f->d.ring[1].polled);
	assert_false(f->d.ring[0].polled);
	assert_int_equal(front_ask(f, 13, ASK, &ring, 8), 0);
	assert_int_equal(front_ask(f, 14, ASK, &ring, 8), 0);
	close(kick);
}

/* A front-end that disables its rings and sets them up anew, and the call descriptor first of all. */
static void test_ring_is_set_up_anew(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	uint32_t off[2] = { 1, 0 }, num[2] = { 1, 4 };
	struct drv_piece p = { DRV_ROOM, 100 };
	uint64_t ring = 1;
	struct iovec iov[4];
	struct vq_chain c;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	front_ring(f, &f->drv, 1, kick, call);
	drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
	assert_int_equal(front_ask(f, 18, ASK, off, 8), 0);
	assert_true(vq_running(&f->d.ring[1].q));
	assert_int_equal(front_ask_fd(f, 13, ASK, &ring, 8, call), 0);
	assert_int_equal(front_ask(f, 8, ASK, num, 8), 0);
	assert_false(vq_running(&f->d.ring[1].q));
	assert_false(f->watched[1]);
	assert_true(f->d.ring[1].call >= 0);
	drv_ring_init(&f->drv, 4, 0, false);
	front_ring(f, &f->drv, 1, kick, call);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 0);
	drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
	close(kick);
	close(call);
}

/* A packed ring has any size, and a position with two halves. */
static void test_packed_ring(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK);
	uint32_t num[2] = { 1, 7 }, base[2] = { 1, 0x80018001 };
	struct drv_piece p = { DRV_ROOM, 100 };
	struct iovec iov[4];
	struct vq_chain c;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	assert_int_equal(front_ask(f, 8, ASK, num, 8), 1);
	assert_int_equal(front_ask(f, 10, ASK, base, 8), 1);
	front_negotiate(f, VERSION_1 | PROTOCOL | UINT64_C(1) << 34, 0);
	f->drv.packed = true;
	for (unsigned i = 0; i < 20; i += 4) {
		drv_ring_init(&f->drv, 7, i, false);
		front_ring(f, &f->drv, 1, kick, kick);
		for (unsigned k = 0; k < 3; k++)
			drv_add(&f->drv, &p, 1, 0);
		assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
		vq_push(&f->d.ring[1].q, c.head, 0);
		vdev_ring_publish(&f->d, 1);
		assert_int_equal(drv_used_total(&f->drv), i + 1);
		assert_int_equal(front_ring_stop(f, 1), drv_base(&f->drv, i + 1));
	}
	close(kick);
}

/* What is written to a packed ring is noted where the ring lies in the guest. */
static void test_dirty_log_of_a_packed_ring(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK), log = memfd_create("log", 0);
	uint64_t area[2] = { 64 << 10, 0 };
	struct drv_piece p = { DRV_ROOM, 100 };
	struct iovec iov[4];
	struct vq_chain c;
	uint64_t addr[5] = { 1 | UINT64_C(1) << 32, 0, 0, 0, 0x7000 };
	uint8_t *bits;

	assert_int_equal(ftruncate(log, 64 << 10), 0);
	bits = mmap(NULL, 64 << 10, PROT_READ | PROT_WRITE, MAP_SHARED, log, 0);
	front_negotiate(f, VERSION_1 | PROTOCOL | LOG_ALL | UINT64_C(1) << 34, 0);
	assert_int_equal(front_memory(f), 0);
	assert_int_equal(front_ask_fd(f, 6, 0, area, 16, log), 0);
	f->drv.packed = true;
	drv_ring_init(&f->drv, 8, 0, false);
	addr[1] = f->drv.desc - DRV_GUEST + DRV_USER;
	addr[2] = f->drv.used - DRV_GUEST + DRV_USER;
	addr[3] = f->drv.avail - DRV_GUEST + DRV_USER;
	front_ring(f, &f->drv, 1, kick, kick);
	assert_int_equal(front_ask(f, 9, ASK, addr, 40), 0);
	drv_add(&f->drv, &p, 1, 0);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
	vq_push(&f->d.ring[1].q, c.head, 0);
	vdev_ring_publish(&f->d, 1);
	for (uint64_t i = 0; i < 8 * (64 << 10); i++)
		assert_int_equal(bits[i / 8] >> i % 8 & 1, i == f->drv.desc / 4096);
	munmap(bits, 64 << 10);
	close(log);
	close(kick);
}

/* Without the protocol's own features, rings are enabled from the start; with them, when it is said. */
static void test_enabling(void **state)
{
	struct front *f = *state;
	uint64_t plain = VERSION_1;
	uint32_t off[2] = { 3, 0 }, wrong[2] = { 3, 2 };

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_false(f->d.ring[0].enabled);
	assert_int_equal(front_ask(f, 2, ASK, &plain, 8), 0);
	for (unsigned i = 0; i < VDEV_RINGS; i++)
		assert_true(f->d.ring[i].enabled);
	assert_int_equal(front_ask(f, 18, ASK, off, 8), 0);
	assert_false(f->d.ring[3].enabled);
	assert_true(f->d.ring[2].enabled);
	assert_int_equal(front_ask(f, 18, ASK, wrong, 8), 1);
}

static int64_t mem_reg(struct front *f, uint32_t request, uint64_t guest, uint64_t size, int fd)
{
	uint64_t r[5] = { 0, guest, size, guest + 7, 4096 };

	return front_ask_fd(f, request, ASK, r, sizeof(r), fd);
}

static void test_memory_slots(void **state)
{
	struct front *f = *state;
	int extra = eventfd(0, 0);

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(mem_reg(f, 37, 0, 8192, f->drv.fd), 0);
	assert_int_equal(mem_reg(f, 37, 1 << 20, 4096, f->drv.fd), 0);
	assert_int_equal(mem_reg(f, 37, 4096, 4096, f->drv.fd), 1);
	assert_int_equal(mem_reg(f, 37, 1 << 30, 4096, -1), 1);
	assert_int_equal(mem_reg(f, 37, 1 << 30, 4096, extra), 1);
	assert_int_equal(f->d.mem.n, 2);
	assert_int_equal(mem_reg(f, 38, 0, 4096, -1), 1);
	assert_int_equal(mem_reg(f, 38, 0, 8192, -1), 0);
	assert_int_equal(mem_reg(f, 38, 1 << 20, 4096, extra), 0);
	assert_int_equal(f->d.mem.n, 0);
	close(extra);
}

/* Another table while the rings run: they go on in it, or stop where they are not in it any more. */
static void test_memory_changes_under_a_ring(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK), call = eventfd(0, EFD_NONBLOCK);
	struct drv_piece p = { DRV_ROOM, 100 };
	uint64_t other[5] = { 1, 0, 4096, 0, 0 };
	struct iovec iov[4];
	struct vq_chain c;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	front_ring(f, &f->drv, 1, kick, call);
	drv_add(&f->drv, &p, 1, 0);
	f->settled = 0;
	assert_int_equal(front_memory(f), 0);
	assert_int_equal(f->settled, 1);
	assert_int_equal(vq_pop(&f->d.ring[1].q, iov, 4, &c), 1);
	vq_push(&f->d.ring[1].q, c.head, 0);
	vdev_ring_publish(&f->d, 1);
	assert_int_equal(drv_used_total(&f->drv), 1);

	assert_int_equal(front_ask_fd(f, 5, ASK, other, sizeof(other), f->drv.fd), 0);
	assert_false(vq_running(&f->d.ring[1].q));
	assert_int_equal(front_ring_stop(f, 1), 1);
	close(kick);
	close(call);
}

static void test_broken_tables(void **state)
{
	struct front *f = *state;
	uint64_t t[33] = { 2, 0, 4096, 0, 0, 4096, 4096, 4096, 0 };
	int fd[9];
	int64_t v = 0;

	for (unsigned i = 0; i < 9; i++)
		fd[i] = f->drv.fd;
	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	for (unsigned n = 0; n <= 9; n++) {
		front_send_fds(f, 5, ASK, t, 72, fd, n);
		assert_int_equal(front_work(f), 0);
		assert_int_equal(front_answer(f, 5, &v, 8, &fd[8]), 8);
		assert_int_equal(v, n != 2);
		fd[8] = f->drv.fd;
	}
	for (unsigned n = 3; n < 12; n++) {
		t[0] = n;
		front_send_fds(f, 5, ASK, t, 72, fd, MIN(n, 8u));
		assert_int_equal(front_work(f), 0);
		assert_int_equal(front_answer(f, 5, &v, 8, &fd[8]), 8);
		assert_int_equal(v, 1);
		fd[8] = f->drv.fd;
	}
	/* One bad region, and there is none. */
	t[0] = 2;
	t[7] = 0;
	t[5] = 0;
	front_send_fds(f, 5, ASK, t, 72, fd, 2);
	assert_int_equal(front_work(f), 0);
	assert_int_equal(front_answer(f, 5, &v, 8, &fd[8]), 8);
	assert_int_equal(v, 1);
	assert_int_equal(f->d.mem.n, 0);
}

static void test_dirty_log(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK), log = memfd_create("log", 0), noted = eventfd(0, EFD_NONBLOCK);
	eventfd_t n = 0;
	uint64_t area[2] = { 64 << 10, 4096 }; /* bytes, offset */
	uint64_t addr[5] = { 0 | UINT64_C(1) << 32, f->drv.desc - DRV_GUEST + DRV_USER, f->drv.used - DRV_GUEST + DRV_USER,
			     f->drv.avail - DRV_GUEST + DRV_USER, 0x7000 - 4 };
	uint64_t features = VERSION_1 | PROTOCOL | LOG_ALL;
	struct drv_piece p = { DRV_HALF - 4096 - 1, 4098 };
	struct iovec iov[4];
	struct vq_chain c;
	uint64_t page = DRV_HALF / 4096;
	uint8_t *bits;

	assert_int_equal(ftruncate(log, 4096 + (64 << 10)), 0);
	bits = mmap(NULL, 4096 + (64 << 10), PROT_READ | PROT_WRITE, MAP_SHARED, log, 0);
	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	front_ring(f, &f->drv, 0, kick, kick);
	assert_int_equal(front_ask_fd(f, 6, 0, area, 16, log), 0); /* answered in any case */
	assert_int_equal(front_ask_fd(f, 7, ASK, NULL, 0, noted), 0);
	drv_add(&f->drv, &p, 1, DRV_WRITE);
	assert_int_equal(vq_pop(&f->d.ring[0].q, iov, 4, &c), 1);
	vdev_wrote(&f->d, iov, c.n);
	vdev_ring_publish(&f->d, 0);
	for (unsigned i = 4096; i < 4096 + (64 << 10); i++)
		assert_int_equal(bits[i], 0);
	assert_int_equal(eventfd_read(noted, &n), -1);

	assert_int_equal(front_ask(f, 2, ASK, &features, 8), 0);
	assert_int_equal(front_ask(f, 9, ASK, addr, 40), 0);
	assert_true(vq_running(&f->d.ring[0].q));
	vdev_wrote(&f->d, iov, c.n);
	vq_push(&f->d.ring[0].q, c.head, p.len);
	vdev_ring_publish(&f->d, 0);
	assert_int_equal(eventfd_read(noted, &n), 0);
	for (uint64_t i = 0; i < 8 * (64 << 10); i++) {
		/* Three pages were touched, and two of the used ring. */
		bool want = (i >= page - 2 && i <= page) || i == 6 || i == 7;

		assert_int_equal(bits[4096 + i / 8] >> i % 8 & 1, want);
	}
	/* What is beyond the log, or no place at all, is left out. */
	dirty_mark(&f->d.dirty, UINT64_MAX - 5, 100);
	dirty_mark(&f->d.dirty, UINT64_C(1) << 60, 100);
	dirty_mark(&f->d.dirty, (64 << 10) * UINT64_C(32768), 1);
	area[0] = UINT64_C(1) << 40;
	assert_int_equal(front_ask_fd(f, 6, 0, area, 16, log), 1);
	assert_false(dirty_wanted(&f->d.dirty));
	munmap(bits, 4096 + (64 << 10));
	close(log);
	close(noted);
	close(kick);
}

static void test_inflight_buffer(void **state)
{
	struct front *f = *state;
	uint8_t ask[24] = { 0 }, got[24];
	uint16_t queues = 4, size = 256;
	struct stat st;
	int fd = -1;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	memcpy(ask + 16, &queues, 2);
	memcpy(ask + 18, &size, 2);
	for (unsigned len = 20; len <= 24; len += 4) {
		uint64_t bytes;

		front_send(f, 31, 0, ask, len);
		assert_int_equal(front_work(f), 0);
		assert_int_equal(front_answer(f, 31, got, sizeof(got), &fd), len);
		assert_true(fd >= 0);
		memcpy(&bytes, got, 8);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, bytes);
		assert_int_equal(bytes, 4 * (64 + 256 * 16));
		assert_int_equal(bytes % (4 * 64), 0);
		assert_memory_equal(got + 16, ask + 16, 4);
		memcpy(got, ask, 0);
		assert_int_equal(front_ask_fd(f, 32, ASK, got, len, fd), 0);
		close(fd);
	}
	queues = 0xffff;
	memcpy(ask + 16, &queues, 2);
	assert_int_equal(front_ask(f, 31, 0, ask, 24), 0);
}

static void test_reset_of_the_device(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK);

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_memory(f), 0);
	front_ring(f, &f->drv, 0, kick, kick);
	assert_int_equal(front_ask(f, 34, ASK, NULL, 0), 0);
	assert_false(vq_running(&f->d.ring[0].q));
	assert_false(f->d.ring[0].enabled);
	assert_false(f->watched[0]);
	/* The next front-end starts from nothing. */
	front_ring(f, &f->drv, 0, kick, kick);
	vdev_reset(&f->d);
	assert_int_equal(f->d.features, 0);
	assert_int_equal(f->d.mem.n, 0);
	assert_int_equal(front_ask(f, 3, ASK, NULL, 0), -1);
	close(kick);
}

/* A guest that is moved: there is nothing to be saved, and what another back-end had to say is read to its end. */
static void test_state_of_the_device(void **state)
{
	static const uint8_t some[5000];
	struct front *f = *state;
	uint32_t save[2] = { 0, 0 }, load[2] = { 1, 0 }, bad[2] = { 2, 0 }, soon[2] = { 0, 1 };
	uint8_t byte;
	int fd[2];

	/* Who does not know of it does not mean it. */
	front_negotiate(f, VERSION_1 | PROTOCOL, UINT64_C(1) << 19);
	assert_int_equal(front_ask(f, 43, ASK, NULL, 0), 1);
	assert_int_equal(front_ask(f, 43, 0, NULL, 0), -1);
	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(front_ask_fd(f, 42, 0, save, 8, fd[1]), 0x100);
	close(fd[1]);
	assert_int_equal(read(fd[0], &byte, 1), 0);
	close(fd[0]);
	assert_int_equal(front_ask(f, 43, 0, NULL, 0), 0);

	assert_int_equal(pipe(fd), 0);
	assert_int_equal(front_ask_fd(f, 42, 0, bad, 8, fd[0]), 0x101);
	assert_int_equal(front_ask_fd(f, 42, 0, soon, 8, fd[0]), 0x101);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(front_ask_fd(f, 42, 0, load, 8, fd[0]), 0x100);
	close(fd[0]);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(write(fd[1], some, sizeof(some)), sizeof(some));
		assert_int_equal(vdev_state_read(&f->d), -EAGAIN);
	}
	/* It was asked for before its end. */
	assert_int_equal(front_ask(f, 43, 0, NULL, 0), 1);
	assert_int_equal(write(fd[1], some, sizeof(some)), sizeof(some));
	close(fd[1]);
	assert_int_equal(front_ask(f, 43, 0, NULL, 0), 0);
	assert_int_equal(f->d.state_fd, -1);
	/* The connection ends before it does. */
	assert_int_equal(pipe(fd), 0);
	assert_int_equal(front_ask_fd(f, 42, 0, load, 8, fd[0]), 0x100);
	close(fd[0]);
	vdev_reset(&f->d);
	assert_int_equal(f->d.state_fd, -1);
	close(fd[1]);
}

static void test_other_descriptors(void **state)
{
	struct front *f = *state;
	int fd = eventfd(0, 0);
	uint64_t ring = 2;

	front_negotiate(f, VERSION_1 | PROTOCOL, 0);
	assert_int_equal(front_ask_fd(f, 21, ASK, NULL, 0, fd), 0);
	assert_int_equal(front_ask_fd(f, 21, ASK, NULL, 0, fd), 0);
	assert_true(f->d.req_fd >= 0);
	assert_int_equal(front_ask_fd(f, 14, ASK, &ring, 8, fd), 0);
	assert_int_equal(front_ask_fd(f, 14, ASK, &ring, 8, fd), 0);
	assert_int_equal(front_ask_fd(f, 7, ASK, NULL, 0, fd), 0);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_acknowledgements, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_runs_and_stops, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_without_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_of_a_rings_parts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_is_set_up_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(test_packed_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dirty_log_of_a_packed_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_enabling, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_changes_under_a_ring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_tables, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dirty_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_inflight_buffer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_of_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_of_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_descriptors, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
