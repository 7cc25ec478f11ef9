/* SPDX-License-Identifier: MIT */
/*
 * Which ports are listened on, as the kernel tells through NETLINK_SOCK_DIAG (sock_diag(7)): listening TCP sockets, and UDP sockets that
 * are bound but not connected. The answer is for the network namespace in which the netlink socket was opened.
 *
 * sockdiag_parse() is pure and takes anything: what it doesn't know or what is malformed is left out.
 */
#pragma once

#include "base/bitmap.h"
#include "os/loop.h"

enum sockdiag_proto { SOCKDIAG_TCP, SOCKDIAG_UDP, SOCKDIAG_PROTOS };
enum sockdiag_family { SOCKDIAG_4, SOCKDIAG_6, SOCKDIAG_FAMILIES };

/* What a socket is bound to: any address, one of loopback (or any, on the loopback interface), another one. */
enum sockdiag_where { SOCKDIAG_ANY, SOCKDIAG_LO, SOCKDIAG_ADDR, SOCKDIAG_WHERES };

/* Ports of one protocol. A socket for both families is in the maps of both. */
struct sockdiag_ports {
	uint64_t digest; /* of all sockets in the order in which the kernel listed them: the same again for the same list */
	struct portmap map[SOCKDIAG_FAMILIES][SOCKDIAG_WHERES];
};

struct sockdiag_scan {
	int err[SOCKDIAG_PROTOS]; /* -errno: nothing is known of this protocol; -ENOENT: the kernel can't tell */
	bool torn; /* the list was long and changed while it was read: a port that is missing may be there all the same */
	bool same; /* nothing has changed since the scan before */
	uint64_t cost_ns; /* processor time that the scan took */
	struct sockdiag_ports ports[SOCKDIAG_PROTOS];
};

/* Adds to *ret_map all ports with a bit in each of families (1 << enum sockdiag_family) and wheres (1 << enum sockdiag_where). */
void sockdiag_select(const struct sockdiag_ports *p, unsigned families, unsigned wheres, struct portmap *ret_map);

/*
 * Adds what is in the len bytes of one datagram at buf, the answer to the question of number seq for proto (0: of any number).
 * 0 if more datagrams are to follow, 1 after the end, the negative errno that the kernel reports, or -EBADMSG for broken framing.
 */
MUST_USE int sockdiag_parse(const void *buf, size_t len, uint32_t seq, enum sockdiag_proto proto, struct sockdiag_ports *p);

struct sockdiag;

/* The result of a scan, valid until the next one is started, which must not be from inside. */
typedef void sockdiag_done_fn(void *ctx, const struct sockdiag_scan *scan);

/* Takes fd, a socket of socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_SOCK_DIAG); closed even on failure. */
MUST_USE int sockdiag_new(struct loop *loop, int fd, sockdiag_done_fn *fn, void *ctx, struct sockdiag **ret_sd);
void sockdiag_free(struct sockdiag *sd);

/*
 * Asks; the result comes before this returns, as the kernel answers at once, or from the loop, soon. -EBUSY while a scan goes on; other
 * -errno as for sendto(2).
 */
MUST_USE int sockdiag_start(struct sockdiag *sd);
