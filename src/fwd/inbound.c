/* SPDX-License-Identifier: MIT */
#include "fwd/inbound.h"

#include <errno.h>

#define TRIES 16 /* keys to look at for a peer that looks like another */
#define ALT_FIRST 49152u /* RFC 6335 6: ports that are nobody's */
#define ALT_BITS 14
#define ALT_PORTS (1u << ALT_BITS)

/* The addresses that the guest will see. */
static int inbound_key(const struct inbound *in, struct flow_key *ret_key)
{
	bool fixed = in->rule->flags & FWD_TARGET;
	const struct addr *guest = fixed ? &in->rule->target : guest_addr_for(in->guest, &in->peer->addr);
	struct ep seen;
	int rc = nat_to_guest(in->nat, guest, in->peer, &seen);

	if (rc)
		return rc;
	if (!fixed)
		guest = guest_addr_for(in->guest, &seen.addr);
	if (addr_is_any(guest) || !seen.port)
		return -EADDRNOTAVAIL;
	*ret_key = flow_key_init(in->proto, guest, in->to, &seen.addr, seen.port);
	return 0;
}

/*
 * The i-th port to show the peer with, where its own is taken: one that others can't foresee (RFC 6056), but for this peer always the same,
 * as we have no memory of a peer whose datagrams come one by one. An odd step leads to another port each time.
 */
static uint16_t alt_port(const struct inbound *in, unsigned i)
{
	struct flow_key who = flow_key_init(in->proto, &in->peer->addr, in->peer->port, &addr_any6, in->to);
	uint32_t hash = flow_hash(in->flows, &who), step = hash >> ALT_BITS | 1;

	return (uint16_t)(ALT_FIRST + (hash + i * step) % ALT_PORTS);
}

int inbound_find(const struct inbound *in, struct flow_key *ret_key, struct flow **ret_flow)
{
	struct flow_key key;
	int rc = inbound_key(in, &key);

	if (rc)
		return rc;
	for (unsigned i = 0; i < TRIES; i++) {
		struct flow *f = flow_find(in->flows, &key);

		if (!f || (in->same && in->same(in->ctx, f))) {
			*ret_key = key;
			*ret_flow = f;
			return 0;
		}
		key.rport = alt_port(in, i);
	}
	return -EADDRINUSE;
}
