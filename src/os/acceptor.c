/* SPDX-License-Identifier: MIT */
#include "os/acceptor.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"

#define RETRY_NS NSEC_PER_SEC

static void listener_arm(struct acceptor *a)
{
	if (loop_add(a->loop, a->fd, a->ref, EPOLLIN))
		timer_set(&a->loop->timers, &a->retry, a->loop->now_ns + RETRY_NS);
}

static void listener_retry(struct timer *t, uint64_t now_ns)
{
	listener_arm(container_of(t, struct acceptor, retry));
}

void acceptor_init(struct acceptor *a, struct loop *loop, int fd, const char *who)
{
	*a = (struct acceptor){ .loop = loop, .fd = fd, .who = who };
	timer_init(&a->retry, listener_retry);
}

void acceptor_fini(struct acceptor *a)
{
	timer_cancel(&a->loop->timers, &a->retry);
	if (a->fd >= 0)
		loop_del(a->loop, a->fd);
	sock_close(a->fd);
	a->fd = -1;
}

void acceptor_start(struct acceptor *a, struct ref ref)
{
	a->ref = ref;
	if (a->fd >= 0)
		listener_arm(a);
}

static void accept_failed(struct acceptor *a, int err)
{
	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	log_limited(LOG_LVL_WARN, "Can't accept a connection of %s: %s", a->who, strerror(err));
	loop_del(a->loop, a->fd);
	timer_set(&a->loop->timers, &a->retry, a->loop->now_ns + RETRY_NS);
}

int acceptor_take(struct acceptor *a, struct ep *ret_peer, int *ret_fd)
{
	int err = sock_accept(a->fd, ret_peer, ret_fd);

	if (!err)
		return 0;
	accept_failed(a, -err);
	return -EAGAIN;
}
