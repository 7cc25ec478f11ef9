/* SPDX-License-Identifier: MIT */
#include "core/unix_out.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"
#include "os/unixpath.h"

#define STEP_MIN_NS NSEC_PER_MSEC
#define STEP_MAX_NS (100 * NSEC_PER_MSEC)

static uint32_t index_of(const struct unix_out *u, const struct listener *l)
{
	return (uint32_t)(l - u->ls->l);
}

static const char *path_of(const struct unix_out *u, const struct listener *l)
{
	return u->ls->table->rule[l->rule].path;
}

static void give_up(const struct unix_out *u, const struct listener *l, int fd, int err)
{
	log_limited(LOG_LVL_DEBUG, "Connection to %s: %s", path_of(u, l), strerror(-err));
	sock_abort(fd);
}

/* -EAGAIN: not now; fd is still there. */
static int join(struct unix_out *u, const struct listener *l, int fd)
{
	int to, err = unixpath_connect(l->dir, path_of(u, l), &to);

	if (!err)
		return splice_open(u->splice, SPLICE_OUT | SPLICE_TO_UNIX, fd, to, NULL);
	if (err != -EAGAIN)
		give_up(u, l, fd, err);
	return err;
}

static void again_arm(struct unix_out *u)
{
	if (u->n)
		timer_set(&u->loop->timers, &u->again, u->loop->now_ns + u->step_ns);
	else
		timer_cancel(&u->loop->timers, &u->again);
}

/* Number i of those that wait. False: it is over. */
static bool waits_on(struct unix_out *u, unsigned i)
{
	const struct listener *l = &u->ls->l[u->wait[i].listener];
	int fd = u->wait[i].fd;

	/* Whoever has reset the connection meanwhile is not to be seen by the server. */
	if (sock_is_over(fd)) {
		sock_close(fd);
		return false;
	}
	if (join(u, l, fd) != -EAGAIN)
		return false;
	if (u->wait[i].due_ns > u->loop->now_ns)
		return true;
	give_up(u, l, fd, -ETIMEDOUT);
	return false;
}

static void on_again(struct timer *t, uint64_t now_ns)
{
	struct unix_out *u = container_of(t, struct unix_out, again);
	unsigned kept = 0, had = u->n;

	for (unsigned i = 0; i < had; i++) {
		if (waits_on(u, i))
			u->wait[kept++] = u->wait[i];
	}
	u->n = kept;
	u->step_ns = kept < had ? STEP_MIN_NS : MIN(2 * u->step_ns, (uint64_t)STEP_MAX_NS);
	again_arm(u);
	if (kept < had)
		listeners_wake(u->ls);
}

void unix_out_init(struct unix_out *u, struct loop *loop, struct listeners *ls, struct splice *splice)
{
	u->loop = loop;
	u->ls = ls;
	u->splice = splice;
	u->n = 0;
	timer_init(&u->again, on_again);
}

void unix_out_fini(struct unix_out *u)
{
	while (u->n)
		sock_abort(u->wait[--u->n].fd);
	if (u->loop)
		again_arm(u);
}

int unix_out_open(struct unix_out *u, const struct listener *l, int fd)
{
	int err = join(u, l, fd);

	if (err != -EAGAIN)
		return err;
	if (u->n == ARRAY_SIZE(u->wait) || unix_out_waits(u, l)) {
		give_up(u, l, fd, err);
		return -ENOBUFS;
	}
	u->wait[u->n].fd = fd;
	u->wait[u->n].listener = index_of(u, l);
	u->wait[u->n++].due_ns = u->loop->now_ns + UNIX_OUT_WAIT_NS;
	u->step_ns = STEP_MIN_NS;
	again_arm(u);
	return 0;
}

bool unix_out_waits(const struct unix_out *u, const struct listener *l)
{
	for (unsigned i = 0; i < u->n; i++) {
		if (u->wait[i].listener == index_of(u, l))
			return true;
	}
	return false;
}

void unix_out_gone(struct unix_out *u, const struct listener *l)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < u->n; i++) {
		if (u->wait[i].listener == index_of(u, l))
			sock_abort(u->wait[i].fd);
		else
			u->wait[kept++] = u->wait[i];
	}
	u->n = kept;
	again_arm(u);
}
