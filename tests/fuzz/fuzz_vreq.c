/* SPDX-License-Identifier: MIT */
/*
 * A front-end that says whatever it likes: each message is a request, its flags, a number of descriptors, and a length with its payload.
 * Descriptors are the guest's memory or an event, in turns. Rings that run are worked on. In the end all descriptors are closed again.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rd.h"
#include "link/vhost/req.h"
#include "os/fdpass.h"
#include "fds.h"

#define MEM 65536u
#define ROOM 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct fuzz {
	struct vchan c;
	struct vdev d;
	int peer, mem, event;
	bool watched[VDEV_RINGS];
};

static void on_settle(void *ctx)
{
}

static void on_watch(void *ctx, unsigned ring, bool on)
{
	struct fuzz *z = ctx;

	assert(z->watched[ring] != on && z->d.ring[ring].kick >= 0);
	z->watched[ring] = on;
}

static void on_watch_state(void *ctx, bool on)
{
}

static void on_changed(void *ctx)
{
}

static void sink(void *ctx, enum log_level level, const char *line)
{
}

static void ring_work(struct fuzz *z, unsigned i)
{
	struct vq *q = &z->d.ring[i].q;
	struct iovec iov[ROOM];
	struct vq_chain c;

	for (unsigned n = 0; n < 8 && vq_pop(q, iov, ROOM, &c) == 1; n++) {
		vdev_wrote(&z->d, iov, c.n);
		vq_push(q, c.head, 1);
	}
	vdev_ring_publish(&z->d, i);
	vq_want_kick(q, VQ_HALF);
}

/* False at the end of the connection. */
static bool work(struct fuzz *z)
{
	uint8_t answer[128];
	int err;

	while ((err = vchan_recv(&z->c)) == 1) {
		if (vreq_handle(&z->d, &z->c))
			return false;
	}
	for (unsigned i = 0; i < VDEV_RINGS; i++)
		ring_work(z, i);
	for (;;) {
		int fd[FDPASS_MAX];
		unsigned n = 0;

		if (fdpass_recv(z->peer, answer, sizeof(answer), MSG_DONTWAIT, fd, &n) <= 0)
			break;
		while (n)
			close(fd[--n]);
	}
	return err == 0;
}

static void feed(struct fuzz *z, struct rd *in)
{
	bool on = true;

	while (on && rd_left(in)) {
		uint32_t request = rd_u8(in), flags = rd_u8(in);
		unsigned n_fds = rd_u8(in) % 12;
		uint32_t size = MIN((uint32_t)rd_u8(in) * (flags & 0x80 ? 8 : 1), (uint32_t)rd_left(in));
		uint32_t msg[3 + 2048 / 4] = { request, flags & 0x7f, size };
		int fd[12];

		for (unsigned i = 0; i < n_fds; i++)
			fd[i] = (flags >> 5 & 1) == i % 2 ? z->mem : z->event;
		rd_copy(in, &msg[3], size);
		if (fdpass_send(z->peer, msg, 12 + size, fd, n_fds, MSG_DONTWAIT))
			abort();
		on = work(z);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd in = rd_init(data, len);
	unsigned before = fds_open();
	struct fuzz *z = calloc(1, sizeof(*z));
	struct vdev_cb cb = {
		.settle = on_settle, .watch = on_watch, .watch_state = on_watch_state, .changed = on_changed, .ctx = z
	};
	int fd[2];

	log_set_sink(sink, NULL);
	if (!z || socketpair(AF_UNIX, SOCK_STREAM, 0, fd) || vdev_init(&z->d, 0, &cb))
		abort();
	vchan_init(&z->c, fd[0]);
	z->peer = fd[1];
	z->mem = memfd_create("guest", MFD_CLOEXEC);
	z->event = eventfd(0, EFD_NONBLOCK);
	if (z->mem < 0 || z->event < 0 || ftruncate(z->mem, MEM))
		abort();
	/* What follows the messages is of use as the guest's memory as well. */
	if (pwrite(z->mem, data, MIN(len, (size_t)MEM), 0) < 0)
		abort();
	feed(z, &in);
	vchan_fini(&z->c);
	vdev_fini(&z->d);
	close(fd[0]);
	close(fd[1]);
	close(z->mem);
	close(z->event);
	free(z);
	assert(fds_open() == before);
	return 0;
}
