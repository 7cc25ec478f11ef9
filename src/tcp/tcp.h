/* SPDX-License-Identifier: MIT */
/*
 * The TCP translator: a connection of the guest on one side, a socket of the host on the other. ARCHITECTURE.md has the picture.
 */
#pragma once

#include "base/hash.h"
#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/listen.h"
#include "fwd/nat.h"
#include "fwd/out.h"
#include "link/link.h"
#include "os/loop.h"
#include "wire/icmp.h"
#include "wire/pkt.h"

struct tcp;

/* Sent again to the guest, and by time-out; bytes that waited in spill buffers, and how often one was full; segments ahead of a hole. */
struct tcp_stats {
	uint64_t rexmit, rto, spilled, spill_full, ooo, idle_events;
	uint64_t challenges, challenges_held; /* challenge ACKs (RFC 5961), sent, and not sent as there were too many */
};

/* What the translator works with; all owned by the caller and alive as long as it. */
struct tcp_deps {
	struct loop *loop;
	struct link *link;
	struct flow_table *flows;
	struct guest *guest;
	const struct nat *nat;
	const struct outbound *out;
	struct hash_key key; /* for initial sequence numbers (RFC 6528) */
	uint32_t stock; /* sockets of each family that are made before they are needed */
	uint32_t
		spill_bytes; /* for what slow sockets do not take, and what comes ahead of a hole, of all connections; 0: CHUNKS_MAX chunks */
};

/* Bytes that a TCP flow takes in the flow table. */
size_t tcp_slot_size(void);

/* Registers its event owners with the loop. NULL if there is no memory. */
struct tcp *tcp_new(const struct tcp_deps *d);
void tcp_free(struct tcp *t);

/* n >= 1 segments of one flow, in order: same family, addresses and ports; whole packets, not fragments. */
void tcp_from_guest(struct tcp *t, const struct pkt *p, const struct frame *f, unsigned n);

/*
 * A segment that we sent did not fit on the way behind the guest (RFC 1191, RFC 8201): shorter ones are sent from now on, and again what is
 * in flight. Nothing if no such segment is in flight.
 */
void tcp_too_big(struct tcp *t, const struct icmp_too_big *b);

/* Owner number for listening sockets; give the listeners with tcp_set_listeners() before the first event. */
unsigned tcp_listen_owner(const struct tcp *t);
void tcp_set_listeners(struct tcp *t, struct listeners *ls);

/* A connection that was accepted elsewhere, from a listener of those given: takes fd in any case. */
void tcp_accepted(struct tcp *t, const struct listener *ls, int fd, const struct ep *peer);

void tcp_link_ready(struct tcp *t); /* the link has room again */
void tcp_turn_end(struct tcp *t); /* sends acknowledgements that became due in this turn; before link_flush() */

void tcp_flow_show(const struct flow *f, struct flow_show *ret_show);
const struct tcp_stats *tcp_stats(const struct tcp *t);
uint64_t tcp_spill_used(const struct tcp *t); /* bytes */

/* Takes a TCP flow out of the table at the end of the program, or when the guest is gone for good: both
 * sides are reset, unless the guest has ended its half and only waits for the host. */
void tcp_flow_abort(struct tcp *t, struct flow *f);
