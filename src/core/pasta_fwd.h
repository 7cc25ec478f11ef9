/* SPDX-License-Identifier: MIT */
/*
 * Forwarding of pasta: connections and datagrams of the host's loopback are joined with sockets in the namespace, those of the namespace's
 * loopback with sockets of the host; everything else that comes to the host's listeners goes to the translators. Automatic ports.
 */
#pragma once

#include "conf/conf.h"
#include "core/budget.h"
#include "fwd/auto_run.h"
#include "fwd/listen.h"
#include "netns/agent.h"
#include "os/loop.h"
#include "tcp/splice.h"
#include "tcp/tcp.h"
#include "udp/udp.h"
#include "udp/udp_splice.h"

struct nslink;

struct pasta_fwd;

struct pasta_fwd_deps {
	const struct conf *conf;
	const struct budget *budget;
	const struct guest *guest;
	struct agent *agent;
	struct agent *annex; /* NULL: there is none */
	const int *raw; /* of the annex; ANNEX_RAW */
	struct nslink *nslink; /* with an annex */
	struct loop *loop;
	struct listeners *in, *out; /* of the host, of the namespace; open, not started */
	struct tcp *tcp; /* NULL: splice only, or --no-tcp */
	struct udp *udp;

	/* Rules may change later; NULL: they don't. A port that pasta_fwd_port_open() had on its way is open, or -errno. */
	void (*opened)(void *ctx, unsigned rule, uint16_t port, int err);
	void *ctx;
};

/* Starts the listeners, which have to stay until after pasta_fwd_free(). -errno. */
MUST_USE int pasta_fwd_new(const struct pasta_fwd_deps *d, struct pasta_fwd **ret_f);

/* Automatic ports of services that are there from the beginning are open, as far as they can be: takes a few turns of the loop. */
bool pasta_fwd_settled(const struct pasta_fwd *f);

/*
 * Rules that come and go, and one port of one rule: 0, -EINPROGRESS: deps.opened() will be called; -EAGAIN: the agent has enough to do for
 * now. release: before the socket is closed, or becomes that of another rule; close does that by itself.
 */
MUST_USE int pasta_fwd_port_open(struct pasta_fwd *f, enum auto_dir dir, unsigned rule, uint16_t port);
void pasta_fwd_port_close(struct pasta_fwd *f, enum auto_dir dir, unsigned rule, uint16_t port);
void pasta_fwd_port_release(struct pasta_fwd *f, enum auto_dir dir, unsigned rule, uint16_t port);
void pasta_fwd_rule_added(struct pasta_fwd *f, enum auto_dir dir, unsigned rule);
void pasta_fwd_rule_gone(struct pasta_fwd *f, enum auto_dir dir, unsigned rule);

/* For those who look on. */
const struct splice *pasta_fwd_splice(const struct pasta_fwd *f);
const struct udp_splice *pasta_fwd_udp_splice(const struct pasta_fwd *f);

/* These datagrams go into the namespace, not out of it. */
bool pasta_fwd_inwards(const struct udp_splice_show *u);

void pasta_fwd_free(struct pasta_fwd *f);
