/* SPDX-License-Identifier: MIT */
/* Pipes between stream sockets: any bytes fill one, and one that is full takes no more until some have left it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_stream.h"
#include "os/pipe.h"
#include "os/tcpfin.h"

#define SIZE_DEFAULT 65536u

struct fake_pipe {
	size_t len, size;
	unsigned ends; /* that are open */
	uint8_t *data; /* size bytes */
};

static struct fake_fd *end_open(struct fake_pipe *p)
{
	struct fake_fd *f = fake_fd_alloc(AF_UNSPEC, 0, 0);

	assert_non_null(f);
	f->kind = FAKE_PIPE;
	f->pipe = p;
	p->ends++;
	return f;
}

static struct fake_pipe *pipe_of(int fd)
{
	struct fake_fd *f = fake_fd(fd);

	assert_int_equal(f->kind, FAKE_PIPE);
	return f->pipe;
}

static void end_close(int fd)
{
	struct fake_pipe *p = pipe_of(fd);

	fake_os.calls[FAKE_CLOSE]++;
	fake_fd(fd)->kind = FAKE_FREE;
	if (--p->ends)
		return;
	free(p->data);
	free(p);
}

int pipe_open(struct pipe *ret_pipe)
{
	int err = fake_inject(FAKE_PIPE_OPEN, -1);
	struct fake_pipe *p;

	if (err)
		return -err;
	p = calloc(1, sizeof(*p));
	assert_non_null(p);
	p->size = SIZE_DEFAULT;
	p->data = malloc(p->size);
	assert_non_null(p->data);
	*ret_pipe = (struct pipe){ .rd = end_open(p)->fd, .wr = end_open(p)->fd, .size = (uint32_t)p->size };
	return 0;
}

void pipe_close(struct pipe *p)
{
	if (p->rd >= 0)
		end_close(p->rd);
	if (p->wr >= 0)
		end_close(p->wr);
	*p = PIPE_NONE;
}

int pipe_resize(struct pipe *p, uint32_t size)
{
	struct fake_pipe *fp = pipe_of(p->wr);
	int err = fake_inject(FAKE_PIPE_SIZE, p->wr);

	if (err)
		return -err;
	assert_true(fp->len <= size);
	fp->data = realloc(fp->data, size);
	assert_non_null(fp->data);
	fp->size = size;
	p->size = size;
	return 0;
}

ssize_t pipe_fill(const struct pipe *p, int sock, size_t len)
{
	struct fake_pipe *fp = pipe_of(p->wr);
	int err = fake_inject(FAKE_PIPE_FILL, sock);
	struct iovec iov = { fp->data + fp->len, MIN(len, fp->size - fp->len) };
	ssize_t n;

	if (err)
		return -err;
	if (!iov.iov_len)
		return -EAGAIN;
	n = fake_stream_recv(fake_fd(sock), &iov, 1, 0);
	if (n > 0)
		fp->len += (size_t)n;
	return n;
}

ssize_t pipe_drain(const struct pipe *p, int sock, size_t len)
{
	struct fake_pipe *fp = pipe_of(p->rd);
	int err = fake_inject(FAKE_PIPE_DRAIN, sock);
	struct iovec iov = { fp->data, MIN(len, fp->len) };
	ssize_t n;

	if (err)
		return -err;
	if (!iov.iov_len)
		return -EAGAIN;
	n = fake_stream_send(fake_fd(sock), &iov, 1, 0);
	if (n > 0) {
		fp->len -= (size_t)n;
		memmove(fp->data, fp->data + n, fp->len);
	}
	return n;
}

/* Nothing is urgent here. */
bool pipe_at_mark(int sock)
{
	(void)fake_stream_of(sock);
	return false;
}

bool tcpfin_arrived(int fd, uint32_t taken)
{
	return fake_inject(FAKE_INFO, fd) || fake_stream_of(fd)->fin_in;
}
