/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_sock.h"

void fake_stream_open(struct fake_fd *f)
{
	f->stream = NULL;
}

void fake_stream_close(struct fake_fd *f)
{
	f->stream = NULL;
}

uint32_t fake_stream_ready(const struct fake_fd *f)
{
	return f->so_error ? EPOLLERR : 0;
}

int fake_stream_connect(struct fake_fd *f, const struct ep *ep)
{
	f->peer = *ep;
	return -EINPROGRESS;
}

ssize_t fake_stream_send(struct fake_fd *f, const struct iovec *iov, unsigned n, int flags)
{
	return -ENOTCONN;
}

ssize_t fake_stream_recv(struct fake_fd *f, const struct iovec *iov, unsigned n, int flags)
{
	return -ENOTCONN;
}

int sock_listen(int fd, int backlog)
{
	return -fake_inject(FAKE_LISTEN, fd);
}

int sock_accept(int fd, struct ep *ret_peer, int *ret_fd)
{
	int err = fake_inject(FAKE_ACCEPT, fd);

	return err ? -err : -EAGAIN;
}

int sock_shutdown_wr(int fd)
{
	return -fake_inject(FAKE_SHUTDOWN, fd);
}

ssize_t sock_discard(int fd, size_t len)
{
	int err = fake_inject(FAKE_DISCARD, fd);

	return err ? -err : -EAGAIN;
}

int sock_outq(int fd, uint32_t *ret_bytes)
{
	int err = fake_inject(FAKE_OUTQ, fd);

	if (err)
		return -err;
	*ret_bytes = 0;
	return 0;
}
