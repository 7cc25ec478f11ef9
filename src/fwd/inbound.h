/* SPDX-License-Identifier: MIT */
/* Who is who, in the guest's view, for a connection or datagram that came in by a forwarding rule. */
#pragma once

#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/nat.h"
#include "fwd/rule.h"

struct inbound {
	/* The surroundings */
	const struct guest *guest;
	const struct nat *nat;
	struct flow_table *flows;

	/* What came in */
	const struct fwd_rule *rule; /* whose listener it came to */
	uint8_t proto;
	uint16_t to; /* the port of the guest that the listener leads to */
	const struct ep *peer; /* who sent it, in the host's view */

	/* Is it part of f, a flow that looks the same to the guest? NULL: it never is. */
	bool (*same)(const void *ctx, const struct flow *f);
	const void *ctx;
};

/*
 * The flow that it is part of, or NULL and the key for a new one, which is free. The guest's address is that of the rule, or the
 * one that suits the peer as the guest sees it: a link-local peer talks to the link-local address.
 *
 * Two peers of the host can look the same to the guest (loopback addresses, or one peer on two ports that lead to one of the guest's).
 * The later one is shown with another port, which nobody can foresee; the same one each time as long as there is no third.
 *
 * -EADDRNOTAVAIL: the guest has no address (yet), or the peer can't be shown. -EADDRINUSE: too many look the same.
 */
MUST_USE int inbound_find(const struct inbound *in, struct flow_key *ret_key, struct flow **ret_flow);
