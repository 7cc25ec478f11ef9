/* SPDX-License-Identifier: MIT */
#include "core/ns_refuse.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"
#include "wire/icmp.h"
#include "wire/ip.h"
#include "wire/udp.h"

#define PACKET_MAX (2 * (IP6_HLEN + UDP_HLEN) + ICMP_HLEN)

static int socket_get(struct agent *a, int family)
{
	/* With this protocol a socket takes whole packets, and gets none. */
	struct agent_req q = { .head.type = AGENT_SOCKETS,
			       .sockets = { .family = (uint32_t)family, .type = SOCK_RAW, .proto = IPPROTO_RAW, .n = 1 } };
	struct agent_reply r = { .err = 0 };
	int fds[FDPASS_MAX];
	int err = agent_call(a, &q, &r, fds);

	if (!err && r.n_fds == 1)
		return fds[0];
	log_debug("No raw socket in the namespace: %s", strerror(-err));
	return -1;
}

void ns_refuse_open(struct ns_refuse *r, struct agent *a)
{
	r->fd[0] = socket_get(a, AF_INET);
	r->fd[1] = socket_get(a, AF_INET6);
}

void ns_refuse_close(struct ns_refuse *r)
{
	for (unsigned i = 0; i < ARRAY_SIZE(r->fd); i++) {
		sock_close(r->fd[i]);
		r->fd[i] = -1;
	}
}

/* The datagram that it is about, as far as the kernel wants to know: whose it is. */
static size_t quote_put(const struct ep *peer, const struct ep *to, uint8_t *buf, size_t cap)
{
	struct wr w = wr_init(buf, cap);

	ip_put(&w, &(struct ip_tx){ .src = peer->addr, .dst = to->addr, .proto = PROTO_UDP, .ttl = IP_TTL_DEFAULT }, UDP_HLEN);
	udp_hdr_put(&w, peer->port, to->port, 0, 0);
	return wr_len(&w);
}

void ns_refuse_send(const struct ns_refuse *r, const struct ep *peer, const struct ep *to)
{
	bool v4 = addr_is4(&peer->addr);
	struct icmp_err e = { .from = to->addr, .to = peer->addr };
	uint8_t quote[IP6_HLEN + UDP_HLEN], packet[PACKET_MAX];
	struct wr w = wr_init(packet, sizeof(packet));
	struct sockaddr_storage name;
	struct iovec iov = { .iov_base = packet };
	struct mmsghdr m = { .msg_hdr = { .msg_name = &name, .msg_iov = &iov, .msg_iovlen = 1 } };

	if (r->fd[!v4] < 0 || addr_is4(&to->addr) != v4 || !icmp_from_errno(v4, ECONNREFUSED, &e.type, &e.code))
		return;
	icmp_err_put(&w, &e, quote, quote_put(peer, to, quote, sizeof(quote)));
	iov.iov_len = wr_len(&w);
	m.msg_hdr.msg_namelen = sock_from_ep(v4 ? AF_INET : AF_INET6, &(struct ep){ .addr = peer->addr }, 0, &name);
	if (wr_ok(&w) && sock_sendmmsg(r->fd[!v4], &m, 1, 0) < 0)
		log_limited(LOG_LVL_DEBUG, "UDP: a refusal is lost");
}
