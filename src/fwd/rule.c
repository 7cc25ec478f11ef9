/* SPDX-License-Identifier: MIT */
#include "fwd/rule.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

void fwd_table_copy(const struct fwd_table *from, struct fwd_table *to)
{
	for (to->n = 0; to->n < from->n; to->n++)
		to->rule[to->n] = from->rule[to->n];
	memcpy(to->none, from->none, sizeof(to->none));
	to->freebind = from->freebind;
}

struct text {
	char *buf;
	size_t len, used;
};

/* Once the buffer is full, the rest is cut. */
static void PRINTF(2, 3) text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->used, t->len - t->used, fmt, ap);
	va_end(ap);
	if (n <= 0)
		return;
	utf8_trim(t->buf + t->used);
	t->used += strlen(t->buf + t->used);
}

static void text_add_addr(struct text *t, const struct addr *a)
{
	char buf[ADDR_STRLEN];

	text_add(t, addr_is4(a) ? "%s" : "[%s]", addr_fmt(a, buf));
}

static void text_add_range(struct text *t, const char *mark, unsigned first, unsigned last)
{
	text_add(t, "%s%u", mark, first);
	if (last != first)
		text_add(t, "-%u", last);
}

/* A best-effort rule is what is left of all ports: said by what it leaves out. */
static void rule_fmt_weak(const struct fwd_rule *r, struct text *t)
{
	if (r->flags & FWD_TARGET) {
		text_add(t, "all:");
		text_add_addr(t, &r->target);
		if (r->flags & FWD_SCAN)
			text_add(t, ",auto");
	} else {
		text_add(t, r->flags & FWD_SCAN ? "auto" : "all");
	}
	if (r->first > 1)
		text_add_range(t, ",~", 1, r->first - 1u);
	if (r->last < UINT16_MAX)
		text_add_range(t, ",~", r->last + 1u, UINT16_MAX);
}

static void rule_fmt_ports(const struct fwd_rule *r, struct text *t)
{
	unsigned to_last = r->to + (unsigned)(r->last - r->first);

	text_add_range(t, "", r->first, r->last);
	if (r->flags & FWD_TARGET) {
		text_add(t, ":");
		text_add_addr(t, &r->target);
		text_add_range(t, "/", r->to, to_last);
	} else if (r->to != r->first) {
		text_add_range(t, ":", r->to, to_last);
	}
	if (r->flags & FWD_TO_PATH)
		text_add(t, ":%s", r->path);
	if (r->flags & FWD_SCAN)
		text_add(t, ",auto");
}

const char *fwd_rule_fmt(const struct fwd_rule *r, char *buf, size_t len)
{
	struct text t = { .buf = buf, .len = len };

	if (!len)
		return buf;
	buf[0] = '\0';
	if (r->flags & FWD_AT_PATH) {
		text_add(&t, "%s:%u", r->path, r->to);
		return buf;
	}
	if (r->flags & FWD_DUAL)
		text_add(&t, "*");
	else
		text_add_addr(&t, &r->addr);
	if (r->ifname[0])
		text_add(&t, "%%%.*s", (int)sizeof(r->ifname), r->ifname);
	text_add(&t, "/");
	if (r->flags & FWD_WEAK && r->to == r->first)
		rule_fmt_weak(r, &t);
	else
		rule_fmt_ports(r, &t);
	return buf;
}

/* True if there is an address that both listen on. */
static bool rule_addr_overlap(const struct fwd_rule *a, const struct fwd_rule *b)
{
	if ((a->flags | b->flags) & FWD_DUAL)
		return true;
	if (addr_is4(&a->addr) != addr_is4(&b->addr))
		return false;
	return addr_is_any(&a->addr) || addr_is_any(&b->addr) || addr_eq(&a->addr, &b->addr);
}

bool fwd_rule_conflict(const struct fwd_rule *a, const struct fwd_rule *b)
{
	if ((a->flags | b->flags) & FWD_AT_PATH)
		return a->flags & b->flags & FWD_AT_PATH && !strcmp(a->path, b->path);
	return a->proto == b->proto && a->first <= b->last && b->first <= a->last && rule_addr_overlap(a, b);
}

bool fwd_table_has(const struct fwd_table *t, unsigned flags)
{
	bool found = false;

	for (unsigned i = 0; i < t->n; i++)
		found |= !!(t->rule[i].flags & flags);
	return found;
}
