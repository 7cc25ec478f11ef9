/* SPDX-License-Identifier: MIT */
/* Against the kernel, on loopback. Where the machine has no IPv6, that part is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include "os/hops.h"
#include "os/sock.h"

#define TTL 33
#define TOS 0x2d /* EF would be 0xb8; this has ECN bits as well */

union ctl {
	char b[HOPS_CTL];
	struct cmsghdr align;
};

static bool open_at(bool v6, int *ret_fd, struct ep *ret_ep)
{
	struct ep lo = { .addr = v6 ? addr_loopback6 : addr_loopback4 };

	assert_int_equal(sock_open(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0, ret_fd), 0);
	if (sock_bind(*ret_fd, v6 ? AF_INET6 : AF_INET, &lo, 0) || sock_local(*ret_fd, ret_ep)) {
		sock_close(*ret_fd);
		return false;
	}
	return true;
}

static void recv_one(int fd, union ctl *ctl, struct msghdr *ret_msg)
{
	char buf[16];
	struct iovec iov = { buf, sizeof(buf) };
	struct mmsghdr m = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(*ctl) } };

	assert_int_equal(sock_recvmmsg(fd, &m, 1, 0), 1);
	assert_int_equal(m.msg_hdr.msg_flags & MSG_CTRUNC, 0);
	*ret_msg = m.msg_hdr;
}

static void check(bool v6)
{
	struct iovec iov = { "x", 1 };
	struct ep ea, eb;
	int a, b;

	if (!open_at(v6, &a, &ea))
		return;
	assert_true(open_at(v6, &b, &eb));
	assert_int_equal(sock_connect(a, v6 ? AF_INET6 : AF_INET, &eb, 0), 0);
	assert_int_equal(v6 ? sock_set_int(a, IPPROTO_IPV6, IPV6_UNICAST_HOPS, TTL) : sock_set_int(a, IPPROTO_IP, IP_TTL, TTL), 0);
	assert_int_equal(v6 ? sock_set_int(a, IPPROTO_IPV6, IPV6_TCLASS, TOS) : sock_set_int(a, IPPROTO_IP, IP_TOS, TOS), 0);
	for (unsigned want = 0; want < 3; want++) {
		struct hops hops = { .ttl = 1, .tos = 2 };
		struct msghdr msg;
		union ctl ctl;

		if (want == 1)
			assert_int_equal(hops_want_ttl(b, v6), 0);
		if (want == 2)
			assert_int_equal(hops_want_tos(b, v6), 0);
		assert_int_equal(sock_send(a, &iov, 1, 0), 1);
		recv_one(b, &ctl, &msg);
		hops_get(&msg, &hops);
		assert_int_equal(hops.ttl, want >= 1 ? TTL : 1);
		assert_int_equal(hops.tos, want >= 2 ? TOS : 2);
	}
	sock_close(a);
	sock_close(b);
}

static void test_hops(void **state)
{
	check(false);
	check(true);
}

/* The SYN's, of either family, also over a socket for both; data that are there already change nothing. */
static void test_accepted(void **state)
{
	for (int i = 0; i < 3; i++) {
		bool v6 = i == 1, dual = i == 2;
		int family = v6 ? AF_INET6 : AF_INET, l, a, b, val = 1;
		struct ep lo = { .addr = v6 ? addr_loopback6 : addr_loopback4 }, peer;

		if (sock_open(v6 || dual ? AF_INET6 : AF_INET, SOCK_STREAM, 0, &l))
			continue;
		if (dual)
			assert_int_equal(sock_set_dual(l), 0);
		if (sock_bind(l, v6 || dual ? AF_INET6 : AF_INET, dual ? &(struct ep){ .addr = addr_any6 } : &lo, 0)) {
			sock_close(l);
			continue;
		}
		assert_int_equal(sock_listen(l, 1), 0);
		assert_int_equal(sock_local(l, &peer), 0);
		lo.port = peer.port;
		assert_int_equal(sock_open(family, SOCK_STREAM, 0, &a), 0);
		assert_int_equal(v6 ? sock_set_int(a, IPPROTO_IPV6, IPV6_TCLASS, TOS) : sock_set_int(a, IPPROTO_IP, IP_TOS, TOS),
				 0);
		(void)!sock_connect(a, family, &lo, 0);
		assert_int_equal(poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 10000), 1);
		assert_int_equal(sock_send(a, &(struct iovec){ "x", 1 }, 1, 0), 1);
		assert_int_equal(sock_accept(l, &peer, &b), 0);
		/* The kernel has no ECN bits of TCP sockets set. */
		assert_int_equal(hops_tos_accepted(b, !v6), TOS & 0xfc);
		if (v6)
			assert_int_equal(sock_get_int(b, IPPROTO_IPV6, IPV6_RECVTCLASS, &val), 0);
		assert_int_equal(val, !v6);
		sock_close(a);
		sock_close(b);
		sock_close(l);
	}
}

/* An ICMP error has a hop limit of its own: that of the kernel, on loopback. */
static void test_error(void **state)
{
	for (int v6 = 0; v6 < 2; v6++) {
		struct iovec iov = { "x", 1 };
		struct sock_err e;
		struct ep ea, eb;
		int a, b;

		if (!open_at(v6, &a, &ea))
			continue;
		assert_true(open_at(v6, &b, &eb));
		sock_close(b);
		assert_int_equal(sock_set_int(a, v6 ? SOL_IPV6 : SOL_IP, v6 ? IPV6_RECVERR : IP_RECVERR, 1), 0);
		assert_int_equal(sock_connect(a, v6 ? AF_INET6 : AF_INET, &eb, 0), 0);
		for (unsigned want = 0; want < 2; want++) {
			if (want)
				assert_int_equal(hops_want_ttl(a, v6), 0);
			assert_int_equal(sock_send(a, &iov, 1, 0), 1);
			assert_int_equal(sock_errqueue(a, NULL, 0, &e), 0);
			if (want)
				assert_in_range(e.ttl, 1, 255);
			else
				assert_int_equal(e.ttl, 0);
			(void)sock_error(a);
		}
		sock_close(a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
