/* SPDX-License-Identifier: MIT */
/* What the kernel counts of a TCP connection (TCP_INFO, tcp(7)). */
#pragma once

#include "base/defs.h"

struct tcpinfo {
	uint64_t bytes_out; /* payload acknowledged by the peer; our SYN counts as a byte, if we connected */
	uint64_t bytes_in; /* payload received */
	uint64_t segs_out, segs_in;
	uint32_t rtt_us; /* smoothed */
	uint32_t rexmit; /* segments sent again */
};

MUST_USE int tcpinfo_get(int fd, struct tcpinfo *ret_info);
