/* SPDX-License-Identifier: MIT */
#include "os/tcpfin.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

bool tcpfin_arrived(int fd, uint32_t taken)
{
	struct tcp_info i;
	socklen_t len = sizeof(i);
	int queued = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) || ioctl(fd, SIOCINQ, &queued))
		return true;
	if (len < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(i.tcpi_bytes_received))
		return true;
	return (uint32_t)i.tcpi_bytes_received != taken + (uint32_t)queued;
}
