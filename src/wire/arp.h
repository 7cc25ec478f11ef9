/* SPDX-License-Identifier: MIT */
/* ARP for IPv4 over Ethernet (RFC 826). */
#pragma once

#include "base/addr.h"
#include "base/rd.h"
#include "base/wr.h"

#define ARP_LEN 28

#define ARP_REQUEST 1
#define ARP_REPLY 2

struct arp {
	uint16_t op;
	uint8_t sha[MAC_LEN], tha[MAC_LEN]; /* sender's and target's hardware address */
	struct addr spa, tpa; /* sender's and target's protocol address, always IPv4 */
};

/* Reads one packet; bytes behind it are padding. -EBADMSG if it is cut, or not for IPv4 over Ethernet. */
MUST_USE int arp_read(struct rd *r, struct arp *ret_arp);

/* Writes ARP_LEN bytes. */
void arp_put(struct wr *w, const struct arp *a);
