/* SPDX-License-Identifier: MIT */
/*
 * Names of datagram sockets that guests have (unix(7)), once our own root is empty: those in one folder can still be connected to, by a
 * descriptor of it.
 */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "base/defs.h"

struct unixname {
	struct sockaddr_un addr; /* with a NUL behind a path */
	socklen_t len;
};

struct unixname_dir {
	int fd; /* O_PATH; -1: none */
	const char *path; /* up to and with its last slash; empty: it was given relative to a folder that we don't know */
};

/* Who sent the first datagram in the queue, which stays there. -EADDRNOTAVAIL: somebody without a name; -errno of recvmsg(2). */
MUST_USE int unixname_sender(int fd, struct unixname *ret_name);

/*
 * Connects the datagram socket fd to a name: an abstract one, or in the folder. Leaves "/" as the current directory. -EXDEV: it is in
 * another folder; else -errno of connect(2).
 */
MUST_USE int unixname_connect(const struct unixname *n, const struct unixname_dir *dir, int fd);

/* From whomever it is connected to; what it has received goes. */
void unixname_disconnect(int fd);
