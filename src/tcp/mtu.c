/* SPDX-License-Identifier: MIT */
#include "tcp/conn.h"
#include "wire/ip.h"

#define MTU_MIN4 68u /* RFC 791: what is less is no MTU; RFC 1191 section 5 would guess then */
#define MTU_MIN6 1280u /* RFC 8201 section 4 */

/* The payload of a segment that fits into mtu, if that is not less than any guest is granted. 0: it is no MTU. */
static uint16_t mss_of(const struct tcp_conn *k, uint32_t mtu)
{
	bool v4 = addr_is4(&k->f.key.guest);
	uint32_t hdr = (uint32_t)ip_hlen(&k->f.key.guest) + TCP_HLEN;

	if (v4 && mtu < MTU_MIN4)
		return 0;
	if (!v4)
		mtu = MAX(mtu, MTU_MIN6);
	return (uint16_t)(conn_mss_granted(k->t, v4, mtu - hdr) - (k->ts.on ? TCP_TS_LEN : 0));
}

void tcp_too_big(struct tcp *t, const struct icmp_too_big *b)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &b->dst, b->dport, &b->src, b->sport);
	struct flow *f = flow_find(t->d.flows, &key);
	struct tcp_conn *k;
	uint16_t mss;

	if (!f)
		return;
	k = container_of(f, struct tcp_conn, f);
	mss = mss_of(k, b->mtu);
	/* Who did not see the segment can't know its number. */
	if (k->state != CONN_ESTABLISHED || seq_lt(b->seq, k->snd.una) || seq_ge(b->seq, k->snd.max))
		return;
	if (!mss || mss >= k->snd.mss)
		return;
	k->snd.mss = mss;
	if (!k->snd.wnd)
		return; /* nothing may be sent; the probe that is due is small */
	tcp_snd_again(&k->snd);
	host_again(k);
}
