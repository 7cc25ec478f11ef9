/* SPDX-License-Identifier: MIT */
#include "os/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/busguard.h"
#include "os/hops.h"

int sock_open(int family, int type, int proto, int *ret_fd)
{
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, proto);

	if (fd < 0)
		return -errno;
	if (family == AF_INET6 && type != SOCK_RAW) {
		int err = sock_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);

		if (err) {
			close(fd);
			return err;
		}
	}
	*ret_fd = fd;
	return 0;
}

void sock_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

int sock_set_int(int fd, int level, int opt, int val)
{
	return setsockopt(fd, level, opt, &val, sizeof(val)) ? -errno : 0;
}

int sock_get_int(int fd, int level, int opt, int *ret_val)
{
	int val = 0;
	socklen_t len = sizeof(val);

	if (getsockopt(fd, level, opt, &val, &len))
		return -errno;
	*ret_val = val;
	return 0;
}

int sock_get_ctl(int fd, int level, int opt, struct msghdr *h)
{
	socklen_t len = (socklen_t)h->msg_controllen;

	if (getsockopt(fd, level, opt, h->msg_control, &len))
		return -errno;
	h->msg_controllen = len;
	return 0;
}

int sock_set_dual(int fd)
{
	return sock_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
}

int sock_bind_dev(int fd, const char *ifname)
{
	size_t len = strnlen(ifname, IFNAMSIZ);

	if (len >= IFNAMSIZ)
		return -EINVAL;
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, ifname, (socklen_t)len + 1) ? -errno : 0;
}

unsigned sock_ifindex(int fd, const char *ifname)
{
	struct ifreq ifr = { 0 };

	strncpy(ifr.ifr_name, ifname, sizeof(ifr.ifr_name) - 1);
	return ioctl(fd, SIOCGIFINDEX, &ifr) ? 0 : (unsigned)ifr.ifr_ifindex;
}

int sock_set_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

static int linger_set(int fd, int on)
{
	struct linger lg = { .l_onoff = on };

	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &lg, sizeof(lg)) ? -errno : 0;
}

int sock_linger_reset(int fd)
{
	return linger_set(fd, 1);
}

int sock_linger_off(int fd)
{
	return linger_set(fd, 0);
}

socklen_t sock_from_ep(int family, const struct ep *ep, unsigned scope, struct sockaddr_storage *ret_ss)
{
	memset(ret_ss, 0, sizeof(*ret_ss));
	if (family == AF_INET) {
		struct sockaddr_in *sin = (struct sockaddr_in *)ret_ss;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(ep->port);
		if (addr_is4(&ep->addr))
			memcpy(&sin->sin_addr, addr_bytes(&ep->addr), sizeof(sin->sin_addr));
		return sizeof(*sin);
	}

	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret_ss;

	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(ep->port);
	memcpy(&sin6->sin6_addr, ep->addr.b, sizeof(sin6->sin6_addr));
	if (IN6_IS_ADDR_LINKLOCAL(&sin6->sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&sin6->sin6_addr))
		sin6->sin6_scope_id = scope;
	return sizeof(*sin6);
}

int sock_to_ep(const struct sockaddr_storage *ss, struct ep *ret_ep)
{
	const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;

	switch (ss->ss_family) {
	case AF_INET:
		*ret_ep = (struct ep){ .addr = addr_from4(&sin->sin_addr), .port = ntohs(sin->sin_port) };
		return 0;
	case AF_INET6:
		*ret_ep = (struct ep){ .addr = addr_from6(&sin6->sin6_addr), .port = ntohs(sin6->sin6_port) };
		return 0;
	default:
		return -EAFNOSUPPORT;
	}
}

int sock_bind(int fd, int family, const struct ep *ep, unsigned scope)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_from_ep(family, ep, scope, &ss);

	return bind(fd, (struct sockaddr *)&ss, len) ? -errno : 0;
}

int sock_connect(int fd, int family, const struct ep *ep, unsigned scope)
{
	struct sockaddr_storage ss;
	socklen_t len = sock_from_ep(family, ep, scope, &ss);

	return connect(fd, (struct sockaddr *)&ss, len) ? -errno : 0;
}

int sock_listen(int fd, int backlog)
{
	return listen(fd, backlog) ? -errno : 0;
}

int sock_accept(int fd, struct ep *ret_peer, int *ret_fd)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);
	struct ep peer = { .port = 0 };
	int conn = accept4(fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	int err;

	if (conn < 0)
		return -errno;
	err = ss.ss_family == AF_UNIX ? 0 : sock_to_ep(&ss, &peer);
	if (err) {
		close(conn);
		return err;
	}
	*ret_peer = peer;
	*ret_fd = conn;
	return 0;
}

int sock_local(int fd, struct ep *ret_ep)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);

	if (getsockname(fd, (struct sockaddr *)&ss, &len))
		return -errno;
	return sock_to_ep(&ss, ret_ep);
}

int sock_peer(int fd, struct ep *ret_ep)
{
	struct sockaddr_storage ss = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(ss);

	if (getpeername(fd, (struct sockaddr *)&ss, &len))
		return -errno;
	return sock_to_ep(&ss, ret_ep);
}

int sock_shutdown_wr(int fd)
{
	return shutdown(fd, SHUT_WR) ? -errno : 0;
}

/* The error of a call with these messages, which is another one if memory was cut off under it. */
static int moved_none(const struct mmsghdr *m, unsigned n, int cut_off)
{
	int err = -errno;
	bool guarded = false;

	for (unsigned i = 0; err == -EFAULT && i < n; i++)
		guarded |= busguard_look(m[i].msg_hdr.msg_iov, (unsigned)m[i].msg_hdr.msg_iovlen);
	return guarded ? cut_off : err;
}

ssize_t sock_send(int fd, const struct iovec *iov, unsigned n, int flags)
{
	struct mmsghdr m = { .msg_hdr = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n } };
	ssize_t len = sendmsg(fd, &m.msg_hdr, flags | MSG_DONTWAIT | MSG_NOSIGNAL);

	return len < 0 ? moved_none(&m, 1, -EFAULT) : len;
}

ssize_t sock_recv(int fd, const struct iovec *iov, unsigned n, int flags)
{
	struct mmsghdr m = { .msg_hdr = { .msg_iov = (struct iovec *)iov, .msg_iovlen = n } };
	ssize_t len = recvmsg(fd, &m.msg_hdr, flags | MSG_DONTWAIT | MSG_NOSIGNAL);

	return len < 0 ? moved_none(&m, 1, -EAGAIN) : len;
}

ssize_t sock_discard(int fd, size_t len)
{
	ssize_t n = recv(fd, NULL, len, MSG_TRUNC | MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

int sock_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	int sent = sendmmsg(fd, m, n, flags | MSG_DONTWAIT | MSG_NOSIGNAL);

	return sent < 0 ? moved_none(m, n, -EFAULT) : sent;
}

int sock_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	int got = recvmmsg(fd, m, n, flags | MSG_DONTWAIT, NULL);

	return got < 0 ? moved_none(m, n, -EAGAIN) : got;
}

bool sock_is_over(int fd)
{
	struct pollfd p = { .fd = fd };

	return poll(&p, 1, 0) > 0;
}

int sock_error(int fd)
{
	int val = 0;
	int err = sock_get_int(fd, SOL_SOCKET, SO_ERROR, &val);

	return err ? -err : val;
}

int sock_outq(int fd, uint32_t *ret_bytes)
{
	int val = 0;

	if (ioctl(fd, SIOCOUTQ, &val))
		return -errno;
	*ret_bytes = (uint32_t)val;
	return 0;
}

int sock_sndmem(int fd, uint32_t *ret_size, uint32_t *ret_used)
{
	uint32_t mem[SK_MEMINFO_VARS] = { 0 };
	socklen_t len = sizeof(mem);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, mem, &len))
		return -errno;
	*ret_size = mem[SK_MEMINFO_SNDBUF];
	*ret_used = mem[SK_MEMINFO_WMEM_QUEUED];
	return 0;
}

/* The kernel puts struct sock_extended_err and the offender's address behind it into one control message. */
static bool errqueue_cmsg(const struct cmsghdr *c, struct sock_err *e)
{
	struct {
		struct sock_extended_err ee;
		struct sockaddr_storage from;
	} data = { .from = { .ss_family = AF_UNSPEC } };
	struct ep from;

	if (!(c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) &&
	    !(c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR))
		return false;
	if (c->cmsg_len < CMSG_LEN(sizeof(data.ee)))
		return false;
	memcpy(&data.ee, CMSG_DATA(c), sizeof(data.ee));
	if (c->cmsg_len > CMSG_LEN(sizeof(data.ee)))
		memcpy(&data.from, CMSG_DATA(c) + sizeof(data.ee), MIN(c->cmsg_len - CMSG_LEN(sizeof(data.ee)), sizeof(data.from)));

	e->err = (int)data.ee.ee_errno;
	e->origin = data.ee.ee_origin;
	e->type = data.ee.ee_type;
	e->code = data.ee.ee_code;
	e->info = data.ee.ee_info;
	e->data = data.ee.ee_data;
	if (!sock_to_ep(&data.from, &from)) {
		e->has_from = true;
		e->from = from.addr;
	}
	return true;
}

int sock_errqueue(int fd, void *buf, size_t buf_len, struct sock_err *ret_err)
{
	struct sockaddr_storage dst = { .ss_family = AF_UNSPEC };
	union {
		char b[512];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = buf, .iov_len = buf_len };
	struct msghdr msg = { .msg_name = &dst,
			      .msg_namelen = sizeof(dst),
			      .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.b,
			      .msg_controllen = sizeof(control.b) };
	ssize_t n = recvmsg(fd, &msg, MSG_ERRQUEUE | MSG_DONTWAIT);
	struct sock_err e = { .err = 0 };
	struct hops hops = { .ttl = 0 };

	if (n < 0)
		return -errno;
	e.len = (size_t)n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (errqueue_cmsg(c, &e))
			break;
	}
	if (msg.msg_namelen)
		(void)!sock_to_ep(&dst, &e.dst);
	hops_get(&msg, &hops);
	e.ttl = hops.ttl;
	*ret_err = e;
	return 0;
}
