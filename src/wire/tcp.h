/* SPDX-License-Identifier: MIT */
/* TCP header and options (RFC 9293 3.1, RFC 7323, RFC 2018). */
#pragma once

#include "base/rd.h"
#include "base/wr.h"

#define TCP_HLEN 20
#define TCP_HLEN_MAX 60

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_URG 0x20
#define TCP_ECE 0x40
#define TCP_CWR 0x80

#define TCP_SACK_MAX 4 /* blocks of one header; beside a timestamp 3 */

struct tcp_sack {
	uint32_t from, to; /* the first byte and the one behind the last */
};

struct tcp_hdr {
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags;
	uint16_t window; /* unscaled, as on the wire */
	uint16_t urgent;
	uint8_t hlen; /* header length with options, 20..60; set when read */

	/* options; on writing a field that is unset is left out */
	uint16_t mss; /* 0: none */
	bool has_wscale;
	uint8_t wscale; /* 0..14 (larger values are read as 14, RFC 7323 2.3) */
	bool sack_ok;
	bool has_ts;
	uint32_t ts_val, ts_ecr;
	uint8_t n_sack;
	struct tcp_sack sack[TCP_SACK_MAX];
};

/* Reads header and options from r, which must hold them whole. Unknown and malformed options are skipped (RFC 9293 3.1: MUST-6).
 * -EBADMSG if the data offset is below 5 or reaches past the reader. */
MUST_USE int tcp_hdr_read(struct rd *r, struct tcp_hdr *ret_hdr);

/* Bytes that tcp_hdr_put() will write, a multiple of four. At most TCP_HLEN_MAX: the caller does not ask for more. */
size_t tcp_hdr_len(const struct tcp_hdr *h);

/* Writes header and options with a zero checksum; the checksum field is 16 bytes into it. */
void tcp_hdr_put(struct wr *w, const struct tcp_hdr *h);

/* Sequence numbers (RFC 9293 3.4) compare modulo 2^32. */
static inline bool seq_lt(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool seq_le(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) <= 0;
}

static inline bool seq_gt(uint32_t a, uint32_t b)
{
	return seq_lt(b, a);
}

static inline bool seq_ge(uint32_t a, uint32_t b)
{
	return seq_le(b, a);
}
