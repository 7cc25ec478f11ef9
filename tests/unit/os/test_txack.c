/* SPDX-License-Identifier: MIT */
/* Against the kernel, on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include "os/sock.h"
#include "os/txack.h"
#include "tcp_pair.h"

static short wait_for(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	assert_int_equal(poll(&p, 1, 10000), 1);
	return p.revents;
}

/* An entry for the last of the sends that share a segment, and one at the end, when nothing is left; none of them an error of the socket. */
static void test_events(void **state)
{
	struct iovec iov = { (void *)"hello", 5 };
	struct txack_rtt rtt;
	uint32_t left;
	int a, b, took = 0;

	tcp_pair_open(&a, &b);
	assert_int_equal(txack_take(a), 0);
	assert_int_equal(sock_send(a, &iov, 1, 0), 5); /* before it was wanted */
	wait_for(b, POLLIN);
	assert_int_equal(txack_enable(a), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(sock_send(a, &iov, 1, 0), 5);
	do {
		int n;

		assert_true(wait_for(a, 0) & POLLERR);
		n = txack_take(a);
		assert_true(n >= 0);
		took += n;
		assert_int_equal(sock_outq(a, &left), 0);
	} while (left);
	assert_in_range(took, 1, 100);
	assert_int_equal(sock_error(a), 0);
	assert_int_equal(txack_rtt(a, &rtt), 0);
	assert_true(rtt.min > 0 && rtt.min <= rtt.smoothed * 8);
	sock_close(a);
	sock_close(b);
}

static void test_no_socket(void **state)
{
	struct txack_rtt rtt = { .min = 1 };

	assert_true(txack_enable(-1) < 0);
	assert_true(txack_take(-1) < 0);
	assert_true(txack_rtt(-1, &rtt) < 0);
	assert_int_equal(rtt.min, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_events), cmocka_unit_test(test_no_socket) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
