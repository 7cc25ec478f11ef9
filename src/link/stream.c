/* SPDX-License-Identifier: MIT */
#include "link/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rd.h"
#include "link/accept.h"
#include "link/stream_tx.h"
#include "os/sock.h"
#include "os/sockwatch.h"

#define RX_BUF (512u << 10)
#define LEN_BYTES 4u
#define FRAME_MIN 14u
#define FRAME_MAX 65535u

enum which { WHICH_LISTEN, WHICH_GUEST };

struct stream {
	struct link link;
	struct loop *loop;
	unsigned owner;
	uint32_t gen; /* of the connection */
	struct acceptor acceptor;
	int fd;
	bool one_off;
	bool tx_dead; /* the guest does not take frames any more; the end of the connection will be read soon */
	bool blocked; /* a reservation got nothing: tx_ready() is owed */
	struct sockwatch watch; /* of fd */

	uint8_t *rx;
	size_t rx_start, rx_end; /* received, not handed up */
	struct stream_tx tx;

	struct frame frame[LINK_BATCH];
	struct iovec iov[LINK_BATCH];
};

static struct stream *stream_of(struct link *l)
{
	return container_of(l, struct stream, link);
}

static void buffers_forget(struct stream *s)
{
	madvise(s->rx, RX_BUF, MADV_DONTNEED);
	stream_tx_forget(&s->tx);
}

/* The connection is over. The buffers stay as they are: a batch of frames may still be in use by the caller of link_reset(). */
static void guest_close(struct stream *s)
{
	if (s->fd < 0)
		return;
	sockwatch_end(&s->watch);
	close(s->fd);
	s->fd = -1;
	s->gen = (s->gen + 1) & 0xffffff;
	s->link.up = false;
	s->tx_dead = false;
	s->rx_start = s->rx_end = 0;
	stream_tx_clear(&s->tx);
	log_limited(LOG_LVL_INFO, "Client connection closed%s", s->one_off ? ", exiting" : "");
	if (s->one_off)
		s->link.cb.gone(s->link.cb.ctx);
	else
		s->link.cb.down(s->link.cb.ctx);
}

static int guest_open(struct stream *s, int fd)
{
	struct ref ref = ref_init(s->owner, WHICH_GUEST, s->gen);
	int err = sockwatch_begin(&s->watch, fd, ref, EPOLLIN | (s->blocked ? EPOLLOUT : 0));

	if (err)
		return err;
	guest_sock_prepare(fd);
	s->fd = fd;
	s->link.up = true;
	s->link.cb.up(s->link.cb.ctx);
	return 0;
}

static uint32_t events_wanted(const struct stream *s)
{
	bool out = (s->blocked || !stream_tx_empty(&s->tx)) && !s->tx_dead;

	return EPOLLIN | (out ? EPOLLOUT : 0);
}

/* The next whole frame. 1: *ret_len bytes at *ret_bytes; 0: more has to be received first; -EBADMSG. */
static int frame_next(struct stream *s, uint8_t **ret_bytes, size_t *ret_len)
{
	struct rd r = rd_init(s->rx + s->rx_start, s->rx_end - s->rx_start);
	uint32_t len = rd_be32(&r);

	if (!rd_ok(&r))
		return 0;
	if (len < FRAME_MIN || len > FRAME_MAX)
		return -EBADMSG;
	if (rd_left(&r) < len)
		return 0;
	*ret_bytes = s->rx + s->rx_start + LEN_BYTES;
	*ret_len = len;
	s->rx_start += LEN_BYTES + len;
	return 1;
}

/* Hands up all whole frames. -EBADMSG after those before a bad length; -ECONNRESET if the connection ended in a callback. */
static int frames_up(struct stream *s)
{
	uint32_t gen = s->gen;
	unsigned n;
	int more;

	do {
		for (n = 0; n < LINK_BATCH; n++) {
			uint8_t *bytes = NULL;
			size_t len = 0;

			more = frame_next(s, &bytes, &len);
			if (more <= 0)
				break;
			s->iov[n] = (struct iovec){ .iov_base = bytes, .iov_len = len };
			s->frame[n] = (struct frame){ .iov = &s->iov[n], .n = 1, .len = len };
			s->link.stats.rx_bytes += len;
		}
		s->link.stats.rx_frames += n;
		if (n)
			s->link.cb.rx(s->link.cb.ctx, s->frame, n);
		if (gen != s->gen)
			return -ECONNRESET;
	} while (more > 0);
	return more;
}

/* What is left over is part of one frame; it moves to the front when less than half of the buffer lies behind it. */
static void rx_make_room(struct stream *s)
{
	if (s->rx_start == s->rx_end) {
		s->rx_start = s->rx_end = 0;
	} else if (s->rx_end > RX_BUF / 2) {
		memmove(s->rx, s->rx + s->rx_start, s->rx_end - s->rx_start);
		s->rx_end -= s->rx_start;
		s->rx_start = 0;
	}
}

/* One read takes all that is queued, unless it filled the buffer; then there is a second one. epoll reports what is left. */
static void guest_read(struct stream *s)
{
	for (unsigned i = 0; i < 2; i++) {
		size_t room = RX_BUF - s->rx_end;
		ssize_t n = recv(s->fd, s->rx + s->rx_end, room, MSG_DONTWAIT);
		int err;

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && sock_lacks_memory(-errno)) {
			sockwatch_rest(&s->watch, events_wanted(s));
			return;
		}
		if (n <= 0) {
			guest_close(s);
			return;
		}
		s->rx_end += (size_t)n;
		err = frames_up(s);
		if (err == -EBADMSG) {
			s->link.stats.rx_bad++;
			log_limited(LOG_LVL_WARN, "Bad frame size from guest, resetting connection");
			guest_close(s);
		}
		if (err)
			return;
		rx_make_room(s);
		if ((size_t)n < room)
			return;
	}
}

static void guest_accept(struct stream *s)
{
	int fd;

	/* A guest that comes back at once may be seen before its old connection was read to the end. */
	while (peer_hung_up(s->fd)) {
		if (sockwatch_rests(&s->watch))
			return;
		guest_read(s);
	}
	if (!guest_listen_take(&s->acceptor, s->fd >= 0, &fd) && guest_open(s, fd))
		close(fd);
}

static void tx_send(struct stream *s)
{
	int err;

	if (s->fd < 0 || s->tx_dead || sockwatch_rests(&s->watch))
		return;
	err = stream_tx_send(&s->tx, s->fd);
	if (sock_lacks_memory(err)) {
		sockwatch_rest(&s->watch, events_wanted(s));
	} else if (err) {
		/* What the guest sent before it went is still to be read: the end is handled there. */
		s->tx_dead = true;
		stream_tx_clear(&s->tx);
	}
}

static void guest_writable(struct stream *s)
{
	tx_send(s);
	if (!s->blocked || !stream_tx_half_free(&s->tx))
		return;
	s->blocked = false;
	s->link.cb.tx_ready(s->link.cb.ctx);
}

static void stream_on_event(struct link *l, unsigned which, uint32_t events)
{
	struct stream *s = stream_of(l);

	if (which == WHICH_LISTEN) {
		guest_accept(s);
		return;
	}
	if (s->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		guest_read(s);
	if (s->fd >= 0 && events & EPOLLOUT)
		guest_writable(s);
	if (s->fd < 0)
		buffers_forget(s);
}

static void loop_event(void *ctx, struct ref ref, uint32_t events)
{
	struct stream *s = ctx;

	if (ref.index == WHICH_LISTEN || ref.gen == s->gen)
		s->link.ops->on_event(&s->link, ref.index, events);
}

static size_t stream_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	struct stream *s = stream_of(l);
	size_t n = MIN(w->n, (size_t)LINK_BATCH), got = 0;

	if (s->fd >= 0 && !s->tx_dead) {
		got = stream_tx_reserve(&s->tx, f, n, w->hdr, w->len);
		if (got < n) {
			tx_send(s);
			got = stream_tx_reserve(&s->tx, f, n, w->hdr, w->len);
		}
	}
	if (!got && n) {
		s->blocked = true;
		l->stats.tx_full++;
	}
	return got;
}

static void stream_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct stream *s = stream_of(l);

	if (s->fd < 0 || s->tx_dead)
		return;
	stream_tx_commit(&s->tx, f, h, len);
	l->stats.tx_frames++;
	l->stats.tx_bytes += h->len + len;
}

static void stream_flush(struct link *l)
{
	struct stream *s = stream_of(l);

	tx_send(s);
	sockwatch_set(&s->watch, events_wanted(s));
}

static void stream_reset(struct link *l)
{
	guest_close(stream_of(l));
}

static void stream_free(struct link *l)
{
	struct stream *s = stream_of(l);

	sockwatch_end(&s->watch);
	acceptor_fini(&s->acceptor);
	sock_close(s->fd);
	munmap(s->rx, RX_BUF);
	stream_tx_fini(&s->tx);
	free(s);
}

static const struct link_ops stream_ops = {
	.on_event = stream_on_event,
	.reserve = stream_reserve,
	.commit = stream_commit,
	.flush = stream_flush,
	.reset = stream_reset,
	.free = stream_free,
};

int stream_new(struct loop *loop, const struct stream_conf *c, struct link **ret_link)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->rx = mmap(NULL, RX_BUF, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->rx == MAP_FAILED) {
		free(s);
		return -ENOMEM;
	}
	if (stream_tx_init(&s->tx)) {
		munmap(s->rx, RX_BUF);
		free(s);
		return -ENOMEM;
	}
	s->link = (struct link){ .ops = &stream_ops, .cb = c->cb, .lossy = true, .mtu = c->mtu, .max_body = c->mtu };
	s->loop = loop;
	s->owner = loop_owner(loop, loop_event, s);
	sockwatch_init(&s->watch, loop);
	guest_listen_init(&s->acceptor, loop, c->listen_fd);
	s->fd = c->fd;
	s->one_off = c->one_off || c->fd >= 0;
	*ret_link = &s->link;
	return 0;
}

int stream_start(struct link *l)
{
	struct stream *s = stream_of(l);
	int fd = s->fd;

	acceptor_start(&s->acceptor, ref_init(s->owner, WHICH_LISTEN, 0));
	if (fd < 0)
		return 0;
	s->fd = -1;
	return guest_open(s, fd);
}
