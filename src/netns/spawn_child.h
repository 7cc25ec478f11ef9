/* SPDX-License-Identifier: MIT */
/* The child's half of spawn.h, and what the two tell each other over a socket pair before the command runs. */
#pragma once

#include "netns/spawn.h"

/* Parent to child, a byte each. */
#define SPAWN_MSG_SETUP 'S' /* the maps are written, if the parent may do that: go on */
#define SPAWN_MSG_GO 'G' /* run the command */

enum spawn_step { SPAWN_UID_MAP, SPAWN_SETGROUPS, SPAWN_GID_MAP, SPAWN_IDS, SPAWN_NS_OPEN, SPAWN_PDEATHSIG };

/* What the command can do without. */
enum spawn_extra { SPAWN_PROC, SPAWN_PING, SPAWN_HOSTNAME, SPAWN_EXTRAS };

/*
 * Child to parent, once, with descriptors: of the network namespace, of its own status in /proc (whose numbers need not be the parent's)
 * and, unless netns_only, of the user namespace.
 */
enum spawn_fd { SPAWN_FD_NET, SPAWN_FD_STATUS, SPAWN_FD_USER, SPAWN_FDS };

struct spawn_report {
	int32_t err; /* 0, or -errno in step */
	uint32_t step; /* enum spawn_step */
	int32_t extra[SPAWN_EXTRAS]; /* 0 or -errno */
};

struct spawn_child {
	const struct spawn_conf *conf;
	int sock;
	int parent_sock; /* its copy here has to be closed, or the parent's end would go unnoticed */
};

/* Runs in the new namespaces; ends with the command. */
__attribute__((noreturn)) void spawn_child_run(const struct spawn_child *c);
