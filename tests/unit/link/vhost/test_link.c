/* SPDX-License-Identifier: MIT */
/* The vhost-user back end between a loop and a front-end with a driver in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "guest.h"
#include "os/sock.h"
#include "link/vhost.h"

#define FRAMES 600u

static int setup_one_off(void **state)
{
	*state = guest_new(true);
	return 0;
}

static void test_features_become_offloads(void **state)
{
	struct guest *t = *state;
	uint64_t offered = (uint64_t)front_ask(&t->f, 1, 0, NULL, 0);

	assert_int_equal(offered & (GUEST_MERGE | GUEST_EVENTS | GUEST_INDIRECT | GUEST_SUPER),
			 GUEST_MERGE | GUEST_EVENTS | GUEST_INDIRECT | GUEST_SUPER);
	assert_int_equal(offered & GUEST_F(22), 0); /* several queues: only for front-ends that have said that they know of them */
	guest_up(t, GUEST_MERGE | GUEST_SUPER, 256);
	assert_int_equal(t->w.link->offloads, LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO);
	assert_int_equal(t->w.link->max_body, 65535);
	assert_int_equal(t->w.link->mtu, 65520);
	/* A driver that can do less, after a reset. */
	front_ring_stop(&t->f, 0);
	assert_int_equal(t->w.down, 1);
	front_ring_stop(&t->f, 1);
	guest_up(t, GUEST_MERGE, 256);
	assert_int_equal(t->w.link->offloads, 0);
	assert_int_equal(t->w.link->max_body, 65520);
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
	guest_up(t, GUEST_F(7) | GUEST_F(8), 256);
	assert_int_equal(t->w.link->offloads, 0);
	assert_int_equal(t->w.link->mtu, 1500);
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
	/* No superframe is longer than half a queue can hold. */
	guest_up(t, GUEST_MERGE | GUEST_SUPER, 16);
	assert_in_range(t->w.link->max_body, 1500, 8 * 1526);
	assert_int_equal(t->w.link->mtu, t->w.link->max_body);
}

static void test_frames_from_the_guest(void **state)
{
	struct guest *t = *state;
	uint8_t hdr[GUEST_VNET] = { 0 };
	struct drv_used u;

	for (unsigned events = 0; events < 2; events++) {
		guest_up(t, GUEST_MERGE | GUEST_INDIRECT | (events ? GUEST_EVENTS : 0), 256);
		t->frames = 0;
		for (unsigned i = 0; i < FRAMES; i++) {
			size_t len = i == 7 ? 65549 : 14 + i;

			guest_send(t, hdr, len);
			assert_int_equal(t->frames, i + 1);
			assert_int_equal(t->last.len, len);
			assert_memory_equal(t->last.bytes, drv_at(&t->f.drv, DRV_ROOM + 64, len), len);
			u = drv_reap(&t->f.drv);
			assert_int_equal(u.len, 0);
		}
		front_ring_stop(&t->f, 0);
		front_ring_stop(&t->f, 1);
	}
}

static void test_superframes_from_the_guest(void **state)
{
	struct guest *t = *state;
	static const struct {
		uint8_t vnet, link;
	} types[] = { { 1, GSO_TCP4 }, { 4, GSO_TCP6 }, { 0x81, GSO_TCP4 }, { 0x84, GSO_TCP6 }, { 5, GSO_UDP } };

	guest_up(t, GUEST_MERGE, 256);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t hdr[GUEST_VNET] = { 1, types[i].vnet, 54, 0, 0xb4, 0x05, 34, 0, 16, 0 };

		guest_send(t, hdr, 40000);
		assert_int_equal(t->frames, i + 1);
		assert_int_equal(t->last.gso_type, types[i].link);
		assert_int_equal(t->last.gso_size, 1460);
	}
}

/* What is no frame is dropped and given back; the next one is not affected. */
static void test_odd_frames_from_the_guest(void **state)
{
	struct guest *t = *state;
	uint8_t hdr[GUEST_VNET] = { 0 }, gso[GUEST_VNET] = { 0, 77 }, zero[GUEST_VNET] = { 0, 1 };
	struct drv_piece many[300], part = { DRV_ROOM, 5 };

	guest_up(t, GUEST_MERGE | GUEST_INDIRECT, 256);
	guest_send(t, hdr, 13);
	guest_send(t, hdr, 0);
	guest_send(t, hdr, 65551);
	guest_send(t, gso, 100);
	guest_send(t, zero, 100);
	drv_add(&t->f.drv, &part, 1, 0);
	guest_kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 0);
	assert_int_equal(drv_used_total(&t->f.drv), 6);
	assert_int_equal(t->w.link->stats.rx_bad, 6);

	/* In so many pieces that they are put together first. */
	memset(drv_at(&t->f.drv, DRV_ROOM, 9000), 0, 9000);
	for (unsigned i = 0; i < 300; i++) {
		many[i] = (struct drv_piece){ DRV_ROOM + 30u * (299 - i), 7 };
		*drv_at(&t->f.drv, many[i].addr, 1) = i < 2 ? 0 : (uint8_t)i;
	}
	drv_add_indirect(&t->f.drv, DRV_ROOM + 10000, many, 300, 0);
	guest_kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->last.len, 2100 - GUEST_VNET);
	for (unsigned i = 2; i < 300; i++)
		assert_int_equal(t->last.bytes[7 * i - GUEST_VNET], (uint8_t)i);
	guest_send(t, hdr, 60);
	assert_int_equal(t->frames, 2);
}

/* A whole queue full at once: in batches, and with one call. */
static void test_batches_from_the_guest(void **state)
{
	struct guest *t = *state;
	struct drv_piece p = { DRV_ROOM, GUEST_VNET + 100 };
	eventfd_t n = 0;

	memset(drv_at(&t->f.drv, DRV_ROOM, 200), 0, 200);
	guest_up(t, GUEST_MERGE | GUEST_EVENTS, 256);
	(void)!eventfd_read(t->call[1], &n);
	drv_want_call(&t->f.drv, false, 255);
	for (unsigned round = 1; round <= 10; round++) {
		for (unsigned i = 0; i < 256; i++)
			drv_add(&t->f.drv, &p, 1, 0);
		drv_want_call(&t->f.drv, false, 256 * round - 1);
		guest_kick(t, &t->f.drv, 1);
		assert_int_equal(t->frames, 256 * round);
		assert_int_equal(drv_used_total(&t->f.drv), 256 * round);
		assert_int_equal(t->w.rx_max, LINK_BATCH);
		assert_int_equal(eventfd_read(t->call[1], &n), 0);
		assert_int_equal(n, round == 1 ? 2 : 1); /* the first is one too many: what the driver waits for was not known */
		while (t->f.drv.reaped < t->f.drv.added)
			drv_reap(&t->f.drv);
	}
}

static uint8_t byte_of(unsigned frame, size_t i)
{
	return (uint8_t)(frame * 37 + i * 11 + i / 256);
}

/* Reserves up to n frames of len bytes, and commits as many with lengths up to that. Returns how many. */
static unsigned send_some(struct guest *t, unsigned n, size_t len, size_t *ret_len)
{
	static struct txframe f[LINK_BATCH];
	static uint8_t buf[70000];
	uint8_t bytes[54];
	struct txhdr h = { .bytes = bytes, .len = 54 };
	unsigned got = (unsigned)link_reserve(t->w.link, f, &(struct txwant){ .n = n, .hdr = h.len, .len = len });

	/* As recvmmsg() does it: all are filled before the first is committed. */
	for (unsigned i = 0; i < got; i++) {
		ret_len[i] = guest_rnd(t, 3) ? guest_rnd(t, (uint32_t)len + 1) : len;
		assert_int_equal(iov_len(f[i].body, f[i].n), len);
		assert_int_equal(f[i].cap, len);
		for (size_t k = 0; k < ret_len[i]; k++)
			buf[k] = byte_of(i, k);
		iov_copy_in(f[i].body, f[i].n, 0, buf, ret_len[i]);
	}
	if (got)
		got = 1 + guest_rnd(t, got);
	for (unsigned i = 0; i < got; i++) {
		memset(bytes, (int)(0x80 + i), sizeof(bytes));
		link_commit(t->w.link, &f[i], &h, ret_len[i]);
	}
	link_flush(t->w.link);
	return got;
}

static void assert_frame(struct guest *t, unsigned i, size_t len, size_t got)
{
	size_t want = MAX(54 + len, (size_t)60);

	assert_int_equal(got, GUEST_VNET + want);
	for (unsigned k = 0; k < 54; k++)
		assert_int_equal(t->frame[GUEST_VNET + k], 0x80 + i);
	for (size_t k = 0; k < len; k++)
		assert_int_equal(t->frame[GUEST_VNET + 54 + k], byte_of(i, k));
	for (size_t k = 54 + len; k < want; k++)
		assert_int_equal(t->frame[GUEST_VNET + k], 0);
}

/* Frames of all lengths in buffers of several sizes: each arrives whole, though those in front of it came out short. */
static void test_frames_to_the_guest(void **state)
{
	static const uint32_t bufs[] = { 64, 100, 1526, GUEST_BUF };
	struct guest *t = *state;

	for (unsigned b = 0; b < ARRAY_SIZE(bufs); b++) {
		unsigned total = 0;

		guest_up(t, GUEST_MERGE | (b & 1 ? GUEST_EVENTS : 0), 256);
		guest_buffers(t, 256, bufs[b]);
		for (unsigned round = 0; round < 300; round++) {
			size_t len[LINK_BATCH], most = guest_rnd(t, bufs[b] * (1 + guest_rnd(t, 30)));
			unsigned n = send_some(t, 1 + guest_rnd(t, LINK_BATCH), most, len);

			for (unsigned i = 0; i < n; i++)
				assert_frame(t, i, len[i], guest_receive(t, bufs[b]));
			assert_int_equal(drv_used_total(&t->rx), t->rx.reaped);
			guest_buffers(t, (unsigned)(256 - (t->rx.added - t->rx.reaped)), bufs[b]);
			total += n;
		}
		assert_in_range(total, 300, UINT32_MAX);
		assert_int_equal(t->w.link->stats.tx_full, 0);
		assert_int_equal(front_ring_stop(&t->f, 0), drv_base(&t->rx, t->rx.reaped));
		front_ring_stop(&t->f, 1);
	}
}

static void test_header_of_a_superframe(void **state)
{
	struct guest *t = *state;
	static uint8_t body[40000];
	static const uint8_t want[GUEST_VNET] = { 1, 4, 74, 0, 0xa0, 0x05, 54, 0, 16, 0, 20, 0 };
	uint8_t bytes[74] = { 0 };
	struct txhdr h = { bytes, 74, GSO_TCP6, 1440, 54, 16 };
	struct txframe f;

	guest_up(t, GUEST_MERGE | GUEST_SUPER, 256);
	guest_buffers(t, 256, GUEST_BUF);
	assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 74, .len = sizeof(body) }), 1);
	link_commit(t->w.link, &f, &h, sizeof(body));
	assert_int_equal(drv_used_total(&t->rx), 0);
	link_flush(t->w.link);
	assert_int_equal(guest_receive(t, GUEST_BUF), GUEST_VNET + 74 + sizeof(body));
	assert_memory_equal(t->frame, want, GUEST_VNET);
}

/* Without merging, a frame has one buffer or none. */
static void test_buffers_that_are_not_merged(void **state)
{
	struct guest *t = *state;
	size_t len[LINK_BATCH];
	unsigned n;

	guest_up(t, 0, 64);
	guest_buffers(t, 64, 1526);
	n = send_some(t, 64, 1460, len);
	assert_in_range(n, 1, 64);
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = DRV_ROOM + 0x20000 + (t->rx.reaped % 64) * GUEST_BUF;
		struct drv_used u = drv_reap(&t->rx);

		memcpy(t->frame, drv_at(&t->rx, at, u.len), u.len);
		assert_frame(t, i, len[i], u.len);
	}
	/* Longer than any: dropped; what is not so long after all is not. */
	for (unsigned round = 0; round < 50; round++) {
		uint64_t total = drv_used_total(&t->rx);

		n = send_some(t, 1, 3000, len);
		assert_int_equal(n, 1);
		assert_int_equal(drv_used_total(&t->rx) - total, len[0] + 54 + GUEST_VNET <= 1526);
		guest_buffers(t, (unsigned)(drv_used_total(&t->rx) - total), 1526);
		t->rx.reaped = drv_used_total(&t->rx);
	}
}

/* Nothing is lost when the guest is out of buffers, and it is asked to tell when it has some: also when it had too few. */
static void test_out_of_buffers(void **state)
{
	struct guest *t = *state;
	struct txframe f;

	for (unsigned events = 0; events < 2; events++) {
		unsigned ready = t->w.ready;

		guest_up(t, GUEST_MERGE | (events ? GUEST_EVENTS : 0), 64);
		/* As long as they are not needed, nobody wants to hear of them. */
		guest_buffers(t, 8, GUEST_BUF);
		drv_kick(&t->rx);
		guest_buffers(t, 2, GUEST_BUF);
		guest_turns(t);
		assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 30000 }), 0);
		assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 10000 }), 1);
		assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 30000 }), 0);
		link_flush(t->w.link);
		assert_int_equal(t->w.ready, ready);
		guest_buffers(t, 1, GUEST_BUF);
		assert_int_equal(t->w.ready, ready + 1);
		assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 30000 }), 0);
		guest_buffers(t, 20, GUEST_BUF);
		assert_int_equal(t->w.ready, ready + 2);
		assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 30000 }), 1);
		link_flush(t->w.link);
		guest_buffers(t, 1, GUEST_BUF);
		assert_int_equal(t->w.ready, ready + 2);
		front_ring_stop(&t->f, 0);
		front_ring_stop(&t->f, 1);
	}
}

static void test_broken_ring_stops_the_device(void **state)
{
	struct guest *t = *state;
	struct drv_piece bad = { 1, 100 };
	uint8_t hdr[GUEST_VNET] = { 0 };

	guest_up(t, GUEST_MERGE, 64);
	drv_add(&t->f.drv, &bad, 1, 0);
	guest_kick(t, &t->f.drv, 1);
	assert_false(t->w.link->up);
	assert_int_equal(t->w.down, 1);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 0);
	/* The connection goes on, and so does the guest when it has started again. */
	guest_up(t, GUEST_MERGE, 64);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 1);

	/* The same with the other queue. */
	drv_add(&t->rx, &bad, 1, DRV_WRITE);
	assert_int_equal(link_send(t->w.link, 0, hdr, 12), -ENOBUFS);
	guest_turns(t);
	assert_false(t->w.link->up);
	assert_int_equal(t->w.down, 2);
	guest_up(t, GUEST_MERGE, 64);
}

/* Calls since the last question. */
static uint64_t take_calls(struct guest *t, unsigned ring)
{
	struct pollfd p = { .fd = t->call[ring], .events = POLLIN };
	eventfd_t n = 0;

	if (poll(&p, 1, 0) == 1)
		assert_int_equal(eventfd_read(t->call[ring], &n), 0);
	return n;
}

/* A descriptor for kicks that is always readable does not keep us busy. */
static void test_kicks_that_are_no_events(void **state)
{
	struct guest *t = *state;
	uint64_t ring = 1, before;
	int pair[2];

	guest_up(t, GUEST_MERGE, 64);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	front_ask_fd(&t->f, 12, FRONT_NEED_REPLY, &ring, 8, pair[0]);
	close(pair[0]);
	guest_turns(t);
	assert_false(t->w.link->up);
	before = t->w.loop.turns;
	guest_turns(t);
	assert_int_equal(t->w.loop.turns, before + 4);
}

/* The front-end has the same descriptors, and lets them wait; of calls it takes none. */
static void test_events_that_wait(void **state)
{
	struct guest *t = *state;
	uint8_t hdr[GUEST_VNET] = { 0 };
	size_t len[LINK_BATCH];

	guest_up(t, GUEST_MERGE, 64);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(fcntl(t->kick[i], F_SETFL, 0), 0);
		assert_int_equal(fcntl(t->call[i], F_SETFL, 0), 0);
		take_calls(t, i);
		assert_int_equal(eventfd_write(t->call[i], UINT64_MAX - 1), 0);
	}
	for (unsigned i = 0; i < 10; i++) {
		guest_buffers(t, 1, GUEST_BUF);
		guest_send(t, hdr, 100);
		assert_int_equal(t->frames, i + 1);
		assert_int_equal(send_some(t, 1, 100, len), 1);
		guest_receive(t, GUEST_BUF);
	}
	/* As soon as it takes some, it gets others. */
	for (unsigned i = 0; i < 2; i++)
		assert_true(take_calls(t, i) == UINT64_MAX - 1);
	guest_send(t, hdr, 100);
	assert_int_equal(take_calls(t, 1), 1);
	assert_int_equal(t->warnings, 0);
}

/* Memory that is plugged in while the queues run can be used at once, and when it was taken out it is none. */
static void test_memory_is_plugged(void **state)
{
	struct guest *t = *state;
	int fd = memfd_create("dimm", MFD_CLOEXEC);
	struct drv_piece p[2] = { { DRV_ROOM, GUEST_VNET }, { DRV_GUEST + DRV_MEM, 4096 } };
	uint64_t region[5] = { 0, DRV_GUEST + DRV_MEM, 8192, DRV_USER + 2 * DRV_MEM, 4096 };
	uint8_t byte = 77;

	assert_int_equal(ftruncate(fd, 4096 + 8192), 0);
	assert_int_equal(pwrite(fd, &byte, 1, 4096 + 4095), 1);
	guest_up(t, GUEST_MERGE, 64);
	guest_buffers(t, 8, GUEST_BUF);
	memset(drv_at(&t->f.drv, DRV_ROOM, 100), 0, 100);
	assert_int_equal(front_ask_fd(&t->f, 37, FRONT_NEED_REPLY, region, sizeof(region), fd), 0);
	for (unsigned i = 0; i < 3; i++) {
		drv_add(&t->f.drv, p, 2, 0);
		guest_kick(t, &t->f.drv, 1);
		assert_int_equal(t->frames, i + 1);
		assert_int_equal(t->last.bytes[4095], 77);
	}
	assert_int_equal(front_ask(&t->f, 38, FRONT_NEED_REPLY, region, sizeof(region)), 0);
	/* What does not lie in it goes on. */
	p[1].addr = DRV_ROOM;
	drv_add(&t->f.drv, p, 2, 0);
	guest_kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 4);
	assert_true(t->w.link->up);
	assert_int_equal(t->warnings, 0);
	p[1].addr = DRV_GUEST + DRV_MEM;
	drv_add(&t->f.drv, p, 2, 0);
	guest_kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 4);
	assert_false(t->w.link->up);
	assert_int_equal(t->warnings, 1);
	close(fd);
}

enum finder { BY_DEVICE, BY_RECEIVING, BY_SENDING };

/* Whoever finds that the memory is gone: it is told once, and the next front-end is served. */
static void memory_gone(struct guest *t, enum finder by)
{
	unsigned frames = t->frames, warnings = t->warnings, down = t->w.down;
	uint8_t hdr[GUEST_VNET] = { 0 };
	struct txframe f;
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(send(pair[1], hdr, sizeof(hdr), 0), sizeof(hdr));
	guest_up(t, GUEST_MERGE, 64);
	guest_buffers(t, 8, GUEST_BUF);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, frames + 1);
	assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 3000 }), 1);
	assert_int_equal(ftruncate(t->f.drv.fd, 0), 0);
	if (by == BY_DEVICE)
		assert_int_equal(eventfd_write(t->kick[1], 1), 0);
	else if (by == BY_RECEIVING)
		assert_int_equal(sock_recv(pair[0], f.body, f.n, 0), -EAGAIN);
	else
		assert_int_equal(sock_send(pair[0], f.body, f.n, 0), -EFAULT);
	guest_turns(t);
	assert_false(t->w.link->up);
	assert_int_equal(t->w.down, down + 1);
	assert_int_equal(recv(t->f.sock, hdr, 1, 0), 0);
	assert_int_equal(t->warnings, warnings + 1);

	assert_int_equal(ftruncate(t->f.drv.fd, DRV_MEM), 0);
	close(t->f.sock);
	t->f.sock = front_connect(&t->f);
	guest_up(t, GUEST_MERGE, 64);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, frames + 2);
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
	close(pair[0]);
	close(pair[1]);
}

static void test_memory_taken_away(void **state)
{
	bool packed = ((struct guest *)*state)->packed;

	/* The test program puts a handler of its own in place for each test. */
	teardown(state);
	*state = (void *)(packed ? "packed" : NULL);
	setup(state);
	memory_gone(*state, BY_DEVICE);
	memory_gone(*state, BY_RECEIVING);
	memory_gone(*state, BY_SENDING);
}

/* Kicks that bring nothing are few, whatever the guest does. */
static void test_kicks_bring_work(void **state)
{
	struct guest *t = *state;
	uint8_t hdr[GUEST_VNET] = { 0 };
	struct link_stats *s = &t->w.link->stats;

	for (unsigned events = 0; events < 2; events++) {
		uint64_t kicks = s->kicks, idle = s->kicks_idle;
		size_t len[LINK_BATCH];

		guest_up(t, GUEST_MERGE | (events ? GUEST_EVENTS : 0), 64);
		for (unsigned i = 0; i < 1000; i++) {
			guest_buffers(t, (unsigned)(64 - (t->rx.added - t->rx.reaped)), GUEST_BUF);
			guest_send(t, hdr, 100);
			for (unsigned n = send_some(t, 1 + guest_rnd(t, 100), 1500, len); n; n--)
				guest_receive(t, GUEST_BUF);
		}
		/* Each frame was alone, and told of. */
		assert_in_range(s->kicks - kicks, 1000, 2000);
		/* That there are buffers, at the start, before anybody needed one. */
		assert_in_range(s->kicks_idle - idle, 0, 1);
		front_ring_stop(&t->f, 0);
		front_ring_stop(&t->f, 1);
	}
	/* They are counted. */
	guest_up(t, GUEST_MERGE, 64);
	for (unsigned i = 0; i < 10; i++) {
		uint64_t idle = s->kicks_idle;

		assert_int_equal(eventfd_write(t->kick[i & 1], 1), 0);
		guest_turns(t);
		assert_int_equal(s->kicks_idle, idle + 1);
	}
}

/* Queues whose guest never kicks are looked at, for as long as they run. */
static void test_queues_without_kicks(void **state)
{
	struct guest *t = *state;
	struct drv_piece p = { DRV_ROOM, GUEST_VNET + 100 };
	struct txframe f;
	uint64_t turns;

	for (unsigned i = 0; i < 2; i++)
		close(t->kick[i]);
	t->kick[0] = t->kick[1] = -1;
	guest_up(t, GUEST_MERGE, 64);
	memset(drv_at(&t->f.drv, DRV_ROOM, p.len), 0, p.len);
	for (unsigned i = 1; i <= 100; i++) {
		drv_add(&t->f.drv, &p, 1, 0);
		while (t->frames < i)
			guest_wait(t);
		assert_int_equal(drv_used_total(&t->f.drv), i);
		drv_reap(&t->f.drv);
	}
	assert_int_equal(link_reserve(t->w.link, &f, &(struct txwant){ .n = 1, .hdr = 54, .len = 1000 }), 0);
	drv_add(&t->rx, &p, 1, DRV_WRITE);
	turns = t->w.ready;
	while (t->w.ready == turns)
		guest_wait(t);
	/* Not at the cost of all the time there is, and not at all when they stopped. */
	turns = t->w.loop.turns;
	for (unsigned i = 0; i < 10; i++)
		guest_wait(t);
	assert_int_equal(t->w.loop.turns, turns + 10);
	assert_true(timers_next(&t->w.loop.timers, t->w.loop.now_ns) > 0);
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
	assert_int_equal(timers_next(&t->w.loop.timers, t->w.loop.now_ns), UINT64_MAX);
}

/* What another back-end has left is read while it comes, however much that is. */
static void test_state_of_a_guest_that_was_moved(void **state)
{
	struct guest *t = *state;
	static uint8_t some[65536];
	uint32_t load[2] = { 1, 0 };
	int fd[2];

	front_negotiate(&t->f, GUEST_BASIC, 0);
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	assert_int_equal(front_ask_fd(&t->f, 42, 0, load, 8, fd[0]), 0x100);
	close(fd[0]);
	for (unsigned left = 10; left;) {
		if (write(fd[1], some, sizeof(some)) == sizeof(some))
			left--;
		guest_turns(t);
	}
	close(fd[1]);
	guest_turns(t);
	assert_int_equal(t->warnings, 1);
	assert_int_equal(front_ask(&t->f, 43, 0, NULL, 0), 0);
	guest_up(t, GUEST_MERGE, 64);
}

static void test_next_front_end(void **state)
{
	struct guest *t = *state;
	uint8_t hdr[GUEST_VNET] = { 0 };
	int second;

	guest_up(t, GUEST_MERGE | GUEST_SUPER, 64);
	/* One at a time. */
	second = front_connect(&t->f);
	guest_turns(t);
	assert_int_equal(recv(second, hdr, 1, 0), 0);
	close(second);
	assert_true(t->w.link->up);
	close(t->f.sock);
	guest_turns(t);
	assert_int_equal(t->w.down, 1);
	assert_int_equal(t->w.gone, 0);
	t->f.sock = front_connect(&t->f);
	guest_up(t, GUEST_MERGE, 64);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->w.link->offloads, 0);
	/* What is no message at all ends the connection. */
	assert_int_equal(send(t->f.sock, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
	guest_turns(t);
	assert_int_equal(t->w.down, 2);
}

static void test_one_off(void **state)
{
	struct guest *t = *state;

	guest_up(t, GUEST_MERGE, 64);
	assert_int_equal(t->w.gone, 0);
	t->w.link->ops->reset(t->w.link);
	guest_turns(t);
	assert_int_equal(t->w.gone, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SPLIT(test_features_become_offloads),
		SPLIT(test_frames_from_the_guest),
		SPLIT(test_superframes_from_the_guest),
		SPLIT(test_odd_frames_from_the_guest),
		SPLIT(test_batches_from_the_guest),
		SPLIT(test_frames_to_the_guest),
		SPLIT(test_header_of_a_superframe),
		SPLIT(test_buffers_that_are_not_merged),
		SPLIT(test_out_of_buffers),
		SPLIT(test_broken_ring_stops_the_device),
		SPLIT(test_kicks_that_are_no_events),
		SPLIT(test_events_that_wait),
		SPLIT(test_memory_is_plugged),
		SPLIT(test_memory_taken_away),
		SPLIT(test_kicks_bring_work),
		SPLIT(test_queues_without_kicks),
		SPLIT(test_state_of_a_guest_that_was_moved),
		SPLIT(test_next_front_end),
		PACKED(test_features_become_offloads),
		PACKED(test_frames_from_the_guest),
		PACKED(test_superframes_from_the_guest),
		PACKED(test_odd_frames_from_the_guest),
		PACKED(test_batches_from_the_guest),
		PACKED(test_frames_to_the_guest),
		PACKED(test_header_of_a_superframe),
		PACKED(test_buffers_that_are_not_merged),
		PACKED(test_out_of_buffers),
		PACKED(test_broken_ring_stops_the_device),
		PACKED(test_kicks_that_are_no_events),
		PACKED(test_events_that_wait),
		PACKED(test_memory_is_plugged),
		PACKED(test_memory_taken_away),
		PACKED(test_kicks_bring_work),
		PACKED(test_queues_without_kicks),
		PACKED(test_next_front_end),
		cmocka_unit_test_setup_teardown(test_one_off, setup_one_off, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
