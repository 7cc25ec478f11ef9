/* SPDX-License-Identifier: MIT */
#include "link/stream_tx.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/wr.h"
#include "os/sock.h"

#define LEN_BYTES 4u
#define FRAME_MIN 60u /* shortest Ethernet frame, without its checksum */

int stream_tx_init(struct stream_tx *t)
{
	void *p = mmap(NULL, STREAM_TX_BUF, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -errno;
	t->buf = p;
	t->messages = false;
	stream_tx_clear(t);
	return 0;
}

void stream_tx_fini(struct stream_tx *t)
{
	munmap(t->buf, STREAM_TX_BUF);
	t->buf = NULL;
}

void stream_tx_clear(struct stream_tx *t)
{
	t->tail = 0;
	t->first = t->end = 0;
}

void stream_tx_forget(struct stream_tx *t)
{
	madvise(t->buf, STREAM_TX_BUF, MADV_DONTNEED);
}

/* A free run: its offset and its length. */
struct run {
	size_t at, len;
};

/* The runs behind the tail and, unless the queue has wrapped around already, before the head. */
static void free_runs(const struct stream_tx *t, struct run ret_run[2])
{
	size_t head;

	if (stream_tx_empty(t)) {
		ret_run[0] = (struct run){ 0, STREAM_TX_BUF };
		ret_run[1] = (struct run){ 0, 0 };
		return;
	}
	head = (size_t)((uint8_t *)t->piece[t->first].iov_base - t->buf);
	if (t->tail > head) {
		ret_run[0] = (struct run){ t->tail, STREAM_TX_BUF - t->tail };
		ret_run[1] = (struct run){ 0, head ? head - 1 : 0 };
	} else {
		/* One byte always stays free, so that a tail at the head can't be mistaken for an empty ring. */
		ret_run[0] = (struct run){ t->tail, head - t->tail - 1 };
		ret_run[1] = (struct run){ 0, 0 };
	}
}

bool stream_tx_half_free(const struct stream_tx *t)
{
	struct run run[2];

	free_runs(t, run);
	return MAX(run[0].len, run[1].len) >= STREAM_TX_BUF / 2;
}

/* Bytes that a frame occupies, its length field included. */
static size_t slot_size(size_t hdr, size_t len)
{
	return LEN_BYTES + MAX(hdr + len, (size_t)FRAME_MIN);
}

size_t stream_tx_reserve(struct stream_tx *t, struct txframe *f, size_t n, size_t hdr, size_t len)
{
	size_t slot = slot_size(hdr, len);
	struct run run[2], r;

	/* Each frame may become a piece of its own. */
	if (t->end + n > STREAM_TX_PIECES && t->first) {
		memmove(t->piece, t->piece + t->first, (t->end - t->first) * sizeof(t->piece[0]));
		t->end -= t->first;
		t->first = 0;
	}
	n = MIN(n, (size_t)(STREAM_TX_PIECES - t->end));

	free_runs(t, run);
	r = run[0].len / slot >= MIN(n, run[1].len / slot) ? run[0] : run[1];
	n = MIN(n, r.len / slot);
	for (size_t i = 0; i < n; i++) {
		size_t at = r.at + i * slot;

		f[i].body[0] = (struct iovec){ .iov_base = t->buf + at + LEN_BYTES + hdr, .iov_len = len };
		f[i].n = 1;
		f[i].cap = len;
		f[i].cookie = (uint32_t)at;
	}
	return n;
}

void stream_tx_commit(struct stream_tx *t, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct wr w = wr_init(t->buf + f->cookie, slot_size(h->len, f->cap));
	struct iovec *last = stream_tx_empty(t) ? NULL : &t->piece[t->end - 1];
	size_t frame_len = h->len + len;
	size_t pad = frame_len < FRAME_MIN ? FRAME_MIN - frame_len : 0;

	wr_be32(&w, (uint32_t)(frame_len + pad));
	wr_bytes(&w, h->bytes, h->len);
	wr_put(&w, len); /* the body is there already */
	wr_zero(&w, pad);
	if (!wr_ok(&w))
		return;

	t->tail = f->cookie + wr_len(&w);
	if (t->messages) {
		t->piece[t->end++] = (struct iovec){ .iov_base = w.p + LEN_BYTES, .iov_len = wr_len(&w) - LEN_BYTES };
		return;
	}
	if (last && (uint8_t *)last->iov_base + last->iov_len == w.p)
		last->iov_len += wr_len(&w);
	else
		t->piece[t->end++] = (struct iovec){ .iov_base = w.p, .iov_len = wr_len(&w) };
}

static void drop_sent(struct stream_tx *t, size_t sent)
{
	while (t->first < t->end && sent >= t->piece[t->first].iov_len)
		sent -= t->piece[t->first++].iov_len;
	if (stream_tx_empty(t)) {
		stream_tx_clear(t);
	} else if (sent) {
		t->piece[t->first].iov_base = (uint8_t *)t->piece[t->first].iov_base + sent;
		t->piece[t->first].iov_len -= sent;
	}
}

/* Bytes, or -errno: what sendmsg(2) has made of all pieces. */
static ssize_t bytes_send(struct stream_tx *t, int fd)
{
	ssize_t n = sock_send(fd, t->piece + t->first, t->end - t->first, 0);

	if (n >= 0)
		drop_sent(t, (size_t)n);
	return n;
}

/* Messages, or -errno. */
static ssize_t messages_send(struct stream_tx *t, int fd)
{
	struct mmsghdr m[LINK_BATCH];
	unsigned n = MIN(t->end - t->first, (unsigned)LINK_BATCH);
	int sent;

	for (unsigned i = 0; i < n; i++)
		m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &t->piece[t->first + i], .msg_iovlen = 1 } };
	sent = sock_sendmmsg(fd, m, n, MSG_NOSIGNAL);
	if (sent == -EMSGSIZE)
		sent = 1;
	if (sent > 0)
		t->first += (unsigned)sent;
	if (stream_tx_empty(t))
		stream_tx_clear(t);
	return sent;
}

int stream_tx_send(struct stream_tx *t, int fd)
{
	ssize_t n = 0;

	do {
		if (!stream_tx_empty(t))
			n = t->messages ? messages_send(t, fd) : bytes_send(t, fd);
	} while (t->messages && n > 0 && !stream_tx_empty(t));
	return n < 0 && n != -EAGAIN && n != -EINTR ? (int)n : 0;
}
