/* SPDX-License-Identifier: MIT */
#include "os/pktinfo.h"

#include <netinet/in.h>
#include <string.h>

#include "os/sock.h"

int pktinfo_enable(int fd, bool v6)
{
	return v6 ? sock_set_int(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) : sock_set_int(fd, IPPROTO_IP, IP_PKTINFO, 1);
}

static bool can_be_source(const struct addr *a)
{
	return !addr_is_any(a) && !addr_is_multicast(a) && !addr_is_broadcast(a);
}

bool pktinfo_get(const struct msghdr *h, struct addr *ret_local, unsigned *ret_scope)
{
	for (const struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, (struct cmsghdr *)c)) {
		struct in_pktinfo p4;
		struct in6_pktinfo p6;
		struct addr a;

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&p4, CMSG_DATA(c), sizeof(p4));
			a = addr_from4(&p4.ipi_spec_dst);
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&p6, CMSG_DATA(c), sizeof(p6));
			a = addr_from6(&p6.ipi6_addr);
			*ret_scope = p6.ipi6_ifindex;
		} else {
			continue;
		}
		if (!can_be_source(&a))
			return false;
		*ret_local = a;
		return true;
	}
	return false;
}

static void ctl_put(struct msghdr *h, struct cmsghdr *c, const void *data, size_t len)
{
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_control = c;
	h->msg_controllen = CMSG_SPACE(len);
}

void pktinfo_put(struct msghdr *h, void *buf, bool v6, const struct addr *local, unsigned scope)
{
	struct in6_pktinfo p6 = { .ipi6_ifindex = addr_is_linklocal(local) && !addr_is4(local) ? scope : 0 };
	struct in_pktinfo p4 = { .ipi_ifindex = 0 };
	struct cmsghdr *c = buf;

	memset(buf, 0, PKTINFO_CTL);
	if (v6) {
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		memcpy(&p6.ipi6_addr, local->b, sizeof(p6.ipi6_addr));
		ctl_put(h, c, &p6, sizeof(p6));
	} else {
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		memcpy(&p4.ipi_spec_dst, addr_bytes(local), sizeof(p4.ipi_spec_dst));
		ctl_put(h, c, &p4, sizeof(p4));
	}
}
