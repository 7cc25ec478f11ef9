/* SPDX-License-Identifier: MIT */
#include "core/join.h"

#include <errno.h>
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
	if (j->n)
		timer_set(&j->loop->timers, &j->late, j->wait[0].due_ns);
	else
		timer_cancel(&j->loop->timers, &j->late);
}

static void on_late(struct timer *t, uint64_t now_ns)
{
	struct join *j = container_of(t, struct join, late);
	unsigned n = 0;

	while (n < j->n && j->wait[n].due_ns <= now_ns)
		give_up(j->wait[n++].fd, -ETIMEDOUT);
	j->n -= n;
	memmove(j->wait, j->wait + n, j->n * sizeof(j->wait[0]));
	late_arm(j);
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

int join_open(struct join *j, unsigned way, int fd, const struct ep *dst)
{
	/* Those that wait come first. */
	bool full = splice_room(j->splice) <= j->n;
	int to, err = full ? -ENOSPC : pool_take(j->pool, kind_of(dst), &to);

	if (!err)
		return splice_open(j->splice, way, fd, to, dst);
	if (err == -EAGAIN && j->n < JOIN_WAIT_MAX) {
		j->wait[j->n].fd = fd;
		j->wait[j->n].way = way;
		j->wait[j->n].dst = *dst;
		j->wait[j->n++].due_ns = j->loop->now_ns + JOIN_WAIT_NS;
		if (j->n == 1)
			late_arm(j);
		return 0;
	}
	sock_abort(fd);
	return err == -EAGAIN ? -ENOBUFS : err;
}

void join_reply(struct join *j, enum pool_kind kind, int err)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < j->n; i++) {
		enum pool_kind k = kind_of(&j->wait[i].dst);
		int fd = j->wait[i].fd, to, rc = err && k == kind ? err : 0;

		/* Whoever has reset the connection meanwhile is not to be seen by the service. */
		if (!rc && !(j->wait[i].way & SPLICE_FROM_UNIX) && sock_is_over(fd))
			rc = -ECONNRESET;
		if (!rc)
			rc = pool_take(j->pool, k, &to);
		if (rc == -EAGAIN) {
			j->wait[kept++] = j->wait[i];
			continue;
		}
		if (rc) {
			give_up(fd, rc);
			continue;
		}
		rc = splice_open(j->splice, j->wait[i].way, fd, to, &j->wait[i].dst);
		if (rc)
			log_limited(LOG_LVL_DEBUG, "Connection to the namespace: %s", strerror(-rc));
	}
	j->n = kept;
	late_arm(j);
}
