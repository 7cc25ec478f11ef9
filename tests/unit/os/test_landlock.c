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
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/box.h"

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

static int run(unsigned refuse)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) || box_landlock(refuse, NULL, 0))
			_exit(FAILED);
		_exit(tries());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
