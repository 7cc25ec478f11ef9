/* SPDX-License-Identifier: MIT */
/*
 * Stream sockets of the fake: the network and the remote host are the test.
 *
 * The rules of Linux that a translator depends on:
 * - send() takes bytes while the send buffer is not full; one that falls short makes the kernel promise EPOLLOUT (SOCK_NOSPACE), and so does
 *   every look at a socket that is not writable, by epoll_ctl() or at the delivery of another event. The promise is kept when the remote's
 *   acknowledgements make free >= used / 2 true, and not before. Without the promise there is no event.
 * - Edge-triggered: an event for each arrival that the mask asks for, then with all that is true at that moment; none for what was there.
 * - Peeked data keeps the socket readable. The peek offset moves on with each peek and back with each read (SO_PEEK_OFF, socket(7)).
 * - Data stays readable behind a FIN and a RST. What a read gives when there is none: 0 behind a FIN, even if a RST came later; the pending
 *   error, once; 0 on a socket that is dead. A RST behind a FIN is EPIPE, one without is ECONNRESET.
 * - An entry in the error queue makes EPOLLERR readable, and wakes whatever the mask.
 * - close() sends a RST if it lingers for no time or leaves data unread, else a FIN.
 */
#pragma once

#include "fake_sock.h"

enum fake_stream_state { FAKE_S_NEW, FAKE_S_LISTEN, FAKE_S_CONNECTING, FAKE_S_OPEN, FAKE_S_DEAD };

struct fake_stream {
	struct list node; /* in fake_os.streams, until the end of the test */
	struct list queued; /* in the accept queue of its listener */
	int fd; /* -1: not accepted yet, or closed */
	enum fake_stream_state state;
	struct ep local, peer;
	uint8_t tos; /* of the SYN of a peer that arrived */

	/* Towards the remote. The test may set the first four at any time. */
	uint32_t size; /* of the send buffer */
	uint32_t fill; /* of it, in use by something else */
	uint32_t overhead; /* bytes that 1024 bytes of payload take in addition */
	uint32_t chunk; /* taken at once, even if that is more than there is room for */
	uint8_t *out; /* all that was ever sent */
	size_t out_len, out_cap;
	size_t acked; /* of that, by the remote */
	bool nospace; /* EPOLLOUT is promised */
	bool txack; /* acknowledgements make an entry in the error queue (os/txack.h) */
	unsigned reports; /* entries */
	uint32_t rtt_min, rtt; /* of the path, microseconds */
	bool fin_out; /* shutdown(), or an orderly close() */
	bool rst_out; /* close() with a RST */

	/* From the remote. */
	uint8_t *in; /* the receive queue */
	size_t in_len, in_cap;
	size_t in_total; /* bytes that ever came */
	int peek_off; /* -1: not set */
	bool fin_in, rst_in;

	struct list accept; /* of a listener */
};

/* The stream of an open descriptor. It stays after close(). */
struct fake_stream *fake_stream_of(int fd);

/* The stream that was opened or accepted last; the test fails if there is none. */
struct fake_stream *fake_stream_last(void);

/* How connect() ends: with success, or with a positive errno. */
void fake_stream_connected(struct fake_stream *s);
void fake_stream_fail(struct fake_stream *s, int err);

/* A connection from peer arrives at a listening socket. */
struct fake_stream *fake_stream_arrive(int listen_fd, const struct ep *peer);

/* What the remote does. */
void fake_stream_push(struct fake_stream *s, const void *data, size_t len);
void fake_stream_fin(struct fake_stream *s);
void fake_stream_rst(struct fake_stream *s);
void fake_stream_ack(struct fake_stream *s, size_t len); /* at most what it has not acknowledged */

/* The kernel gives the connection up, with a positive errno. */
void fake_stream_die(struct fake_stream *s, int err);

/* Send buffer in use, as SO_MEMINFO gives it. */
uint32_t fake_stream_used(const struct fake_stream *s);
