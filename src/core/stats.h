/* SPDX-License-Identifier: MIT */
/*
 * --stats: a table on standard output that grows by a line whenever something has happened, but not more often than was asked for. Nobody
 * waits for whoever reads it: a line that finds no room is not printed.
 */
#pragma once

#include "base/timer.h"

/* What is counted since the start, but for those that are numbers of the moment. */
struct stats_row {
	uint64_t from_guest, from_guest_bytes; /* frames */
	uint64_t to_guest, to_guest_bytes;
	uint64_t flows; /* of the moment: what is translated, */
	uint64_t splices, spliced_bytes; /* joined without frames, and its payload both ways */
};

struct stats {
	struct timers *timers;
	uint64_t every_ns; /* 0: off */
	void (*get)(void *ctx, struct stats_row *ret_row);
	void *ctx;
	int fd;

	uint64_t start_ns, last_ns;
	struct stats_row last; /* that was printed */
	unsigned lines;
	struct timer timer;
};

/* get, ctx, every_ns, timers and fd are set by the caller. */
void stats_init(struct stats *s, uint64_t now_ns);
void stats_fini(struct stats *s);

/* Something may have happened. */
void stats_turn(struct stats *s, uint64_t now_ns);
