/* SPDX-License-Identifier: MIT */
#include "ctl/door.h"

#include <sys/stat.h>
#include <unistd.h>

#include "os/sock.h"

#define OVERFLOW_UID 65534 /* unless /proc/sys/kernel/overflowuid has another: root may be kept out then, but nobody is let in */

void ctl_door_init(struct ctl_door *d, int file_fd)
{
	uid_t uid = geteuid();

	/* Becoming who we are changes nothing, and is refused for a number that stands for nobody in particular. */
	*d = (struct ctl_door){ .file_fd = file_fd, .uid = uid, .known = !seteuid(uid) };
}

void ctl_door_fini(struct ctl_door *d)
{
	sock_close(d->file_fd);
	d->file_fd = -1;
}

/* Only its owner may connect, as far as modes and access control lists go: the latter show in the mode of the group. */
static bool file_is_private(const struct ctl_door *d)
{
	struct stat st;

	return d->file_fd >= 0 && !fstat(d->file_fd, &st) && !(st.st_mode & (S_IRWXG | S_IRWXO));
}

bool ctl_door_lets(const struct ctl_door *d, uid_t peer)
{
	if (!peer || (d->known && peer == d->uid))
		return true;
	return peer == OVERFLOW_UID && file_is_private(d);
}
