/* SPDX-License-Identifier: MIT */
/*
 * Tells when the namespace that we serve is gone: its process has ended, or its name is.
 *
 * A process, also one that a path in /proc names, is watched by a pidfd, a path elsewhere by inotify(7) on its directory. Where neither
 * can be had, a timer looks twice a second. Set up before privileges and the file system are given up; afterwards nothing is opened.
 */
#pragma once

#include "netns/ns.h"

#define WATCH_PERIOD_MS 500
#define WATCH_BASE_MAX 256

enum watch_kind { WATCH_NONE, WATCH_PROCESS, WATCH_NAME, WATCH_TIMER };

struct watch {
	enum watch_kind kind;
	int fd; /* for the loop: readable when there is something to read; -1: nothing tells us the end (WATCH_NONE) */
	int dir_fd; /* where base is; -1: not needed */
	char base[WATCH_BASE_MAX]; /* last component of the path */
	const char *name; /* of the namespace, for the message */
};

/*
 * Starts to watch. ns has to stay, as its name is used. -ENOENT if it has gone in the meantime, other -errno if it can't be watched;
 * logged. A namespace without a name, as one that was passed as a descriptor, is not watched, and that is no error.
 */
MUST_USE int watch_open(const struct ns *ns, struct watch *ret_w);

/* After an event of fd: true if the namespace is gone, which is logged then. */
bool watch_read(struct watch *w);

void watch_close(struct watch *w);
