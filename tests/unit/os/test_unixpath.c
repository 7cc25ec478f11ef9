/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/unixpath.h"

struct fix {
	char dir[64], path[UNIXPATH_MAX];
};

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	strcpy(x->dir, "/tmp/unixpath-test-XXXXXX");
	if (!mkdtemp(x->dir))
		return -1;
	snprintf(x->path, sizeof(x->path), "%s/s", x->dir);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	unlink(x->path);
	rmdir(x->dir);
	free(x);
	return 0;
}

static void test_fresh_live_stale(void **state)
{
	struct fix *x = *state;
	char got[UNIXPATH_MAX] = "-";
	int fd = -1, other = -1;

	assert_int_equal(unixpath_open(SOCK_STREAM, x->path, got, &fd), 0);
	assert_string_equal(got, x->path);

	/* Asking must not look like a client to the one who is there. */
	assert_int_equal(unixpath_open(SOCK_STREAM, x->path, got, &other), -EADDRINUSE);
	assert_int_equal(accept4(fd, NULL, NULL, SOCK_NONBLOCK), -1);
	assert_int_equal(errno, EAGAIN);

	close(fd);
	assert_int_equal(access(x->path, F_OK), 0);
	assert_int_equal(unixpath_open(SOCK_STREAM, x->path, got, &fd), 0);
	close(fd);
}

/* A file that is no socket is not ours to remove. */
static void test_regular_file(void **state)
{
	struct fix *x = *state;
	char got[UNIXPATH_MAX];
	struct stat st;
	int fd = open(x->path, O_CREAT | O_WRONLY, 0600);

	close(fd);
	assert_int_equal(unixpath_open(SOCK_STREAM, x->path, got, &fd), -ENOTSOCK);
	assert_int_equal(unixpath_open(SOCK_STREAM, x->dir, got, &fd), -EISDIR);
	assert_int_equal(stat(x->path, &st), 0);
	assert_true(S_ISREG(st.st_mode));

	/* A link to nowhere. */
	unlink(x->path);
	assert_int_equal(symlink("nowhere", x->path), 0);
	assert_int_equal(unixpath_open(SOCK_STREAM, x->path, got, &fd), -ENOTSOCK);
}

static void test_bad_paths(void **state)
{
	char path[200], got[UNIXPATH_MAX];
	int fd = -1;

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[UNIXPATH_MAX] = '\0';
	assert_int_equal(unixpath_open(SOCK_STREAM, path, got, &fd), -ENAMETOOLONG);
	assert_int_equal(unixpath_open(SOCK_STREAM, "/nonexistent/directory/s", got, &fd), -ENOENT);
	assert_int_equal(fd, -1);
}

/* Default paths are taken in turn; what others hold at the time is theirs. */
static void test_default_paths(void **state)
{
	char first[UNIXPATH_MAX], second[UNIXPATH_MAX];
	unsigned a = 0, b = 0;
	int fd[2];

	assert_int_equal(unixpath_open(SOCK_STREAM, "", first, &fd[0]), 0);
	assert_int_equal(unixpath_open(SOCK_STREAM, "", second, &fd[1]), 0);
	assert_int_equal(sscanf(first, "/tmp/passt_%u.socket", &a), 1);
	assert_int_equal(sscanf(second, "/tmp/passt_%u.socket", &b), 1);
	assert_in_range(a, 1, UNIXPATH_TRIES);
	assert_true(b > a);
	close(fd[0]);
	close(fd[1]);
	unlink(first);
	unlink(second);
}

/* For its owner alone, whatever the mask is; and the mask stays. */
static void test_private(void **state)
{
	struct fix *x = *state;
	mode_t mask = umask(0);
	struct stat st;
	int fd, other;

	assert_int_equal(unixpath_listen_private(x->path, &fd), 0);
	assert_int_equal(umask(mask), 0);
	assert_int_equal(stat(x->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(unixpath_listen_private(x->path, &other), -EADDRINUSE);
	close(fd);
}

/* Only what nobody listens on goes, and only if it is a socket. */
static void test_sweep(void **state)
{
	struct fix *x = *state;
	int fd;

	assert_int_equal(unixpath_sweep(x->path), 0);
	assert_int_equal(unixpath_listen_private(x->path, &fd), 0);
	assert_int_equal(unixpath_sweep(x->path), -EADDRINUSE);
	close(fd);
	assert_int_equal(unixpath_sweep(x->path), 0);
	assert_int_equal(access(x->path, F_OK), -1);
	close(open(x->path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(unixpath_sweep(x->path), -ENOTSOCK);
}

static void test_is(void **state)
{
	struct fix *x = *state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd, tcp = socket(AF_INET, SOCK_STREAM, 0);

	strcpy(sun.sun_path, x->path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_false(unixpath_is(fd, x->path));
	assert_int_equal(listen(fd, 1), 0);
	assert_true(unixpath_is(fd, x->path));
	assert_false(unixpath_is(fd, x->dir));
	assert_false(unixpath_is(tcp, x->path));
	assert_false(unixpath_is(-1, x->path));
	close(fd);
	close(tcp);
}

/* By the folder, and the last part of the path alone. */
static void test_connect_by_folder(void **state)
{
	struct fix *x = *state;
	char cwd[PATH_MAX], now[PATH_MAX], missing[UNIXPATH_MAX];
	int fd, to, dir;

	assert_non_null(getcwd(cwd, sizeof(cwd)));
	snprintf(missing, sizeof(missing), "%s/none/s", x->dir);
	assert_int_equal(unixpath_folder(missing, &dir), -ENOENT);
	assert_int_equal(unixpath_folder(x->path, &dir), 0);
	assert_int_equal(unixpath_connect(dir, x->path, &to), -ENOENT);
	assert_int_equal(unixpath_listen_private(x->path, &fd), 0);
	assert_int_equal(unixpath_connect(dir, "/nowhere/s", &to), 0);
	assert_string_equal(getcwd(now, sizeof(now)), "/");
	close(to);
	close(fd);
	assert_int_equal(unixpath_connect(dir, x->path, &to), -ECONNREFUSED);
	close(dir);
	assert_int_equal(chdir(cwd), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_fresh_live_stale), T(test_regular_file), T(test_bad_paths), T(test_default_paths),
		T(test_private),          T(test_sweep),        T(test_is),        T(test_connect_by_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
