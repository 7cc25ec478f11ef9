/* SPDX-License-Identifier: MIT */
/* Two ends of a TCP connection over loopback, for tests of what the kernel tells of it. Needs cmocka.h before. */
#pragma once

#include <netinet/in.h>
#include <poll.h>

#include "os/sock.h"

/* a has connected, b was accepted. */
static inline void tcp_pair_open(int *ret_a, int *ret_b)
{
	struct ep e = { .addr = addr_loopback4, .port = 0 }, peer;
	int l;

	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &l), 0);
	assert_int_equal(sock_bind(l, AF_INET, &e, 0), 0);
	assert_int_equal(sock_local(l, &e), 0);
	assert_int_equal(sock_listen(l, 1), 0);
	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, ret_a), 0);
	(void)!sock_connect(*ret_a, AF_INET, &e, 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 10000), 1);
	assert_int_equal(sock_accept(l, &peer, ret_b), 0);
	sock_close(l);
}
