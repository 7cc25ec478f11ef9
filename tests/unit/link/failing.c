/* SPDX-License-Identifier: MIT */
#include "failing.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct failing failing[FAIL_CALLS];

void failing_set(enum failing_call call, int err, unsigned skip, unsigned times)
{
	failing[call] = (struct failing){ .err = err, .skip = skip, .times = times };
}

static bool fails(enum failing_call call)
{
	struct failing *f = &failing[call];

	f->calls++;
	if (!f->times)
		return false;
	if (f->skip) {
		f->skip--;
		return false;
	}
	f->times--;
	errno = f->err;
	return true;
}

ssize_t recv(int fd, void *buf, size_t len, int flags)
{
	return fails(FAIL_RECV) ? -1 : syscall(SYS_recvfrom, fd, buf, len, flags, NULL, NULL);
}

int recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *timeout)
{
	return fails(FAIL_RECVMMSG) ? -1 : (int)syscall(SYS_recvmmsg, fd, m, n, flags, timeout);
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	return fails(FAIL_SENDMSG) ? -1 : syscall(SYS_sendmsg, fd, m, flags);
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	return fails(FAIL_SENDMMSG) ? -1 : (int)syscall(SYS_sendmmsg, fd, m, n, flags);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	return fails(FAIL_EPOLL_CTL) ? -1 : (int)syscall(SYS_epoll_ctl, epfd, op, fd, ev);
}
