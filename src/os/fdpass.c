/* SPDX-License-Identifier: MIT */
#include "os/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/sock.h"

#define SHORTAGE_MS 1

union control {
	char b[CMSG_SPACE(FDPASS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int fdpass_pair(int ret_fd[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fd) ? -errno : 0;
}

int fdpass_send(int sock, const void *buf, size_t len, const int *fds, unsigned n, int flags)
{
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control control = { 0 };
	ssize_t sent;

	if (n > FDPASS_MAX)
		return -EINVAL;
	if (n) {
		struct cmsghdr *c;

		msg.msg_control = control.b;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	}
	do {
		sent = sendmsg(sock, &msg, flags | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return (size_t)sent == len ? 0 : -EMSGSIZE;
}

/* All descriptors in the message: the kernel may have installed some even of a message that is cut short. */
static unsigned fds_take(struct msghdr *msg, int ret_fds[FDPASS_MAX])
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t len;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0))
			continue;
		len = MIN(c->cmsg_len - CMSG_LEN(0), (FDPASS_MAX - n) * sizeof(int));
		memcpy(ret_fds + n, CMSG_DATA(c), len);
		n += (unsigned)(len / sizeof(int));
	}
	return n;
}

/* Want of memory passes, but the socket goes on being readable, and whoever is told of that would ask again at once. */
static int receive_failed(int err)
{
	if (!sock_lacks_memory(err))
		return err;
	(void)!poll(NULL, 0, SHORTAGE_MS);
	return -EAGAIN;
}

ssize_t fdpass_recv(int sock, void *buf, size_t cap, int flags, int ret_fds[FDPASS_MAX], unsigned *ret_n)
{
	struct iovec iov = { .iov_base = buf, .iov_len = cap };
	union control control;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.b, .msg_controllen = sizeof(control.b) };
	ssize_t len;
	unsigned n;

	do {
		len = recvmsg(sock, &msg, flags | MSG_CMSG_CLOEXEC);
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return receive_failed(-errno);
	n = fds_take(&msg, ret_fds);
	/* Some alone would be of no use: which ones they are, only their number tells. */
	if (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		fdpass_close(ret_fds, n);
		n = 0;
	}
	if (msg.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	*ret_n = n;
	return len;
}

void fdpass_close(const int *fds, unsigned n)
{
	while (n)
		close(fds[--n]);
}

int fdpass_wait(int sock, int timeout_ms)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int64_t end = clock_ms() + timeout_ms;
	int left = timeout_ms;

	for (;;) {
		int n = poll(&p, 1, left);

		if (n > 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (timeout_ms >= 0)
			left = (int)MAX(end - clock_ms(), INT64_C(0));
		if (!n && !left)
			return -ETIMEDOUT;
	}
}
