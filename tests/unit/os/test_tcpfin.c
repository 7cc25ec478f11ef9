/* SPDX-License-Identifier: MIT */
/* Against the kernel, on loopback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "os/sock.h"
#include "os/tcpfin.h"
#include "tcp_pair.h"

static void wait_for(int fd, short events)
{
	assert_int_equal(poll(&(struct pollfd){ .fd = fd, .events = events }, 1, 10000), 1);
}

/* So many bytes come and so many of them are read; then FIN or not, and a reset or not. */
static void test_all(void **state)
{
	static const unsigned counts[][2] = { { 0, 0 }, { 5, 0 }, { 5, 2 }, { 5, 5 } };
	struct iovec iov = { (void *)"hello", 5 };
	char buf[8];

	for (unsigned i = 0; i < 4 * ARRAY_SIZE(counts); i++) {
		unsigned sent = counts[i / 4][0], got = counts[i / 4][1];
		bool fin = i & 1, rst = i & 2;
		int a, b;

		tcp_pair_open(&a, &b);
		if (sent) {
			assert_int_equal(sock_send(b, &iov, 1, 0), 5);
			wait_for(a, POLLIN);
		}
		if (got)
			assert_int_equal(recv(a, buf, got, 0), got);
		if (fin) {
			assert_int_equal(sock_shutdown_wr(b), 0);
			wait_for(a, POLLRDHUP);
		}
		if (rst) {
			assert_int_equal(sock_linger_reset(b), 0);
			sock_close(b);
			wait_for(a, POLLHUP);
		}
		assert_int_equal(tcpfin_arrived(a, got), fin);
		sock_close(a);
		if (!rst)
			sock_close(b);
	}
	assert_true(tcpfin_arrived(-1, 0)); /* nobody knows */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
