/* SPDX-License-Identifier: MIT */
/* Against the kernel, on loopback. Where the machine has no IPv6, those parts are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "os/sock.h"

static const struct {
	const char *addr;
	int family;
} ends[] = {
	{ "127.0.0.1", AF_INET },
	{ "127.0.0.1", AF_INET6 }, /* mapped, on a socket for both families */
	{ "::1", AF_INET6 },
};

static struct ep ep_of(const char *addr, uint16_t port)
{
	struct ep e = { .port = port };

	assert_int_equal(addr_parse(addr, &e.addr), 0);
	return e;
}

static bool have6(void)
{
	struct ep e = ep_of("::1", 0);
	bool ok;
	int fd;

	if (sock_open(AF_INET6, SOCK_DGRAM, 0, &fd))
		return false;
	ok = !sock_bind(fd, AF_INET6, &e, 0);
	sock_close(fd);
	return ok;
}

static int open_at(int type, int family, const char *addr, struct ep *ret_ep)
{
	struct ep e = ep_of(addr, 0);
	int fd = -1;

	assert_int_equal(sock_open(family, type, 0, &fd), 0);
	if (family == AF_INET6 && addr_is4(&e.addr))
		assert_int_equal(sock_set_dual(fd), 0);
	assert_int_equal(sock_bind(fd, family, &e, 0), 0);
	assert_int_equal(sock_local(fd, ret_ep), 0);
	assert_true(addr_eq(&ret_ep->addr, &e.addr));
	assert_int_not_equal(ret_ep->port, 0);
	return fd;
}

static void wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, 10000), 1);
}

static void test_addresses(void **state)
{
	static const char *const v6[] = { "2001:db8::1", "fe80::1", "::", "ff02::1" };
	struct sockaddr_storage ss;
	struct ep e = ep_of("192.0.2.1", 513), back;
	const struct sockaddr_in *sin = (const struct sockaddr_in *)&ss;
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&ss;

	assert_int_equal(sock_from_ep(AF_INET, &e, 7, &ss), sizeof(struct sockaddr_in));
	assert_int_equal(sin->sin_addr.s_addr, htonl(0xc0000201));
	assert_int_equal(sin->sin_port, htons(513));
	assert_int_equal(sock_to_ep(&ss, &back), 0);
	assert_true(ep_eq(&e, &back));

	assert_int_equal(sock_from_ep(AF_INET6, &e, 7, &ss), sizeof(struct sockaddr_in6));
	assert_true(IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr));
	assert_int_equal(sin6->sin6_scope_id, 0);
	assert_int_equal(sock_to_ep(&ss, &back), 0);
	assert_true(ep_eq(&e, &back));

	for (unsigned i = 0; i < ARRAY_SIZE(v6); i++) {
		e = ep_of(v6[i], 65535);
		assert_int_equal(sock_from_ep(AF_INET6, &e, 7, &ss), sizeof(struct sockaddr_in6));
		assert_int_equal(sin6->sin6_scope_id, i % 2 ? 7 : 0); /* the link-local ones */
		assert_int_equal(sock_to_ep(&ss, &back), 0);
		assert_true(ep_eq(&e, &back));
	}
	ss.ss_family = AF_UNIX;
	assert_int_equal(sock_to_ep(&ss, &back), -EAFNOSUPPORT);
}

/* Connects a pair of TCP sockets. */
static void tcp_pair(unsigned i, int *ret_a, int *ret_b)
{
	struct ep at, peer, local;
	int ls = open_at(SOCK_STREAM, ends[i].family, ends[i].addr, &at), rc;

	assert_int_equal(sock_listen(ls, 5), 0);
	assert_int_equal(sock_accept(ls, &peer, ret_b), -EAGAIN);
	assert_int_equal(sock_open(ends[i].family, SOCK_STREAM, 0, ret_a), 0);
	if (ends[i].family == AF_INET6)
		assert_int_equal(sock_set_dual(*ret_a), 0);
	rc = sock_connect(*ret_a, ends[i].family, &at, 0);
	assert_true(rc == 0 || rc == -EINPROGRESS);
	wait_for(*ret_a, POLLOUT);
	wait_for(ls, POLLIN);
	assert_int_equal(sock_accept(ls, &peer, ret_b), 0);
	assert_int_equal(sock_local(*ret_a, &local), 0);
	assert_true(ep_eq(&peer, &local));
	sock_close(ls);
}

static void test_tcp(void **state)
{
	for (unsigned i = 0; i < (have6() ? 3 : 1); i++) {
		struct iovec out[] = { { (void *)"he", 2 }, { (void *)"llo", 3 } };
		char in[8];
		struct iovec iov = { in, sizeof(in) };
		uint32_t left;
		int a, b;

		tcp_pair(i, &a, &b);
		assert_int_equal(sock_recv(b, &iov, 1, 0), -EAGAIN);
		assert_int_equal(sock_send(a, out, 2, 0), 5);
		wait_for(b, POLLIN);
		assert_int_equal(sock_recv(b, &iov, 1, MSG_PEEK), 5);
		assert_int_equal(sock_discard(b, 2), 2);
		assert_int_equal(sock_recv(b, &iov, 1, 0), 3);
		assert_memory_equal(in, "llo", 3);
		assert_int_equal(sock_outq(a, &left), 0);
		assert_int_equal(left, 0);

		assert_int_equal(sock_shutdown_wr(b), 0);
		wait_for(a, POLLIN);
		assert_int_equal(sock_recv(a, &iov, 1, 0), 0);
		assert_false(sock_is_over(a));
		assert_false(sock_is_over(b));
		sock_abort(a);
		wait_for(b, POLLERR);
		assert_true(sock_is_over(b));
		assert_int_equal(sock_error(b), ECONNRESET);
		assert_int_equal(sock_error(b), 0);
		assert_int_equal(sock_send(b, out, 2, 0), -EPIPE); /* and no signal */
		sock_close(b);
	}
}

static void test_batches(void **state)
{
	for (unsigned i = 0; i < (have6() ? 3 : 1); i++) {
		struct mmsghdr out[3] = { 0 }, in[4] = { 0 };
		struct iovec iov_out[3], iov_in[4];
		char buf[4][16];
		struct ep ea, eb;
		int a = open_at(SOCK_DGRAM, ends[i].family, ends[i].addr, &ea);
		int b = open_at(SOCK_DGRAM, ends[i].family, ends[i].addr, &eb);

		assert_int_equal(sock_connect(a, ends[i].family, &eb, 0), 0);
		for (unsigned j = 0; j < 4; j++) {
			iov_in[j] = (struct iovec){ buf[j], sizeof(buf[j]) };
			in[j].msg_hdr = (struct msghdr){ .msg_iov = &iov_in[j], .msg_iovlen = 1 };
			if (j == 3)
				break;
			iov_out[j] = (struct iovec){ (void *)"abc", j }; /* an empty one first */
			out[j].msg_hdr = (struct msghdr){ .msg_iov = &iov_out[j], .msg_iovlen = 1 };
		}
		assert_int_equal(sock_recvmmsg(b, in, 4, 0), -EAGAIN);
		assert_int_equal(sock_sendmmsg(a, out, 3, 0), 3);
		wait_for(b, POLLIN);
		assert_int_equal(sock_recvmmsg(b, in, 4, 0), 3);
		for (unsigned j = 0; j < 3; j++)
			assert_int_equal(in[j].msg_len, j);
		sock_close(a);
		sock_close(b);
	}
}

/* A port where nobody listens answers with an ICMP error. */
static void test_error_queue(void **state)
{
	for (unsigned i = 0; i < (have6() ? 3 : 1); i++) {
		struct iovec iov = { (void *)"payload", 7 };
		struct sock_err e;
		struct ep ea, eb;
		char buf[4];
		int a = open_at(SOCK_DGRAM, ends[i].family, ends[i].addr, &ea);
		int b = open_at(SOCK_DGRAM, ends[i].family, ends[i].addr, &eb);

		sock_close(b);
		assert_int_equal(sock_set_int(a, IPPROTO_IP, IP_RECVERR, 1), 0);
		if (ends[i].family == AF_INET6)
			assert_int_equal(sock_set_int(a, IPPROTO_IPV6, IPV6_RECVERR, 1), 0);
		assert_int_equal(sock_connect(a, ends[i].family, &eb, 0), 0);
		assert_int_equal(sock_errqueue(a, buf, sizeof(buf), &e), -EAGAIN);
		assert_int_equal(sock_send(a, &iov, 1, 0), 7);
		wait_for(a, POLLERR);
		assert_int_equal(sock_errqueue(a, buf, sizeof(buf), &e), 0);
		assert_int_equal(e.err, ECONNREFUSED);
		assert_int_equal(e.origin, addr_is4(&eb.addr) ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6);
		assert_int_equal(e.type, addr_is4(&eb.addr) ? 3 : 1);
		assert_int_equal(e.code, addr_is4(&eb.addr) ? 3 : 4);
		assert_true(e.has_from);
		assert_true(addr_eq(&e.from, &eb.addr));
		assert_true(ep_eq(&e.dst, &eb));
		assert_int_equal(e.len, 4); /* as much as there was room for */
		assert_memory_equal(buf, "payl", 4);
		assert_int_equal(sock_errqueue(a, buf, sizeof(buf), &e), -EAGAIN);
		sock_close(a);
	}
}

static void test_options(void **state)
{
	char name[64];
	int fd, val = -1;

	assert_int_equal(sock_open(AF_INET, SOCK_DGRAM, 0, &fd), 0);
	assert_int_equal(sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	assert_int_equal(sock_get_int(fd, SOL_SOCKET, SO_REUSEADDR, &val), 0);
	assert_int_equal(val, 1);
	memset(name, 'x', sizeof(name));
	name[16] = '\0';
	assert_int_equal(sock_bind_dev(fd, name), -EINVAL);
	name[15] = '\0';
	assert_int_equal(sock_bind_dev(fd, name), -ENODEV);
	assert_int_equal(sock_bind_dev(fd, "lo"), 0);
	sock_close(fd);
	sock_close(-1);
	assert_int_equal(sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1), -EBADF);
	assert_int_equal(sock_error(fd), EBADF);
	assert_int_equal(sock_open(-1, SOCK_DGRAM, 0, &fd), -EAFNOSUPPORT);
}

/* A socket of ours does not take the other family's port away unless it is asked to. */
static void test_v6only(void **state)
{
	struct ep any6 = ep_of("::", 0), any4 = ep_of("0.0.0.0", 0);
	int a, b;

	if (!have6())
		skip();
	assert_int_equal(sock_open(AF_INET6, SOCK_DGRAM, 0, &a), 0);
	assert_int_equal(sock_bind(a, AF_INET6, &any6, 0), 0);
	assert_int_equal(sock_local(a, &any6), 0);
	any4.port = any6.port;
	assert_int_equal(sock_open(AF_INET, SOCK_DGRAM, 0, &b), 0);
	assert_int_equal(sock_bind(b, AF_INET, &any4, 0), 0);
	sock_close(a);
	assert_int_equal(sock_open(AF_INET6, SOCK_DGRAM, 0, &a), 0);
	assert_int_equal(sock_set_dual(a), 0);
	assert_int_equal(sock_bind(a, AF_INET6, &any6, 0), -EADDRINUSE);
	sock_close(a);
	sock_close(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),   cmocka_unit_test(test_tcp),     cmocka_unit_test(test_batches),
		cmocka_unit_test(test_error_queue), cmocka_unit_test(test_options), cmocka_unit_test(test_v6only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
