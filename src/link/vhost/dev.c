/* SPDX-License-Identifier: MIT */
#include "link/vhost/dev.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <unistd.h>

#include "base/log.h"
#include "os/event.h"

#define BIT(n) (UINT64_C(1) << (n))
#define RING_FEATURES \
	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VIRTIO_RING_F_EVENT_IDX) | \
	 BIT(VHOST_F_LOG_ALL) | BIT(VHOST_USER_F_PROTOCOL_FEATURES))
#define PAGE_LEN 4096u
#define STATE_PARTS 64u /* that are read at once, of another back-end's state */
#define STATE_MAX (UINT64_C(1) << 30)

static void ring_init(struct vdev_ring *r)
{
	*r = (struct vdev_ring){ .kick = -1, .call = -1, .err = -1 };
}

static void inflight_drop(struct vdev *d)
{
	guardmap_close(&d->inflight);
	d->inflight_len = d->inflight_rings = 0;
}

int vdev_init(struct vdev *d, uint64_t features, const struct vdev_cb *cb)
{
	d->cb = *cb;
	d->offered = features | RING_FEATURES;
	d->features = d->protocol = 0;
	d->req_fd = d->log_call = d->state_fd = -1;
	dirty_init(&d->dirty);
	d->inflight = (struct guardmap){ .file = { .at = NULL } };
	inflight_drop(d);
	d->leaving = false;
	for (unsigned i = 0; i < VDEV_RINGS; i++)
		ring_init(&d->ring[i]);
	return vmem_init(&d->mem);
}

void vdev_fd_set(int *slot, int fd)
{
	if (*slot >= 0)
		close(*slot);
	*slot = fd;
}

static void kick_drop(struct vdev *d, unsigned i)
{
	struct vdev_ring *r = &d->ring[i];

	if (r->kick < 0)
		return;
	d->cb.watch(d->cb.ctx, i, false);
	vdev_fd_set(&r->kick, -1);
}

void vdev_ring_halt(struct vdev *d, unsigned i)
{
	struct vdev_ring *r = &d->ring[i];

	if (vq_running(&r->q)) {
		d->cb.settle(d->cb.ctx);
		/* Somebody else may go on with the notes only if we never said where we were. */
		r->conf.base = d->leaving ? vq_stop(&r->q) : vq_end(&r->q);
	}
	kick_drop(d, i);
	r->polled = r->resume = false;
	d->cb.changed(d->cb.ctx);
}

uint32_t vdev_ring_stop(struct vdev *d, unsigned i)
{
	struct vdev_ring *r = &d->ring[i];

	vdev_ring_halt(d, i);
	vdev_fd_set(&r->call, -1);
	return r->conf.base;
}

/* A ring's part of it, if it has one of the right size. */
static void *inflight_part(const struct vdev *d, unsigned i, const struct vq_conf *c)
{
	return i < d->inflight_rings && d->inflight_len >= inflight_len(c->packed, c->size)
		       ? d->inflight.file.at + i * d->inflight_len
		       : NULL;
}

int vdev_inflight(struct vdev *d, int fd, const struct vhost_user_inflight *f)
{
	uint32_t running = 0;
	int err;

	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		struct vdev_ring *r = &d->ring[i];

		r->resume = !vq_running(&r->q);
		if (r->resume)
			continue;
		d->cb.settle(d->cb.ctx);
		r->conf.base = vq_end(&r->q);
		running |= 1u << i;
	}
	inflight_drop(d);
	err = guardmap_open(&d->inflight, fd, f->size, f->offset);
	if (!err) {
		d->inflight_len = f->size / f->queues / INFLIGHT_ALIGN * INFLIGHT_ALIGN;
		d->inflight_rings = f->queues;
	}
	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		if (running >> i & 1)
			err = vdev_ring_start(d, i) ? -EINVAL : err;
	}
	return err;
}

static void state_end(struct vdev *d)
{
	if (d->state_fd < 0)
		return;
	d->cb.watch_state(d->cb.ctx, false);
	vdev_fd_set(&d->state_fd, -1);
	if (d->state_len)
		log_limited(LOG_LVL_WARN, "Connections of a guest that was moved here are not carried over");
}

void vdev_state_load(struct vdev *d, int fd)
{
	state_end(d);
	d->state_fd = fd;
	d->state_len = 0;
	d->cb.watch_state(d->cb.ctx, true);
}

int vdev_state_read(struct vdev *d)
{
	ssize_t n = 0;

	if (d->state_fd < 0)
		return 0;
	for (unsigned i = 0; i < STATE_PARTS && (n = event_skip(d->state_fd)) > 0; i++)
		d->state_len += (size_t)n;
	if (n > 0)
		n = d->state_len > STATE_MAX ? -EMSGSIZE : -EAGAIN;
	if (n != -EAGAIN)
		state_end(d);
	return (int)n;
}

void vdev_reset(struct vdev *d)
{
	d->leaving = true;
	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		vdev_ring_stop(d, i);
		vdev_fd_set(&d->ring[i].err, -1);
		ring_init(&d->ring[i]);
	}
	vdev_fd_set(&d->req_fd, -1);
	vdev_fd_set(&d->log_call, -1);
	d->leaving = false;
	state_end(d);
	inflight_drop(d);
	d->features = d->protocol = 0;
	dirty_close(&d->dirty);
	vmem_clear(&d->mem);
}

void vdev_fini(struct vdev *d)
{
	vdev_reset(d);
	vmem_fini(&d->mem);
}

int vdev_ring_start(struct vdev *d, unsigned i)
{
	struct vdev_ring *r = &d->ring[i];
	int err;

	if (vq_running(&r->q) || (r->kick < 0 && !r->polled) || !r->has_addr || !r->conf.size)
		return 0;
	r->conf.write = !(i & 1);
	r->conf.packed = vdev_has(d, VIRTIO_F_RING_PACKED);
	r->conf.event_idx = vdev_has(d, VIRTIO_RING_F_EVENT_IDX);
	r->conf.indirect = vdev_has(d, VIRTIO_RING_F_INDIRECT_DESC);
	r->conf.notes = inflight_part(d, i, &r->conf);
	r->conf.resume = r->resume;
	err = vq_start(&r->q, &d->mem, &r->conf);
	if (err)
		return err;
	r->resume = false;
	d->cb.changed(d->cb.ctx);
	return 0;
}

int vdev_ring_kick(struct vdev *d, unsigned i, int fd)
{
	kick_drop(d, i);
	d->ring[i].polled = fd < 0;
	d->ring[i].kick = fd;
	if (fd >= 0)
		d->cb.watch(d->cb.ctx, i, true);
	return vdev_ring_start(d, i);
}

void vdev_remap(struct vdev *d)
{
	for (unsigned i = 0; i < VDEV_RINGS; i++) {
		struct vdev_ring *r = &d->ring[i];

		if (!vq_remap(&r->q))
			continue;
		r->conf.base = vq_stop(&r->q);
		log_limited(LOG_LVL_WARN, "Ring %u of the guest is not in its memory any more", i);
	}
	d->cb.changed(d->cb.ctx);
}

/* Is full when nobody took what was told before: another says nothing more. */
static void event_tell(int fd, const char *what, unsigned i)
{
	int err = fd < 0 ? 0 : event_write(fd);

	if (err && err != -EAGAIN)
		log_limited(LOG_LVL_DEBUG, "The %s event of ring %u goes nowhere", what, i);
}

/* All that used chains are written to, wherever in it they were. */
static void used_wrote(struct vdev *d, const struct vdev_ring *r)
{
	struct iovec area = vq_used_area(&r->q);

	if (!r->log_used || !dirty_wanted(&d->dirty))
		return;
	/* The front-end gives an address for the log; of a packed ring, that of the events. */
	if (r->conf.packed)
		vdev_wrote(d, &area, 1);
	else
		dirty_mark(&d->dirty, r->used_log, area.iov_len);
}

void vdev_ring_call(struct vdev *d, unsigned i)
{
	struct vdev_ring *r = &d->ring[i];

	if (vq_running(&r->q))
		event_tell(r->call, "call", i);
}

void vdev_ring_fail(struct vdev *d, unsigned i)
{
	event_tell(d->ring[i].err, "error", i);
}

void vdev_ring_publish(struct vdev *d, unsigned i)
{
	bool call = vq_publish(&d->ring[i].q);

	used_wrote(d, &d->ring[i]);
	if (dirty_told(&d->dirty))
		event_tell(d->log_call, "log", i);
	if (call)
		vdev_ring_call(d, i);
}

void vdev_wrote(struct vdev *d, const struct iovec *iov, unsigned n)
{
	if (!dirty_wanted(&d->dirty) || !vdev_has(d, VHOST_F_LOG_ALL))
		return;
	for (unsigned i = 0; i < n; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t part;

		/* Piece by piece: neighbours here may be far apart in the guest. */
		for (size_t at = 0; at < iov[i].iov_len; at += part) {
			uint64_t guest = 0;

			part = MIN(iov[i].iov_len - at, PAGE_LEN - ((uintptr_t)p + at) % PAGE_LEN);
			if (!vmem_guest(&d->mem, p + at, &guest))
				dirty_mark(&d->dirty, guest, part);
		}
	}
}
