/* SPDX-License-Identifier: MIT */
/*
 * Several datagrams of one size in one message, the last of which may be shorter: UDP_SEGMENT (Linux 4.18) for what is sent, UDP_GRO
 * (Linux 5.0) for what is received; udp(7).
 */
#pragma once

#include <sys/socket.h>

#include "base/defs.h"

#define UDPSEG_MAX 64 /* datagrams of one message that every such kernel takes */
#define UDPSEG_BYTES 65507 /* payload of one message, for both families */
#define UDPSEG_BULK 16 /* datagrams received with one call, to think that udpseg_receive() pays */
#define UDPSEG_CTL 32 /* room for the control message, aligned like struct cmsghdr */

/* The kernel knows UDP_SEGMENT; one that does not would send all of a message as one datagram. */
bool udpseg_known(int fd);

/*
 * The message is to be sent as datagrams of size bytes each. The control message goes behind those that h has already, where
 * UDPSEG_CTL more bytes have to be; or into buf, if there are none.
 */
void udpseg_put(struct msghdr *h, void *buf, uint16_t size);

/* From now on, what the kernel gets in one piece is received in one piece, and there is room for more than a few of these. -errno. */
MUST_USE int udpseg_receive(int fd);

/* Size of the datagrams in a message that was received; 0: it is one datagram. */
uint16_t udpseg_get(const struct msghdr *h);
