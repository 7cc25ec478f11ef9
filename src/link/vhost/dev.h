/* SPDX-License-Identifier: MIT */
/*
 * The device that a vhost-user front-end drives: its memory, its rings, what was negotiated. Requests change it (link/vhost/req.h);
 * who owns it moves the frames.
 *
 * A ring runs from the moment its kick descriptor comes, or the word that there is none, until GET_VRING_BASE. It is worked on while it
 * runs, and frames pass while it is enabled as well. The owner is told before anything that it may hold a pointer into goes away.
 */
#pragma once

#include "link/vhost/dirty.h"
#include "link/vhost/mem.h"
#include "link/vhost/proto.h"
#include "link/vhost/vq.h"

#define VDEV_PAIRS 8u
#define VDEV_RINGS (2 * VDEV_PAIRS) /* even ones lead to the guest, odd ones from it */

struct vdev_ring {
	struct vq q;
	struct vq_conf conf; /* for the next start */
	uint64_t used_log; /* address in the guest's log of the used ring */
	bool log_used;
	bool has_addr;
	bool enabled;
	bool polled; /* nobody will tell when there is work */
	bool resume; /* it is to go on with the in-flight buffer, if there is something in it */
	int kick, call, err; /* -1: none */
};

struct vdev_cb {
	/* The ring is about to stop, or all memory to change: give back what was taken of it, keep no pointer. */
	void (*settle)(void *ctx);
	/* kick of this ring is to be watched, or, before it is closed, not any more. */
	void (*watch)(void *ctx, unsigned ring, bool on);
	/* state_fd is to be watched, or, before it is closed, not any more. */
	void (*watch_state)(void *ctx, bool on);
	/* Features, memory, or which rings run or are enabled have changed. */
	void (*changed)(void *ctx);
	void *ctx;
};

struct vdev {
	struct vdev_cb cb;
	uint64_t offered; /* features */
	uint64_t features; /* as acknowledged */
	uint64_t protocol; /* protocol features, as acknowledged */
	int req_fd; /* for requests to the front-end; -1 */
	int state_fd; /* what another back-end has left for us is read from; -1: nothing more will come */
	uint64_t state_len; /* bytes of that so far */
	int log_call; /* event for what the log notes; -1 */
	struct vmem mem;
	struct dirty dirty;
	struct guardmap inflight;
	uint64_t inflight_len; /* of each ring's part; 0: there is no buffer */
	unsigned inflight_rings;
	bool leaving; /* the connection ends: positions are told to nobody */
	struct vdev_ring ring[VDEV_RINGS];
};

/* Features that are the link's business; those of the rings and of the protocol are added. -errno. */
MUST_USE int vdev_init(struct vdev *d, uint64_t features, const struct vdev_cb *cb);
void vdev_fini(struct vdev *d);

/* As it was at first: for the next front-end. */
void vdev_reset(struct vdev *d);

static inline bool vdev_has(const struct vdev *d, unsigned feature)
{
	return d->features >> feature & 1;
}

/* Frames may pass. */
static inline bool vdev_ring_live(const struct vdev_ring *r)
{
	return r->enabled && vq_running(&r->q);
}

/* 0 if it runs then, or does not yet have all that it needs; else an error as of vq_start(). */
MUST_USE int vdev_ring_start(struct vdev *d, unsigned i);

/* Stops a ring that is to be set up anew: the kick descriptor is closed. */
void vdev_ring_halt(struct vdev *d, unsigned i);

/* The same, for good: position of the next chain for who goes on with it (struct vq_conf). The kick and call descriptors are closed. */
uint32_t vdev_ring_stop(struct vdev *d, unsigned i);

/* Takes the kick descriptor of a ring, which starts it as vdev_ring_start(); -1: the ring is to be polled. */
MUST_USE int vdev_ring_kick(struct vdev *d, unsigned i, int fd);

/* Puts a descriptor where perhaps another one was, which is closed. */
void vdev_fd_set(int *slot, int fd);

/*
 * Takes an in-flight buffer, in which there may be what a predecessor left; the descriptor stays the caller's. Rings that run go on
 * where they are. Errors as of guardmap_open(); then there is no buffer.
 */
MUST_USE int vdev_inflight(struct vdev *d, int fd, const struct vhost_user_inflight *f);

/*
 * What a device is, beside its rings, goes with a guest that is moved. Of ours that is nothing: what another back-end wrote to fd, which is
 * ours now, is read to its end, for that to get rid of it, and left out.
 */
void vdev_state_load(struct vdev *d, int fd);

/* Reads what there is: 0: that was all; -EAGAIN: more has to come; -EMSGSIZE: it has no end; -errno of preadv2(2). */
int vdev_state_read(struct vdev *d);

/* The memory is another one: rings that are not found in it any more stop. */
void vdev_remap(struct vdev *d);

/* Tells the front-end, if it wants to know, that a ring is broken. */
void vdev_ring_fail(struct vdev *d, unsigned i);

/* Calls the guest, if the ring runs and there is a way to do it. */
void vdev_ring_call(struct vdev *d, unsigned i);

/* Shows the guest what was pushed to the ring, with a call if it wants one. */
void vdev_ring_publish(struct vdev *d, unsigned i);

/* Notes memory of the guest that was written to, where the front-end wants to know. */
void vdev_wrote(struct vdev *d, const struct iovec *iov, unsigned n);
