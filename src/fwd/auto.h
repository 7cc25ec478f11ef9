/* SPDX-License-Identifier: MIT */
/*
 * Automatic ports (rules with FWD_SCAN): which ports to listen on, given what listens on the other side; and how often to look. Pure.
 *
 * A rule's listening ports and the ports that they lead to may differ by a fixed distance; maps are of listening ports unless they
 * are said to be of the other side.
 */
#pragma once

#include "base/bitmap.h"
#include "fwd/rule.h"

/*
 * The ports that rule r should have open. there: ports of the other side on which something listens; ours: those of them that are ours,
 * for the opposite direction. A connection to one of these would come straight back, so for us nothing listens there.
 */
void auto_want(const struct fwd_rule *r, const struct portmap *there, const struct portmap *ours, struct portmap *ret_want);

struct auto_diff {
	struct portmap open, close; /* to be opened, to be closed */
	bool any;
};

/*
 * From what is open to what is wanted. keep: ports that are not to be closed yet, although they are not wanted, or NULL. refused:
 * ports that could not be opened, and are not to be tried again yet, or NULL.
 */
void auto_diff(const struct portmap *want, const struct portmap *open, const struct portmap *keep, const struct portmap *refused,
	       struct auto_diff *ret_diff);

/* The next port of m from *port on; false: there is none. To visit all: start with 0, go on with *port + 1. */
bool auto_port_next(const struct portmap *m, uint32_t *port);

/*
 * When to look again. Without any change the time between looks is AUTO_IDLE_NS, so that a port is found half of that later on average;
 * services rarely come alone, so it is AUTO_BUSY_NS for a while after a change. It is never less than AUTO_SHARE times what a look
 * costs, which a host with thousands of sockets may feel.
 */
#define AUTO_IDLE_NS (320 * NSEC_PER_MSEC)
#define AUTO_BUSY_NS (100 * NSEC_PER_MSEC)
#define AUTO_BUSY_FOR_NS (2 * NSEC_PER_SEC)
#define AUTO_SHARE 200
#define AUTO_MAX_NS (5 * NSEC_PER_SEC)

/* Nanoseconds to the next look, after one that cost that much; changed_ns: when something changed last, 0: never. */
uint64_t auto_interval(uint64_t now_ns, uint64_t changed_ns, uint64_t cost_ns);
