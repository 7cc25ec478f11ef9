/* SPDX-License-Identifier: MIT */
#include "wire/tcp.h"

#include <errno.h>

#include "wire/be.h"

enum {
	OPT_END = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_SACK_OK = 4,
	OPT_SACK = 5,
	OPT_TS = 8,
};

#define OPT_MSS_LEN 4
#define OPT_WSCALE_LEN 3
#define OPT_SACK_OK_LEN 2
#define OPT_TS_LEN 10
#define OPT_SACK_LEN(n) (2 + 8 * (n))
#define WSCALE_MAX 14

/* An option of a known kind with a wrong length tells nothing: it is skipped like one of an unknown kind. */
static void opt_take(struct tcp_hdr *h, uint8_t kind, struct rd *body)
{
	struct rd r = *body;

	switch (kind) {
	case OPT_MSS:
		if (r.len == OPT_MSS_LEN - 2)
			h->mss = rd_be16(&r);
		break;
	case OPT_WSCALE:
		if (r.len == OPT_WSCALE_LEN - 2) {
			h->wscale = rd_u8(&r);
			if (h->wscale > WSCALE_MAX)
				h->wscale = WSCALE_MAX;
			h->has_wscale = true;
		}
		break;
	case OPT_SACK_OK:
		if (r.len == OPT_SACK_OK_LEN - 2)
			h->sack_ok = true;
		break;
	case OPT_SACK:
		if (r.len % 8 || r.len > TCP_SACK_MAX * 8)
			break;
		for (h->n_sack = 0; rd_left(&r); h->n_sack++) {
			h->sack[h->n_sack].from = rd_be32(&r);
			h->sack[h->n_sack].to = rd_be32(&r);
		}
		break;
	case OPT_TS:
		if (r.len == OPT_TS_LEN - 2) {
			h->has_ts = true;
			h->ts_val = rd_be32(&r);
			h->ts_ecr = rd_be32(&r);
		}
		break;
	}
}

#define OPTS_TS_ONLY 0x0101080au /* two bytes of padding, then a timestamp: on every segment, once negotiated */

/* Where a length is impossible nothing behind it can be found, so the rest of the options is left unread. */
static void opts_read(struct rd *r, struct tcp_hdr *h)
{
	if (r->len == 12 && be32_get(r->p) == OPTS_TS_ONLY) {
		h->has_ts = true;
		h->ts_val = be32_get(r->p + 4);
		h->ts_ecr = be32_get(r->p + 8);
		return;
	}
	while (rd_left(r)) {
		uint8_t kind = rd_u8(r);
		struct rd body;
		uint8_t len;

		if (kind == OPT_END)
			return;
		if (kind == OPT_NOP)
			continue;
		len = rd_u8(r);
		if (!rd_ok(r) || len < 2 || rd_left(r) < len - 2u)
			return;
		body = rd_sub(r, len - 2u);
		opt_take(h, kind, &body);
	}
}

int tcp_hdr_read(struct rd *r, struct tcp_hdr *ret_hdr)
{
	const uint8_t *b = rd_bytes(r, TCP_HLEN);
	struct tcp_hdr h;
	struct rd opts;

	if (!b)
		return -EBADMSG;
	h = (struct tcp_hdr){
		.sport = be16_get(&b[0]),
		.dport = be16_get(&b[2]),
		.seq = be32_get(&b[4]),
		.ack = be32_get(&b[8]),
		.hlen = (uint8_t)(b[12] >> 4 << 2),
		.flags = b[13],
		.window = be16_get(&b[14]),
		.urgent = be16_get(&b[18]),
	};
	if (h.hlen < TCP_HLEN)
		return -EBADMSG;
	opts = rd_sub(r, h.hlen - (size_t)TCP_HLEN);
	if (!rd_ok(r))
		return -EBADMSG;
	opts_read(&opts, &h);
	*ret_hdr = h;
	return 0;
}

/* "SACK permitted" takes the place of the padding in front of a timestamp, so both together cost no more than the timestamp. */
size_t tcp_hdr_len(const struct tcp_hdr *h)
{
	size_t len = TCP_HLEN;

	if (h->mss)
		len += 4;
	if (h->has_ts)
		len += 12;
	else if (h->sack_ok)
		len += 4;
	if (h->has_wscale)
		len += 4;
	if (h->n_sack)
		len += 4 + 8u * h->n_sack;
	return len;
}

/* The options of tcp_hdr_len(), each group padded to four bytes in front. */
static void opts_put(uint8_t *b, const struct tcp_hdr *h)
{
	size_t at = TCP_HLEN;

	if (h->mss) {
		b[at] = OPT_MSS;
		b[at + 1] = OPT_MSS_LEN;
		be16_set(&b[at + 2], h->mss);
		at += 4;
	}
	if (h->has_ts || h->sack_ok) {
		uint8_t *g = &b[at];

		g[0] = h->sack_ok && h->has_ts ? OPT_SACK_OK : OPT_NOP;
		g[1] = h->sack_ok && h->has_ts ? OPT_SACK_OK_LEN : OPT_NOP;
		g[2] = h->has_ts ? OPT_TS : OPT_SACK_OK;
		g[3] = h->has_ts ? OPT_TS_LEN : OPT_SACK_OK_LEN;
		at += 4;
	}
	if (h->has_ts) {
		be32_set(&b[at], h->ts_val);
		be32_set(&b[at + 4], h->ts_ecr);
		at += 8;
	}
	if (h->has_wscale) {
		b[at] = OPT_NOP;
		b[at + 1] = OPT_WSCALE;
		b[at + 2] = OPT_WSCALE_LEN;
		b[at + 3] = h->wscale;
		at += 4;
	}
	if (h->n_sack) {
		b[at] = OPT_NOP;
		b[at + 1] = OPT_NOP;
		b[at + 2] = OPT_SACK;
		b[at + 3] = (uint8_t)OPT_SACK_LEN(h->n_sack);
		at += 4;
	}
	for (unsigned i = 0; i < h->n_sack; i++, at += 8) {
		be32_set(&b[at], h->sack[i].from);
		be32_set(&b[at + 4], h->sack[i].to);
	}
}

void tcp_hdr_put(struct wr *w, const struct tcp_hdr *h)
{
	size_t len = tcp_hdr_len(h);
	uint8_t *b = wr_put(w, len);

	if (!b)
		return;
	be16_set(&b[0], h->sport);
	be16_set(&b[2], h->dport);
	be32_set(&b[4], h->seq);
	be32_set(&b[8], h->ack);
	b[12] = (uint8_t)(len << 2);
	b[13] = h->flags;
	be16_set(&b[14], h->window);
	be16_set(&b[16], 0);
	be16_set(&b[18], h->urgent);
	if (len > TCP_HLEN)
		opts_put(b, h);
}
