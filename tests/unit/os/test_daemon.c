/* SPDX-License-Identifier: MIT */
/* The test is the manager: it starts a program that becomes a daemon, and looks at what it gets to see of that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/daemon.h"

enum fate { READY, FAILS, DIES, REBORN, REBORN_FAILS };

struct run {
	pid_t starter;
	int out; /* what the program writes to stdout and stderr */
	int life; /* end of file when the daemon has gone; it goes when this is closed */
};

static char pid_path[] = "/tmp/daemon-test-XXXXXX";

/* As the first process of a PID namespace, which has no children yet. */
static int reborn(struct daemon *d)
{
	int err = unshare(CLONE_NEWUSER | CLONE_NEWPID) ? -errno : daemon_reborn(d);

	return err ? err : getpid() == 1 && d->pid > 1 && !getppid() ? 0 : -EPROTO;
}

/* In the program: never returns. */
static void program(enum fate fate, int life)
{
	struct daemon d;
	char c;

	daemon_init(&d);
	if (daemon_fork(&d) || daemon_pid_open(&d, pid_path))
		_exit(100);
	(void)!write(STDERR_FILENO, "starting\n", 9);
	if (fate >= REBORN && reborn(&d))
		_exit(102);
	if (fate == FAILS || fate == REBORN_FAILS)
		_exit(7);
	if (fate == DIES)
		raise(SIGKILL);
	if (daemon_pid_write(&d) || daemon_ready(&d))
		_exit(101);
	/* Nobody is to hear this. */
	(void)!write(STDOUT_FILENO, "loose", 5);
	(void)!write(STDERR_FILENO, "talk", 4);
	(void)!send(life, getsid(0) == getpid() ? "S" : "-", 1, 0);
	(void)!read(life, &c, 1);
	_exit(0);
}

static struct run start(enum fate fate)
{
	struct run r;
	int out[2], life[2];

	assert_int_equal(pipe(out), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, life), 0);
	r.starter = fork();
	if (!r.starter) {
		dup2(out[1], STDOUT_FILENO);
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		close(out[1]);
		close(life[0]);
		program(fate, life[1]);
	}
	close(out[1]);
	close(life[1]);
	r.out = out[0];
	r.life = life[0];
	return r;
}

static int setup(void **state)
{
	strcpy(pid_path, "/tmp/daemon-test-XXXXXX");
	close(mkstemp(pid_path));
	return 0;
}

static int teardown(void **state)
{
	unlink(pid_path);
	return 0;
}

/* All output until end of file: hangs if the daemon keeps a copy of the descriptor. */
static void expect_output(const struct run *r, const char *want)
{
	char buf[256];
	size_t at = 0;
	ssize_t n;

	while ((n = read(r->out, buf + at, sizeof(buf) - 1 - at)) > 0)
		at += (size_t)n;
	buf[at] = '\0';
	assert_string_equal(buf, want);
	close(r->out);
}

static int exit_status(const struct run *r)
{
	int status;

	assert_int_equal(waitpid(r->starter, &status, 0), r->starter);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_ready(void **state)
{
	struct run r = start(READY);
	char buf[32] = "";
	struct stat st;
	char c;
	int fd;

	assert_int_equal(exit_status(&r), 0);
	/* From here on everything has to be in place. */
	fd = open(pid_path, O_RDONLY);
	assert_true(read(fd, buf, sizeof(buf) - 1) > 1);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	close(fd);
	assert_int_equal(buf[strlen(buf) - 1], '\n');
	assert_int_not_equal(atoi(buf), r.starter);
	assert_int_equal(kill(atoi(buf), 0), 0);

	expect_output(&r, "starting\n");
	assert_int_equal(read(r.life, &c, 1), 1);
	assert_int_equal(c, 'S');
	shutdown(r.life, SHUT_WR);
	assert_int_equal(read(r.life, &c, 1), 0);
	close(r.life);
}

/* The number in the file is the one that it has for us, and it is gone by that. */
static void test_reborn(void **state)
{
	struct run r = start(REBORN);
	char buf[32] = "";
	char c;
	int fd;

	assert_int_equal(exit_status(&r), 0);
	fd = open(pid_path, O_RDONLY);
	assert_true(read(fd, buf, sizeof(buf) - 1) > 1);
	close(fd);
	expect_output(&r, "starting\n");
	assert_int_equal(read(r.life, &c, 1), 1);
	assert_int_equal(c, 'S');
	/* Of a namespace around, this is a signal that it can't ignore. */
	assert_int_equal(kill(atoi(buf), SIGKILL), 0);
	assert_int_equal(read(r.life, &c, 1), 0);
	close(r.life);
	r = start(REBORN_FAILS);
	assert_int_equal(exit_status(&r), 7);
	expect_output(&r, "starting\n");
	close(r.life);
}

static void test_failure(void **state)
{
	struct run r = start(FAILS);

	assert_int_equal(exit_status(&r), 7);
	expect_output(&r, "starting\n");
	close(r.life);
	r = start(DIES);
	assert_int_equal(exit_status(&r), 1);
	expect_output(&r, "starting\n");
	close(r.life);
}

static void test_foreground(void **state)
{
	char buf[32] = "", want[32];
	struct daemon d;
	struct stat st;
	int fd;

	daemon_init(&d);
	assert_int_equal(daemon_pid_write(&d), 0);
	assert_int_equal(daemon_pid_open(&d, "/nonexistent/pid"), -ENOENT);
	fd = open(pid_path, O_WRONLY);
	assert_int_equal(write(fd, "something longer than a number\n", 31), 31);
	close(fd);
	assert_int_equal(daemon_pid_open(&d, pid_path), 0);
	assert_int_equal(stat(pid_path, &st), 0);
	assert_int_equal(st.st_size, 31);
	assert_int_equal(daemon_pid_write(&d), 0);
	assert_int_equal(daemon_ready(&d), 0);
	fd = open(pid_path, O_RDONLY);
	assert_true(read(fd, buf, sizeof(buf) - 1) > 0);
	close(fd);
	snprintf(want, sizeof(want), "%i\n", (int)getpid());
	assert_string_equal(buf, want);
}

/* What was there before is not ours to remove, and a device that takes nothing says so. */
static void test_pid_undo(void **state)
{
	struct daemon d;

	daemon_init(&d);
	daemon_pid_unlink(&d);
	assert_int_equal(daemon_pid_open(&d, pid_path), 0);
	daemon_pid_unlink(&d);
	assert_int_equal(access(pid_path, F_OK), 0);
	close(d.pid_fd);

	unlink(pid_path);
	daemon_init(&d);
	assert_int_equal(daemon_pid_open(&d, pid_path), 0);
	assert_int_equal(access(pid_path, F_OK), 0);
	daemon_pid_unlink(&d);
	assert_int_equal(access(pid_path, F_OK), -1);
	close(d.pid_fd);

	daemon_init(&d);
	assert_int_equal(daemon_pid_open(&d, "/dev/full"), 0);
	assert_int_equal(daemon_pid_write(&d), -ENOSPC);
	daemon_pid_unlink(&d);
	assert_int_equal(access("/dev/full", F_OK), 0);
	close(d.pid_fd);
}

/* In a child, as it is about all descriptors of a process. The exit status is the number of the check that failed. */
static int fds_checks(void)
{
	int null = open("/dev/null", O_RDONLY), high = dup2(null, 100), fd;

	if (high != 100)
		return 1;
	fd = high;
	if (daemon_fds_close(&fd, 3) || fd != 100 || fcntl(null, F_GETFD) != -1 || fcntl(100, F_GETFD) != FD_CLOEXEC)
		return 2;
	if (dup2(100, 0) || dup2(100, 50) != 50)
		return 3;
	fd = 0;
	if (daemon_fds_close(&fd, 3) || fd < 3 || fcntl(fd, F_GETFD) != FD_CLOEXEC || fcntl(50, F_GETFD) != -1)
		return 4;
	fd = -1;
	if (daemon_fds_close(&fd, 3) || fd != -1 || fcntl(3, F_GETFD) != -1 || fcntl(2, F_GETFD) < 0)
		return 5;
	fd = 77;
	if (daemon_fds_close(&fd, 3) != -EBADF)
		return 6;
	close(0);
	close(2);
	daemon_stdio_open();
	if (fcntl(0, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0 || fcntl(3, F_GETFD) != -1)
		return 7;
	return 0;
}

/* The guest's socket as a standard stream, or as several: it moves, and nothing that is printed arrives there. */
static int stdio_checks(void)
{
	int pair[2], fd = 0;
	char c;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || dup2(pair[0], 0) || dup2(pair[0], 2) != 2 || dup2(pair[1], 1) != 1)
		return 1;
	if (daemon_fds_close(&fd, 3) || fd < 3)
		return 2;
	if (write(2, "x", 1) != 1 || write(0, "x", 1) != 1 || recv(1, &c, 1, MSG_DONTWAIT) != -1 || errno != EAGAIN)
		return 3;
	return write(fd, "y", 1) == 1 && read(1, &c, 1) == 1 && c == 'y' ? 0 : 4;
}

static void test_stdio_socket(void **state)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(stdio_checks());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_descriptors(void **state)
{
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(fds_checks());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_ready),    T(test_reborn),      T(test_failure),     T(test_foreground),
					    T(test_pid_undo), T(test_descriptors), T(test_stdio_socket) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
