/* SPDX-License-Identifier: MIT */
/*
 * Messages of the vhost-user protocol over their stream socket, whole, with the descriptors that came with them.
 *
 * A message can arrive in pieces. Its descriptors belong to the channel until a handler takes one (vchan_take_fd()); what nobody took is
 * closed when the next message is begun.
 */
#pragma once

#include "link/vhost/proto.h"

#define VCHAN_BODY 4096u /* longest payload; the largest message that is known has a tenth of it */

struct vchan {
	int sock; /* the caller's, non-blocking; -1: none */
	struct vhost_user_hdr hdr;
	union {
		uint8_t bytes[VCHAN_BODY];
		uint64_t u64;
	} body;
	size_t have; /* bytes of header and payload that are there */
	bool whole; /* was handed out */
	bool fds_bad; /* there were more than can be */
	unsigned n_fds;
	int fd[VHOST_USER_FDS]; /* -1: taken */
};

void vchan_init(struct vchan *c, int sock);
void vchan_fini(struct vchan *c); /* closes descriptors that nobody took */

/* 1: a message is in hdr, body and fd until the next call; 0: more has to come; -ECONNRESET: the end; -EPROTO; -errno of recvmsg(2). */
MUST_USE int vchan_recv(struct vchan *c);

/* Descriptor i of the message, now the caller's; -1 if there is none. */
int vchan_take_fd(struct vchan *c, unsigned i);

void vchan_drop_fds(struct vchan *c); /* closes those that nobody took */

/* Answers the message with len bytes and perhaps a descriptor (or -1), which stays the caller's. -EAGAIN: nobody reads the answers. */
MUST_USE int vchan_reply(struct vchan *c, const void *body, size_t len, int fd);
