/* SPDX-License-Identifier: MIT */
/* The AF_UNIX socket that a VMM connects to. */
#pragma once

#include <sys/socket.h>

#include "base/defs.h"

#define UNIXPATH_MAX 108 /* sun_path with its NUL, unix(7) */
#define UNIXPATH_TRIES 99 /* default paths: /tmp/passt_1.socket and so on */

/*
 * A socket of that type (SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM), which is bound and, but for datagrams, listens: at path, or, if that is
 * empty, at the first default path that is free. A socket that nobody listens on any more is replaced; one that is alive is left alone, without a connection to it. *ret_path is where it was bound.
 * -EADDRINUSE if path is alive; -EISDIR, or -ENOTSOCK if it is something else than a socket; -ENAMETOOLONG; else as bind(2).
 */
MUST_USE int unixpath_open(int type, const char *path, char ret_path[UNIXPATH_MAX], int *ret_fd);

/* The same with a stream socket. */
static inline MUST_USE int unixpath_listen(const char *path, char ret_path[UNIXPATH_MAX], int *ret_fd)
{
	return unixpath_open(SOCK_STREAM, path, ret_path, ret_fd);
}
