/* SPDX-License-Identifier: MIT */
#include "link/accept.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

void acceptor_init(struct acceptor *a, struct loop *loop, int fd)
{
	*a = (struct acceptor){ .loop = loop, .fd = fd };
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

static pid_t peer_pid(int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ? 0 : cred.pid;
}

/* Without descriptors or memory the connection stays in the queue; asking again at once would spin. */
static void accept_failed(struct acceptor *a, int err)
{
	if (err == EAGAIN || err == EINTR || err == ECONNABORTED)
		return;
	log_limited(LOG_LVL_WARN, "Can't accept a connection of a guest: %s", strerror(err));
	loop_del(a->loop, a->fd);
	timer_set(&a->loop->timers, &a->retry, a->loop->now_ns + RETRY_NS);
}

int acceptor_take(struct acceptor *a, bool busy, int *ret_fd)
{
	int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		accept_failed(a, errno);
		return -EAGAIN;
	}
	if (busy) {
		log_limited(LOG_LVL_INFO, "discarding connection from PID %i", (int)peer_pid(fd));
		close(fd);
		return -EBUSY;
	}
	log_limited(LOG_LVL_INFO, "accepted connection from PID %i", (int)peer_pid(fd));
	*ret_fd = fd;
	return 0;
}

bool peer_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return fd >= 0 && poll(&p, 1, 0) == 1;
}
