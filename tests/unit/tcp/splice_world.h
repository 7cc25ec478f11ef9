/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the splice engine share: an engine with a loop, and peers at both ends, over real sockets on loopback.
 *
 *   near (client) --- accepted | splice | connected --- far (server)
 */
#pragma once

#include "os/sock.h"
#include "tcp/splice.h"

#define SW_ROUNDS 20000 /* of waiting for something that has to come; only a failing test gets there */

struct sw {
	struct loop loop;
	struct timer nowait;
	struct splice *s;
	int family;
	int front, back; /* listening: ours, and the service's */
	struct ep front_ep, back_ep;
	bool joined; /* the engine gets both connections when they are there */
	int patience_ms; /* of sw_settle(): a busy machine may deliver late, even on loopback */
};

/* A peer: what it has sent and seen. Byte i of a stream is a function of i and of who sent it. */
struct sw_peer {
	int fd;
	uint8_t salt;
	size_t sent, got;
	bool shut, eof;
	int err;
};

/* One turn of the loop, which waits no longer than that. */
void sw_turn(struct sw *x, uint64_t wait_ns);

/* Turns until there is nothing more to do at the moment. */
void sw_settle(struct sw *x);

/* A listening socket on loopback. */
int sw_listener(struct sw *x, struct ep *ret_ep);

/* The next connection. */
int sw_accept(struct sw *x, int listen_fd);

/* A client connects, and we start to pass that on to dst; splice_open(), or splice_join(), is to return want. The client's socket. */
int sw_open_near(struct sw *x, const struct ep *dst, int want);

/* Both ends of a new spliced connection. */
void sw_open_pair(struct sw *x, struct sw_peer *near, struct sw_peer *far);

/* The same, without us. */
void sw_open_direct(struct sw *x, struct sw_peer *near, struct sw_peer *far);

/* Sends up to len bytes of the stream; how many. */
size_t sw_peer_send(struct sw_peer *p, size_t len);

/* Reads up to max bytes of what from sent, and compares; how many. */
size_t sw_peer_read(struct sw_peer *p, const struct sw_peer *from, size_t max);

/* Reads until total bytes are there. */
void sw_until_read(struct sw *x, struct sw_peer *p, const struct sw_peer *from, size_t total);

/* Reads to the end or an error. */
void sw_until_end(struct sw *x, struct sw_peer *p, const struct sw_peer *from);

/* Until the engine has no connection. */
void sw_until_none(struct sw *x);

void sw_peer_close(struct sw_peer *p);

/* Fixtures: with pipes, over IPv6, without any pipe, with three, with room for two connections, with connections
 * that are joined when they are there. */
int sw_setup(void **state);
int sw_setup6(void **state);
int sw_setup_copy(void **state);
int sw_setup_few(void **state);
int sw_setup_two(void **state);
int sw_setup_joined(void **state);
int sw_teardown(void **state);
