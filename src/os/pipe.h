/* SPDX-License-Identifier: MIT */
/*
 * Pipes that carry data from one socket to another without copying it (splice(2)). Nothing is decided here. Writing to a connection
 * that is broken raises SIGPIPE, which splice(2) has no flag against: the process has to ignore that signal.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

struct pipe {
	int rd, wr; /* -1: none */
	uint32_t size; /* bytes that it holds at most; less, if they come in small pieces */
};

#define PIPE_NONE ((struct pipe){ .rd = -1, .wr = -1 })

/* A non-blocking pipe of the system's default size. -EMFILE, -ENFILE. */
MUST_USE int pipe_open(struct pipe *ret_pipe);
void pipe_close(struct pipe *p);

/* Asks for a size (F_SETPIPE_SZ, pipe(7)); p->size is what it has afterwards. -EPERM: above what the user may have in all pipes. */
MUST_USE int pipe_resize(struct pipe *p, uint32_t size);

/*
 * Bytes moved from the socket to the pipe and from the pipe to the socket, or -errno. Of pipe_fill(), 0 is the end of the stream or
 * urgent data that is next, and -EAGAIN that the socket has nothing, or that the pipe is full.
 */
MUST_USE ssize_t pipe_fill(const struct pipe *p, int sock, size_t len);
MUST_USE ssize_t pipe_drain(const struct pipe *p, int sock, size_t len);

/* True if the next byte to be received is the urgent one (SIOCATMARK, tcp(7)). */
bool pipe_at_mark(int sock);
