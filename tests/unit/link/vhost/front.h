/* SPDX-License-Identifier: MIT */
/*
 * A front-end at the other end of a device's socket, which may say anything; written from the protocol's text, with its own layouts. The
 * device is its own (front_init()), or one that listens somewhere (front_init_client()).
 */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "driver.h"
#include "link/vhost/chan.h"
#include "link/vhost/dev.h"

#define FRONT_NEED_REPLY 8u

#define FRONT_REQUESTS 28u

/* Sizes and numbers of descriptors that each request may have, from the protocol's text. */
struct front_request {
	uint32_t request;
	unsigned size, size_max, fds, fds_max;
	bool own; /* has an answer of its own */
};

extern const struct front_request front_requests[FRONT_REQUESTS]; /* all that the device knows */

struct front {
	int sock; /* ours */
	int (*work)(struct front *f); /* lets the device work */
	struct sockaddr_un peer; /* of a device that listens */
	socklen_t peer_len;
	struct vchan c; /* our own device */
	struct vdev d;
	struct drv drv; /* the guest's memory and one ring in it */
	unsigned settled, changed; /* calls */
	bool watched[VDEV_RINGS];
	unsigned fds; /* open before */
};

/* Connected, with nothing said yet. The guest has memory of which the device does not know. */
void front_init(struct front *f);

/* Fails if a descriptor is left open. */
void front_fini(struct front *f);

/* The same with a device that listens at that address, and works when work() is called. */
void front_init_client(struct front *f, const struct sockaddr_un *sa, socklen_t len, int (*work)(struct front *f));
void front_fini_client(struct front *f);

/* One more connection to it, non-blocking. */
int front_connect(struct front *f);

/* Sends a message with its descriptors, which stay the caller's. */
void front_send(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len);
void front_send_fds(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len, const int *fd, unsigned n);

/* The device works on what was sent, until the end of it or of the connection: 0 or -errno. */
int front_work(struct front *f);

/* Takes the answer to a request: its length, with the payload in body; -1: there is none. Descriptors of it: ret_fd, -1 if none. */
int front_answer(struct front *f, uint32_t request, void *body, size_t cap, int *ret_fd);

/* All answers there are, to the one request: how many, and the first 8 bytes of the first. Descriptors of theirs are closed. */
unsigned front_answers(struct front *f, uint32_t request, uint64_t *ret_first);

/* Sends, works, and takes an answer that is a number; -1: there was none. */
int64_t front_ask(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len);
int64_t front_ask_fd(struct front *f, uint32_t request, uint32_t flags, const void *body, size_t len, int fd);

/* Both features, and the protocol's ones except those of mask. */
void front_negotiate(struct front *f, uint64_t features, uint64_t without);

/* The whole memory in two regions; 0 for success, as SET_MEM_TABLE answers. */
int64_t front_memory(struct front *f);

/* Makes ring i, in which d is at work, run, as QEMU does. kick and call stay the caller's; -1: the ring has none. */
void front_ring(struct front *f, const struct drv *d, unsigned i, int kick, int call);

/* Stops a ring: its position. */
uint32_t front_ring_stop(struct front *f, unsigned i);
