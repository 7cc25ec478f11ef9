/* SPDX-License-Identifier: MIT */
/* How long a pair of endpoints is remembered after its last datagram: by default as RFC 4787 REQ-5 suggests. */
#pragma once

#include "base/defs.h"

struct udp_times {
	uint32_t oneway_s; /* nothing has come back yet; 0: 30 */
	uint32_t answered_s; /* 0: 180 */
};

static inline uint64_t udp_oneway_ns(const struct udp_times *t)
{
	return (t->oneway_s ? t->oneway_s : 30) * NSEC_PER_SEC;
}

static inline uint64_t udp_answered_ns(const struct udp_times *t)
{
	return (t->answered_s ? t->answered_s : 180) * NSEC_PER_SEC;
}
