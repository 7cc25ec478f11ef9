/* SPDX-License-Identifier: MIT */
/*
 * Small network client for the test guest, for what no ordinary program does:
 *
 *   nettool udp-sizes ADDR PORT FIRST LAST   echo of one datagram of every size, in order, contents compared
 *   nettool connect-many ADDR PORT N         N connections open at once, a number echoed on each
 *   nettool read-then-send ADDR PORT         reads to the end of file, then sends the number of bytes that it got
 *
 * Prints one line; exit status 0 if all went well.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define MANY 4096
#define PATIENCE_MS 20000

static void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

static int sock_connect(char **arg, int type)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(arg[1])) };
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(atoi(arg[1])) };
	int is4 = inet_pton(AF_INET, arg[0], &a4.sin_addr) == 1;
	int s, ret;

	if (!is4 && inet_pton(AF_INET6, arg[0], &a6.sin6_addr) != 1)
		fail("not an address: %s", arg[0]);
	s = socket(is4 ? AF_INET : AF_INET6, type, 0);
	ret = is4 ? connect(s, (struct sockaddr *)&a4, sizeof(a4)) : connect(s, (struct sockaddr *)&a6, sizeof(a6));
	if (s < 0 || (ret && errno != EINPROGRESS))
		fail("connect: %s", strerror(errno));
	return s;
}

static void wait_for(int s, short events, const char *what, long which)
{
	struct pollfd p = { .fd = s, .events = events };

	if (poll(&p, 1, PATIENCE_MS) != 1)
		fail("nothing for %d s: %s %ld", PATIENCE_MS / 1000, what, which);
}

static int udp_sizes(char **arg)
{
	static uint8_t out[65536], in[65536];
	long first = atol(arg[2]), last = atol(arg[3]), size, i;
	int s = sock_connect(arg, SOCK_DGRAM);

	for (size = first; size <= last; size++) {
		ssize_t n;

		for (i = 0; i < size; i++)
			out[i] = (uint8_t)(size * 31 + i);
		if (send(s, out, (size_t)size, 0) != size)
			fail("send of %ld bytes: %s", size, strerror(errno));
		wait_for(s, POLLIN, "echo of size", size);
		n = recv(s, in, sizeof(in), 0);
		if (n != size || memcmp(in, out, (size_t)size))
			fail("echo of %ld bytes came back as %zd bytes or changed", size, n);
	}
	printf("%ld sizes\n", last - first + 1);
	return 0;
}

static int connect_many(char **arg)
{
	struct rlimit lim = { .rlim_cur = MANY + 16, .rlim_max = MANY + 16 };
	long n = atol(arg[2]), i, got;
	static int s[MANY];

	setrlimit(RLIMIT_NOFILE, &lim);
	if (n > MANY)
		fail("at most %d", MANY);
	for (i = 0; i < n; i++)
		s[i] = sock_connect(arg, SOCK_STREAM | SOCK_NONBLOCK);
	for (i = 0; i < n; i++) {
		wait_for(s[i], POLLOUT, "connection", i);
		if (write(s[i], &i, sizeof(i)) != sizeof(i))
			fail("connection %ld: %s", i, strerror(errno));
	}
	for (i = 0; i < n; i++) {
		wait_for(s[i], POLLIN, "answer", i);
		if (read(s[i], &got, sizeof(got)) != sizeof(got) || got != i)
			fail("connection %ld got the answer of another one, or none", i);
	}
	printf("%ld connections\n", n);
	return 0;
}

static int read_then_send(char **arg)
{
	int s = sock_connect(arg, SOCK_STREAM);
	static char buf[65536];
	long sum = 0;
	ssize_t n;

	while ((n = read(s, buf, sizeof(buf))) > 0)
		sum += n;
	if (n < 0)
		fail("read: %s", strerror(errno));
	if (dprintf(s, "%ld\n", sum) < 0)
		fail("write: %s", strerror(errno));
	printf("%ld bytes\n", sum);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "udp-sizes"))
		return udp_sizes(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "connect-many"))
		return connect_many(argv + 2);
	if (argc == 4 && !strcmp(argv[1], "read-then-send"))
		return read_then_send(argv + 2);
	fail("usage: nettool udp-sizes|connect-many|read-then-send ADDR PORT ...");
}
