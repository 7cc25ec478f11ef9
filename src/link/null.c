/* SPDX-License-Identifier: MIT */
#include "link/null.h"

#include <errno.h>
#include <stdlib.h>

#define SINK 65536u

struct null {
	struct link link;
	uint8_t sink[SINK];
};

static void null_on_event(struct link *l, unsigned which, uint32_t events)
{
}

/* One frame at a time, always the same memory. */
static size_t null_reserve(struct link *l, struct txframe *f, const struct txwant *w)
{
	struct null *x = container_of(l, struct null, link);

	if (!w->n || w->len > SINK)
		return 0;
	f->body[0] = (struct iovec){ .iov_base = x->sink, .iov_len = w->len };
	f->n = 1;
	f->cap = w->len;
	return 1;
}

static void null_commit(struct link *l, const struct txframe *f, const struct txhdr *h, size_t len)
{
}

static void null_nothing(struct link *l)
{
}

static void null_free(struct link *l)
{
	free(container_of(l, struct null, link));
}

int null_new(const struct link_cb *cb, size_t mtu, struct link **ret_link)
{
	static const struct link_ops ops = {
		.on_event = null_on_event,
		.reserve = null_reserve,
		.commit = null_commit,
		.flush = null_nothing,
		.reset = null_nothing,
		.free = null_free,
	};
	struct null *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->link = (struct link){ .ops = &ops, .cb = *cb, .mtu = mtu, .max_body = mtu };
	*ret_link = &x->link;
	return 0;
}
