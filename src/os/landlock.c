/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/box.h"

/* Known by number, as are the structure and its bits: the headers that we are built with may be older than the kernel. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif

#define TELL_VERSION 1u

#define SCOPE_ABSTRACT_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

struct ruleset {
	uint64_t fs;
	uint64_t net; /* since version 4; we have use for bind() and connect() */
	uint64_t scope; /* since version 6 */
};

/* How many rights there are on files, by version: a right that is not handled is granted. */
static unsigned fs_rights(int version)
{
	static const unsigned rights[] = { 0, 13, 14, 15, 15, 16 };

	return rights[MIN((size_t)version, ARRAY_SIZE(rights) - 1)];
}

int box_landlock(bool with_signals)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0UL, TELL_VERSION);
	struct ruleset r = { 0 };
	int fd, err = 0;

	if (version < 1)
		return version ? -errno : -EOPNOTSUPP;
	r.fs = (UINT64_C(1) << fs_rights(version)) - 1;
	if (version >= 6)
		r.scope = SCOPE_ABSTRACT_SOCKET | (with_signals ? SCOPE_SIGNAL : 0);
	/* Older kernels take a longer structure, too, as long as what they don't know is zero. */
	fd = (int)syscall(SYS_landlock_create_ruleset, &r, sizeof(r), 0U);
	if (fd < 0)
		return -errno;
	if (syscall(SYS_landlock_restrict_self, fd, 0U))
		err = -errno;
	close(fd);
	return err;
}
