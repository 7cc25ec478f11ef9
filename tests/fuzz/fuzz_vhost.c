/* SPDX-License-Identifier: MIT */
/*
 * The whole vhost-user link: a front-end that says whatever it likes, a guest that writes whatever it likes to the memory of its queues,
 * and frames that come and go meanwhile. The input is a program for both; some of its steps are what an honest one does, so that the
 * others are taken where they hurt. In the end all descriptors are closed again.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "base/rd.h"
#include "link/vhost.h"
#include "link/vhost/proto.h"
#include "os/fdpass.h"
#include "fds.h"

#define MEM 65536u
#define GUEST UINT64_C(0x100000) /* address of the memory in the guest, and in the front-end */
#define RINGS 4u
#define RING_LEN 4096u /* of the memory, for each */
#define AVAIL 2048u /* in it */
#define USED 3072u
#define SIZE 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz {
	struct loop loop;
	struct timer nowait;
	struct link *link;
	int peer, memfd, kick[RINGS];
	uint8_t *mem;
	uint16_t added[RINGS];
	uint64_t features; /* of the last start */
	bool packed;
	bool gone;
	uint64_t sum; /* of what was received, so that it is looked at */
};

static void on_rx(void *ctx, const struct frame *f, unsigned n)
{
	struct fuzz *z = ctx;

	assert(n && n <= LINK_BATCH);
	for (unsigned i = 0; i < n; i++) {
		assert(f[i].n <= LINK_IOV_MAX && iov_len(f[i].iov, f[i].n) == f[i].len);
		for (unsigned k = 0; k < f[i].n; k++) {
			for (size_t b = 0; b < f[i].iov[k].iov_len; b += 61)
				z->sum += ((const uint8_t *)f[i].iov[k].iov_base)[b];
		}
	}
}

static void on_other(void *ctx)
{
}

static void on_gone(void *ctx)
{
	((struct fuzz *)ctx)->gone = true;
}

static void sink(void *ctx, enum log_level level, const char *line)
{
}

static void nothing(struct timer *t, uint64_t now_ns)
{
}

static void answers_drop(struct fuzz *z)
{
	uint8_t answer[256];

	for (;;) {
		int fd[FDPASS_MAX];
		unsigned n = 0;

		if (fdpass_recv(z->peer, answer, sizeof(answer), MSG_DONTWAIT, fd, &n) <= 0)
			return;
		while (n)
			close(fd[--n]);
	}
}

static void turn(struct fuzz *z)
{
	timer_set(&z->loop.timers, &z->nowait, 0);
	if (loop_turn(&z->loop))
		abort();
	link_flush(z->link);
	answers_drop(z);
}

static void say(struct fuzz *z, uint32_t request, const void *body, uint32_t len, int fd)
{
	uint32_t msg[3 + 512] = { request, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, len };

	if (len)
		memcpy(&msg[3], body, len);
	if (!z->gone && fdpass_send(z->peer, msg, 12 + len, &fd, fd >= 0, MSG_DONTWAIT))
		assert(errno == EPIPE || errno == EAGAIN || errno == ECONNRESET);
	turn(z);
}

/* A message of any kind. */
static void step_message(struct fuzz *z, struct rd *in)
{
	uint32_t request = rd_u8(in), flags = rd_u8(in), n_fds = rd_u8(in) % 10;
	uint32_t size = MIN((uint32_t)rd_u8(in) * (flags & 0x80 ? 8 : 1), (uint32_t)rd_left(in));
	uint32_t msg[3 + 512] = { request, flags & 0x7f, size };
	int fd[10];

	for (unsigned i = 0; i < n_fds; i++)
		fd[i] = (flags >> 5 & 1) == i % 2 ? z->memfd : z->kick[i % RINGS];
	rd_copy(in, &msg[3], size);
	(void)!fdpass_send(z->peer, msg, 12 + size, fd, n_fds, MSG_DONTWAIT);
	turn(z);
}

/* Bytes anywhere in the guest's memory. */
static void step_write(struct fuzz *z, struct rd *in)
{
	size_t at = rd_be16(in), n = MIN((size_t)rd_u8(in), rd_left(in));

	for (; n; n--)
		z->mem[at++ % MEM] = rd_u8(in);
}

static void step_kick(struct fuzz *z, struct rd *in)
{
	(void)!eventfd_write(z->kick[rd_u8(in) % RINGS], 1);
	turn(z);
}

/* A device that is set up as it should be, with some features or others. */
static void step_start(struct fuzz *z, struct rd *in)
{
	uint64_t protocol = UINT64_C(0x8b02f), features = (uint64_t)rd_be16(in) << 28 | rd_be16(in);
	uint64_t mem[5] = { 1, GUEST, MEM, GUEST, 0 };

	features |= UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES;
	z->packed = features >> 34 & 1;
	z->features = features;
	say(z, VHOST_USER_SET_PROTOCOL_FEATURES, &protocol, 8, -1);
	say(z, VHOST_USER_SET_FEATURES, &features, 8, -1);
	say(z, VHOST_USER_SET_MEM_TABLE, mem, sizeof(mem), z->memfd);
	for (uint32_t i = 0; i < RINGS; i++) {
		uint32_t num[2] = { i, SIZE }, base[2] = { i, 0 }, on[2] = { i, 1 };
		uint64_t at = GUEST + i * RING_LEN, addr[5] = { i, at, at + USED, at + AVAIL, 0 }, ring = i;

		memset(z->mem + i * RING_LEN, 0, RING_LEN);
		z->added[i] = 0;
		say(z, VHOST_USER_GET_VRING_BASE, num, 8, -1);
		say(z, VHOST_USER_SET_VRING_NUM, num, 8, -1);
		say(z, VHOST_USER_SET_VRING_BASE, base, 8, -1);
		say(z, VHOST_USER_SET_VRING_ADDR, addr, sizeof(addr), -1);
		say(z, VHOST_USER_SET_VRING_KICK, &ring, 8, z->kick[i]);
		say(z, VHOST_USER_SET_VRING_ENABLE, on, 8, -1);
	}
}

/* What an honest one may ask for as well: a log of what is written, in the guest's memory at that; superframes; rings without kicks. */
static void step_extras(struct fuzz *z, struct rd *in)
{
	uint64_t uso = UINT64_C(7) << 54 | UINT64_C(0x7f83), log[2] = { MEM, 0 };
	uint8_t what = rd_u8(in);

	z->features |= (what & 1 ? UINT64_C(1) << 26 : 0) | (what & 2 ? uso : 0);
	say(z, VHOST_USER_SET_FEATURES, &z->features, 8, -1);
	if (what & 1) {
		say(z, VHOST_USER_SET_LOG_BASE, log, sizeof(log), z->memfd);
		say(z, VHOST_USER_SET_LOG_FD, NULL, 0, z->kick[what >> 6]);
	}
	for (uint32_t i = 0; i < RINGS; i++) {
		uint64_t at = GUEST + i * RING_LEN,
			 addr[5] = { i | (uint64_t)(what & 1) << 32, at, at + USED, at + AVAIL, what << 4 };
		uint64_t ring = i | VHOST_USER_NO_FD;

		if (what & 4)
			say(z, VHOST_USER_SET_VRING_ADDR, addr, sizeof(addr), -1);
		if (what & 8)
			say(z, VHOST_USER_SET_VRING_KICK, &ring, 8, -1);
	}
}

/* One descriptor, perhaps a chain with it. */
static void step_descriptor(struct fuzz *z, struct rd *in)
{
	unsigned ring = rd_u8(in) % RINGS, flags = rd_u8(in), slot = rd_u8(in) % SIZE;
	uint64_t addr = GUEST + rd_be16(in);
	uint32_t len = rd_be16(in);
	uint16_t next = flags >> 3 & 15, kind = flags & 7, head = (uint16_t)slot;
	uint8_t *p = z->mem + ring * RING_LEN, *d = p + 16 * slot;

	memcpy(d, &addr, 8);
	memcpy(d + 8, &len, 4);
	if (z->packed)
		kind |= (uint16_t)(flags & 0x80 ? 0x8000 : 0x80); /* available in one lap, or the other */
	memcpy(d + (z->packed ? 14 : 12), &kind, 2);
	memcpy(d + (z->packed ? 12 : 14), &next, 2);
	if (z->packed || flags & 0x80)
		return;
	memcpy(p + AVAIL + 4 + 2 * (z->added[ring]++ % SIZE), &head, 2);
	memcpy(p + AVAIL + 2, &z->added[ring], 2);
}

/* Frames to the guest, as translators make them. */
static void step_frames(struct fuzz *z, struct rd *in)
{
	static struct txframe f[LINK_BATCH];
	uint8_t bytes[54] = { 0 }, n = rd_u8(in);
	struct txhdr h = { .bytes = bytes, .len = sizeof(bytes) };
	size_t len = rd_be16(in);
	unsigned shorter = rd_u8(in);
	struct txwant w = { .n = n % LINK_BATCH, .hdr = h.len, .len = len, .queue = shorter % 3 };
	size_t got = link_reserve(z->link, f, &w);

	for (size_t i = 0; i < got; i++) {
		assert(iov_len(f[i].body, f[i].n) == f[i].cap);
		for (unsigned k = 0; k < f[i].n; k++)
			memset(f[i].body[k].iov_base, 0x5a, f[i].body[k].iov_len);
	}
	for (size_t i = 0; i < got && i < n / LINK_BATCH + 1u; i++)
		link_commit(z->link, &f[i], &h, len - MIN(len, (size_t)shorter * i));
	turn(z);
}

/* The end of the memory, with frames in it on both ways. */
static void memory_cut(struct fuzz *z)
{
	static const struct txwant w = { .n = 1, .hdr = 54, .len = 1000 };
	static struct txframe f;

	(void)!link_reserve(z->link, &f, &w);
	if (ftruncate(z->memfd, 0))
		abort();
	for (unsigned i = 0; i < RINGS; i++)
		(void)!eventfd_write(z->kick[i], 1);
	turn(z);
	turn(z);
}

static void feed(struct fuzz *z, struct rd *in)
{
	static void (*const steps[])(struct fuzz * z, struct rd * in) = {
		step_message, step_write, step_kick, step_start, step_descriptor, step_frames,
	};

	while (!z->gone && rd_left(in)) {
		uint8_t op = rd_u8(in);

		if (op == 0xff) {
			/* The guest itself would not survive it. */
			memory_cut(z);
			return;
		}
		if (op == 0xfe)
			step_extras(z, in);
		else
			steps[op % ARRAY_SIZE(steps)](z, in);
	}
	turn(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);
	unsigned before = fds_open();
	struct fuzz *z = calloc(1, sizeof(*z));
	struct link_cb cb = { on_rx, on_other, on_other, on_other, on_gone, z };
	struct vhost_conf c = { .listen_fd = -1, .mtu = 65520, .cb = cb };
	int fd[2];

	log_set_sink(sink, NULL);
	if (!z || loop_init(&z->loop) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd))
		abort();
	timer_init(&z->nowait, nothing);
	c.fd = fd[0];
	z->peer = fd[1];
	z->memfd = memfd_create("guest", MFD_CLOEXEC);
	for (unsigned i = 0; i < RINGS; i++)
		z->kick[i] = eventfd(0, EFD_NONBLOCK);
	if (z->memfd < 0 || ftruncate(z->memfd, MEM) || vhost_new(&z->loop, &c, &z->link) || vhost_start(z->link))
		abort();
	z->mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, z->memfd, 0);
	if (z->mem == MAP_FAILED)
		abort();
	feed(z, &in);
	z->link->ops->free(z->link);
	timer_cancel(&z->loop.timers, &z->nowait);
	loop_fini(&z->loop);
	munmap(z->mem, MEM);
	for (unsigned i = 0; i < RINGS; i++)
		close(z->kick[i]);
	close(z->peer);
	close(z->memfd);
	free(z);
	assert(fds_open() == before);
	return 0;
}
