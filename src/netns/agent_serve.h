/* SPDX-License-Identifier: MIT */
/* What the agent does once it is where it belongs: it answers requests, one after the other. */
#pragma once

#include <sys/types.h>

#include "netns/agent_proto.h"

struct agent_serve {
	int sock; /* that requests come from and replies go to */
	pid_t parent; /* that the agent ends with */
	bool sealed; /* set by AGENT_SEAL */
	bool annexed; /* set by AGENT_ANNEX */
	struct agent_req req; /* the present one */
	struct agent_reply reply; /* to it; head and text may be set before */
	int given; /* came with the request; -1: nothing did */
	int fds[FDPASS_MAX]; /* for the reply; closed once they are sent */
};

/*
 * Waits for the next request, and answers it. 0; -EPIPE: nobody is there any more, or wants any more; -EPROTO: a request that makes no
 * sense; else a reply that can't be sent. After those the agent ends.
 */
MUST_USE int agent_serve_next(struct agent_serve *s);

/* Sends the reply, which says err. -errno: not even that it could not be done. */
MUST_USE int agent_serve_reply(struct agent_serve *s, int err);
