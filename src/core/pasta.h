/* SPDX-License-Identifier: MIT */
/*
 * What pasta has and passt has not: a namespace to serve, an agent in it, a tap device instead of a socket, perhaps a command.
 *
 * Life: pasta_open() while we still have our privileges, pasta_start() when the engine's loop is there, pasta_go() when all is ready.
 */
#pragma once

#include "conf/conf.h"
#include "core/nslink.h"
#include "fwd/listen.h"
#include "netns/agent.h"
#include "netns/ns.h"
#include "netns/spawn.h"
#include "netns/watch.h"
#include "os/loop.h"

struct pasta {
	const struct conf *conf;
	struct loop *loop;
	unsigned owner;
	struct ns ns;
	struct spawn spawn;
	bool spawned; /* the command's process is there */
	struct agent agent;
	struct watch watch;
	struct tun tun; /* fd -1: none, or the link has it */
	struct agent annex; /* of the annex; fd -1: there is none */
	int raw[ANNEX_RAW]; /* of the annex; -1: none */
	struct nslink nslink; /* with an annex */
	void (*gone)(void *ctx); /* the interface in the namespace is gone, and the tap device doesn't know */
	void *gone_ctx;
	struct timer poll; /* for kernels without pidfd: looks after the command */
};

/* Finds or makes the namespace, puts the agent into it, opens and configures the interface. -errno, logged. */
MUST_USE int pasta_open(struct pasta *p, const struct conf *c, uid_t uid, gid_t gid);

/* Where the listeners for what leaves the namespace are opened: on its loopback interface. p must outlive them. */
struct listen_place pasta_listen_place(struct pasta *p);

/* Watches over namespace, command and agents; their end stops the loop. gone and gone_ctx are set. */
MUST_USE int pasta_start(struct pasta *p, struct loop *loop);

/* Everything is ready: the command may run. -errno, logged. */
MUST_USE int pasta_go(struct pasta *p);

/* A signal that ends or concerns us. True if it was for the command, and we go on. */
bool pasta_signal(struct pasta *p, int sig, bool from_tty);

/* The command has ended, and with it the PID namespace that it was the first process of: nobody is left in the network namespace. */
bool pasta_is_over(const struct pasta *p);

/* Ends command and agent. Safe at any stage. */
void pasta_close(struct pasta *p);
