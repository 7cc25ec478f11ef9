/* SPDX-License-Identifier: MIT */
/*
 * Socket calls with addresses of our type and -errno results; nothing is decided here. All sockets are non-blocking and close-on-exec.
 * Tests of the translators link a fake in place of this module.
 */
#pragma once

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/addr.h"

/* The system has no memory for what was asked of a socket. That passes, but not by trying again at once. */
static inline bool sock_lacks_memory(ssize_t err)
{
	return err == -ENOBUFS || err == -ENOMEM;
}

/* The same of whatever the system or the process runs out of. */
static inline bool sock_is_shortage(int err)
{
	return err == -EMFILE || err == -ENFILE || sock_lacks_memory(err);
}

/* socket(2): AF_INET or AF_INET6 (always IPv6-only unless sock_set_dual(); raw sockets are so anyway). */
MUST_USE int sock_open(int family, int type, int proto, int *ret_fd);
void sock_close(int fd);

MUST_USE int sock_set_int(int fd, int level, int opt, int val);
MUST_USE int sock_get_int(int fd, int level, int opt, int *ret_val);
MUST_USE int sock_get_ctl(int fd, int level, int opt, struct msghdr *h); /* an option whose value is control messages */
MUST_USE int sock_set_dual(int fd); /* clears IPV6_V6ONLY, before bind */
MUST_USE int sock_bind_dev(int fd, const char *ifname); /* SO_BINDTODEVICE */
MUST_USE unsigned sock_ifindex(int fd, const char *ifname); /* 0: none; unlike if_nametoindex(3), opens nothing */
MUST_USE int sock_set_nonblock(int fd); /* one that somebody else has opened */
MUST_USE int sock_linger_reset(int fd); /* SO_LINGER {1, 0}: close() sends RST */

MUST_USE int sock_linger_off(int fd); /* and back: close() is orderly again */

/* The end of a connection that the peer is to see as a reset. */
static inline void sock_abort(int fd)
{
	(void)!sock_linger_reset(fd);
	sock_close(fd);
}

/* scope: interface index for link-local IPv6 addresses, else ignored. An IPv4 address on an AF_INET6 socket is given mapped. */
MUST_USE int sock_bind(int fd, int family, const struct ep *ep, unsigned scope);
MUST_USE int sock_connect(int fd, int family, const struct ep *ep, unsigned scope); /* -EINPROGRESS is the usual result for TCP */
MUST_USE int sock_listen(int fd, int backlog);
MUST_USE int sock_accept(int fd, struct ep *ret_peer, int *ret_fd); /* whoever comes to a UNIX socket has an endpoint of zeros */
MUST_USE int sock_local(int fd, struct ep *ret_ep); /* getsockname(2) */
MUST_USE int sock_peer(int fd, struct ep *ret_ep); /* getpeername(2) */
MUST_USE int sock_shutdown_wr(int fd);

/*
 * Bytes moved, or -errno. MSG_DONTWAIT | MSG_NOSIGNAL are added. Memory in the pieces that its owner has cut off is fixed
 * (os/busguard.h); as nothing of it is to be sent, that is -EFAULT then, and nothing was received to it: -EAGAIN.
 */
MUST_USE ssize_t sock_send(int fd, const struct iovec *iov, unsigned n, int flags);
MUST_USE ssize_t sock_recv(int fd, const struct iovec *iov, unsigned n, int flags);

/* Drops len bytes from the receive queue without copying them (MSG_TRUNC, tcp(7)); bytes dropped, or -errno. */
MUST_USE ssize_t sock_discard(int fd, size_t len);

/* sendmmsg(2), recvmmsg(2) with MSG_DONTWAIT: messages moved, or -errno; of memory that was cut off, as above. */
MUST_USE int sock_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags);
MUST_USE int sock_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags);

/* A connection that is over in both directions, by a reset of the peer, say. */
bool sock_is_over(int fd);

/* SO_ERROR: the pending error as a positive errno, cleared; 0 if there is none. */
int sock_error(int fd);

/* Bytes in the send queue that the peer has not acknowledged (SIOCOUTQ, tcp(7)); -errno. */
MUST_USE int sock_outq(int fd, uint32_t *ret_bytes);

/* Send buffer: its size, and how much of that is in use, overhead included (SO_MEMINFO, socket(7)); -errno. */
MUST_USE int sock_sndmem(int fd, uint32_t *ret_size, uint32_t *ret_used);

/* One entry of the error queue (IP_RECVERR, ip(7)). */
struct sock_err {
	int err; /* positive errno */
	uint8_t origin; /* SO_EE_ORIGIN_* */
	uint8_t type, code; /* of the ICMP message, if the origin is ICMP or ICMPv6 */
	uint32_t info; /* MTU, for EMSGSIZE; kind of a timestamp (SCM_TSTAMP_*) for SO_EE_ORIGIN_TIMESTAMPING */
	uint32_t data; /* key of a timestamp (SOF_TIMESTAMPING_OPT_ID) */
	uint8_t ttl; /* that the ICMP message came with, on a socket that asked for it (os/hops.h); 0: not known */
	bool has_from;
	struct addr from; /* who reported it (SO_EE_OFFENDER) */
	struct ep dst; /* where the datagram was going */
	size_t len; /* bytes of the datagram's payload that came back, at most the buffer */
};

/* Takes one entry; payload goes to buf. -EAGAIN if the queue is empty. */
MUST_USE int sock_errqueue(int fd, void *buf, size_t buf_len, struct sock_err *ret_err);

/* Conversions for msghdr users. Returns the length of the sockaddr. */
socklen_t sock_from_ep(int family, const struct ep *ep, unsigned scope, struct sockaddr_storage *ret_ss);
MUST_USE int sock_to_ep(const struct sockaddr_storage *ss, struct ep *ret_ep); /* mapped addresses become IPv4; -EAFNOSUPPORT */
