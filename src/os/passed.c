/* SPDX-License-Identifier: MIT */
#include "os/passed.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/num.h"
#include "os/sock.h"

#define CONTROL "control"

static bool env_number(const char *name, uint64_t max, uint64_t *ret_n)
{
	const char *text = getenv(name);

	return text && !num_take(&text, 0, max, ret_n) && !*text;
}

static int env_read(unsigned *ret_n, char **ret_names)
{
	uint64_t pid, n;

	*ret_n = 0;
	*ret_names = NULL;
	if (!env_number("LISTEN_PID", INT32_MAX, &pid) || (pid_t)pid != getpid())
		return 0;
	if (!env_number("LISTEN_FDS", PASSED_MAX, &n))
		return -EINVAL;
	if (getenv("LISTEN_FDNAMES")) {
		*ret_names = strdup(getenv("LISTEN_FDNAMES"));
		if (!*ret_names)
			return -ENOMEM;
	}
	*ret_n = (unsigned)n;
	return 0;
}

int passed_count(unsigned *ret_n, char **ret_names)
{
	static const char *const variable[] = { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID" };
	int err = env_read(ret_n, ret_names);

	for (size_t i = 0; i < ARRAY_SIZE(variable); i++)
		unsetenv(variable[i]);
	for (unsigned i = 0; !err && i < *ret_n; i++)
		err = fcntl(PASSED_FIRST + (int)i, F_SETFD, FD_CLOEXEC) ? -errno : 0;
	return err;
}

static bool is_named(const char *names, unsigned i, const char *want)
{
	while (names && i--) {
		names = strchr(names, ':');
		names = names ? names + 1 : NULL;
	}
	return names && !strncmp(names, want, strlen(want)) && strchr(":", names[strlen(want)]);
}

/* The address, device and families that it is bound to. */
static int port_look(int fd, int proto, struct bound_spec *ret_at)
{
	struct bound_spec at = { .proto = (uint8_t)proto };
	socklen_t len = sizeof(at.dev);
	struct ep ep;
	int only6 = 1, err = sock_local(fd, &ep);

	if (err)
		return err;
	at.addr = ep.addr;
	at.port = ep.port;
	if (getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, at.dev, &len))
		return -errno;
	if (!addr_is4(&ep.addr) && addr_is_any(&ep.addr)) {
		err = sock_get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only6);
		at.dual = !only6;
	}
	*ret_at = at;
	return err;
}

static bool is_port(const struct passed_socket *s, int family, int proto)
{
	if (family != AF_INET && family != AF_INET6)
		return false;
	return (proto == IPPROTO_TCP && s->type == SOCK_STREAM && s->listens) || (proto == IPPROTO_UDP && s->type == SOCK_DGRAM);
}

int passed_look(unsigned i, const char *names, struct passed_socket *ret_s)
{
	struct passed_socket s = { .kind = PASSED_UNIX };
	int fd = PASSED_FIRST + (int)i, family = 0, proto = 0, listens = 0, err;

	err = sock_get_int(fd, SOL_SOCKET, SO_TYPE, &s.type);
	if (!err)
		err = sock_get_int(fd, SOL_SOCKET, SO_DOMAIN, &family);
	if (!err)
		err = sock_get_int(fd, SOL_SOCKET, SO_PROTOCOL, &proto);
	if (!err)
		err = sock_get_int(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens);
	if (!err)
		err = sock_set_nonblock(fd);
	if (err)
		return err;
	s.listens = listens;
	if (is_port(&s, family, proto)) {
		s.kind = PASSED_PORT;
		err = port_look(fd, proto, &s.at);
	} else if (family != AF_UNIX) {
		err = -EPROTONOSUPPORT;
	} else if (is_named(names, i, CONTROL)) {
		s.kind = PASSED_CONTROL;
		err = s.listens && s.type == SOCK_STREAM ? 0 : -EPROTONOSUPPORT;
	}
	if (!err)
		*ret_s = s;
	return err;
}
