/* SPDX-License-Identifier: MIT */
/* What the program is to those who start it: log, daemon, pid file, user. */
#pragma once

#include "conf/conf.h"
#include "core/hostwatch.h"
#include "core/pasta.h"
#include "os/daemon.h"
#include "os/logsink.h"

struct process {
	const struct conf *conf;
	struct logsink log;
	struct daemon daemon;
	struct hostwatch host; /* the agent that watches the host; .h.fd -1: none */
	int notify_fd; /* to the service manager (os/notify.h); -1: none */
	bool filtered; /* a filter of system calls could be had */
};

/* Descriptors 0 to 2 exist from here on, and SIGPIPE is ignored. First of all. */
void process_stdio(void);

/*
 * After the configuration is known, before anything is opened: log level, the fork of a daemon (the caller goes on in the child), log.
 * Errors are logged; -errno means that we can't start.
 */
MUST_USE int process_begin(struct process *p, const struct conf *c);

/* Opens the pid file: with the privileges that we start with, but after all else that may fail. */
MUST_USE int process_pid_open(struct process *p);

/* Whom process_drop() will make us. */
void process_user(const struct process *p, uid_t *ret_uid, gid_t *ret_gid);

/* Has the host watched by another process, if anything of the configuration, which s has made, can follow it. Takes s. */
void process_watch(struct process *p, struct conf_source *s);

/*
 * Everything that takes privileges or a path is open: gives them up, and leaves for namespaces and an empty root of our own. What of the
 * latter is refused is a warning. A daemon is another process then, by the number p->daemon.pid to others. ns: of pasta, NULL in passt.
 */
MUST_USE int process_drop(struct process *p, struct pasta *ns);

/* Nothing of the start can fail any more: what is left of files goes out of reach. What is refused is a warning. ns: of pasta, NULL in passt. */
void process_confine(struct process *p, const struct pasta *ns);

/* Ready to serve. Before anything that says so: who waits for a message may look for the pid file then. */
MUST_USE int process_pid_write(struct process *p);

/* After that: tells whoever waits for a daemon. */
MUST_USE int process_ready(struct process *p);

/* The end has begun. */
void process_stopping(const struct process *p);

/* All is told, and the program's work begins: no more system calls than that takes. */
void process_settle(struct process *p, const struct pasta *ns);

/* After a start that failed: removes the pid file, if it is of our making. */
void process_undo(struct process *p);

void process_end(struct process *p);
