/* SPDX-License-Identifier: MIT */
#include "core/dispatch.h"

#include "base/iov.h"
#include "base/log.h"
#include "wire/arp.h"
#include "wire/dhcp.h"
#include "wire/dhcp6.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/nd.h"
#include "xlate/hosterr.h"

/* Headers are read once, into private memory: a guest that shares its memory with us could change them after a check. */
static int head_parse(struct pkt *p, const struct frame *f)
{
	p->head_len = (uint16_t)iov_copy_out(f->iov, f->n, 0, p->head, sizeof(p->head));
	return pkt_parse(p, f->len);
}

/*
 * As a network card would: not what is for somebody else, of which a bridge lets us hear, nor what can't be from anybody but us. Nobody has
 * the address of zeroes: qrap asks by it whether somebody is there.
 */
static bool is_for_us(const struct engine *e, const struct pkt *p)
{
	if (!guest_may_have(&e->guest, p->src_mac))
		return false;
	return p->dst_mac[0] & 1 || mac_is_zero(p->dst_mac) || !memcmp(p->dst_mac, e->guest.our_mac, MAC_LEN);
}

/* Where the namespace's interface is not a device of ours, somebody else has to know as well. */
static void learn(struct engine *e, const struct pkt *p, const struct addr *src)
{
	guest_learn(&e->guest, p->src_mac, src);
	if (e->pasta)
		nslink_mac(&e->pasta->nslink, e->guest.mac);
}

static bool same_flow(const struct pkt *a, const struct pkt *b)
{
	return a->proto == b->proto && a->sport == b->sport && a->dport == b->dport && addr_eq(&a->src, &b->src) &&
	       addr_eq(&a->dst, &b->dst);
}

/* A router behind the guest, or the guest, tells of a packet of ours that does not fit on the way. */
static bool too_big(struct engine *e, const struct pkt *p)
{
	struct rd r = pkt_l4(p);
	struct icmp_too_big b;

	if (icmp_too_big_read(&r, p->family == 4, &b))
		return false;
	if (e->tcp && b.proto == PROTO_TCP)
		tcp_too_big(e->tcp, &b);
	return true;
}

static void deliver_icmp(struct engine *e, const struct pkt *p, const struct frame *f, unsigned n)
{
	if ((p->proto == PROTO_ICMP) != (p->family == 4))
		return;
	for (unsigned i = 0; i < n; i++) {
		if (!too_big(e, &p[i]) && e->icmp)
			icmp_from_guest(e->icmp, &p[i], &f[i], 1);
	}
}

/* n packets of one flow to its translator. */
static void deliver(struct engine *e, const struct pkt *p, const struct frame *f, unsigned n)
{
	if (!guest_may_send(&e->guest, &p->src, &p->dst)) {
		char src[ADDR_STRLEN];

		log_limited(LOG_LVL_DEBUG, "From guest: dropped, as %s is no source of its", addr_fmt(&p->src, src));
		return;
	}
	learn(e, p, &p->src);
	switch (p->proto) {
	case PROTO_TCP:
		if (e->tcp && addr_is_unicast(&p->dst))
			tcp_from_guest(e->tcp, p, f, n);
		break;
	case PROTO_UDP:
		if (e->udp)
			udp_from_guest(e->udp, p, f, n);
		break;
	case PROTO_ICMP:
	case PROTO_ICMP6:
		deliver_icmp(e, p, f, n);
		break;
	default:
		break;
	}
}

/* Might a service want it? The bulk of the traffic is told apart here, without a copy. */
static bool for_service(const struct pkt *p)
{
	if (p->family == 4)
		return p->proto == PROTO_UDP && p->dport == DHCP_PORT_SERVER;
	if (p->family == 6)
		return p->proto == PROTO_ICMP6 || (p->proto == PROTO_UDP && p->dport == DHCP6_PORT_SERVER);
	return true;
}

/* The sender of an ARP packet, if it speaks for itself. */
static void learn_arp(struct engine *e, const struct pkt *p, size_t len)
{
	struct rd r = rd_init(e->request, len);
	struct arp a;

	rd_skip(&r, ETH_HLEN);
	if (!arp_read(&r, &a) && !memcmp(a.sha, p->src_mac, MAC_LEN))
		learn(e, p, &a.spa);
}

static enum service_verdict serve(struct engine *e, const struct pkt *p, const struct frame *f)
{
	size_t len = iov_copy_out(f->iov, f->n, 0, e->request, sizeof(e->request));
	struct wr reply = wr_init(e->reply, sizeof(e->reply));
	enum service_verdict v;

	if (p->family)
		learn(e, p, &p->src);
	else if (p->ethertype == ETHERTYPE_ARP)
		learn_arp(e, p, len);
	v = service_input(&e->told, p, e->request, len, &reply);
	if (v == SERVICE_REPLY && link_send(e->link, e->link->rx_queue, e->reply, wr_len(&reply)))
		log_limited(LOG_LVL_DEBUG, "A reply to the guest was dropped: its queue is full");
	return v;
}

static void deliver_or_serve(struct engine *e, const struct pkt *p, const struct frame *f)
{
	if (for_service(p) && serve(e, p, f) != SERVICE_NOT_MINE)
		return;
	if (p->family)
		deliver(e, p, f, 1);
}

/* Neighbour discovery is never fragmented (RFC 6980 5): who sends it so wants to slip past a filter. */
static bool is_discovery(const struct pkt *p)
{
	struct rd r = pkt_l4(p);
	uint8_t type = rd_u8(&r);

	return p->proto == PROTO_ICMP6 && type >= ND_RS && type <= ND_REDIRECT;
}

static void frag_timer_set(struct engine *e)
{
	uint64_t due = frags_due(e->frags);

	if (due != UINT64_MAX)
		timer_set(&e->loop.timers, &e->frag_timer, due);
}

void dispatch_frags_late(struct engine *e)
{
	struct hosterr h = { .link = e->link, .guest = &e->guest, .nat = &e->nat };
	struct frag_late late;

	while (frags_expire(e->frags, e->loop.now_ns, &late)) {
		struct hosterr_quote q = { .src = late.src, .dst = late.dst, .bytes = late.packet, .len = late.len };

		hosterr_late(&h, &q);
	}
	frag_timer_set(e);
}

static void reassemble(struct engine *e, const struct pkt *p, const struct frame *f)
{
	const uint8_t *bytes = NULL;
	struct iovec iov;
	struct frame whole = { .iov = &iov, .n = 1 };
	int rc = frags_add(e->frags, p, f->iov, f->n, e->loop.now_ns, &bytes, &whole.len);

	if (!timer_armed(&e->frag_timer))
		frag_timer_set(e);
	if (rc != 1)
		return;
	iov = (struct iovec){ .iov_base = (void *)bytes, .iov_len = whole.len };
	if (head_parse(&e->whole, &whole) || e->whole.frag || is_discovery(&e->whole))
		return;
	e->whole.may_frag = true;
	deliver_or_serve(e, &e->whole, &whole);
}

/* One line for --trace. Fragments and what has no ports show 0 for them. */
static void trace_frame(const struct pkt *p, size_t len, bool ok)
{
	struct ep src = { .addr = p->src, .port = p->sport }, dst = { .addr = p->dst, .port = p->dport };
	char src_buf[EP_STRLEN], dst_buf[EP_STRLEN], mac[MAC_STRLEN];

	if (!ok)
		log_trace("From guest: malformed frame, %zu bytes", len);
	else if (!p->family)
		log_trace("From guest: ethertype 0x%04x of %s, %zu bytes", p->ethertype, mac_fmt(p->src_mac, mac), len);
	else
		log_trace("From guest: IPv%u protocol %u%s, %s to %s, %zu bytes", p->family, p->proto, p->frag ? " fragment" : "",
			  ep_fmt(&src, src_buf), ep_fmt(&dst, dst_buf), len);
}

void dispatch_from_guest(struct engine *e, const struct frame *f, unsigned n)
{
	unsigned first = 0; /* of the run of frames of one flow that ends before i; none if it is i */

	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = &e->pkt[i];
		bool ok, joins;

		if (e->pcap)
			pcap_frame(e->pcap, f[i].iov, f[i].n);
		ok = !head_parse(p, &f[i]);
		if (unlikely(log_get_level() >= LOG_LVL_TRACE))
			trace_frame(p, f[i].len, ok);
		ok = ok && is_for_us(e, p);
		joins = ok && p->family && !p->frag && !for_service(p);
		if (first < i && !(joins && same_flow(&e->pkt[first], p))) {
			deliver(e, &e->pkt[first], &f[first], i - first);
			first = i;
		}
		if (joins)
			continue;
		first = i + 1;
		if (ok && p->frag)
			reassemble(e, p, &f[i]);
		else if (ok)
			deliver_or_serve(e, p, &f[i]);
	}
	if (first < n)
		deliver(e, &e->pkt[first], &f[first], n - first);
}
