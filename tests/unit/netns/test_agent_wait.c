/* SPDX-License-Identifier: MIT */
/* The engine's half of the agent where the kernel has no memory for messages: calls of the C library are fakes, and time runs by them. */
#include "netns/agent.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <cmocka.h>
#include <unistd.h>

static struct {
	struct agent a;
	int peer;
	int err; /* of recvmsg(); 0: it works */
	unsigned asked, rests;
	int64_t now_ms;
} x;

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
	x.asked++;
	if (!x.err)
		return syscall(SYS_recvmsg, fd, msg, flags);
	errno = x.err;
	return -1;
}

int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	if (n)
		return 1;
	x.rests++;
	x.now_ms += timeout;
	return 0;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	*t = (struct timespec){ .tv_sec = x.now_ms / 1000, .tv_nsec = x.now_ms % 1000 * 1000000 };
	return 0;
}

static int setup(void **state)
{
	int sock[2];

	assert_int_equal(fdpass_pair(sock), 0);
	x.a = (struct agent){ .h.fd = sock[0] };
	x.peer = sock[1];
	x.asked = x.rests = 0;
	x.err = 0;
	return 0;
}

static int teardown(void **state)
{
	x.err = 0;
	close(x.a.h.fd);
	close(x.peer);
	return 0;
}

static void say(uint32_t type, uint32_t cookie)
{
	struct agent_reply r = { .head = { .type = type, .cookie = cookie } };

	assert_int_equal(fdpass_send(x.peer, &r, agent_reply_size(type), NULL, 0, 0), 0);
}

/* Not sooner than a rest later, each time that there is news. */
static void test_event(void **state)
{
	say(AGENT_SOCKETS, 1);
	x.err = ENOMEM;
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(agent_on_event(&x.a), 0);
		assert_int_equal(x.asked, i);
		assert_int_equal(x.rests, i);
	}
	x.err = 0;
	assert_int_equal(agent_on_event(&x.a), 0);
	assert_int_equal(x.asked, 5);
	assert_int_equal(x.rests, 3);
}

/* A call ends in time, also while something may be read all the time. */
static void test_call(void **state)
{
	struct agent_req q = { .head.type = AGENT_DIAG };
	struct agent_reply r;
	int fds[FDPASS_MAX];

	x.err = ENOBUFS;
	assert_int_equal(agent_call(&x.a, &q, &r, fds), -ETIMEDOUT);
	assert_int_equal(x.asked, x.rests);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_event), T(test_call) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
