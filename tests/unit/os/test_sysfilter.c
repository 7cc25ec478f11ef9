/* SPDX-License-Identifier: MIT */
/* A child loads a filter and makes a call; the test looks at how it ended, and what it said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "os/sysfilter.h"

#define FINE 42

static const struct syscall_rule rules[] = {
	{ "socket", "of two conditions both have to hold", { SYSCALL_IS(0, AF_INET), SYSCALL_IS(2, 0) } },
	{ "socket", "another row of the same call", { SYSCALL_IS(0, AF_INET6) } },
	{ "no_such_call", "passed over" },
	{ "getsid", "of ourselves", { SYSCALL_SELF(0) } },
	{ "seccomp", "a second filter" },
	{ "prctl", "a second filter" },
	{ "umask", "of the first filter only" },
};

static const struct syscall_table table = { rules, ARRAY_SIZE(rules) }, shorter = { rules, ARRAY_SIZE(rules) - 1 };

static void to_pipe(void *ctx, enum log_level level, const char *line)
{
	(void)!write(*(int *)ctx, line, strlen(line));
}

/* Exit status of a child that loads the tables one after the other and makes the calls; what it logged. */
static int run(const struct syscall_table *first, const struct syscall_table *second, void (*calls)(void), char ret_said[256])
{
	int p[2], status = 0;
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		log_set_sink(to_pipe, &p[1]);
		if (sysfilter_load(&first, 1) || (second && sysfilter_load(&second, 1)))
			_exit(1);
		calls();
		_exit(FINE);
	}
	close(p[1]);
	n = read(p[0], ret_said, 255);
	ret_said[MAX(n, (ssize_t)0)] = '\0';
	close(p[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void allowed(void)
{
	(void)!write(socket(AF_INET, SOCK_DGRAM, 0), "", 0);
	(void)socket(AF_INET6, SOCK_DGRAM, 17);
	(void)getsid(getpid());
	(void)umask(022);
}

static void one_condition_fails(void)
{
	(void)socket(AF_INET, SOCK_DGRAM, 17);
}

static void other_process(void)
{
	(void)getsid(getpid() + 1);
}

static void other_call(void)
{
	(void)syscall(SYS_sethostname, "", 0UL);
}

static void only_umask(void)
{
	(void)umask(022);
}

static void test_allowed(void **state)
{
	char said[256];

	assert_int_equal(run(&table, NULL, allowed, said), FINE);
	assert_string_equal(said, "");
}

static void test_blocked(void **state)
{
	char said[256];

	assert_int_equal(run(&table, NULL, one_condition_fails, said), 1);
	assert_ptr_equal(strstr(said, "System call socket ("), said);
	assert_non_null(strstr(said, " is not allowed"));
	assert_int_equal(run(&table, NULL, other_process, said), 1);
	assert_ptr_equal(strstr(said, "System call getsid ("), said);
	assert_int_equal(run(&table, NULL, other_call, said), 1);
	assert_ptr_equal(strstr(said, "System call sethostname ("), said);
}

static void test_second_filter(void **state)
{
	char said[256];

	assert_int_equal(run(&table, &shorter, only_umask, said), 1);
	assert_ptr_equal(strstr(said, "System call umask ("), said);
}

/* Sanitizers make such mappings themselves. */
#ifndef SANITIZED
static void executable(void)
{
	(void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void test_executable_memory(void **state)
{
	char said[256];

	assert_int_equal(run(&table, NULL, executable, said), 1);
	assert_ptr_equal(strstr(said, "System call mmap"), said);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),
		cmocka_unit_test(test_blocked),
		cmocka_unit_test(test_second_filter),
#ifndef SANITIZED
		cmocka_unit_test(test_executable_memory),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
