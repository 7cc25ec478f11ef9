/* SPDX-License-Identifier: MIT */
#include "core/calls.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define UNIX_STREAM (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

static const struct syscall_rule run[] = {
	{ "epoll_wait", "the loop" },
	{ "epoll_pwait", "the loop, on newer architectures and other C libraries" },
	{ "getrusage", "the loop: whether others want the processor" },
	{ "epoll_ctl", "the loop: a descriptor comes, goes, or waits for something else" },
	{ "read", "frames of a tap, signals, wake-ups, what watches tell" },
	{ "recvfrom", "frames of a stream; connections of which nothing is to be kept" },
	{ "preadv2", "events of a hypervisor" },
	{ "recvmsg", "what comes from the host; messages of the agent and the hypervisor" },
	{ "recvmmsg", "several datagrams at once" },
	{ "recvmmsg_time64", "recvmmsg() with long times" },
	{ "sendto", "system logger, questions to the kernel about sockets" },
	{ "send", "sendto() of some architectures" },
	{ "recv", "recvfrom() of some architectures" },
	{ "sendmsg", "what goes to the host and, on a stream, to the guest; requests to the agent" },
	{ "sendmmsg", "several datagrams at once" },
	{ "splice", "connections between loopbacks" },
	{ "pipe2", "connections between loopbacks" },

	{ "socket", "a flow of IPv4", { SYSCALL_IS(0, AF_INET) } },
	{ "socket", "a flow of IPv6", { SYSCALL_IS(0, AF_INET6) } },
	{ "ioctl", "the number of an interface that a listener is for", { SYSCALL_IS(1, SIOCGIFINDEX) } },
	{ "bind", "a flow's own address; automatic ports" },
	{ "connect", "a flow" },
	{ "listen", "automatic ports" },
	{ "accept4", "a connection of the host, a hypervisor, somebody at the control socket" },
	{ "getsockname", "which address the kernel chose" },
	{ "getpeername", "who has connected" },
	{ "getsockopt", "errors, state of a connection, who the hypervisor is" },
	{ "setsockopt", "how a flow's packets look on the host's network" },
	{ "shutdown", "half of a connection ends" },
	{ "ioctl", "what the kernel has still to send", { SYSCALL_IS(1, TIOCOUTQ) } },
	{ "ioctl", "whether all before a reset was read", { SYSCALL_IS(1, SIOCINQ) } },
	{ "ioctl", "urgent data in a connection between loopbacks", { SYSCALL_IS(1, SIOCATMARK) } },
	{ "fcntl", "a descriptor of the hypervisor's, or for a capture", { SYSCALL_IS(1, F_GETFL) } },
	{ "fcntl", "a descriptor of the hypervisor's", { SYSCALL_IS(1, F_SETFL) } },
	{ "fcntl", "how much a pipe holds", { SYSCALL_IS(1, F_GETPIPE_SZ) } },
	{ "fcntl", "how much a pipe holds", { SYSCALL_IS(1, F_SETPIPE_SZ) } },
	{ "fcntl64", "fcntl() of 32-bit architectures", { SYSCALL_IS(1, F_GETFL) } },
	{ "fcntl64", "fcntl() of 32-bit architectures", { SYSCALL_IS(1, F_SETFL) } },
	{ "fcntl64", "fcntl() of 32-bit architectures", { SYSCALL_IS(1, F_GETPIPE_SZ) } },
	{ "fcntl64", "fcntl() of 32-bit architectures", { SYSCALL_IS(1, F_SETPIPE_SZ) } },
	{ "newfstatat",
	  "fstat() of the C library; whether the name of a namespace is still there; the mode of the control socket" },
	{ "fstatat64", "fstatat() of 32-bit architectures" },
	{ "statx", "fstat() of some C libraries" },
	{ "fchdir", "where the socket of a guest is whose frames are datagrams" },
	{ "chdir", "back from there" },
	{ "memfd_create", "memory for a hypervisor that asks for it" },

	{ "wait4", "the end of the agents; how a command ended" },
	{ "waitpid", "wait4() of some architectures" },
	{ "waitid", "wait4() of newer architectures" },

	{ "poll", "an agent's answer; whether a hypervisor waits, and the table of counters can be written" },
	{ "ppoll", "poll() of newer architectures" },
	{ "ppoll_time64", "ppoll() with long times" },
};

static const struct syscall_rule pasta[] = {
	{ "nanosleep", "what a command makes of a signal" },
	{ "clock_nanosleep", "nanosleep() of newer C libraries" },
	{ "clock_nanosleep_time64", "nanosleep() with long times" },
	{ "pidfd_send_signal", "a signal for the command" },
	{ "getpgrp", "whether we have the terminal" },
	{ "getpgid", "getpgrp() of newer architectures" },
	{ "ioctl", "whether we have the terminal", { SYSCALL_IS(1, TIOCGPGRP) } },
	{ "ioctl", "a tap device that goes with its namespace", { SYSCALL_IS(1, TUNSETPERSIST) } },
	{ "ioctl", "the terminal back from a command that has ended", { SYSCALL_IS(1, TIOCSPGRP) } },
};

static const struct syscall_rule paths[] = {
	{ "socket", "a connection to a UNIX socket of the host", { SYSCALL_IS(0, AF_UNIX), SYSCALL_IS(1, UNIX_STREAM) } },
};

static const struct syscall_rule start[] = {
	{ "seccomp", "the filter for later" },
	{ "prctl", "the filter for later", { SYSCALL_IS(0, PR_SET_NO_NEW_PRIVS) } },
	{ "prctl", "the filter for later, on kernels before 3.17", { SYSCALL_IS(0, PR_SET_SECCOMP) } },
	{ "landlock_create_ruleset", "no files" },
	{ "landlock_add_rule", "no ports but those that the kernel chooses" },
	{ "landlock_restrict_self", "no files" },
	{ "epoll_create1", "the loop" },
	{ "signalfd4", "the loop" },
	{ "timerfd_create", "the loop" },
	{ "timerfd_settime", "the loop" },
	{ "timerfd_settime64", "timerfd_settime() with long times" },
	{ "eventfd2", "the loop" },
	{ "socket", "questions to the kernel about sockets", { SYSCALL_IS(0, AF_NETLINK), SYSCALL_IS(2, NETLINK_SOCK_DIAG) } },
	{ "geteuid", "who may use the control socket" },
	{ "geteuid32", "geteuid() of 32-bit architectures" },
	{ "setresuid", "seteuid(): who may use the control socket", { SYSCALL_IS(0, -1), SYSCALL_IS(2, -1) } },
	{ "setresuid32", "setresuid() of 32-bit architectures", { SYSCALL_IS(0, -1), SYSCALL_IS(2, -1) } },
	{ "getrlimit", "how many flows there can be" },
	{ "ugetrlimit", "how many flows there can be" },
	{ "setrlimit", "how many flows there can be" },
	{ "prlimit64", "how many flows there can be" },
	{ "unlinkat", "after a start that failed" },
	{ "setsid", "a daemon's session" },
	{ "dup2", "a daemon's standard streams" },
	{ "dup3", "a daemon's standard streams" },
};

const struct syscall_table calls_run = { run, ARRAY_SIZE(run) };
const struct syscall_table calls_pasta = { pasta, ARRAY_SIZE(pasta) };
const struct syscall_table calls_paths = { paths, ARRAY_SIZE(paths) };
const struct syscall_table calls_start = { start, ARRAY_SIZE(start) };
