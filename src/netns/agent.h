/* SPDX-License-Identifier: MIT */
/*
 * The namespace agent, seen by the engine: a small process that lives in the target namespaces, opens sockets there and hands them over.
 * It is the only one there, and the engine never enters them.
 *
 * It keeps the capabilities that it needs there and nothing else (see agent_seal()), holds no descriptor of ours, and ends with its socket
 * or with us. Terminal signals and SIGTERM don't reach it. Fork it early: it is a copy of whoever starts it.
 */
#pragma once

#include <sys/types.h>

#include "netns/agent_proto.h"
#include "netns/ns.h"
#include "os/tun.h"

/*
 * A reply to agent_send(). fds are the callee's to close or keep. r->err as of the system call: -EADDRINUSE, -EACCES, ..., or -EMFILE if
 * the descriptors came but we may have no more; unlike for the calls below, nothing is logged.
 */
typedef void agent_reply_fn(void *ctx, const struct agent_reply *r, const int *fds, unsigned n);

struct agent {
	struct helper h; /* h.fd for the loop: readable */
	uint32_t cookie; /* of the last request */
	agent_reply_fn *fn; /* NULL until agent_set_reply() */
	void *ctx;
};

/* Forks it, and waits until it is there. -errno, logged. */
MUST_USE int agent_start(const struct ns *ns, struct agent *ret_a);

/* The same, for one that lives in a new network namespace, of the same user namespace: for agent_annex(). -errno; nothing is logged. */
MUST_USE int agent_start_annex(const struct ns *ns, struct agent *ret_a);

void agent_set_reply(struct agent *a, agent_reply_fn *fn, void *ctx);

/*
 * Sends a request (head.type and the part for it); head.cookie is filled in and given back. The reply comes to the function later.
 * -EAGAIN if it has fallen behind: try later. -EPIPE if it is gone.
 */
MUST_USE int agent_send(struct agent *a, struct agent_req *req, uint32_t *ret_cookie);

/* The descriptor is readable: takes all replies. -EPIPE: the agent is gone, and so is what was asked of it; -EPROTO is no better. */
MUST_USE int agent_on_event(struct agent *a);

/*
 * The same, waited for: at start only, as an agent may be stopped for as long as somebody likes. Replies to other requests go to the
 * function. fds as many places as the request can give. Returns the reply's err, -ETIMEDOUT or -EPIPE; -EMFILE if we have no place for the
 * descriptors that came.
 */
MUST_USE int agent_call(struct agent *a, struct agent_req *req, struct agent_reply *ret_reply, int ret_fds[FDPASS_MAX]);

/* As helper_close(). */
void agent_close(struct agent *a);

/* --- start-up, by agent_call(); errors are logged --- */

/* A tap device, as tun_open(). */
MUST_USE int agent_open_tap(struct agent *a, const char *name, bool vnet, struct tun *ret_tun);

/* As nsconf_apply(); warnings are logged as well. */
MUST_USE int agent_config(struct agent *a, const struct nsconf *c);

/* A NETLINK_SOCK_DIAG socket of the namespace, non-blocking. */
MUST_USE int agent_diag(struct agent *a, int *ret_fd);

/*
 * Makes an annex of the agent's network namespace for that of net_fd, as annex_make(). The result tells of a failure, if r->err is what is
 * returned; nothing is logged.
 */
MUST_USE int agent_annex(struct agent *a, const struct annex_conf *c, int net_fd, struct annex_result *ret_result,
			 struct annex_fds *ret_fds);

/* As nl_links_open(), in the namespace. */
MUST_USE int agent_links(struct agent *a, int *ret_fd);

/*
 * No more taps and no more configuration: the agent gives up all capabilities but CAP_NET_BIND_SERVICE and CAP_NET_RAW (and
 * CAP_NET_ADMIN, with an annex) and, with a uid and a gid, becomes that user. UINT32_MAX: it stays who it is, as it must in the user
 * namespace of somebody without privileges. With s->orphan the process that started it may end before those who use it, so that the end
 * of the socket is all that ends it.
 */
MUST_USE int agent_seal(struct agent *a, const struct helper_seal *s);

/* --- start-up as well, or the end; nothing is logged --- */

/* As annex_leave(). */
MUST_USE int agent_leave(struct agent *a);

/* As bound_open(), in the namespace. */
MUST_USE int agent_listen(struct agent *a, const struct bound_spec *s, int *ret_fd, bool *ret_v6);
