/* SPDX-License-Identifier: MIT */
#include "fwd/out.h"

#include <netinet/in.h>

#include "os/sock.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static bool out_is_set(const struct addr *a)
{
	return !addr_is_any(a);
}

/* Address and port, each where it is asked for. */
static int local_bind(const struct outbound *o, int fd, int type, const struct ep *local)
{
	int family = addr_family(&local->addr);

	if (!out_is_set(&local->addr) && !local->port)
		return 0;
	/*
	 * Without the option, bind() takes an ephemeral port for this socket alone, and some 28000 connections are all that we can
	 * ever have. A kernel that does not know it costs just that.
	 */
	if (type == SOCK_STREAM && !local->port) {
		int rc UNUSED = sock_set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	}
	return sock_bind(fd, family, local, o->scope6);
}

int out_bind(const struct outbound *o, int fd, int type, const struct addr *dst, uint16_t port)
{
	bool v4 = addr_is4(dst);
	struct ep local = { .addr = v4 ? addr_any4 : addr_any6, .port = port };
	const struct addr *addr = v4 ? &o->addr4 : &o->addr6;
	const char *ifname = v4 ? o->if4 : o->if6;
	int rc = 0;

	if (!addr_is_loopback(dst)) {
		if (out_is_set(addr))
			local.addr = *addr;
		if (ifname[0])
			rc = sock_bind_dev(fd, ifname);
	}
	return rc ? rc : local_bind(o, fd, type, &local);
}

int out_socket(const struct outbound *o, int type, int proto, const struct addr *dst, uint16_t port, int *ret_fd)
{
	int fd, rc = sock_open(addr_family(dst), type, proto, &fd);

	if (rc)
		return rc;
	rc = out_bind(o, fd, type, dst, port);
	if (rc) {
		sock_close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}
