/* SPDX-License-Identifier: MIT */
/*
 * The packet back end: each message of an AF_UNIX socket is one Ethernet frame.
 *
 * Sequenced packets (SOCK_SEQPACKET), as User-Mode Linux speaks them ("transport=bess"): guests connect, one at a time, as in link/stream.h.
 *
 * Datagrams (SOCK_DGRAM), as QEMU's "-netdev dgram", vfkit and libkrun speak them: the guest is whoever sends the first datagram to our
 * socket and has a socket by name to send to, in the folder of ours, as all other paths are out of sight by then. From then on no other
 * is heard. That it has gone is known when its socket takes nothing any more, and what it sent right before may be lost, as the kernel then
 * drops that from our queue; one that is silent is looked for every second.
 *
 * Messages of less than 14 or more than 65535 bytes are dropped, and counted as bad; the four bytes that vfkit begins with are no frame
 * and no fault. After the end what was queued for the guest is thrown away, and the next guest is waited for.
 */
#pragma once

#include "link/link.h"
#include "os/loop.h"

struct packet_conf {
	int listen_fd; /* a listening SOCK_SEQPACKET socket, or -1 */
	int bound_fd; /* a bound SOCK_DGRAM socket, or -1 */
	int dir_fd; /* with that: its folder (O_PATH), and */
	const char *dir; /* the path of that as it is in names of sockets; not copied */
	int fd; /* a connected socket of either kind, or -1. The link owns all four from packet_new() on */
	bool one_off; /* the end of a connection is cb.gone(); always so with fd */
	size_t mtu;
	struct link_cb cb;
};

/* -ENOMEM. Nothing happens before packet_start(). The caller ends it with link->ops->free(). */
MUST_USE int packet_new(struct loop *loop, const struct packet_conf *c, struct link **ret_link);

/* Waits for guests; with fd, the guest is there at once: cb.up() is called from inside. */
MUST_USE int packet_start(struct link *l);
