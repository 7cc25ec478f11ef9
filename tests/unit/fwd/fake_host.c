/* SPDX-License-Identifier: MIT */
#include "fake_host.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/log.h"
#include "os/rlimit.h"
#include "os/sock.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

struct fake_host *fake;

static void fake_log(void *ctx, enum log_level level, const char *line)
{
	assert_true(fake->lines < ARRAY_SIZE(fake->line));
	snprintf(fake->line[fake->lines++], sizeof(fake->line[0]), "%c %s", "EWIDT"[level], line);
}

void fake_reset(void)
{
	free(fake);
	fake = calloc(1, sizeof(*fake));
	assert_non_null(fake);
	fake->loop_room = UINT32_MAX;
	fake->limit = UINT64_MAX;
	log_set_sink(fake_log, NULL);
}

struct fake_sock *fake_get(int fd)
{
	assert_true(fd >= FAKE_FD && (unsigned)(fd - FAKE_FD) < fake->n);
	assert_true(fake->s[fd - FAKE_FD].open);
	return &fake->s[fd - FAKE_FD];
}

int sock_open(int family, int type, int proto, int *ret_fd)
{
	int rc = fake->open_result ? fake->open_result(family) : 0;

	fake->attempts++;
	if (rc)
		return rc;
	assert_true(fake->n < FAKE_FDS);
	fake->s[fake->n] = (struct fake_sock){ .open = true, .family = family, .type = type, .proto = proto };
	fake->open++;
	*ret_fd = FAKE_FD + (int)fake->n++;
	return 0;
}

void sock_close(int fd)
{
	struct fake_sock *s = fake_get(fd);

	assert_false(s->in_loop);
	s->open = false;
	fake->open--;
}

int sock_set_int(int fd, int level, int opt, int val)
{
	struct fake_sock *s = fake_get(fd);

	if (level == SOL_SOCKET && opt == SO_REUSEADDR) {
		s->reuse = val;
		return 0;
	}
	if ((level == IPPROTO_IP && opt == IP_FREEBIND) || (level == IPPROTO_IPV6 && opt == IPV6_FREEBIND)) {
		assert_int_equal(level, s->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6);
		assert_false(s->bound);
		s->freebind = val;
		return fake->freebind_result;
	}
	if ((level == IPPROTO_IP && opt == IP_PKTINFO) || (level == IPPROTO_IPV6 && opt == IPV6_RECVPKTINFO)) {
		assert_int_equal(level, s->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6);
		assert_false(s->bound);
		s->pktinfo = val;
		return fake->pktinfo_result;
	}
	if ((level == IPPROTO_IP && (opt == IP_RECVTTL || opt == IP_RECVTOS)) ||
	    (level == IPPROTO_IPV6 && (opt == IPV6_RECVHOPLIMIT || opt == IPV6_RECVTCLASS))) {
		assert_false(s->bound);
		return -ENOPROTOOPT; /* nor does this matter */
	}
	if (level == IPPROTO_IP && opt == IP_BIND_ADDRESS_NO_PORT) {
		s->no_port = val;
		return -ENOPROTOOPT; /* as an old kernel: it must not matter */
	}
	fail_msg("option %d/%d", level, opt);
	return -EINVAL;
}

int sock_get_ctl(int fd, int level, int opt, struct msghdr *h)
{
	fail_msg("fd %d: listeners are not asked for control messages", fd);
	return -EOPNOTSUPP;
}

int sock_set_dual(int fd)
{
	struct fake_sock *s = fake_get(fd);

	assert_int_equal(s->family, AF_INET6);
	assert_false(s->bound);
	s->dual = true;
	return fake->dual_result;
}

int sock_set_nonblock(int fd)
{
	fail_msg("nothing here was opened by somebody else");
	return -EINVAL;
}

int sock_linger_reset(int fd)
{
	fail_msg("nothing here is a connection");
	return -EINVAL;
}

int sock_accept(int fd, struct ep *ret_peer, int *ret_fd)
{
	struct fake_sock *s = fake_get(fd);
	int rc;

	assert_true(s->listening);
	fake->accepts++;
	rc = fake->accept_result ? fake->accept_result() : -EAGAIN;
	if (rc)
		return rc;
	*ret_peer = (struct ep){ .addr = addr_loopback4, .port = (uint16_t)fake->accepts };
	return sock_open(s->family, s->type, s->proto, ret_fd);
}

int sock_bind_dev(int fd, const char *ifname)
{
	struct fake_sock *s = fake_get(fd);

	assert_false(s->bound);
	snprintf(s->ifname, sizeof(s->ifname), "%s", ifname);
	return fake->dev_result;
}

unsigned sock_ifindex(int fd, const char *ifname)
{
	(void)fake_get(fd);
	return if_nametoindex(ifname);
}

int sock_bind(int fd, int family, const struct ep *ep, unsigned scope)
{
	struct fake_sock *s = fake_get(fd);

	assert_int_equal(family, s->family);
	s->ep = *ep;
	s->scope = scope;
	if (fake->bind_result) {
		int rc = fake->bind_result(s);

		if (rc)
			return rc;
	}
	s->bound = true;
	return 0;
}

int sock_listen(int fd, int backlog)
{
	struct fake_sock *s = fake_get(fd);

	assert_true(s->bound && s->type == SOCK_STREAM && backlog > 0);
	s->listening = !fake->listen_result;
	return fake->listen_result;
}

int loop_add(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	struct fake_sock *s = fake_get(fd);

	if (!fake->loop_room)
		return -ENOSPC;
	fake->loop_room--;
	assert_false(s->in_loop);
	s->in_loop = true;
	s->ref = ref;
	s->events = events;
	fake->in_loop++;
	return 0;
}

int loop_mod(struct loop *l, int fd, struct ref ref, uint32_t events)
{
	struct fake_sock *s = fake_get(fd);

	assert_true(s->in_loop);
	if (fake->mods_failing) {
		fake->mods_failing--;
		return -ENOMEM;
	}
	s->ref = ref;
	s->events = events;
	return 0;
}

/* As the kernel: nothing happens if it is not there. */
void loop_del(struct loop *l, int fd)
{
	struct fake_sock *s = fake_get(fd);

	fake->in_loop -= s->in_loop;
	s->in_loop = false;
}

uint64_t rlimit_nofile_want(uint64_t want)
{
	fake->wanted = want;
	return fake->limit;
}
