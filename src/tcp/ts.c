/* SPDX-License-Identifier: MIT */
#include "tcp/ts.h"

#define RTT_MAX_MS 60000u /* more is an echo of something else */

static uint32_t seconds(uint64_t now_ns)
{
	return (uint32_t)(now_ns / NSEC_PER_SEC);
}

uint32_t tcp_ts_now(const struct tcp_ts *t, uint64_t now_ns)
{
	return (uint32_t)(now_ns / NSEC_PER_MSEC) + t->offset;
}

void tcp_ts_init(struct tcp_ts *t, uint32_t offset, uint64_t now_ns)
{
	*t = (struct tcp_ts){ .offset = offset };
	t->timeout = tcp_ts_now(t, now_ns); /* nothing was sent before */
}

void tcp_ts_syn(struct tcp_ts *t, const struct tcp_hdr *h, bool offered, uint64_t now_ns)
{
	t->on = offered && h->has_ts;
	t->recent = h->ts_val;
	t->recent_s = seconds(now_ns);
}

/* What we remember is so old that later timestamps may have wrapped around. */
static bool outdated(const struct tcp_ts *t, uint64_t now_ns)
{
	return seconds(now_ns) - t->recent_s > TCP_TS_OLD_S;
}

enum tcp_ts_verdict tcp_ts_check(const struct tcp_ts *t, const struct tcp_hdr *h, uint64_t now_ns)
{
	/* A reset counts whatever its timestamp, so that a host that has lost its clock can end a connection (RFC 7323 5.2). */
	if (!t->on || h->flags & TCP_RST)
		return TCP_TS_TAKE;
	/* One that has restarted may do without; it needs the answer to find out that we have not (RFC 5961 4.2). */
	if (!h->has_ts)
		return h->flags & TCP_SYN ? TCP_TS_OLD : TCP_TS_NONE;
	return seq_ge(h->ts_val, t->recent) || outdated(t, now_ns) ? TCP_TS_TAKE : TCP_TS_OLD;
}

void tcp_ts_note(struct tcp_ts *t, const struct tcp_hdr *h, uint64_t now_ns)
{
	if (!t->on || !h->has_ts || (seq_lt(h->ts_val, t->recent) && !outdated(t, now_ns)))
		return;
	t->recent = h->ts_val;
	t->recent_s = seconds(now_ns);
}

void tcp_ts_timeout(struct tcp_ts *t, uint64_t now_ns, bool first)
{
	t->timeout = tcp_ts_now(t, now_ns);
	if (first)
		t->first = t->timeout;
}

bool tcp_ts_spurious(const struct tcp_ts *t, const struct tcp_hdr *h)
{
	return t->on && h->has_ts && t->first - h->ts_ecr - 1 < RTT_MAX_MS;
}

enum tcp_ts_echo tcp_ts_rtt(const struct tcp_ts *t, const struct tcp_hdr *h, uint64_t now_ns, uint64_t *ret_ns)
{
	uint32_t ms = tcp_ts_now(t, now_ns) - h->ts_ecr;

	if (!t->on || !h->has_ts || ms > RTT_MAX_MS)
		return TCP_TS_RTT_NONE;
	if (seq_lt(h->ts_ecr, t->timeout))
		return TCP_TS_RTT_BEFORE;
	*ret_ns = ms * NSEC_PER_MSEC;
	return TCP_TS_RTT;
}
