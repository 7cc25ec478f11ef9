/* SPDX-License-Identifier: MIT */
/*
 * What the peer of a TCP socket has acknowledged, told by events instead of by asking: with SOF_TIMESTAMPING_TX_ACK the kernel puts an
 * entry into the error queue (EPOLLERR) when the last byte of a send(2) was acknowledged, or of several that share a segment. The kernel's
 * Documentation/networking/timestamping.rst, section 1.3. How much that is tells sock_outq().
 *
 * An event may be missing: entries take room in the receive buffer, and a full one drops them. Who waits for one needs a timer as well.
 */
#pragma once

#include "base/defs.h"

/* Events for what is sent from now on. -errno if the kernel has none. */
MUST_USE int txack_enable(int fd);

/* Takes all entries off the error queue; how many there were, or -errno. */
MUST_USE int txack_take(int fd);

/* Round trip of a path, microseconds (TCP_INFO, tcp(7)). */
struct txack_rtt {
	uint32_t smoothed, min;
};

/* -errno of getsockopt(2), -ENODATA if nothing was measured yet, -ENOSYS on a kernel that doesn't tell the least one (before 4.6). */
MUST_USE int txack_rtt(int fd, struct txack_rtt *ret_rtt);
