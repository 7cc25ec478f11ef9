/* SPDX-License-Identifier: MIT */
#include "udp/udp_host.h"

#include <errno.h>

#include "base/iov.h"
#include "base/log.h"
#include "os/pktinfo.h"
#include "udp/udp_err.h"
#include "wire/ip.h"
#include "wire/udp.h"

/* For a socket that is not connected: where to. */
static void msg_address(struct udp *u, const struct udp_flow *f, int family, unsigned i)
{
	struct msghdr *h = &u->m[i].msg_hdr;

	h->msg_name = &u->name[i];
	h->msg_namelen = sock_from_ep(family, &f->sock.to, f->host_first ? f->scope : u->d.out->scope6, &u->name[i]);
}

/* For the socket of a listener: where from. */
static void msg_source(struct udp *u, const struct udp_flow *f, bool v6, unsigned i)
{
	if (!addr_is_any(&f->local.addr))
		pktinfo_put(&u->m[i].msg_hdr, u->ctl[i].b, v6, &f->local.addr, f->scope);
}

/* Message i could not be sent: true to try once more. */
static bool send_failed(struct udp *u, struct udp_flow *f, unsigned i, int err)
{
	uint32_t mtu;
	unsigned n = f->sock.fd >= 0 ? udp_err_drain(u, f) : 0;

	/* An error that was pending is that of an earlier datagram, and has been told by now. */
	if (n || err == ECONNREFUSED)
		return true;
	/* Another socket would not be what a peer knows who began. */
	if (!f->host_first)
		peer_failed(&f->sock, err);
	if (err == EMSGSIZE) {
		mtu = f->sock.fd >= 0 ? peer_path_mtu(&f->sock) : 0;
		if (mtu)
			hosterr_too_big(&u->hosterr, u->pkt[i], mtu);
	} else if (!hosterr_refuse(&u->hosterr, u->pkt[i], err)) {
		log_limited(LOG_LVL_WARN, "UDP: datagram not sent: %s", strerror(err));
	}
	return false;
}

/* Sends what was gathered. */
static void batch_send(struct udp *u, struct udp_flow *f, unsigned n)
{
	const struct listener *l = f->sock.fd < 0 ? udp_listener(u, f->listener) : NULL;
	int fd = l ? l->fd : f->sock.fd;
	bool again = false;

	if (fd < 0)
		return;
	for (unsigned i = 0; i < n && !f->sock.connected; i++) {
		msg_address(u, f, l && l->v6 ? AF_INET6 : addr_family(&f->sock.to.addr), i);
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
	return f->sock.fd < 0 || peer_opts_same(&f->sock, p);
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
			peer_opts_set(&f->sock, &p[i]);
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
	/* The guest's next datagram finds another way, if there is one. */
	if (f->sock.stale)
		udp_flow_close(u, f);
}
