/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/iov.h"
#include "fake_sock.h"

static struct fake_dgram *dgram_of(struct list *n)
{
	return container_of(n, struct fake_dgram, node);
}

static struct fake_dgram *dgram_new(struct list *to, const void *data, size_t len)
{
	struct fake_dgram *d = calloc(1, sizeof(*d) + len);

	assert_non_null(d);
	d->len = len;
	if (data && len)
		memcpy(d->data, data, len);
	list_push(to, &d->node);
	return d;
}

static void dgram_free(struct fake_dgram *d)
{
	list_del(&d->node);
	free(d);
}

static void queue_free(struct list *l)
{
	while (!list_empty(l))
		dgram_free(dgram_of(l->next));
}

void fake_dgram_close(struct fake_fd *f)
{
	queue_free(&f->rx);
	queue_free(&f->errq);
}

void fake_dgram_push(int fd, const struct ep *from, const struct ep *to, const void *data, size_t len)
{
	struct fake_dgram *d = dgram_new(&fake_fd(fd)->rx, data, len);

	d->from = *from;
	d->to = to ? *to : fake_fd(fd)->local;
}

void fake_dgram_push_super(int fd, const struct ep *from, const void *data, size_t len, uint16_t seg)
{
	struct fake_fd *f = fake_fd(fd);
	struct fake_dgram *d;

	if (!fake_opt(f, IPPROTO_UDP, UDP_GRO, 0)) {
		for (size_t at = 0; at < len; at += seg)
			fake_dgram_push(fd, from, NULL, (const uint8_t *)data + at, MIN((size_t)seg, len - at));
		return;
	}
	d = dgram_new(&f->rx, data, len);
	d->from = *from;
	d->to = f->local;
	d->seg = seg;
}

int fake_dgram_route(int proto, const struct ep *from, const struct ep *to, const void *data, size_t len)
{
	struct fake_fd *best = NULL;
	int best_score = 0;

	for (unsigned i = 0; i < FAKE_FDS; i++) {
		struct fake_fd *f = &fake_os.fd[i];
		int score = 1;

		if (f->kind != FAKE_DGRAM || f->proto != proto || !f->bound || f->local.port != to->port)
			continue;
		if (f->family == AF_INET && !addr_is4(&to->addr))
			continue;
		if (!addr_is_any(&f->local.addr)) {
			if (!addr_eq(&f->local.addr, &to->addr))
				continue;
			score += 2;
		}
		if (f->connected) {
			if (!ep_eq(&f->peer, from))
				continue;
			score += 4;
		}
		if (score > best_score) {
			best = f;
			best_score = score;
		}
	}
	if (!best)
		return -1;
	fake_dgram_push(best->fd, from, to, data, len);
	return best->fd;
}

static bool has_recverr(const struct fake_fd *f)
{
	return fake_opt(f, SOL_IP, IP_RECVERR, 0) || fake_opt(f, SOL_IPV6, IPV6_RECVERR, 0);
}

void fake_dgram_error(int fd, const struct sock_err *e, const void *data, size_t len)
{
	struct fake_fd *f = fake_fd(fd);

	f->so_error = e->err;
	if (has_recverr(f))
		dgram_new(&f->errq, data, len)->err = *e;
}

int sock_errqueue(int fd, void *buf, size_t buf_len, struct sock_err *ret_err)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_ERRQUEUE, fd);
	struct fake_dgram *d;

	if (err)
		return -err;
	if (list_empty(&f->errq))
		return -EAGAIN;
	d = dgram_of(f->errq.next);
	*ret_err = d->err;
	ret_err->len = MIN(d->len, buf_len);
	if (ret_err->len)
		memcpy(buf, d->data, ret_err->len);
	dgram_free(d);
	/* The kernel leaves the next entry's error pending (sock_dequeue_err_skb()). */
	f->so_error = list_empty(&f->errq) ? 0 : dgram_of(f->errq.next)->err.err;
	return 0;
}

const struct fake_dgram *fake_sent(unsigned i)
{
	struct list *n = fake_os.sent.next;

	while (i-- && n != &fake_os.sent)
		n = n->next;
	assert_ptr_not_equal(n, &fake_os.sent);
	return dgram_of(n);
}

void fake_sent_clear(void)
{
	queue_free(&fake_os.sent);
	fake_os.n_sent = fake_os.n_messages = 0;
}

unsigned fake_rx_count(int fd)
{
	struct fake_fd *f = fake_fd(fd);
	unsigned n = 0;

	for (struct list *p = f->rx.next; p != &f->rx; p = p->next)
		n++;
	return n;
}

static struct addr pktinfo_of(const struct msghdr *h)
{
	struct cmsghdr *c;

	for (c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, c)) {
		if (c->cmsg_level == SOL_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			return addr_from4(&pi.ipi_spec_dst);
		}
		if (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo pi;

			memcpy(&pi, CMSG_DATA(c), sizeof(pi));
			return addr_from6(&pi.ipi6_addr);
		}
	}
	return addr_any6;
}

static int pending_take(struct fake_fd *f)
{
	int err = f->so_error;

	f->so_error = 0;
	return err;
}

/* Size of the datagrams of a message (UDP_SEGMENT); 0: it is one. */
static uint16_t seg_of(const struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, c)) {
		uint16_t seg;

		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_SEGMENT)
			continue;
		assert_int_equal(c->cmsg_len, CMSG_LEN(sizeof(seg)));
		memcpy(&seg, CMSG_DATA(c), sizeof(seg));
		return seg;
	}
	return 0;
}

/* What the kernel says of a message with several datagrams (udp_send_skb()). */
static int seg_check(const struct fake_fd *f, size_t len, uint16_t seg)
{
	if (f->seg_err)
		return f->seg_err;
	if (len > 65507 || (f->seg_max && seg > f->seg_max))
		return EMSGSIZE;
	return (len + seg - 1) / seg > 64 ? EINVAL : 0;
}

static int dgram_check(struct fake_fd *f, const struct msghdr *h, const struct ep *to, uint16_t seg)
{
	size_t len = iov_len(h->msg_iov, (unsigned)h->msg_iovlen);

	if (!h->msg_name && !f->connected)
		return EDESTADDRREQ;
	if (addr_is_broadcast(&to->addr) && !fake_opt(f, SOL_SOCKET, SO_BROADCAST, 0))
		return EACCES;
	if (seg && seg_check(f, len, seg))
		return seg_check(f, len, seg);
	if (f->pmtu && (seg ? seg : len) > f->pmtu)
		return EMSGSIZE;
	return f->room ? 0 : EAGAIN;
}

static void dgram_sent(struct fake_fd *f, const struct msghdr *h, const struct ep *to, size_t off, size_t len)
{
	struct fake_dgram *d = dgram_new(&fake_os.sent, NULL, len);
	bool v4 = f->family == AF_INET;

	fake_os.n_sent++;
	iov_copy_out(h->msg_iov, (unsigned)h->msg_iovlen, off, d->data, len);
	d->fd = f->fd;
	d->from = f->local;
	d->to = *to;
	d->ttl = (uint8_t)(v4 ? fake_opt(f, SOL_IP, IP_TTL, 64) : fake_opt(f, SOL_IPV6, IPV6_UNICAST_HOPS, 64));
	if (addr_is_multicast(&to->addr))
		d->ttl = (uint8_t)(v4 ? fake_opt(f, SOL_IP, IP_MULTICAST_TTL, 1) : fake_opt(f, SOL_IPV6, IPV6_MULTICAST_HOPS, 1));
	d->tos = (uint8_t)(v4 ? fake_opt(f, SOL_IP, IP_TOS, 0) : fake_opt(f, SOL_IPV6, IPV6_TCLASS, 0));
	d->pktinfo = pktinfo_of(h);
}

static int dgram_send_one(struct fake_fd *f, struct mmsghdr *m)
{
	const struct msghdr *h = &m->msg_hdr;
	size_t len = iov_len(h->msg_iov, (unsigned)h->msg_iovlen), at = 0;
	int err = fake_inject_again(FAKE_SENDMMSG, f->fd);
	uint16_t seg = seg_of(h);
	struct ep to = f->peer;

	if (!err)
		err = pending_take(f);
	if (!err && h->msg_name) {
		struct sockaddr_storage ss = { 0 };

		memcpy(&ss, h->msg_name, h->msg_namelen);
		err = -sock_to_ep(&ss, &to);
	}
	if (!err)
		err = dgram_check(f, h, &to, seg);
	if (err)
		return -err;
	if (f->room != UINT32_MAX)
		f->room--;
	if (!f->bound) {
		f->bound = true;
		f->local.port = fake_os.next_port++;
	}
	fake_os.n_messages++;
	do {
		size_t part = seg ? MIN((size_t)seg, len - at) : len;

		dgram_sent(f, h, &to, at, part);
		at += part;
	} while (at < len);
	m->msg_len = (unsigned)len;
	return 0;
}

int fake_dgram_sendmmsg(struct fake_fd *f, struct mmsghdr *m, unsigned n, int flags)
{
	assert_int_equal(f->kind, FAKE_DGRAM);
	for (unsigned i = 0; i < n; i++) {
		int err = dgram_send_one(f, &m[i]);

		/* What sendmmsg(2) says under BUGS: the error of a later message is not reported. */
		if (err)
			return i ? (int)i : err;
	}
	return (int)n;
}

/* A control message behind those that are in h; room is what its buffer has. */
void fake_put_cmsg(struct msghdr *h, size_t room, const int kind[2], const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((char *)h->msg_control + h->msg_controllen);

	assert_true(h->msg_controllen + CMSG_SPACE(len) <= room);
	c->cmsg_level = kind[0];
	c->cmsg_type = kind[1];
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

static void put_pktinfo(const struct fake_fd *f, struct msghdr *h, size_t room, const struct fake_dgram *d)
{
	static const int kind4[] = { SOL_IP, IP_PKTINFO }, kind6[] = { SOL_IPV6, IPV6_PKTINFO };

	if (f->family == AF_INET && fake_opt(f, SOL_IP, IP_PKTINFO, 0)) {
		struct in_pktinfo pi = { .ipi_ifindex = 7 };

		memcpy(&pi.ipi_addr, d->to.addr.b + 12, 4);
		memcpy(&pi.ipi_spec_dst, d->to.addr.b + 12, 4);
		fake_put_cmsg(h, room, kind4, &pi, sizeof(pi));
	} else if (f->family == AF_INET6 && fake_opt(f, SOL_IPV6, IPV6_RECVPKTINFO, 0)) {
		/* With IPv4 on a dual-stack socket this is the mapped address. */
		struct in6_pktinfo pi = { .ipi6_ifindex = 7 };

		memcpy(&pi.ipi6_addr, d->to.addr.b, 16);
		fake_put_cmsg(h, room, kind6, &pi, sizeof(pi));
	}
}

static void put_hops(const struct fake_fd *f, struct msghdr *h, size_t room, const struct fake_dgram *d)
{
	static const int ttl4[] = { SOL_IP, IP_TTL }, ttl6[] = { SOL_IPV6, IPV6_HOPLIMIT };
	static const int tos4[] = { SOL_IP, IP_TOS }, tos6[] = { SOL_IPV6, IPV6_TCLASS };
	bool v4 = f->family == AF_INET;
	int ttl = d->ttl ? d->ttl : 64, tos = d->tos;

	if (v4 ? fake_opt(f, SOL_IP, IP_RECVTTL, 0) : fake_opt(f, SOL_IPV6, IPV6_RECVHOPLIMIT, 0))
		fake_put_cmsg(h, room, v4 ? ttl4 : ttl6, &ttl, sizeof(ttl));
	if (v4 && fake_opt(f, SOL_IP, IP_RECVTOS, 0))
		fake_put_cmsg(h, room, tos4, &d->tos, sizeof(d->tos));
	if (!v4 && fake_opt(f, SOL_IPV6, IPV6_RECVTCLASS, 0))
		fake_put_cmsg(h, room, tos6, &tos, sizeof(tos));
}

static void put_cmsgs(const struct fake_fd *f, struct msghdr *h, const struct fake_dgram *d)
{
	static const int gro[] = { IPPROTO_UDP, UDP_GRO };
	size_t room = h->msg_control ? h->msg_controllen : 0;
	int seg = d->seg;

	h->msg_controllen = 0;
	if (!room) {
		assert_int_equal(seg, 0);
		return;
	}
	if (seg)
		fake_put_cmsg(h, room, gro, &seg, sizeof(seg));
	put_pktinfo(f, h, room, d);
	put_hops(f, h, room, d);
}

void fake_dgram_hops(int fd, uint8_t ttl, uint8_t tos)
{
	struct fake_fd *f = fake_fd(fd);
	struct fake_dgram *d = dgram_of(f->rx.prev);

	assert_false(list_empty(&f->rx));
	d->ttl = ttl;
	d->tos = tos;
}

static int dgram_recv_one(struct fake_fd *f, struct mmsghdr *m, int flags)
{
	struct msghdr *h = &m->msg_hdr;
	struct fake_dgram *d;
	size_t got;
	int err = pending_take(f);

	if (err)
		return -err;
	if (list_empty(&f->rx))
		return -EAGAIN;
	d = dgram_of(f->rx.next);
	got = iov_copy_in(h->msg_iov, (unsigned)h->msg_iovlen, 0, d->data, d->len);
	h->msg_flags = got < d->len ? MSG_TRUNC : 0;
	m->msg_len = (unsigned)(flags & MSG_TRUNC ? d->len : got);
	if (h->msg_name) {
		struct sockaddr_storage ss;
		struct ep from = d->from;
		socklen_t len = sock_from_ep(f->family, &from, 7, &ss);

		memcpy(h->msg_name, &ss, MIN(len, h->msg_namelen));
		h->msg_namelen = len;
	}
	put_cmsgs(f, h, d);
	if (!(flags & MSG_PEEK))
		dgram_free(d);
	return 0;
}

int fake_dgram_recvmmsg(struct fake_fd *f, struct mmsghdr *m, unsigned n, int flags)
{
	assert_int_equal(f->kind, FAKE_DGRAM);
	for (unsigned i = 0; i < n; i++) {
		int err = dgram_recv_one(f, &m[i], flags);

		if (err)
			return i ? (int)i : err;
		if (flags & MSG_PEEK)
			return 1;
	}
	return (int)n;
}

uint32_t fake_dgram_ready(const struct fake_fd *f)
{
	uint32_t ev = EPOLLOUT;

	if (!list_empty(&f->rx))
		ev |= EPOLLIN;
	if (f->so_error || !list_empty(&f->errq))
		ev |= EPOLLERR;
	return ev;
}
