/* SPDX-License-Identifier: MIT */
/* What the requests of netns/nlreq.h are made of: one message, one answer. */
#pragma once

#include <libmnl/libmnl.h>

#include "netns/nlreq.h"

#define NLMSG_MAX 8192 /* far more than NSCONF_ROUTE_HOPS take */

union nlmsg {
	char b[NLMSG_MAX];
	struct nlmsghdr h;
};

/* A request of this type with a zeroed fixed part, which is returned; it asks for an answer. flags: NLM_F_CREATE and the like. */
void *nlmsg_start(union nlmsg *m, uint16_t type, uint16_t flags, size_t fixed);

/* Sends it and waits for the answer: 0, or -errno. */
MUST_USE int nlmsg_send(struct nlreq *q, union nlmsg *m);
