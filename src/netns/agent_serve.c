/* SPDX-License-Identifier: MIT */
#include "netns/agent_serve.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "netns/agent_calls.h"
#include "os/box.h"
#include "os/netlink.h"
#include "os/settle.h"
#include "os/sock.h"
#include "os/sysfilter.h"
#include "os/tun.h"

#define REST_MS 10

/* --- requests: each fills in the reply, and returns 0 or -errno --- */

static int open_tap(struct agent_serve *s)
{
	struct agent_tap *q = &s->req.tap;
	struct agent_tap_result *r = &s->reply.tap;
	struct ifreq ifr = { 0 };
	struct tun t;
	int err;

	if (s->sealed)
		return -EPERM;
	q->name[sizeof(q->name) - 1] = '\0';
	err = tun_open(q->name, q->vnet, &t);
	if (err)
		return err;
	r->vnet_hdr_len = t.vnet_hdr_len;
	r->offloads = t.offloads;
	s->fds[s->reply.n_fds++] = t.fd;
	if (ioctl(t.fd, TUNGETIFF, &ifr))
		return -errno;
	memcpy(r->name, ifr.ifr_name, MIN(sizeof(r->name), sizeof(ifr.ifr_name)));
	r->ifindex = if_nametoindex(ifr.ifr_name);
	return 0;
}

static int config(struct agent_serve *s)
{
	if (s->sealed)
		return -EPERM;
	return nsconf_apply(&s->req.config, &s->reply.config);
}

static int annex(struct agent_serve *s)
{
	struct annex_conf *q = &s->req.annex;
	struct annex_fds fds;
	int err;

	if (s->sealed)
		return -EPERM;
	if (s->given < 0)
		return -EINVAL;
	q->name[sizeof(q->name) - 1] = '\0';
	err = annex_make(q, s->given, &s->reply.annex, &fds);
	if (err)
		return err;
	s->annexed = true;
	s->fds[s->reply.n_fds++] = fds.tap;
	for (unsigned f = 0; f < ANNEX_RAW && fds.raw[f] >= 0; f++)
		s->fds[s->reply.n_fds++] = fds.raw[f];
	return 0;
}

static int follow(struct agent_serve *s)
{
	return s->annexed ? annex_follow(&s->req.annex) : -EPERM;
}

static int leave(struct agent_serve *s)
{
	return s->annexed ? annex_leave() : -EPERM;
}

static int links_open(struct agent_serve *s)
{
	int err = nl_links_open(&s->fds[0]);

	s->reply.n_fds = !err;
	return err;
}

static int listen_open(struct agent_serve *s)
{
	struct bound_spec *q = &s->req.listen;
	bool v6;
	int err;

	q->dev[sizeof(q->dev) - 1] = '\0';
	err = bound_open(q, &s->fds[0], &v6);
	if (err)
		return err;
	s->reply.n_fds = 1;
	s->reply.v6 = v6;
	return 0;
}

static int sockets_open(struct agent_serve *s)
{
	const struct agent_sockets *q = &s->req.sockets;

	if (!q->n || q->n > AGENT_SOCKETS_MAX || (q->family != AF_INET && q->family != AF_INET6))
		return -EINVAL;
	if (q->type != SOCK_STREAM && q->type != SOCK_DGRAM && q->type != SOCK_RAW)
		return -EINVAL;
	while (s->reply.n_fds < q->n) {
		int *fd = &s->fds[s->reply.n_fds];
		int err = sock_open((int)q->family, (int)q->type, (int)q->proto, fd);

		if (err)
			return err;
		s->reply.n_fds++;
		err = q->stand_in ? annex_socket(*fd, (int)q->family) : 0;
		if (err)
			return err;
	}
	return 0;
}

static int diag_open(struct agent_serve *s)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return -errno;
	s->fds[s->reply.n_fds++] = fd;
	return 0;
}

/*
 * The second one is for kernels before 5.7, where binding to a device takes it, and for sockets that stand in for others. Who has made an
 * annex has to change it with the interface.
 */
static int seal(struct agent_serve *s)
{
	static const unsigned cap[] = { CAP_NET_BIND_SERVICE, CAP_NET_RAW, CAP_NET_ADMIN };
	static const struct syscall_table *const calls[] = { &agent_calls, &agent_calls_annex };
	int lost, err = helper_seal(&s->req.seal, s->parent, cap, ARRAY_SIZE(cap) - !s->annexed);

	if (err)
		return err;
	s->sealed = true;
	/* Where these are refused the engine, which wants the same for itself, says so. */
	(void)!box_memory();
	(void)!box_landlock(BOX_SIGNALS | BOX_TCP_CONNECT, NULL, 0, &lost);
	(void)!sysfilter_load(calls, ARRAY_SIZE(calls) - !s->annexed);
	settle_memory();
	return 0;
}

/* --- one after the other --- */

int agent_serve_reply(struct agent_serve *s, int err)
{
	struct agent_reply *r = &s->reply;
	size_t len = agent_reply_size(r->head.type);

	r->err = err;
	if (err) {
		fdpass_close(s->fds, r->n_fds);
		r->n_fds = 0;
	}
	err = fdpass_send(s->sock, r, len, s->fds, r->n_fds, 0);
	fdpass_close(s->fds, r->n_fds);
	if (err && r->n_fds) {
		/* Too many descriptors on their way, for one: that can be told. */
		r->err = err;
		r->n_fds = 0;
		err = fdpass_send(s->sock, r, len, NULL, 0, 0);
	}
	/* Want of memory passes; but not by asking again at once. */
	while (err == -ENOBUFS || err == -ENOMEM || err == -EAGAIN) {
		(void)!poll(NULL, 0, REST_MS);
		err = fdpass_send(s->sock, r, len, NULL, 0, 0);
	}
	return err;
}

/* len bytes of a request, or what recvmsg(2) says. */
static int request_answer(struct agent_serve *s, ssize_t len)
{
	static int (*const handler[AGENT_TYPES])(struct agent_serve *) = {
		[AGENT_OPEN_TAP] = open_tap, [AGENT_CONFIG] = config, [AGENT_LISTEN] = listen_open, [AGENT_SOCKETS] = sockets_open,
		[AGENT_DIAG] = diag_open,    [AGENT_SEAL] = seal,     [AGENT_ANNEX] = annex,        [AGENT_LINKS] = links_open,
		[AGENT_FOLLOW] = follow,     [AGENT_LEAVE] = leave,
	};

	if (len <= 0)
		return len == -EMSGSIZE ? -EPROTO : -EPIPE;
	if ((size_t)len < sizeof(s->req.head) || (size_t)len != agent_req_size(s->req.head.type))
		return -EPROTO;
	if (s->req.head.type == AGENT_QUIT)
		return -EPIPE;
	s->reply = (struct agent_reply){ .head = s->req.head };
	return agent_serve_reply(s, handler[s->req.head.type](s));
}

int agent_serve_next(struct agent_serve *s)
{
	unsigned n = 0;
	int err;
	ssize_t len = fdpass_recv(s->sock, &s->req, sizeof(s->req), 0, s->fds, &n);

	if (len == -EAGAIN)
		return 0; /* no memory now */
	s->given = n && len > 0 && s->req.head.type == AGENT_ANNEX ? s->fds[0] : -1; /* no other request has any */
	fdpass_close(s->fds + (s->given >= 0), n - (s->given >= 0));
	err = request_answer(s, len);
	fdpass_close(&s->given, s->given >= 0);
	return err;
}
