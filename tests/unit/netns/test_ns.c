/* SPDX-License-Identifier: MIT */
/* Namespaces that are found, entered, and noticed to go. Argument: who does it (as.h). */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "as.h"
#include "netns/ns.h"
#include "netns/spawn.h"
#include "netns/watch.h"
#include "shell.h"

static struct spawn s;
static struct ns target; /* of the process that was spawned */
static struct ns ns; /* that the test opens */
static char logged[SHELL_OUT_MAX];
static char dir[64]; /* a file system of our own */

static struct spawn_conf sleeper(void)
{
	static char *argv[] = { "sleep", "1000", NULL };

	return (struct spawn_conf){ .argv = argv, .uid = geteuid(), .gid = getegid() };
}

static int setup(void **state)
{
	const struct spawn_conf c = sleeper();

	logged[0] = '\0';
	ns_init(&ns);
	return spawn_start(&c, &s, &target);
}

static int teardown(void **state)
{
	ns_close(&ns);
	ns_close(&target);
	spawn_close(&s);
	return 0;
}

static int open_path(const char *netns, const char *userns)
{
	const struct ns_spec spec = { .netns = netns, .userns = userns };

	ns_close(&ns);
	logged[0] = '\0';
	return ns_open(&spec, &ns);
}

static const char *proc(const char *what)
{
	static char path[64];

	snprintf(path, sizeof(path), "/proc/%i/%s", (int)s.pid, what);
	return path;
}

/* True if a process that enters ns is where the spawned one is. */
static bool leads_there(void)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		int fd, err = ns_enter(&ns);

		if (err)
			_exit(2);
		fd = open("/proc/self/ns/net", O_RDONLY);
		_exit(!ns_same(fd, target.net_fd));
	}
	return waitpid(pid, &status, 0) == pid && !status;
}

/* --- finding --- */

static void test_pid(void **state)
{
	const struct ns_spec spec = { .pid = s.pid };

	assert_int_equal(ns_open(&spec, &ns), 0);
	assert_true(ns_same(ns.net_fd, target.net_fd));
	assert_true(ns_same(ns.user_fd, target.user_fd));
	assert_true(ns.pid_fd >= 0);
	assert_true(leads_there());
}

static void test_pid_ours(void **state)
{
	const struct ns_spec spec = { .pid = getpid() };

	assert_int_equal(ns_open(&spec, &ns), -EINVAL);
	assert_non_null(strstr(logged, " is the one that we are in ourselves\n"));
	assert_int_equal(open_path("/proc/self/ns/net", NULL), -EINVAL);
	assert_string_equal(logged, "Network namespace /proc/self/ns/net is the one that we are in ourselves\n");
}

static void test_pid_options(void **state)
{
	struct ns_spec spec = { .pid = s.pid, .netns_only = true };

	assert_int_equal(ns_open(&spec, &ns), 0);
	assert_int_equal(ns.user_fd, -1);
	ns_close(&ns);
	spec = (struct ns_spec){ .pid = s.pid, .userns = "/proc/self/ns/user" };
	assert_int_equal(ns_open(&spec, &ns), 0);
	assert_int_equal(ns.user_fd, -1);
	ns_close(&ns);
	/* One that went on into another user namespace: that of its network is what counts. */
	spec = (struct ns_spec){ .pid = s.pid, .userns = proc("ns/user") };
	assert_int_equal(ns_open(&spec, &ns), 0);
	assert_true(ns_same(ns.user_fd, target.user_fd));
}

/* A process inside that has made itself another user namespace: its network still belongs to the first one. */
static void test_pid_nested(void **state)
{
	struct ns_spec spec = { 0 };
	int p[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid) {
		if (ns_enter(&target) || unshare(CLONE_NEWUSER) || write(p[1], "", 1) != 1)
			_exit(1);
		prctl(PR_SET_DUMPABLE, 1UL);
		pause();
	}
	assert_int_equal(read(p[0], &byte, 1), 1);
	spec.pid = pid;
	assert_int_equal(ns_open(&spec, &ns), 0);
	assert_true(ns_same(ns.user_fd, target.user_fd));
	assert_true(leads_there());
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(p[0]);
	close(p[1]);
}

static void test_path(void **state)
{
	char user[64];

	snprintf(user, sizeof(user), "%s", proc("ns/user"));
	assert_int_equal(open_path(proc("ns/net"), NULL), 0);
	assert_true(ns_same(ns.net_fd, target.net_fd));
	assert_int_equal(ns.user_fd, -1);
	assert_int_equal(open_path(proc("ns/net"), user), 0);
	assert_true(ns_same(ns.user_fd, target.user_fd));
	assert_true(leads_there());
}

/* Given as descriptors 0 and 1, which stay what they are. */
static void test_descriptors(void **state)
{
	int keep0 = dup(0), keep1 = dup(1), err;
	bool same;

	fflush(NULL);
	dup2(target.net_fd, 0);
	dup2(target.user_fd, 1);
	err = open_path("/proc/self/fd/0", "/proc/self/fd/1");
	same = ns_same(0, target.net_fd) && ns_same(1, target.user_fd);
	dup2(keep0, 0);
	dup2(keep1, 1);
	close(keep0);
	close(keep1);
	assert_int_equal(err, 0);
	assert_true(same);
	assert_true(ns.net_fd > 2 && ns.user_fd > 2);
	assert_true(leads_there());
}

/* With all of them closed, none of ours gets one of their numbers. */
static void test_closed(void **state)
{
	int keep[3], err;

	fflush(NULL);
	for (int i = 0; i < 3; i++) {
		keep[i] = fcntl(i, F_DUPFD, 10);
		close(i);
	}
	err = open_path(proc("ns/net"), "/proc/self/ns/user");
	for (int i = 0; i < 3; i++) {
		err |= fcntl(i, F_GETFD) >= 0;
		dup2(keep[i], i);
		close(keep[i]);
	}
	assert_int_equal(err, 0);
	assert_true(ns.net_fd > 2);
}

static void test_wrong(void **state)
{
	struct ns_spec spec = { .pid = s.pid, .netns = "x" };
	char fifo[128];

	assert_int_equal(ns_open(&spec, &ns), -EINVAL);
	spec = (struct ns_spec){ 0 };
	assert_int_equal(ns_open(&spec, &ns), -EINVAL);
	spec = (struct ns_spec){ .netns = "/proc/self/ns/net", .userns = "/proc/self/ns/user", .netns_only = true };
	assert_int_equal(ns_open(&spec, &ns), -EINVAL);
	spec = (struct ns_spec){ .netns = "" };
	assert_int_equal(ns_open(&spec, &ns), -EINVAL);

	assert_int_equal(open_path("no-such-name", NULL), -ENOENT);
	assert_string_equal(logged, "Couldn't open network namespace /run/netns/no-such-name: No such file or directory\n");
	assert_int_equal(open_path("/etc/passwd", NULL), -EINVAL);
	assert_string_equal(logged, "/etc/passwd is not a network namespace\n");
	assert_int_equal(open_path("/proc/self/ns/user", NULL), -EINVAL);
	assert_string_equal(logged, "/proc/self/ns/user is not a network namespace\n");
	assert_int_equal(open_path(proc("ns/net"), "/proc/self/ns/net"), -EINVAL);
	assert_string_equal(logged, "/proc/self/ns/net is not a user namespace\n");

	/* Nobody writes to it, and nobody is waited for. */
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(open_path(fifo, NULL), -EINVAL);
	unlink(fifo);

	logged[0] = '\0';
	spec = (struct ns_spec){ .pid = 1 << 30 };
	assert_int_not_equal(ns_open(&spec, &ns), 0);
	assert_non_null(strstr(logged, "No process with PID 1073741824: "));
}

/* --- its end --- */

static bool readable(const struct watch *w, int timeout_ms)
{
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	return poll(&p, 1, timeout_ms) == 1;
}

/* The event comes, and says that it is gone. */
static void expect_gone(struct watch *w)
{
	char want[NS_PATH_MAX + 64];
	bool gone = false;

	snprintf(want, sizeof(want), "Namespace %s is gone, exiting\n", w->name);
	logged[0] = '\0';
	while (!gone) {
		assert_true(readable(w, -1));
		gone = watch_read(w);
	}
	assert_string_equal(logged, want);
	watch_close(w);
}

static void test_watch_pid(void **state)
{
	const struct ns_spec spec = { .pid = s.pid };
	struct watch w;

	assert_int_equal(ns_open(&spec, &ns), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_PROCESS);
	assert_false(readable(&w, 0));
	spawn_close(&s);
	expect_gone(&w);
}

static void test_watch_proc(void **state)
{
	char link[128];
	struct watch w;

	assert_int_equal(open_path(proc("task/../ns/net"), NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_PROCESS);
	watch_close(&w);
	/* By a link, as people make them for what has no name. */
	snprintf(link, sizeof(link), "%s/link", dir);
	assert_int_equal(symlink(proc("ns/net"), link), 0);
	assert_int_equal(open_path(link, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_PROCESS);
	assert_false(readable(&w, 0));
	spawn_close(&s);
	expect_gone(&w);
	unlink(link);
}

/* What Podman and ip-netns(8) do: a name that the namespace is mounted on. */
static const char *name_make(const char *base)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", dir, base);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(mount(proc("ns/net"), path, NULL, MS_BIND, NULL), 0);
	return path;
}

static void test_watch_name(void **state)
{
	const char *path = name_make("name");
	struct watch w;
	char other[128];

	assert_int_equal(open_path(path, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_NAME);
	/* Others come and go. */
	snprintf(other, sizeof(other), "%s/name2", dir);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	unlink(other);
	assert_true(readable(&w, -1));
	assert_false(watch_read(&w));
	assert_false(readable(&w, 0));
	/* The process may end: the name keeps the namespace. */
	spawn_close(&s);
	assert_false(readable(&w, 0));
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(unlink(path), 0);
	expect_gone(&w);
}

/* By way of our own descriptor, which was opened by its name. */
static void test_watch_passed(void **state)
{
	const char *path = name_make("passed");
	int fd = open(path, O_RDONLY);
	char self[64];
	struct watch w;

	snprintf(self, sizeof(self), "/proc/self/fd/%i", fd);
	assert_int_equal(open_path(self, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_NAME);
	close(fd);
	umount2(path, MNT_DETACH);
	unlink(path);
	expect_gone(&w);
}

static void test_watch_directory(void **state)
{
	const char *path;
	char sub[128], away[128];
	struct watch w;

	snprintf(sub, sizeof(sub), "%s/sub", dir);
	snprintf(away, sizeof(away), "%s/away", dir);
	assert_int_equal(mkdir(sub, 0700), 0);
	path = name_make("sub/name");
	assert_int_equal(open_path(path, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(rename(sub, away), 0);
	expect_gone(&w);
}

static void test_watch_gone_before(void **state)
{
	const char *path = name_make("before");
	struct watch w;

	assert_int_equal(open_path(path, NULL), 0);
	umount2(path, MNT_DETACH);
	assert_int_equal(watch_open(&ns, &w), -ENOENT);
	unlink(path);
	assert_int_equal(watch_open(&ns, &w), -ENOENT);
	assert_non_null(strstr(logged, "/before: No such file or directory\n"));
}

/* A descriptor without a name: nothing is watched. */
static void test_watch_nameless(void **state)
{
	char self[64];
	struct watch w;

	snprintf(self, sizeof(self), "/proc/self/fd/%i", target.net_fd);
	assert_int_equal(open_path(self, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_NONE);
	assert_int_equal(w.fd, -1);
	assert_false(watch_read(&w));
}

/* The /proc of another PID namespace: its numbers say nothing here, so that somebody has to look. */
static void test_watch_foreign_proc(void **state)
{
	char mnt[128], path[160];
	struct watch w;

	snprintf(mnt, sizeof(mnt), "%s/proc", dir);
	mkdir(mnt, 0700);
	assert_int_equal(mount("/proc", mnt, NULL, MS_BIND | MS_REC, NULL), 0);
	snprintf(path, sizeof(path), "%s/%i/ns/net", mnt, (int)s.pid);
	assert_int_equal(open_path(path, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_TIMER);
	assert_true(readable(&w, -1));
	assert_false(watch_read(&w));
	spawn_close(&s);
	expect_gone(&w);
	umount2(mnt, MNT_DETACH);
}

/* In a mount namespace of its own, on files that others don't see: makes a name for the namespace, and takes it away. */
static int elsewhere(int fd)
{
	const char *path;
	char byte;

	if (unshare(CLONE_NEWNS) || mount("tmpfs", dir, "tmpfs", 0, NULL))
		return 1;
	prctl(PR_SET_DUMPABLE, 1UL);
	path = name_make("elsewhere");
	if (write(fd, "", 1) != 1 || read(fd, &byte, 1) != 1)
		return 2;
	if (umount2(path, MNT_DETACH) || unlink(path) || read(fd, &byte, 1))
		return 3;
	return 0;
}

/* The directory is not the one that has this path here. */
static void test_watch_elsewhere(void **state)
{
	int p[2], status;
	char path[128], byte;
	struct watch w;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, p), 0);
	pid = fork();
	if (!pid) {
		close(p[0]);
		_exit(elsewhere(p[1]));
	}
	close(p[1]);
	assert_int_equal(read(p[0], &byte, 1), 1);
	snprintf(path, sizeof(path), "/proc/%i/root%s/elsewhere", (int)pid, dir);
	assert_int_equal(open_path(path, NULL), 0);
	assert_int_equal(watch_open(&ns, &w), 0);
	assert_int_equal(w.kind, WATCH_NAME);
	assert_false(readable(&w, 0));
	assert_int_equal(write(p[0], "", 1), 1);
	expect_gone(&w);
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Returns by how far it came; tells on fd when it has looked once. */
static int without_inotify(int fd)
{
	struct watch w;

	/* A limit of a user namespace of its own. */
	if (unshare(CLONE_NEWUSER))
		return 1;
	as_write("/proc/sys/user/max_inotify_instances", "0");
	if (watch_open(&ns, &w) || w.kind != WATCH_TIMER)
		return 2;
	if (!readable(&w, -1) || watch_read(&w) || write(fd, "", 1) != 1)
		return 3;
	while (readable(&w, -1)) {
		if (watch_read(&w))
			return 0;
	}
	return 4;
}

static void test_watch_no_inotify(void **state)
{
	const char *path = name_make("plain");
	int p[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(open_path(path, NULL), 0);
	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (!pid)
		_exit(without_inotify(p[1]));
	close(p[1]);
	assert_int_equal(read(p[0], &byte, 1), 1);
	close(p[0]);
	umount2(path, MNT_DETACH);
	unlink(path);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A place for names, that goes with us. */
static int group_setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp");
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	return mount("tmpfs", dir, "tmpfs", 0, "mode=0700");
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_pid),
		T(test_pid_ours),
		T(test_pid_options),
		T(test_pid_nested),
		T(test_path),
		T(test_descriptors),
		T(test_closed),
		T(test_wrong),
		T(test_watch_pid),
		T(test_watch_proc),
		T(test_watch_name),
		T(test_watch_passed),
		T(test_watch_directory),
		T(test_watch_gone_before),
		T(test_watch_nameless),
		T(test_watch_foreign_proc),
		T(test_watch_elsewhere),
		T(test_watch_no_inotify),
	};
#undef T

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	/* Mounts take a user namespace. */
	if (as_become(argc, argv) && geteuid())
		as_container();
	log_set_sink(log_keep, logged);
	return cmocka_run_group_tests(tests, group_setup, NULL);
}
