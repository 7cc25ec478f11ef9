/* SPDX-License-Identifier: MIT */
#include "netns/refusal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/num.h"

#define CLONE_SYSCTL "/proc/sys/kernel/unprivileged_userns_clone" /* of Debian */
#define APPARMOR_SYSCTL "/proc/sys/kernel/apparmor_restrict_unprivileged_userns" /* of Ubuntu */
#define LIMITS "/proc/sys/user"

/* UINT64_MAX if it can't be read. */
static uint64_t number_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *at = NULL;
	uint64_t found = 0;
	char text[32];
	ssize_t n;

	if (fd < 0)
		return UINT64_MAX;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[MAX(n, (ssize_t)0)] = '\0';
	at = text;
	return num_take(&at, 0, INT_MAX, &found) ? UINT64_MAX : found;
}

/* Limits hold for all that is below a user namespace, so the one that is reached may be out of sight. */
static void limits_log(bool user)
{
	static const char *const kind[] = { "user", "net", "mnt", "ipc", "pid", "uts" };
	bool found = false;
	char path[64];

	for (size_t i = user ? 0 : 1; i < ARRAY_SIZE(kind); i++) {
		snprintf(path, sizeof(path), LIMITS "/max_%s_namespaces", kind[i]);
		if (number_read(path))
			continue;
		log_err("No such namespaces are allowed here: %s is 0", path);
		found = true;
	}
	if (found)
		return;
	log_err("There are as many namespaces as are allowed: see max_%snet_namespaces and the like in " LIMITS
		", here and in the user "
		"namespaces around%s",
		user ? "user_namespaces, max_" : "", user ? "; those can be nested 32 deep" : "");
}

static bool sysctls_log(void)
{
	bool off = !number_read(CLONE_SYSCTL), restricted = number_read(APPARMOR_SYSCTL) == 1;

	if (off)
		log_err("Unable to create user namespaces without privileges: " CLONE_SYSCTL " is 0");
	if (restricted)
		log_err("User namespaces of other users have no rights, unless AppArmor has a profile for the program: " APPARMOR_SYSCTL
			" is 1");
	return off || restricted;
}

void refusal_log_user(int err)
{
	if (err == -ENOSPC || err == -EUSERS)
		limits_log(true);
	else if (err == -EPERM && !sysctls_log())
		log_err("Unable to create user namespaces: a security module, the filter of a container or a chroot environment may forbid it");
	else if (err == -EINVAL)
		log_err("The kernel may have no user namespaces");
}

void refusal_log_net(int err)
{
	if (err == -ENOSPC || err == -EUSERS)
		limits_log(false);
	else if (err == -EPERM)
		log_err("This takes privileges, which a user namespace would give (without --netns-only)");
	else if (err == -EINVAL)
		log_err("The kernel may have no network namespaces");
}

void refusal_log_map(int err)
{
	if (err == -EPERM)
		(void)sysctls_log();
}
