/* SPDX-License-Identifier: MIT */
#include "os/event.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Without its function, which some C libraries lack. */
static ssize_t read_nowait(int fd, uint64_t *ret_count)
{
	struct iovec iov = { ret_count, sizeof(*ret_count) };

	return syscall(SYS_preadv2, fd, &iov, 1, -1L, -1L, RWF_NOWAIT);
}

static bool ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 && p.revents & events;
}

int event_read(int fd)
{
	uint64_t count;
	ssize_t n = read_nowait(fd, &count);

	/* Events of kernels before 5.8. */
	if (n < 0 && errno == EOPNOTSUPP) {
		if (!ready(fd, POLLIN))
			return -EAGAIN;
		n = read(fd, &count, sizeof(count));
	}
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return n == sizeof(count) ? 0 : -EBADMSG;
}

int event_write(int fd)
{
	uint64_t one = 1;

	/* There is no write to an eventfd that never waits, as there is a read: one that is full is left alone. */
	if (!ready(fd, POLLOUT))
		return -EAGAIN;
	return write(fd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}
