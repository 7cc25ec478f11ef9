/* SPDX-License-Identifier: MIT */
/*
 * The load of the bench, for what iperf3 does not measure. Prints one line of JSON; exit status 0 if all went well.
 *
 *   load serve PORT ADDR...                         answers requests over TCP and UDP; says "ready"
 *   load rr tcp|udp ADDR PORT SECONDS COUNT         one byte there and back, one after the other, on one socket
 *   load crr ADDR PORT SECONDS COUNT                connect, one byte there and back, wait for the end, close; one after the other
 *   load idle ADDR PORT N                           N connections, each used once; says "ready", keeps them until the end of its input
 *   load send listen|connect ADDR PORT SIZE SEGMENTS SECONDS
 *                                                   datagrams of SIZE bytes as fast as possible; more than one SEGMENT: by UDP_SEGMENT.
 *                                                   listen: to whoever says something first
 *   load recv listen|connect ADDR PORT GRO          counts datagrams until none has come for half a second; says "ready".
 *                                                   connect: says something first, so that datagrams come
 *   load time exit|ready N COMMAND...               runs a command N times, until its end or until it writes to descriptor 3
 *
 * SECONDS and COUNT are both limits; COUNT 0 is none.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BATCH 64
#define DATAGRAM_MAX 65507
#define SAMPLES_MAX (1 << 22)
#define PATIENCE_MS 20000
#define SILENCE_MS 500
#define HELLO_MS 100
#define NS_PER_S 1000000000ll

/* First byte of a request */
#define KEEP 'k' /* answer, and wait for more */
#define CLOSE 'c' /* answer and close */

struct limits {
	int64_t end_ns;
	size_t count;
};

struct samples {
	uint32_t *ns;
	size_t n;
};

_Noreturn static void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "load: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n < 0 || n > INT32_MAX)
		fail("not a number: %s", text);
	return (int)n;
}

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void say_ready(void)
{
	puts("ready");
	fflush(stdout);
}

static struct limits limits_of(const char *seconds, const char *count)
{
	struct limits l = { .end_ns = now_ns() + (int64_t)(strtod(seconds, NULL) * NS_PER_S), .count = (size_t)number(count) };

	return l;
}

static bool within(const struct limits *l, size_t done)
{
	return (!l->count || done < l->count) && now_ns() < l->end_ns;
}

/* Addresses */

struct endpoint {
	struct sockaddr_storage addr;
	socklen_t len;
};

static struct endpoint endpoint_of(const char *addr, const char *port)
{
	struct endpoint e = { 0 };
	struct sockaddr_in6 *a6 = (struct sockaddr_in6 *)&e.addr;
	struct sockaddr_in *a4 = (struct sockaddr_in *)&e.addr;

	if (inet_pton(AF_INET, addr, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons((uint16_t)number(port));
		e.len = sizeof(*a4);
	} else if (inet_pton(AF_INET6, addr, &a6->sin6_addr) == 1) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons((uint16_t)number(port));
		e.len = sizeof(*a6);
	} else {
		fail("not an address: %s", addr);
	}
	return e;
}

static int sock_new(const struct endpoint *e, int type)
{
	int s = socket(e->addr.ss_family, type | SOCK_CLOEXEC, 0), one = 1;

	if (s < 0)
		fail("socket: %s", strerror(errno));
	if (type == SOCK_STREAM)
		setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return s;
}

static int sock_connect(const struct endpoint *e, int type)
{
	struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	int s = sock_new(e, type);

	setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(s, (const struct sockaddr *)&e->addr, e->len))
		fail("connect: %s", strerror(errno));
	return s;
}

static int sock_bind(const struct endpoint *e, int type)
{
	int s = sock_new(e, type), one = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (const struct sockaddr *)&e->addr, e->len) || (type == SOCK_STREAM && listen(s, 4096)))
		fail("bind: %s", strerror(errno));
	return s;
}

/* Whether there is something to read in time. */
static bool readable(int s, int ms)
{
	struct pollfd p = { .fd = s, .events = POLLIN };

	return poll(&p, 1, ms) == 1;
}

/* Server */

static void serve_accept(int ep, int listener)
{
	int one = 1;

	for (;;) {
		struct epoll_event e = { .events = EPOLLIN };

		e.data.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (e.data.fd < 0)
			return;
		setsockopt(e.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e);
	}
}

static void serve_tcp(int s)
{
	char buf[64];
	ssize_t n = recv(s, buf, sizeof(buf), 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || send(s, buf, (size_t)n, MSG_NOSIGNAL) != n || buf[0] == CLOSE)
		close(s);
}

static void serve_udp(int s)
{
	struct endpoint from = { .len = sizeof(from.addr) };
	char buf[64];
	ssize_t n;

	while ((n = recvfrom(s, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from.addr, &from.len)) >= 0)
		sendto(s, buf, (size_t)n, 0, (struct sockaddr *)&from.addr, from.len);
}

_Noreturn static void serve(char **arg, int n)
{
	struct epoll_event got[BATCH];
	int ep = epoll_create1(EPOLL_CLOEXEC), role[64] = { 0 };

	for (int i = 1; i < n; i++) {
		struct endpoint e = endpoint_of(arg[i], arg[0]);

		for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
			struct epoll_event ev = { .events = EPOLLIN };

			ev.data.fd = sock_bind(&e, type);
			if (ev.data.fd >= (int)(sizeof(role) / sizeof(role[0])))
				fail("too many addresses");
			role[ev.data.fd] = type;
			fcntl(ev.data.fd, F_SETFL, O_NONBLOCK);
			epoll_ctl(ep, EPOLL_CTL_ADD, ev.data.fd, &ev);
		}
	}
	say_ready();
	for (;;) {
		int k = epoll_wait(ep, got, BATCH, -1);

		for (int i = 0; i < k; i++) {
			int fd = got[i].data.fd;
			int what = fd < (int)(sizeof(role) / sizeof(role[0])) ? role[fd] : 0;

			if (what == SOCK_STREAM)
				serve_accept(ep, fd);
			else if (what == SOCK_DGRAM)
				serve_udp(fd);
			else
				serve_tcp(fd);
		}
	}
}

/* Times of single operations */

static struct samples samples_new(void)
{
	struct samples s = { .ns = malloc(SAMPLES_MAX * sizeof(*s.ns)) };

	if (!s.ns)
		fail("no memory");
	return s;
}

static void samples_add(struct samples *s, int64_t ns)
{
	if (s->n < SAMPLES_MAX)
		s->ns[s->n++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

static int u32_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static int samples_print(struct samples *s, int64_t start)
{
	double seconds = (double)(now_ns() - start) / NS_PER_S;

	if (!s->n)
		fail("not a single operation in time");
	qsort(s->ns, s->n, sizeof(*s->ns), u32_compare);
	printf("{\"count\": %zu, \"seconds\": %.6f, \"median_us\": %.3f, \"p99_us\": %.3f}\n", s->n, seconds, s->ns[s->n / 2] / 1e3,
	       s->ns[s->n * 99 / 100] / 1e3);
	return 0;
}

/* One byte there and back. Datagrams may be lost: then it is sent again. */
static void exchange(int s, char request, bool again)
{
	char c = request;

	do {
		if (send(s, &c, 1, MSG_NOSIGNAL) != 1)
			fail("send: %s", strerror(errno));
	} while (again && !readable(s, PATIENCE_MS / 20));
	if (!readable(s, PATIENCE_MS) || recv(s, &c, 1, 0) != 1)
		fail("no answer");
}

static int rr(char **arg)
{
	bool udp = !strcmp(arg[0], "udp");
	struct endpoint e = endpoint_of(arg[1], arg[2]);
	int s = sock_connect(&e, udp ? SOCK_DGRAM : SOCK_STREAM);
	struct samples times = samples_new();
	struct limits l;
	int64_t start;

	exchange(s, KEEP, udp);
	l = limits_of(arg[3], arg[4]);
	start = now_ns();
	while (within(&l, times.n)) {
		char c = KEEP;
		int64_t t = now_ns();

		/* As plain as can be, since this is what is measured */
		if (send(s, &c, 1, MSG_NOSIGNAL) != 1)
			fail("send: %s", strerror(errno));
		if (udp && !readable(s, PATIENCE_MS))
			fail("a datagram was lost");
		if (recv(s, &c, 1, 0) != 1)
			fail("recv: %s", strerror(errno));
		samples_add(&times, now_ns() - t);
	}
	return samples_print(&times, start);
}

static int crr(char **arg)
{
	struct endpoint e = endpoint_of(arg[0], arg[1]);
	struct samples times = samples_new();
	struct limits l = limits_of(arg[2], arg[3]);
	int64_t start = now_ns();

	while (within(&l, times.n)) {
		int64_t t = now_ns();
		int s = sock_connect(&e, SOCK_STREAM);
		char c = CLOSE;

		if (send(s, &c, 1, MSG_NOSIGNAL) != 1)
			fail("send: %s", strerror(errno));
		if (recv(s, &c, 1, 0) != 1)
			fail("recv: %s", strerror(errno));
		if (recv(s, &c, 1, 0) != 0)
			fail("no end of the connection");
		close(s);
		samples_add(&times, now_ns() - t);
	}
	return samples_print(&times, start);
}

static int idle(char **arg)
{
	struct endpoint e = endpoint_of(arg[0], arg[1]);
	long n = number(arg[2]);
	char c;

	for (long i = 0; i < n; i++)
		exchange(sock_connect(&e, SOCK_STREAM), KEEP, false);
	say_ready();
	while (read(0, &c, 1) > 0)
		;
	return 0;
}

/* Datagrams */

/* A socket with a peer. Whoever listens learns the peer from its first datagram. */
static int peer_open(char **arg, bool learn)
{
	struct endpoint e = endpoint_of(arg[1], arg[2]), from = { .len = sizeof(from.addr) };
	bool listens = !strcmp(arg[0], "listen");
	int s = listens ? sock_bind(&e, SOCK_DGRAM) : sock_connect(&e, SOCK_DGRAM);
	char c;

	say_ready();
	if (!listens || !learn)
		return s;
	if (!readable(s, PATIENCE_MS) || recvfrom(s, &c, 1, 0, (struct sockaddr *)&from.addr, &from.len) < 0)
		fail("nobody said anything");
	if (connect(s, (struct sockaddr *)&from.addr, from.len))
		fail("connect: %s", strerror(errno));
	return s;
}

static int udp_send(char **arg)
{
	static char buf[DATAGRAM_MAX];
	struct iovec iov = { .iov_base = buf };
	struct mmsghdr m[BATCH];
	int s = peer_open(arg, true), size = number(arg[3]), segments = number(arg[4]), batch = segments > 1 ? 1 : BATCH;
	struct limits l = limits_of(arg[5], "0");
	int64_t start = now_ns();
	size_t sent = 0;

	if (size < 1 || segments < 1 || size * segments > DATAGRAM_MAX)
		fail("SIZE times SEGMENTS is to be 1 to %d", DATAGRAM_MAX);
	if (segments > 1 && setsockopt(s, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)))
		fail("UDP_SEGMENT: %s", strerror(errno));
	memset(buf, 'x', sizeof(buf));
	memset(m, 0, sizeof(m));
	iov.iov_len = (size_t)size * (size_t)segments;
	for (int i = 0; i < BATCH; i++) {
		m[i].msg_hdr.msg_iov = &iov;
		m[i].msg_hdr.msg_iovlen = 1;
	}
	while (within(&l, 0)) {
		int k = sendmmsg(s, m, (unsigned)batch, 0);

		if (k < 0 && errno != ENOBUFS && errno != ECONNREFUSED)
			fail("sendmmsg: %s", strerror(errno));
		sent += k > 0 ? (size_t)k * (size_t)segments : 0;
	}
	printf("{\"sent\": %zu, \"seconds\": %.6f}\n", sent, (double)(now_ns() - start) / NS_PER_S);
	return 0;
}

/* How many datagrams a message holds: more than one if the kernel says their size. */
static size_t datagrams_in(struct mmsghdr *m)
{
	int size = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m->msg_hdr); c; c = CMSG_NXTHDR(&m->msg_hdr, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
			memcpy(&size, CMSG_DATA(c), sizeof(size));
	return size ? (m->msg_len + (size_t)size - 1) / (size_t)size : 1;
}

struct tally {
	size_t datagrams;
	size_t bytes;
	int64_t first;
	int64_t last;
};

/* All that is there now */
static void tally_receive(struct tally *t, int s)
{
	static char buf[BATCH][1 << 16];
	static char anc[BATCH][64];
	struct iovec iov[BATCH];
	struct mmsghdr m[BATCH];
	int n;

	memset(m, 0, sizeof(m));
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){ .iov_base = buf[i], .iov_len = sizeof(buf[i]) };
		m[i].msg_hdr = (struct msghdr){
			.msg_iov = &iov[i], .msg_iovlen = 1, .msg_control = anc[i], .msg_controllen = sizeof(anc[i])
		};
	}
	n = recvmmsg(s, m, BATCH, MSG_DONTWAIT, NULL);
	if (n <= 0)
		return;
	t->last = now_ns();
	if (!t->first)
		t->first = t->last;
	for (int i = 0; i < n; i++) {
		t->datagrams += datagrams_in(&m[i]);
		t->bytes += m[i].msg_len;
	}
}

static int udp_recv(char **arg)
{
	bool hello = !strcmp(arg[0], "connect");
	int s = peer_open(arg, false), gro = number(arg[3]);
	struct tally t = { 0 };

	if (gro && setsockopt(s, IPPROTO_UDP, UDP_GRO, &gro, sizeof(gro)))
		fail("UDP_GRO: %s", strerror(errno));
	for (int waited = 0; !readable(s, HELLO_MS); waited += HELLO_MS) {
		if (waited > PATIENCE_MS)
			fail("no datagram");
		if (hello && send(s, "h", 1, 0) < 0 && errno != ECONNREFUSED)
			fail("send: %s", strerror(errno));
	}
	while (readable(s, SILENCE_MS))
		tally_receive(&t, s);
	if (t.last == t.first)
		fail("not enough datagrams");
	printf("{\"datagrams\": %zu, \"bytes\": %zu, \"seconds\": %.6f}\n", t.datagrams, t.bytes,
	       (double)(t.last - t.first) / NS_PER_S);
	return 0;
}

/* Time of commands */

static int64_t run_once(char **command, bool until_ready)
{
	int64_t start = now_ns(), end;
	int ready[2], status;
	pid_t pid;
	char c;

	if (pipe(ready))
		fail("pipe: %s", strerror(errno));
	pid = fork();
	if (!pid) {
		dup2(ready[1], 3);
		if (ready[0] != 3)
			close(ready[0]);
		if (ready[1] != 3)
			close(ready[1]);
		execvp(command[0], command);
		_exit(127);
	}
	close(ready[1]);
	if (until_ready) {
		if (read(ready[0], &c, 1) != 1)
			fail("%s did not get ready", command[0]);
		end = now_ns();
		kill(pid, SIGTERM);
		waitpid(pid, &status, 0);
	} else {
		waitpid(pid, &status, 0);
		end = now_ns();
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail("%s failed", command[0]);
	}
	close(ready[0]);
	return end - start;
}

static int run_timed(char **arg)
{
	struct samples times = samples_new();
	int64_t start = now_ns();

	for (long i = 0; i < number(arg[1]); i++)
		samples_add(&times, run_once(arg + 2, !strcmp(arg[0], "ready")));
	return samples_print(&times, start);
}

int main(int argc, char **argv)
{
	struct rlimit r;
	const char *what = argc > 1 ? argv[1] : "";

	if (!getrlimit(RLIMIT_NOFILE, &r)) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
	if (!strcmp(what, "serve") && argc > 3)
		serve(argv + 2, argc - 2);
	if (!strcmp(what, "rr") && argc == 7)
		return rr(argv + 2);
	if (!strcmp(what, "crr") && argc == 6)
		return crr(argv + 2);
	if (!strcmp(what, "idle") && argc == 5)
		return idle(argv + 2);
	if (!strcmp(what, "send") && argc == 8)
		return udp_send(argv + 2);
	if (!strcmp(what, "recv") && argc == 6)
		return udp_recv(argv + 2);
	if (!strcmp(what, "time") && argc > 4)
		return run_timed(argv + 2);
	fail("wrong usage; the head of load.c says what there is");
}
