/* SPDX-License-Identifier: MIT */
#include "os/passed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "os/sock.h"

static void env(const char *pid, const char *fds, const char *names)
{
	char own[16];

	snprintf(own, sizeof(own), "%i", (int)getpid());
	setenv("LISTEN_PID", pid ? pid : own, 1);
	setenv("LISTEN_FDS", fds, 1);
	if (names)
		setenv("LISTEN_FDNAMES", names, 1);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *pid, *fds;
		int want;
		unsigned n;
	} t[] = {
		{ NULL, "0", 0, 0 },      { NULL, "1", 0, 1 },        { "1", "1", 0, 0 },         { "", "1", 0, 0 },
		{ NULL, "", -EINVAL, 0 }, { NULL, "-1", -EINVAL, 0 }, { NULL, "1x", -EINVAL, 0 }, { NULL, "257", -EINVAL, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		unsigned n = 99;
		char *names;

		assert_int_equal(dup2(STDERR_FILENO, PASSED_FIRST), PASSED_FIRST);
		env(t[i].pid, t[i].fds, NULL);
		assert_int_equal(passed_count(&n, &names), t[i].want);
		assert_int_equal(t[i].want ? 0 : n, t[i].n);
		assert_null(names);
		assert_null(getenv("LISTEN_PID"));
		assert_null(getenv("LISTEN_FDS"));
		assert_int_equal(fcntl(PASSED_FIRST, F_GETFD), t[i].n ? FD_CLOEXEC : 0);
		close(PASSED_FIRST);
	}
	/* There is no such descriptor. */
	unsigned n;
	char *names;

	env(NULL, "1", "a:b");
	assert_int_equal(passed_count(&n, &names), -EBADF);
	assert_string_equal(names, "a:b");
	assert_null(getenv("LISTEN_FDNAMES"));
	free(names);
}

/* Number i, where passed_look() finds it. */
static void put(unsigned i, int fd)
{
	assert_int_equal(dup2(fd, PASSED_FIRST + (int)i), PASSED_FIRST + (int)i);
	if (fd != PASSED_FIRST + (int)i)
		close(fd);
}

static void test_names(void **state)
{
	static const struct {
		unsigned i;
		const char *names;
		enum passed_kind want;
	} t[] = {
		{ 0, NULL, PASSED_UNIX },           { 0, "", PASSED_UNIX },
		{ 0, "control", PASSED_CONTROL },   { 1, "control", PASSED_UNIX },
		{ 1, "a:control", PASSED_CONTROL }, { 1, ":control", PASSED_CONTROL },
		{ 0, "control:a", PASSED_CONTROL }, { 0, "controls", PASSED_UNIX },
		{ 0, "a:control", PASSED_UNIX },    { 1, "a:b:control", PASSED_UNIX },
	};
	struct passed_socket s;

	for (unsigned i = 0; i < 2; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		put(i, fd);
		assert_int_equal(bind(PASSED_FIRST + (int)i, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(sa_family_t)), 0);
		assert_int_equal(listen(PASSED_FIRST + (int)i, 1), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(passed_look(t[i].i, t[i].names, &s), 0);
		assert_int_equal(s.kind, t[i].want);
		assert_true(s.listens);
	}
	assert_true(fcntl(PASSED_FIRST, F_GETFL) & O_NONBLOCK);
	for (unsigned i = 0; i < 2; i++)
		close(PASSED_FIRST + (int)i);
}

/* What bound_open() made of a wish is found out again. */
static void test_ports(void **state)
{
	static const struct bound_spec want[] = {
		{ .addr = ADDR4_INIT(127, 0, 0, 1), .proto = IPPROTO_TCP },
		{ .addr = ADDR4_INIT(0, 0, 0, 0), .proto = IPPROTO_TCP },
		{ .addr = { .b = { [15] = 1 } }, .proto = IPPROTO_TCP },
		{ .addr = { .b = { 0 } }, .proto = IPPROTO_TCP, .dual = 1 },
		{ .addr = { .b = { 0 } }, .proto = IPPROTO_UDP },
		{ .addr = ADDR4_INIT(127, 0, 0, 1), .proto = IPPROTO_UDP },
	};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		struct bound_spec w = want[i];
		struct passed_socket s;
		struct ep ep;
		bool v6;
		int fd;

		assert_int_equal(bound_open(&w, &fd, &v6), 0);
		assert_int_equal(sock_local(fd, &ep), 0);
		w.port = ep.port;
		put(0, fd);
		assert_int_equal(passed_look(0, "control", &s), 0);
		assert_int_equal(s.kind, PASSED_PORT);
		assert_true(bound_same(&s.at, &w));
		for (size_t k = 0; k < ARRAY_SIZE(want); k++) {
			struct bound_spec other = want[k];

			other.port = w.port;
			assert_int_equal(bound_same(&s.at, &other), k == i);
		}
		w.port++;
		assert_false(bound_same(&s.at, &w));
		close(PASSED_FIRST);
	}
}

static void test_useless(void **state)
{
	struct passed_socket s;

	put(0, open("/dev/null", O_RDONLY));
	assert_int_equal(passed_look(0, NULL, &s), -ENOTSOCK);
	put(0, socket(AF_INET, SOCK_STREAM, 0)); /* it does not listen */
	assert_int_equal(passed_look(0, NULL, &s), -EPROTONOSUPPORT);
	put(0, socket(AF_NETLINK, SOCK_RAW, 0));
	assert_int_equal(passed_look(0, NULL, &s), -EPROTONOSUPPORT);
	put(0, socket(AF_UNIX, SOCK_STREAM, 0));
	assert_int_equal(passed_look(0, "control", &s), -EPROTONOSUPPORT);
	close(PASSED_FIRST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_useless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
