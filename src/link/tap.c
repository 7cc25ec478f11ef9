/* SPDX-License-Identifier: MIT */
#include "link/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "base/wr.h"
#include "link/vnet.h"
#include "os/tun.h"

#define FRAME_MIN 14u
#define FRAME_PAD 60u /* shortest Ethernet frame, without its checksum */
#define READ_MAX (65536u + 64) /* the largest frame there is, with its headers: 64 KiB of IP, Ethernet with tags, virtio */
#define AREA (2u << 20)
#define ALIGN 64u
#define RETRY_NS (2 * NSEC_PER_MSEC) /* when the system has no memory, the device looks writable all the time */

#define OFF_ALL (LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO)

struct tap {
	struct link link;
	struct loop *loop;
	unsigned owner;
	int fd; /* -1: the device is gone */
	unsigned vnet; /* bytes of the header in front of each frame: VNET_LEN or 0 */
	bool out_armed;
	bool blocked; /* a reservation got nothing: tx_ready() is owed */
	struct timer retry;

	/*
	 * Frames of one batch, one behind the other, so that a batch of small frames stays in the cache. Of both areas only the pages
	 * that were needed once take memory.
	 */
	uint8_t *rx;
	struct frame frame[LINK_BATCH];
	struct iovec iov[LINK_BATCH];

	/*
	 * Frames towards the guest wait behind each other as well. The device usually takes them all at once, so room is only ever
	 * found behind the last one, and all of it is free again when the last one was written.
	 */
	uint8_t *tx;
	size_t tail;
	unsigned first, end; /* frames queued: first..end - 1 */
	struct iovec queue[AREA / 256];
};

static struct tap *tap_of(struct link *l)
{
	return container_of(l, struct tap, link);
}

static void queue_clear(struct tap *t)
{
	t->first = t->end = 0;
	t->tail = 0;
}

static void device_gone(struct tap *t, int err)
{
	log_info("The network interface of the namespace is gone: %s", err ? strerror(err) : "end of file");
	loop_del(t->loop, t->fd);
	timer_cancel(&t->loop->timers, &t->retry);
	close(t->fd);
	t->fd = -1;
	t->link.up = false;
	t->out_armed = false;
	queue_clear(t);
	t->link.cb.gone(t->link.cb.ctx);
}

static void events_update(struct tap *t)
{
	bool want = (t->blocked || t->first < t->end) && !timer_armed(&t->retry);

	if (t->fd < 0 || want == t->out_armed)
		return;
	if (!loop_mod(t->loop, t->fd, ref_init(t->owner, 0, 0), EPOLLIN | (want ? EPOLLOUT : 0)))
		t->out_armed = want;
}

/* The len bytes at p, read from the device, as frame i of the batch. */
static bool frame_take(struct tap *t, uint8_t *p, size_t len, unsigned i)
{
	struct frame *f = &t->frame[i];

	if (len < t->vnet + FRAME_MIN)
		return false;
	len -= t->vnet;
	*f = (struct frame){ .iov = &t->iov[i], .n = 1, .len = len };
	if (t->vnet) {
		struct virtio_net_hdr h;

		memcpy(&h, p, sizeof(h));
		if (!vnet_read(&h, f))
			return false;
	}
	t->iov[i] = (struct iovec){ .iov_base = p + t->vnet, .iov_len = len };
	t->link.stats.rx_bytes += len;
	return true;
}

/* True if an error of read or write means that there is no device any more. */
static bool is_gone(int err)
{
	return err == EBADFD || err == EBADF || err == ENXIO || err == ENODEV || err == ECONNRESET || err == EPIPE;
}

/* One batch; epoll reports what is left. */
static void device_read(struct tap *t)
{
	unsigned n = 0;
	size_t at = 0;
	int err = 0;

	for (unsigned i = 0; i < LINK_BATCH && AREA - at >= READ_MAX; i++) {
		ssize_t len = read(t->fd, t->rx + at, READ_MAX);

		if (len <= 0) {
			err = len ? errno : ENXIO;
			break;
		}
		if (!frame_take(t, t->rx + at, (size_t)len, n)) {
			t->link.stats.rx_bad++;
			continue;
		}
		/* Behind the virtio header, that of IP lies on a multiple of eight. */
		at += ((size_t)len + ALIGN - 1) / ALIGN * ALIGN;
		n++;
	}
	t->link.stats.rx_frames += n;
	if (n)
		t->link.cb.rx(t->link.cb.ctx, t->frame, n);
	if (is_gone(err) && t->fd >= 0)
		device_gone(t, err);
}

/* Writes what the device takes. 0; -EAGAIN or -ENOBUFS if some is left; or the device is gone. */
static int queue_write(struct tap *t)
{
	while (t->first < t->end) {
		const struct iovec *v = &t->queue[t->first];
		ssize_t n = write(t->fd, v->iov_base, v->iov_len);
		int err = n < 0 ? errno : 0;

		if (err == EINTR)
			continue;
		if (err == EAGAIN)
			return -EAGAIN;
		if (err == ENOBUFS || err == ENOMEM)
			return -ENOBUFS;
		if (is_gone(err))
			return -err;
		if (err && err != EIO)
			log_limited(LOG_LVL_DEBUG, "Frame of %zu bytes not taken by the interface: %s", v->iov_len, strerror(err));
		t->first++;
	}
	queue_clear(t);
	return 0;
}

static void tx_send(struct tap *t)
{
	int err;

	if (t->fd < 0 || timer_armed(&t->retry))
		return;
	err = queue_write(t);
	if (err == -ENOBUFS)
		timer_set(&t->loop->timers, &t->retry, t->loop->now_ns + RETRY_NS);
	else if (err && err != -EAGAIN)
		device_gone(t, -err);
}

static void device_writable(struct tap *t)
{
	tx_send(t);
	if (t->fd >= 0 && t->blocked && t->first == t->end) {
		t->blocked = false;
		t->link.cb.tx_ready(t->link.cb.ctx);
	}
	events_update(t);
}

static void retry_fire(struct timer *timer, uint64_t now_ns)
{
	device_writable(container_of(timer, struct tap, retry));
}

static void tap_on_event(struct link *l, unsigned which, uint32_t events)
{
	struct tap *t = tap_of(l);

	if (t->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		device_read(t);
	if (t->fd >= 0 && events & EPOLLOUT)
		device_writable(t);
}

static void loop_event(void *ctx, struct ref ref, uint32_t events)
{
	struct tap *t = ctx;

	t->link.ops->on_event(&t->link, ref.index, events);
}

/* Room behind the tail for frames. */
static size_t queue_reserve(struct tap *t, struct txframe *f, const struct txwant *w)
{
	size_t front = t->vnet + w->hdr;
	size_t slot = (t->vnet + MAX(w->hdr + w->len, (size_t)FRAME_PAD) + ALIGN - 1) / ALIGN * ALIGN;
	size_t n = MIN(w->n, (size_t)LINK_BATCH);

	n = MIN(n, (AREA - t->tail) / slot);
	n = MIN(n, (size_t)(ARRAY_SIZE(t->queue) - t->end));
	for (size_t i = 0; i < n; i++) {
		size_t at = t->tail + i * slot;

		f[i].body[0] = (struct iovec){ .iov_base = t->tx + at + front, .iov_len = w->len };
		f[i].n = 1;
		f[i].cap = w->len;
		f[i].cookie = (uint32_t)at;
	}
	return n;
}

static size_t tap_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	struct tap *t = tap_of(l);
	size_t n = MIN(w->n, (size_t)LINK_BATCH), got = 0;

	if (t->fd >= 0) {
		got = queue_reserve(t, f, w);
		if (got < n) {
			/* The frames reserved before are committed or given back by now: those that are queued can leave. */
			tx_send(t);
			got = t->fd >= 0 ? queue_reserve(t, f, w) : 0;
		}
	}
	if (!got && n) {
		t->blocked = true;
		l->stats.tx_full++;
	}
	return got;
}

static void tap_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct tap *t = tap_of(l);
	struct wr w = wr_init(t->tx + f->cookie, AREA - f->cookie);
	size_t frame_len = h->len + len;

	if (t->fd < 0 || len > f->cap)
		return;
	if (t->vnet) {
		struct virtio_net_hdr v = vnet_of(h);

		wr_bytes(&w, &v, sizeof(v));
	}
	wr_bytes(&w, h->bytes, h->len);
	wr_put(&w, len); /* the body is there already */
	wr_zero(&w, frame_len < FRAME_PAD ? FRAME_PAD - frame_len : 0);
	if (!wr_ok(&w))
		return;
	t->queue[t->end++] = (struct iovec){ .iov_base = w.p, .iov_len = wr_len(&w) };
	t->tail = f->cookie + (wr_len(&w) + ALIGN - 1) / ALIGN * ALIGN;
	l->stats.tx_frames++;
	l->stats.tx_bytes += frame_len;
}

static void tap_flush(struct link *l)
{
	struct tap *t = tap_of(l);

	tx_send(t);
	events_update(t);
}

/* A namespace has no connection that could be dropped; only what is on its way to it. */
static void tap_reset(struct link *l)
{
	queue_clear(tap_of(l));
}

void tap_leave(struct link *l)
{
	struct tap *t = tap_of(l);

	if (t->fd >= 0)
		tun_leave(t->fd);
}

void tap_gone(struct link *l)
{
	struct tap *t = tap_of(l);

	if (t->fd >= 0)
		device_gone(t, ENODEV);
}

static void tap_free(struct link *l)
{
	struct tap *t = tap_of(l);

	if (t->fd >= 0) {
		loop_del(t->loop, t->fd);
		close(t->fd);
	}
	timer_cancel(&t->loop->timers, &t->retry);
	munmap(t->rx, AREA);
	munmap(t->tx, AREA);
	free(t);
}

static uint8_t *area_map(void)
{
	void *p = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int tap_new(struct loop *loop, const struct tap_conf *c, struct link **ret_link)
{
	static const struct link_ops ops = {
		.on_event = tap_on_event,
		.reserve = tap_reserve,
		.commit = tap_commit,
		.flush = tap_flush,
		.reset = tap_reset,
		.free = tap_free,
	};
	struct tap *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->rx = area_map();
	t->tx = area_map();
	if (!t->rx || !t->tx) {
		if (t->rx)
			munmap(t->rx, AREA);
		if (t->tx)
			munmap(t->tx, AREA);
		free(t);
		return -ENOMEM;
	}
	t->link.ops = &ops;
	t->link.cb = c->cb;
	t->link.mtu = c->mtu;
	t->link.offloads = c->vnet_hdr ? c->offloads & OFF_ALL : 0;
	/* The kernel cuts up nothing whose checksum is complete. */
	if (!(t->link.offloads & LINK_OFF_CSUM))
		t->link.offloads = 0;
	t->link.max_body = t->link.offloads & (LINK_OFF_TSO4 | LINK_OFF_TSO6 | LINK_OFF_USO) ? 65535 : c->mtu;
	t->loop = loop;
	t->owner = loop_owner(loop, loop_event, t);
	t->fd = c->fd;
	t->vnet = c->vnet_hdr ? VNET_LEN : 0;
	timer_init(&t->retry, retry_fire);
	*ret_link = &t->link;
	return 0;
}

int tap_start(struct link *l)
{
	struct tap *t = tap_of(l);
	int err = loop_add(t->loop, t->fd, ref_init(t->owner, 0, 0), EPOLLIN | (t->blocked ? EPOLLOUT : 0));

	if (err)
		return err;
	t->out_armed = t->blocked;
	l->up = true;
	l->cb.up(l->cb.ctx);
	return 0;
}
