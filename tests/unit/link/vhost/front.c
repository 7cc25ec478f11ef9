/* SPDX-License-Identifier: MIT */
#include "front.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "link/vhost/req.h"
#include "fds.h"

const struct front_request front_requests[FRONT_REQUESTS] = {
	{ 1, 0, 0, 0, 0, true },           { 2, 8, 8, 0, 0, false },    { 3, 0, 0, 0, 0, false },  { 4, 0, 0, 0, 0, false },
	{ 5, 8, 8 + 8 * 32, 0, 8, false }, { 6, 16, 16, 1, 1, true },   { 7, 0, 8, 1, 1, false },  { 8, 8, 8, 0, 0, false },
	{ 9, 40, 40, 0, 0, false },        { 10, 8, 8, 0, 0, false },   { 11, 8, 8, 0, 0, true },  { 12, 8, 8, 1, 1, false },
	{ 13, 8, 8, 1, 1, false },         { 14, 8, 8, 1, 1, false },   { 15, 0, 0, 0, 0, true },  { 16, 8, 8, 0, 0, false },
	{ 17, 0, 0, 0, 0, true },          { 18, 8, 8, 0, 0, false },   { 19, 8, 8, 0, 0, false }, { 21, 0, 8, 1, 1, false },
	{ 31, 20, 24, 0, 0, true },        { 32, 20, 24, 1, 1, false }, { 34, 0, 0, 0, 0, false }, { 36, 0, 0, 0, 0, true },
	{ 37, 40, 40, 1, 1, false },       { 38, 40, 40, 0, 1, false }, { 42, 8, 8, 1, 1, true },  { 43, 0, 0, 0, 0, true },
};

static void on_settle(void *ctx)
{
	((struct front *)ctx)->settled++;
}

static void on_watch(void *ctx, unsigned ring, bool on)
{
	struct front *f = ctx;

	assert_int_not_equal(f->watched[ring], on);
	/* It is open at both times. */
	assert_int_not_equal(fcntl(f->d.ring[ring].kick, F_GETFD), -1);
	f->watched[ring] = on;
}

static void on_watch_state(void *ctx, bool on)
{
	assert_int_not_equal(fcntl(((struct front *)ctx)->d.state_fd, F_GETFD), -1);
}

static void on_changed(void *ctx)
{
	((struct front *)ctx)->changed++;
}

static void quiet(void *ctx, enum log_level level, const char *line)
{
}

static int own_work(struct front *f)
{
	int err;

	while ((err = vchan_recv(&f->c)) == 1) {
		err = vreq_handle(&f->d, &f->c);
		if (err)
			return err;
	}
	return err;
}

static void memory_init(struct front *f)
{
	struct vmem scratch;

	assert_int_equal(vmem_init(&scratch), 0);
	drv_mem_init(&f->drv, &scratch);
	vmem_fini(&scratch);
	drv_ring_init(&f->drv, 8, 0, false);
}

void front_init(struct front *f)
{
	struct vdev_cb cb = {
		.settle = on_settle, .watch = on_watch, .watch_state = on_watch_state, .changed = on_changed, .ctx = f
	};
	int fd[2];

	log_set_sink(quiet, NULL);
	memset(f, 0, sizeof(*f));
	f->fds = fds_open();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	f->sock = fd[0];
	vchan_init(&f->c, fd[1]);
	assert_int_equal(vdev_init(&f->d, 0, &cb), 0);
	f->work = own_work;
	memory_init(f);
}

void front_fini(struct front *f)
{
	int sock = f->c.sock;

	vchan_fini(&f->c);
	close(sock);
	close(f->sock);
	vdev_fini(&f->d);
	drv_mem_fini(&f->drv);
	for (unsigned i = 0; i < VDEV_RINGS; i++)
		assert_false(f->watched[i]);
	assert_int_equal(fds_open(), f->fds);
}

int front_connect(struct front *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&f->peer, f->peer_len), 0);
	return fd;
}

void front_init_client(struct front *f, const struct sockaddr_un *sa, socklen_t len, int (*work)(struct front *f))
{
	memset(f, 0, sizeof(*f));
	f->peer = *sa;
	f->peer_len = len;
	f->work = work;
	f->sock = front_connect(f);
	memory_init(f);
}

void front_fini_client(struct front *f)
{
	close(f->sock);
	drv_mem_fini(&f->drv);
}

void front_send_fds(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len, const int *fd, unsigned n)
{
	uint32_t hdr[3] = { request, 1 | flags, (uint32_t)len };
	struct iovec iov[2] = { { hdr, sizeof(hdr) }, { (void *)body, len } };
	char control[CMSG_SPACE(32 * sizeof(int))];
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = 2 };

	if (n) {
		struct cmsghdr *c;

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fd, n * sizeof(int));
	}
	assert_int_equal(sendmsg(f->sock, &m, 0), sizeof(hdr) + len);
}

void front_send(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len)
{
	front_send_fds(f, request, flags, body, len, NULL, 0);
}

int front_work(struct front *f)
{
	return f->work(f);
}

int front_answer(struct front *f, uint32_t request, void *body, size_t cap, int *ret_fd)
{
	uint32_t hdr[3];
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { hdr, sizeof(hdr) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(f->sock, &m, 0);
	struct cmsghdr *c;

	if (n < 0)
		return -1;
	assert_int_equal(n, sizeof(hdr));
	assert_int_equal(hdr[0], request);
	assert_int_equal(hdr[1], 5);
	assert_in_range(hdr[2], 1, cap);
	assert_int_equal(recv(f->sock, body, hdr[2], 0), hdr[2]);
	c = CMSG_FIRSTHDR(&m);
	*ret_fd = -1;
	if (c)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return (int)hdr[2];
}

unsigned front_answers(struct front *f, uint32_t request, uint64_t *ret_first)
{
	uint8_t body[64] = { 0 };
	unsigned n = 0;
	int fd = -1;

	while (front_answer(f, request, body, sizeof(body), &fd) > 0) {
		if (!n++)
			memcpy(ret_first, body, 8);
		if (fd >= 0)
			close(fd);
	}
	return n;
}

int64_t front_ask_fd(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len, int fd)
{
	int64_t v = 0;
	int got = -1, n;

	front_send_fds(f, request, flags, body, len, &fd, fd >= 0);
	assert_int_equal(front_work(f), 0);
	n = front_answer(f, request, &v, sizeof(v), &got);
	if (n < 0)
		return -1;
	assert_int_equal(n, sizeof(v));
	assert_int_equal(got, -1);
	return v;
}

int64_t front_ask(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len)
{
	return front_ask_fd(f, request, flags, body, len, -1);
}

void front_negotiate(struct front *f, uint64_t features, uint64_t without)
{
	uint64_t offered = (uint64_t)front_ask(f, 1, 0, NULL, 0);
	uint64_t protocol = (uint64_t)front_ask(f, 15, 0, NULL, 0) & ~without;

	assert_true(offered & UINT64_C(1) << 30);
	assert_int_equal(features & ~offered, 0);
	assert_int_equal(front_ask(f, 16, 0, &protocol, 8), -1);
	assert_int_equal(front_ask(f, 3, 0, NULL, 0), -1);
	assert_int_equal(front_ask(f, 2, 0, &features, 8), -1);
}

int64_t front_memory(struct front *f)
{
	uint64_t t[9] = {
		2, /* and the padding */
		DRV_GUEST,   DRV_MEM / 2, DRV_USER,
		DRV_MEM / 2, /* as in the driver */
		DRV_HALF,    DRV_MEM / 2, DRV_USER + DRV_MEM / 2,
		0,
	};
	int fd[2] = { f->drv.fd, f->drv.fd };
	int64_t v = -1;

	front_send_fds(f, 5, FRONT_NEED_REPLY, t, sizeof(t), fd, 2);
	assert_int_equal(front_work(f), 0);
	assert_int_equal(front_answer(f, 5, &v, sizeof(v), &fd[0]), sizeof(v));
	return v;
}

void front_ring(struct front *f, const struct drv *d, unsigned i, int kick, int call)
{
	uint32_t num[2] = { i, d->size };
	uint32_t base[2] = { i, drv_base(d, d->added) };
	uint64_t addr[5] = { i, d->desc - DRV_GUEST + DRV_USER, d->used - DRV_GUEST + DRV_USER, d->avail - DRV_GUEST + DRV_USER,
			     0 };
	uint32_t enable[2] = { i, 1 };
	uint64_t no_kick = i | (kick < 0 ? 0x100u : 0), no_call = i | (call < 0 ? 0x100u : 0);

	assert_int_equal(front_ask(f, 8, FRONT_NEED_REPLY, num, 8), 0);
	assert_int_equal(front_ask(f, 10, FRONT_NEED_REPLY, base, 8), 0);
	assert_int_equal(front_ask(f, 9, FRONT_NEED_REPLY, addr, 40), 0);
	assert_int_equal(front_ask_fd(f, 12, FRONT_NEED_REPLY, &no_kick, 8, kick), 0);
	assert_int_equal(front_ask_fd(f, 13, FRONT_NEED_REPLY, &no_call, 8, call), 0);
	assert_int_equal(front_ask(f, 18, FRONT_NEED_REPLY, enable, 8), 0);
}

uint32_t front_ring_stop(struct front *f, unsigned i)
{
	uint32_t ask[2] = { i, 0 }, got[2] = { 99, 99 };
	int fd;

	front_send(f, 11, 0, ask, 8);
	assert_int_equal(front_work(f), 0);
	assert_int_equal(front_answer(f, 11, got, sizeof(got), &fd), 8);
	assert_int_equal(got[0], i);
	return got[1];
}
