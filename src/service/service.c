/* SPDX-License-Identifier: MIT */
#include "service/service.h"

#include "service/reply.h"
#include "wire/dhcp.h"
#include "wire/dhcp6.h"
#include "wire/eth.h"
#include "wire/nd.h"

static bool is_nd(uint8_t icmp6_type)
{
	return icmp6_type >= ND_RS && icmp6_type <= ND_REDIRECT;
}

/* DHCPv6 is for all servers on the link, or for us; what is for another host is an ordinary datagram. */
static bool is_dhcp6(const struct guestconf *c, const struct pkt *p)
{
	return p->dport == DHCP6_PORT_SERVER &&
	       (addr_is_multicast(&p->dst) || addr_eq(&p->dst, &c->our_ll6) || addr_eq(&p->dst, &c->gw6));
}

static enum service_verdict ip4_input(const struct service_req *q, struct wr *reply)
{
	if (q->p->proto != PROTO_UDP || q->p->dport != DHCP_PORT_SERVER)
		return SERVICE_NOT_MINE;
	if (!q->c->v4)
		return SERVICE_DROP;
	return q->c->dhcp ? dhcp_from_guest(q, reply) : SERVICE_NOT_MINE;
}

static enum service_verdict ip6_input(const struct service_req *q, struct wr *reply)
{
	struct rd peek = q->msg;

	if (q->p->proto == PROTO_ICMP6)
		return is_nd(rd_u8(&peek)) ? ndp_from_guest(q, reply) : SERVICE_NOT_MINE;
	if (q->p->proto != PROTO_UDP || !is_dhcp6(q->c, q->p))
		return SERVICE_NOT_MINE;
	if (!q->c->v6)
		return SERVICE_DROP;
	return q->c->dhcp6 ? dhcp6_from_guest(q, reply) : SERVICE_NOT_MINE;
}

void service_ask(const struct guestconf *c, const struct addr *target, struct wr *frame)
{
	if (addr_is_any(target))
		return;
	if (addr_is4(target))
		arp_ask(c, target, frame);
	else
		ndp_ask(c, target, frame);
}

enum service_verdict service_input(const struct guestconf *c, const struct pkt *p, const uint8_t *frame, size_t frame_len,
				   struct wr *reply)
{
	struct service_req q = { .c = c, .p = p };
	struct rd r = rd_init(frame, MIN(frame_len, (size_t)SERVICE_FRAME_MAX));
	enum service_verdict v = SERVICE_NOT_MINE;

	if (p->ethertype == ETHERTYPE_ARP) {
		rd_skip(&r, ETH_HLEN);
		q.msg = r;
		v = arp_from_guest(&q, reply);
	} else if (p->family && !p->frag) {
		rd_skip(&r, p->l4);
		q.msg = rd_sub(&r, MIN(rd_left(&r), (size_t)p->l4_len));
		v = p->family == 4 ? ip4_input(&q, reply) : ip6_input(&q, reply);
	}
	/* A message that outgrew the frame is not sent in part. */
	return v == SERVICE_REPLY && !wr_ok(reply) ? SERVICE_DROP : v;
}
