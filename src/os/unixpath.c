/* SPDX-License-Identifier: MIT */
#include "os/unixpath.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 16

/*
 * A datagram socket can't connect to a stream socket: EPROTOTYPE says that there is one, ECONNREFUSED that its owner has gone. A real
 * connection would disturb the guest of another instance, or end it if that one serves a single connection only.
 */
static int path_probe(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) ? -errno : 0;
	close(fd);
	return err == 0 || err == -EPROTOTYPE ? -EADDRINUSE : err;
}

/* Why something at the path is in the way: links are looked at as such. */
static int path_taken(const struct sockaddr_un *sun)
{
	struct stat st;

	if (lstat(sun->sun_path, &st) || S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	return S_ISDIR(st.st_mode) ? -EISDIR : -ENOTSOCK;
}

/* 0 if nothing is at the path any more. */
static int path_clear(const struct sockaddr_un *sun)
{
	struct stat st;
	int err = path_probe(sun);

	if (err == -ENOENT)
		return 0;
	if (err != -ECONNREFUSED)
		return err;
	if (lstat(sun->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return path_taken(sun);
	return unlink(sun->sun_path) && errno != ENOENT ? -errno : 0;
}

static int sun_init(const char *path, struct sockaddr_un *ret_sun)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(path);

	if (len >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	memcpy(sun.sun_path, path, len);
	*ret_sun = sun;
	return 0;
}

static int open_at(int type, const char *path, int *ret_fd)
{
	struct sockaddr_un sun;
	int fd, err = sun_init(path, &sun);

	if (!err)
		err = path_clear(&sun);
	if (err)
		return err;

	fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&sun, sizeof(sun))) {
		err = errno == EADDRINUSE ? path_taken(&sun) : -errno;
	} else if (type != SOCK_DGRAM && listen(fd, BACKLOG)) {
		err = -errno;
		unlink(path);
	}
	if (err) {
		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int unixpath_open(int type, const char *path, char ret_path[UNIXPATH_MAX], int *ret_fd)
{
	char try[UNIXPATH_MAX];
	int err = -EADDRINUSE;

	if (path[0]) {
		err = open_at(type, path, ret_fd);
		if (!err)
			snprintf(ret_path, UNIXPATH_MAX, "%s", path);
		return err;
	}
	for (unsigned i = 1; err && i <= UNIXPATH_TRIES; i++) {
		snprintf(try, sizeof(try), "/tmp/passt_%u.socket", i);
		err = open_at(type, try, ret_fd);
		if (!err)
			memcpy(ret_path, try, sizeof(try));
	}
	return err;
}

int unixpath_listen_private(const char *path, int *ret_fd)
{
	mode_t mask = umask(0177);
	int err = open_at(SOCK_STREAM, path, ret_fd);

	umask(mask);
	return err;
}

int unixpath_sweep(const char *path)
{
	struct sockaddr_un sun;
	int err = sun_init(path, &sun);

	return err ? err : path_clear(&sun);
}

static bool sock_opt_is(int fd, int opt, int want)
{
	socklen_t len = sizeof(int);
	int val = 0;

	return !getsockopt(fd, SOL_SOCKET, opt, &val, &len) && val == want;
}

void unixpath_name(int fd, char ret_path[UNIXPATH_MAX])
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sun);

	if (getsockname(fd, (struct sockaddr *)&sun, &len) || sun.sun_family != AF_UNIX)
		sun.sun_path[0] = 0;
	/* A path may be as long as the field, without a NUL: nobody has one of those. */
	memcpy(ret_path, sun.sun_path, UNIXPATH_MAX);
	ret_path[UNIXPATH_MAX - 1] = 0;
}

bool unixpath_is(int fd, const char *path)
{
	char name[UNIXPATH_MAX];

	unixpath_name(fd, name);
	return sock_opt_is(fd, SO_DOMAIN, AF_UNIX) && sock_opt_is(fd, SO_TYPE, SOCK_STREAM) && sock_opt_is(fd, SO_ACCEPTCONN, 1) &&
	       !strcmp(name, path);
}

int unixpath_folder(const char *path, int *ret_dir)
{
	char dir[UNIXPATH_MAX];
	const char *slash = strrchr(path, '/');
	int len = snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	int fd;

	if (len < 0 || (size_t)len >= sizeof(dir))
		return -ENAMETOOLONG;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_dir = fd;
	return 0;
}

int unixpath_connect(int dir, const char *path, int *ret_fd)
{
	const char *slash = strrchr(path, '/');
	struct sockaddr_un sun;
	int fd, err = sun_init(slash ? slash + 1 : path, &sun);

	if (err)
		return err;
	if (fchdir(dir))
		return -errno;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&sun, sizeof(sun)))
		err = -errno;
	if (chdir("/") && !err)
		err = -errno;
	if (err && fd >= 0)
		close(fd);
	if (!err)
		*ret_fd = fd;
	return err;
}
