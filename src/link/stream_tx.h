/* SPDX-License-Identifier: MIT */
/*
 * Queue of frames towards a socket: part of the stream back end, and of the packet back end, where each frame is a message of its own.
 *
 * One buffer is used as a ring of whole frames. A reservation lays out its frames one after the other behind what is queued, each with
 * its length in front, so that frames which come out as long as reserved follow each other without a gap and go out as one piece; a
 * frame that ends short leaves a gap and begins a new piece. As messages, frames go without their length, and each is a piece.
 */
#pragma once

#include "link/link.h"

#define STREAM_TX_BUF (1u << 20)
#define STREAM_TX_PIECES 1024u /* what one sendmsg(2) takes: IOV_MAX */

struct stream_tx {
	uint8_t *buf;
	bool messages; /* set once, after init */
	size_t tail; /* where the next frame may begin */
	unsigned first, end; /* pieces queued: first..end - 1 */
	struct iovec piece[STREAM_TX_PIECES];
};

MUST_USE int stream_tx_init(struct stream_tx *t);
void stream_tx_fini(struct stream_tx *t);

void stream_tx_clear(struct stream_tx *t); /* throws away what is queued */
void stream_tx_forget(struct stream_tx *t); /* gives the memory back to the system; only when nothing is queued */

static inline bool stream_tx_empty(const struct stream_tx *t)
{
	return t->first == t->end;
}

/* As in struct link_ops. */
size_t stream_tx_reserve(struct stream_tx *t, struct txframe *f, size_t n, size_t hdr, size_t len);
void stream_tx_commit(struct stream_tx *t, const struct txframe *f, const struct txhdr *h, size_t len);

/* True if half of the buffer is free in one piece. */
bool stream_tx_half_free(const struct stream_tx *t);

/*
 * Sends what the socket takes, with one call or, as messages, with one for each batch; the rest stays. 0 also if it took nothing; -ENOBUFS
 * or -ENOMEM if the system has no memory for it now; other -errno if the connection is broken. A message that is too long for the socket is
 * dropped.
 */
MUST_USE int stream_tx_send(struct stream_tx *t, int fd);
