/* SPDX-License-Identifier: MIT */
/* AF_UNIX sockets by their paths: that which a VMM connects to, and those of forwards. */
#pragma once

#include <sys/socket.h>

#include "base/defs.h"

#define UNIXPATH_MAX 108 /* sun_path with its NUL, unix(7) */
#define UNIXPATH_TRIES 99 /* default paths: /tmp/passt_1.socket and so on */

/*
 * A socket of that type (SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM), which is bound and, but for datagrams, listens: at path, or, if that is
 * empty, at the first default path that is free. A socket that nobody listens on any more is replaced; one that is alive is left alone,
 * without a connection to it. *ret_path is where it was bound.
 * -EADDRINUSE if path is alive; -EISDIR, or -ENOTSOCK if it is something else than a socket; -ENAMETOOLONG; else as bind(2).
 */
MUST_USE int unixpath_open(int type, const char *path, char ret_path[UNIXPATH_MAX], int *ret_fd);

/* The same of a stream socket at a path that is given, with mode 0600. */
MUST_USE int unixpath_listen_private(const char *path, int *ret_fd);

/* Removes the socket at a path if nobody listens on it any more. 0: nothing is there now; else as above. */
MUST_USE int unixpath_sweep(const char *path);

/* What fd is: a stream socket that listens at this path. */
bool unixpath_is(int fd, const char *path);

/* Where fd is bound, or, if that is no path, an empty text. */
void unixpath_name(int fd, char ret_path[UNIXPATH_MAX]);

/* The folder of a path, to connect to sockets in it once paths lead nowhere any more. -errno of open(2). */
MUST_USE int unixpath_folder(const char *path, int *ret_dir);

/*
 * A non-blocking connection to the stream socket of that path, whose folder is dir. Leaves "/" as the current directory. -EAGAIN: too many
 * wait there; else -errno of connect(2).
 */
MUST_USE int unixpath_connect(int dir, const char *path, int *ret_fd);
