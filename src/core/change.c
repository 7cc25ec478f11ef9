/* SPDX-License-Identifier: MIT */
#include "core/change.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#define WAIT_NS NSEC_PER_MSEC /* until somebody who was busy is asked again */

static const struct ctl_item *item_at(const struct change *g, unsigned i)
{
	return &g->plan->item[i];
}

/* The place of an item in its table. */
static unsigned place_of(const struct change *g, unsigned i)
{
	return item_at(g, i)->fate == CTL_ADD ? g->result[i].place : item_at(g, i)->place;
}

/* An item's own name of a port that another one has: a UNIX socket is that of its path, wherever it leads. */
static uint16_t port_in(const struct ctl_item *it, uint16_t port)
{
	return it->rule.flags & FWD_AT_PATH ? it->rule.first : port;
}

static struct listener *listener_of(const struct change *g, unsigned i, uint16_t port)
{
	return listener_find(g->c.ls[item_at(g, i)->table], place_of(g, i), port_in(item_at(g, i), port));
}

static bool is_auto(const struct ctl_item *it)
{
	return it->rule.flags & FWD_SCAN;
}

static bool is_weak(const struct ctl_item *it)
{
	return it->rule.flags & FWD_WEAK;
}

/* Both could claim this port. */
static bool claims(const struct ctl_item *a, const struct ctl_item *b, uint16_t port)
{
	port = port_in(b, port);
	return a->table == b->table && fwd_rule_conflict(&a->rule, &b->rule) && port >= b->rule.first && port <= b->rule.last;
}

static bool same_socket(const struct change *g, enum ctl_table table, const struct listener *a, const struct listener *b)
{
	struct bound_spec x, y;

	listener_spec(g->c.ls[table], a, &x);
	listener_spec(g->c.ls[table], b, &y);
	return addr_eq(&x.addr, &y.addr) && x.dual == y.dual && !strncmp(x.dev, y.dev, sizeof(x.dev));
}

static void close_at(struct change *g, unsigned i, uint16_t port)
{
	g->c.close(g->c.ctx, item_at(g, i)->table, place_of(g, i), port_in(item_at(g, i), port));
}

/* --- opening --- */

/* The socket of from's port, if it is open and of the same kind, becomes that of to. */
static bool port_move(struct change *g, unsigned from, unsigned to, uint16_t port)
{
	enum ctl_table table = item_at(g, from)->table;
	struct listener *a = listener_of(g, from, port), *b = listener_of(g, to, port);

	if (!a || !b || a->fd < 0 || b->fd >= 0 || !same_socket(g, table, a, b))
		return false;
	g->c.release(g->c.ctx, table, place_of(g, from), port_in(item_at(g, from), port));
	return !listener_move(g->c.ls[table], a, b);
}

/* What rules that go have on a port of a new one: taken over, or closed. True: it was taken over. */
static bool port_clear(struct change *g, unsigned i, uint16_t port)
{
	for (unsigned k = 0; k < g->plan->n; k++) {
		if (item_at(g, k)->fate != CTL_REMOVE || !claims(item_at(g, i), item_at(g, k), port))
			continue;
		if (port_move(g, k, i, port))
			return true;
		close_at(g, k, port);
	}
	return false;
}

static void port_failed(struct change *g, unsigned i, uint16_t port, int err)
{
	struct change_result *r = &g->result[i];

	if (!r->err) {
		r->err = err;
		r->port = port;
	}
	if (item_at(g, i)->fate == CTL_ADD && !is_weak(item_at(g, i))) {
		r->verdict = CHANGE_FAILED;
		g->failed = true;
	}
}

static void port_done(struct change *g, unsigned i, uint16_t port, int err)
{
	if (err)
		port_failed(g, i, port, err);
	else
		g->result[i].opened++;
}

/* -EAGAIN: not now. */
static int port_open(struct change *g, unsigned i, uint16_t port)
{
	const struct ctl_item *it = item_at(g, i);
	bool taken = it->fate == CTL_ADD && port_clear(g, i, port);
	int err = 0;

	/* To lead to a UNIX socket takes more than the port. */
	if (!taken || it->rule.flags & FWD_TO_PATH)
		err = g->c.open(g->c.ctx, it->table, place_of(g, i), port);
	if (err == -EAGAIN)
		return err;
	if (err == -EINPROGRESS)
		g->pending++;
	else
		port_done(g, i, port, err);
	return 0;
}

/* --- the phases: each has a step for a port, or for an item that is over --- */

/* Goes on with the next item of this fate that has ports to be worked on. False: there is none. */
static bool item_next(struct change *g, enum ctl_fate fate)
{
	while (g->item < g->plan->n) {
		const struct ctl_item *it = item_at(g, g->item);

		if (it->fate == fate && (fate == CTL_REMOVE || (!is_auto(it) && g->item < g->placed))) {
			if (!g->port)
				g->port = it->rule.first;
			if (g->port <= it->rule.last)
				return true;
		}
		g->item++;
		g->port = 0;
	}
	return false;
}

static void phase_begin(struct change *g, enum change_phase phase)
{
	g->phase = phase;
	g->item = 0;
	g->port = 0;
}

/* All rules get a place, before anything is opened. */
static void places_find(struct change *g)
{
	for (unsigned i = 0; i < g->plan->n; i++)
		g->result[i] = (struct change_result){ .verdict = item_at(g, i)->fate == CTL_KEEP ? CHANGE_KEPT : CHANGE_NONE };
	for (g->placed = 0; g->placed < g->plan->n; g->placed++) {
		const struct ctl_item *it = item_at(g, g->placed);
		struct change_result *r = &g->result[g->placed];
		int err;

		if (it->fate != CTL_ADD)
			continue;
		err = listeners_rule_add(g->c.ls[it->table], &it->rule, &r->place);
		if (err) {
			*r = (struct change_result){ .verdict = CHANGE_FAILED, .err = err, .port = it->rule.first };
			g->failed = true;
			return;
		}
		if (!is_auto(it))
			g->c.added(g->c.ctx, it->table, r->place);
	}
}

static void finish(struct change *g)
{
	phase_begin(g, CHANGE_IDLE);
	g->c.done(g->c.ctx, !g->failed);
}

/* Nothing is on its way any more: is it as it was asked for? */
static void drained(struct change *g)
{
	for (unsigned i = 0; i < g->placed; i++) {
		const struct ctl_item *it = item_at(g, i);
		struct change_result *r = &g->result[i];

		if (it->fate != CTL_ADD || r->verdict == CHANGE_FAILED)
			continue;
		if (is_auto(it)) {
			r->verdict = CHANGE_AUTO;
		} else if (r->opened == fwd_rule_ports(&it->rule)) {
			r->verdict = CHANGE_BOUND;
		} else if (r->opened && is_weak(it)) {
			r->verdict = CHANGE_PARTLY;
		} else {
			r->verdict = r->err ? CHANGE_FAILED : CHANGE_NONE;
			g->failed = true;
		}
	}
	phase_begin(g, g->failed ? CHANGE_UNDO : CHANGE_COMMIT);
}

static int step_open(struct change *g)
{
	int err;

	if (g->failed || !item_next(g, CTL_ADD)) {
		phase_begin(g, CHANGE_DRAIN);
		return 0;
	}
	err = port_open(g, g->item, (uint16_t)g->port);
	if (!err)
		g->port++;
	return err;
}

static int step_drain(struct change *g)
{
	if (g->pending)
		return -EINPROGRESS;
	drained(g);
	return 0;
}

/* What is not to be there any more is taken out of its table. */
static void rules_drop(struct change *g, enum ctl_fate fate)
{
	for (unsigned i = 0; i < g->placed; i++) {
		const struct ctl_item *it = item_at(g, i);

		if (it->fate != fate)
			continue;
		if (fate == CTL_REMOVE || !is_auto(it))
			g->c.gone(g->c.ctx, it->table, place_of(g, i));
		listeners_rule_remove(g->c.ls[it->table], place_of(g, i));
	}
}

static int step_commit(struct change *g)
{
	if (item_next(g, CTL_REMOVE)) {
		close_at(g, g->item, (uint16_t)g->port++);
		return 0;
	}
	rules_drop(g, CTL_REMOVE);
	for (unsigned i = 0; i < g->plan->n; i++) {
		if (item_at(g, i)->fate == CTL_REMOVE)
			g->result[i].verdict = CHANGE_REMOVED;
		else if (item_at(g, i)->fate == CTL_ADD && is_auto(item_at(g, i)))
			g->c.added(g->c.ctx, item_at(g, i)->table, place_of(g, i));
	}
	finish(g);
	return 0;
}

/* Ports that were taken over go back. */
static int step_undo(struct change *g)
{
	uint16_t port = (uint16_t)g->port;

	if (!item_next(g, CTL_ADD)) {
		rules_drop(g, CTL_ADD);
		phase_begin(g, CHANGE_REOPEN);
		return 0;
	}
	port = (uint16_t)g->port++;
	for (unsigned k = 0; k < g->plan->n; k++) {
		if (item_at(g, k)->fate == CTL_REMOVE && claims(item_at(g, g->item), item_at(g, k), port) &&
		    port_move(g, g->item, k, port))
			return 0;
	}
	close_at(g, g->item, port);
	return 0;
}

/* Whether a new rule would have had this port. */
static bool was_wanted(const struct change *g, unsigned i, uint16_t port)
{
	for (unsigned k = 0; k < g->plan->n; k++) {
		if (item_at(g, k)->fate == CTL_ADD && claims(item_at(g, i), item_at(g, k), port))
			return true;
	}
	return false;
}

static void undone(struct change *g)
{
	for (unsigned i = 0; i < g->plan->n; i++) {
		const struct ctl_item *it = item_at(g, i);
		struct change_result *r = &g->result[i];

		if (it->fate == CTL_REMOVE)
			r->verdict = r->err && !is_weak(it) ? CHANGE_LOST : CHANGE_UNDONE;
		else if (it->fate == CTL_ADD && r->verdict != CHANGE_FAILED)
			r->verdict = CHANGE_UNDONE;
		/* Whoever opens these ports thinks that they are open. */
		if (it->fate == CTL_REMOVE && is_auto(it)) {
			g->c.gone(g->c.ctx, it->table, it->place);
			g->c.added(g->c.ctx, it->table, it->place);
		}
	}
	finish(g);
}

/* Ports that were closed in vain. */
static int step_reopen(struct change *g)
{
	const struct listener *l;
	int err = 0;

	if (!item_next(g, CTL_REMOVE)) {
		if (g->pending)
			return -EINPROGRESS;
		undone(g);
		return 0;
	}
	l = listener_of(g, g->item, (uint16_t)g->port);
	if (l && l->fd < 0 && !is_auto(item_at(g, g->item)) && was_wanted(g, g->item, (uint16_t)g->port))
		err = port_open(g, g->item, (uint16_t)g->port);
	if (!err)
		g->port++;
	return err;
}

static void change_work(struct timer *t, uint64_t now_ns)
{
	static int (*const step[])(struct change *) = {
		[CHANGE_OPEN] = step_open, [CHANGE_DRAIN] = step_drain,   [CHANGE_COMMIT] = step_commit,
		[CHANGE_UNDO] = step_undo, [CHANGE_REOPEN] = step_reopen,
	};
	struct change *g = container_of(t, struct change, timer);
	int err = 0;

	for (unsigned i = 0; i < CHANGE_SLICE && !err && g->phase != CHANGE_IDLE; i++)
		err = step[g->phase](g);
	if (g->phase == CHANGE_IDLE || err == -EINPROGRESS)
		return;
	timer_set(&g->c.loop->timers, t, now_ns + (err ? WAIT_NS : 0));
}

/* --- for the caller --- */

void change_init(struct change *g, const struct change_conf *c)
{
	memset(g, 0, sizeof(*g));
	g->c = *c;
	timer_init(&g->timer, change_work);
}

bool change_busy(const struct change *g)
{
	return g->phase != CHANGE_IDLE;
}

int change_start(struct change *g, const struct ctl_plan *plan)
{
	if (change_busy(g))
		return -EBUSY;
	g->plan = plan;
	g->failed = false;
	g->pending = 0;
	places_find(g);
	phase_begin(g, CHANGE_OPEN);
	timer_set(&g->c.loop->timers, &g->timer, 0);
	return 0;
}

void change_opened(struct change *g, enum ctl_table table, unsigned rule, uint16_t port, int err)
{
	for (unsigned i = 0; g->pending && i < g->placed; i++) {
		if (item_at(g, i)->table != table || place_of(g, i) != rule || item_at(g, i)->fate == CTL_KEEP)
			continue;
		g->pending--;
		port_done(g, i, port, err);
		timer_set(&g->c.loop->timers, &g->timer, 0);
		return;
	}
}

void change_stop(struct change *g)
{
	if (g->phase != CHANGE_IDLE)
		timer_cancel(&g->c.loop->timers, &g->timer);
	g->phase = CHANGE_IDLE;
}
