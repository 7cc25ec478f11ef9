/* SPDX-License-Identifier: MIT */
/* A child takes the layer, tries, and tells by its exit status what it could do. Rights that the kernel has not are granted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/box.h"

#define ADD_RULE 445 /* landlock_add_rule(2) */

enum can { OPEN = 0x01, SIGNAL = 0x02, BIND_ANY = 0x04, BIND_PORT = 0x08, BIND_UDP = 0x10, CONNECT = 0x20, FAILED = 0x40 };

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) }, .sin_port = htons(port) };
}

/* Whether it is allowed, not whether the port is free, or somebody there. */
static bool is_allowed(int (*call)(int, const struct sockaddr *, socklen_t), int type, uint16_t port)
{
	struct sockaddr_in sin = loopback(port);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && (!call(fd, (struct sockaddr *)&sin, sizeof(sin)) || (errno != EACCES && errno != EPERM));

	close(fd);
	return ok;
}

static int tries(void)
{
	int can = open("/proc/self/status", O_RDONLY | O_CLOEXEC) >= 0 ? OPEN : 0;

	can |= kill(getppid(), 0) ? 0 : SIGNAL;
	can |= is_allowed(bind, SOCK_STREAM, 0) ? BIND_ANY : 0;
	can |= is_allowed(bind, SOCK_STREAM, 50007) ? BIND_PORT : 0;
	can |= is_allowed(bind, SOCK_DGRAM, 50007) ? BIND_UDP : 0;
	can |= is_allowed(connect, SOCK_STREAM, 50007) ? CONNECT : 0;
	return can;
}

/* As a filter of a container may have it. */
static int rules_refuse(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ADD_RULE, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(code), code };

	return prctl(PR_SET_SECCOMP, (unsigned long)SECCOMP_MODE_FILTER, &prog, 0UL, 0UL);
}

static int take(unsigned refuse, const char *dir, int want_lost)
{
	int fd = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1, lost = 0;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) || (want_lost && rules_refuse()))
		return -EPERM;
	if (box_landlock(refuse, &fd, fd >= 0, &lost) || lost != want_lost)
		return -EINVAL;
	return 0;
}

/* dir: files in it may be read. want_lost: that, and all exceptions, are refused like this. */
static int run_with(unsigned refuse, const char *dir, int want_lost)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(take(refuse, dir, want_lost) ? FAILED : tries());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int run(unsigned refuse)
{
	return run_with(refuse, NULL, 0);
}

static void test_refused(void **state)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0UL, 1U);
	int always = version < 1 ? FAILED : SIGNAL | BIND_ANY | BIND_PORT | BIND_UDP | CONNECT;
	int signals = version >= 6 ? SIGNAL : 0, net = version >= 4 ? ~0 : 0;

	assert_int_equal(run(0), always);
	assert_int_equal(run(BOX_SIGNALS), always & ~signals);
	assert_int_equal(run(BOX_TCP_PORTS), always & ~(net & BIND_PORT));
	assert_int_equal(run(BOX_TCP_CONNECT), always & ~(net & CONNECT));
	assert_int_equal(run(BOX_SIGNALS | BOX_TCP_PORTS | BOX_TCP_CONNECT), always & ~signals & ~(net & (BIND_PORT | CONNECT)));
}

static void test_folder(void **state)
{
	int all = run(0);

	assert_int_equal(run_with(0, "/proc", 0), all == FAILED ? FAILED : all | OPEN);
	assert_int_equal(run_with(0, "/usr", 0), all);
}

/* What takes an exception that can't be had is allowed; all else is not. */
static void test_exceptions_refused(void **state)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0UL, 1U);
	unsigned refuse = BOX_SIGNALS | BOX_TCP_PORTS | BOX_TCP_CONNECT;
	int all = run(refuse);

	if (version < 1)
		return;
	if (version >= 4)
		assert_int_equal(run_with(refuse, NULL, -EPERM), all | BIND_PORT);
	assert_int_equal(run_with(refuse, "/proc", -EPERM), all | BIND_PORT | OPEN);
	assert_int_equal(run_with(refuse & ~(unsigned)BOX_TCP_PORTS, "/proc", -EPERM), all | BIND_PORT | OPEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_folder),
		cmocka_unit_test(test_exceptions_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
