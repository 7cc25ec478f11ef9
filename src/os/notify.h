/* SPDX-License-Identifier: MIT */
/*
 * Telling a service manager how far we are (sd_notify(3)): one datagram to the socket that the environment names. That is all that the
 * protocol is, so that no library is needed for it.
 */
#pragma once

#include "base/defs.h"

/*
 * Connects to the socket of NOTIFY_SOCKET, and takes the variable out of the environment: while paths lead somewhere. *ret_fd is -1 if
 * nobody wants to be told. -EINVAL: neither a path nor an abstract address; -errno.
 */
MUST_USE int notify_open(int *ret_fd);

/* Sends lines such as "READY=1". Without effect if fd is -1; nobody waits for whoever doesn't read. */
void notify_send(int fd, const char *lines);
