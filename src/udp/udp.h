/* SPDX-License-Identifier: MIT */
/*
 * The UDP translator: a flow, with a connected socket, for each pair of endpoints (RFC 768).
 */
#pragma once

#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/listen.h"
#include "fwd/nat.h"
#include "fwd/out.h"
#include "link/link.h"
#include "os/loop.h"
#include "udp/udp_times.h"
#include "wire/pkt.h"

struct udp;

/* What the translator works with; all owned by the caller and alive as long as it. */
struct udp_deps {
	struct loop *loop;
	struct link *link;
	struct flow_table *flows;
	struct guest *guest;
	const struct nat *nat;
	const struct outbound *out;
	struct udp_times times;
};

size_t udp_slot_size(void);
struct udp *udp_new(const struct udp_deps *d);
void udp_free(struct udp *u);

/* n >= 1 datagrams of one flow, in order: p[i] was parsed from f[i]. */
void udp_from_guest(struct udp *u, const struct pkt *p, const struct frame *f, unsigned n);

/*
 * Owner number for listening sockets, to be given with udp_set_listeners() before the first event. That asks them for packet
 * information, and ends flows that had no socket but the listener's; so call it with NULL before listeners are closed, too. For the
 * port of a listener to be bound again while flows of the old one live, bind the new one with SO_REUSEADDR, and clear that after.
 */
unsigned udp_listen_owner(const struct udp *u);
void udp_set_listeners(struct udp *u, struct listeners *ls);

/* A rule for UDP was added to the listeners' table; or it is about to be taken out, which ends its flows, and those on its ports. */
void udp_rule_added(struct udp *u, unsigned rule);
void udp_rule_gone(struct udp *u, unsigned rule);

/*
 * Ends the flows with sockets on this port of the host, whoever began them, so that it is free; how many there were. For listeners that
 * come and go: before one of them closes, and if another finds its port in use. Whoever goes on talking gets another flow.
 */
unsigned udp_port_release(struct udp *u, uint16_t port);

/* Datagrams of a listener that came one behind the other, before they become the guest's. */
struct udp_arrival {
	uint32_t listener; /* index */
	const struct ep *peer; /* who sent them */
	const struct addr *local; /* what they were sent to; any address if that is not known */
	unsigned scope; /* interface of link-local addresses */
	const struct iovec *payload; /* n datagrams, at most LINK_BATCH */
	unsigned n;
};

/* Asked about each of these; true: the datagrams were taken, and are not for the guest. */
typedef bool udp_divert_fn(void *ctx, const struct udp_arrival *a);
void udp_set_divert(struct udp *u, udp_divert_fn *fn, void *ctx);

void udp_link_ready(struct udp *u); /* the link has room again, or a guest again */
void udp_flow_abort(struct udp *u, struct flow *f);
void udp_flow_show(const struct flow *f, struct flow_show *ret_show);
