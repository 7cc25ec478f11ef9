/* SPDX-License-Identifier: MIT */
#include "tcp/reflect.h"

bool tcp_reflect_start(struct tcp_reflect *r, uint32_t min_us, uint32_t path_us, uint32_t seen_us, uint32_t told)
{
	bool on = min_us >= TCP_REFLECT_RTT_US;

	*r = (struct tcp_reflect){
		.mode = on ? TCP_REFLECT_ON : TCP_REFLECT_OFF,
		.acked = told,
		.path_us = path_us,
		.seen_us = seen_us,
	};
	return on;
}

void tcp_reflect_on_data(struct tcp_reflect *r, uint32_t end, uint64_t now_ns)
{
	if (r->mode != TCP_REFLECT_ON || r->timed_at)
		return;
	r->timed_seq = end;
	r->timed_at = now_ns;
}

/* As the guest does itself (RFC 6298 2.3), but not as often, so that our idea lags behind its own. */
static void reflect_seen(struct tcp_reflect *r, uint64_t now_ns)
{
	uint64_t us;

	if (!r->timed_at || seq_lt(r->acked, r->timed_seq))
		return;
	us = MIN((now_ns - r->timed_at) / NSEC_PER_USEC, (uint64_t)TCP_REFLECT_HOLD_MAX_US);
	r->seen_us = r->seen_us - r->seen_us / 8 + (uint32_t)us / 8;
	r->timed_at = 0;
}

bool tcp_reflect_on_report(struct tcp_reflect *r, uint32_t accepted, uint32_t outq, uint64_t now_ns)
{
	if (r->mode != TCP_REFLECT_ON || !seq_gt(accepted - outq, r->acked))
		return false;
	r->acked = accepted - outq;
	reflect_seen(r, now_ns);
	return true;
}

void tcp_reflect_release(struct tcp_reflect *r, uint32_t accepted, uint64_t now_ns)
{
	if (r->mode != TCP_REFLECT_ON)
		return;
	r->acked = accepted;
	reflect_seen(r, now_ns);
}

/*
 * A quarter more than the path takes, for its jitter. But a guest probes for a lost tail after twice the round trip that it expects
 * (RFC 8985 7.2), which half as much again stays clear of.
 */
uint64_t tcp_reflect_hold_ns(const struct tcp_reflect *r)
{
	uint64_t us = MIN(r->path_us + r->path_us / 4, r->seen_us + r->seen_us / 2);

	return CLAMP(us, (uint64_t)TCP_REFLECT_HOLD_MIN_US, (uint64_t)TCP_REFLECT_HOLD_MAX_US) * NSEC_PER_USEC;
}
