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

void pool_init(struct pool *p, struct agent *agent)
{
	*p = (struct pool){ .agent = agent };
}

void pool_fini(struct pool *p)
{
	for (unsigned k = 0; k < POOL_KINDS; k++) {
		while (p->n[k])
			sock_close(p->fd[k][--p->n[k]]);
	}
}

int pool_take(struct pool *p, enum pool_kind kind, int *ret_fd)
{
	if (!p->n[kind]) {
		pool_fill(p);
		return -EAGAIN;
	}
	*ret_fd = p->fd[kind][--p->n[kind]];
	if (p->n[kind] < POOL_LOW)
		pool_fill(p);
	return 0;
}

static struct agent_req request(const struct pool *p, unsigned kind)
{
	struct agent_req q = { .head = { .type = AGENT_SOCKETS }, .sockets = what[kind] };

	q.sockets.n = POOL_KEEP - p->n[kind];
	return q;
}

int pool_open(struct pool *p)
{
	for (unsigned k = 0; k < POOL_KINDS; k++) {
		struct agent_req q = request(p, k);
		struct agent_reply r = { .err = 0 };
		int fds[FDPASS_MAX];
		int err = agent_call(p->agent, &q, &r, fds);

		if (err != r.err)
			return err;
		pool_reply(p, &r, fds, r.n_fds);
	}
	return 0;
}

void pool_fill(struct pool *p)
{
	for (unsigned k = 0; k < POOL_KINDS; k++) {
		struct agent_req q;
		uint32_t cookie;

		if (p->asked[k] || p->n[k] >= POOL_LOW)
			continue;
		q = request(p, k);
		p->asked[k] = !agent_send(p->agent, &q, &cookie);
	}
}

/* Which kind it is, the sockets tell themselves. */
static enum pool_kind kind_of(int fd)
{
	int family = AF_INET, type = SOCK_STREAM;

	if (sock_get_int(fd, SOL_SOCKET, SO_DOMAIN, &family) || sock_get_int(fd, SOL_SOCKET, SO_TYPE, &type))
		return POOL_KINDS;
	if (type == SOCK_STREAM)
		return family == AF_INET ? POOL_TCP4 : POOL_TCP6;
	return family == AF_INET ? POOL_UDP4 : POOL_UDP6;
}

void pool_reply(struct pool *p, const struct agent_reply *r, const int *fds, unsigned n)
{
	if (!n) {
		log_limited(LOG_LVL_WARN, "No sockets in the namespace: %s", strerror(-r->err));
		memset(p->asked, 0, sizeof(p->asked));
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		enum pool_kind k = kind_of(fds[i]);

		if (k == POOL_KINDS || p->n[k] == POOL_KEEP) {
			sock_close(fds[i]);
			continue;
		}
		p->asked[k] = false;
		p->fd[k][p->n[k]++] = fds[i];
	}
}
