/* SPDX-License-Identifier: MIT */
#include "netns/agent_child.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "netns/agent_calls.h"
#include "os/box.h"
#include "os/daemon.h"
#include "os/helper.h"
#include "os/settle.h"
#include "os/sock.h"
#include "os/sysfilter.h"
#include "os/tun.h"

struct child {
	int sock;
	pid_t parent;
	bool sealed;
	struct agent_req req;
	struct agent_reply reply;
	int fds[FDPASS_MAX]; /* for the reply; closed once they are sent */
};

/* --- requests: each fills in the reply, and returns 0 or -errno --- */

static int open_tap(struct child *c)
{
	struct agent_tap *q = &c->req.tap;
	struct agent_tap_result *r = &c->reply.tap;
	struct ifreq ifr = { 0 };
	struct tun t;
	int err;

	if (c->sealed)
		return -EPERM;
	q->name[sizeof(q->name) - 1] = '\0';
	err = tun_open(q->name, q->vnet, &t);
	if (err)
		return err;
	r->vnet_hdr_len = t.vnet_hdr_len;
	r->offloads = t.offloads;
	c->fds[c->reply.n_fds++] = t.fd;
	if (ioctl(t.fd, TUNGETIFF, &ifr))
		return -errno;
	memcpy(r->name, ifr.ifr_name, MIN(sizeof(r->name), sizeof(ifr.ifr_name)));
	r->ifindex = if_nametoindex(ifr.ifr_name);
	return 0;
}

static int config(struct child *c)
{
	if (c->sealed)
		return -EPERM;
	return nsconf_apply(&c->req.config, &c->reply.config);
}

static int listen_open(struct child *c)
{
	struct bound_spec *q = &c->req.listen;
	bool v6;
	int err;

	q->dev[sizeof(q->dev) - 1] = '\0';
	err = bound_open(q, &c->fds[0], &v6);
	if (err)
		return err;
	c->reply.n_fds = 1;
	c->reply.v6 = v6;
	return 0;
}

static int sockets_open(struct child *c)
{
	const struct agent_sockets *q = &c->req.sockets;

	if (!q->n || q->n > AGENT_SOCKETS_MAX || (q->family != AF_INET && q->family != AF_INET6))
		return -EINVAL;
	if (q->type != SOCK_STREAM && q->type != SOCK_DGRAM && q->type != SOCK_RAW)
		return -EINVAL;
	while (c->reply.n_fds < q->n) {
		int err = sock_open((int)q->family, (int)q->type, (int)q->proto, &c->fds[c->reply.n_fds]);

		if (err)
			return err;
		c->reply.n_fds++;
	}
	return 0;
}

static int diag_open(struct child *c)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	c->fds[c->reply.n_fds++] = fd;
	return 0;
}

/* The last one is for kernels before 5.7, where binding to a device takes it. */
static int seal(struct child *c)
{
	static const struct syscall_table *const calls[] = { &agent_calls };
	static const unsigned cap[] = { CAP_NET_BIND_SERVICE, CAP_NET_RAW };
	int lost, err = helper_seal(&c->req.seal, c->parent, cap, ARRAY_SIZE(cap));

	if (err)
		return err;
	c->sealed = true;
	/* Where these are refused the engine, which wants the same for itself, says so. */
	(void)!box_memory();
	(void)!box_landlock(BOX_SIGNALS | BOX_TCP_CONNECT, NULL, 0, &lost);
	(void)!sysfilter_load(calls, 1);
	settle_memory();
	return 0;
}

/* --- the loop --- */

static void log_take(void *ctx, enum log_level level, const char *line)
{
	struct child *c = ctx;

	if (level != LOG_LVL_ERR)
		return;
	snprintf(c->reply.text, sizeof(c->reply.text), "%.*s", AGENT_TEXT_MAX - 1, line);
	/* Whatever is an error now is the last thing that we say. */
	if (c->sealed) {
		c->reply.head.type = AGENT_HELLO;
		c->reply.err = -EPERM;
		c->reply.n_fds = 0;
		(void)!fdpass_send(c->sock, &c->reply, agent_reply_size(AGENT_HELLO), NULL, 0, MSG_DONTWAIT);
	}
}

static void reply_send(struct child *c, int err)
{
	struct agent_reply *r = &c->reply;
	size_t len = agent_reply_size(r->head.type);
	int sent;

	r->err = err;
	if (err) {
		fdpass_close(c->fds, r->n_fds);
		r->n_fds = 0;
	}
	sent = fdpass_send(c->sock, r, len, c->fds, r->n_fds, 0);
	fdpass_close(c->fds, r->n_fds);
	if (!sent)
		return;
	/* Too many descriptors on their way, for one: that can be told. */
	r->err = sent;
	r->n_fds = 0;
	if (fdpass_send(c->sock, r, len, NULL, 0, 0))
		_exit(EXIT_FAILURE);
}

static void request_serve(struct child *c)
{
	static int (*const handler[AGENT_TYPES])(struct child *) = {
		[AGENT_OPEN_TAP] = open_tap,    [AGENT_CONFIG] = config,  [AGENT_LISTEN] = listen_open,
		[AGENT_SOCKETS] = sockets_open, [AGENT_DIAG] = diag_open, [AGENT_SEAL] = seal,
	};
	unsigned n = 0;
	ssize_t len = fdpass_recv(c->sock, &c->req, sizeof(c->req), 0, c->fds, &n);

	if (len == -EAGAIN)
		return; /* no memory now */
	if (len <= 0)
		_exit(EXIT_SUCCESS);
	fdpass_close(c->fds, n); /* no request has any */
	if ((size_t)len < sizeof(c->req.head) || (size_t)len != agent_req_size(c->req.head.type))
		_exit(EXIT_FAILURE);
	if (c->req.head.type == AGENT_QUIT)
		_exit(EXIT_SUCCESS);
	c->reply = (struct agent_reply){ .head = c->req.head };
	reply_send(c, handler[c->req.head.type](c));
}

/* --- start --- */

/* The rights to change the user are for seal(). */
static int enter(struct child *c, const struct ns *ns)
{
	static const unsigned cap[] = { CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_SETUID, CAP_SETGID };
	int err = helper_stand_alone();

	if (!err)
		err = ns_enter(ns);
	if (!err)
		err = daemon_fds_close(&c->sock, STDERR_FILENO + 1);
	if (!err)
		err = helper_bounds_drop();
	if (!err)
		err = helper_caps_keep(cap, ARRAY_SIZE(cap));
	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL))
		err = -errno;
	if (!err)
		err = helper_watch(c->parent);
	return err;
}

void agent_child_run(const void *ctx, int sock, pid_t parent)
{
	const struct ns *ns = ctx;
	struct child *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		_exit(EXIT_FAILURE);
	c->sock = sock;
	c->parent = parent;
	c->reply.head.type = AGENT_HELLO;
	/* The descriptors that lines went to are closed, and their numbers used for something else. */
	log_set_sink(log_take, c);
	err = enter(c, ns);
	reply_send(c, err);
	if (err)
		_exit(EXIT_FAILURE);
	for (;;)
		request_serve(c);
}
