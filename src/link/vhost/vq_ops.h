/* SPDX-License-Identifier: MIT */
/* What the two formats of a ring have to do behind link/vhost/vq.h, and what they share. */
#pragma once

#include <linux/virtio_ring.h>

#include "link/vhost/vq.h"

/* What a walk over a chain does with a piece of it; 0, or what ends the walk. */
typedef int vq_piece_fn(void *ctx, const struct vmem *m, uint64_t guest, uint32_t len);

/* A chain, as it has to be taken. */
struct vq_item {
	uint16_t head;
	uint16_t descs; /* descriptors of the ring in it */
};

/* Of a ring that runs, and is not broken. */
struct vq_ops {
	int (*find)(struct vq *q); /* in the memory: 0, -EFAULT, -EINVAL */
	int (*start)(struct vq *q); /* from conf.base: 0, -EINVAL */
	void (*note)(struct vq *q); /* begins notes in conf.notes, or goes on with those that are there */
	uint32_t (*base)(const struct vq *q);
	struct iovec (*used_area)(const struct vq *q);
	int (*look)(struct vq *q); /* 1: there is a chain; 0; -EBADMSG */
	int (*walk)(const struct vq *q, vq_piece_fn *fn, void *ctx, struct vq_item *ret_item); /* -EBADMSG, or what fn says */
	void (*take)(struct vq *q, const struct vq_item *item);
	void (*untake)(struct vq *q, unsigned n);
	void (*push)(struct vq *q, uint16_t head, uint32_t len);
	bool (*publish)(struct vq *q);
	bool (*want_kick)(struct vq *q, enum vq_kick when);
};

extern const struct vq_ops vq_split_ops, vq_packed_ops;

/* Chains, or descriptors, behind the next one that VQ_HALF and VQ_ANY wait for, of which the device has seen some. */
static inline uint32_t vq_kick_after(const struct vq *q, enum vq_kick when, uint32_t seen)
{
	uint32_t half = when == VQ_HALF && q->conf.event_idx ? q->most / 2 : 0;

	return MAX(half, seen + 1);
}

/* len bytes at a user address, aligned; NULL with *ret_err set otherwise. */
void *vq_find(const struct vq *q, uint64_t user, uint64_t len, unsigned align, int *ret_err);

/* Entries of an indirect table of len bytes; 0 if there can't be one. */
uint32_t vq_table_entries(const struct vq *q, uint32_t len);

/* Reads entry i of an indirect table of the guest to d, of the size of a descriptor. */
MUST_USE int vq_table_read(const struct vq *q, uint64_t table, uint32_t i, void *ret_d);
