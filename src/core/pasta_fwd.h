/* SPDX-License-Identifier: MIT */
/*
 * Forwarding of pasta: connections and datagrams of the host's loopback are joined with sockets in the namespace, those of the namespace's
 * loopback with sockets of the host; everything else that comes to the host's listeners goes to the translators. Automatic ports.
 */
#pragma once

#include "conf/conf.h"
#include "core/budget.h"
#include "fwd/listen.h"
#include "netns/agent.h"
#include "os/loop.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

struct pasta_fwd;

struct pasta_fwd_deps {
	const struct conf *conf;
	const struct budget *budget;
	const struct guest *guest;
	struct agent *agent;
	struct loop *loop;
	struct listeners *in, *out; /* of the host, of the namespace; open, not started */
	struct tcp *tcp; /* NULL: splice only, or --no-tcp */
	struct udp *udp;
};

/* Starts the listeners, which have to stay until after pasta_fwd_free(). -errno. */
MUST_USE int pasta_fwd_new(const struct pasta_fwd_deps *d, struct pasta_fwd **ret_f);

/* Automatic ports of services that are there from the beginning are open, as far as they can be: takes a few turns of the loop. */
bool pasta_fwd_settled(const struct pasta_fwd *f);

void pasta_fwd_free(struct pasta_fwd *f);
