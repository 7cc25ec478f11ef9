/* SPDX-License-Identifier: MIT */
#include "os/tcpinfo.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

int tcpinfo_get(int fd, struct tcpinfo *ret_info)
{
	struct tcp_info i = { 0 };
	socklen_t len = sizeof(i);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len))
		return -errno;
	*ret_info = (struct tcpinfo){
		.bytes_out = i.tcpi_bytes_acked,
		.bytes_in = i.tcpi_bytes_received,
		.segs_out = i.tcpi_segs_out,
		.segs_in = i.tcpi_segs_in,
		.rtt_us = i.tcpi_rtt,
		.rexmit = i.tcpi_total_retrans,
	};
	return 0;
}
