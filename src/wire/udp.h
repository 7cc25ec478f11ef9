/* SPDX-License-Identifier: MIT */
/* UDP (RFC 768). */
#pragma once

#include "base/rd.h"
#include "base/wr.h"

#define UDP_HLEN 8

struct udp_hdr {
	uint16_t sport, dport;
	uint16_t len; /* header and payload */
};

/* -EBADMSG if the header is cut or its length is below 8. A length of 0 (jumbogram) is refused as well. */
MUST_USE int udp_hdr_read(struct rd *r, struct udp_hdr *ret_hdr);

/* csum as it stands on the wire, in host order: never 0 (RFC 768: a sum of 0 is sent as 0xffff). */
void udp_hdr_put(struct wr *w, uint16_t sport, uint16_t dport, size_t payload_len, uint16_t csum);
