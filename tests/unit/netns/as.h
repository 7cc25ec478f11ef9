/* SPDX-License-Identifier: MIT */
/*
 * Who a test runs as. With the word "user", a test that root started goes on as an ordinary user; with "container", as root of a new user
 * namespace that has one user only, as in a rootless container. Otherwise as whoever started it.
 */
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/defs.h"

#define AS_NOBODY 65534

static inline void as_fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static inline void as_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		as_fail(path);
	close(fd);
}

static inline void as_user(void)
{
	if (geteuid())
		return;
	if (setgroups(0, NULL) || setresgid(AS_NOBODY, AS_NOBODY, AS_NOBODY) || setresuid(AS_NOBODY, AS_NOBODY, AS_NOBODY))
		as_fail("user");
	if (prctl(PR_SET_DUMPABLE, 1UL) || chdir("/"))
		as_fail("dumpable");
}

static inline void as_container(void)
{
	char uid[32], gid[32];

	as_user();
	snprintf(uid, sizeof(uid), "0 %u 1", geteuid());
	snprintf(gid, sizeof(gid), "0 %u 1", getegid());
	if (unshare(CLONE_NEWUSER))
		as_fail("unshare");
	as_write("/proc/self/uid_map", uid);
	as_write("/proc/self/setgroups", "deny");
	as_write("/proc/self/gid_map", gid);
}

/* True if there is no right to do what only root of the machine may. */
static inline bool as_become(int argc, char **argv)
{
	const char *who = argc > 1 ? argv[1] : "";

	if (!strcmp(who, "user"))
		as_user();
	else if (!strcmp(who, "container"))
		as_container();
	return !strcmp(who, "container") || geteuid();
}
