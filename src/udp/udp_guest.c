/* SPDX-License-Identifier: MIT */
#include "udp/udp_guest.h"

#include <errno.h>

#include "base/csum.h"
#include "base/iov.h"
#include "os/pktinfo.h"
#include "udp/udp_err.h"
#include "wire/fragout.h"
#include "wire/udp.h"

#define HEAD_MAX (ETH_HLEN + IP6_HLEN + UDP_HLEN)
#define BODY_MIN 2048 /* frames are reserved for so much payload at least, where packets are that long */
#define LISTEN_BATCH 16 /* few: later datagrams of a peer come by its flow */

/* Source and destination as the guest sees them. */
struct pair {
	struct ep src, dst;
};

static struct pair pair_of(const struct udp_flow *f)
{
	const struct flow_key *k = &f->flow.key;

	return (struct pair){ .src = { k->remote, k->rport }, .dst = { k->guest, k->gport } };
}

static struct ip_tx ip_of(const struct pair *a)
{
	return (struct ip_tx){ .src = a->src.addr, .dst = a->dst.addr, .proto = PROTO_UDP, .ttl = IP_TTL_DEFAULT };
}

/* Of pseudo-header and header, for the payload to be added to. */
static uint64_t pair_sum(const struct pair *a, size_t len)
{
	return csum_pseudo(&a->src.addr, &a->dst.addr, PROTO_UDP, UDP_HLEN + len) + a->src.port + a->dst.port + UDP_HLEN + len;
}

static void eth_head(const struct udp *u, struct wr *w, const struct pair *a)
{
	eth_put(w, u->d.guest->mac, u->d.guest->our_mac, addr_is4(&a->dst.addr) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
}

/* Payload that fits in one packet to the family of a. */
static size_t body_max(const struct udp *u, const struct addr *a)
{
	size_t hlen = ip_hlen(a) + UDP_HLEN;

	return u->d.link->mtu > hlen ? MIN(u->d.link->mtu - hlen, (size_t)UDP_PAYLOAD_MAX - UDP_HLEN) : 0;
}

/* The frame that message i was received into. */
static void commit_frame(struct udp *u, const struct pair *a, const struct txframe *t, size_t len)
{
	size_t l4 = ETH_HLEN + ip_hlen(&a->dst.addr);
	bool partial = u->d.link->offloads & LINK_OFF_CSUM;
	struct ip_tx ip = ip_of(a);
	uint8_t head[HEAD_MAX];
	struct wr w = wr_init(head, sizeof(head));
	struct txhdr h = { .bytes = head };
	uint16_t csum;

	if (partial) {
		csum = (uint16_t)~csum_fold(csum_pseudo(&a->src.addr, &a->dst.addr, PROTO_UDP, UDP_HLEN + len));
		h.csum_start = (uint16_t)l4;
		h.csum_offset = 6;
	} else {
		csum = csum_fold(csum_add_iov(t->body, t->n, 0, len, pair_sum(a, len)));
	}
	eth_head(u, &w, a);
	ip_put(&w, &ip, UDP_HLEN + len);
	udp_hdr_put(&w, a->src.port, a->dst.port, len, csum);
	h.len = (uint16_t)wr_len(&w);
	link_commit(u->d.link, t, &h, len);
}

/* A datagram in slot i of the area, with a full checksum, in as many frames as it takes. What finds no room is lost. */
static void send_area(struct udp *u, const struct pair *a, unsigned i, size_t len)
{
	struct iovec l4 = { udp_area(u, i), UDP_HLEN + len };
	struct ip_tx ip = ip_of(a);
	struct wr h = wr_init(l4.iov_base, UDP_HLEN), w;
	struct fragout f;
	size_t off, n;

	udp_hdr_put(&h, a->src.port, a->dst.port, len, csum_fold(csum_add_iov(&l4, 1, UDP_HLEN, len, pair_sum(a, len))));
	if (ip_hlen(&ip.dst) + l4.iov_len <= u->d.link->mtu) {
		w = wr_init(u->frame, sizeof(u->frame));
		eth_head(u, &w, a);
		ip_put(&w, &ip, l4.iov_len);
		wr_bytes(&w, l4.iov_base, l4.iov_len);
		(void)!link_send(u->d.link, u->frame, wr_len(&w));
		return;
	}
	if (fragout_init(&f, &ip, u->frag_id++ & INT32_MAX, l4.iov_len, u->d.link->mtu))
		return;
	for (;;) {
		w = wr_init(u->frame, sizeof(u->frame));
		eth_head(u, &w, a);
		if (!fragout_next(&f, &w, &off, &n))
			return;
		iov_copy_out(&l4, 1, off, wr_put(&w, n), n);
		if (link_send(u->d.link, u->frame, wr_len(&w)))
			return;
	}
}

/* Source of message i in the host's view. */
static bool msg_source(const struct udp *u, unsigned i, struct ep *ret_ep)
{
	return u->m[i].msg_hdr.msg_namelen && !sock_to_ep(&u->name[i], ret_ep);
}

static void msg_prepare(struct udp *u, unsigned i, unsigned n_iov)
{
	u->m[i].msg_len = 0;
	u->m[i].msg_hdr = (struct msghdr){
		.msg_name = &u->name[i],
		.msg_namelen = sizeof(u->name[i]),
		.msg_iov = u->iov[i],
		.msg_iovlen = n_iov,
	};
}

/*
 * A flow whose socket messages came from, by value: a new flow for another peer takes the slot of the oldest when the table is full,
 * and that may be this one.
 */
struct source {
	uint32_t index, gen;
	bool host_first;
	struct pair pair;
	struct udp_path path;
};

static struct source source_of(const struct udp_flow *f)
{
	return (struct source){
		.index = f->flow.index,
		.gen = f->flow.gen,
		.host_first = f->host_first,
		.pair = pair_of(f),
		.path = { .listener = f->listener, .peer = f->sock.to, .local = f->local, .scope = f->scope },
	};
}

/*
 * Message i of a flow, out of its slot of the area. Whoever answers a multicast, or slipped in between bind() and connect(), is shown
 * with its own address.
 */
static void deliver_area(struct udp *u, const struct source *s, unsigned i)
{
	bool alive = flow_get(u->d.flows, s->index, s->gen);
	size_t len = u->m[i].msg_len;
	struct pair a = s->pair;
	struct ep from;

	if (!msg_source(u, i, &from))
		return;
	if (s->host_first && !(alive && ep_eq(&from, &s->path.peer))) {
		/* Meant for the listener, before the socket was connected. */
		struct udp_path path = s->path;
		struct udp_flow *f;

		path.peer = from;
		f = udp_flow_from_host(u, &path);
		if (!f)
			return;
		a = pair_of(f);
		udp_flow_touch(u, f, false);
	} else if (!ep_eq(&from, &s->path.peer) && nat_to_guest(u->d.nat, &a.dst.addr, &from, &a.src)) {
		return;
	}
	send_area(u, &a, i, len);
}

/* True if message i can stay where it is, in the frame that it was received into. */
static bool deliver_frame(struct udp *u, struct udp_flow *f, unsigned i)
{
	struct pair a = pair_of(f);
	struct ep from;

	if (u->m[i].msg_len > u->tx[i].cap || !msg_source(u, i, &from))
		return false;
	if (!ep_eq(&from, &f->sock.to) && (f->host_first || nat_to_guest(u->d.nat, &a.dst.addr, &from, &a.src)))
		return false;
	commit_frame(u, &a, &u->tx[i], u->m[i].msg_len);
	return true;
}

static void deliver(struct udp *u, struct udp_flow *f, unsigned n)
{
	const struct addr *guest = &f->flow.key.guest;
	struct source s = source_of(f);
	unsigned first = 0;
	size_t frags = 1;

	while (first < n && deliver_frame(u, f, first))
		first++;
	/* From the first that can't, all the rest is copied, as frames are committed in order and another reservation ends this one. */
	for (unsigned i = first; i < n; i++) {
		struct iovec dst = { udp_area(u, i), UDP_AREA };
		size_t in_frame = MIN((size_t)u->m[i].msg_len, u->tx[i].cap), done = 0;

		for (unsigned k = 0; k < u->tx[i].n && done < in_frame; k++)
			done += iov_copy_in(&dst, 1, UDP_HLEN + done, u->tx[i].body[k].iov_base,
					    MIN(u->tx[i].body[k].iov_len, in_frame - done));
		frags = MAX(frags, fragout_count(guest, UDP_HLEN + u->m[i].msg_len, u->d.link->mtu));
	}
	f->frags = (uint8_t)MIN(frags, (size_t)LINK_BATCH);
	for (unsigned i = first; i < n; i++)
		deliver_area(u, &s, i);
}

void udp_guest_from_flow(struct udp *u, struct udp_flow *f)
{
	const struct addr *guest = &f->flow.key.guest;
	/* Frames of a large MTU would leave most of a queue unused by small datagrams. What turns out longer goes through the area. */
	size_t body = MIN(body_max(u, guest), MAX((size_t)f->longest, (size_t)BODY_MIN));
	size_t n = link_reserve(u->d.link, u->tx, LINK_BATCH, ETH_HLEN + ip_hlen(guest) + UDP_HLEN, body);
	int got;

	if (!n) {
		udp_flow_block(u, f);
		return;
	}
	/* If the last datagrams were cut, leave room for the pieces of these. */
	n = MAX(n / f->frags, (size_t)1);
	for (unsigned i = 0; i < n; i++) {
		struct iovec area = { udp_area(u, i), UDP_AREA };
		struct txframe *t = &u->tx[i];

		memcpy(u->iov[i], t->body, t->n * sizeof(t->body[0]));
		iov_slice(&area, 1, UDP_HLEN + t->cap, UDP_PAYLOAD_MAX - t->cap, &u->iov[i][t->n], 1, NULL);
		msg_prepare(u, i, t->n + 1);
	}
	got = sock_recvmmsg(f->sock.fd, u->m, (unsigned)n, 0);
	if (got < 0 && got != -EAGAIN)
		udp_err_drain(u, f);
	if (got <= 0)
		return;
	udp_flow_touch(u, f, false);
	f->longest = 0;
	for (int i = 0; i < got; i++)
		f->longest = (uint16_t)MAX(f->longest, u->m[i].msg_len);
	deliver(u, f, (unsigned)got);
}

/* What message i was sent to, if it can be a source. */
static void msg_local(struct udp *u, unsigned i, struct udp_path *path)
{
	bool v4 = addr_is4(&path->peer.addr);
	struct addr a;

	path->local.addr = v4 ? addr_any4 : addr_any6;
	if (pktinfo_get(&u->m[i].msg_hdr, &a, &path->scope) && addr_is4(&a) == v4)
		path->local.addr = a;
}

static bool diverted(struct udp *u, const struct udp_path *p, unsigned i)
{
	struct udp_arrival a = {
		.listener = p->listener,
		.peer = &p->peer,
		.local = &p->local.addr,
		.scope = p->scope,
		.payload = { udp_area(u, i) + UDP_HLEN, u->m[i].msg_len },
	};

	return u->divert(u->divert_ctx, &a);
}

static void deliver_listener(struct udp *u, uint32_t index, unsigned i)
{
	struct udp_path path = { .listener = index, .local = { .port = u->ls->l[index].port } };
	struct udp_flow *f;
	struct pair a;

	if (!msg_source(u, i, &path.peer))
		return;
	msg_local(u, i, &path);
	if (u->divert && diverted(u, &path, i))
		return;
	f = udp_flow_from_host(u, &path);
	if (!f)
		return;
	udp_flow_touch(u, f, false);
	a = pair_of(f);
	send_area(u, &a, i, u->m[i].msg_len);
}

static void listener_block(struct udp *u, const struct listener *l, uint32_t index)
{
	struct ref ref = { .index = index, .owner = (uint8_t)u->owner_listen };

	u->ls_blocked[index / 64] |= UINT64_C(1) << index % 64;
	u->ls_any_blocked = true;
	if (loop_mod(u->d.loop, l->fd, ref, 0))
		return;
}

void udp_guest_from_listener(struct udp *u, uint32_t index)
{
	const struct listener *l = udp_listener(u, index);
	int got;

	if (!l)
		return;
	if (!link_reserve(u->d.link, u->tx, 1, ETH_HLEN + IP6_HLEN + UDP_HLEN, body_max(u, &addr_any6))) {
		listener_block(u, l, index);
		return;
	}
	for (unsigned i = 0; i < LISTEN_BATCH; i++) {
		struct iovec area = { udp_area(u, i), UDP_AREA };

		iov_slice(&area, 1, UDP_HLEN, UDP_PAYLOAD_MAX, u->iov[i], 1, NULL);
		msg_prepare(u, i, 1);
		u->m[i].msg_hdr.msg_control = u->ctl[i].b;
		u->m[i].msg_hdr.msg_controllen = sizeof(u->ctl[i].b);
	}
	got = sock_recvmmsg(l->fd, u->m, LISTEN_BATCH, 0);
	for (int i = 0; i < got; i++)
		deliver_listener(u, index, (unsigned)i);
}
