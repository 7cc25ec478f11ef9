/* SPDX-License-Identifier: MIT */
/*
 * What a client does for rules that name a UNIX socket (docs/control.md): the server has no files any more, so the socket that it is to
 * listen on, or the folder of the one that it is to connect to, goes with the request.
 */
#pragma once

#include "fwd/rule.h"

struct ctl_path {
	int fd; /* for the request; -1: there is no such rule in it, or it could not be opened */
	int err; /* why not: -errno */
	struct fwd_rule rule;
};

#define CTL_PATH_NONE ((struct ctl_path){ .fd = -1 })

/* For a TCP specifier that is to be added: opens what is needed, if anything. -EALREADY: one request can have one only. */
MUST_USE int ctl_path_open(struct ctl_path *p, const char *spec, bool outwards);

/* After the reply: closes our copy. made: the rule is in effect; else what we made goes. */
void ctl_path_close(struct ctl_path *p, bool made);

/* A rule, as the server shows it, is not in effect any more: its socket goes, unless it is now that of p's rule. -errno: it stays. */
MUST_USE int ctl_path_remove(const struct ctl_path *p, const char *spec);
