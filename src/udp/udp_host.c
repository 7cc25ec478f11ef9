/* SPDX-License-Identifier: MIT */
#include "udp/udp_host.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/iov.h"
#include "base/log.h"
#include "udp/udp_err.h"
#include "wire/ip.h"
#include "wire/udp.h"

/* For a socket that is not connected: where to. */
static void msg_address(struct udp *u, const struct udp_flow *f, int family, unsigned i)
{
	struct msghdr *h = &u->m[i].msg_hdr;

	h->msg_name = &u->name[i];
	h->msg_namelen = sock_from_ep(family, &f->to, f->host_first ? f->scope : u->d.out->scope6, &u->name[i]);
}

/* For the socket of a listener: where from. */
static void msg_source(struct udp *u, const struct udp_flow *f, bool v6, unsigned i)
{
	struct msghdr *h = &u->m[i].msg_hdr;
	struct cmsghdr *c;

	if (addr_is_any(&f->local.addr))
		return;
	h->msg_control = u->ctl[i].b;
	if (v6) {
		struct in6_pktinfo pi = { .ipi6_ifindex = addr_is_linklocal(&f->local.addr) ? f->scope : 0 };

		memcpy(&pi.ipi6_addr, f->local.addr.b, sizeof(pi.ipi6_addr));
		h->msg_controllen = CMSG_SPACE(sizeof(pi));
		memset(u->ctl[i].b, 0, h->msg_controllen);
		c = CMSG_FIRSTHDR(h);
		*c = (struct cmsghdr){ .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(pi)) };
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
	} else {
		struct in_pktinfo pi = { .ipi_ifindex = 0 };

		memcpy(&pi.ipi_spec_dst, addr_bytes(&f->local.addr), sizeof(pi.ipi_spec_dst));
		h->msg_controllen = CMSG_SPACE(sizeof(pi));
		memset(u->ctl[i].b, 0, h->msg_controllen);
		c = CMSG_FIRSTHDR(h);
		*c = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO, .cmsg_len = CMSG_LEN(sizeof(pi)) };
		memcpy(CMSG_DATA(c), &pi, sizeof(pi));
	}
}

static uint32_t path_mtu(const struct udp_flow *f)
{
	int mtu = 0;
	int rc = addr_is4(&f->to.addr) ? sock_get_int(f->fd, IPPROTO_IP, IP_MTU, &mtu)
				       : sock_get_int(f->fd, IPPROTO_IPV6, IPV6_MTU, &mtu);

	return rc || mtu < 0 ? 0 : (uint32_t)mtu;
}

/* Message i could not be sent: true to try once more. */
static bool send_failed(struct udp *u, struct udp_flow *f, unsigned i, int err)
{
	uint32_t mtu;
	unsigned n = f->fd >= 0 ? udp_err_drain(u, f) : 0;

	/* An error that was pending is that of an earlier datagram, and has been told by now. */
	if (n || err == ECONNREFUSED)
		return true;
	if (err == EMSGSIZE) {
		mtu = f->fd >= 0 ? path_mtu(f) : 0;
		if (mtu)
			udp_err_too_big(u, u->pkt[i], mtu);
	} else if (!udp_err_refuse(u, u->pkt[i], err)) {
		log_limited(LOG_LVL_WARN, "UDP: datagram not sent: %s", strerror(err));
	}
	return false;
}

/* Sends what was gathered. */
static void batch_send(struct udp *u, struct udp_flow *f, unsigned n)
{
	const struct listener *l = f->fd < 0 ? udp_listener(u, f->listener) : NULL;
	int fd = l ? l->fd : f->fd;
	bool again = false;

	if (fd < 0)
		return;
	for (unsigned i = 0; i < n && !f->connected; i++) {
		msg_address(u, f, l && l->v6 ? AF_INET6 : addr_family(&f->to.addr), i);
		if (l)
			msg_source(u, f, l->v6, i);
	}
	for (unsigned i = 0; i < n;) {
		int rc = sock_sendmmsg(fd, &u->m[i], n - i, 0);

		/* A socket without room has none for the next either: dropped, as by a queue that is full. */
		if (rc == -EAGAIN || rc == -ENOBUFS || !rc)
			return;
		if (rc > 0) {
			i += (unsigned)rc;
			again = false;
		} else if (!again && send_failed(u, f, i, -rc)) {
			again = true;
		} else {
			i++;
			again = false;
		}
	}
}

/* Hop limit and type of service of the guest's datagrams. True if they are those of the socket already. */
static bool opts_same(const struct udp_flow *f, const struct pkt *p)
{
	return f->fd < 0 || (f->ttl == p->ttl && f->tos == p->tos);
}

static void opts_set(struct udp_flow *f, const struct pkt *p)
{
	bool v4 = addr_is4(&f->to.addr), multicast = addr_is_multicast(&f->to.addr);
	int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
	int ttl = v4 ? (multicast ? IP_MULTICAST_TTL : IP_TTL) : (multicast ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS);
	int rc = 0;

	if (f->ttl != p->ttl)
		rc = sock_set_int(f->fd, level, ttl, p->ttl);
	if (f->tos != p->tos && sock_set_int(f->fd, level, v4 ? IP_TOS : IPV6_TCLASS, p->tos))
		rc = -EINVAL;
	if (rc)
		log_limited(LOG_LVL_WARN, "UDP: hop limit or type of service not set");
	/* Even then: once is enough. */
	f->ttl = p->ttl;
	f->tos = p->tos;
}

/* Payload of one datagram as message i. */
static bool msg_put(struct udp *u, const struct frame *frame, size_t off, size_t len, unsigned i)
{
	size_t got;
	unsigned n = iov_slice(frame->iov, frame->n, off, len, u->iov[i], ARRAY_SIZE(u->iov[i]), &got);

	u->m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = u->iov[i], .msg_iovlen = n } };
	return got == len;
}

void udp_host_send(struct udp *u, struct udp_flow *f, const struct pkt *p, const struct frame *frame, unsigned n)
{
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rd r = pkt_l4(&p[i]);
		size_t off = p[i].l4 + UDP_HLEN, left, piece;
		struct udp_hdr uh;

		if (udp_hdr_read(&r, &uh) || uh.len > p[i].l4_len || !p[i].ttl)
			continue;
		if (!opts_same(f, &p[i])) {
			batch_send(u, f, k);
			k = 0;
			opts_set(f, &p[i]);
		}
		left = uh.len - UDP_HLEN;
		/* A superframe holds several datagrams of one size, but for the last. */
		piece = frame[i].gso_type == GSO_UDP && frame[i].gso_size ? frame[i].gso_size : left;
		do {
			size_t len = MIN(left, piece);

			if (k == LINK_BATCH) {
				batch_send(u, f, k);
				k = 0;
			}
			u->pkt[k] = &p[i];
			if (msg_put(u, &frame[i], off, len, k))
				k++;
			off += len;
			left -= len;
		} while (left);
	}
	batch_send(u, f, k);
}
