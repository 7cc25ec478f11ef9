/* SPDX-License-Identifier: MIT */
/*
 * A small process of ours beside the engine, that does for it what it must not be able to do itself. It is forked early, holds no descriptor
 * but its end of a pair of sockets that keep message boundaries (os/fdpass.h), and ends with that, or with the process that forked it.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"
#include "os/fdpass.h"

struct helper {
	int fd; /* our end, -1: gone; receive with MSG_DONTWAIT */
	pid_t pid; /* 0: none, or not our child */
};

/* --- for the engine --- */

/* In the new process; does not return. sock is its end; parent is who forked it. */
typedef void helper_fn(const void *ctx, int sock, pid_t parent);

/* Forks it: a copy of whoever calls, so early is cheap. -errno. */
MUST_USE int helper_start(helper_fn *fn, const void *ctx, struct helper *ret_h);

/* One message, and descriptors as of fdpass_recv(). -EAGAIN: there is none now; -EPIPE: it is gone; -EPROTO: it is longer than cap. */
MUST_USE ssize_t helper_recv(struct helper *h, void *buf, size_t cap, int ret_fds[FDPASS_MAX], unsigned *ret_n);

/* We are another process than the one that started it, and have only its socket. */
void helper_orphan(struct helper *h);

/* Ends it, and waits for that: of an orphan that does not answer, a second. Once more does nothing. */
void helper_close(struct helper *h);

/* --- for the helper itself --- */

/*
 * No signal that a terminal or a manager has for the engine ends it, and nobody waits in vain for the end of its standard streams, which
 * are /dev/null now. First of all.
 */
MUST_USE int helper_stand_alone(void);

/* Ends with parent, if that has not ended already (-ESRCH). A change of user undoes it. */
MUST_USE int helper_watch(pid_t parent);

/* Who it is to be from now on. UINT32_MAX: who it is. */
struct helper_seal {
	uint32_t uid, gid;
	uint32_t orphan; /* 1: the process that forked it may end earlier, so that the end of the socket is all that ends it */
};

/* No capability comes back, and of those that there are only these n stay, in another user as well. */
MUST_USE int helper_bounds_drop(void);
MUST_USE int helper_caps_keep(const unsigned *cap, size_t n);

/* Becomes that user with these capabilities, for good. */
MUST_USE int helper_seal(const struct helper_seal *s, pid_t parent, const unsigned *cap, size_t n);
