/* SPDX-License-Identifier: MIT */
/*
 * Layers of confinement that hold for the whole process, each by itself: what one is refused, the others still give. All return 0 or
 * -errno, log nothing, and leave the process as it was where they fail.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

enum box_ns { BOX_NS_USER, BOX_NS_MOUNT, BOX_NS_IPC, BOX_NS_UTS, BOX_NS_PID, BOX_NS_KINDS };

/*
 * Moves the process into a new namespace (namespaces(7)), but only its next child into one of PIDs. All but the first kind take
 * CAP_SYS_ADMIN; a user namespace gives it, inside, and takes away what the process had outside. No user is mapped in there. -EPERM,
 * -ENOSPC, -EINVAL: as unshare(2).
 */
MUST_USE int box_unshare(enum box_ns kind);

#define BOX_USER 1u

/*
 * Once in a new user namespace, with its capabilities: the user that we are, by its number outside, is BOX_USER in there, and so can be
 * told from all others. They are not root there, as that would get capabilities from programs. -ENOENT: there is no /proc any more; -EPERM:
 * as for root without CAP_SETFCAP (user_namespaces(7)).
 */
MUST_USE int box_map_user(uid_t outside);

/*
 * In a mount namespace of our own: makes an empty file system that nobody can write to our root, and takes everything else out of sight
 * (pivot_root(2)). Descriptors that are open stay what they are. Without a root that can be moved, as in an initramfs or after chroot(2),
 * the kernel refuses with -EINVAL; with_chroot then changes to the empty file system by chroot(2), below which the old one stays mounted.
 */
MUST_USE int box_root(bool with_chroot);

/* No core, and no other process of the same user may trace us or read our memory (PR_SET_DUMPABLE). */
MUST_USE int box_memory(void);

/*
 * No file can be opened, made, removed or executed by a path any more (Landlock), and no abstract socket of others be connected to, where
 * the kernel knows how to refuse that; nor can what refuse has. Files below the n folders at dir may still be read. Takes
 * PR_SET_NO_NEW_PRIVS. -ENOSYS, -EOPNOTSUPP: the kernel has it not, or not switched on. All this takes exceptions, for the folders and for
 * ports that the kernel chooses: where one is refused, *ret_lost is -errno, and reading files or binding ports of TCP is allowed.
 */
enum box_refuse {
	BOX_SIGNALS = 0x01, /* to others, from Linux 6.12 on */
	BOX_TCP_PORTS = 0x02, /* bind() of TCP to a port of our choice, from Linux 6.7 on */
	BOX_TCP_CONNECT = 0x04, /* connect() of TCP, the same */
};
MUST_USE int box_landlock(unsigned refuse, const int *dir, unsigned n, int *ret_lost);
