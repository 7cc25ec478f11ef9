/* SPDX-License-Identifier: MIT */
/* Who is let in. That the number of our user is ours alone in a user namespace is a test of the whole program. */
#include "ctl/door.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define SHOWN_AS_NOBODY 65534

static void test_users(void **state)
{
	static const struct {
		struct ctl_door d;
		uid_t peer;
		bool in;
	} t[] = {
		{ { -1, 1000, true }, 1000, true },
		{ { -1, 1000, true }, 0, true },
		{ { -1, 1000, true }, 1001, false },
		{ { -1, 1000, true }, SHOWN_AS_NOBODY, false },
		{ { -1, SHOWN_AS_NOBODY, true }, SHOWN_AS_NOBODY, true },
		{ { -1, SHOWN_AS_NOBODY, true }, 1000, false },
		{ { -1, SHOWN_AS_NOBODY, false }, SHOWN_AS_NOBODY, false },
		{ { -1, 7, false }, 7, false },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++)
		assert_int_equal(ctl_door_lets(&t[i].d, t[i].peer), t[i].in);
}

/* Those who are all shown by one number come in as long as the file is open to its owner only. */
static void test_file(void **state)
{
	static const struct {
		mode_t mode;
		bool in;
	} t[] = { { 0600, true }, { 0666, false }, { 0620, false }, { 0602, false }, { 0610, false }, { 0700, true } };
	char path[] = "/tmp/door-test-XXXXXX";
	int fd = mkstemp(path);
	struct ctl_door d = { .file_fd = open(path, O_PATH), .uid = 1, .known = true };

	assert_true(fd >= 0 && d.file_fd >= 0);
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		assert_int_equal(chmod(path, t[i].mode), 0);
		assert_int_equal(ctl_door_lets(&d, SHOWN_AS_NOBODY), t[i].in);
		assert_false(ctl_door_lets(&d, 1000));
		assert_true(ctl_door_lets(&d, 1));
	}
	unlink(path);
	close(fd);
	ctl_door_fini(&d);
	assert_false(ctl_door_lets(&d, SHOWN_AS_NOBODY));
}

static void test_ourselves(void **state)
{
	struct ctl_door d;

	ctl_door_init(&d, -1);
	assert_true(d.known && d.uid == geteuid());
	assert_true(ctl_door_lets(&d, geteuid()));
	ctl_door_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_ourselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
