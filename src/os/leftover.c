/* SPDX-License-Identifier: MIT */
#include "os/leftover.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int leftover_note(const char *path, struct leftover *ret_l)
{
	const char *slash = strrchr(path, '/');
	struct leftover l = { .name = slash ? slash + 1 : path };
	char dir[PATH_MAX];
	int len = snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	int err = -ENAMETOOLONG;

	if (len > 0 && (size_t)len < sizeof(dir)) {
		l.dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		err = l.dir_fd < 0 ? -errno : 0;
	}
	if (err)
		unlink(path);
	else
		*ret_l = l;
	return err;
}

int leftover_remove(struct leftover *l)
{
	int err = l->dir_fd >= 0 && unlinkat(l->dir_fd, l->name, 0) ? -errno : 0;

	leftover_forget(l);
	return err;
}

void leftover_forget(struct leftover *l)
{
	if (l->dir_fd >= 0)
		close(l->dir_fd);
	l->dir_fd = -1;
}
