/* SPDX-License-Identifier: MIT */
#include "link/accept.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "os/sock.h"

#define SOCK_BUF (2 << 20) /* wish for the socket's buffers */

void guest_listen_init(struct acceptor *a, struct loop *loop, int fd)
{
	acceptor_init(a, loop, fd, "a guest");
}

/* A process outside of our PID namespace has no number here: 0, so that who reads the line finds one. */
static pid_t peer_pid(int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ? 0 : cred.pid;
}

int guest_listen_take(struct acceptor *a, bool busy, int *ret_fd)
{
	struct ep nobody;
	int fd, err = acceptor_take(a, &nobody, &fd);

	if (err)
		return err;
	if (busy) {
		log_limited(LOG_LVL_INFO, "discarding connection from PID %i", (int)peer_pid(fd));
		close(fd);
		return -EBUSY;
	}
	log_limited(LOG_LVL_INFO, "accepted connection from PID %i", (int)peer_pid(fd));
	*ret_fd = fd;
	return 0;
}

void guest_sock_prepare(int fd)
{
	/* The forced variants go past the system's limit where we are allowed to. */
	if (sock_set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, SOCK_BUF) && sock_set_int(fd, SOL_SOCKET, SO_SNDBUF, SOCK_BUF))
		log_limited(LOG_LVL_DEBUG, "The send buffer of the guest's socket stays as it is");
	if (sock_set_int(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCK_BUF) && sock_set_int(fd, SOL_SOCKET, SO_RCVBUF, SOCK_BUF))
		log_limited(LOG_LVL_DEBUG, "The receive buffer of the guest's socket stays as it is");
}

bool peer_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return fd >= 0 && poll(&p, 1, 0) == 1;
}
