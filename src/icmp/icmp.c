/* SPDX-License-Identifier: MIT */
#include "icmp/icmp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/csum.h"
#include "base/iov.h"
#include "base/log.h"
#include "icmp/icmp_err.h"
#include "icmp/icmp_flow.h"
#include "os/hops.h"
#include "wire/fragout.h"
#include "wire/icmp.h"

#define TABLE_SHARE 8 /* echo takes this part of the flow table, at most */

/* An echo reply: its bytes with the header, but for type, identifier and checksum; and how it came. */
struct reply {
	struct addr src;
	struct iovec msg;
	struct hops hops;
	unsigned queue; /* of the link */
};

/* Sends a reply to the guest of k, in fragments if it is too long. */
static void reply_send(struct icmp *m, const struct flow_key *k, const struct reply *r)
{
	bool v4 = addr_is4(&k->guest);
	struct ip_tx ip = { .src = r->src, .dst = k->guest, .proto = k->proto, .ttl = r->hops.ttl, .tos = r->hops.tos };
	struct iovec msg = r->msg;
	struct wr w = wr_init(msg.iov_base, 4), id = wr_init(msg.iov_base, ICMP_HLEN);
	size_t off = 0, n = msg.iov_len, mtu = m->d.link->mtu;
	bool whole = ip_hlen(&k->guest) + n <= mtu;
	struct fragout f;

	wr_u8(&w, v4 ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY);
	wr_zero(&w, 3);
	(void)wr_put(&id, 4);
	wr_be16(&id, k->gport);
	wr_patch_be16(&w, 2, csum_fold(csum_add(msg.iov_base, n, v4 ? 0 : csum_pseudo(&r->src, &k->guest, k->proto, n))));

	/* The upper half of the identifications, as the lower one is that of UDP. */
	if (!whole && fragout_init(&f, &ip, m->frag_id++ | UINT32_C(1) << 31, n, mtu))
		return;
	do {
		w = wr_init(m->frame, sizeof(m->frame));
		eth_put(&w, m->d.guest->mac, m->d.guest->our_mac, v4 ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
		if (whole)
			ip_put(&w, &ip, n);
		else if (!fragout_next(&f, &w, &off, &n))
			return;
		iov_copy_out(&msg, 1, off, wr_put(&w, n), n);
	} while (!link_send(m->d.link, r->queue, m->frame, wr_len(&w)) && !whole);
}

/* A reply in slot i. The kernel gives us echo replies only, and only ours. */
static void on_reply(struct icmp *m, struct icmp_flow *f, const struct mmsghdr *mm, unsigned i)
{
	struct sockaddr_storage *ss = mm->msg_hdr.msg_name;
	struct iovec msg = { m->msg[i], mm->msg_len };
	struct rd r = rd_init(msg.iov_base, msg.iov_len);
	struct reply reply = { .src = f->flow.key.remote, .msg = msg, .hops = { .ttl = IP_TTL_DEFAULT }, .queue = f->flow.queue };
	struct icmp_echo echo;
	struct ep from, seen;

	if (icmp_echo_read(&r, &echo) || echo.type != (addr_is4(&reply.src) ? ICMP4_ECHO_REPLY : ICMP6_ECHO_REPLY))
		return;
	/* Who answers a multicast does so with its own address. */
	if (!mm->msg_hdr.msg_namelen || sock_to_ep(ss, &from))
		return;
	if (!addr_eq(&from.addr, &f->sock.to.addr)) {
		if (nat_to_guest(m->d.nat, &f->flow.key.guest, &from, &seen))
			return;
		reply.src = seen.addr;
	}
	hops_get(&mm->msg_hdr, &reply.hops);
	reply_send(m, &f->flow.key, &reply);
}

static void from_host(struct icmp *m, struct icmp_flow *f)
{
	struct sockaddr_storage name[ICMP_BATCH];
	struct iovec iov[ICMP_BATCH];
	struct mmsghdr mm[ICMP_BATCH];
	union {
		uint8_t b[HOPS_CTL];
		struct cmsghdr align;
	} ctl[ICMP_BATCH];
	int got;

	for (unsigned i = 0; i < ICMP_BATCH; i++) {
		iov[i] = (struct iovec){ m->msg[i], sizeof(m->msg[i]) };
		mm[i] = (struct mmsghdr){ .msg_hdr = {
						  .msg_name = &name[i],
						  .msg_namelen = sizeof(name[i]),
						  .msg_iov = &iov[i],
						  .msg_iovlen = 1,
						  .msg_control = &ctl[i],
						  .msg_controllen = sizeof(ctl[i]),
					  } };
	}
	got = sock_recvmmsg(f->sock.fd, mm, ICMP_BATCH, 0);
	if (sock_lacks_memory(got))
		sockwatch_rest(&f->watch, EPOLLIN);
	else if (got < 0 && got != -EAGAIN)
		icmp_err_drain(m, f);
	if (got <= 0)
		return;
	if (!peer_is_anyone(&f->sock))
		icmp_flow_touch(m, f);
	for (unsigned i = 0; i < (unsigned)got; i++)
		flow_counted(&f->flow.to_guest, 1, mm[i].msg_len);
	for (unsigned i = 0; i < (unsigned)got; i++)
		on_reply(m, f, &mm[i], i);
}

static void on_flow(void *ctx, struct ref ref, uint32_t events)
{
	struct icmp *m = ctx;
	struct flow *f = flow_get(m->d.flows, ref.index, ref.gen);

	if (!f || (f->key.proto != PROTO_ICMP && f->key.proto != PROTO_ICMP6))
		return;
	if (events & EPOLLERR)
		icmp_err_drain(m, (struct icmp_flow *)f);
	if (events & EPOLLIN)
		from_host(m, (struct icmp_flow *)f);
}

size_t icmp_slot_size(void)
{
	return (sizeof(struct icmp_flow) + 7) & ~(size_t)7;
}

struct icmp *icmp_new(const struct icmp_deps *d)
{
	struct icmp *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->d = *d;
	m->hosterr = (struct hosterr){ .link = d->link, .guest = d->guest, .nat = d->nat };
	m->max = MAX(flow_max(d->flows) / TABLE_SHARE, 1u);
	list_init(&m->idle);
	timer_init(&m->sweep, icmp_flow_sweep);
	m->owner = loop_owner(d->loop, on_flow, m);
	return m;
}

void icmp_free(struct icmp *m)
{
	if (!m)
		return;
	while (!list_empty(&m->idle))
		icmp_flow_close(m, container_of(m->idle.next, struct icmp_flow, idle));
	timer_cancel(&m->d.loop->timers, &m->sweep);
	free(m);
}

void icmp_flow_abort(struct icmp *m, struct flow *f)
{
	icmp_flow_close(m, (struct icmp_flow *)f);
}

/* The request could not be sent: true to try once more. */
static bool send_failed(struct icmp *m, struct icmp_flow *f, const struct pkt *p, int err)
{
	uint32_t mtu;

	if (err == EAGAIN || err == ENOBUFS || err == EFAULT)
		return false;
	/* An error that was pending is that of an earlier request, and has been told by now. */
	if (icmp_err_drain(m, f))
		return true;
	peer_failed(&f->sock, err);
	if (err != EMSGSIZE) {
		hosterr_refuse(&m->hosterr, p, err);
		return false;
	}
	mtu = peer_path_mtu(&f->sock);
	if (mtu)
		hosterr_too_big(&m->hosterr, p, mtu);
	return false;
}

static void request_send(struct icmp *m, struct icmp_flow *f, const struct pkt *p, const struct frame *frame)
{
	struct iovec iov[LINK_IOV_MAX + 1];
	struct mmsghdr mm = { .msg_hdr = { .msg_iov = iov } };
	struct sockaddr_storage name;
	size_t got;
	int rc;

	mm.msg_hdr.msg_iovlen = iov_slice(frame->iov, frame->n, p->l4, p->l4_len, iov, ARRAY_SIZE(iov), &got);
	if (got != p->l4_len)
		return;
	if (!f->sock.connected) {
		mm.msg_hdr.msg_name = &name;
		mm.msg_hdr.msg_namelen = sock_from_ep(addr_family(&f->sock.to.addr), &f->sock.to, m->d.out->scope6, &name);
	}
	peer_opts_set(&f->sock, p);
	rc = sock_sendmmsg(f->sock.fd, &mm, 1, 0);
	if (rc < 0 && send_failed(m, f, p, -rc))
		rc = sock_sendmmsg(f->sock.fd, &mm, 1, 0);
	if (rc > 0)
		flow_counted(&f->flow.to_host, 1, p->l4_len);
	/* The guest's next request finds another way, if there is one. */
	if (f->sock.stale)
		icmp_flow_close(m, f);
}

/* We are the destination ourselves. */
static void answer(struct icmp *m, const struct pkt *p, const struct frame *frame, uint16_t id)
{
	struct flow_key k = flow_key_init(p->proto, &p->src, id, &p->dst, 0);
	struct reply r = {
		.src = p->dst,
		.msg = { m->msg[0], p->l4_len },
		.hops = { .ttl = IP_TTL_DEFAULT, .tos = p->tos },
		.queue = m->d.link->rx_queue,
	};

	if (p->l4_len <= sizeof(m->msg[0]) && iov_copy_out(frame->iov, frame->n, p->l4, m->msg[0], p->l4_len) == p->l4_len)
		reply_send(m, &k, &r);
}

static void request(struct icmp *m, const struct pkt *p, const struct frame *frame)
{
	uint8_t want = p->proto == PROTO_ICMP ? ICMP4_ECHO : ICMP6_ECHO;
	struct ep dst = { .addr = p->dst };
	struct rd r = pkt_l4(p);
	struct icmp_echo echo;
	struct icmp_flow *f;

	if ((p->proto == PROTO_ICMP) != addr_is4(&p->dst) || icmp_echo_read(&r, &echo))
		return;
	if (echo.type != want || echo.code || !p->ttl)
		return;
	if (icmp_is_ours(m, &p->dst) && nat_to_host(m->d.nat, p->proto, &dst, &dst)) {
		answer(m, p, frame, echo.id);
		return;
	}
	f = icmp_flow_from_guest(m, p, echo.id);
	if (!f)
		return;
	f->seq = echo.seq;
	f->flow.queue = m->d.link->rx_queue & FLOW_QUEUE_MASK;
	icmp_flow_touch(m, f);
	request_send(m, f, p, frame);
}

void icmp_from_guest(struct icmp *m, const struct pkt *p, const struct frame *f, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		request(m, &p[i], &f[i]);
}

void icmp_flow_show(const struct flow *f, struct flow_show *ret_show)
{
	const struct icmp_flow *k = (const struct icmp_flow *)f;

	*ret_show = (struct flow_show){ .fd = k->sock.fd, .peer = k->sock.to };
	ret_show->state = f->to_guest.packets ? "answered" : "one-way";
}
