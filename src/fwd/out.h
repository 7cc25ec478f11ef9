/* SPDX-License-Identifier: MIT */
/* Sockets that the translators open towards the host's network, bound as --outbound and --outbound-if say. */
#pragma once

#include "base/addr.h"

struct outbound {
	struct addr addr4, addr6; /* source address; all-zero: the kernel chooses */
	char if4[16], if6[16]; /* device; empty: any */
	unsigned scope6; /* interface index for link-local IPv6 destinations */
	uint8_t ttl4, ttl6; /* hop limit that a new socket has; 0: not known */
};

/* Binds a socket of the family of dst, made for that, as out_socket() does. -errno. */
MUST_USE int out_bind(const struct outbound *o, int fd, int type, const struct addr *dst, uint16_t port);

/*
 * A non-blocking socket of this type and protocol for destination dst (which decides the family), bound to the outbound device and to
 * the outbound address with port (0: any). Loopback destinations are left unbound to device and address. -errno.
 */
MUST_USE int out_socket(const struct outbound *o, int type, int proto, const struct addr *dst, uint16_t port, int *ret_fd);
