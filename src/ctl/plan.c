/* SPDX-License-Identifier: MIT */
#include "ctl/plan.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"

#define SHOWN 120 /* characters of a rule in a message */

/* A rule as a step says it. */
struct saying {
	enum ctl_table table;
	struct fwd_ctx ctx;
	const char *spec;
};

static const char *const table_name[CTL_TABLES] = { [CTL_IN] = "in", [CTL_OUT] = "out" };

const char *ctl_table_name(enum ctl_table t)
{
	return table_name[t];
}

static int PRINTF(3, 4) plan_fail(struct ctl_plan *p, const char *error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->message, sizeof(p->message), fmt, ap);
	va_end(ap);
	utf8_trim(p->message);
	p->error = error;
	return -EINVAL;
}

/* --- reading --- */

static int read_table(struct ctl_plan *p, const struct ctl_rules *c, const char *name, enum ctl_table *ret_table)
{
	for (unsigned i = 0; name && i < CTL_TABLES; i++) {
		if (strcmp(name, table_name[i]))
			continue;
		if (i == CTL_OUT && !c->pasta)
			return plan_fail(p, "not-possible", "Only pasta has rules for what leaves the namespace");
		*ret_table = i;
		return 0;
	}
	return plan_fail(p, "bad-argument", "table has to be \"in\" or \"out\"");
}

static int read_proto(struct ctl_plan *p, const struct ctl_rules *c, const char *name, uint8_t *ret_proto)
{
	if (!name || (strcmp(name, "tcp") && strcmp(name, "udp")))
		return plan_fail(p, "bad-argument", "proto has to be \"tcp\" or \"udp\"");
	*ret_proto = name[0] == 't' ? IPPROTO_TCP : IPPROTO_UDP;
	if (!(*ret_proto == IPPROTO_TCP ? c->tcp : c->udp))
		return plan_fail(p, "not-possible", "Port forwarding of %s, but that is disabled", name);
	return 0;
}

static int read_saying(struct ctl_plan *p, const struct ctl_rules *c, const json_t *j, struct saying *ret_s)
{
	struct saying s = {
		.ctx = { .v4 = c->v4, .v6 = c->v6, .pasta = c->pasta, .eph_first = c->eph_first, .eph_last = c->eph_last },
		.spec = json_string_value(json_object_get(j, "spec")),
	};
	bool tcp;
	int err;

	err = read_table(p, c, json_string_value(json_object_get(j, "table")), &s.table);
	if (!err)
		err = read_proto(p, c, json_string_value(json_object_get(j, "proto")), &s.ctx.proto);
	if (err)
		return err;
	if (!s.spec)
		return plan_fail(p, "bad-argument", "spec has to be a port specifier");
	tcp = s.ctx.proto == IPPROTO_TCP;
	s.ctx.outwards = s.table == CTL_OUT;
	snprintf(s.ctx.opt, sizeof(s.ctx.opt), "-%c", s.ctx.outwards ? (tcp ? 'T' : 'U') : (tcp ? 't' : 'u'));
	*ret_s = s;
	return 0;
}

/* --- steps --- */

static int step_add(struct ctl_plan *p, const struct saying *s)
{
	struct fwd_table *t = &p->want[s->table].t;
	unsigned before = t->n;
	char why[FWD_ERR_LEN];
	int err;

	if (!strcmp(s->spec, "none"))
		return 0;
	err = fwd_parse(&s->ctx, s->spec, t, why);
	if (err)
		return plan_fail(p, err == -EEXIST ? "conflict" : "bad-argument", "%s", why);
	while (before < t->n)
		p->want[s->table].place[before++] = -1;
	return 0;
}

static bool rule_same(const struct fwd_rule *a, const struct fwd_rule *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static int remove_rule(struct ctl_plan *p, enum ctl_table table, const struct fwd_rule *r)
{
	struct fwd_table *t = &p->want[table].t;
	char gone[SHOWN], other[SHOWN];
	unsigned i = 0;

	while (i < t->n && !rule_same(&t->rule[i], r))
		i++;
	if (i < t->n) {
		t->n--;
		memmove(t->rule + i, t->rule + i + 1, (t->n - i) * sizeof(t->rule[0]));
		memmove(p->want[table].place + i, p->want[table].place + i + 1, (t->n - i) * sizeof(int));
		return 0;
	}
	fwd_rule_fmt(r, gone, sizeof(gone));
	for (i = 0; i < t->n; i++) {
		if (fwd_rule_conflict(&t->rule[i], r))
			return plan_fail(p, "not-found",
					 "Forwarding rule %s conflicts with rule %s, but doesn't match it, can't delete", gone,
					 fwd_rule_fmt(&t->rule[i], other, sizeof(other)));
	}
	return plan_fail(p, "not-found", "Couldn't find forwarding rule to delete: %s", gone);
}

static int step_remove(struct ctl_plan *p, const struct saying *s)
{
	struct fwd_table *t = &p->scratch;
	char why[FWD_ERR_LEN];

	memset(t, 0, sizeof(*t));
	if (fwd_parse(&s->ctx, s->spec, t, why))
		return plan_fail(p, "bad-argument", "%s", why);
	for (unsigned i = 0; i < t->n; i++) {
		int err = remove_rule(p, s->table, &t->rule[i]);

		if (err)
			return err;
	}
	return 0;
}

static int plan_step(struct ctl_plan *p, const struct ctl_rules *c, const json_t *step)
{
	const json_t *add = json_object_get(step, "add"), *gone = json_object_get(step, "remove");
	const char *clear = json_string_value(json_object_get(step, "clear"));
	enum ctl_table table = CTL_IN;
	struct saying s;
	int err;

	if (!!add + !!gone + !!clear != 1)
		return plan_fail(p, "bad-argument", "A step has to be one of \"add\", \"remove\" and \"clear\"");
	if (clear) {
		err = read_table(p, c, clear, &table);
		if (!err)
			p->want[table].t.n = 0;
		return err;
	}
	err = read_saying(p, c, add ? add : gone, &s);
	if (err)
		return err;
	return add ? step_add(p, &s) : step_remove(p, &s);
}

/* --- the sum --- */

static void plan_begin(struct ctl_plan *p, const struct fwd_table *const now[CTL_TABLES])
{
	p->n = 0;
	p->error = NULL;
	p->message[0] = '\0';
	p->step = -1;
	for (unsigned i = 0; i < CTL_TABLES; i++) {
		struct fwd_table *t = &p->want[i].t;

		t->n = 0;
		for (unsigned k = 0; now[i] && k < now[i]->n; k++) {
			if (!fwd_rule_ports(&now[i]->rule[k]))
				continue;
			p->want[i].place[t->n] = (int)k;
			t->rule[t->n++] = now[i]->rule[k];
		}
	}
}

/* Whether a rule that is there shall be there afterwards; if it was taken out and put in again, it stays as it is. */
static bool plan_keeps(struct ctl_plan *p, enum ctl_table table, unsigned place, const struct fwd_rule *r)
{
	const struct fwd_table *t = &p->want[table].t;

	for (unsigned i = 0; i < t->n; i++) {
		int *from = &p->want[table].place[i];

		if (*from < 0 && rule_same(&t->rule[i], r))
			*from = (int)place;
		if (*from == (int)place)
			return true;
	}
	return false;
}

static void plan_put(struct ctl_plan *p, enum ctl_fate fate, enum ctl_table table, unsigned place, const struct fwd_rule *r)
{
	p->item[p->n++] = (struct ctl_item){ .fate = fate, .table = table, .place = place, .rule = *r };
}

static void plan_end(struct ctl_plan *p, const struct fwd_table *const now[CTL_TABLES])
{
	for (unsigned i = 0; i < CTL_TABLES; i++) {
		for (unsigned k = 0; now[i] && k < now[i]->n; k++) {
			const struct fwd_rule *r = &now[i]->rule[k];

			if (fwd_rule_ports(r))
				plan_put(p, plan_keeps(p, i, k, r) ? CTL_KEEP : CTL_REMOVE, i, k, r);
		}
	}
	for (unsigned i = 0; i < CTL_TABLES; i++) {
		for (unsigned k = 0; k < p->want[i].t.n; k++) {
			if (p->want[i].place[k] < 0)
				plan_put(p, CTL_ADD, i, 0, &p->want[i].t.rule[k]);
		}
	}
}

int ctl_plan(const struct ctl_rules *c, const struct fwd_table *const now[CTL_TABLES], const json_t *steps,
	     struct ctl_plan *ret_plan)
{
	struct ctl_plan *p = ret_plan;

	plan_begin(p, now);
	if (!json_is_array(steps) || json_array_size(steps) > CTL_STEPS_MAX)
		return plan_fail(p, "bad-argument", "steps has to be a list of at most %d", CTL_STEPS_MAX);
	for (size_t i = 0; i < json_array_size(steps); i++) {
		int err = plan_step(p, c, json_array_get(steps, i));

		p->step = err ? (int)i : -1;
		if (err)
			return err;
	}
	plan_end(p, now);
	return 0;
}
