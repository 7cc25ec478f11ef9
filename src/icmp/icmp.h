/* SPDX-License-Identifier: MIT */
/*
 * The echo translator: ping sockets (icmp(7), IPPROTO_ICMP datagram sockets), one for each identifier and destination. The identifier
 * that the guest chose is kept towards it. Where net.ipv4.ping_group_range forbids ping sockets, one warning names the sysctl.
 */
#pragma once

#include "flow/flow.h"
#include "fwd/guest.h"
#include "fwd/nat.h"
#include "fwd/out.h"
#include "link/link.h"
#include "os/loop.h"
#include "wire/pkt.h"

struct icmp;

struct icmp_deps {
	struct loop *loop;
	struct link *link;
	struct flow_table *flows;
	struct guest *guest;
	const struct nat *nat;
	const struct outbound *out;
};

size_t icmp_slot_size(void);
struct icmp *icmp_new(const struct icmp_deps *d);
void icmp_free(struct icmp *m);

/* n >= 1 ICMP or ICMPv6 messages, p[i] parsed from f[i]; only echo requests are translated, the rest is dropped. */
void icmp_from_guest(struct icmp *m, const struct pkt *p, const struct frame *f, unsigned n);

void icmp_flow_show(const struct flow *f, struct flow_show *ret_show);
void icmp_flow_abort(struct icmp *m, struct flow *f);
