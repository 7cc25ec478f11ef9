/* SPDX-License-Identifier: MIT */
/* What the program is to those who start it: log, daemon, pid file, user. */
#pragma once

#include "conf/conf.h"
#include "os/daemon.h"
#include "os/logsink.h"

struct process {
	const struct conf *conf;
	struct logsink log;
	struct daemon daemon;
};

/* Descriptors 0 to 2 exist from here on. First of all. */
void process_stdio(void);

/*
 * After the configuration is known, before anything is opened: log level, strange descriptors, the fork of a daemon (the caller goes on
 * in the child), log and pid file. Takes c->fd to where it is safe. Errors are logged; -errno means that we can't start.
 */
MUST_USE int process_begin(struct process *p, struct conf *c);

/* Whom process_drop() will make us. */
void process_user(const struct process *p, uid_t *ret_uid, gid_t *ret_gid);

/* Everything that takes privileges is open: give them up. */
MUST_USE int process_drop(struct process *p);

/* Ready to serve: tells whoever waits for it. */
MUST_USE int process_ready(struct process *p);

void process_end(struct process *p);
