/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <seccomp.h>
#include <string.h>

#include "core/calls.h"
#include "core/hostwatch_calls.h"
#include "netns/agent_calls.h"

/* A wrong name would be passed over, as one of another architecture is. */
static void test_rows(void **state)
{
	static const struct syscall_table *const tables[] = { &calls_run,   &calls_pasta, &calls_paths,
							      &calls_start, &agent_calls, &hostwatch_calls };

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (size_t i = 0; i < tables[t]->n; i++) {
			const struct syscall_rule *r = &tables[t]->rule[i];

			if (seccomp_syscall_resolve_name(r->name) == __NR_SCMP_ERROR)
				fail_msg("No system call %s", r->name);
			if (strlen(r->why) < 5)
				fail_msg("No reason for %s", r->name);
		}
	}
}

/* What would undo the confinement, or act on others. */
static void test_never(void **state)
{
	static const char *const never[] = {
		"execve",
		"execveat",
		"fork",
		"vfork",
		"clone",
		"clone3",
		"open",
		"openat",
		"openat2",
		"setns",
		"unshare",
		"mount",
		"ptrace",
		"bpf",
		"process_vm_writev",
		"keyctl",
		"setuid",
		"capset",
		"chroot",
		"pivot_root",
		"io_uring_setup",
		"userfaultfd",
		"perf_event_open",
		"personality",
		"modify_ldt",
		"kill",
		"tkill",
		"tgkill",
	};
	static const struct syscall_table *const tables[] = { &calls_run, &calls_pasta, &calls_paths, &calls_start, &agent_calls };

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (size_t i = 0; i < tables[t]->n; i++) {
			for (size_t k = 0; k < ARRAY_SIZE(never); k++)
				assert_string_not_equal(tables[t]->rule[i].name, never[k]);
		}
	}
}

/* The host agent may open files, as it has Landlock for which, but not to write. */
static void test_read_only(void **state)
{
	for (size_t i = 0; i < hostwatch_calls.n; i++) {
		const struct syscall_rule *r = &hostwatch_calls.rule[i];

		if (strstr(r->name, "open"))
			assert_int_equal(r->cond[0].mask & (O_WRONLY | O_RDWR | O_CREAT), O_WRONLY | O_RDWR | O_CREAT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_read_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
