/* SPDX-License-Identifier: MIT */
/*
 * Which frames of the namespace the annex's kernel gets, and which we do: classic BPF programs (Documentation/networking/filter.rst of the
 * kernel), for frames that begin with an Ethernet header. Each gives something else than 0 for those that it picks.
 */
#pragma once

#include <linux/filter.h>

#include "base/defs.h"

struct annex_filter {
	const struct sock_filter *insn;
	uint16_t n;
};

/*
 * For us: all but segments of TCP connections that are there, or were. Those are told by what has neither SYN alone among SYN, ACK, RST
 * and FIN, nor a link-local IPv6 address, nor an IPv6 extension header. What follows the first fragment of an IPv4 packet has no flags.
 */
struct annex_filter annex_filter_ours(void);

/* Of the others, those with RST, which we are shown as well. */
struct annex_filter annex_filter_resets(void);

/* All frames. */
struct annex_filter annex_filter_any(void);
