/* SPDX-License-Identifier: MIT */
#include "core/unix_in.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "os/acceptor.h"
#include "os/sock.h"

#define PORTS 65536
#define BACKLOG 1024

struct unix_in {
	struct unix_in_conf c;
	unsigned owner; /* of the host's listeners */
	struct splice *splice;
	struct acceptor door; /* our own listener; none before the first connection */
	unsigned door_owner;
	struct ep door_ep;
	uint32_t from[PORTS]; /* by our port that connects to it: the listener that it is for, plus one; 0: it is not ours */
};

static int family(const struct unix_in *u)
{
	return u->c.v4 ? AF_INET : AF_INET6;
}

static int door_open(struct unix_in *u)
{
	int fd, err = sock_open(family(u), SOCK_STREAM, IPPROTO_TCP, &fd);

	if (err)
		return err;
	err = sock_bind(fd, family(u), &(struct ep){ .addr = u->c.v4 ? addr_loopback4 : addr_loopback6 }, 0);
	if (!err)
		err = sock_local(fd, &u->door_ep);
	if (!err)
		err = sock_listen(fd, BACKLOG);
	if (err) {
		sock_close(fd);
		return err;
	}
	acceptor_init(&u->door, u->c.loop, fd, "our own");
	acceptor_start(&u->door, ref_init(u->door_owner, 0, 0));
	return 0;
}

/* The other end of a connection that on_conn() has begun; or somebody who has no business here. */
static void on_door(void *ctx, struct ref ref, uint32_t events)
{
	struct unix_in *u = ctx;
	const struct listeners *ls = u->c.ls;
	struct listener l;
	struct ep peer;
	uint32_t from = 0;
	int fd;

	if (acceptor_take(&u->door, &peer, &fd))
		return;
	/* As it was when it came: of a connection that is over the kernel tells nobody, and its port would go on being ours. */
	if (addr_eq(&peer.addr, &u->door_ep.addr)) {
		from = u->from[peer.port];
		u->from[peer.port] = 0;
	}
	/* The rule may have gone meanwhile. */
	if (!from || from > ls->n || ls->l[from - 1].fd < 0 || !(ls->table->rule[ls->l[from - 1].rule].flags & FWD_AT_PATH)) {
		sock_abort(fd);
		return;
	}
	l = ls->l[from - 1];
	l.v6 = !u->c.v4;
	tcp_accepted(u->c.tcp, &l, fd, &peer);
}

/* Takes the connection in any case. */
static int unix_conn(struct unix_in *u, const struct listener *l, int fd)
{
	struct ep ep;
	int to, err = u->door.fd < 0 ? door_open(u) : 0;

	if (!err)
		err = sock_open(family(u), SOCK_STREAM, IPPROTO_TCP, &to);
	if (err) {
		sock_close(fd);
		return err;
	}
	err = splice_open(u->splice, SPLICE_IN | SPLICE_FROM_UNIX, fd, to, &u->door_ep);
	/* The kernel has chosen a port by now, and its other end is accepted in a later event. */
	if (!err && !sock_local(to, &ep))
		u->from[ep.port] = (uint32_t)(l - u->c.ls->l) + 1;
	return err == -ENOSPC ? -ENOBUFS : err;
}

static int on_conn(void *ctx, const struct listener *l, int fd, const struct ep *peer)
{
	struct unix_in *u = ctx;

	if (u->c.ls->table->rule[l->rule].flags & FWD_AT_PATH)
		return unix_conn(u, l, fd);
	tcp_accepted(u->c.tcp, l, fd, peer);
	return 0;
}

static void on_listen(void *ctx, struct ref ref, uint32_t events)
{
	struct unix_in *u = ctx;

	listener_accept(u->c.ls, ref.index, on_conn, u);
}

int unix_in_new(const struct unix_in_conf *c, struct unix_in **ret_u)
{
	struct splice_conf sc = { .loop = c->loop, .max = c->max, .pipes_max = c->pipes };
	struct unix_in *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	u->c = *c;
	u->splice = splice_new(&sc);
	if (!u->splice) {
		free(u);
		return -ENOMEM;
	}
	u->owner = loop_owner(c->loop, on_listen, u);
	u->door_owner = loop_owner(c->loop, on_door, u);
	acceptor_init(&u->door, c->loop, -1, "our own");
	err = c->soon ? door_open(u) : 0;
	if (err) {
		unix_in_free(u);
		return err;
	}
	*ret_u = u;
	return 0;
}

void unix_in_free(struct unix_in *u)
{
	if (!u)
		return;
	acceptor_fini(&u->door);
	splice_free(u->splice);
	free(u);
}

unsigned unix_in_owner(const struct unix_in *u)
{
	return u->owner;
}
