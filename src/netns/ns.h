/* SPDX-License-Identifier: MIT */
/*
 * The network namespace to serve, and the user namespace in which we are allowed to: found, opened, entered (namespaces(7)).
 *
 * Descriptors 0 to 2 are never touched: one of them may be the namespace itself.
 */
#pragma once

#include <sys/types.h>

#include "base/defs.h"

#define NS_PATH_MAX 4096
#define NS_RUN_DIR "/run/netns" /* where ip-netns(8) keeps its names */

/* What to join: exactly one of pid and netns is given. */
struct ns_spec {
	pid_t pid; /* 0: none */
	const char *netns; /* path, or a name in NS_RUN_DIR if it has no slash; NULL: none */
	const char *userns; /* path; NULL: none */
	bool netns_only; /* stay in our user namespace */
};

struct ns {
	int net_fd;
	int user_fd; /* -1: no other user namespace is to be joined */
	int pid_fd; /* of the process that was named by its PID; -1: none was, or the kernel has no such thing */
	pid_t pid; /* its number in /proc (ns_proc_pid()); 0: none was */
	char name[NS_PATH_MAX]; /* for messages */
	char path[NS_PATH_MAX]; /* that was opened */
};

/* All -1, so that ns_close() is safe. */
void ns_init(struct ns *ns);

/*
 * Opens the namespaces. With a PID and nothing else, the user namespace is the one that the network namespace belongs to; with netns alone
 * none is. A user namespace that is our own already is left out, a network namespace that is our own is an error. -errno, and what
 * couldn't be had is logged.
 */
MUST_USE int ns_open(const struct ns_spec *s, struct ns *ret_ns);

/* Moves the calling process into the namespaces: user first, as it gives the right for the other. Logged. */
MUST_USE int ns_enter(const struct ns *ns);

void ns_close(struct ns *ns);

/* True if both descriptors refer to one namespace. */
bool ns_same(int fd1, int fd2);

/* The number that the process of a pidfd has in /proc, which may be that of another PID namespace. pid if it can't be told. */
pid_t ns_proc_pid(int pid_fd, pid_t pid);

/* pidfd_open(2), close-on-exec; -ENOSYS before Linux 5.3. */
MUST_USE int ns_pidfd(pid_t pid, int *ret_fd);
