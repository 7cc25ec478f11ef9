/* SPDX-License-Identifier: MIT */
/*
 * Changes of forwarding rules while they are at work: all of a plan happens or nothing, a few ports each turn of the loop.
 *
 * New rules get their places first and their ports are opened, or taken over from rules that go; then the old ones are closed. A port that
 * can't be opened undoes what was done.
 */
#pragma once

#include "ctl/plan.h"
#include "fwd/listen.h"
#include "os/loop.h"

#define CHANGE_SLICE 64 /* ports opened or closed in one turn */

enum change_verdict {
	CHANGE_NONE, /* not looked at (yet) */
	CHANGE_BOUND,
	CHANGE_PARTLY,
	CHANGE_AUTO,
	CHANGE_KEPT,
	CHANGE_REMOVED,
	CHANGE_FAILED,
	CHANGE_UNDONE,
	CHANGE_LOST,
};

struct change_conf {
	struct loop *loop;
	struct listeners *ls[CTL_TABLES]; /* NULL: there is no such table */

	/* One port of one rule: 0, or -EINPROGRESS: change_opened() will tell; -EAGAIN: to be asked again a bit later. */
	int (*open)(void *ctx, enum ctl_table table, unsigned rule, uint16_t port);
	void (*close)(void *ctx, enum ctl_table table, unsigned rule, uint16_t port);

	/* Its socket is about to become that of another rule. */
	void (*release)(void *ctx, enum ctl_table table, unsigned rule, uint16_t port);

	/* A rule has come into its table, or is about to leave it. */
	void (*added)(void *ctx, enum ctl_table table, unsigned rule);
	void (*gone)(void *ctx, enum ctl_table table, unsigned rule);

	/* The end: what became of each item of the plan is in change.result. Not from within change_start(). */
	void (*done)(void *ctx, bool ok);
	void *ctx;
};

/* What became of an item of the plan. */
struct change_result {
	enum change_verdict verdict;
	int err; /* -errno */
	uint16_t port; /* that failed */
	unsigned place; /* in the table, of a rule that was added */
	unsigned opened; /* ports */
};

enum change_phase { CHANGE_IDLE, CHANGE_OPEN, CHANGE_DRAIN, CHANGE_COMMIT, CHANGE_UNDO, CHANGE_REOPEN };

struct change {
	struct change_conf c;
	const struct ctl_plan *plan;
	struct change_result result[CTL_TABLES * 2 * FWD_RULES_MAX];
	enum change_phase phase;
	unsigned item; /* that is being worked on */
	uint32_t port; /* of it, that comes next; 0: the first */
	unsigned placed; /* items before this one have a place */
	unsigned pending; /* ports on their way */
	bool failed;
	struct timer timer;
};

void change_init(struct change *g, const struct change_conf *c);

/* The plan has to stay until the end. -EBUSY: one is under way. */
MUST_USE int change_start(struct change *g, const struct ctl_plan *plan);
bool change_busy(const struct change *g);

/* A port for which open() returned -EINPROGRESS. Others are ignored. */
void change_opened(struct change *g, enum ctl_table table, unsigned rule, uint16_t port, int err);

/* Leaves everything as it is. */
void change_stop(struct change *g);
