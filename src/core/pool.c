/* SPDX-License-Identifier: MIT */
#include "core/pool.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"

static const struct agent_sockets what[POOL_KINDS] = {
	[POOL_TCP4] = { AF_INET, SOCK_STREAM, IPPROTO_TCP, 0 },
	[POOL_TCP6] = { AF_INET6, SOCK_STREAM, IPPROTO_TCP, 0 },
	[POOL_UDP4] = { AF_INET, SOCK_DGRAM, IPPROTO_UDP, 0 },
	[POOL_UDP6] = { AF_INET6, SOCK_DGRAM, IPPROTO_UDP, 0 },
};

void pool_init(struct pool *p, struct agent *agent, unsigned keep)
{
	*p = (struct pool){ .agent = agent, .kinds = POOL_KINDS, .keep = keep };
}

void pool_init_annex(struct pool *p, struct agent *agent, unsigned keep)
{
	*p = (struct pool){ .agent = agent, .kinds = POOL_UDP4, .stand_in = true, .keep = keep };
}

void pool_fini(struct pool *p)
{
	for (unsigned k = 0; k < POOL_KINDS; k++) {
		while (p->n[k])
			sock_close(p->fd[k][--p->n[k]]);
	}
}

/* For what is missing; where that many were too many, for one. */
static struct agent_req request(const struct pool *p, unsigned kind)
{
	struct agent_req q = { .head = { .type = AGENT_SOCKETS }, .sockets = what[kind] };

	q.sockets.n = p->ask[kind].few ? 1 : p->keep - p->n[kind];
	q.sockets.stand_in = p->stand_in;
	return q;
}

/* Has the agent asked, if it has not been asked already. */
static int ask(struct pool *p, enum pool_kind k)
{
	struct agent_req q = request(p, k);
	int err;

	if (p->ask[k].open)
		return 0;
	err = agent_send(p->agent, &q, &p->ask[k].cookie);
	p->ask[k].open = !err;
	return err;
}

int pool_take(struct pool *p, enum pool_kind kind, int *ret_fd)
{
	if (!p->n[kind]) {
		int err = ask(p, kind);

		/* Where nobody has been asked, nobody will tell: a shortage like others. */
		return err == -EAGAIN ? -ENOBUFS : err ? err : -EAGAIN;
	}
	*ret_fd = p->fd[kind][--p->n[kind]];
	if (p->n[kind] < (p->keep + 1) / 2)
		(void)!ask(p, kind); /* whoever comes next tries again */
	return 0;
}

static enum pool_kind kind_asked(const struct pool *p, uint32_t cookie)
{
	enum pool_kind k = 0;

	while (k < POOL_KINDS && !(p->ask[k].open && p->ask[k].cookie == cookie))
		k++;
	return k;
}

int pool_reply(struct pool *p, const struct agent_reply *r, const int *fds, enum pool_kind *ret_kind)
{
	enum pool_kind k = kind_asked(p, r->head.cookie);
	bool few;

	for (unsigned i = 0; i < r->n_fds; i++) {
		if (k < POOL_KINDS && p->n[k] < p->keep)
			p->fd[k][p->n[k]++] = fds[i];
		else
			sock_close(fds[i]);
	}
	*ret_kind = k;
	if (k == POOL_KINDS)
		return 0;
	few = p->ask[k].few;
	p->ask[k].open = false;
	p->ask[k].few = r->err;
	if (!r->err || (!few && !ask(p, k)))
		return 0;
	log_limited(LOG_LVL_WARN, "No sockets in the namespace: %s", strerror(-r->err));
	return r->err;
}

int pool_open(struct pool *p)
{
	for (unsigned k = 0; k < p->kinds; k++) {
		struct agent_req q = request(p, k);
		struct agent_reply r = { .err = 0 };
		enum pool_kind kind;
		int fds[FDPASS_MAX];
		int err = agent_call(p->agent, &q, &r, fds);

		if (err != r.err)
			return err;
		p->ask[k].open = true;
		p->ask[k].cookie = q.head.cookie;
		(void)pool_reply(p, &r, fds, &kind);
	}
	return 0;
}
