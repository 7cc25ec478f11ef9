/* SPDX-License-Identifier: MIT */
/*
 * Sockets towards the host that are made before they are needed, so that a SYN of the guest waits for connect() alone. The first
 * connection makes its own; a while after one was taken, off the path of connections, the stock of that family is filled up. When no
 * connection has come for longer, there is no stock.
 */
#pragma once

#include "base/addr.h"
#include "base/timer.h"

#define TCP_STOCK_MAX 16u
#define TCP_STOCK_FILL_NS (10 * NSEC_PER_MSEC)
#define TCP_STOCK_KEEP_NS NSEC_PER_SEC

struct tcp;

struct tcp_ready {
	int fd;
	bool peek_off; /* SO_PEEK_OFF is on */
};

struct tcp_stock {
	uint32_t max; /* of each family; <= TCP_STOCK_MAX */
	struct timer timer;
	bool soon; /* the timer is to fill, not to empty */
	bool used[2]; /* since the last filling, by family: IPv4, IPv6 */
	uint32_t n[2];
	struct tcp_ready s[2][TCP_STOCK_MAX];
};

void tcp_stock_init(struct tcp *t, uint32_t max);
void tcp_stock_fini(struct tcp *t);

/* A socket for a connection to dst with its options, bound as out_bind() does: from the stock, or a new one. -errno. */
MUST_USE int tcp_stock_take(struct tcp *t, const struct addr *dst, struct tcp_ready *ret_s);
