/* SPDX-License-Identifier: MIT */
/* The listening sockets of the forwarding rules. */
#pragma once

#include "fwd/rule.h"
#include "os/bound.h"
#include "os/loop.h"

struct listener {
	int fd; /* -1: closed */
	int dir; /* folder of the socket that a rule with FWD_TO_PATH leads to; of FWD_AT_PATH, until listeners_keep(). -1: none */
	uint16_t rule; /* index into the table */
	uint16_t port; /* the port that it listens on */
	uint16_t to; /* the port on the other side */
	uint8_t proto;
	uint8_t v6 : 1; /* the socket is AF_INET6 (with FWD_DUAL: both families) */
	uint8_t paused : 1; /* its events are off for a moment: listener_pause() */
};

/* Where sockets are opened: in our own network, or by somebody else in another one. */
struct listen_place {
	const char *name; /* in messages */
	const char *dev; /* interface of all sockets, whoever opens them; NULL: as each rule says */
	int (*open)(void *ctx, const struct bound_spec *s, int *ret_fd, bool *ret_v6); /* as bound_open(); NULL: our own network */
	void *ctx;
	uint32_t held; /* descriptors that other listeners hold */
	const struct fwd_table *later; /* rules whose sockets are opened next, and are to find as many descriptors left; or NULL */
};

struct listeners {
	struct loop *loop;
	unsigned owner_tcp, owner_udp; /* event owners (os/loop.h); ref.index is the index into l, ref.gen is 0 */
	struct fwd_table *table;
	struct listen_place place;
	struct listener *l; /* room for LISTENERS_MAX; those of one rule stand together, in the order of ports */
	uint32_t n; /* places that are or were in use: one that belongs to no rule is closed */
	uint32_t first[FWD_PLACES]; /* of each rule: index of its first port */
	struct timer retry; /* armed while some are paused */
};

/* No listeners yet; t must outlive *ls. */
void listeners_init(struct listeners *ls, struct fwd_table *t);

/* Sockets of all rules of a table together. */
#define LISTENERS_MAX (5 * 65536)

/*
 * Opens a socket for every port of every rule, without events yet; FWD_SCAN rules get closed listeners for listener_open(). A port that
 * can't be bound is the line "Listen failed for HOST TCP port ADDR/PORT: reason", with the name of the place. It is an error, one for each rule, and the result is
 * -errno of the last; for a FWD_WEAK rule it is a warning, in which neighbouring ports with the same reason share one line, unless all
 * ports of its specifier failed: then "All listens failed for ..." and -errno. Where the kernel has no IPv6, a dual rule is IPv4.
 * Where descriptors are short, FWD_WEAK specifiers get equal shares, with a warning.
 * -E2BIG for more than LISTENERS_MAX sockets. On failure nothing is left open. t must outlive *ls. place: NULL for our own
 * network.
 */
MUST_USE int listeners_open(struct listeners *ls, struct fwd_table *t, const struct listen_place *place);

/* Adds them to the loop (level-triggered EPOLLIN). The owners must be set. */
MUST_USE int listeners_start(struct listeners *ls, struct loop *loop, unsigned owner_tcp, unsigned owner_udp);
void listeners_close(struct listeners *ls);

/* Sockets with paths that listeners_open() has made: from now on they stay, even when we end; or they go, after a start that failed. */
void listeners_keep(struct listeners *ls);
void listeners_undo(struct listeners *ls);

/* How many are open now. */
uint32_t listeners_held(const struct listeners *ls);

/* That of a port of a rule, open or not; NULL: the rule does not have the port. */
struct listener *listener_find(const struct listeners *ls, unsigned rule, uint16_t port);

/*
 * One port of one rule, opened later ("auto") and added to the loop if listeners_start() was called; 0 if it is open already. Nothing
 * is logged. -EINVAL if the rule does not have the port.
 */
MUST_USE int listener_open(struct listeners *ls, unsigned rule, uint16_t port);
void listener_close(struct listeners *ls, unsigned rule, uint16_t port);

/* The same in two steps, for a socket that somebody else opens meanwhile: what it has to be, and taking it. Closed on failure. */
void listener_spec(const struct listeners *ls, const struct listener *l, struct bound_spec *ret_spec);
MUST_USE int listener_take(struct listeners *ls, unsigned rule, uint16_t port, int fd, bool v6);

/*
 * The only listener of a rule with FWD_AT_PATH that was opened elsewhere, as there are no paths here any more: takes a socket that listens at
 * the rule's path. And the folder of a rule with FWD_TO_PATH, before its port is opened. Both are closed on failure: -EBADF, they are not
 * that.
 */
MUST_USE int listener_take_path(struct listeners *ls, unsigned rule, int fd);
MUST_USE int listener_take_dir(struct listeners *ls, unsigned rule, int dir);

/*
 * One more rule in the table, and closed listeners for its ports, to be opened one by one. -ENOSPC: the table is full; -E2BIG: too many
 * ports. Needs listeners_open() before. The places of other rules and listeners stay.
 */
MUST_USE int listeners_rule_add(struct listeners *ls, const struct fwd_rule *r, unsigned *ret_rule);

/* Closes what is open of a rule, and takes it out of the table. Its place may be the next one's. */
void listeners_rule_remove(struct listeners *ls, unsigned rule);

/* The open socket of a port becomes that of another one, which is closed; what waits there is not lost. -errno: it is closed. */
MUST_USE int listener_move(struct listeners *ls, struct listener *from, struct listener *to);

/*
 * A connection from peer: takes fd, which is non-blocking, in any case. 0 or -errno; the listener rests after one of listener_accept()'s
 * errors of shortage, and after -EBUSY: that connection is taken, but the next ones are to wait.
 */
typedef int listener_conn_fn(void *ctx, const struct listener *l, int fd, const struct ep *peer);

/*
 * The TCP listener with this index is readable: takes the connections that wait, but not more than others can wait for, and gives each to
 * fn. When descriptors or memory are short (EMFILE, ENFILE, ENOBUFS, ENOMEM), or accept(2) fails for a reason that we don't know, a
 * warning, and listener_pause(). An error of the connection itself is that connection's end and no more. An index that there is no
 * longer is ignored.
 */
void listener_accept(struct listeners *ls, uint32_t index, listener_conn_fn *fn, void *ctx);

/*
 * No event of this listener for a second: what came can't be taken now, for want of descriptors or memory, and to be told of it again
 * and again would not help. It waits in the kernel's queue.
 */
void listener_pause(struct listeners *ls, uint32_t index);

/* What they rest for has passed: those that were paused have their events again now. */
void listeners_wake(struct listeners *ls);
