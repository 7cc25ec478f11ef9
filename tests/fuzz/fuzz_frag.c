/* SPDX-License-Identifier: MIT */
/* Frames one after another, each behind its length in two bytes, big-endian; those that are fragments are put together. */
#include <stdlib.h>

#include "wire/eth.h"
#include "wire/frag.h"
#include "wire/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void require(bool ok)
{
	if (!ok)
		abort();
}

/* What comes out is as a guest could have sent it in one piece. */
static void check_whole(const struct pkt *f, const uint8_t *frame, size_t len)
{
	struct pkt p;

	require(len > ETH_HLEN + IP4_HLEN && len <= ETH_HLEN + IP6_HLEN + 65535);
	p.head_len = (uint16_t)MIN(len, sizeof(p.head));
	memcpy(p.head, frame, p.head_len);
	if (pkt_parse(&p, len))
		return; /* nobody said that there is a good packet inside */
	require(p.family == f->family && addr_eq(&p.src, &f->src) && addr_eq(&p.dst, &f->dst));
	require((size_t)p.l4 + p.l4_len == len);
	require(!p.frag || p.family == 6); /* a fragment header may stand behind a fragment header */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct frags *f = frags_new(16);
	struct rd r = rd_init(data, len);
	uint64_t now = NSEC_PER_SEC;

	while (f && rd_left(&r)) {
		struct rd one = rd_sub(&r, rd_be16(&r));
		struct pkt p = { .head_len = (uint16_t)MIN(one.len, (size_t)PKT_HEAD_MAX) };
		struct iovec iov = { (void *)(uintptr_t)one.p, one.len };
		const uint8_t *whole;
		size_t whole_len;

		if (!rd_ok(&one))
			break;
		memcpy(p.head, one.p, p.head_len);
		if (pkt_parse(&p, one.len) || !p.family || !p.frag)
			continue;
		if (frags_add(f, &p, &iov, 1, now, &whole, &whole_len) == 1)
			check_whole(&p, whole, whole_len);
		now += NSEC_PER_SEC;
	}
	for (struct frag_late late; f && frags_due(f) != UINT64_MAX;) {
		now = MAX(now, frags_due(f));
		while (frags_expire(f, now, &late))
			require(late.len >= IP4_HLEN + 8 && addr_is4(late.src) == addr_is4(late.dst));
	}
	frags_free(f);
	return 0;
}
