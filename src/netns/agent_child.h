/* SPDX-License-Identifier: MIT */
/* The agent's own half of agent.h. */
#pragma once

#include "netns/agent_proto.h"
#include "netns/ns.h"

/* Enters the namespaces, answers requests on sock, and ends with it or with parent. */
__attribute__((noreturn)) void agent_child_run(const struct ns *ns, int sock, pid_t parent);
