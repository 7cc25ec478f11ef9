/* SPDX-License-Identifier: MIT */
#include "core/hostwatch_calls.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/socket.h>

#define WRITES (O_ACCMODE | O_CREAT | O_TRUNC)

static const struct syscall_rule rules[] = {
	{ "poll", "the loop" },
	{ "ppoll", "the loop, on newer architectures" },
	{ "ppoll_time64", "ppoll() with long times" },
	{ "sendmsg", "what has changed" },
	{ "read", "what has happened to a file, and the file" },
	{ "inotify_add_watch", "resolv.conf may be another file now" },
	{ "inotify_rm_watch", "the one that was watched before" },
	{ "readlink", "where resolv.conf is" },
	{ "readlinkat", "readlink() of newer architectures" },
	{ "lstat", "the same, of older C libraries" },
	{ "lstat64", "lstat() of 32-bit architectures" },
	{ "newfstatat", "lstat() of newer architectures" },
	{ "fstatat64", "lstat() of others" },
	{ "statx", "lstat() of yet others" },
	{ "open", "resolv.conf; nothing is written", { SYSCALL_WITHOUT(1, WRITES) } },
	{ "openat", "resolv.conf; nothing is written", { SYSCALL_WITHOUT(2, WRITES) } },
	{ "socket", "questions to the kernel about the network", { SYSCALL_IS(0, AF_NETLINK), SYSCALL_IS(2, NETLINK_ROUTE) } },
	{ "socket", "the number of an interface, for ioctl()", { SYSCALL_IS(0, AF_UNIX) } },
	{ "ioctl", "the number of an interface", { SYSCALL_IS(1, SIOCGIFINDEX) } },
	{ "bind", "such a question" },
	{ "getsockname", "such a question" },
	{ "sendto", "such a question" },
	{ "send", "such a question, on some architectures" },
	{ "recvmsg", "the answer" },
	{ "recvfrom", "that something has changed" },
	{ "recv", "recvfrom() of some architectures" },
};

const struct syscall_table hostwatch_calls = { rules, ARRAY_SIZE(rules) };
