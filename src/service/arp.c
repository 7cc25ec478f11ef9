/* SPDX-License-Identifier: MIT */
/* ARP: whatever the guest looks for is behind us, but for itself. */
#include "wire/arp.h"

#include "service/reply.h"
#include "wire/eth.h"

static bool arp_wants_reply(const struct guestconf *c, const struct arp *a)
{
	bool from_any = addr_is_any(&a->spa);

	if (a->op != ARP_REQUEST)
		return false;
	/* No station has these: it is how qrap asks whether anyone is there at all. */
	if (from_any && addr_is_any(&a->tpa))
		return mac_is_zero(a->sha);
	if (addr_is_any(&a->tpa) || addr_is_multicast(&a->tpa) || addr_is_broadcast(&a->tpa))
		return false;
	/* The guest's own address, and announcements (RFC 5227 1.1): a reply would be a conflict. */
	if (addr_eq(&a->tpa, &c->addr4) || addr_eq(&a->tpa, &a->spa))
		return false;
	/* A probe (RFC 5227 1.1): the address is free unless it is ours, even where the guest takes another than we would give it. */
	if (from_any)
		return addr_eq(&a->tpa, &c->our4) || addr_eq(&a->tpa, &c->gw4);
	return true;
}

enum service_verdict arp_from_guest(const struct service_req *q, struct wr *reply)
{
	struct rd r = q->msg;
	struct arp a, b = { .op = ARP_REPLY };

	if (!q->c->v4 || arp_read(&r, &a) || !arp_wants_reply(q->c, &a))
		return SERVICE_DROP;
	memcpy(b.sha, q->c->our_mac, MAC_LEN);
	memcpy(b.tha, a.sha, MAC_LEN);
	b.spa = a.tpa;
	b.tpa = a.spa;
	eth_put(reply, q->p->src_mac, q->c->our_mac, ETHERTYPE_ARP);
	arp_put(reply, &b);
	reply_pad(reply);
	return SERVICE_REPLY;
}

void arp_ask(const struct guestconf *c, const struct addr *target, struct wr *frame)
{
	static const uint8_t all[MAC_LEN] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	struct arp a = { .op = ARP_REQUEST, .spa = c->our4, .tpa = *target };

	/* Without an address of ours it would be a probe, and a guest that is about to take the address would think that it is in use. */
	if (!c->v4 || addr_is_any(&c->our4))
		return;
	memcpy(a.sha, c->our_mac, MAC_LEN);
	eth_put(frame, all, c->our_mac, ETHERTYPE_ARP);
	arp_put(frame, &a);
	reply_pad(frame);
}
