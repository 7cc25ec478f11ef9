/* SPDX-License-Identifier: MIT */
/* Events by descriptors that others have as well. Where one would wait, so does the test, until it is ended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/event.h"

#define MOST UINT64_C(0xfffffffffffffffe)

/* One that waits, and one that does not. */
static void test_eventfd(void **state)
{
	static const int flags[] = { 0, EFD_NONBLOCK };
	eventfd_t n;

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		int fd = eventfd(0, flags[i]);

		assert_int_equal(event_read(fd), -EAGAIN);
		for (unsigned k = 0; k < 3; k++)
			assert_int_equal(event_write(fd), 0);
		assert_int_equal(event_read(fd), 0);
		assert_int_equal(event_read(fd), -EAGAIN);
		assert_int_equal(event_write(fd), 0);
		assert_int_equal(eventfd_read(fd, &n), 0);
		assert_int_equal(n, 1);
		/* Full: one more would wait for somebody who reads. */
		assert_int_equal(eventfd_write(fd, MOST), 0);
		assert_int_equal(event_write(fd), -EAGAIN);
		assert_int_equal(eventfd_read(fd, &n), 0);
		assert_true(n == MOST);
		assert_int_equal(event_write(fd), 0);
		close(fd);
	}
}

/* Numbers by pipes and sockets do as well. */
static void test_others(void **state)
{
	int fd[2];

	for (unsigned sockets = 0; sockets < 2; sockets++) {
		unsigned n = 0, got = 0;
		int err;

		assert_int_equal(sockets ? socketpair(AF_UNIX, SOCK_STREAM, 0, fd) : pipe(fd), 0);
		assert_int_equal(event_read(fd[0]), -EAGAIN);
		while ((err = event_write(fd[1])) == 0)
			n++;
		assert_int_equal(err, -EAGAIN);
		while ((err = event_read(fd[0])) == 0)
			got++;
		assert_int_equal(err, -EAGAIN);
		assert_int_equal(got, n);
		assert_int_equal(write(fd[1], "abc", 3), 3);
		assert_int_equal(event_read(fd[0]), -EBADMSG);
		close(fd[1]);
		assert_int_equal(event_read(fd[0]), -EBADMSG);
		close(fd[0]);
		assert_int_equal(sockets ? socketpair(AF_UNIX, SOCK_STREAM, 0, fd) : pipe(fd), 0);
		close(fd[0]);
		assert_int_equal(event_write(fd[1]), -EPIPE);
		close(fd[1]);
	}
}

static void test_skip(void **state)
{
	static const uint8_t some[50000];
	size_t got = 0;
	ssize_t n;
	int fd[2];

	assert_int_equal(pipe(fd), 0);
	assert_int_equal(event_skip(fd[0]), -EAGAIN);
	assert_int_equal(write(fd[1], some, sizeof(some)), sizeof(some));
	while ((n = event_skip(fd[0])) > 0)
		got += (size_t)n;
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(got, sizeof(some));
	close(fd[1]);
	assert_int_equal(event_skip(fd[0]), 0);
	close(fd[0]);
}

static void test_none_at_all(void **state)
{
	int fd = memfd_create("none", MFD_CLOEXEC);

	assert_int_equal(event_read(-1), -EBADF);
	assert_int_equal(event_read(fd), -EBADMSG);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eventfd),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_none_at_all),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
