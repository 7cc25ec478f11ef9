/* SPDX-License-Identifier: MIT */
/*
 * Who may use the control socket: the user that this process is, and root.
 *
 * In a user namespace where only one user is mapped, or none, the kernel shows every other one by the same number (user_namespaces(7),
 * "overflow"): nobody by it is let in, unless the mode of the socket's file leaves connecting to its owner alone. Then it is root,
 * whom no mode stops.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

struct ctl_door {
	int file_fd; /* of the socket's file, for its mode only (O_PATH); -1: it has none */
	uid_t uid; /* ours */
	bool known; /* that is a number of ours alone */
};

/* Takes file_fd. This process has the user, and is in the user namespace, that it will stay with. */
void ctl_door_init(struct ctl_door *d, int file_fd);
void ctl_door_fini(struct ctl_door *d);

/* A peer, as SO_PEERCRED tells (unix(7)). */
bool ctl_door_lets(const struct ctl_door *d, uid_t peer);
