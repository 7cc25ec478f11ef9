/* SPDX-License-Identifier: MIT */
/* Commands in namespaces of their own, really run. Argument: who does it (as.h). */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "as.h"
#include "base/log.h"
#include "netns/spawn.h"

#define OUT_MAX 8192

struct run {
	struct spawn s;
	struct ns ns;
	int out_fd;
	char out[OUT_MAX];
	size_t len;
	int status;
};

static struct run r;
static bool unprivileged;
static char logged[1024];

static void log_keep(void *ctx, enum log_level level, const char *line)
{
	size_t at = strlen(logged);

	snprintf(logged + at, sizeof(logged) - at, "%s\n", line);
}

static struct spawn_conf conf_of(char *const *argv)
{
	return (struct spawn_conf){ .argv = argv, .uid = geteuid(), .gid = getegid() };
}

/* Starts a command whose standard output, and no other copy of it, comes to us. */
static int start(const struct spawn_conf *c)
{
	int p[2], keep, err;

	assert_int_equal(pipe(p), 0);
	keep = dup(STDOUT_FILENO);
	assert_true(dup2(p[1], STDOUT_FILENO) >= 0);
	close(p[1]);
	logged[0] = '\0';
	memset(&r, 0, sizeof(r));
	r.out_fd = p[0];
	err = spawn_start(c, &r.s, &r.ns);
	dup2(keep, STDOUT_FILENO);
	close(keep);
	return err;
}

/* Until the last one that could write to it has ended. */
static void read_all(void)
{
	ssize_t n;

	do {
		n = read(r.out_fd, r.out + r.len, sizeof(r.out) - 1 - r.len);
		r.len += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	r.out[r.len] = '\0';
}

/* Until the command has written so much. */
static void read_some(size_t want)
{
	while (r.len < want) {
		ssize_t n = read(r.out_fd, r.out + r.len, want - r.len);

		assert_true(n > 0);
		r.len += (size_t)n;
	}
}

static void end_wait(void)
{
	struct pollfd p = { .fd = r.s.pid_fd, .events = POLLIN };

	assert_true(p.fd >= 0);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(spawn_status(&r.s, &r.status), 0);
}

static void finish(void)
{
	spawn_close(&r.s);
	ns_close(&r.ns);
	close(r.out_fd);
}

static void run(const struct spawn_conf *c)
{
	assert_int_equal(start(c), 0);
	assert_int_equal(spawn_go(&r.s), 0);
	read_all();
	end_wait();
	finish();
}

static void run_sh(const char *script)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };
	struct spawn_conf c = conf_of(argv);

	run(&c);
}

/* --- what the command finds --- */

static void test_root(void **state)
{
	run_sh("id -u; id -g; echo $$; cat /proc/self/stat | cut -d' ' -f4; cat /proc/sys/net/ipv4/ping_group_range");
	assert_string_equal(r.out, "0\n0\n1\n1\n0\t0\n");
	assert_int_equal(r.status, 0);
	assert_string_equal(logged, "");
}

static void test_hostname(void **state)
{
	char *argv[] = { "uname", "-n", NULL };
	struct spawn_conf c = conf_of(argv);
	char host[256] = "", want[300];

	gethostname(host, sizeof(host) - 1);
	snprintf(want, sizeof(want), "pasta-%.58s\n", host);
	run(&c);
	assert_string_equal(r.out, want);
	c.hostname = "box.example.org";
	run(&c);
	assert_string_equal(r.out, "box.example.org\n");
}

/* Nothing but lo, and each namespace another than ours. */
static void test_namespaces(void **state)
{
	static const char *const type[] = { "user", "net", "mnt", "ipc", "pid", "uts" };
	char script[512] = "", own[128], path[64];
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(type); i++)
		at += (size_t)snprintf(script + at, sizeof(script) - at, "readlink /proc/self/ns/%s; ", type[i]);
	snprintf(script + at, sizeof(script) - at, "ls /sys/class/net >/dev/null; cut -d: -f1 /proc/net/dev | tail -n +3");
	run_sh(script);
	for (size_t i = 0; i < ARRAY_SIZE(type); i++) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/ns/%s", type[i]);
		n = readlink(path, own, sizeof(own) - 1);
		assert_true(n > 0);
		own[n] = '\0';
		assert_non_null(strstr(r.out, type[i]));
		assert_null(strstr(r.out, own));
	}
	assert_non_null(strstr(r.out, "lo\n"));
}

/* What we were given is what it lives in. */
static void test_handles(void **state)
{
	char want[128], *argv[] = { "readlink", "/proc/self/ns/net", "/proc/self/ns/user", NULL };
	struct spawn_conf c = conf_of(argv);
	struct stat net, user;

	assert_int_equal(start(&c), 0);
	assert_int_equal(fstat(r.ns.net_fd, &net), 0);
	assert_int_equal(fstat(r.ns.user_fd, &user), 0);
	assert_int_equal(spawn_go(&r.s), 0);
	read_all();
	end_wait();
	snprintf(want, sizeof(want), "net:[%lu]\nuser:[%lu]\n", (unsigned long)net.st_ino, (unsigned long)user.st_ino);
	assert_string_equal(r.out, want);
	finish();
}

/* Descriptors that we leave open are not the command's, whether marked or not. */
static void test_fds(void **state)
{
	int fd = open("/dev/null", O_RDONLY);

	run_sh("ls /proc/self/fd | tr '\\n' ' '");
	assert_string_equal(r.out, "0 1 2 3 "); /* 3 is of ls itself */
	close(fd);
}

static void test_environment(void **state)
{
	char **keep = environ, *none[] = { NULL }, *argv[] = { "env", NULL };
	struct spawn_conf c = conf_of(argv);

	assert_int_equal(setenv("PASTA_TEST", "there", 1), 0);
	run(&c);
	assert_non_null(strstr(r.out, "PASTA_TEST=there\n"));
	environ = none;
	run(&c);
	environ = keep;
	assert_string_equal(r.out, "");
	assert_int_equal(r.status, 0);
}

static void test_login_shell(void **state)
{
	struct spawn_conf c = conf_of(NULL);
	int p[2], keep = dup(STDIN_FILENO);
	static const char script[] = "echo $0; exit 7\n";

	assert_int_equal(setenv("SHELL", "/bin/sh", 1), 0);
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			setenv("SHELL", "", 1);
		if (i == 2)
			unsetenv("SHELL");
		assert_int_equal(pipe(p), 0);
		assert_int_equal(write(p[1], script, sizeof(script) - 1), sizeof(script) - 1);
		close(p[1]);
		dup2(p[0], STDIN_FILENO);
		close(p[0]);
		run(&c);
		assert_string_equal(r.out, "-sh\n");
		assert_int_equal(r.status, 7);
	}
	dup2(keep, STDIN_FILENO);
	close(keep);
}

/* --- how it ends --- */

static void test_status(void **state)
{
	run_sh("exit 0");
	assert_int_equal(r.status, 0);
	run_sh("exit 42");
	assert_int_equal(r.status, 42);
	run_sh("exit 255");
	assert_int_equal(r.status, 255);
}

static void status_of(char *word, int want)
{
	char *argv[] = { word, NULL };
	struct spawn_conf c = conf_of(argv);
	int keep = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);

	dup2(null, STDERR_FILENO);
	run(&c);
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(null);
	assert_int_equal(r.status, want);
}

static void test_no_exec(void **state)
{
	status_of("no-such-command-anywhere", 127);
	status_of("/no/such/command", 127);
	status_of("", 127);
	status_of("/etc/passwd", 126);
	status_of("/", 126);
}

/* It must not run before it is told to, and may be ended instead. */
static void test_waits(void **state)
{
	char *argv[] = { "echo", "ran", NULL };
	struct spawn_conf c = conf_of(argv);
	pid_t pid;

	assert_int_equal(start(&c), 0);
	assert_int_equal(spawn_status(&r.s, &r.status), -EAGAIN);
	pid = r.s.pid;
	spawn_close(&r.s);
	assert_int_equal(kill(pid, 0), -1);
	read_all();
	assert_string_equal(r.out, "");
	finish();
}

static void start_sh(const char *script, size_t want)
{
	char *argv[] = { "sh", "-c", (char *)script, NULL };
	struct spawn_conf c = conf_of(argv);

	assert_int_equal(start(&c), 0);
	assert_int_equal(spawn_go(&r.s), 0);
	read_some(want);
}

/* What it leaves behind holds the pipe: reading to its end shows that it has gone. */
static void test_children(void **state)
{
	start_sh("setsid sleep 1000 & nohup sleep 1000 2>/dev/null & echo x; exit 3", 2);
	read_all();
	end_wait();
	assert_int_equal(r.status, 3);
	finish();
}

/* Not a shell, which handles signals until it runs something else. */
static void start_yes_in(bool no_pidns)
{
	char *argv[] = { "yes", NULL };
	struct spawn_conf c = conf_of(argv);

	c.no_pidns = no_pidns;
	assert_int_equal(start(&c), 0);
	assert_int_equal(spawn_go(&r.s), 0);
	read_some(2);
}

static void start_yes(void)
{
	start_yes_in(false);
}

/* In our PID namespace it has the number there that we know, and our /proc. */
static void test_no_pidns(void **state)
{
	char *argv[] = { "sh", "-c", "echo $$ $PPID; readlink /proc/self/ns/pid", NULL }, want[128], pidns[64] = "";
	struct spawn_conf c = conf_of(argv);

	c.no_pidns = true;
	assert_true(readlink("/proc/self/ns/pid", pidns, sizeof(pidns) - 1) > 0);
	assert_int_equal(start(&c), 0);
	snprintf(want, sizeof(want), "%i %i\n%s\n", (int)r.s.pid, (int)getpid(), pidns);
	assert_int_equal(spawn_go(&r.s), 0);
	read_all();
	end_wait();
	finish();
	assert_string_equal(r.out, want);
	assert_string_equal(logged, "");
}

/* The terminal's signals reach it by themselves. */
static void test_no_pidns_signal(void **state)
{
	start_yes_in(true);
	spawn_signal(&r.s, SIGTERM, true);
	assert_int_equal(spawn_status(&r.s, &r.status), -EAGAIN);
	spawn_signal(&r.s, SIGINT, false);
	end_wait();
	assert_int_equal(r.status, 128 + SIGINT);
	finish();
}

static void test_signal_default(void **state)
{
	start_yes();
	spawn_signal(&r.s, SIGTERM, false);
	end_wait();
	assert_int_equal(r.status, 128 + SIGTERM);
	finish();

	start_yes();
	spawn_signal(&r.s, SIGINT, true);
	end_wait();
	assert_int_equal(r.status, 128 + SIGINT);
	finish();
}

static void test_signal_handled(void **state)
{
	start_sh("trap 'echo got; exit 9' TERM; echo x; while :; do sleep 0.01; done", 2);
	spawn_signal(&r.s, SIGTERM, false);
	end_wait();
	read_all();
	assert_string_equal(r.out, "x\ngot\n");
	assert_int_equal(r.status, 9);
	finish();

	/* From the terminal it has got it already. */
	start_sh("trap 'echo got' INT; trap 'exit 4' TERM; echo x; while :; do sleep 0.01; done", 2);
	spawn_signal(&r.s, SIGINT, true);
	spawn_signal(&r.s, SIGTERM, false);
	end_wait();
	read_all();
	assert_string_equal(r.out, "x\n");
	assert_int_equal(r.status, 4);
	finish();
}

static void test_signal_ignored(void **state)
{
	start_sh("trap '' TERM; echo x; read line; echo never; sleep 1000", 2);
	spawn_signal(&r.s, SIGTERM, false);
	assert_int_equal(spawn_status(&r.s, &r.status), -EAGAIN);
	spawn_signal(&r.s, SIGQUIT, false);
	end_wait();
	assert_int_equal(r.status, 128 + SIGQUIT);
	finish();
}

static void test_signal_death(void **state)
{
	start_sh("echo x; exec sleep 1000", 2);
	assert_int_equal(kill(r.s.pid, SIGKILL), 0);
	end_wait();
	assert_int_equal(r.status, 128 + SIGKILL);
	finish();
}

/* A parent that dies takes the command along, before and after it was let go. */
static void test_parent_dies(void **state)
{
	for (int go = 0; go < 2; go++) {
		int p[2];
		char byte;
		pid_t pid;

		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (!pid) {
			char *argv[] = { "sh", "-c", "echo x; exec sleep 1000", NULL };
			struct spawn_conf c = conf_of(argv);

			close(p[0]);
			dup2(p[1], STDOUT_FILENO);
			close(p[1]);
			if (spawn_start(&c, &r.s, &r.ns) || (go && spawn_go(&r.s)))
				_exit(1);
			if (!go)
				dprintf(STDOUT_FILENO, "x\n");
			pause();
		}
		close(p[1]);
		assert_int_equal(read(p[0], &byte, 1), 1);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		while (read(p[0], &byte, 1) > 0) {
		}
		close(p[0]);
	}
}

/* A signal that is blocked or ignored here is another matter there. */
static void test_dispositions(void **state)
{
	sigset_t term, before;
	void (*chld)(int) = signal(SIGCHLD, SIG_IGN), (*pipe_was)(int) = signal(SIGPIPE, SIG_IGN);

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	run_sh("grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 5");
	sigprocmask(SIG_SETMASK, &before, NULL);
	signal(SIGPIPE, pipe_was);
	signal(SIGCHLD, chld);
	assert_string_equal(r.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
	assert_int_equal(r.status, 5);
}

/* --- users --- */

static void test_other_user(void **state)
{
	char *argv[] = { "sh", "-c", "id -u; id -G; cat /proc/self/uid_map | tr -s ' '; cat /proc/self/setgroups", NULL };
	struct spawn_conf c = conf_of(argv);

	c.uid = c.gid = 1234;
	if (unprivileged) {
		assert_int_equal(start(&c), -EPERM);
		assert_string_equal(logged, "Couldn't write to /proc/self/uid_map: Operation not permitted\n"
					    "Couldn't configure user mappings\n");
		read_all();
		close(r.out_fd);
		return;
	}
	run(&c);
	assert_string_equal(r.out, "0\n0\n 0 1234 1\nallow\n");
}

static void test_netns_only(void **state)
{
	char *argv[] = { "sh", "-c", "id -u; readlink /proc/self/ns/user", NULL }, own[64] = "", want[80];
	struct spawn_conf c = conf_of(argv);

	c.netns_only = true;
	assert_true(readlink("/proc/self/ns/user", own, sizeof(own) - 1) > 0);
	snprintf(want, sizeof(want), "%u\n%s\n", geteuid(), own);
	if (geteuid()) {
		assert_int_equal(start(&c), -EPERM);
		assert_non_null(strstr(logged, "Couldn't create network namespace: "));
		assert_non_null(strstr(logged, "(without --netns-only)\n"));
		close(r.out_fd);
		return;
	}
	assert_int_equal(start(&c), 0);
	assert_int_equal(r.ns.user_fd, -1);
	assert_int_equal(spawn_go(&r.s), 0);
	read_all();
	end_wait();
	assert_string_equal(r.out, want);
	finish();
}

/* No more than a namespace for each: the one too many is refused, with the words that clients know. */
static void test_refused(void **state)
{
	static const char limit[] = "/proc/sys/user/max_user_namespaces";
	char *argv[] = { "sh", "-c", "echo 0 >/proc/sys/user/max_user_namespaces && unshare -U true 2>/dev/null || echo no", NULL };
	struct spawn_conf c = conf_of(argv);
	pid_t pid;
	int status;

	/* The limit of a namespace of our own. */
	pid = fork();
	if (!pid) {
		c.argv = (char *[]){ "true", NULL };
		if (unshare(CLONE_NEWUSER))
			_exit(2);
		c.uid = c.gid = 0;
		/* Nobody is mapped here, so we are nobody: creating another one takes a user. */
		if (start(&c) != -EPERM)
			_exit(3);
		_exit(strcmp(logged, "Couldn't create user namespace: Operation not permitted\n"
				     "Unable to create user namespaces: a security module, the filter of a container or a chroot "
				     "environment may forbid it\n")
			      ? 4
			      : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access(limit, F_OK), 0);
	run(&c);
	assert_string_equal(r.out, "no\n");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_hostname),
		cmocka_unit_test(test_namespaces),
		cmocka_unit_test(test_handles),
		cmocka_unit_test(test_fds),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_login_shell),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_no_exec),
		cmocka_unit_test(test_waits),
		cmocka_unit_test(test_children),
		cmocka_unit_test(test_no_pidns),
		cmocka_unit_test(test_no_pidns_signal),
		cmocka_unit_test(test_signal_default),
		cmocka_unit_test(test_signal_handled),
		cmocka_unit_test(test_signal_ignored),
		cmocka_unit_test(test_signal_death),
		cmocka_unit_test(test_parent_dies),
		cmocka_unit_test(test_dispositions),
		cmocka_unit_test(test_other_user),
		cmocka_unit_test(test_netns_only),
		cmocka_unit_test(test_refused),
	};

	/* Whoever runs us in the background may have had some ignored. */
	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	unprivileged = as_become(argc, argv);
	log_set_sink(log_keep, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
