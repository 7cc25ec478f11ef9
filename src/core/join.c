/* SPDX-License-Identifier: MIT */
#include "core/join.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"

static enum pool_kind kind_of(const struct ep *dst)
{
	return addr_is4(&dst->addr) ? POOL_TCP4 : POOL_TCP6;
}

static void give_up(int fd, int err)
{
	log_limited(LOG_LVL_DEBUG, "Connection to the namespace: %s", strerror(-err));
	sock_abort(fd);
}

static void late_arm(struct join *j)
{
	if (j->n) {
		timer_set(&j->loop->timers, &j->late, j->again_ns ? MIN(j->again_ns, j->wait[0].due_ns) : j->wait[0].due_ns);
	} else {
		timer_cancel(&j->loop->timers, &j->late);
		j->again_ns = 0;
	}
}

static void again_later(struct join *j)
{
	if (!j->again_ns)
		j->again_ns = j->loop->now_ns + JOIN_AGAIN_NS;
}

static int stand_in(int fd, bool v4, const struct join_as *as)
{
	int err = sock_bind(fd, v4 ? AF_INET : AF_INET6, &as->ep, 0);

	if (err || !as->tos)
		return err;
	if (sock_set_int(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, as->tos))
		log_limited(LOG_LVL_DEBUG, "Type of service of a connection to the namespace not set");
	return 0;
}

/* fd[0] with fd[1], which is to connect; takes both in any case. */
static int connect_by(struct join *j, unsigned way, const int fd[2], const struct join_as *as, const struct ep *dst)
{
	int err = as->ep.port ? stand_in(fd[1], addr_is4(&dst->addr), as) : 0;

	if (!err)
		return splice_open(j->splice, way, fd[0], fd[1], dst);
	sock_close(fd[1]);
	sock_abort(fd[0]);
	return err;
}

/* Number i of those that wait: 0 or -errno if that is over, -EAGAIN if it waits on. */
static int serve_one(struct join *j, unsigned i)
{
	int fd = j->wait[i].fd, to, rc = 0;

	/* Whoever has reset the connection meanwhile is not to be seen by the service. */
	if (!(j->wait[i].way & SPLICE_FROM_UNIX) && sock_is_over(fd))
		rc = -ECONNRESET;
	if (!rc)
		rc = pool_take(j->pool, kind_of(&j->wait[i].dst), &to);
	if (sock_is_shortage(rc)) {
		again_later(j);
		return -EAGAIN;
	}
	if (rc == -EAGAIN)
		return rc;
	if (rc) {
		give_up(fd, rc);
		return rc;
	}
	rc = connect_by(j, j->wait[i].way, (const int[]){ fd, to }, &j->wait[i].as, &j->wait[i].dst);
	if (rc)
		log_limited(LOG_LVL_DEBUG, "Connection to the namespace: %s", strerror(-rc));
	return rc == -EAGAIN ? -ENOBUFS : rc;
}

/* Those that wait for this kind, which is not to be had if there is an err. POOL_KINDS: all that wait. */
static void serve(struct join *j, enum pool_kind kind, int err)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < j->n; i++) {
		bool stays = kind != POOL_KINDS && kind_of(&j->wait[i].dst) != kind;

		if (!stays && err && !sock_is_shortage(err))
			give_up(j->wait[i].fd, err);
		else if (stays || err || serve_one(j, i) == -EAGAIN)
			j->wait[kept++] = j->wait[i];
	}
	j->n = kept;
	late_arm(j);
}

static void on_late(struct timer *t, uint64_t now_ns)
{
	struct join *j = container_of(t, struct join, late);
	unsigned n = 0;

	while (n < j->n && j->wait[n].due_ns <= now_ns)
		give_up(j->wait[n++].fd, -ETIMEDOUT);
	j->n -= n;
	memmove(j->wait, j->wait + n, j->n * sizeof(j->wait[0]));
	if (j->again_ns && j->again_ns <= now_ns) {
		j->again_ns = 0;
		serve(j, POOL_KINDS, 0);
	} else {
		late_arm(j);
	}
}

void join_init(struct join *j, struct loop *loop, struct pool *pool, struct splice *splice)
{
	*j = (struct join){ .loop = loop, .pool = pool, .splice = splice };
	timer_init(&j->late, on_late);
}

void join_fini(struct join *j)
{
	while (j->n)
		sock_abort(j->wait[--j->n].fd);
	if (j->loop)
		late_arm(j);
}

static int open_as(struct join *j, unsigned way, int fd, const struct join_as *as, const struct ep *dst)
{
	/* Those that wait come first. */
	bool full = splice_room(j->splice) <= j->n;
	int to, err = full ? -ENOSPC : pool_take(j->pool, kind_of(dst), &to);

	if (!err)
		return connect_by(j, way, (const int[]){ fd, to }, as, dst);
	if ((err == -EAGAIN || sock_is_shortage(err)) && j->n < JOIN_WAIT_MAX) {
		if (err != -EAGAIN)
			again_later(j);
		j->wait[j->n].fd = fd;
		j->wait[j->n].as = *as;
		j->wait[j->n].way = way;
		j->wait[j->n].dst = *dst;
		j->wait[j->n++].due_ns = j->loop->now_ns + JOIN_WAIT_NS;
		if (j->n == 1 || err != -EAGAIN)
			late_arm(j);
		return 0;
	}
	sock_abort(fd);
	return err == -EAGAIN ? -ENOBUFS : err;
}

int join_open(struct join *j, unsigned way, int fd, const struct ep *dst)
{
	return open_as(j, way, fd, &(struct join_as){ .tos = 0 }, dst);
}

int join_open_as(struct join *j, int fd, const struct join_as *as, const struct ep *dst)
{
	return open_as(j, SPLICE_IN, fd, as, dst);
}

void join_reply(struct join *j, enum pool_kind kind, int err)
{
	if (sock_is_shortage(err))
		again_later(j);
	serve(j, kind, err);
}
