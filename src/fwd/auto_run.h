/* SPDX-License-Identifier: MIT */
/*
 * Automatic ports at work: looks at both sides from time to time, and has ports opened and closed.
 *
 * Two directions share one clock: AUTO_IN listens on the host for what listens in the namespace, AUTO_OUT the other way round. What a
 * direction listens on itself is no service for the other one.
 */
#pragma once

#include "fwd/auto.h"
#include "os/sockdiag.h"

enum auto_side { AUTO_HOST, AUTO_NS, AUTO_SIDES };
enum auto_dir { AUTO_IN, AUTO_OUT, AUTO_DIRS };

struct auto_conf {
	struct loop *loop;

	/* For each side a socket of NETLINK_SOCK_DIAG that was opened there, or -1: the direction that needs it stands still. Taken over. */
	int diag_fd[AUTO_SIDES];

	/* The rules of each direction, or NULL. Those without FWD_SCAN are left alone. */
	const struct fwd_table *table[AUTO_DIRS];
	bool later; /* there may be rules with FWD_SCAN later, even if there are none now: auto_run_rule_new() */

	/* To where on the other side connections go: a bit for each enum sockdiag_where whose sockets are reached. */
	unsigned reach[AUTO_DIRS];

	/*
	 * One port of one rule. open may fail: the port is tried again after a while, or with the next look after -EAGAIN. It may also
	 * return 0 before the port is open, and report a failure later (auto_run_failed()). close is to be done before the next look, or what is
	 * left of the port looks like somebody's service.
	 */
	int (*open)(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port);
	void (*close)(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port);
	void *ctx;
};

struct auto_run;

/* Looks for the first time at once, when the loop runs. -ENOMEM, or -errno of epoll_ctl(2); the sockets are closed on failure as well. */
MUST_USE int auto_run_new(const struct auto_conf *c, struct auto_run **ret_a);

/* Whether there was a first look, with what followed from it, or an attempt that failed. */
bool auto_run_looked(const struct auto_run *a);

/* Closes no ports. */
void auto_run_free(struct auto_run *a);

/* A rule has come into the table; or is about to go out of it, its ports closed. Not from within a look. Rules that are there from the
 * beginning need no auto_run_rule_new(), but auto_run_ours(). */
void auto_run_rule_new(struct auto_run *a, enum auto_dir dir, unsigned rule);
void auto_run_rule_gone(struct auto_run *a, enum auto_dir dir, unsigned rule);

/* A port (of proto 6 or 17) that a rule without FWD_SCAN listens on, in this direction. */
void auto_run_ours(struct auto_run *a, enum auto_dir dir, uint8_t proto, uint16_t port);

/* A port that open() was called for could not be opened after all. Not from within a look. */
void auto_run_failed(struct auto_run *a, enum auto_dir dir, unsigned rule, uint16_t port, int err);

/* Looks at once, say because somebody tells that something has changed. */
void auto_run_now(struct auto_run *a);
