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
#ifndef SYS_landlock_add_rule
#define SYS_landlock_add_rule 445
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self 446
#endif

#define TELL_VERSION 1u

#define NET_BIND_TCP (UINT64_C(1) << 0)
#define NET_CONNECT_TCP (UINT64_C(1) << 1)
#define RULE_BENEATH 1
#define RULE_PORT 2
#define FS_READ_FILE (UINT64_C(1) << 2)

#define SCOPE_ABSTRACT_SOCKET (UINT64_C(1) << 0)
#define SCOPE_SIGNAL (UINT64_C(1) << 1)

struct ruleset {
	uint64_t fs;
	uint64_t net; /* since version 4 */
	uint64_t scope; /* since version 6 */
};

/* How many rights there are on files, by version: a right that is not handled is granted. */
static unsigned fs_rights(int version)
{
	static const unsigned rights[] = { 0, 13, 14, 15, 15, 16 };

	return rights[MIN((size_t)version, ARRAY_SIZE(rights) - 1)];
}

static struct ruleset rules_for(int version, unsigned refuse)
{
	struct ruleset r = { .fs = (UINT64_C(1) << fs_rights(version)) - 1 };

	if (version >= 4)
		r.net = (refuse & BOX_TCP_PORTS ? NET_BIND_TCP : 0) | (refuse & BOX_TCP_CONNECT ? NET_CONNECT_TCP : 0);
	if (version >= 6)
		r.scope = SCOPE_ABSTRACT_SOCKET | (refuse & BOX_SIGNALS ? SCOPE_SIGNAL : 0);
	return r;
}

/* The port that the kernel chooses is no service's. */
static int port_any_allow(int fd)
{
	static const struct {
		uint64_t access, port;
	} rule = { NET_BIND_TCP, 0 };

	return syscall(SYS_landlock_add_rule, fd, RULE_PORT, &rule, 0U) ? -errno : 0;
}

static int beneath_allow(int ruleset, int dir)
{
	const struct {
		uint64_t access;
		int32_t fd;
	} __attribute__((packed)) rule = { FS_READ_FILE, dir };

	return syscall(SYS_landlock_add_rule, ruleset, RULE_BENEATH, &rule, 0U) ? -errno : 0;
}

/* Without an exception that can't be had, what it is one of is not refused at all: *ret_err tells why, and *r is what is left. */
static void exceptions_add(int fd, const int *dir, unsigned n, struct ruleset *r, int *ret_err)
{
	int err = r->net & NET_BIND_TCP ? port_any_allow(fd) : 0;

	if (err) {
		r->net &= ~NET_BIND_TCP;
		*ret_err = err;
	}
	err = 0;
	for (unsigned i = 0; !err && i < n && r->fs & FS_READ_FILE; i++)
		err = beneath_allow(fd, dir[i]);
	if (err) {
		r->fs &= ~FS_READ_FILE;
		*ret_err = err;
	}
}

/* Refuses what is in *r; in the end less, each time for want of an exception. */
static int ruleset_open(const int *dir, unsigned n, struct ruleset *r, int *ret_lost, int *ret_fd)
{
	for (;;) {
		struct ruleset had = *r;
		/* Older kernels take a longer structure, too, as long as what they don't know is zero. */
		int fd = (int)syscall(SYS_landlock_create_ruleset, r, sizeof(*r), 0U);

		if (fd < 0)
			return -errno;
		exceptions_add(fd, dir, n, r, ret_lost);
		if (r->net == had.net && r->fs == had.fs) {
			*ret_fd = fd;
			return 0;
		}
		close(fd);
	}
}

int box_landlock(unsigned refuse, const int *dir, unsigned n, int *ret_lost)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0UL, TELL_VERSION);
	struct ruleset r;
	int fd = -1, err, lost = 0;

	if (version < 1)
		return version ? -errno : -EOPNOTSUPP;
	r = rules_for(version, refuse);
	err = ruleset_open(dir, n, &r, &lost, &fd);
	if (err)
		return err;
	if (syscall(SYS_landlock_restrict_self, fd, 0U))
		err = -errno;
	close(fd);
	if (!err)
		*ret_lost = lost;
	return err;
}
