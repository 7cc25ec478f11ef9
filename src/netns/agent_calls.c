/* SPDX-License-Identifier: MIT */
#include "netns/agent_calls.h"

#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sys/socket.h>

static const struct syscall_rule rules[] = {
	{ "recvmsg", "a request" },
	{ "sendmsg", "a reply, with what was opened" },
	{ "poll", "a rest, when there is no memory for a message" },
	{ "ppoll", "poll() of newer architectures" },
	{ "ppoll_time64", "ppoll() with long times" },
	{ "socket", "what was asked for", { SYSCALL_IS(0, AF_INET) } },
	{ "socket", "what was asked for", { SYSCALL_IS(0, AF_INET6) } },
	{ "socket",
	  "questions of the engine's to the kernel about sockets",
	  { SYSCALL_IS(0, AF_NETLINK), SYSCALL_IS(2, NETLINK_SOCK_DIAG) } },
	{ "socket", "news of the interface, for the engine", { SYSCALL_IS(0, AF_NETLINK), SYSCALL_IS(2, NETLINK_ROUTE) } },
	{ "ioctl", "the number of an interface", { SYSCALL_IS(1, SIOCGIFINDEX) } },
	{ "setsockopt", "a listener" },
	{ "getsockopt", "a listener" },
	{ "bind", "a listener" },
	{ "listen", "a listener" },
	{ "getsockname", "a listener" },
};

static const struct syscall_rule annex[] = {
	{ "sendto", "the interface has changed" },
	{ "send", "sendto() of some architectures" },
	{ "recvfrom", "the interface has changed" },
	{ "recv", "recvfrom() of some architectures" },
};

const struct syscall_table agent_calls = { rules, ARRAY_SIZE(rules) };
const struct syscall_table agent_calls_annex = { annex, ARRAY_SIZE(annex) };
