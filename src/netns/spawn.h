/* SPDX-License-Identifier: MIT */
/*
 * A command in new user, network, mount, IPC, PID and UTS namespaces, with the caller as root there.
 *
 * The command is process 1 of its PID namespace: what it leaves behind ends with it. With no_pidns it stays in ours, and so does what it
 * leaves behind. It shares our session and, but for a login shell on a terminal, our process group, and gets SIGKILL when we end
 * (PR_SET_PDEATHSIG), as without us it would have no network.
 * The kernel keeps signals from a process 1 that doesn't handle them; spawn_signal() makes up for that.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"
#include "netns/ns.h"

/* Exit statuses of a command that couldn't be run, as in a shell. */
#define SPAWN_NOT_EXECUTABLE 126
#define SPAWN_NOT_FOUND 127

struct spawn_conf {
	char *const *argv; /* ends with NULL; looked for in $PATH. NULL: $SHELL, or /bin/sh, as a login shell */
	const char *hostname; /* NULL: "pasta-" and the name of the host */
	uid_t uid; /* whom root in the namespace stands for; others than the caller's own take privileges */
	gid_t gid;
	bool netns_only; /* no new user namespace: takes privileges */
	bool no_pidns; /* no new PID namespace */
};

struct spawn {
	pid_t pid;
	int pid_fd; /* becomes readable when the command ends; -1: kernel before 5.3, wait for SIGCHLD */
	int go_fd;
	int status_fd; /* of the command in /proc, to see which signals it handles */
	bool has_tty; /* we were in the foreground of a terminal at the start */
	bool no_pidns;
	int ended_by; /* signal that spawn_signal() gave effect to; 0: none */
};

/*
 * Makes the namespaces and a process in them that waits for spawn_go(). *ret_ns is what to join (ns.h), the caller's to close.
 * -errno, logged; nothing is left over then. What the command can do without, such as its own /proc, is a warning.
 *
 * The command inherits limits, ignored signals (but SIGPIPE and SIGCHLD), environment and directory as they are now: call this before
 * any of them is changed. SIGCHLD is set to its default if it is ignored. To notice the end, wait for pid_fd or SIGCHLD.
 */
MUST_USE int spawn_start(const struct spawn_conf *c, struct spawn *ret_s, struct ns *ret_ns);

/* The network is ready: runs the command. -EPIPE if the process is gone. */
MUST_USE int spawn_go(struct spawn *s);

/*
 * Passes a signal on that we got, and have blocked. A command that neither handles, awaits nor ignores it gets its effect, as it would
 * without a PID namespace: it is killed or, by SIGTSTP, SIGTTIN and SIGTTOU, stopped, together with us; the call returns when we are
 * continued. from_tty: the kernel sent it (SI_KERNEL), to the whole process group: the command has got it.
 */
void spawn_signal(struct spawn *s, int sig, bool from_tty);

/* The exit status that stands for the command's end: its own, or 128 + signal. -EAGAIN while it runs. Reaps it. */
MUST_USE int spawn_status(struct spawn *s, int *ret_status);

/* Ends the command, if it still runs, and with its PID namespace all that it left behind. */
void spawn_close(struct spawn *s);
