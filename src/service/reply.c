/* SPDX-License-Identifier: MIT */
#include "service/reply.h"

#include <errno.h>

#include "base/csum.h"
#include "wire/eth.h"
#include "wire/udp.h"

#define UDP_LEN_AT 4

void reply_pad(struct wr *frame)
{
	size_t len = wr_len(frame);

	if (len < ETH_ZLEN)
		wr_zero(frame, ETH_ZLEN - len);
}

void reply_put(struct wr *frame, const struct reply_to *to, struct wr *msg)
{
	size_t len = wr_len(msg);
	uint64_t sum;
	uint16_t csum;

	wr_patch_be16(msg, to->csum_at, 0);
	if (!wr_ok(msg)) {
		wr_fail(frame);
		return;
	}
	sum = csum_pseudo(&to->ip.src, &to->ip.dst, to->ip.proto, len);
	csum = csum_fold(csum_add(msg->p, len, sum));
	wr_patch_be16(msg, to->csum_at, csum ? csum : 0xffff); /* zero would mean none in UDP; both are the same sum */

	eth_put(frame, to->mac, to->our_mac, addr_is4(&to->ip.dst) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	ip_put(frame, &to->ip, len);
	wr_bytes(frame, msg->p, len);
	reply_pad(frame);
}

int reply_udp_body(struct rd msg, struct rd *ret_body)
{
	struct udp_hdr h;
	struct rd body;
	int err = udp_hdr_read(&msg, &h);

	if (err)
		return err;
	body = rd_sub(&msg, h.len - UDP_HLEN);
	if (!rd_ok(&body))
		return -EBADMSG;
	*ret_body = body;
	return 0;
}

void reply_udp_begin(struct wr *msg, uint16_t sport, uint16_t dport)
{
	udp_hdr_put(msg, sport, dport, 0, 0);
}

void reply_udp_end(struct wr *msg)
{
	wr_patch_be16(msg, UDP_LEN_AT, (uint16_t)wr_len(msg));
}
