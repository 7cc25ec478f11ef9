/* SPDX-License-Identifier: MIT */
/* The agent's own half of agent.h. */
#pragma once

#include "netns/agent_proto.h"
#include "netns/ns.h"

struct agent_place {
	const struct ns *ns;
	bool annex; /* a new network namespace next to it */
};

/* A helper_fn: enters the namespaces of the struct agent_place at ctx, answers requests on sock, and ends with it or with parent. */
__attribute__((noreturn)) void agent_child_run(const void *ctx, int sock, pid_t parent);
