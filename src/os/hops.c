/* SPDX-License-Identifier: MIT */
#include "os/hops.h"

#include <netinet/in.h>
#include <string.h>

#include "os/sock.h"

int hops_want_ttl(int fd, bool v6)
{
	return v6 ? sock_set_int(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) : sock_set_int(fd, IPPROTO_IP, IP_RECVTTL, 1);
}

int hops_want_tos(int fd, bool v6)
{
	return v6 ? sock_set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) : sock_set_int(fd, IPPROTO_IP, IP_RECVTOS, 1);
}

int hops_want(int fd, bool v6)
{
	int err = hops_want_ttl(fd, v6);

	return err ? err : hops_want_tos(fd, v6);
}

/* The kernel tells the type of service of IPv4 in one byte, all else in an int. */
static uint8_t value(const struct cmsghdr *c)
{
	int v = 0;

	if (c->cmsg_len < CMSG_LEN(sizeof(v)))
		return *(const uint8_t *)CMSG_DATA(c);
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	return (uint8_t)v;
}

void hops_get(const struct msghdr *h, struct hops *hops)
{
	for (const struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, (struct cmsghdr *)c)) {
		bool v4 = c->cmsg_level == IPPROTO_IP, v6 = c->cmsg_level == IPPROTO_IPV6;

		if ((v4 && c->cmsg_type == IP_TTL) || (v6 && c->cmsg_type == IPV6_HOPLIMIT))
			hops->ttl = value(c);
		else if ((v4 && c->cmsg_type == IP_TOS) || (v6 && c->cmsg_type == IPV6_TCLASS))
			hops->tos = value(c);
	}
}

uint8_t hops_tos_accepted(int fd, bool v4)
{
	union {
		char b[HOPS_CTL];
		struct cmsghdr align;
	} ctl;
	struct msghdr h = { .msg_control = &ctl, .msg_controllen = sizeof(ctl) };
	struct hops hops = { 0 };
	int err = hops_want_tos(fd, !v4);

	if (err)
		return 0;
	err = v4 ? sock_get_ctl(fd, IPPROTO_IP, IP_PKTOPTIONS, &h) : sock_get_ctl(fd, IPPROTO_IPV6, IPV6_2292PKTOPTIONS, &h);
	if (!err)
		hops_get(&h, &hops);
	/* For as long as it is asked, the kernel makes a copy of every segment. */
	if (!v4)
		(void)!sock_set_int(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 0);
	return hops.tos;
}
