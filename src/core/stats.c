/* SPDX-License-Identifier: MIT */
#include "core/stats.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINES 20 /* between two heads of the table */
#define TEXT_MAX 512 /* of a line and a head; what poll(2) calls writable takes more */

static bool same(const struct stats_row *a, const struct stats_row *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void print(struct stats *s, const struct stats_row *r, uint64_t now_ns)
{
	static const char *const head[] = { "SECONDS",   "FRAMES IN", "BYTES IN", "FRAMES OUT",
					    "BYTES OUT", "FLOWS",     "SPLICED",  "BYTES SPLICED" };
	struct pollfd p = { .fd = s->fd, .events = POLLOUT };
	char text[TEXT_MAX];
	int n = 0;

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return;
	if (s->lines % LINES == 0)
		n = snprintf(text, sizeof(text), "%10s %12s %16s %12s %16s %7s %7s %16s\n", head[0], head[1], head[2], head[3],
			     head[4], head[5], head[6], head[7]);
	n += snprintf(text + n, sizeof(text) - (size_t)n,
		      "%10.1f %12" PRIu64 " %16" PRIu64 " %12" PRIu64 " %16" PRIu64 " %7" PRIu64 " %7" PRIu64 " %16" PRIu64 "\n",
		      (double)(now_ns - s->start_ns) / NSEC_PER_SEC, r->from_guest, r->from_guest_bytes, r->to_guest,
		      r->to_guest_bytes, r->flows, r->splices, r->spliced_bytes);
	if (write(s->fd, text, (size_t)n) == n)
		s->lines++;
}

static void due(struct timer *t, uint64_t now_ns)
{
	struct stats *s = container_of(t, struct stats, timer);
	struct stats_row row;

	s->get(s->ctx, &row);
	if (same(&row, &s->last))
		return;
	print(s, &row, now_ns);
	s->last = row;
	s->last_ns = now_ns;
}

void stats_init(struct stats *s, uint64_t now_ns)
{
	s->start_ns = now_ns;
	s->last_ns = 0;
	s->lines = 0;
	s->get(s->ctx, &s->last);
	timer_init(&s->timer, due);
}

void stats_fini(struct stats *s)
{
	if (s->every_ns)
		timer_cancel(s->timers, &s->timer);
}

void stats_turn(struct stats *s, uint64_t now_ns)
{
	struct stats_row row;

	if (!s->every_ns || timer_armed(&s->timer))
		return;
	s->get(s->ctx, &row);
	if (!same(&row, &s->last))
		timer_set(s->timers, &s->timer, MAX(now_ns, s->last_ns + s->every_ns));
}
