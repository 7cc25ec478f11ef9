/* SPDX-License-Identifier: MIT */
#include "udp/udp_host.h"

#include <errno.h>

#include "base/log.h"
#include "udp/udp_err.h"
#include "wire/ip.h"
#include "wire/udp.h"

/* A batch for the socket of a flow, as context of what is done about errors. */
struct batch {
	struct udp *u;
	struct udp_flow *f;
};

/* An error that was pending is that of an earlier datagram, and has been told by now. */
static bool on_pending(void *ctx, int err)
{
	const struct batch *b = ctx;
	unsigned n = b->f->sock.fd >= 0 ? udp_err_drain(b->u, b->f) : 0;

	return n || err == ECONNREFUSED;
}

static void on_failed(void *ctx, const struct pkt *p, int err)
{
	const struct batch *b = ctx;
	struct udp_flow *f = b->f;
	uint32_t mtu;

	/* Another socket would not be what a peer knows who began. */
	if (!f->host_first)
		peer_failed(&f->sock, err);
	if (err == EMSGSIZE) {
		mtu = f->sock.fd >= 0 ? peer_path_mtu(&f->sock) : 0;
		if (mtu)
			hosterr_too_big(&b->u->hosterr, p, mtu);
	} else if (err != EFAULT && !hosterr_refuse(&b->u->hosterr, p, err)) {
		log_limited(LOG_LVL_WARN, "UDP: datagram not sent: %s", strerror(err));
	}
}

/* The socket of the flow, or that of its listener with an address for what is sent. Its fd is -1 if there is none. */
static struct udp_out_to socket_of(const struct udp *u, struct udp_flow *f)
{
	const struct listener *l = f->sock.fd < 0 ? udp_listener(u, f->listener) : NULL;
	struct udp_out_to to = { .fd = f->sock.fd, .seg = &f->seg, .pending = on_pending, .failed = on_failed };

	to.now_s = (uint32_t)(u->d.loop->now_ns / NSEC_PER_SEC);
	if (f->sock.connected && !l)
		return to;
	to.dst = &f->sock.to;
	to.family = addr_family(&f->sock.to.addr);
	to.scope = f->host_first ? f->scope : u->d.out->scope6;
	if (!l)
		return to;
	to.fd = l->fd;
	if (l->v6)
		to.family = AF_INET6;
	if (!addr_is_any(&f->local.addr))
		to.local = &f->local.addr;
	return to;
}

/* Hop limit and type of service of the guest's datagrams. True if they are those of the socket already. */
static bool opts_same(const struct udp_flow *f, const struct pkt *p)
{
	return f->sock.fd < 0 || peer_opts_same(&f->sock, p);
}

void udp_host_send(struct udp *u, struct udp_flow *f, const struct pkt *p, const struct frame *frame, unsigned n)
{
	struct batch b = { .u = u, .f = f };
	struct udp_out_to to = socket_of(u, f);
	uint64_t bytes = 0;

	if (to.fd < 0)
		return;
	to.ctx = &b;
	udp_out_begin(&u->out, &to);
	for (unsigned i = 0; i < n; i++) {
		struct rd r = pkt_l4(&p[i]);
		struct udp_out_data d = { .iov = frame[i].iov, .n = frame[i].n, .off = p[i].l4 + UDP_HLEN, .pkt = &p[i] };
		struct udp_hdr uh;

		if (udp_hdr_read(&r, &uh) || uh.len > p[i].l4_len || !p[i].ttl)
			continue;
		if (!opts_same(f, &p[i])) {
			udp_out_flush(&u->out);
			peer_opts_set(&f->sock, &p[i]);
		}
		d.len = uh.len - UDP_HLEN;
		/* A superframe holds several datagrams of one size, but for the last. */
		if (frame[i].gso_type == GSO_UDP)
			d.seg = frame[i].gso_size;
		udp_out_put(&u->out, &d);
		bytes += d.len;
	}
	udp_out_end(&u->out);
	flow_counted(&f->flow.to_host, u->out.sent, bytes);
	/* The guest's next datagram finds another way, if there is one. */
	if (f->sock.stale)
		udp_flow_close(u, f);
}
