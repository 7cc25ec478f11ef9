/* SPDX-License-Identifier: MIT */
#include "ctl/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/fdpass.h"

int ctl_client_open(struct ctl_client *c, const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len);
	c->pos = c->len = 0;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return -errno;
	if (connect(c->fd, (const struct sockaddr *)&sun, sizeof(sun))) {
		int err = -errno;

		ctl_client_close(c);
		return err;
	}
	return 0;
}

void ctl_client_close(struct ctl_client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

static int send_all(int sock, const char *text, size_t len)
{
	while (len) {
		ssize_t n = send(sock, text, len, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

int ctl_client_send(struct ctl_client *c, const json_t *request, int fd)
{
	char *text = json_dumps(request, JSON_COMPACT);
	int err;

	if (!text)
		return -ENOMEM;
	err = send_all(c->fd, text, strlen(text));
	/* The last byte takes the descriptor along. */
	if (!err)
		err = fdpass_send(c->fd, "\n", 1, &fd, fd >= 0, 0);
	free(text);
	return err;
}

int ctl_client_recv(struct ctl_client *c, json_t **ret_msg)
{
	const char *end;
	json_t *msg;

	while (!(end = memchr(c->buf + c->pos, '\n', c->len - c->pos))) {
		ssize_t n;

		memmove(c->buf, c->buf + c->pos, c->len - c->pos);
		c->len -= c->pos;
		c->pos = 0;
		if (c->len == sizeof(c->buf))
			return -EPROTO;
		n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, 0);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (!n)
			return -EPIPE;
		c->len += n > 0 ? (uint32_t)n : 0;
	}
	msg = json_loadb(c->buf + c->pos, (size_t)(end - c->buf) - c->pos, 0, NULL);
	c->pos = (uint32_t)(end - c->buf) + 1;
	if (!json_is_object(msg)) {
		json_decref(msg);
		return -EPROTO;
	}
	*ret_msg = msg;
	return 0;
}
