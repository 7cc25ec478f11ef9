/* SPDX-License-Identifier: MIT */
#include "fake_sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fake_os fake_os;

void fake_os_init(void)
{
	memset(&fake_os, 0, sizeof(fake_os));
	list_init(&fake_os.sent);
	list_init(&fake_os.streams);
	fake_os.next_port = 40000;
	fake_os.now_ns = 1000 * NSEC_PER_SEC;
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		fake_os.fail[i].fd = -1;
}

void fake_os_fini(void)
{
	unsigned open = fake_open_count();

	for (unsigned i = 0; i < FAKE_FDS; i++) {
		struct fake_fd *f = &fake_os.fd[i];

		if (f->kind == FAKE_DGRAM)
			fake_dgram_close(f);
		else if (f->kind == FAKE_STREAM)
			fake_stream_close(f);
		f->kind = FAKE_FREE;
	}
	fake_sent_clear();
	fake_stream_forget();
	assert_int_equal(open, 0);
}

struct fake_fd *fake_fd(int fd)
{
	struct fake_fd *f;

	assert_in_range(fd, FAKE_FD_BASE, FAKE_FD_BASE + FAKE_FDS - 1);
	f = &fake_os.fd[fd - FAKE_FD_BASE];
	assert_int_not_equal(f->kind, FAKE_FREE);
	return f;
}

unsigned fake_open_count(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < FAKE_FDS; i++)
		n += fake_os.fd[i].kind != FAKE_FREE;
	return n;
}

struct fake_fd *fake_fd_nth(unsigned i)
{
	for (unsigned k = 0; k < FAKE_FDS; k++) {
		if (fake_os.fd[k].kind != FAKE_FREE && !i--)
			return &fake_os.fd[k];
	}
	fail_msg("no such descriptor");
	return NULL;
}

void fake_fail(enum fake_call call, int fd, int err, unsigned skip, unsigned times)
{
	fake_os.fail[call] = (struct fake_fail){ .err = err, .skip = skip, .times = times, .fd = fd };
}

int fake_inject_again(enum fake_call call, int fd)
{
	struct fake_fail *x = &fake_os.fail[call];

	if (!x->err || !x->times || (x->fd >= 0 && x->fd != fd))
		return 0;
	if (x->skip) {
		x->skip--;
		return 0;
	}
	x->times--;
	return x->err;
}

int fake_inject(enum fake_call call, int fd)
{
	fake_os.calls[call]++;
	return fake_inject_again(call, fd);
}

int fake_opt(const struct fake_fd *f, int level, int opt, int def)
{
	for (unsigned i = 0; i < f->opts; i++) {
		if (f->opt[i].level == level && f->opt[i].opt == opt)
			return f->opt[i].val;
	}
	return def;
}

void fake_opt_set(struct fake_fd *f, int level, int opt, int val)
{
	unsigned i;

	for (i = 0; i < f->opts; i++) {
		if (f->opt[i].level == level && f->opt[i].opt == opt)
			break;
	}
	assert_true(i < FAKE_OPTS);
	f->opt[i].level = level;
	f->opt[i].opt = opt;
	f->opt[i].val = val;
	if (i == f->opts)
		f->opts++;
}

struct fake_fd *fake_fd_alloc(int family, int type, int proto)
{
	struct fake_fd *f = NULL;

	for (int i = 0; i < FAKE_FDS && !f; i++) {
		if (fake_os.fd[i].kind == FAKE_FREE) {
			f = &fake_os.fd[i];
			memset(f, 0, sizeof(*f));
			f->fd = FAKE_FD_BASE + i;
		}
	}
	if (!f)
		return NULL;
	f->family = family;
	f->type = type;
	f->proto = proto;
	f->local.addr = f->peer.addr = family == AF_INET ? addr_any4 : addr_any6;
	f->room = UINT32_MAX;
	list_init(&f->rx);
	list_init(&f->errq);
	f->kind = (type & 0xf) == SOCK_DGRAM ? FAKE_DGRAM : FAKE_STREAM;
	return f;
}

int sock_open(int family, int type, int proto, int *ret_fd)
{
	int err = fake_inject(FAKE_OPEN, -1);
	struct fake_fd *f;

	if (err)
		return -err;
	assert_true(family == AF_INET || family == AF_INET6);
	f = fake_fd_alloc(family, type, proto);
	if (!f)
		return -EMFILE;
	if (f->kind == FAKE_STREAM)
		fake_stream_open(f);
	*ret_fd = f->fd;
	return 0;
}

void sock_close(int fd)
{
	struct fake_fd *f;

	if (fd < 0)
		return;
	f = fake_fd(fd);
	fake_os.calls[FAKE_CLOSE]++;
	/* A closed descriptor leaves its epoll set by itself only if nobody else holds it: take it out first, unless it was never shared. */
	if (f->kind == FAKE_DGRAM) {
		assert_false(f->in_epoll);
		fake_dgram_close(f);
	} else {
		f->in_epoll = false;
		fake_stream_close(f);
	}
	f->kind = FAKE_FREE;
}

int sock_set_int(int fd, int level, int opt, int val)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_SETOPT, fd);

	if (err)
		return -err;
	if (f->kind == FAKE_STREAM) {
		err = fake_stream_setopt(f, level, opt, val);
		if (err)
			return err;
	}
	fake_opt_set(f, level, opt, val);
	return 0;
}

int sock_get_int(int fd, int level, int opt, int *ret_val)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_GETOPT, fd);

	if (err)
		return -err;
	*ret_val = fake_opt(f, level, opt, 0);
	return 0;
}

int sock_set_dual(int fd)
{
	return sock_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

int sock_bind_dev(int fd, const char *ifname)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_BIND_DEV, fd);

	if (err)
		return -err;
	strncpy(f->dev, ifname, sizeof(f->dev) - 1);
	return 0;
}

unsigned sock_ifindex(int fd, const char *ifname)
{
	(void)fake_fd(fd);
	return if_nametoindex(ifname);
}

int sock_set_nonblock(int fd)
{
	fail_msg("nothing here was opened by somebody else");
	return -EINVAL;
}

static int linger_set(int fd, int on)
{
	int err = fake_inject(FAKE_LINGER, fd);

	fake_opt_set(fake_fd(fd), SOL_SOCKET, SO_LINGER, on);
	return -err;
}

int sock_linger_reset(int fd)
{
	return linger_set(fd, 1);
}

int sock_linger_off(int fd)
{
	return linger_set(fd, 0);
}

static bool claims_collide(const struct fake_fd *a, const struct fake_fd *b)
{
	if (a->kind != b->kind || a->proto != b->proto || !b->bound || a->local.port != b->local.port)
		return false;
	if (!addr_is_any(&a->local.addr) && !addr_is_any(&b->local.addr) && !addr_eq(&a->local.addr, &b->local.addr))
		return false;
	if (a->family != b->family)
		return false;
	return !fake_opt(a, SOL_SOCKET, SO_REUSEADDR, 0) || !fake_opt(b, SOL_SOCKET, SO_REUSEADDR, 0);
}

int sock_bind(int fd, int family, const struct ep *ep, unsigned scope)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_BIND, fd);

	if (err)
		return -err;
	assert_int_equal(family, f->family);
	if (f->bound)
		return -EINVAL;
	f->local = *ep;
	if (!f->local.port)
		f->local.port = fake_os.next_port++;
	for (unsigned i = 0; i < FAKE_FDS; i++) {
		const struct fake_fd *o = &fake_os.fd[i];

		if (o != f && o->kind != FAKE_FREE && claims_collide(f, o)) {
			f->local = (struct ep){ 0 };
			return -EADDRINUSE;
		}
	}
	f->bound = true;
	f->scope = scope;
	return 0;
}

int sock_connect(int fd, int family, const struct ep *ep, unsigned scope)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_CONNECT, fd);

	if (err)
		return -err;
	assert_int_equal(family, f->family);
	f->scope = scope;
	if (!f->bound) {
		f->bound = true;
		f->local.port = fake_os.next_port++;
	}
	if (f->kind == FAKE_STREAM)
		return fake_stream_connect(f, ep);
	f->peer = *ep;
	f->connected = true;
	return 0;
}

int sock_local(int fd, struct ep *ret_ep)
{
	struct fake_fd *f = fake_fd(fd);
	int err = fake_inject(FAKE_LOCAL, fd);

	if (err)
		return -err;
	*ret_ep = f->local;
	return 0;
}

int sock_peer(int fd, struct ep *ret_ep)
{
	*ret_ep = fake_fd(fd)->peer;
	return 0;
}

bool sock_is_over(int fd)
{
	return fake_fd(fd)->kind == FAKE_STREAM && fake_stream_ready(fake_fd(fd)) & (EPOLLERR | EPOLLHUP);
}

int sock_error(int fd)
{
	struct fake_fd *f = fake_fd(fd);
	int err;

	fake_os.calls[FAKE_ERROR]++;
	err = f->so_error;
	f->so_error = 0;
	return err;
}

ssize_t sock_send(int fd, const struct iovec *iov, unsigned n, int flags)
{
	struct fake_fd *f = fake_fd(fd);
	struct mmsghdr m = { .msg_hdr = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n } };
	int err = fake_inject(FAKE_SEND, fd), ret;

	if (err)
		return -err;
	if (f->kind == FAKE_STREAM)
		return fake_stream_send(f, iov, n, flags);
	ret = fake_dgram_sendmmsg(f, &m, 1, flags);
	return ret < 0 ? ret : (ssize_t)m.msg_len;
}

ssize_t sock_recv(int fd, const struct iovec *iov, unsigned n, int flags)
{
	struct fake_fd *f = fake_fd(fd);
	struct mmsghdr m = { .msg_hdr = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n } };
	int err = fake_inject(FAKE_RECV, fd), ret;

	if (err)
		return -err;
	if (f->kind == FAKE_STREAM)
		return fake_stream_recv(f, iov, n, flags);
	ret = fake_dgram_recvmmsg(f, &m, 1, flags);
	return ret < 0 ? ret : (ssize_t)m.msg_len;
}

int sock_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	fake_os.calls[FAKE_SENDMMSG]++;
	return fake_dgram_sendmmsg(fake_fd(fd), m, n, flags);
}

int sock_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	int err = fake_inject(FAKE_RECVMMSG, fd);

	if (err)
		return -err;
	return fake_dgram_recvmmsg(fake_fd(fd), m, n, flags);
}

socklen_t sock_from_ep(int family, const struct ep *ep, unsigned scope, struct sockaddr_storage *ret_ss)
{
	memset(ret_ss, 0, sizeof(*ret_ss));
	if (family == AF_INET) {
		struct sockaddr_in *s4 = (struct sockaddr_in *)ret_ss;

		s4->sin_family = AF_INET;
		s4->sin_port = htons(ep->port);
		memcpy(&s4->sin_addr, ep->addr.b + 12, 4);
		return sizeof(*s4);
	}
	struct sockaddr_in6 *s6 = (struct sockaddr_in6 *)ret_ss;

	s6->sin6_family = AF_INET6;
	s6->sin6_port = htons(ep->port);
	memcpy(&s6->sin6_addr, ep->addr.b, 16);
	if (IN6_IS_ADDR_LINKLOCAL(&s6->sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&s6->sin6_addr))
		s6->sin6_scope_id = scope;
	return sizeof(*s6);
}

int sock_to_ep(const struct sockaddr_storage *ss, struct ep *ret_ep)
{
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *s4 = (const struct sockaddr_in *)ss;

		*ret_ep = (struct ep){ .addr = addr_from4(&s4->sin_addr), .port = ntohs(s4->sin_port) };
		return 0;
	}
	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *s6 = (const struct sockaddr_in6 *)ss;

		*ret_ep = (struct ep){ .addr = addr_from6(&s6->sin6_addr), .port = ntohs(s6->sin6_port) };
		return 0;
	}
	return -EAFNOSUPPORT;
}
