/* SPDX-License-Identifier: MIT */
/* The vhost-user back end between a loop and a front-end with a driver in it. */
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
#include <sys/un.h>
#include <unistd.h>

#include "../link_world.h"
#include "base/iov.h"
#include "base/log.h"
#include "front.h"
#include "link/vhost.h"

#define BIT(n) (UINT64_C(1) << (n))
#define BASIC (BIT(32) | BIT(30))
#define MERGE BIT(15)
#define EVENTS BIT(29)
#define INDIRECT BIT(28)
#define SUPER (BIT(1) | BIT(7) | BIT(8) | BIT(54) | BIT(55))
#define VNET 12u
#define BUF 2048u /* of the guest's receive queue */
#define FRAMES 600u

struct got {
	size_t len;
	uint8_t gso_type;
	uint16_t gso_size;
	unsigned pieces;
	uint8_t bytes[70000];
};

struct world {
	struct link_world w;
	struct front f;
	struct drv rx; /* of the guest: frames to it; that to the device is f.drv */
	int kick[2], call[2];
	struct got last;
	unsigned frames;
	uint32_t seed;
	uint8_t frame[70000]; /* what the guest received last */
};

static uint32_t rnd(struct world *t, uint32_t below)
{
	t->seed = t->seed * 1664525u + 1013904223u;
	return (t->seed >> 8) % below;
}

static void on_frame(struct link_world *w, const struct frame *f)
{
	struct world *t = container_of(w, struct world, w);

	t->last.len = f->len;
	t->last.gso_type = f->gso_type;
	t->last.gso_size = f->gso_size;
	t->last.pieces = f->n;
	assert_int_equal(iov_copy_out(f->iov, f->n, 0, t->last.bytes, sizeof(t->last.bytes)), f->len);
	t->frames++;
}

static int turns(struct front *f)
{
	struct world *t = container_of(f, struct world, f);

	for (unsigned i = 0; i < 4; i++)
		link_world_turn(&t->w);
	return 0;
}

static void quiet(void *ctx, enum log_level level, const char *line)
{
}

static void start(struct world *t, bool one_off)
{
	struct vhost_conf c = { .listen_fd = -1, .fd = -1, .one_off = one_off, .mtu = 65520 };
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa);

	log_set_sink(quiet, NULL);
	assert_int_equal(link_world_init(&t->w, on_frame), 0);
	c.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(c.listen_fd, (struct sockaddr *)&sa, sizeof(sa_family_t)), 0); /* any free name */
	assert_int_equal(listen(c.listen_fd, 1), 0);
	assert_int_equal(getsockname(c.listen_fd, (struct sockaddr *)&sa, &len), 0);
	c.cb = link_world_cb(&t->w);
	assert_int_equal(vhost_new(&t->w.loop, &c, &t->w.link), 0);
	assert_int_equal(vhost_start(t->w.link), 0);
	front_init_client(&t->f, &sa, len, turns);
	for (unsigned i = 0; i < 2; i++) {
		t->kick[i] = eventfd(0, EFD_NONBLOCK);
		t->call[i] = eventfd(0, EFD_NONBLOCK);
	}
	t->seed = 1;
}

static int setup(void **state)
{
	struct world *t = calloc(1, sizeof(*t));

	start(t, false);
	*state = t;
	return 0;
}

static int setup_one_off(void **state)
{
	struct world *t = calloc(1, sizeof(*t));

	start(t, true);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct world *t = *state;

	link_world_fini(&t->w);
	for (unsigned i = 0; i < 2; i++) {
		close(t->kick[i]);
		close(t->call[i]);
	}
	front_fini_client(&t->f);
	free(t);
	return 0;
}

/* The guest's driver starts its card with these features, and with queues of that size. */
static void guest_up(struct world *t, uint64_t features, uint16_t size)
{
	unsigned up = t->w.up;
	bool events = features & EVENTS;

	front_negotiate(&t->f, BASIC | features, 0);
	assert_int_equal(front_memory(&t->f), 0);
	t->rx = t->f.drv;
	t->rx.ring_at = 0x20000;
	drv_ring_init(&t->rx, size, 0, events);
	drv_ring_init(&t->f.drv, size, 0, events);
	front_ring(&t->f, &t->rx, 0, t->kick[0], t->call[0]);
	assert_int_equal(t->w.up, up);
	front_ring(&t->f, &t->f.drv, 1, t->kick[1], t->call[1]);
	assert_int_equal(t->w.up, up + 1);
	assert_true(t->w.link->up);
}

static void kick(struct world *t, struct drv *d, unsigned ring)
{
	if (drv_kick(d))
		assert_int_equal(eventfd_write(t->kick[ring], 1), 0);
	turns(&t->f);
}

/* The guest sends a frame of len bytes, in one chain of two pieces, with that header. */
static void guest_send(struct world *t, const uint8_t hdr[VNET], size_t len)
{
	struct drv_piece p[2] = { { DRV_ROOM, VNET }, { DRV_ROOM + 64, (uint32_t)len } };

	memcpy(drv_at(&t->f.drv, p[0].addr, VNET), hdr, VNET);
	for (size_t i = 0; i < len; i++)
		*drv_at(&t->f.drv, p[1].addr + i, 1) = (uint8_t)(i * 31 + len);
	drv_add(&t->f.drv, p, 2, 0);
	kick(t, &t->f.drv, 1);
}

static void test_features_become_offloads(void **state)
{
	struct world *t = *state;
	uint64_t offered = (uint64_t)front_ask(&t->f, 1, 0, NULL, 0);

	assert_int_equal(offered & (MERGE | EVENTS | INDIRECT | SUPER), MERGE | EVENTS | INDIRECT | SUPER);
	assert_int_equal(offered & BIT(22), 0); /* several queues, without a control queue: drivers refuse that */
	guest_up(t, MERGE | SUPER, 256);
	assert_int_equal(t->w.link->offloads, LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO);
	assert_int_equal(t->w.link->max_body, 65535);
	assert_int_equal(t->w.link->mtu, 65520);
	/* A driver that can do less, after a reset. */
	front_ring_stop(&t->f, 0);
	assert_int_equal(t->w.down, 1);
	front_ring_stop(&t->f, 1);
	guest_up(t, MERGE, 256);
	assert_int_equal(t->w.link->offloads, 0);
	assert_int_equal(t->w.link->max_body, 65520);
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
	guest_up(t, BIT(7) | BIT(8), 256);
	assert_int_equal(t->w.link->offloads, 0);
	assert_int_equal(t->w.link->mtu, 1500);
	front_ring_stop(&t->f, 0);
	front_ring_stop(&t->f, 1);
	/* No superframe is longer than half a queue can hold. */
	guest_up(t, MERGE | SUPER, 16);
	assert_in_range(t->w.link->max_body, 1500, 8 * 1526);
	assert_int_equal(t->w.link->mtu, t->w.link->max_body);
}

static void test_frames_from_the_guest(void **state)
{
	struct world *t = *state;
	uint8_t hdr[VNET] = { 0 };
	struct drv_used u;

	for (unsigned events = 0; events < 2; events++) {
		guest_up(t, MERGE | INDIRECT | (events ? EVENTS : 0), 256);
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
	struct world *t = *state;
	static const struct {
		uint8_t vnet, link;
	} types[] = { { 1, GSO_TCP4 }, { 4, GSO_TCP6 }, { 0x81, GSO_TCP4 }, { 0x84, GSO_TCP6 }, { 5, GSO_UDP } };

	guest_up(t, MERGE, 256);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint8_t hdr[VNET] = { 1, types[i].vnet, 54, 0, 0xb4, 0x05, 34, 0, 16, 0 };

		guest_send(t, hdr, 40000);
		assert_int_equal(t->frames, i + 1);
		assert_int_equal(t->last.gso_type, types[i].link);
		assert_int_equal(t->last.gso_size, 1460);
	}
}

/* What is no frame is dropped and given back; the next one is not affected. */
static void test_odd_frames_from_the_guest(void **state)
{
	struct world *t = *state;
	uint8_t hdr[VNET] = { 0 }, gso[VNET] = { 0, 77 }, zero[VNET] = { 0, 1 };
	struct drv_piece many[300], part = { DRV_ROOM, 5 };

	guest_up(t, MERGE | INDIRECT, 256);
	guest_send(t, hdr, 13);
	guest_send(t, hdr, 0);
	guest_send(t, hdr, 65551);
	guest_send(t, gso, 100);
	guest_send(t, zero, 100);
	drv_add(&t->f.drv, &part, 1, 0);
	kick(t, &t->f.drv, 1);
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
	kick(t, &t->f.drv, 1);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->last.len, 2100 - VNET);
	for (unsigned i = 2; i < 300; i++)
		assert_int_equal(t->last.bytes[7 * i - VNET], (uint8_t)i);
	guest_send(t, hdr, 60);
	assert_int_equal(t->frames, 2);
}

/* A whole queue full at once: in batches, and with one call. */
static void test_batches_from_the_guest(void **state)
{
	struct world *t = *state;
	struct drv_piece p = { DRV_ROOM, VNET + 100 };
	eventfd_t n = 0;

	memset(drv_at(&t->f.drv, DRV_ROOM, 200), 0, 200);
	guest_up(t, MERGE | EVENTS, 256);
	(void)!eventfd_read(t->call[1], &n);
	drv_want_call(&t->f.drv, false, 255);
	for (unsigned round = 1; round <= 10; round++) {
		for (unsigned i = 0; i < 256; i++)
			drv_add(&t->f.drv, &p, 1, 0);
		drv_want_call(&t->f.drv, false, 256 * round - 1);
		kick(t, &t->f.drv, 1);
		assert_int_equal(t->frames, 256 * round);
		assert_int_equal(drv_used_total(&t->f.drv), 256 * round);
		assert_int_equal(t->w.rx_max, LINK_BATCH);
		assert_int_equal(eventfd_read(t->call[1], &n), 0);
		assert_int_equal(n, round == 1 ? 2 : 1); /* the first is one too many: what the driver waits for was not known */
		while (t->f.drv.reaped < t->f.drv.added)
			drv_reap(&t->f.drv);
	}
}

/* The guest offers n receive buffers of len bytes. */
static void guest_buffers(struct world *t, unsigned n, uint32_t len)
{
	for (unsigned i = 0; i < n; i++) {
		struct drv_piece p = { DRV_ROOM + 0x20000 + (t->rx.added % t->rx.size) * BUF, len };

		drv_add(&t->rx, &p, 1, DRV_WRITE);
	}
	kick(t, &t->rx, 0);
}

/* The next frame that the guest has got, with its header in front: its length. Buffers are of len bytes. */
static size_t guest_receive(struct world *t, uint32_t len)
{
	unsigned buffers = 1;
	size_t n = 0;

	for (unsigned i = 0; i < buffers; i++) {
		uint64_t at = DRV_ROOM + 0x20000 + (t->rx.reaped % t->rx.size) * BUF;
		uint64_t slot = t->rx.reaped % t->rx.size;
		struct drv_used u = drv_reap(&t->rx);

		assert_int_equal(u.id, slot);
		assert_in_range(u.len, 1, len);
		memcpy(t->frame + n, drv_at(&t->rx, at, u.len), u.len);
		n += u.len;
		if (!i)
			buffers = t->frame[10] | (unsigned)t->frame[11] << 8;
		assert_in_range(buffers, 1, t->rx.size);
		/* All but the last are full. */
		if (i + 1 < buffers)
			assert_int_equal(u.len, len);
	}
	return n;
}

static uint8_t byte_of(unsigned frame, size_t i)
{
	return (uint8_t)(frame * 37 + i * 11 + i / 256);
}

/* Reserves up to n frames of len bytes, and commits as many with lengths up to that. Returns how many. */
static unsigned send_some(struct world *t, unsigned n, size_t len, size_t *ret_len)
{
	static struct txframe f[LINK_BATCH];
	static uint8_t buf[70000];
	uint8_t bytes[54];
	struct txhdr h = { .bytes = bytes, .len = 54 };
	unsigned got = (unsigned)link_reserve(t->w.link, f, n, h.len, len);

	/* As recvmmsg() does it: all are filled before the first is committed. */
	for (unsigned i = 0; i < got; i++) {
		ret_len[i] = rnd(t, 3) ? rnd(t, (uint32_t)len + 1) : len;
		assert_int_equal(iov_len(f[i].body, f[i].n), len);
		assert_int_equal(f[i].cap, len);
		for (size_t k = 0; k < ret_len[i]; k++)
			buf[k] = byte_of(i, k);
		iov_copy_in(f[i].body, f[i].n, 0, buf, ret_len[i]);
	}
	if (got)
		got = 1 + rnd(t, got);
	for (unsigned i = 0; i < got; i++) {
		memset(bytes, (int)(0x80 + i), sizeof(bytes));
		link_commit(t->w.link, &f[i], &h, ret_len[i]);
	}
	link_flush(t->w.link);
	return got;
}

static void assert_frame(struct world *t, unsigned i, size_t len, size_t got)
{
	size_t want = MAX(54 + len, (size_t)60);

	assert_int_equal(got, VNET + want);
	for (unsigned k = 0; k < 54; k++)
		assert_int_equal(t->frame[VNET + k], 0x80 + i);
	for (size_t k = 0; k < len; k++)
		assert_int_equal(t->frame[VNET + 54 + k], byte_of(i, k));
	for (size_t k = 54 + len; k < want; k++)
		assert_int_equal(t->frame[VNET + k], 0);
}

/* Frames of all lengths in buffers of several sizes: each arrives whole, though those in front of it came out short. */
static void test_frames_to_the_guest(void **state)
{
	static const uint32_t bufs[] = { 64, 100, 1526, BUF };
	struct world *t = *state;

	for (unsigned b = 0; b < ARRAY_SIZE(bufs); b++) {
		unsigned total = 0;

		guest_up(t, MERGE | (b & 1 ? EVENTS : 0), 256);
		guest_buffers(t, 256, bufs[b]);
		for (unsigned round = 0; round < 300; round++) {
			size_t len[LINK_BATCH], most = rnd(t, bufs[b] * (1 + rnd(t, 30)));
			unsigned n = send_some(t, 1 + rnd(t, LINK_BATCH), most, len);

			for (unsigned i = 0; i < n; i++)
				assert_frame(t, i, len[i], guest_receive(t, bufs[b]));
			assert_int_equal(drv_used_total(&t->rx), t->rx.reaped);
			guest_buffers(t, (unsigned)(256 - (t->rx.added - t->rx.reaped)), bufs[b]);
			total += n;
		}
		assert_in_range(total, 300, UINT32_MAX);
		assert_int_equal(t->w.link->stats.tx_full, 0);
		assert_int_equal(front_ring_stop(&t->f, 0), t->rx.reaped % 65536);
		front_ring_stop(&t->f, 1);
	}
}

static void test_header_of_a_superframe(void **state)
{
	struct world *t = *state;
	static uint8_t body[40000];
	static const uint8_t want[VNET] = { 1, 4, 74, 0, 0xa0, 0x05, 54, 0, 16, 0, 20, 0 };
	uint8_t bytes[74] = { 0 };
	struct txhdr h = { bytes, 74, GSO_TCP6, 1440, 54, 16 };
	struct txframe f;

	guest_up(t, MERGE | SUPER, 256);
	guest_buffers(t, 256, BUF);
	assert_int_equal(link_reserve(t->w.link, &f, 1, 74, sizeof(body)), 1);
	link_commit(t->w.link, &f, &h, sizeof(body));
	assert_int_equal(drv_used_total(&t->rx), 0);
	link_flush(t->w.link);
	assert_int_equal(guest_receive(t, BUF), VNET + 74 + sizeof(body));
	assert_memory_equal(t->frame, want, VNET);
}

/* Without merging, a frame has one buffer or none. */
static void test_buffers_that_are_not_merged(void **state)
{
	struct world *t = *state;
	size_t len[LINK_BATCH];
	unsigned n;

	guest_up(t, 0, 64);
	guest_buffers(t, 64, 1526);
	n = send_some(t, 64, 1460, len);
	assert_in_range(n, 1, 64);
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = DRV_ROOM + 0x20000 + (t->rx.reaped % 64) * BUF;
		struct drv_used u = drv_reap(&t->rx);

		memcpy(t->frame, drv_at(&t->rx, at, u.len), u.len);
		assert_frame(t, i, len[i], u.len);
	}
	/* Longer than any: dropped; what is not so long after all is not. */
	for (unsigned round = 0; round < 50; round++) {
		uint64_t total = drv_used_total(&t->rx);

		n = send_some(t, 1, 3000, len);
		assert_int_equal(n, 1);
		assert_int_equal(drv_used_total(&t->rx) - total, len[0] + 54 + VNET <= 1526);
		guest_buffers(t, (unsigned)(drv_used_total(&t->rx) - total), 1526);
		t->rx.reaped = drv_used_total(&t->rx);
	}
}

/* Nothing is lost when the guest is out of buffers, and it is asked to tell when it has some: also when it had too few. */
static void test_out_of_buffers(void **state)
{
	struct world *t = *state;
	struct txframe f;

	for (unsigned events = 0; events < 2; events++) {
		unsigned ready = t->w.ready;

		guest_up(t, MERGE | (events ? EVENTS : 0), 64);
		/* As long as they are not needed, nobody wants to hear of them. */
		guest_buffers(t, 8, BUF);
		drv_kick(&t->rx);
		guest_buffers(t, 2, BUF);
		turns(&t->f);
		assert_int_equal(link_reserve(t->w.link, &f, 1, 54, 30000), 0);
		assert_int_equal(link_reserve(t->w.link, &f, 1, 54, 10000), 1);
		assert_int_equal(link_reserve(t->w.link, &f, 1, 54, 30000), 0);
		link_flush(t->w.link);
		assert_int_equal(t->w.ready, ready);
		guest_buffers(t, 1, BUF);
		assert_int_equal(t->w.ready, ready + 1);
		assert_int_equal(link_reserve(t->w.link, &f, 1, 54, 30000), 0);
		guest_buffers(t, 20, BUF);
		assert_int_equal(t->w.ready, ready + 2);
		assert_int_equal(link_reserve(t->w.link, &f, 1, 54, 30000), 1);
		link_flush(t->w.link);
		guest_buffers(t, 1, BUF);
		assert_int_equal(t->w.ready, ready + 2);
		front_ring_stop(&t->f, 0);
		front_ring_stop(&t->f, 1);
	}
}

static void test_broken_ring_stops_the_device(void **state)
{
	struct world *t = *state;
	struct drv_piece bad = { 1, 100 };
	uint8_t hdr[VNET] = { 0 };

	guest_up(t, MERGE, 64);
	drv_add(&t->f.drv, &bad, 1, 0);
	kick(t, &t->f.drv, 1);
	assert_false(t->w.link->up);
	assert_int_equal(t->w.down, 1);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 0);
	/* The connection goes on, and so does the guest when it has started again. */
	guest_up(t, MERGE, 64);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 1);

	/* The same with the other queue. */
	drv_add(&t->rx, &bad, 1, DRV_WRITE);
	assert_int_equal(link_send(t->w.link, hdr, 12), -ENOBUFS);
	turns(&t->f);
	assert_false(t->w.link->up);
	assert_int_equal(t->w.down, 2);
	guest_up(t, MERGE, 64);
}

/* A descriptor for kicks that is always readable does not keep us busy. */
static void test_kicks_that_are_no_events(void **state)
{
	struct world *t = *state;
	uint64_t ring = 1, before;
	int pair[2];

	guest_up(t, MERGE, 64);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	close(pair[1]);
	front_ask_fd(&t->f, 12, FRONT_NEED_REPLY, &ring, 8, pair[0]);
	close(pair[0]);
	turns(&t->f);
	assert_false(t->w.link->up);
	before = t->w.loop.turns;
	turns(&t->f);
	assert_int_equal(t->w.loop.turns, before + 4);
}

static void test_memory_taken_away(void **state)
{
	struct world *t = *state;
	uint8_t hdr[VNET] = { 0 };

	/* The test program puts a handler of its own in place for each test. */
	teardown(state);
	setup(state);
	t = *state;
	guest_up(t, MERGE, 64);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 1);
	assert_int_equal(ftruncate(t->f.drv.fd, 0), 0);
	assert_int_equal(eventfd_write(t->kick[1], 1), 0);
	turns(&t->f);
	assert_false(t->w.link->up);
	assert_int_equal(t->w.down, 1);
	assert_int_equal(recv(t->f.sock, hdr, 1, 0), 0);
}

static void test_next_front_end(void **state)
{
	struct world *t = *state;
	uint8_t hdr[VNET] = { 0 };
	int second;

	guest_up(t, MERGE | SUPER, 64);
	/* One at a time. */
	second = front_connect(&t->f);
	turns(&t->f);
	assert_int_equal(recv(second, hdr, 1, 0), 0);
	close(second);
	assert_true(t->w.link->up);
	close(t->f.sock);
	turns(&t->f);
	assert_int_equal(t->w.down, 1);
	assert_int_equal(t->w.gone, 0);
	t->f.sock = front_connect(&t->f);
	guest_up(t, MERGE, 64);
	guest_send(t, hdr, 100);
	assert_int_equal(t->frames, 1);
	assert_int_equal(t->w.link->offloads, 0);
	/* What is no message at all ends the connection. */
	assert_int_equal(send(t->f.sock, "GET / HTTP/1.0\r\n\r\n", 18, 0), 18);
	turns(&t->f);
	assert_int_equal(t->w.down, 2);
}

static void test_one_off(void **state)
{
	struct world *t = *state;

	guest_up(t, MERGE, 64);
	assert_int_equal(t->w.gone, 0);
	t->w.link->ops->reset(t->w.link);
	turns(&t->f);
	assert_int_equal(t->w.gone, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_features_become_offloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames_from_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_superframes_from_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_frames_from_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batches_from_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames_to_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_header_of_a_superframe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buffers_that_are_not_merged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_out_of_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_ring_stops_the_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kicks_that_are_no_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memory_taken_away, setup, teardown),
		cmocka_unit_test_setup_teardown(test_next_front_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_off, setup_one_off, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
