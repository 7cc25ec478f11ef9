/* SPDX-License-Identifier: MIT */
#include "udp/udp_guest.h"

#include <errno.h>

#include "base/csum.h"
#include "base/iov.h"
#include "base/log.h"
#include "os/pktinfo.h"
#include "os/udpseg.h"
#include "udp/udp_err.h"
#include "wire/fragout.h"
#include "wire/ip.h"
#include "wire/udp.h"

#define HEAD_MAX (ETH_HLEN + IP6_HLEN + UDP_HLEN)
#define BODY_MIN 2048 /* frames are reserved for so much payload at least, where packets are that long */
#define JOIN_MIN 4 /* datagrams of one size in a batch, to expect more of them */
#define LISTEN_BATCH 16 /* few: later datagrams of a peer come by its flow, unless they are diverted */

/* Source and destination as the guest sees them, how it came, and by which queue of the link it goes on. */
struct pair {
	struct ep src, dst;
	struct hops hops;
	unsigned queue;
};

static struct pair pair_of(const struct udp_flow *f)
{
	const struct flow_key *k = &f->flow.key;

	return (struct pair){
		.src = { k->remote, k->rport },
		.dst = { k->guest, k->gport },
		.hops = { .ttl = IP_TTL_DEFAULT },
		.queue = f->flow.queue,
	};
}

static struct ip_tx ip_of(const struct pair *a)
{
	return (struct ip_tx){
		.src = a->src.addr,
		.dst = a->dst.addr,
		.proto = PROTO_UDP,
		.ttl = a->hops.ttl,
		.tos = a->hops.tos,
	};
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

/* Payload of one superframe; 0: the link takes none. */
static size_t super_max(const struct udp *u, const struct addr *a)
{
	const struct link *l = u->d.link;

	return l->offloads & LINK_OFF_USO ? MIN(l->max_body - ip_hlen(a) - UDP_HLEN, (size_t)UDPSEG_BYTES) : 0;
}

/* A frame with len bytes received into it: one datagram, or several of size seg. */
static void commit_frame(struct udp *u, const struct pair *a, const struct txframe *t, size_t len, uint16_t seg)
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
	if (seg && len > seg) {
		h.gso_type = GSO_UDP;
		h.gso_size = seg;
	}
	eth_head(u, &w, a);
	ip_put(&w, &ip, UDP_HLEN + len);
	udp_hdr_put(&w, a->src.port, a->dst.port, len, csum);
	h.len = (uint16_t)wr_len(&w);
	link_commit(u->d.link, t, &h, len);
}

/* A datagram behind room for its header, with a full checksum, in as many frames as it takes. What finds no room is lost. */
static void send_datagram(struct udp *u, const struct pair *a, const struct iovec *l4)
{
	struct ip_tx ip = ip_of(a);
	struct wr h = wr_init(l4->iov_base, UDP_HLEN), w;
	size_t len = l4->iov_len - UDP_HLEN, off, n;
	struct fragout f;

	udp_hdr_put(&h, a->src.port, a->dst.port, len, csum_fold(csum_add_iov(l4, 1, UDP_HLEN, len, pair_sum(a, len))));
	if (ip_hlen(&ip.dst) + l4->iov_len <= u->d.link->mtu) {
		w = wr_init(u->frame, sizeof(u->frame));
		eth_head(u, &w, a);
		ip_put(&w, &ip, l4->iov_len);
		wr_bytes(&w, l4->iov_base, l4->iov_len);
		(void)!link_send(u->d.link, a->queue, u->frame, wr_len(&w));
		return;
	}
	if (fragout_init(&f, &ip, u->frag_id++ & INT32_MAX, l4->iov_len, u->d.link->mtu))
		return;
	for (;;) {
		w = wr_init(u->frame, sizeof(u->frame));
		eth_head(u, &w, a);
		if (!fragout_next(&f, &w, &off, &n))
			return;
		iov_copy_out(l4, 1, off, wr_put(&w, n), n);
		if (link_send(u->d.link, a->queue, u->frame, wr_len(&w)))
			return;
	}
}

/* Size of the datagrams that message i consists of; its length, if it is one. */
static size_t msg_seg(const struct udp *u, unsigned i)
{
	uint16_t seg = udpseg_get(&u->m[i].msg_hdr);

	return seg ? MIN((size_t)seg, (size_t)u->m[i].msg_len) : u->m[i].msg_len;
}

/* How message i came, as far as the socket tells. */
static struct hops msg_hops(const struct udp *u, unsigned i)
{
	struct hops hops = { .ttl = IP_TTL_DEFAULT };

	if (u->m[i].msg_hdr.msg_controllen)
		hops_get(&u->m[i].msg_hdr, &hops);
	return hops;
}

/* Message i, out of its slot of the area. The header of a datagram takes the place of what is in front of it, and has been sent. */
static void send_area(struct udp *u, const struct pair *a, unsigned i)
{
	struct iovec area = { udp_area(u, i), UDP_AREA }, datagram;
	size_t len = u->m[i].msg_len, seg = msg_seg(u, i), at = 0;

	do {
		iov_slice(&area, 1, at, UDP_HLEN + MIN(seg, len - at), &datagram, 1, NULL);
		send_datagram(u, a, &datagram);
		at += seg;
	} while (at < len);
}

/* Datagrams of this size can lie behind each other in superframes, as long as the guest takes what it does now. */
static bool may_join(const struct udp *u, const struct udp_flow *f, size_t len)
{
	const struct addr *guest = &f->flow.key.guest;

	return len && len <= body_max(u, guest) && 2 * len <= super_max(u, guest);
}

/* Datagrams of the size f->same that fit in a superframe. */
static unsigned joint_max(const struct udp *u, const struct udp_flow *f)
{
	return (unsigned)MIN(super_max(u, &f->flow.key.guest) / f->same, (size_t)UDPSEG_MAX);
}

/* What the batch of n messages says of those that come next. */
static void learn(struct udp *u, struct udp_flow *f, unsigned n)
{
	size_t same = u->m[0].msg_len, longest = 0;
	bool super = false;

	for (unsigned i = 0; i < n; i++) {
		size_t len = u->m[i].msg_len;

		super = super || udpseg_get(&u->m[i].msg_hdr);
		longest = MAX(longest, len);
		if (len > same || (len < same && i + 1 < n))
			same = 0;
	}
	if (n < JOIN_MIN || super || !may_join(u, f, same))
		same = 0;
	f->longest = (uint16_t)longest;
	f->super = super;
	f->same = (uint16_t)same;
	if (f->gro || !same || n < UDPSEG_BULK)
		return;
	f->gro = 1;
	if (udpseg_receive(f->sock.fd))
		log_debug("UDP: no superframes from the kernel");
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
	a.hops = msg_hops(u, i);
	send_area(u, &a, i);
}

/* True if message i can stay where it is, in the frame that it was received into. */
static bool deliver_frame(struct udp *u, struct udp_flow *f, unsigned i)
{
	size_t len = u->m[i].msg_len, seg = msg_seg(u, i);
	struct pair a = pair_of(f);
	struct ep from;

	if (len > u->tx[i].cap || seg > body_max(u, &f->flow.key.guest) || !msg_source(u, i, &from))
		return false;
	if (seg < len && len > super_max(u, &f->flow.key.guest))
		return false;
	if (!ep_eq(&from, &f->sock.to) && (f->host_first || nat_to_guest(u->d.nat, &a.dst.addr, &from, &a.src)))
		return false;
	a.hops = msg_hops(u, i);
	commit_frame(u, &a, &u->tx[i], len, (uint16_t)seg);
	return true;
}

/* How many of n messages from i on, received one behind the other, can stay there as one frame. */
static unsigned joint_count(const struct udp *u, const struct udp_flow *f, unsigned i, unsigned n)
{
	struct hops first = msg_hops(u, i);

	for (unsigned k = 0; k < n; k++) {
		struct hops hops = msg_hops(u, i + k);
		size_t len = u->m[i + k].msg_len;
		struct ep from;

		if (!hops_eq(&hops, &first) || !len || len > f->same || udpseg_get(&u->m[i + k].msg_hdr) ||
		    !msg_source(u, i + k, &from) || !ep_eq(&from, &f->sock.to))
			return k;
		if (len < f->same)
			return k + 1;
	}
	return n;
}

/* How many messages can stay where they are, from the first on, in frames of several. */
static unsigned joint_total(const struct udp *u, const struct udp_flow *f, unsigned n)
{
	unsigned per = joint_max(u, f), i = 0, k;

	do {
		k = joint_count(u, f, i, MIN(n - i, per));
		i += k;
	} while (k == per && i < n);
	return i;
}

static void commit_joint(struct udp *u, const struct udp_flow *f, unsigned n)
{
	unsigned per = joint_max(u, f), k;
	struct pair a = pair_of(f);

	for (unsigned i = 0; i < n; i += k) {
		k = MIN(n - i, per);
		a.hops = msg_hops(u, i);
		commit_frame(u, &a, &u->tx[i / per], (k - 1) * (size_t)f->same + u->m[i + k - 1].msg_len, f->same);
	}
}

/* How many frames message i becomes when it is cut because of its size. */
static size_t pieces_of(const struct udp *u, const struct udp_flow *f, unsigned i)
{
	size_t len = u->m[i].msg_len, seg = msg_seg(u, i);

	if (seg <= body_max(u, &f->flow.key.guest))
		return 1;
	return fragout_count(&f->flow.key.guest, UDP_HLEN + seg, u->d.link->mtu) * ((len + seg - 1) / seg);
}

/* That many messages from i on are for the guest. */
static void count(struct udp *u, struct udp_flow *f, unsigned i, unsigned n)
{
	for (unsigned end = i + n; i < end; i++) {
		size_t len = u->m[i].msg_len, seg = msg_seg(u, i);

		flow_counted(&f->flow.to_guest, len ? (len + seg - 1) / seg : 1, len);
	}
}

static void deliver(struct udp *u, struct udp_flow *f, unsigned n)
{
	struct source s = source_of(f);
	unsigned first = 0;
	size_t frags = 1;

	if (f->same)
		first = joint_total(u, f, n);
	while (!f->same && first < n && deliver_frame(u, f, first))
		first++;
	/*
	 * From the first that can't, all the rest is copied, as frames are committed in order and another reservation ends this one;
	 * and before a joint frame is committed, as some of the rest may lie behind it.
	 */
	for (unsigned i = first; i < n; i++) {
		struct iovec dst = { udp_area(u, i), UDP_AREA };
		size_t len = u->m[i].msg_len, done = 0;

		/* The last piece of memory is in the area already. */
		for (unsigned k = 0; k + 1 < u->m[i].msg_hdr.msg_iovlen && done < len; k++)
			done += iov_copy_in(&dst, 1, UDP_HLEN + done, u->iov[i][k].iov_base, MIN(u->iov[i][k].iov_len, len - done));
		frags = MAX(frags, pieces_of(u, f, i));
	}
	if (f->same)
		commit_joint(u, f, first);
	f->frags = (uint8_t)MIN(frags, (size_t)LINK_BATCH);
	learn(u, f, n);
	for (unsigned i = first; i < n; i++)
		deliver_area(u, &s, i);
}

/* Message i has n pieces of memory, of len bytes, in a frame; what is longer goes on where a copy of it would have that. */
static void msg_place(struct udp *u, unsigned i, unsigned n, size_t len)
{
	struct iovec area = { udp_area(u, i), UDP_AREA };

	iov_slice(&area, 1, UDP_HLEN + len, UDP_PAYLOAD_MAX - len, &u->iov[i][n], 1, NULL);
	msg_prepare(u, i, n + 1);
	u->m[i].msg_hdr.msg_control = u->ctl[i].b;
	u->m[i].msg_hdr.msg_controllen = sizeof(u->ctl[i].b);
}

/* A frame for each message. */
static unsigned place_single(struct udp *u, const struct udp_flow *f)
{
	const struct addr *guest = &f->flow.key.guest;
	/* Frames of a large MTU would leave most of a queue unused by small datagrams. What turns out longer goes through the area. */
	size_t most = MAX(body_max(u, guest), f->super ? super_max(u, guest) : 0);
	struct txwant w = {
		.n = LINK_BATCH,
		.hdr = ETH_HLEN + ip_hlen(guest) + UDP_HLEN,
		.len = MIN(most, MAX((size_t)f->longest, (size_t)BODY_MIN)),
		.queue = f->flow.queue,
	};
	size_t n = link_reserve(u->d.link, u->tx, &w);

	/* If the last datagrams were cut, leave room for the pieces of these. */
	if (n)
		n = MAX(n / f->frags, (size_t)1);
	for (unsigned i = 0; i < n; i++) {
		const struct txframe *t = &u->tx[i];

		memcpy(u->iov[i], t->body, t->n * sizeof(t->body[0]));
		msg_place(u, i, t->n, t->cap);
	}
	return (unsigned)n;
}

/* Messages that are expected to have one size, so that they lie behind each other in superframes. */
static unsigned place_joint(struct udp *u, const struct udp_flow *f)
{
	unsigned per = joint_max(u, f), n;
	size_t len = f->same;
	struct txwant w = {
		.n = (LINK_BATCH + per - 1) / per,
		.hdr = ETH_HLEN + ip_hlen(&f->flow.key.guest) + UDP_HLEN,
		.len = per * len,
		.queue = f->flow.queue,
	};

	n = MIN((unsigned)link_reserve(u->d.link, u->tx, &w) * per, (unsigned)LINK_BATCH);
	for (unsigned i = 0; i < n; i++) {
		const struct txframe *t = &u->tx[i / per];

		msg_place(u, i, iov_slice(t->body, t->n, i % per * len, len, u->iov[i], LINK_IOV_MAX, NULL), len);
	}
	return n;
}

void udp_guest_from_flow(struct udp *u, struct udp_flow *f)
{
	unsigned n;
	int got;

	/* The guest may have started again since, with a driver that takes less. */
	if (!may_join(u, f, f->same))
		f->same = 0;
	n = f->same ? place_joint(u, f) : place_single(u, f);
	if (!n) {
		udp_flow_block(u, f);
		return;
	}
	got = sock_recvmmsg(f->sock.fd, u->m, n, 0);
	if (sock_lacks_memory(got))
		udp_flow_rest(f);
	else if (got < 0 && got != -EAGAIN)
		udp_err_drain(u, f);
	if (got <= 0)
		return;
	udp_flow_touch(u, f, false);
	count(u, f, 0, (unsigned)got);
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

static bool listener_path(struct udp *u, uint32_t index, unsigned i, struct udp_path *ret_path)
{
	struct udp_path path = { .listener = index, .local = { .port = u->ls->l[index].port } };

	if (!msg_source(u, i, &path.peer))
		return false;
	msg_local(u, i, &path);
	*ret_path = path;
	return true;
}

static bool same_path(const struct udp_path *a, const struct udp_path *b)
{
	return ep_eq(&a->peer, &b->peer) && addr_eq(&a->local.addr, &b->local.addr) && a->scope == b->scope;
}

/* How many messages from i on came the way of the first, p. */
static unsigned run_of(struct udp *u, const struct udp_path *p, unsigned i, unsigned n)
{
	struct udp_path next;
	unsigned k = 1;

	while (i + k < n && listener_path(u, p->listener, i + k, &next) && same_path(&next, p))
		k++;
	return k;
}

/* True: the n messages from i on are not for the guest. */
static bool diverted(struct udp *u, const struct udp_path *p, unsigned i, unsigned n)
{
	struct iovec payload[LINK_BATCH];
	struct udp_arrival a = {
		.listener = p->listener,
		.peer = &p->peer,
		.local = &p->local.addr,
		.scope = p->scope,
		.payload = payload,
		.n = n,
	};

	for (unsigned k = 0; k < n; k++)
		payload[k] = (struct iovec){ udp_area(u, i + k) + UDP_HLEN, u->m[i + k].msg_len };
	return u->divert && u->divert(u->divert_ctx, &a);
}

/* Messages from i on that came the same way; returns how many. */
static unsigned deliver_listener(struct udp *u, uint32_t index, unsigned i, unsigned n)
{
	struct udp_path path;
	struct udp_flow *f;
	struct pair a;

	if (!listener_path(u, index, i, &path))
		return 1;
	n = run_of(u, &path, i, n);
	if (diverted(u, &path, i, n))
		return n;
	f = udp_flow_from_host(u, &path);
	if (!f)
		return n;
	udp_flow_touch(u, f, false);
	count(u, f, i, n);
	a = pair_of(f);
	for (unsigned k = 0; k < n; k++) {
		a.hops = msg_hops(u, i + k);
		send_area(u, &a, i + k);
	}
	return n;
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
	unsigned max = u->divert ? LINK_BATCH : LISTEN_BATCH;
	struct txwant w = { .n = 1, .hdr = ETH_HLEN + IP6_HLEN + UDP_HLEN, .len = body_max(u, &addr_any6) };
	int got;

	if (!l)
		return;
	if (!link_reserve(u->d.link, u->tx, &w)) {
		listener_block(u, l, index);
		return;
	}
	for (unsigned i = 0; i < max; i++) {
		struct iovec area = { udp_area(u, i), UDP_AREA };

		iov_slice(&area, 1, UDP_HLEN, UDP_PAYLOAD_MAX, u->iov[i], 1, NULL);
		msg_prepare(u, i, 1);
		u->m[i].msg_hdr.msg_control = u->ctl[i].b;
		u->m[i].msg_hdr.msg_controllen = sizeof(u->ctl[i].b);
	}
	got = sock_recvmmsg(l->fd, u->m, max, 0);
	if (sock_lacks_memory(got))
		listener_pause(u->ls, index);
	for (unsigned i = 0; (int)i < got;)
		i += deliver_listener(u, index, i, (unsigned)got);
}
