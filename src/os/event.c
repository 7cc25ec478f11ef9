/* SPDX-License-Identifier: MIT */
#include "os/event.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static bool ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) == 1 && p.revents & events;
}

static ssize_t read_nowait(int fd, void *buf, size_t len)
{
	struct iovec iov = { buf, len };
	/* Without its function, which some C libraries lack. */
	ssize_t n = syscall(SYS_preadv2, fd, &iov, 1, -1L, -1L, RWF_NOWAIT);

	/* Events of kernels before 5.8. */
	if (n < 0 && errno == EOPNOTSUPP) {
		if (!ready(fd, POLLIN))
			return -EAGAIN;
		n = read(fd, buf, len);
	}
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return n;
}

int event_read(int fd)
{
	uint64_t count;
	ssize_t n = read_nowait(fd, &count, sizeof(count));

	if (n < 0)
		return (int)n;
	return n == sizeof(count) ? 0 : -EBADMSG;
}

ssize_t event_skip(int fd)
{
	uint8_t buf[16384];

	return read_nowait(fd, buf, sizeof(buf));
}

int event_write(int fd)
{
	uint64_t one = 1;

	/* There is no write to an eventfd that never waits, as there is a read: one that is full is left alone. */
	if (!ready(fd, POLLOUT))
		return -EAGAIN;
	return write(fd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}
