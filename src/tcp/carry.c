/* SPDX-License-Identifier: MIT */
/* What is carried over of the IP headers of segments. */
#include <netinet/in.h>

#include "base/log.h"
#include "os/hops.h"
#include "os/sock.h"
#include "tcp/conn.h"
#include "wire/ip.h"

#define DSCP 0xfc /* the rest is ECN (RFC 3168) */

static void opts_set(struct ipopts *o, int fd, const struct pkt *p)
{
	if (ipopts_set(o, fd, p->ttl, p->tos & DSCP))
		log_limited(LOG_LVL_WARN, "Hop limit or type of service of a TCP socket not set");
}

/*
 * With it, an established connection ends by any error of the way, however passing: so it is for the handshake only. What can't be set
 * is a reporter less.
 */
static void recverr_set(const struct ipopts *o, int fd, int on)
{
	(void)!sock_set_int(fd, o->v4 ? IPPROTO_IP : IPPROTO_IPV6, o->v4 ? IP_RECVERR : IPV6_RECVERR, on);
}

void carry_syn(const struct tcp *t, struct ipopts *o, int fd, const struct addr *to, const struct pkt *p)
{
	ipopts_init(o, t->d.out, to);
	opts_set(o, fd, p);
	if (o->tells_ttl)
		recverr_set(o, fd, 1);
}

void carry_data(struct tcp_conn *k, const struct pkt *p)
{
	if (!ipopts_same(&k->ip, p->ttl, p->tos & DSCP))
		opts_set(&k->ip, k->fd, p);
}

uint8_t carry_tos_accepted(int fd, bool v4)
{
	return hops_tos_accepted(fd, v4) & DSCP;
}

void carry_connected(struct tcp_conn *k)
{
	if (k->ip.tells_ttl)
		recverr_set(&k->ip, k->fd, 0);
}

static size_t quote_put(const void *ctx, const void *payload, size_t len, uint8_t quote[HOSTERR_QUOTE_MAX])
{
	return seg_quote(ctx, quote);
}

bool carry_failed(struct tcp_conn *k)
{
	struct ep dst = { .addr = k->f.key.remote, .port = k->f.key.rport }, to;
	struct hosterr_sock s = { .fd = k->fd, .flow = &k->f, .to = &to.addr, .quote = quote_put, .ctx = k };

	if (!k->ip.tells_ttl || nat_to_host(k->t->d.nat, PROTO_TCP, &dst, &to))
		return false;
	return hosterr_drain(&k->t->hosterr, &s);
}
