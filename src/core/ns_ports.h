/* SPDX-License-Identifier: MIT */
/*
 * Ports that are listened on in the namespace, opened by the agent while everything else goes on: nobody waits for it, however long it
 * takes. At start, listeners_open() waits.
 */
#pragma once

#include "fwd/listen.h"
#include "netns/agent.h"

#define NS_PORTS_MAX 512 /* on their way at once */

struct ns_ports {
	struct agent *agent;
	struct listeners *ls;
	/* One that ns_ports_open() had promised: open, or -errno. Not one that was closed meanwhile. */
	void (*done)(void *ctx, unsigned rule, uint16_t port, int err);
	void *ctx;
	struct {
		uint32_t cookie;
		uint16_t rule, port;
		bool dropped; /* nobody wants it any more */
	} wait[NS_PORTS_MAX];
	unsigned n;
};

/* One port of one rule. 0: open, or on its way; -EAGAIN: the agent has enough to do for now. Other -errno of agent_send(). */
MUST_USE int ns_ports_open(struct ns_ports *p, unsigned rule, uint16_t port);

/* Also while it is on its way. */
void ns_ports_close(struct ns_ports *p, unsigned rule, uint16_t port);

/* A reply of the agent of type AGENT_LISTEN: takes the descriptors. */
void ns_ports_reply(struct ns_ports *p, const struct agent_reply *r, const int *fds);
