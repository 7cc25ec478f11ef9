/* SPDX-License-Identifier: MIT */
/*
 * Lines of the control protocol, one after the other, as a client could send them: each that is an object may change the tables, as far as
 * they can be changed without sockets. Afterwards there are no rules that conflict, none is lost, and no memory is.
 */
#include <stdlib.h>

#include "ctl/arena.h"
#include "ctl/line.h"
#include "ctl/plan.h"

#define INPUT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct world {
	struct ctl_rules rules;
	struct fwd_table table[CTL_TABLES];
	struct ctl_plan plan;
};

static void must(bool ok)
{
	if (!ok)
		abort();
}

static unsigned rules_of(const struct fwd_table *t)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += !!fwd_rule_ports(&t->rule[i]);
	return n;
}

/* In the first place that is free. */
static void rule_put(struct fwd_table *t, const struct fwd_rule *r)
{
	unsigned i = 0;

	while (i < t->n && fwd_rule_ports(&t->rule[i]))
		i++;
	must(i < FWD_PLACES);
	t->rule[i] = *r;
	t->n = MAX(t->n, i + 1);
}

/* As core/change does it: new rules first. */
static void plan_do(struct world *w)
{
	unsigned before = rules_of(&w->table[CTL_IN]) + rules_of(&w->table[CTL_OUT]), old = 0;

	for (unsigned i = 0; i < w->plan.n; i++) {
		const struct ctl_item *it = &w->plan.item[i];

		if (it->fate == CTL_ADD)
			rule_put(&w->table[it->table], &it->rule);
		else
			old++;
	}
	must(old == before);
	for (unsigned i = 0; i < w->plan.n; i++) {
		const struct ctl_item *it = &w->plan.item[i];
		struct fwd_rule *r = &w->table[it->table].rule[it->place];

		if (it->fate == CTL_ADD)
			continue;
		must(!memcmp(r, &it->rule, sizeof(*r)));
		if (it->fate == CTL_REMOVE)
			*r = fwd_rule_none;
	}
}

static void table_check(const struct world *w, enum ctl_table table)
{
	const struct fwd_table *t = &w->table[table];

	must(rules_of(t) <= FWD_RULES_MAX);
	must(table == CTL_IN || w->rules.pasta || !rules_of(t));
	for (unsigned i = 0; i < t->n; i++) {
		for (unsigned k = 0; k < i; k++)
			must(!fwd_rule_conflict(&t->rule[i], &t->rule[k]));
	}
}

static void line_do(struct world *w, const char *line, size_t len)
{
	const struct fwd_table *const now[] = { &w->table[CTL_IN], w->rules.pasta ? &w->table[CTL_OUT] : NULL };
	const char *why = "";
	json_t *j = ctl_line_parse(line, len, &why);

	must(j || !why || why[0]);
	if (!j)
		return;
	if (ctl_plan(&w->rules, now, json_object_get(j, "steps"), &w->plan))
		must(w->plan.error && w->plan.message[0] && strlen(w->plan.message) < sizeof(w->plan.message));
	else
		plan_do(w);
	json_decref(j);
	must(!ctl_arena_live());
	table_check(w, CTL_IN);
	table_check(w, CTL_OUT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool open;
	static struct world w;
	const char *p = (const char *)data + 1, *end = (const char *)data + len;

	if (!open)
		must(!ctl_arena_open());
	open = true;
	if (!len || len > INPUT_MAX)
		return 0;
	memset(&w, 0, sizeof(w));
	w.rules =
		(struct ctl_rules){ .v4 = !(*data & 1), .v6 = !(*data & 2), .pasta = *data & 4, .tcp = !(*data & 8), .udp = true };
	while (p < end) {
		const char *nl = memchr(p, '\n', (size_t)(end - p));

		line_do(&w, p, (size_t)((nl ? nl : end) - p));
		p = nl ? nl + 1 : end;
	}
	return 0;
}
