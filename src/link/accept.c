/* SPDX-License-Identifier: MIT */
#include "link/accept.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

void guest_listen_init(struct acceptor *a, struct loop *loop, int fd)
{
	acceptor_init(a, loop, fd, "a guest");
}

static pid_t peer_pid(int fd)
{
	struct ucred cred = { .pid = 0 };
	socklen_t len = sizeof(cred);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ? 0 : cred.pid;
}

int guest_listen_take(struct acceptor *a, bool busy, int *ret_fd)
{
	int fd, err = acceptor_take(a, &fd);

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

bool peer_hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return fd >= 0 && poll(&p, 1, 0) == 1;
}
