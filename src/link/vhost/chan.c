/* SPDX-License-Identifier: MIT */
#include "link/vhost/chan.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/fdpass.h"

void vchan_init(struct vchan *c, int sock)
{
	c->sock = sock;
	c->have = 0;
	c->whole = c->fds_bad = false;
	c->n_fds = 0;
}

void vchan_drop_fds(struct vchan *c)
{
	for (unsigned i = 0; i < c->n_fds; i++) {
		if (c->fd[i] >= 0)
			close(c->fd[i]);
	}
	c->n_fds = 0;
}

void vchan_fini(struct vchan *c)
{
	vchan_drop_fds(c);
	c->sock = -1;
}

static void fds_keep(struct vchan *c, const int *fd, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (c->n_fds < VHOST_USER_FDS) {
			c->fd[c->n_fds++] = fd[i];
			continue;
		}
		close(fd[i]);
		c->fds_bad = true;
	}
}

/* Up to len bytes more, at p. 1: all of them are there. */
static int part_recv(struct vchan *c, void *p, size_t len)
{
	int fd[FDPASS_MAX];
	unsigned n = 0;
	ssize_t got = fdpass_recv(c->sock, p, len, MSG_DONTWAIT, fd, &n);

	if (got == -EAGAIN)
		return 0;
	if (got < 0)
		return (int)got;
	fds_keep(c, fd, n);
	if (!got)
		return -ECONNRESET;
	c->have += (size_t)got;
	return (size_t)got == len;
}

int vchan_recv(struct vchan *c)
{
	if (c->whole) {
		vchan_drop_fds(c);
		vchan_init(c, c->sock);
	}
	while (c->have < VHOST_USER_HDR_LEN) {
		int err = part_recv(c, (uint8_t *)&c->hdr + c->have, VHOST_USER_HDR_LEN - c->have);

		if (err <= 0)
			return err;
	}
	/* After this there is no telling where the next message begins. */
	if ((c->hdr.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION || c->hdr.size > VCHAN_BODY)
		return -EPROTO;
	while (c->have < VHOST_USER_HDR_LEN + c->hdr.size) {
		size_t at = c->have - VHOST_USER_HDR_LEN;
		int err = part_recv(c, c->body.bytes + at, c->hdr.size - at);

		if (err <= 0)
			return err;
	}
	c->whole = true;
	return 1;
}

int vchan_take_fd(struct vchan *c, unsigned i)
{
	int fd = i < c->n_fds ? c->fd[i] : -1;

	if (fd >= 0)
		c->fd[i] = -1;
	return fd;
}

int vchan_reply(struct vchan *c, const void *body, size_t len, int fd)
{
	struct vhost_user_hdr hdr = {
		.request = c->hdr.request,
		.flags = VHOST_USER_VERSION | VHOST_USER_REPLY,
		.size = (uint32_t)len,
	};
	uint8_t msg[VHOST_USER_HDR_LEN + 64];

	if (len > sizeof(msg) - sizeof(hdr))
		return -EMSGSIZE;
	memcpy(msg, &hdr, sizeof(hdr));
	memcpy(msg + sizeof(hdr), body, len);
	return fdpass_send(c->sock, msg, sizeof(hdr) + len, &fd, fd >= 0, MSG_DONTWAIT);
}
