/* SPDX-License-Identifier: MIT */
/*
 * What a change request comes to (docs/control.md): which rules stay, which go and which are new. Pure, but for jansson's memory: nothing
 * is opened or closed here.
 */
#pragma once

#include <jansson.h>

#include "fwd/rule.h"

#define CTL_STEPS_MAX 512

enum ctl_table { CTL_IN, CTL_OUT, CTL_TABLES };

/* What rules can be here; as struct fwd_ctx. */
struct ctl_rules {
	bool v4, v6, pasta, tcp, udp;
	uint16_t eph_first, eph_last;
};

enum ctl_fate { CTL_KEEP, CTL_REMOVE, CTL_ADD };

struct ctl_item {
	enum ctl_fate fate;
	enum ctl_table table;
	unsigned place; /* in its table; not of CTL_ADD */
	struct fwd_rule rule;
};

struct ctl_plan {
	struct ctl_item item[CTL_TABLES * 2 * FWD_RULES_MAX]; /* those to be added last */
	unsigned n;

	/* After a failure */
	const char *error; /* as in docs/control.md */
	char message[FWD_ERR_LEN];
	int step; /* that made no sense; -1: something else */

	/* For ctl_plan() alone */
	struct {
		struct fwd_table t;
		int place[FWD_RULES_MAX]; /* in the table that is in effect; -1: new */
	} want[CTL_TABLES];
	struct fwd_table scratch;
};

/* now: the tables in effect; NULL: there is none. steps: of the request. -EINVAL: error, message and step tell. */
MUST_USE int ctl_plan(const struct ctl_rules *c, const struct fwd_table *const now[CTL_TABLES], const json_t *steps,
		      struct ctl_plan *ret_plan);

const char *ctl_table_name(enum ctl_table t);
