/* SPDX-License-Identifier: MIT */
/*
 * One direction of a spliced connection: what to do next, and what follows from how it went. Pure; part of the splice engine.
 *
 * Bytes go from a socket (the input) into a pipe, and from there to another socket (the output). The order at the end is: drain the pipe,
 * see the end of file, shut the output down for writing; only when both directions have come so far is the connection closed.
 * Events are edge-triggered: in_ready and out_ready are true from an event until the kernel says EAGAIN.
 *
 * What EAGAIN means when the pipe is filled depends: with an empty pipe it is the input that has nothing. Otherwise the pipe may be
 * full, at any number of bytes, as it counts in pieces; then nothing is asked for until bytes left it, and the input is still
 * taken to be ready, as it may well be and would not tell again.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

struct splice_dir {
	uint32_t piped; /* bytes in the pipe */
	uint8_t in_ready : 1, out_ready : 1;
	uint8_t urgent : 1; /* urgent data is in the input's queue, or was */
	uint8_t fin : 1; /* all of the input has arrived, to its end; nothing urgent can come any more */
	uint8_t full : 1; /* the pipe may be full */
	uint8_t copy : 1; /* there is no pipe to be had */
	uint8_t eof : 1; /* the input came to its end */
	uint8_t shut : 1; /* so did the output: this direction is done */
	uint8_t in_broken : 1, out_broken : 1; /* an error other than EAGAIN */
	uint8_t out_reset : 1; /* the output was reset, without an end before */
	uint8_t in_reset : 1; /* so was the input: what looks like its end is none */
};

enum splice_act {
	SPLICE_WAIT, /* for an event */
	SPLICE_FILL, /* move from the input to the pipe; if there is none, take one or set copy */
	SPLICE_DRAIN, /* move from the pipe to the output */
	SPLICE_URGENT, /* the pipe is empty: if the urgent byte is next, pass it on as such; else SPLICE_FILL, or SPLICE_COPY if copy is set */
	SPLICE_COPY, /* look at the input, send, then take from the input as much as was sent */
	SPLICE_SHUT, /* shut the output down */
	SPLICE_DONE,
};

/* Events (EPOLL*) of the socket that is the input, or the output. */
void splice_dir_on_in(struct splice_dir *d, uint32_t events);
void splice_dir_on_out(struct splice_dir *d, uint32_t events);

enum splice_act splice_dir_next(const struct splice_dir *d);

/* Results: bytes, or -errno. What a copy saw at the input is a fill if that was 0 or an error, what it sent a drain if that was one. */
void splice_dir_filled(struct splice_dir *d, ssize_t r);
void splice_dir_drained(struct splice_dir *d, ssize_t r);
void splice_dir_shut(struct splice_dir *d, int err);

/*
 * d is about to go on. The kernel tells of a reset only once: what the output of the other direction, which is the socket of our input, has
 * heard of it, no read will tell any more.
 */
void splice_dir_hear(struct splice_dir *d, const struct splice_dir *other);

/* True if what looks like the end of the input is that, and can't be urgent data that is next. */
static inline bool splice_dir_end_sure(const struct splice_dir *d)
{
	return d->fin && !d->urgent;
}

/* A fill that looked like the end of the stream was one of urgent data that is next. */
void splice_dir_at_mark(struct splice_dir *d);

enum splice_end {
	SPLICE_GO_ON,
	SPLICE_CLOSE, /* both directions are done */
	SPLICE_RESET, /* something broke, and no more bytes can be saved now */
};

/* Whether a connection of two directions is at its end; err: one of its sockets has reported an error. */
enum splice_end splice_dirs_end(const struct splice_dir d[2], bool err);
