/* SPDX-License-Identifier: MIT */
#include "fwd/auto_run.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"

#define RETRY_NS (2 * NSEC_PER_SEC) /* for a port that could not be opened */

/* One rule of FWD_SCAN. */
struct lane {
	enum auto_dir dir;
	unsigned rule;
	uint64_t refused_ns; /* since when ports are in refused */
	struct portmap want, open, refused;
};

struct look {
	struct auto_run *a;
	struct sockdiag *diag; /* NULL: nobody needs it */
	bool pending;
	const struct sockdiag_scan *scan; /* the last result; NULL: none */
};

struct auto_run {
	struct auto_conf c;
	struct timer timer;
	struct look look[AUTO_SIDES];
	struct lane *lane;
	unsigned n, room;
	uint64_t changed_ns;
	bool again; /* look once more as soon as this one is over */
	bool looked;
	bool starting; /* both sides are being asked */
	bool closed; /* ports were closed since ours was made */
	bool settled; /* a look that sees the same as the last one has no consequences */
	bool told[SOCKDIAG_PROTOS]; /* that the kernel can't tell */
	struct portmap fixed[AUTO_DIRS][SOCKDIAG_PROTOS], ours[AUTO_DIRS][SOCKDIAG_PROTOS]; /* ports that we listen on; ours: all */
	struct auto_diff diff; /* scratch */
};

/* Where the services are that a direction leads to. */
static enum auto_side side_of(enum auto_dir dir)
{
	return dir == AUTO_IN ? AUTO_NS : AUTO_HOST;
}

static enum sockdiag_proto proto_of(uint8_t proto)
{
	return proto == IPPROTO_UDP ? SOCKDIAG_UDP : SOCKDIAG_TCP;
}

static const char *const proto_name[SOCKDIAG_PROTOS] = { [SOCKDIAG_TCP] = "TCP", [SOCKDIAG_UDP] = "UDP" };

static const struct fwd_rule *rule_of(const struct auto_run *a, const struct lane *l)
{
	return &a->c.table[l->dir]->rule[l->rule];
}

static void map_add(struct portmap *to, const struct portmap *m)
{
	for (unsigned w = 0; w < ARRAY_SIZE(to->w); w++)
		to->w[w] |= m->w[w];
}

static void map_sub(struct portmap *from, const struct portmap *m)
{
	for (unsigned w = 0; w < ARRAY_SIZE(from->w); w++)
		from->w[w] &= ~m->w[w];
}

/*
 * All ports that we listen on, after some were closed. What is opened counts at once, but what is closed was still ours in the lists
 * that this look is about: it is left out of them until the next one.
 */
static void ours_update(struct auto_run *a)
{
	memcpy(a->ours, a->fixed, sizeof(a->ours));
	for (unsigned i = 0; i < a->n; i++)
		map_add(&a->ours[a->lane[i].dir][proto_of(rule_of(a, &a->lane[i])->proto)], &a->lane[i].open);
	a->closed = false;
}

/* What listens where a lane leads to, as far as that is reached. A UDP port may as well be announced by its TCP twin, as with DNS. */
static void lane_there(const struct auto_run *a, const struct lane *l, struct portmap *ret_there)
{
	const struct sockdiag_scan *s = a->look[side_of(l->dir)].scan;
	const struct fwd_rule *r = rule_of(a, l);
	unsigned families = 1u << SOCKDIAG_4 | 1u << SOCKDIAG_6, reach = a->c.reach[l->dir];

	if (!(r->flags & FWD_DUAL))
		families = addr_is4(&r->addr) ? 1u << SOCKDIAG_4 : 1u << SOCKDIAG_6;
	memset(ret_there, 0, sizeof(*ret_there));
	sockdiag_select(&s->ports[SOCKDIAG_TCP], families, reach, ret_there);
	map_sub(ret_there, &a->ours[!l->dir][SOCKDIAG_TCP]);
	if (r->proto == IPPROTO_UDP)
		sockdiag_select(&s->ports[SOCKDIAG_UDP], families, reach, ret_there);
}

static void lane_close(struct auto_run *a, struct lane *l)
{
	for (uint32_t p = 0; auto_port_next(&a->diff.close, &p); p++) {
		a->c.close(a->c.ctx, l->dir, l->rule, (uint16_t)p);
		log_debug("Automatic %s port %u: closed", proto_name[proto_of(rule_of(a, l)->proto)], p);
		portmap_clear(&l->open, (uint16_t)p);
		a->closed = true;
	}
}

static void lane_refused(struct auto_run *a, struct lane *l, uint16_t port, int err)
{
	log_debug("Automatic %s port %u: not opened: %s", proto_name[proto_of(rule_of(a, l)->proto)], port, strerror(-err));
	portmap_set(&l->refused, port);
	l->refused_ns = a->c.loop->now_ns;
}

static void lane_open(struct auto_run *a, struct lane *l)
{
	for (uint32_t p = 0; auto_port_next(&a->diff.open, &p); p++) {
		int err = a->c.open(a->c.ctx, l->dir, l->rule, (uint16_t)p);

		if (!err) {
			portmap_set(&l->open, (uint16_t)p);
			log_debug("Automatic %s port %u: open", proto_name[proto_of(rule_of(a, l)->proto)], p);
		} else if (err != -EAGAIN) {
			lane_refused(a, l, (uint16_t)p, err);
		}
	}
}

static void lane_run(struct auto_run *a, struct lane *l)
{
	const struct sockdiag_scan *s = a->look[side_of(l->dir)].scan;
	enum sockdiag_proto proto = proto_of(rule_of(a, l)->proto);
	struct portmap there, before = l->want;

	if (!s || s->err[proto])
		return;
	lane_there(a, l, &there);
	auto_want(rule_of(a, l), &there, &a->ours[!l->dir][proto], &l->want);
	if (memcmp(&before, &l->want, sizeof(before))) {
		a->changed_ns = a->c.loop->now_ns;
		a->settled = false;
	}

	if (a->c.loop->now_ns - l->refused_ns >= RETRY_NS)
		memset(&l->refused, 0, sizeof(l->refused));
	for (unsigned w = 0; w < ARRAY_SIZE(before.w); w++)
		l->refused.w[w] &= l->want.w[w];

	/* What was not seen in a torn list has to be missing twice. */
	auto_diff(&l->want, &l->open, s->torn ? &before : NULL, &l->refused, &a->diff);
	for (unsigned w = 0; w < ARRAY_SIZE(before.w); w++)
		a->settled &= !l->refused.w[w];
	if (!a->diff.any)
		return;
	a->settled = false;
	lane_close(a, l);
	lane_open(a, l);
	map_add(&a->ours[l->dir][proto], &l->open);
}

static void complain(struct auto_run *a, const struct sockdiag_scan *s)
{
	for (unsigned i = 0; i < SOCKDIAG_PROTOS; i++) {
		if (!s->err[i] || a->told[i])
			continue;
		a->told[i] = true;
		log_warn("Automatic %s ports: the kernel does not tell what is listened on: %s", proto_name[i],
			 strerror(-s->err[i]));
	}
}

static bool is_same(const struct auto_run *a)
{
	bool same = true;

	for (unsigned i = 0; i < AUTO_SIDES; i++)
		same &= !a->look[i].scan || a->look[i].scan->same;
	return same;
}

static void lanes_run(struct auto_run *a)
{
	a->settled = true;
	for (unsigned i = 0; i < a->n; i++)
		lane_run(a, &a->lane[i]);
	if (a->closed)
		ours_update(a);
}

static void look_over(struct auto_run *a)
{
	uint64_t cost = 0, now = a->c.loop->now_ns, next;

	for (unsigned i = 0; i < AUTO_SIDES; i++) {
		if (!a->look[i].scan)
			continue;
		cost += a->look[i].scan->cost_ns;
		complain(a, a->look[i].scan);
	}
	if (!a->settled || !is_same(a))
		lanes_run(a);
	a->looked = true;
	next = a->again ? 0 : auto_interval(now, a->changed_ns, cost);
	if (!a->n)
		return;
	timer_set(&a->c.loop->timers, &a->timer, now + next);
	a->again = false;
	log_trace("Automatic ports: looked, again in %u ms", (unsigned)(next / NSEC_PER_MSEC));
}

/* Both sides were looked at, if asking them was possible at all. */
static void look_end(struct auto_run *a, bool asked)
{
	if (a->look[AUTO_HOST].pending || a->look[AUTO_NS].pending)
		return;
	if (asked) {
		look_over(a);
		return;
	}
	a->looked = true;
	if (a->n)
		timer_set(&a->c.loop->timers, &a->timer, a->c.loop->now_ns + AUTO_IDLE_NS);
}

static void on_scan(void *ctx, const struct sockdiag_scan *scan)
{
	struct look *k = ctx;

	k->scan = scan;
	k->pending = false;
	/* While they are still being asked, look_start() goes on. */
	if (!k->a->starting)
		look_end(k->a, true);
}

/* Some rule leads to this side. */
static bool side_needed(const struct auto_run *a, enum auto_side side)
{
	for (unsigned i = 0; i < a->n; i++) {
		if (side_of(a->lane[i].dir) == side)
			return true;
	}
	return false;
}

static void look_start(struct auto_run *a)
{
	bool asked = false;

	a->starting = true;
	for (unsigned i = 0; i < AUTO_SIDES; i++) {
		a->look[i].pending = a->look[i].diag && side_needed(a, i);
		a->look[i].scan = NULL;
	}
	for (unsigned i = 0; i < AUTO_SIDES; i++) {
		struct look *k = &a->look[i];
		bool ask = k->pending;
		int err = ask ? sockdiag_start(k->diag) : 0;

		asked |= ask && !err;
		if (!err)
			continue;
		k->pending = false;
		a->settled = false;
		log_limited(LOG_LVL_WARN, "Automatic ports: %s", strerror(-err));
	}
	a->starting = false;
	look_end(a, asked);
}

static void timer_fire(struct timer *t, uint64_t now_ns)
{
	look_start(container_of(t, struct auto_run, timer));
}

void auto_run_failed(struct auto_run *a, enum auto_dir dir, unsigned rule, uint16_t port, int err)
{
	for (unsigned i = 0; i < a->n; i++) {
		struct lane *l = &a->lane[i];

		if (l->dir != dir || l->rule != rule || !portmap_has(&l->open, port))
			continue;
		portmap_clear(&l->open, port);
		lane_refused(a, l, port, err);
		a->closed = true;
		a->settled = false;
	}
}

void auto_run_now(struct auto_run *a)
{
	if (a->look[AUTO_HOST].pending || a->look[AUTO_NS].pending)
		a->again = true;
	else
		timer_set(&a->c.loop->timers, &a->timer, a->c.loop->now_ns);
}

void auto_run_ours(struct auto_run *a, enum auto_dir dir, uint8_t proto, uint16_t port)
{
	portmap_set(&a->fixed[dir][proto_of(proto)], port);
	portmap_set(&a->ours[dir][proto_of(proto)], port);
}

void auto_run_rule_new(struct auto_run *a, enum auto_dir dir, unsigned rule)
{
	const struct fwd_rule *r = &a->c.table[dir]->rule[rule];

	if (r->flags & FWD_AT_PATH)
		return; /* its port is one of the namespace */
	if (!(r->flags & FWD_SCAN)) {
		for (uint32_t port = r->first; port <= r->last; port++)
			auto_run_ours(a, dir, r->proto, (uint16_t)port);
		return;
	}
	if (a->n == a->room)
		return;
	a->lane[a->n++] = (struct lane){ .dir = dir, .rule = rule };
	a->settled = false;
	auto_run_now(a);
}

/* Ports that we listen on by rules without FWD_SCAN, but for this one. */
static void fixed_update(struct auto_run *a, enum auto_dir dir, unsigned but)
{
	const struct fwd_table *t = a->c.table[dir];

	memset(a->fixed[dir], 0, sizeof(a->fixed[dir]));
	for (unsigned i = 0; i < t->n; i++) {
		const struct fwd_rule *r = &t->rule[i];

		for (uint32_t port = r->first; i != but && port <= r->last && !(r->flags & (FWD_SCAN | FWD_AT_PATH)); port++)
			portmap_set(&a->fixed[dir][proto_of(r->proto)], (uint16_t)port);
	}
}

void auto_run_rule_gone(struct auto_run *a, enum auto_dir dir, unsigned rule)
{
	unsigned i = 0;

	while (i < a->n && (a->lane[i].dir != dir || a->lane[i].rule != rule))
		i++;
	if (i < a->n)
		a->lane[i] = a->lane[--a->n];
	else
		fixed_update(a, dir, rule);
	a->closed = true;
	a->settled = false;
}

/* A lane for each rule of FWD_SCAN; true if there is one. */
static bool lanes_add(struct auto_run *a, enum auto_dir dir)
{
	const struct fwd_table *t = a->c.table[dir];
	unsigned before = a->n;

	for (unsigned i = 0; t && i < t->n; i++) {
		if (t->rule[i].flags & FWD_SCAN)
			a->lane[a->n++] = (struct lane){ .dir = dir, .rule = i };
	}
	return a->n > before;
}

static unsigned lanes_count(const struct auto_conf *c)
{
	unsigned n = 0;

	if (c->later)
		return AUTO_DIRS * FWD_PLACES;
	for (unsigned d = 0; d < AUTO_DIRS; d++) {
		for (unsigned i = 0; c->table[d] && i < c->table[d]->n; i++)
			n += !!(c->table[d]->rule[i].flags & FWD_SCAN);
	}
	return n;
}

/* The socket that a direction needs; one that is not needed is closed. */
static int look_open(struct auto_run *a, enum auto_dir dir)
{
	enum auto_side side = side_of(dir);
	int fd = a->c.diag_fd[side];

	a->look[side].a = a;
	if (fd < 0)
		return 0;
	a->c.diag_fd[side] = -1;
	if (!lanes_add(a, dir) && !a->c.later) {
		sock_close(fd);
		return 0;
	}
	return sockdiag_new(a->c.loop, fd, on_scan, &a->look[side], &a->look[side].diag);
}

int auto_run_new(const struct auto_conf *c, struct auto_run **ret_a)
{
	struct auto_run *a = calloc(1, sizeof(*a));
	unsigned n = lanes_count(c);
	int err = 0;

	if (a)
		a->lane = calloc(n ? n : 1, sizeof(*a->lane));
	if (!a || !a->lane) {
		free(a);
		sock_close(c->diag_fd[AUTO_HOST]);
		sock_close(c->diag_fd[AUTO_NS]);
		return -ENOMEM;
	}
	a->c = *c;
	a->room = n;
	timer_init(&a->timer, timer_fire);
	for (unsigned d = 0; d < AUTO_DIRS && !err; d++)
		err = look_open(a, d);
	if (err) {
		auto_run_free(a);
		return err;
	}
	if (a->n)
		timer_set(&c->loop->timers, &a->timer, c->loop->now_ns);
	*ret_a = a;
	return 0;
}

bool auto_run_looked(const struct auto_run *a)
{
	return a->looked || !a->n;
}

void auto_run_free(struct auto_run *a)
{
	for (unsigned i = 0; i < AUTO_SIDES; i++) {
		if (a->look[i].diag)
			sockdiag_free(a->look[i].diag);
		sock_close(a->c.diag_fd[i]);
	}
	timer_cancel(&a->c.loop->timers, &a->timer);
	free(a->lane);
	free(a);
}
