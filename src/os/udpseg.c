/* SPDX-License-Identifier: MIT */
#include "os/udpseg.h"

#include <netinet/in.h>
#include <string.h>

#include "os/sock.h"

/* Of the kernel's <linux/udp.h>, which glibc has since 2.29 and others have not. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define RCVBUF (1 << 20)

bool udpseg_known(int fd)
{
	int size;

	return !sock_get_int(fd, IPPROTO_UDP, UDP_SEGMENT, &size);
}

void udpseg_put(struct msghdr *h, void *buf, uint16_t size)
{
	struct cmsghdr *c;

	if (!h->msg_control)
		h->msg_control = buf;
	c = (struct cmsghdr *)((char *)h->msg_control + h->msg_controllen);
	memset(c, 0, CMSG_SPACE(sizeof(size)));
	c->cmsg_level = IPPROTO_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(size));
	memcpy(CMSG_DATA(c), &size, sizeof(size));
	h->msg_controllen += CMSG_SPACE(sizeof(size));
}

int udpseg_receive(int fd)
{
	int err = sock_set_int(fd, IPPROTO_UDP, UDP_GRO, 1);

	/* The usual size has room for two or three. */
	return err ? err : sock_set_int(fd, SOL_SOCKET, SO_RCVBUF, RCVBUF);
}

uint16_t udpseg_get(const struct msghdr *h)
{
	for (const struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR((struct msghdr *)h, (struct cmsghdr *)c)) {
		int size;

		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		return size > 0 && size <= UINT16_MAX ? (uint16_t)size : 0;
	}
	return 0;
}
