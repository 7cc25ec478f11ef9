/* SPDX-License-Identifier: MIT */
#include "link/packet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "link/accept.h"
#include "link/stream_tx.h"
#include "link/unixname.h"
#include "os/sock.h"
#include "os/sockwatch.h"

#define SLOT 65536u /* more than any frame has: what fills it is too long */
#define FRAME_MIN 14u
#define FRAME_MAX 65535u
#define LOOK_NS NSEC_PER_SEC

enum which { WHICH_LISTEN, WHICH_GUEST };

struct packet {
	struct link link;
	struct loop *loop;
	unsigned owner;
	uint32_t gen; /* of the guest */
	struct acceptor acceptor;
	int fd; /* -1: none. A bound one stays when the guest goes */
	bool bound;
	bool datagrams; /* not a connection: the end of the guest is known by what is sent to it, and by nothing else */
	bool one_off;
	bool tx_dead; /* the guest does not take frames any more; it will be found to be gone soon */
	bool blocked; /* a reservation got nothing: tx_ready() is owed */
	struct sockwatch watch; /* of fd */

	struct unixname_dir dir;
	struct unixname peer; /* of a bound socket */
	uint64_t heard; /* frames that it had sent when it was looked for last */
	struct timer look;

	uint8_t *rx; /* LINK_BATCH times SLOT */
	struct stream_tx tx;

	struct mmsghdr m[LINK_BATCH];
	struct iovec iov[LINK_BATCH];
	struct frame frame[LINK_BATCH];
};

static struct packet *packet_of(struct link *l)
{
	return container_of(l, struct packet, link);
}

static struct ref guest_ref(const struct packet *p)
{
	return ref_init(p->owner, WHICH_GUEST, p->gen);
}

static void buffers_forget(struct packet *p)
{
	madvise(p->rx, (size_t)LINK_BATCH * SLOT, MADV_DONTNEED);
	stream_tx_forget(&p->tx);
}

static uint32_t events_wanted(const struct packet *p)
{
	bool out = p->link.up && (p->blocked || !stream_tx_empty(&p->tx)) && !p->tx_dead;

	return EPOLLIN | (out ? EPOLLOUT : 0);
}

/* Gives the socket back: all of it, or to whoever comes next. */
static void sock_leave(struct packet *p)
{
	if (p->bound) {
		unixname_disconnect(p->fd);
		timer_cancel(&p->loop->timers, &p->look);
		sockwatch_next(&p->watch, guest_ref(p), EPOLLIN);
	} else {
		sockwatch_end(&p->watch);
		close(p->fd);
		p->fd = -1;
	}
}

/* The guest has gone. The buffers stay as they are: a batch of frames may still be in use by the caller of link_reset(). */
static void guest_close(struct packet *p)
{
	if (!p->link.up)
		return;
	p->link.up = false;
	p->gen = (p->gen + 1) & 0xffffff;
	p->tx_dead = false;
	sock_leave(p);
	stream_tx_clear(&p->tx);
	log_limited(LOG_LVL_INFO, "Client connection closed%s", p->one_off ? ", exiting" : "");
	if (p->one_off)
		p->link.cb.gone(p->link.cb.ctx);
	else
		p->link.cb.down(p->link.cb.ctx);
}

static void guest_up(struct packet *p)
{
	p->link.up = true;
	p->link.cb.up(p->link.cb.ctx);
}

static int guest_open(struct packet *p, int fd)
{
	int err = sockwatch_begin(&p->watch, fd, guest_ref(p), EPOLLIN | (p->blocked ? EPOLLOUT : 0));

	if (err)
		return err;
	guest_sock_prepare(fd);
	p->fd = fd;
	guest_up(p);
	return 0;
}

/* --- from the guest --- */

/*
 * How many of the n messages of a batch come before the end of the connection. That looks like empty messages, as many as there is room
 * for; an empty one that has more behind it, or nothing yet, is one of the guest's.
 */
static unsigned before_end(const struct packet *p, unsigned n)
{
	if (n < LINK_BATCH || p->m[n - 1].msg_len || !peer_hung_up(p->fd))
		return n;
	while (n && !p->m[n - 1].msg_len)
		n--;
	return n;
}

/* Hands up the frames among n messages. -EPIPE: the connection has come to its end; -ECONNRESET: it ended in a callback. */
static int frames_up(struct packet *p, unsigned n)
{
	static const uint8_t vfkit[] = "VFKT";
	unsigned frames = 0, come = before_end(p, n);
	uint32_t gen = p->gen;

	for (unsigned i = 0; i < come; i++) {
		struct frame *f = &p->frame[frames];
		size_t len = p->m[i].msg_len;

		if (len < FRAME_MIN || len > FRAME_MAX) {
			p->link.stats.rx_bad += len != sizeof(vfkit) - 1 || memcmp(p->iov[i].iov_base, vfkit, len);
			continue;
		}
		p->iov[i].iov_len = len;
		*f = (struct frame){ .iov = &p->iov[i], .n = 1, .len = len };
		frames++;
		p->link.stats.rx_bytes += len;
	}
	p->link.stats.rx_frames += frames;
	if (frames)
		p->link.cb.rx(p->link.cb.ctx, p->frame, frames);
	if (gen != p->gen)
		return -ECONNRESET;
	return come < n ? -EPIPE : 0;
}

/* One call takes all that is queued, unless it filled the batch; then there is a second one. epoll reports what is left. */
static void guest_read(struct packet *p)
{
	for (unsigned turn = 0; turn < 2; turn++) {
		int n;

		for (unsigned i = 0; i < LINK_BATCH; i++) {
			p->iov[i] = (struct iovec){ .iov_base = p->rx + (size_t)i * SLOT, .iov_len = SLOT };
			p->m[i].msg_hdr = (struct msghdr){ .msg_iov = &p->iov[i], .msg_iovlen = 1 };
		}
		n = sock_recvmmsg(p->fd, p->m, LINK_BATCH, 0);
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (sock_lacks_memory(n)) {
			sockwatch_rest(&p->watch, events_wanted(p));
			return;
		}
		n = n < 0 ? n : frames_up(p, (unsigned)n) ?: n;
		if (n < 0 && n != -ECONNRESET)
			guest_close(p);
		if (n < (int)LINK_BATCH)
			return;
	}
}

/* The first datagram says who the guest is; it stays in the queue. One of somebody who can't be reached is dropped. */
static void guest_meet(struct packet *p)
{
	int err = unixname_sender(p->fd, &p->peer);

	if (err == -EAGAIN || err == -EINTR)
		return;
	if (sock_lacks_memory(err)) {
		sockwatch_rest(&p->watch, events_wanted(p));
		return;
	}
	if (!err)
		err = unixname_connect(&p->peer, &p->dir, p->fd);
	if (err) {
		log_limited(LOG_LVL_WARN, "Can't answer a guest, whose socket has to be in the same folder as ours: %s",
			    strerror(-err));
		p->link.stats.rx_bad++;
		(void)!recv(p->fd, p->rx, 1, MSG_DONTWAIT);
		return;
	}
	p->heard = UINT64_MAX;
	timer_set(&p->loop->timers, &p->look, p->loop->now_ns + LOOK_NS);
	log_limited(LOG_LVL_INFO, "accepted datagrams from %s",
		    p->peer.addr.sun_path[0] ? p->peer.addr.sun_path : "an abstract address");
	guest_up(p);
}

/* Connecting again finds the one who has the name now: a guest that has begun anew can't send to us before that. */
static void guest_look(struct timer *t, uint64_t now_ns)
{
	struct packet *p = container_of(t, struct packet, look);
	bool silent = p->heard == p->link.stats.rx_frames;

	p->heard = p->link.stats.rx_frames;
	if (p->tx_dead || (silent && unixname_connect(&p->peer, &p->dir, p->fd)))
		guest_close(p);
	else if (p->bound)
		timer_set(&p->loop->timers, &p->look, now_ns + LOOK_NS);
}

static void guest_accept(struct packet *p)
{
	int fd;

	/* A guest that comes back at once may be seen before its old connection was read to the end. */
	while (peer_hung_up(p->fd)) {
		if (sockwatch_rests(&p->watch))
			return;
		guest_read(p);
	}
	if (!guest_listen_take(&p->acceptor, p->fd >= 0, &fd) && guest_open(p, fd))
		close(fd);
}

/* --- to the guest --- */

static void tx_send(struct packet *p)
{
	int err;

	if (!p->link.up || p->tx_dead || sockwatch_rests(&p->watch))
		return;
	err = stream_tx_send(&p->tx, p->fd);
	if (sock_lacks_memory(err))
		sockwatch_rest(&p->watch, events_wanted(p));
	if (!err || sock_lacks_memory(err))
		return;
	p->tx_dead = true;
	stream_tx_clear(&p->tx);
	/* What the guest sent before it went is still to be read: the end of a connection stands behind it. */
	if (p->datagrams)
		timer_set(&p->loop->timers, &p->look, 0);
}

static void guest_writable(struct packet *p)
{
	tx_send(p);
	if (!p->blocked || !stream_tx_half_free(&p->tx))
		return;
	p->blocked = false;
	p->link.cb.tx_ready(p->link.cb.ctx);
}

static void packet_on_event(struct link *l, unsigned which, uint32_t events)
{
	struct packet *p = packet_of(l);

	if (which == WHICH_LISTEN) {
		guest_accept(p);
		return;
	}
	if (!l->up)
		guest_meet(p);
	if (l->up && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		guest_read(p);
	if (l->up && events & EPOLLOUT)
		guest_writable(p);
	if (!l->up)
		buffers_forget(p);
}

static void loop_event(void *ctx, struct ref ref, uint32_t events)
{
	struct packet *p = ctx;

	if (ref.index == WHICH_LISTEN || ref.gen == p->gen)
		p->link.ops->on_event(&p->link, ref.index, events);
}

static size_t packet_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	struct packet *p = packet_of(l);
	size_t n = MIN(w->n, (size_t)LINK_BATCH), got = 0;

	if (l->up && !p->tx_dead) {
		got = stream_tx_reserve(&p->tx, f, n, w->hdr, w->len);
		if (got < n) {
			tx_send(p);
			got = stream_tx_reserve(&p->tx, f, n, w->hdr, w->len);
		}
	}
	if (!got && n) {
		p->blocked = true;
		l->stats.tx_full++;
	}
	return got;
}

static void packet_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
	struct packet *p = packet_of(l);

	if (!l->up || p->tx_dead)
		return;
	stream_tx_commit(&p->tx, f, h, len);
	l->stats.tx_frames++;
	l->stats.tx_bytes += h->len + len;
}

static void packet_flush(struct link *l)
{
	struct packet *p = packet_of(l);

	tx_send(p);
	sockwatch_set(&p->watch, events_wanted(p));
}

static void packet_reset(struct link *l)
{
	guest_close(packet_of(l));
}

static void packet_free(struct link *l)
{
	struct packet *p = packet_of(l);

	timer_cancel(&p->loop->timers, &p->look);
	sockwatch_end(&p->watch);
	acceptor_fini(&p->acceptor);
	sock_close(p->fd);
	sock_close(p->dir.fd);
	munmap(p->rx, (size_t)LINK_BATCH * SLOT);
	stream_tx_fini(&p->tx);
	free(p);
}

static const struct link_ops packet_ops = {
	.on_event = packet_on_event,
	.reserve = packet_reserve,
	.commit = packet_commit,
	.flush = packet_flush,
	.reset = packet_reset,
	.free = packet_free,
};

int packet_new(struct loop *loop, const struct packet_conf *c, struct link **ret_link)
{
	struct packet *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->rx = mmap(NULL, (size_t)LINK_BATCH * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->rx == MAP_FAILED) {
		free(p);
		return -ENOMEM;
	}
	if (stream_tx_init(&p->tx)) {
		munmap(p->rx, (size_t)LINK_BATCH * SLOT);
		free(p);
		return -ENOMEM;
	}
	p->tx.messages = true;
	p->link = (struct link){ .ops = &packet_ops, .cb = c->cb, .lossy = true, .mtu = c->mtu, .max_body = c->mtu };
	p->loop = loop;
	p->owner = loop_owner(loop, loop_event, p);
	p->bound = c->bound_fd >= 0;
	p->dir = (struct unixname_dir){ c->dir_fd, c->dir };
	timer_init(&p->look, guest_look);
	sockwatch_init(&p->watch, loop);
	guest_listen_init(&p->acceptor, loop, c->listen_fd);
	p->fd = p->bound ? c->bound_fd : c->fd;
	p->one_off = c->one_off || c->fd >= 0;
	*ret_link = &p->link;
	return 0;
}

int packet_start(struct link *l)
{
	struct packet *p = packet_of(l);
	int fd = p->fd, type;

	acceptor_start(&p->acceptor, ref_init(p->owner, WHICH_LISTEN, 0));
	if (fd < 0)
		return 0;
	p->datagrams = !sock_get_int(fd, SOL_SOCKET, SO_TYPE, &type) && type == SOCK_DGRAM;
	if (p->bound) {
		guest_sock_prepare(fd);
		return sockwatch_begin(&p->watch, fd, guest_ref(p), EPOLLIN);
	}
	p->fd = -1;
	return guest_open(p, fd);
}
