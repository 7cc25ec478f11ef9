/* SPDX-License-Identifier: MIT */
/* Datagrams that wait for the socket of their flow, all in the order in which they came, in memory of a fixed size. */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"

#define UDP_HOLD_BYTES (512u << 10)

struct udp_held {
	uint32_t index, gen; /* the flow's */
	uint32_t len; /* of the payload, which follows */
};

struct udp_hold {
	uint8_t *area;
	size_t used;
};

MUST_USE int udp_hold_init(struct udp_hold *h); /* -ENOMEM */
void udp_hold_fini(struct udp_hold *h);

/* Keeps a copy. False: there is no room. */
MUST_USE bool udp_hold_put(struct udp_hold *h, uint32_t index, uint32_t gen, const struct iovec *payload);

/* Shows each to take(), which says whether it is done with; the others stay. None may be put meanwhile. */
typedef bool udp_hold_fn(void *ctx, const struct udp_held *d, const struct iovec *payload);
void udp_hold_each(struct udp_hold *h, udp_hold_fn *take, void *ctx);
