/* SPDX-License-Identifier: MIT */
#include "os/txack.h"

#include <errno.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

#include "os/sock.h"

#define TAKE_BATCH 32

int txack_enable(int fd)
{
	/* Without the software flag nothing is made; the data itself need not come back, nor does anybody look at the times. */
	return sock_set_int(fd, SOL_SOCKET, SO_TIMESTAMPING,
			    SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID |
				    SOF_TIMESTAMPING_OPT_TSONLY);
}

int txack_take(int fd)
{
	int total = 0, n;

	do {
		struct mmsghdr m[TAKE_BATCH] = { 0 };

		n = sock_recvmmsg(fd, m, TAKE_BATCH, MSG_ERRQUEUE);
		if (n > 0)
			total += n;
	} while (n == TAKE_BATCH);
	return n < 0 && n != -EAGAIN ? n : total;
}

int txack_rtt(int fd, struct txack_rtt *ret_rtt)
{
	struct tcp_info i;
	socklen_t len = sizeof(i);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len))
		return -errno;
	if (len < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof(i.tcpi_min_rtt))
		return -ENOSYS;
	if (i.tcpi_min_rtt == UINT32_MAX)
		return -ENODATA;
	*ret_rtt = (struct txack_rtt){ .smoothed = i.tcpi_rtt, .min = i.tcpi_min_rtt };
	return 0;
}
