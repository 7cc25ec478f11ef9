/* SPDX-License-Identifier: MIT */
#include "core/ns_ports.h"

#include <errno.h>

#include "os/sock.h"

/* p->n: it is not on its way. */
static unsigned find(const struct ns_ports *p, unsigned rule, uint16_t port)
{
	unsigned i = 0;

	while (i < p->n && (p->wait[i].rule != rule || p->wait[i].port != port))
		i++;
	return i;
}

int ns_ports_open(struct ns_ports *p, unsigned rule, uint16_t port)
{
	const struct listener *l = listener_find(p->ls, rule, port);
	struct agent_req q = { .head.type = AGENT_LISTEN };
	unsigned i = find(p, rule, port);
	int err;

	if (!l)
		return -EINVAL;
	if (i < p->n)
		p->wait[i].dropped = false;
	if (i < p->n || l->fd >= 0)
		return 0;
	if (p->n == NS_PORTS_MAX)
		return -EAGAIN;
	listener_spec(p->ls, l, &q.listen);
	err = agent_send(p->agent, &q, &p->wait[p->n].cookie);
	if (err)
		return err;
	p->wait[p->n].rule = (uint16_t)rule;
	p->wait[p->n].port = port;
	p->wait[p->n++].dropped = false;
	return 0;
}

void ns_ports_close(struct ns_ports *p, unsigned rule, uint16_t port)
{
	unsigned i = find(p, rule, port);

	if (i < p->n)
		p->wait[i].dropped = true;
	listener_close(p->ls, rule, port);
}

void ns_ports_reply(struct ns_ports *p, const struct agent_reply *r, const int *fds)
{
	unsigned rule, i = 0;
	int err = r->err;
	bool dropped;
	uint16_t port;

	while (i < p->n && p->wait[i].cookie != r->head.cookie)
		i++;
	if (i == p->n || p->wait[i].dropped || r->n_fds != 1) {
		for (unsigned k = 0; k < r->n_fds; k++)
			sock_close(fds[k]);
	}
	if (i == p->n)
		return;
	rule = p->wait[i].rule;
	port = p->wait[i].port;
	dropped = p->wait[i].dropped;
	p->wait[i] = p->wait[--p->n];
	if (dropped)
		return;
	if (r->n_fds == 1)
		err = listener_take(p->ls, rule, port, fds[0], r->v6);
	else if (!err)
		err = -EPROTO;
	p->done(p->ctx, rule, port, err);
}
