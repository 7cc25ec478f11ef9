/* SPDX-License-Identifier: MIT */
#include "os/box.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Any folder will do to mount on: what it shows is out of sight a moment later. */
static const char *const places[] = { "/proc", "/dev", "/tmp", "/sys", "/etc" };

int box_unshare(enum box_ns kind)
{
	static const int flag[BOX_NS_KINDS] = {
		[BOX_NS_USER] = CLONE_NEWUSER, [BOX_NS_MOUNT] = CLONE_NEWNS, [BOX_NS_IPC] = CLONE_NEWIPC,
		[BOX_NS_UTS] = CLONE_NEWUTS,   [BOX_NS_PID] = CLONE_NEWPID,
	};

	return unshare(flag[kind]) ? -errno : 0;
}

int box_map_user(uid_t outside)
{
	int fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC), err;

	if (fd < 0)
		return -errno;
	err = dprintf(fd, "%u %u 1\n", BOX_USER, (unsigned)outside) < 0 ? -errno : 0;
	close(fd);
	return err;
}

/* Makes the empty file system the current directory. */
static int empty_mount(void)
{
	static const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
	int err = -ENOENT;

	/* Nothing of ours is seen outside; what is unmounted there goes here as well, so that we hold nothing. */
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL))
		return -errno;
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (mount("none", places[i], "tmpfs", flags, "mode=0555,nr_blocks=1,nr_inodes=1")) {
			err = -errno;
			continue;
		}
		if (!chdir(places[i]))
			return 0;
		err = -errno;
		(void)umount2(places[i], MNT_DETACH);
	}
	return err;
}

int box_root(bool with_chroot)
{
	int err = empty_mount();

	if (err)
		return err;
	if (!syscall(SYS_pivot_root, ".", ".")) {
		/* The old root lies on the new one now; without it, the new one is all that is left. */
		return umount2(".", MNT_DETACH) || chdir("/") ? -errno : 0;
	}
	err = -errno;
	if (with_chroot && !chroot(".") && !chdir("/"))
		return 0;
	(void)umount2(".", MNT_DETACH);
	(void)!chdir("/");
	return err;
}

int box_memory(void)
{
	return prctl(PR_SET_DUMPABLE, 0UL) ? -errno : 0;
}
