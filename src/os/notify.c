/* SPDX-License-Identifier: MIT */
#include "os/notify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define VARIABLE "NOTIFY_SOCKET"

static int address_make(const char *name, struct sockaddr_un *ret_sun, socklen_t *ret_len)
{
	size_t len = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || len < 2 || len >= sizeof(ret_sun->sun_path))
		return -EINVAL;
	*ret_sun = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret_sun->sun_path, name, len);
	if (name[0] == '@')
		ret_sun->sun_path[0] = '\0';
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	return 0;
}

int notify_open(int *ret_fd)
{
	const char *name = getenv(VARIABLE);
	struct sockaddr_un sun;
	socklen_t len;
	int fd, err;

	*ret_fd = -1;
	if (!name || !name[0])
		return 0;
	err = address_make(name, &sun, &len);
	unsetenv(VARIABLE);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sun, len)) {
		err = -errno;
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

void notify_send(int fd, const char *lines)
{
	if (fd >= 0)
		(void)!send(fd, lines, strlen(lines), MSG_DONTWAIT | MSG_NOSIGNAL);
}
