/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/userdb.h"

static const char users[] = "# a comment\n\nroot:x:0:0:root:/:/bin/sh\nlonger:x:70000:70001::/:\nlong:x:5:6::/:\n"
			    "a line that is none\nlast:x:4294967294:7::/:";
static const char groups[] = "root:x:0:\nstaff:x:50:root,long\n:::\nsta:x:4294967294:";

static char path[32];

static void file_put(const char *text)
{
	int fd;

	snprintf(path, sizeof(path), "/tmp/userdb.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_true(dprintf(fd, "%s", text) > 0);
	close(fd);
}

static void test_file_user(void **state)
{
	uid_t uid = 99;
	gid_t gid = 99;

	file_put(users);
	assert_int_equal(userdb_file_user(path, "nobody", &uid, &gid), -ENOENT);
	assert_int_equal(userdb_file_user(path, "", &uid, &gid), -ENOENT);
	assert_int_equal(userdb_file_user(path, NULL, &uid, &gid), -ENOENT);
	assert_true(uid == 99 && gid == 99);
	assert_int_equal(userdb_file_user(path, "long", &uid, &gid), 0);
	assert_true(uid == 5 && gid == 6);
	assert_int_equal(userdb_file_user(path, "last", &uid, &gid), 0);
	assert_true(uid == 4294967294u && gid == 7);
	uid = 70000;
	assert_int_equal(userdb_file_user(path, NULL, &uid, &gid), 0);
	assert_true(uid == 70000 && gid == 70001);
	unlink(path);
	assert_int_equal(userdb_file_user(path, "root", &uid, &gid), -ENOENT);
}

static void test_file_group(void **state)
{
	gid_t gid = 99;

	file_put(groups);
	assert_int_equal(userdb_file_group(path, "st", &gid), -ENOENT);
	assert_int_equal(gid, 99);
	assert_int_equal(userdb_file_group(path, "staff", &gid), 0);
	assert_int_equal(gid, 50);
	assert_int_equal(userdb_file_group(path, "sta", &gid), 0);
	assert_true(gid == 4294967294u);
	unlink(path);
	assert_int_equal(userdb_file_group(path, "root", &gid), -ENOENT);
}

static void test_here(void **state)
{
	uid_t uid = 99;
	gid_t gid = 99, by_number = 99;

	assert_int_equal(userdb_user("no-such-user-here", &uid, &gid), -ENOENT);
	assert_int_equal(userdb_group("no-such-group-here", &gid), -ENOENT);
	assert_true(uid == 99 && gid == 99);
	assert_int_equal(userdb_user("root", &uid, &gid), 0);
	assert_int_equal(uid, 0);
	assert_int_equal(userdb_group_of(0, &by_number), 0);
	assert_int_equal(by_number, gid);
	assert_int_equal(userdb_group("root", &gid), 0);
	assert_int_equal(gid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file_user),
		cmocka_unit_test(test_file_group),
		cmocka_unit_test(test_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
