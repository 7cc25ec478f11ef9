/* SPDX-License-Identifier: MIT */
/* What fuzz targets of links have in common: a real loop, a link in it, and the other end of its socket. */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "base/log.h"
#include "base/rd.h"
#include "link/link.h"
#include "os/loop.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct link_target {
	struct loop loop;
	struct timer nowait;
	struct link *link;
	int peer; /* -1: none */
	bool gone;
};

static inline void link_target_nothing(struct timer *t, uint64_t now_ns)
{
}

static inline void link_target_sink(void *ctx, enum log_level level, const char *line)
{
}

static inline void link_target_change(void *ctx)
{
}

static inline void link_target_gone(void *ctx)
{
	((struct link_target *)ctx)->gone = true;
}

static inline void link_target_init(struct link_target *t)
{
	*t = (struct link_target){ .peer = -1 };
	log_set_sink(link_target_sink, NULL);
	timer_init(&t->nowait, link_target_nothing);
	if (loop_init(&t->loop))
		abort();
}

static inline void link_target_fini(struct link_target *t)
{
	t->link->ops->free(t->link);
	timer_cancel(&t->loop.timers, &t->nowait);
	loop_fini(&t->loop);
	if (t->peer >= 0)
		close(t->peer);
}

/* A pair of connected sockets of which ours is the peer; the other one, which does not block. */
static inline int link_target_pair(struct link_target *t, int type)
{
	int fd[2];

	if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fd))
		abort();
	t->peer = fd[1];
	return fd[0];
}

static inline struct link_cb link_target_cb(struct link_target *t, void (*rx)(void *ctx, const struct frame *f, unsigned n))
{
	return (struct link_cb){ .rx = rx,
				 .tx_ready = link_target_change,
				 .up = link_target_change,
				 .down = link_target_change,
				 .gone = link_target_gone,
				 .ctx = t };
}

/* One turn of the loop that does not wait, and its flush. */
static inline void link_target_turn(struct link_target *t)
{
	timer_set(&t->loop.timers, &t->nowait, 0);
	if (loop_turn(&t->loop))
		abort();
	link_flush(t->link);
}

/* More than the other end takes at once. */
static inline void link_target_flood(struct link_target *t, unsigned frames)
{
	static const uint8_t flood[60000];

	while (frames--)
		(void)!link_send(t->link, 0, flood, sizeof(flood));
}

/* The beginning of the frame goes back. */
static inline void link_target_echo(struct link_target *t, const struct frame *f)
{
	uint8_t echo[200];

	(void)!link_send(t->link, 0, echo, iov_copy_out(f->iov, f->n, 0, echo, sizeof(echo)));
}

/* --- messages: on some links each is a frame --- */

#define LINK_TARGET_MESSAGES 256u

/* How long it is, what it begins with, and the byte that all the rest is. */
struct link_message {
	size_t len, head_len;
	const uint8_t *head;
	uint8_t rest;
};

static inline struct link_message link_message_read(struct rd *in)
{
	struct link_message m = { .len = rd_be16(in), .rest = rd_u8(in) };

	m.head_len = MIN((size_t)rd_u8(in), m.len);
	m.head_len = MIN(m.head_len, rd_left(in));
	m.head = rd_bytes(in, m.head_len);
	return m;
}

/* Sends it as it is; false: it was not taken. */
static inline bool link_message_send(const struct link_message *m, int fd, uint8_t buf[UINT16_MAX])
{
	memset(buf, m->rest, m->len);
	memcpy(buf, m->head, m->head_len);
	return send(fd, buf, m->len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)m->len;
}

/* Whether the frame is this message, but for its first skip bytes. */
static inline bool link_message_is(const struct link_message *m, size_t skip, const struct frame *f)
{
	uint8_t got[UINT16_MAX];
	size_t head = m->head_len > skip ? m->head_len - skip : 0;

	if (f->len + skip != m->len || iov_copy_out(f->iov, f->n, 0, got, sizeof(got)) != f->len)
		return false;
	if (head && memcmp(got, m->head + skip, head))
		return false;
	for (size_t i = head; i < f->len; i++) {
		if (got[i] != m->rest)
			return false;
	}
	return true;
}
