/* SPDX-License-Identifier: MIT */
#include "link/unixname.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int unixname_sender(int fd, struct unixname *ret_name)
{
	struct unixname n = { .len = 0 };
	uint8_t byte;
	struct iovec iov = { &byte, 1 };
	/* A path may be as long as the field, without a NUL. */
	struct msghdr m = { .msg_name = &n.addr, .msg_namelen = sizeof(n.addr) - 1, .msg_iov = &iov, .msg_iovlen = 1 };

	if (recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT) < 0)
		return -errno;
	if (m.msg_namelen <= sizeof(n.addr.sun_family) || m.msg_namelen >= sizeof(n.addr))
		return -EADDRNOTAVAIL;
	n.len = m.msg_namelen;
	*ret_name = n;
	return 0;
}

static int sun_connect(int fd, const struct sockaddr_un *addr, socklen_t len)
{
	return connect(fd, (const struct sockaddr *)addr, len) ? -errno : 0;
}

int unixname_connect(const struct unixname *n, const struct unixname_dir *dir, int fd)
{
	struct sockaddr_un last = { .sun_family = AF_UNIX };
	const char *path = n->addr.sun_path, *slash = strrchr(path, '/');
	size_t dir_len = slash ? (size_t)(slash - path) + 1 : 0;
	int err;

	if (!path[0])
		return sun_connect(fd, &n->addr, n->len);
	if (dir_len && dir->path[0] == '/' && (strlen(dir->path) != dir_len || memcmp(dir->path, path, dir_len)))
		return -EXDEV;
	memcpy(last.sun_path, path + dir_len, strlen(path + dir_len));
	if (fchdir(dir->fd))
		return -errno;
	err = sun_connect(fd, &last, sizeof(last));
	return chdir("/") ? -errno : err;
}

void unixname_disconnect(int fd)
{
	const struct sockaddr none = { .sa_family = AF_UNSPEC };

	(void)!connect(fd, &none, sizeof(none));
}
