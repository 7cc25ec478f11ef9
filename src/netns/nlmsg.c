/* SPDX-License-Identifier: MIT */
#include "netns/nlmsg.h"

#include <errno.h>
#include <string.h>

void *nlmsg_start(union nlmsg *m, uint16_t type, uint16_t flags, size_t fixed)
{
	memset(m, 0, sizeof(*m));
	mnl_nlmsg_put_header(m->b);
	m->h.nlmsg_type = type;
	m->h.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	return mnl_nlmsg_put_extra_header(&m->h, fixed);
}

/* The answer to the request of this number. 1: something else. */
static int answer_parse(const char *buf, size_t len, uint32_t seq)
{
	const struct nlmsghdr *h = (const void *)buf;
	int err;

	if (len < MNL_NLMSG_HDRLEN + sizeof(err) || h->nlmsg_seq != seq || h->nlmsg_type != NLMSG_ERROR)
		return 1;
	memcpy(&err, mnl_nlmsg_get_payload(h), sizeof(err));
	return MIN(err, 0);
}

int nlmsg_send(struct nlreq *q, union nlmsg *m)
{
	char buf[NLMSG_MAX] __attribute__((aligned(8)));
	int r = 1;

	m->h.nlmsg_seq = ++q->seq;
	while (mnl_socket_sendto(q->nl, m, m->h.nlmsg_len) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	while (r > 0) {
		ssize_t n = mnl_socket_recvfrom(q->nl, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		r = answer_parse(buf, (size_t)n, q->seq);
	}
	return r;
}
