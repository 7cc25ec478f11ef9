/* SPDX-License-Identifier: MIT */
/*
 * Port specifiers: "none", [[ADDR][%IF]/]ITEM[,ITEM...], or one of a UNIX socket (fwd/path.h).
 *
 * Exclusions hold for the whole specifier wherever they stand, so the items are walked twice: first for exclusions and keywords, then
 * for the ports. The ports that are left are kept as sorted rules that never overlap and are merged where both sides follow on.
 */
#include "fwd/rule.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/num.h"
#include "base/utf8.h"
#include "fwd/item.h"
#include "fwd/path.h"

#define SHOWN 120 /* bytes of a specifier that a message repeats */

struct spec {
	const struct fwd_ctx *c;
	const char *text; /* all of it, for messages */
	const char *list; /* the items */
	char *err;
	struct fwd_rule base; /* what all rules of it share */
	struct portmap skip; /* excluded */
	bool all, automatic, explicit;
	struct spec_item all_item;
	struct fwd_rule rule[FWD_RULES_MAX];
	unsigned n;
};

/* Bytes that a message repeats; it may become JSON, which has whole characters only. */
static int shown(const char *text)
{
	return (int)utf8_cut(text, SHOWN);
}

static int PRINTF(3, 4) spec_fail(const struct spec *s, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->err, FWD_ERR_LEN, fmt, ap);
	va_end(ap);
	utf8_trim(s->err);
	return rc;
}

static int spec_invalid(const struct spec *s, const char *why)
{
	return spec_fail(s, -EINVAL, "Invalid port specifier '%.*s': %s", shown(s->text), s->text, why);
}

static int spec_conflict(const struct spec *s, const struct fwd_rule *a, const struct fwd_rule *b)
{
	char a_buf[SHOWN], b_buf[SHOWN];

	return spec_fail(s, -EEXIST, "Forwarding configuration conflict: %s versus %s", fwd_rule_fmt(a, a_buf, sizeof(a_buf)),
			 fwd_rule_fmt(b, b_buf, sizeof(b_buf)));
}

static void spec_exclude(struct spec *s, unsigned first, unsigned last)
{
	for (unsigned p = first; p <= last; p++)
		portmap_set(&s->skip, (uint16_t)p);
}

static int spec_note(struct spec *s, const struct spec_item *it)
{
	switch (it->kind) {
	case ITEM_PORTS:
		s->explicit = true;
		break;
	case ITEM_ALL:
		if (s->all && (it->have_target != s->all_item.have_target || !addr_eq(&it->target, &s->all_item.target)))
			return spec_invalid(s, "different targets for 'all'");
		s->all = true;
		s->all_item = *it;
		break;
	case ITEM_AUTO:
		if (!s->c->pasta)
			return spec_fail(s, -EINVAL, "'auto' port forwarding is only allowed for pasta");
		s->automatic = true;
		break;
	case ITEM_EXCLUDE:
		spec_exclude(s, it->first, it->last);
		break;
	}
	return 0;
}

/* True if b goes on where a ends, on both sides. */
static bool rule_follows(const struct fwd_rule *a, const struct fwd_rule *b)
{
	unsigned len = a->last - a->first + 1u;

	return b->first == a->last + 1u && b->to == a->to + len && a->flags == b->flags && addr_eq(&a->target, &b->target);
}

/* Adds a rule at its place. All of them are of one specifier, so they differ in ports and target only. */
static int spec_insert(struct spec *s, const struct fwd_rule *r)
{
	unsigned at = s->n;

	while (at && s->rule[at - 1].first > r->first)
		at--;
	if (at && s->rule[at - 1].last >= r->first)
		return spec_conflict(s, r, &s->rule[at - 1]);
	if (at < s->n && s->rule[at].first <= r->last)
		return spec_conflict(s, r, &s->rule[at]);

	if (at && rule_follows(&s->rule[at - 1], r)) {
		s->rule[at - 1].last = r->last;
	} else {
		if (s->n == FWD_RULES_MAX)
			return spec_fail(s, -ENOSPC, "Too many port forwarding rules, at most %u", FWD_RULES_MAX);
		memmove(s->rule + at + 1, s->rule + at, (s->n - at) * sizeof(*r));
		s->rule[at++] = *r;
		s->n++;
	}
	if (at < s->n && rule_follows(&s->rule[at - 1], &s->rule[at])) {
		s->rule[at - 1].last = s->rule[at].last;
		memmove(s->rule + at, s->rule + at + 1, (s->n - at - 1) * sizeof(*r));
		s->n--;
	}
	return 0;
}

static int rule_dual_to4(const struct spec *s, const struct addr *target)
{
	char buf[ADDR_STRLEN];

	return spec_fail(s, -EINVAL, "Dual stack forward to IPv4 address %s unsupported. Did you mean 0.0.0.0%s%s/%.*s instead?",
			 addr_fmt(target, buf), s->base.ifname[0] ? "%" : "", s->base.ifname, shown(s->list), s->list);
}

static int rule_set_target(const struct spec *s, struct fwd_rule *r, const struct addr *target)
{
	if (s->c->outwards)
		return spec_fail(s, -EINVAL, "Target address not allowed for %s %.*s", s->c->opt, shown(s->text), s->text);
	if (addr_is_multicast(target) || addr_is_any(target) || addr_is_broadcast(target))
		return spec_invalid(s, "target is not the address of a host");
	if (r->flags & FWD_DUAL && addr_is4(target))
		return rule_dual_to4(s, target);
	if (addr_is4(&r->addr) != addr_is4(target))
		return spec_invalid(s, "listening address and target of different IP versions");
	/* Nothing can be the source of an IPv4 connection to an IPv6 address, so these are not taken at all. */
	r->flags = (uint8_t)((r->flags & ~FWD_DUAL) | FWD_TARGET);
	r->target = *target;
	return 0;
}

/* Rules for all ports of an item that are not excluded. */
static int spec_add(struct spec *s, const struct spec_item *it)
{
	struct fwd_rule r = s->base;
	unsigned p = it->first;
	int rc;

	if (it->have_target) {
		rc = rule_set_target(s, &r, &it->target);
		if (rc)
			return rc;
	}
	while (p <= it->last) {
		unsigned first = p;

		while (p <= it->last && !portmap_has(&s->skip, (uint16_t)p))
			p++;
		if (p == first) {
			p++;
			continue;
		}
		r.first = (uint16_t)first;
		r.last = (uint16_t)(p - 1);
		r.to = (uint16_t)(it->to + (first - it->first));
		rc = spec_insert(s, &r);
		if (rc)
			return rc;
	}
	return 0;
}

static int spec_add_ports(struct spec *s, const struct spec_item *it)
{
	return it->kind == ITEM_PORTS ? spec_add(s, it) : 0;
}

static int spec_each(struct spec *s, int (*fn)(struct spec *s, const struct spec_item *it))
{
	const char *pos = s->list;

	for (;;) {
		const char *end = strchrnul(pos, ','), *why;
		struct spec_item it;
		int rc;

		why = spec_item_parse(pos, end, &it);
		if (why)
			return spec_invalid(s, why);
		rc = fn(s, &it);
		if (rc || !*end)
			return rc;
		pos = end + 1;
	}
}

/* All ports but the ephemeral ones: those belong to the outbound connections of the host. */
static int spec_add_all(struct spec *s)
{
	struct spec_item it = { .kind = ITEM_ALL, .first = 1, .last = UINT16_MAX, .to = 1 };

	if (s->all)
		it = s->all_item;
	if (s->c->eph_first && s->c->eph_first <= s->c->eph_last)
		spec_exclude(s, s->c->eph_first, s->c->eph_last);
	s->base.flags |= FWD_WEAK;
	return spec_add(s, &it);
}

/*
 * "80:fd00::5/80" is a port with a target, but also the address 80:fd00::5 and a port. It is the former if nothing can have that
 * address, because it is in no block that addresses are given from (RFC 4291 2.4), and the target's can exist.
 */
static bool head_is_target(const char *text, size_t len, const struct addr *whole)
{
	const char *pos = text;
	struct addr rest;
	uint64_t port;

	if ((whole->b[0] & 0xe0) == 0x20 || num_take(&pos, 1, UINT16_MAX, &port) || *pos != ':')
		return false;
	pos++;
	if (addr_parse_n(pos, len - (size_t)(pos - text), &rest) || addr_is_multicast(&rest))
		return false;
	return (rest.b[0] & 0xe0) == 0x20 || rest.b[0] >= 0xfc;
}

static bool ifname_ok(const char *name, size_t len)
{
	if (!len || len >= sizeof(((struct fwd_rule *)0)->ifname))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (name[i] <= ' ' || name[i] == 0x7f || name[i] == ':')
			return false;
	}
	return true;
}

/*
 * What is wrong with a head whose first len bytes are no address; NULL if it is none: "80:[fd00::5]/80" has a slash, too. An item does
 * not begin with a bracket, and closes none that it hasn't opened.
 */
static const char *head_wrong(const char *text, size_t len, bool dev)
{
	bool opens = memchr(text, '[', len), closes = memchr(text, ']', len);

	if (text[0] == '[' ? text[len - 1] != ']' : closes && !opens)
		return "misplaced bracket";
	return dev || text[0] == '[' ? "bad listening address" : NULL;
}

/* Takes [ADDR][%IF]/ off the front, if it is there. */
static int spec_head(struct spec *s, bool *ret_any)
{
	const char *slash = strchr(s->text, '/');
	size_t len = slash ? (size_t)(slash - s->text) : 0;
	const char *dev = memchr(s->text, '%', len);
	size_t addr_len = dev ? (size_t)(dev - s->text) : len;
	bool any = !addr_len || (addr_len == 1 && s->text[0] == '*');

	s->list = s->text;
	*ret_any = true;
	if (!slash)
		return 0;
	if (!any) {
		const char *why = head_wrong(s->text, addr_len, dev);

		if (addr_parse_n(s->text, addr_len, &s->base.addr))
			return why ? spec_invalid(s, why) : 0;
		if (addr_is_multicast(&s->base.addr))
			return spec_invalid(s, "can't listen on a multicast address");
		if (!dev && head_is_target(s->text, len, &s->base.addr))
			return 0;
	}
	if (dev) {
		if (!ifname_ok(dev + 1, (size_t)(slash - dev - 1)))
			return spec_invalid(s, "bad interface name");
		memcpy(s->base.ifname, dev + 1, (size_t)(slash - dev - 1));
	}
	/* "0.0.0.0" says nothing if there is only IPv4. */
	if (!any && s->c->v4 != s->c->v6 && addr_is_any(&s->base.addr) && addr_is4(&s->base.addr) == s->c->v4)
		any = true;
	if (s->c->outwards && (!any || dev))
		return spec_fail(s, -EINVAL, "Listening address not allowed for %s %.*s", s->c->opt, shown(s->text), s->text);
	s->list = slash + 1;
	*ret_any = any;
	return 0;
}

static int spec_families(struct spec *s, bool any)
{
	const struct fwd_ctx *c = s->c;

	if (!any) {
		bool v4 = addr_is4(&s->base.addr);

		if (v4 && !c->v4)
			return spec_fail(s, -EINVAL, "IPv4 forward, but IPv4 not enabled");
		if (!v4 && !c->v6)
			return spec_fail(s, -EINVAL, "IPv6 forward, but IPv6 not enabled");
		return 0;
	}
	if (!c->v4 && !c->v6)
		return spec_fail(s, -EINVAL, "Port forward, but neither IPv4 nor IPv6 enabled");
	s->base.addr = c->v6 ? addr_any6 : addr_any4;
	s->base.flags = c->v4 && c->v6 ? FWD_DUAL : 0;
	return 0;
}

/* The one rule of a UNIX socket. */
static int spec_parse_path(struct spec *s, const char *text, enum spec_path kind)
{
	struct fwd_rule r = s->base;
	const char *why;

	if (s->c->proto != IPPROTO_TCP)
		return spec_invalid(s, "a UNIX socket can be forwarded with TCP only");
	if (kind == SPEC_AT_PATH && s->c->outwards)
		return spec_fail(s, -EINVAL, "Listening address not allowed for %s %.*s", s->c->opt, shown(s->text), s->text);
	if (kind == SPEC_TO_PATH && !s->c->outwards)
		return spec_invalid(s, "only ports of a namespace can lead to a UNIX socket");
	why = spec_path_parse(text, kind, &r);
	if (why)
		return spec_invalid(s, why);
	s->rule[s->n++] = r;
	return 0;
}

static int spec_parse(struct spec *s)
{
	bool any;
	int rc;

	if (spec_path_kind(s->text) == SPEC_AT_PATH)
		return spec_parse_path(s, s->text, SPEC_AT_PATH);
	rc = spec_head(s, &any);
	if (!rc && spec_path_kind(s->list) == SPEC_TO_PATH) {
		rc = spec_families(s, any);
		return rc ? rc : spec_parse_path(s, s->list, SPEC_TO_PATH);
	}
	if (!rc)
		rc = spec_each(s, spec_note);
	if (!rc)
		rc = spec_families(s, any);
	if (rc)
		return rc;
	if (s->automatic)
		s->base.flags |= FWD_SCAN;
	return s->explicit ? spec_each(s, spec_add_ports) : spec_add_all(s);
}

static int spec_check(const struct spec *s, const struct fwd_table *t)
{
	for (unsigned i = 0; i < s->n; i++) {
		for (unsigned j = 0; j < t->n; j++) {
			if (fwd_rule_conflict(&s->rule[i], &t->rule[j]))
				return spec_conflict(s, &s->rule[i], &t->rule[j]);
		}
	}
	if (s->n > FWD_RULES_MAX - t->n)
		return spec_fail(s, -ENOSPC, "Too many port forwarding rules, at most %u", FWD_RULES_MAX);
	return 0;
}

static int fwd_parse_none(const struct fwd_ctx *c, struct fwd_table *t, char *err)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->rule[i].proto == c->proto) {
			snprintf(err, FWD_ERR_LEN, "%s none conflicts with previous options", c->opt);
			return -EINVAL;
		}
	}
	t->none[c->proto == IPPROTO_UDP] = true;
	return 0;
}

int fwd_parse(const struct fwd_ctx *c, const char *spec, struct fwd_table *t, char err[FWD_ERR_LEN])
{
	struct spec s = { .c = c, .text = spec, .err = err, .base.proto = c->proto };
	int rc;

	if (!strcmp(spec, "none"))
		return fwd_parse_none(c, t, err);

	rc = spec_parse(&s);
	if (!rc)
		rc = spec_check(&s, t);
	if (rc)
		return rc;
	/* Everything excluded is the same as none, and not the same as nothing said. */
	if (!s.n)
		t->none[c->proto == IPPROTO_UDP] = true;
	memcpy(t->rule + t->n, s.rule, s.n * sizeof(s.rule[0]));
	t->n += s.n;
	return 0;
}
