/* SPDX-License-Identifier: MIT */
#include "os/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <unistd.h>

int pipe_open(struct pipe *ret_pipe)
{
	int fd[2], size;

	if (pipe2(fd, O_NONBLOCK | O_CLOEXEC))
		return -errno;
	size = fcntl(fd[0], F_GETPIPE_SZ);
	*ret_pipe = (struct pipe){ .rd = fd[0], .wr = fd[1], .size = size > 0 ? (uint32_t)size : 4096 };
	return 0;
}

void pipe_close(struct pipe *p)
{
	if (p->rd >= 0)
		close(p->rd);
	if (p->wr >= 0)
		close(p->wr);
	*p = PIPE_NONE;
}

int pipe_resize(struct pipe *p, uint32_t size)
{
	int r = fcntl(p->wr, F_SETPIPE_SZ, (int)size);

	if (r < 0)
		return -errno;
	p->size = (uint32_t)r;
	return 0;
}

ssize_t pipe_fill(const struct pipe *p, int sock, size_t len)
{
	ssize_t n = splice(sock, NULL, p->wr, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	return n < 0 ? -errno : n;
}

ssize_t pipe_drain(const struct pipe *p, int sock, size_t len)
{
	ssize_t n = splice(p->rd, NULL, sock, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);

	return n < 0 ? -errno : n;
}

bool pipe_at_mark(int sock)
{
	int at = 0;

	return !ioctl(sock, SIOCATMARK, &at) && at;
}
