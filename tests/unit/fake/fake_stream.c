/* SPDX-License-Identifier: MIT */
#include "fake_stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/iov.h"
#include "os/txack.h"

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

#define SNDBUF_DEFAULT 87040 /* a usual start value of Linux */

static struct fake_stream *stream_new(void)
{
	struct fake_stream *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->fd = -1;
	s->peek_off = -1;
	s->size = SNDBUF_DEFAULT;
	s->chunk = 1;
	list_init(&s->node);
	list_init(&s->queued);
	list_init(&s->accept);
	list_push(&fake_os.streams, &s->node);
	return s;
}

void fake_stream_forget(void)
{
	while (!list_empty(&fake_os.streams)) {
		struct fake_stream *s = container_of(fake_os.streams.next, struct fake_stream, node);

		list_del(&s->node);
		list_del(&s->queued);
		free(s->in);
		free(s->out);
		free(s);
	}
}

struct fake_stream *fake_stream_of(int fd)
{
	struct fake_fd *f = fake_fd(fd);

	assert_int_equal(f->kind, FAKE_STREAM);
	return f->stream;
}

struct fake_stream *fake_stream_last(void)
{
	assert_false(list_empty(&fake_os.streams));
	return container_of(fake_os.streams.prev, struct fake_stream, node);
}

void fake_stream_open(struct fake_fd *f)
{
	struct fake_stream *s = stream_new();

	s->fd = f->fd;
	f->stream = s;
}

void fake_stream_close(struct fake_fd *f)
{
	struct fake_stream *s = f->stream;
	bool reset = fake_opt(f, SOL_SOCKET, SO_LINGER, 0) || s->in_len;

	s->fd = -1;
	if (s->state == FAKE_S_OPEN && reset)
		s->rst_out = true;
	else if (s->state == FAKE_S_OPEN)
		s->fin_out = true;
	while (!list_empty(&s->accept)) {
		struct fake_stream *c = container_of(s->accept.next, struct fake_stream, queued);

		list_del(&c->queued);
		c->rst_out = true;
	}
	s->state = FAKE_S_DEAD;
	f->stream = NULL;
}

/* --- readiness --- */

uint32_t fake_stream_used(const struct fake_stream *s)
{
	uint64_t bytes = s->out_len - s->acked;

	return (uint32_t)(bytes + bytes * s->overhead / 1024 + s->fill);
}

/* sk_stream_is_writeable() */
static bool writable(const struct fake_stream *s)
{
	uint32_t used = fake_stream_used(s);

	return used <= s->size && s->size - used >= used / 2;
}

/* tcp_poll() */
uint32_t fake_stream_ready(struct fake_fd *f)
{
	struct fake_stream *s = f->stream;
	uint32_t ev = f->so_error || s->reports || !list_empty(&f->errq) ? EPOLLERR : 0;
	bool dead = s->state == FAKE_S_DEAD;

	if (s->state == FAKE_S_LISTEN)
		return list_empty(&s->accept) ? 0 : EPOLLIN;
	if (s->state == FAKE_S_CONNECTING)
		return ev;
	if (dead || s->state == FAKE_S_NEW || (s->fin_in && s->fin_out))
		ev |= EPOLLHUP;
	if (dead || s->fin_in)
		ev |= EPOLLIN | EPOLLRDHUP;
	if (s->in_len)
		ev |= EPOLLIN;
	if (dead || s->fin_out || writable(s))
		ev |= EPOLLOUT;
	else
		s->nospace = true;
	return ev;
}

/* What happened; 0 is a change of state, which wakes everybody. */
static void wake(struct fake_stream *s, uint32_t key)
{
	struct fake_fd *f;

	if (s->fd < 0)
		return;
	f = fake_fd(s->fd);
	if (f->in_epoll && (!key || key & (f->mask | EPOLLERR | EPOLLHUP)))
		f->pending = true;
}

/* Room was made: the promise is kept. */
static void write_space(struct fake_stream *s)
{
	if (!s->nospace || s->state != FAKE_S_OPEN || !writable(s))
		return;
	s->nospace = false;
	wake(s, EPOLLOUT);
}

/* --- the remote's side --- */

void fake_stream_connected(struct fake_stream *s)
{
	assert_int_equal(s->state, FAKE_S_CONNECTING);
	s->state = FAKE_S_OPEN;
	wake(s, 0);
}

void fake_stream_die(struct fake_stream *s, int err)
{
	if (s->state == FAKE_S_DEAD)
		return;
	s->state = FAKE_S_DEAD;
	s->nospace = false;
	if (s->fd < 0)
		return;
	fake_fd(s->fd)->so_error = err;
	wake(s, 0);
}

void fake_stream_fail(struct fake_stream *s, int err)
{
	assert_int_equal(s->state, FAKE_S_CONNECTING);
	fake_stream_die(s, err);
}

void fake_stream_rst(struct fake_stream *s)
{
	s->rst_in = true;
	fake_stream_die(s, s->fin_in ? EPIPE : ECONNRESET);
}

struct fake_stream *fake_stream_arrive(int listen_fd, const struct ep *peer)
{
	struct fake_stream *l = fake_stream_of(listen_fd), *s = stream_new();

	assert_int_equal(l->state, FAKE_S_LISTEN);
	s->state = FAKE_S_OPEN;
	s->peer = *peer;
	s->local = fake_fd(listen_fd)->local;
	list_push(&l->accept, &s->queued);
	wake(l, EPOLLIN);
	return s;
}

static void append(uint8_t **buf, size_t *len, size_t *cap, size_t more)
{
	if (*len + more > *cap) {
		*cap = MAX(*cap * 2, *len + more);
		*buf = realloc(*buf, *cap);
		assert_non_null(*buf);
	}
	*len += more;
}

void fake_stream_push(struct fake_stream *s, const void *data, size_t len)
{
	assert_false(s->fin_in);
	if (s->state != FAKE_S_OPEN)
		return;
	append(&s->in, &s->in_len, &s->in_cap, len);
	if (len)
		memcpy(s->in + s->in_len - len, data, len);
	s->in_total += len;
	wake(s, EPOLLIN);
}

void fake_stream_fin(struct fake_stream *s)
{
	if (s->fin_in || s->state != FAKE_S_OPEN)
		return;
	s->fin_in = true;
	wake(s, 0);
}

void fake_stream_ack(struct fake_stream *s, size_t len)
{
	s->acked += MIN(len, s->out_len - s->acked);
	if (s->txack) {
		s->reports++;
		wake(s, EPOLLERR);
	}
	write_space(s);
}

/* --- system calls --- */

int fake_stream_connect(struct fake_fd *f, const struct ep *ep)
{
	struct fake_stream *s = f->stream;

	assert_int_equal(s->state, FAKE_S_NEW);
	f->peer = *ep;
	s->peer = *ep;
	s->local = f->local;
	s->state = FAKE_S_CONNECTING;
	return -EINPROGRESS;
}

int fake_stream_setopt(struct fake_fd *f, int level, int opt, int val)
{
	struct fake_stream *s = f->stream;

	if (level != SOL_SOCKET || opt != SO_PEEK_OFF)
		return 0;
	if (fake_os.peek_off_err)
		return -fake_os.peek_off_err;
	assert_true(val >= -1);
	s->peek_off = val;
	return 0;
}

static int take_error(struct fake_fd *f)
{
	int err = f->so_error;

	f->so_error = 0;
	return err;
}

ssize_t fake_stream_send(struct fake_fd *f, const struct iovec *iov, unsigned n, int flags)
{
	struct fake_stream *s = f->stream;
	uint32_t used = fake_stream_used(s);
	size_t len = iov_len(iov, n), take = 0;
	int err;

	if (s->state == FAKE_S_CONNECTING)
		return -EAGAIN;
	if (s->state != FAKE_S_OPEN || s->fin_out) {
		err = take_error(f);
		return err ? -err : -EPIPE;
	}
	if (used < s->size) {
		take = (size_t)(s->size - used) * 1024 / (1024 + s->overhead);
		take = MAX((take + s->chunk - 1) / s->chunk * s->chunk, (size_t)s->chunk);
	}
	take = MIN(take, len);
	append(&s->out, &s->out_len, &s->out_cap, take);
	if (take)
		iov_copy_out(iov, n, 0, s->out + s->out_len - take, take);
	if (take < len)
		s->nospace = true;
	return take || !len ? (ssize_t)take : -EAGAIN;
}

/* What a read gives that finds no data. */
static ssize_t recv_nothing(struct fake_fd *f)
{
	struct fake_stream *s = f->stream;
	int err;

	if (s->fin_in)
		return 0;
	err = take_error(f);
	if (err)
		return -err;
	if (s->state == FAKE_S_OPEN)
		return -EAGAIN;
	return s->state == FAKE_S_DEAD ? 0 : -ENOTCONN;
}

static void consume(struct fake_stream *s, size_t len)
{
	memmove(s->in, s->in + len, s->in_len - len);
	s->in_len -= len;
	if (s->peek_off > 0)
		s->peek_off = (size_t)s->peek_off > len ? s->peek_off - (int)len : 0;
}

ssize_t fake_stream_recv(struct fake_fd *f, const struct iovec *iov, unsigned n, int flags)
{
	struct fake_stream *s = f->stream;
	size_t off = flags & MSG_PEEK && s->peek_off > 0 ? (size_t)s->peek_off : 0, len;

	assert_true(n <= 1024); /* UIO_MAXIOV */
	if (off >= s->in_len)
		return recv_nothing(f);
	len = iov_copy_in(iov, n, 0, s->in + off, MIN(s->in_len - off, iov_len(iov, n)));
	if (!(flags & MSG_PEEK))
		consume(s, len);
	else if (s->peek_off >= 0)
		s->peek_off += (int)len;
	return (ssize_t)len;
}

ssize_t sock_discard(int fd, size_t len)
{
	struct fake_fd *f = fake_fd(fd);
	struct fake_stream *s = f->stream;
	int err = fake_inject(FAKE_DISCARD, fd);

	if (err)
		return -err;
	if (!s->in_len)
		return recv_nothing(f);
	len = MIN(len, s->in_len);
	consume(s, len);
	return (ssize_t)len;
}

int sock_listen(int fd, int backlog)
{
	struct fake_stream *s = fake_stream_of(fd);
	int err = fake_inject(FAKE_LISTEN, fd);

	if (err)
		return -err;
	assert_int_equal(s->state, FAKE_S_NEW);
	s->state = FAKE_S_LISTEN;
	return 0;
}

/* A socket for both families tells of each what it was asked about that. */
int sock_get_ctl(int fd, int level, int opt, struct msghdr *h)
{
	static const int tos4[] = { SOL_IP, IP_TOS }, tos6[] = { SOL_IPV6, IPV6_TCLASS };
	const struct fake_fd *f = fake_fd(fd);
	size_t room = h->msg_controllen;
	int err = fake_inject(FAKE_GETOPT, fd), tos = f->stream->tos;

	if (err)
		return -err;
	h->msg_controllen = 0;
	if (level == SOL_IP && opt == IP_PKTOPTIONS && fake_opt(f, SOL_IP, IP_RECVTOS, 0))
		fake_put_cmsg(h, room, tos4, &f->stream->tos, 1);
	else if (level == SOL_IPV6 && opt == IPV6_2292PKTOPTIONS && fake_opt(f, SOL_IPV6, IPV6_RECVTCLASS, 0))
		fake_put_cmsg(h, room, tos6, &tos, sizeof(tos));
	return 0;
}

int sock_accept(int fd, struct ep *ret_peer, int *ret_fd)
{
	struct fake_fd *l = fake_fd(fd), *f;
	struct fake_stream *ls = fake_stream_of(fd), *s;
	int err = fake_inject(FAKE_ACCEPT, fd);

	if (err)
		return -err;
	if (list_empty(&ls->accept))
		return -EAGAIN;
	s = container_of(ls->accept.next, struct fake_stream, queued);
	f = fake_fd_alloc(l->family, l->type, l->proto);
	if (!f)
		return -EMFILE;
	list_del(&s->queued);
	f->stream = s;
	f->local = s->local;
	f->peer = s->peer;
	f->bound = true;
	s->fd = f->fd;
	if (s->rst_in)
		f->so_error = ECONNRESET;
	*ret_peer = s->peer;
	*ret_fd = f->fd;
	return 0;
}

int sock_shutdown_wr(int fd)
{
	struct fake_stream *s = fake_stream_of(fd);
	int err = fake_inject(FAKE_SHUTDOWN, fd);

	if (err)
		return -err;
	if (s->state != FAKE_S_OPEN)
		return -ENOTCONN;
	s->fin_out = true;
	if (s->fin_in)
		wake(s, 0);
	return 0;
}

int sock_outq(int fd, uint32_t *ret_bytes)
{
	struct fake_stream *s = fake_stream_of(fd);
	int err = fake_inject(FAKE_OUTQ, fd);

	if (err)
		return -err;
	*ret_bytes = (uint32_t)(s->out_len - s->acked);
	return 0;
}

int sock_sndmem(int fd, uint32_t *ret_size, uint32_t *ret_used)
{
	struct fake_stream *s = fake_stream_of(fd);
	int err = fake_inject(FAKE_SNDMEM, fd);

	if (err)
		return -err;
	*ret_size = s->size;
	*ret_used = fake_stream_used(s);
	return 0;
}

int txack_enable(int fd)
{
	int err = fake_inject(FAKE_TXACK, fd);

	if (err)
		return -err;
	fake_stream_of(fd)->txack = true;
	return 0;
}

int txack_take(int fd)
{
	struct fake_stream *s = fake_stream_of(fd);
	int n = (int)s->reports;

	(void)fake_inject(FAKE_ERRQUEUE, fd);
	s->reports = 0;
	return n;
}

int txack_rtt(int fd, struct txack_rtt *ret_rtt)
{
	const struct fake_stream *s = fake_stream_of(fd);
	int err = fake_inject(FAKE_INFO, fd);

	if (err)
		return -err;
	*ret_rtt = (struct txack_rtt){ .smoothed = s->rtt, .min = s->rtt_min };
	return 0;
}
