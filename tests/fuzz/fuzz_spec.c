/* SPDX-License-Identifier: MIT */
/*
 * Port specifiers: the first byte chooses the context, the rest is the text. What is accepted must be sane, must not overlap, and each
 * rule must mean the same again when it is printed and parsed.
 */
#include <netinet/in.h>
#include <stdlib.h>

#include "fwd/rule.h"
#include "os/unixpath.h"

#define TEXT_MAX 1024

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct fwd_ctx ctx(uint8_t how)
{
	struct fwd_ctx c = {
		.opt = "-t",
		.proto = how & 1 ? IPPROTO_UDP : IPPROTO_TCP,
		.v4 = !(how & 2),
		.v6 = !(how & 4),
		.pasta = how & 8,
		.outwards = how & 16,
	};

	if (how & 32) {
		c.eph_first = 32768;
		c.eph_last = 60999;
	}
	return c;
}

static void check_rule(const struct fwd_ctx *c, const struct fwd_rule *r)
{
	char text[256], err[FWD_ERR_LEN];
	struct fwd_table again = { .n = 0 };

	must(r->first && r->first <= r->last && r->to);
	must(r->to + (r->last - r->first) <= UINT16_MAX);
	must(r->proto == c->proto);
	must(!(r->flags & FWD_SCAN) || c->pasta);
	must(r->flags & FWD_AT_PATH || (addr_is4(&r->addr) ? c->v4 : c->v6));
	must(!(r->flags & FWD_DUAL) || (c->v4 && c->v6));
	must(!(r->flags & FWD_TARGET) || addr_is4(&r->target) == addr_is4(&r->addr));
	must(!!r->path[0] == !!(r->flags & (FWD_AT_PATH | FWD_TO_PATH)));
	must(!r->path[0] || (r->path[0] == '/' && r->first == r->last && c->outwards == !!(r->flags & FWD_TO_PATH)));
	must(strnlen(r->path, sizeof(r->path)) < UNIXPATH_MAX);
	must(strnlen(r->ifname, sizeof(r->ifname)) < sizeof(r->ifname));

	fwd_rule_fmt(r, text, sizeof(text));
	must(strlen(text) < sizeof(text) - 1);
	must(!fwd_parse(c, text, &again, err));
	must(again.n == 1 && !memcmp(&again.rule[0], r, sizeof(*r)));
}

static void check_error(const struct fwd_table *t, const char *err)
{
	must(!t->n && !t->none[0] && !t->none[1]);
	must(err[0] && strlen(err) < FWD_ERR_LEN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[TEXT_MAX], err[FWD_ERR_LEN] = "";
	struct fwd_table t = { .n = 0 };
	struct fwd_ctx c;

	if (!len || len > sizeof(text))
		return 0;
	c = ctx(data[0]);
	memcpy(text, data + 1, len - 1);
	text[len - 1] = '\0';

	if (fwd_parse(&c, text, &t, err)) {
		check_error(&t, err);
		return 0;
	}
	for (unsigned i = 0; i < t.n; i++) {
		check_rule(&c, &t.rule[i]);
		for (unsigned j = 0; j < i; j++)
			must(!fwd_rule_conflict(&t.rule[i], &t.rule[j]));
	}
	return 0;
}
