/* SPDX-License-Identifier: MIT */
/*
 * UDP splice over real sockets on loopback.
 *
 *   clients --- bound socket | udp_splice | a socket for each client --- service
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/pktinfo.h"
#include "os/sock.h"
#include "udp/udp_hold.h"
#include "udp/udp_splice.h"
#include "fds.h"

#define ROUNDS 5000 /* of waiting for something that has to come; only a failing test gets there */
#define LEN_MAX 65507

struct fix {
	struct loop loop;
	struct timer nowait;
	struct udp_splice *u;
	int bound, service;
	struct ep bound_ep, service_ep, refused_peer, refused_to;
	uint16_t id;
	unsigned owner; /* of the bound socket's events */
	unsigned socks, refusals; /* asked for, told */
	int sock_err; /* what that is to return */
	int sock; /* the last one that was given */
	void *user;
	uint8_t buf[65536];
};

static void nothing(struct timer *t, uint64_t now_ns)
{
}

static int give_sock(void *ctx, void *user, int family, int *ret_fd)
{
	struct fix *x = ctx;

	x->socks++;
	x->user = user;
	if (x->sock_err)
		return x->sock_err;
	assert_int_equal(sock_open(family, SOCK_DGRAM, 0, &x->sock), 0);
	*ret_fd = x->sock;
	return 0;
}

static void refused(void *ctx, void *user, const struct ep *peer, const struct ep *to)
{
	struct fix *x = user;

	x->refused_peer = *peer, x->refused_to = *to, x->refusals++;
}

static void turn(struct fix *x, uint64_t wait_ns)
{
	timer_set(&x->loop.timers, &x->nowait, wait_ns ? x->loop.now_ns + wait_ns : 0);
	assert_int_equal(loop_turn(&x->loop), 0);
	timer_cancel(&x->loop.timers, &x->nowait);
}

/* Until nothing is left to do; there has to be such a moment. */
static void settle(struct fix *x)
{
	struct pollfd p = { .fd = x->loop.epfd, .events = POLLIN };

	for (unsigned i = 0; poll(&p, 1, 2) > 0; i++) {
		assert_true(i < ROUNDS);
		turn(x, 0);
	}
}

static int udp_sock(const struct addr *a, uint16_t port, struct ep *ret_ep)
{
	struct ep ep = { .addr = *a, .port = port };
	int fd, family = addr_family(a);

	assert_int_equal(sock_open(family, SOCK_DGRAM, 0, &fd), 0);
	assert_int_equal(sock_bind(fd, family, &ep, 0), 0);
	if (ret_ep)
		assert_int_equal(sock_local(fd, ret_ep), 0);
	return fd;
}

/* watch: we read the socket; else its datagrams are fed by the test. */
static void add_port(struct fix *x, bool watch, bool v6)
{
	static const struct addr none4 = addr_any4, none6 = addr_any6;
	bool is4 = addr_is4(&x->service_ep.addr);
	struct udp_splice_port p = {
		.fd = x->bound,
		.v6 = v6,
		.to = x->service_ep.port,
		.to4 = is4 ? &x->service_ep.addr : &none4,
		.to6 = is4 ? &none6 : &x->service_ep.addr,
		.user = x,
	};

	assert_int_equal(pktinfo_enable(x->bound, v6), 0);
	assert_int_equal(udp_splice_add(x->u, &p, &x->id), 0);
	if (watch)
		assert_int_equal(loop_add(&x->loop, x->bound, ref_init(x->owner, x->id, 0), EPOLLIN), 0);
}

static void on_bound(void *ctx, struct ref ref, uint32_t events)
{
	struct fix *x = ctx;

	assert_int_equal(udp_splice_read(x->u, (uint16_t)ref.index), 0);
}

static struct fix *world_times(const struct udp_times *times, uint32_t max, const struct addr *bound, const struct addr *service)
{
	static const struct hash_key key = { { 1, 2 } };
	struct fix *x = calloc(1, sizeof(*x));
	struct udp_splice_conf c = { .loop = &x->loop, .max = max, .key = &key, .times = *times, .sock = give_sock, .ctx = x };

	c.refused = refused;
	timer_init(&x->nowait, nothing);
	assert_int_equal(loop_init(&x->loop), 0);
	x->owner = loop_owner(&x->loop, on_bound, x);
	x->u = udp_splice_new(&c);
	assert_non_null(x->u);
	x->bound = udp_sock(bound, 0, &x->bound_ep);
	x->service = udp_sock(service, 0, &x->service_ep);
	return x;
}

static struct fix *world(uint32_t max, const struct addr *bound, const struct addr *service)
{
	static const struct udp_times usual;

	return world_times(&usual, max, bound, service);
}

static int setup_short(void **state)
{
	static const struct udp_times times = { 7, 90 };
	struct fix *x = world_times(&times, 64, &addr_loopback4, &addr_loopback4);

	add_port(x, true, false);
	*state = x;
	return 0;
}

static int setup(void **state)
{
	struct fix *x = world(64, &addr_loopback4, &addr_loopback4);

	add_port(x, true, false);
	*state = x;
	return 0;
}

static int setup_any(void **state)
{
	struct fix *x = world(64, &addr_any4, &addr_loopback4);

	x->bound_ep.addr = addr_loopback4;
	add_port(x, true, false);
	*state = x;
	return 0;
}

static int setup6(void **state)
{
	struct fix *x = world(64, &addr_loopback6, &addr_loopback6);

	add_port(x, true, true);
	*state = x;
	return 0;
}

static int setup_few(void **state)
{
	struct fix *x = world(3, &addr_loopback4, &addr_loopback4);

	add_port(x, true, false);
	*state = x;
	return 0;
}

static int setup_bare(void **state)
{
	*state = world(64, &addr_loopback4, &addr_loopback4);
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	udp_splice_free(x->u);
	close(x->bound);
	if (x->service >= 0)
		close(x->service);
	loop_fini(&x->loop);
	free(x);
	return 0;
}

static void send_to(struct fix *x, int fd, const struct ep *to, size_t len, uint8_t with)
{
	struct sockaddr_storage ss;
	socklen_t ss_len = sock_from_ep(addr_family(&to->addr), to, 0, &ss);

	memset(x->buf, with, len);
	assert_int_equal(sendto(fd, x->buf, len, 0, (struct sockaddr *)&ss, ss_len), len);
}

/* The next datagram, which is len bytes of with; who sent it. */
static struct ep expect(struct fix *x, int fd, size_t len, uint8_t with)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t ss_len = sizeof(ss);
	struct ep from = { .port = 0 };
	ssize_t n = -1;

	for (unsigned i = 0; n < 0; i++) {
		n = recvfrom(fd, x->buf, sizeof(x->buf), MSG_DONTWAIT, (struct sockaddr *)&ss, &ss_len);
		if (n < 0)
			turn(x, NSEC_PER_MSEC);
		assert_true(i < ROUNDS);
	}
	assert_int_equal(n, len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(x->buf[i], with);
	assert_int_equal(sock_to_ep(&ss, &from), 0);
	return from;
}

static void expect_nothing(struct fix *x, int fd)
{
	settle(x);
	assert_int_equal(recv(fd, x->buf, sizeof(x->buf), MSG_DONTWAIT), -1);
}

static void test_there_and_back(void **state)
{
	static const size_t len[] = { 5, 0, 1472, 1, 0, LEN_MAX, 100 };
	struct fix *x = *state;
	struct ep client, seen, from;
	int fd = udp_sock(&x->bound_ep.addr, 0, &client);

	for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
		send_to(x, fd, &x->bound_ep, len[i], (uint8_t)(i + 1));
		seen = expect(x, x->service, len[i], (uint8_t)(i + 1));
		assert_true(addr_is_loopback(&seen.addr));
		send_to(x, x->service, &seen, len[i], (uint8_t)(i + 100));
		from = expect(x, fd, len[i], (uint8_t)(i + 100));
		assert_true(ep_eq(&from, &x->bound_ep));
	}
	assert_int_equal(x->socks, 1);
	assert_ptr_equal(x->user, x);
	assert_int_equal(udp_splice_stats(x->u)->out, ARRAY_SIZE(len));
	assert_int_equal(udp_splice_stats(x->u)->back, ARRAY_SIZE(len));
	assert_int_equal(udp_splice_stats(x->u)->lost, 0);
	close(fd);
}

/* More than one batch at once, from several clients in turn: none is lost, none changes its place, none its sender. */
static void test_batches(void **state)
{
	enum { CLIENTS = 5, EACH = 40 };
	struct fix *x = *state;
	struct ep client[CLIENTS], seen[CLIENTS] = { 0 };
	int fd[CLIENTS];
	unsigned next[CLIENTS] = { 0 };

	for (unsigned i = 0; i < CLIENTS; i++)
		fd[i] = udp_sock(&addr_loopback4, 0, &client[i]);
	for (unsigned i = 0; i < CLIENTS * EACH; i++) {
		unsigned who = i / 3 % CLIENTS; /* three in a row */

		send_to(x, fd[who], &x->bound_ep, 10 + who * 10, (uint8_t)i);
	}
	settle(x);
	for (unsigned i = 0; i < CLIENTS * EACH; i++) {
		unsigned who = i / 3 % CLIENTS;
		struct ep from = expect(x, x->service, 10 + who * 10, (uint8_t)i);

		if (next[who]++)
			assert_true(ep_eq(&from, &seen[who]));
		seen[who] = from;
	}
	for (unsigned i = 0; i < 100; i++)
		send_to(x, x->service, &seen[i % CLIENTS], i, (uint8_t)i);
	for (unsigned i = 0; i < 100; i++)
		(void)expect(x, fd[i % CLIENTS], i, (uint8_t)i);
	assert_int_equal(udp_splice_stats(x->u)->now, CLIENTS);
	for (unsigned i = 0; i < CLIENTS; i++)
		close(fd[i]);
}

static void test_source_port(void **state)
{
	const struct addr other = ADDR4_INIT(127, 0, 0, 2);
	struct fix *x = *state;
	struct ep client, seen;
	int fd = udp_sock(&other, 0, &client), taken;

	/* Free over there: kept. */
	send_to(x, fd, &x->bound_ep, 3, 1);
	seen = expect(x, x->service, 3, 1);
	assert_int_equal(seen.port, client.port);
	close(fd);

	/* Taken: any other will do. */
	fd = udp_sock(&other, 0, &client);
	taken = udp_sock(&addr_loopback4, client.port, NULL);
	send_to(x, fd, &x->bound_ep, 3, 2);
	seen = expect(x, x->service, 3, 2);
	assert_int_not_equal(seen.port, client.port);
	send_to(x, x->service, &seen, 4, 3);
	(void)expect(x, fd, 4, 3);
	expect_nothing(x, taken);
	close(taken);
	close(fd);
}

/* A client with the port of a service that is not there: nobody answers, and the service can come. */
static void test_source_port_of_the_service(void **state)
{
	const struct addr other = ADDR4_INIT(127, 0, 0, 2);
	struct fix *x = *state;
	int fd;

	close(x->service);
	fd = udp_sock(&other, x->service_ep.port, NULL);
	send_to(x, fd, &x->bound_ep, 3, 1);
	settle(x);
	expect_nothing(x, fd);
	x->service = udp_sock(&addr_loopback4, x->service_ep.port, NULL);
	send_to(x, fd, &x->bound_ep, 3, 2);
	(void)expect(x, x->service, 3, 2);
	close(fd);
}

/* Whatever address of ours the client has written to, the answer comes from there. */
static void test_source_address(void **state)
{
	struct fix *x = *state;
	struct ep client, seen[3], from, to = x->bound_ep;
	int fd = udp_sock(&addr_loopback4, 0, &client);

	for (unsigned i = 0; i < 3; i++) {
		to.addr = ADDR4_INIT(127, 0, 0, (uint8_t)(1 + i));
		send_to(x, fd, &to, 10, (uint8_t)i);
		seen[i] = expect(x, x->service, 10, (uint8_t)i);
	}
	for (unsigned i = 3; i--;) {
		to.addr = ADDR4_INIT(127, 0, 0, (uint8_t)(1 + i));
		send_to(x, x->service, &seen[i], 20, (uint8_t)i);
		from = expect(x, fd, 20, (uint8_t)i);
		assert_true(ep_eq(&from, &to));
	}
	close(fd);
}

/* One socket for both families: each goes to the destination of its own, if there is one. */
static void test_dual(void **state)
{
	struct fix *x = *state;
	struct ep ep = { .addr = addr_any6 }, client, seen, from, to4, to6;
	int fd4 = udp_sock(&addr_loopback4, 0, &client), fd6 = udp_sock(&addr_loopback6, 0, &client);

	close(x->bound);
	assert_int_equal(sock_open(AF_INET6, SOCK_DGRAM, 0, &x->bound), 0);
	assert_int_equal(sock_set_dual(x->bound), 0);
	assert_int_equal(sock_bind(x->bound, AF_INET6, &ep, 0), 0);
	assert_int_equal(sock_local(x->bound, &x->bound_ep), 0);
	add_port(x, true, true);

	to4 = (struct ep){ .addr = ADDR4_INIT(127, 0, 0, 9), .port = x->bound_ep.port };
	to6 = (struct ep){ .addr = addr_loopback6, .port = x->bound_ep.port };
	send_to(x, fd6, &to6, 9, 9);
	expect_nothing(x, x->service);
	assert_int_equal(udp_splice_stats(x->u)->lost, 1);
	send_to(x, fd4, &to4, 7, 7);
	seen = expect(x, x->service, 7, 7);
	send_to(x, x->service, &seen, 8, 8);
	from = expect(x, fd4, 8, 8);
	assert_true(ep_eq(&from, &to4));
	close(fd4);
	close(fd6);
}

/* Nobody listens: datagrams vanish, errors are told, and nobody spins. Later somebody does. */
static void test_refused(void **state)
{
	struct fix *x = *state;
	struct ep client;
	int fd = udp_sock(&x->bound_ep.addr, 0, &client);

	close(x->service);
	for (unsigned i = 0; i < 20; i++) {
		send_to(x, fd, &x->bound_ep, 3, 1);
		if (i % 3)
			settle(x);
	}
	settle(x);
	expect_nothing(x, fd);
	assert_in_range(x->refusals, 13, 20);
	assert_true(ep_eq(&x->refused_peer, &client) && ep_eq(&x->refused_to, &x->bound_ep));
	x->service = udp_sock(&x->service_ep.addr, x->service_ep.port, NULL);
	send_to(x, fd, &x->bound_ep, 4, 2);
	(void)expect(x, x->service, 4, 2);
	assert_int_equal(x->socks, 1);
	close(fd);
}

/* A client that has gone: what is still sent to it vanishes as well. */
static void test_client_gone(void **state)
{
	struct fix *x = *state;
	struct ep client, seen;
	int fd = udp_sock(&addr_loopback4, 0, &client), fd2 = udp_sock(&addr_loopback4, 0, NULL);

	send_to(x, fd, &x->bound_ep, 3, 1);
	seen = expect(x, x->service, 3, 1);
	close(fd);
	for (unsigned i = 0; i < 10; i++)
		send_to(x, x->service, &seen, 3, 2);
	settle(x);
	send_to(x, fd2, &x->bound_ep, 3, 3);
	(void)expect(x, x->service, 3, 3);
	close(fd2);
}

static void forward(struct fix *x, uint64_t seconds)
{
	x->loop.now_ns += seconds * NSEC_PER_SEC;
	timers_run(&x->loop.timers, x->loop.now_ns);
}

static void test_idle(void **state)
{
	struct fix *x = *state;
	unsigned fds;
	struct ep seen;
	int fd = udp_sock(&addr_loopback4, 0, NULL), fd2 = udp_sock(&addr_loopback4, 0, NULL);

	fds = fds_open();
	send_to(x, fd, &x->bound_ep, 3, 1);
	seen = expect(x, x->service, 3, 1);
	send_to(x, x->service, &seen, 3, 1);
	(void)expect(x, fd, 3, 1);
	send_to(x, fd2, &x->bound_ep, 3, 2);
	(void)expect(x, x->service, 3, 2);
	assert_int_equal(udp_splice_stats(x->u)->now, 2);
	assert_int_equal(fds_open(), fds + 2);
	/* The loop's clock stands still from here. */
	forward(x, 29);
	assert_int_equal(udp_splice_stats(x->u)->now, 2);
	forward(x, 2);
	assert_int_equal(udp_splice_stats(x->u)->now, 1);
	forward(x, 148);
	assert_int_equal(udp_splice_stats(x->u)->now, 1);
	forward(x, 3);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	assert_int_equal(fds_open(), fds);
	assert_int_equal(x->loop.timers.armed, 0);
	close(fd);
	close(fd2);
}

/* A peer without an answer does not live longer because another had one; and the time-outs are those that were asked for. */
static void test_idle_short(void **state)
{
	struct fix *x = *state;
	struct ep seen;
	int fd = udp_sock(&addr_loopback4, 0, NULL), fd2 = udp_sock(&addr_loopback4, 0, NULL);

	send_to(x, fd, &x->bound_ep, 3, 1);
	seen = expect(x, x->service, 3, 1);
	send_to(x, x->service, &seen, 3, 1);
	(void)expect(x, fd, 3, 1);
	forward(x, 8); /* it was armed for the first datagram, and is now for the answer */
	send_to(x, fd2, &x->bound_ep, 3, 2);
	(void)expect(x, x->service, 3, 2);
	assert_int_equal(udp_splice_stats(x->u)->now, 2);
	forward(x, 6);
	assert_int_equal(udp_splice_stats(x->u)->now, 2);
	forward(x, 3);
	assert_int_equal(udp_splice_stats(x->u)->now, 1);
	forward(x, 100);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	close(fd);
	close(fd2);
}

/* The one that is missed least makes room: without an answer, then idle for longest. */
static void test_table_full(void **state)
{
	struct fix *x = *state;
	struct ep seen[5];
	int fd[5];

	for (unsigned i = 0; i < 5; i++) {
		fd[i] = udp_sock(&addr_loopback4, 0, NULL);
		send_to(x, fd[i], &x->bound_ep, 3, (uint8_t)i);
		seen[i] = expect(x, x->service, 3, (uint8_t)i);
		if (i == 0) {
			send_to(x, x->service, &seen[i], 3, 50);
			(void)expect(x, fd[i], 3, 50);
		}
	}
	assert_int_equal(udp_splice_stats(x->u)->now, 3);
	for (unsigned i = 0; i < 5; i++)
		send_to(x, x->service, &seen[i], 3, (uint8_t)i);
	for (unsigned i = 0; i < 5; i++) {
		if (i == 1 || i == 2)
			expect_nothing(x, fd[i]);
		else
			(void)expect(x, fd[i], 3, (uint8_t)i);
		close(fd[i]);
	}
}

static void test_no_socket(void **state)
{
	struct fix *x = *state;
	int fd = udp_sock(&addr_loopback4, 0, NULL);

	x->sock_err = -EMFILE;
	send_to(x, fd, &x->bound_ep, 3, 1);
	expect_nothing(x, x->service);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	assert_int_equal(udp_splice_stats(x->u)->lost, 1);
	x->sock_err = 0;
	send_to(x, fd, &x->bound_ep, 3, 2);
	(void)expect(x, x->service, 3, 2);
	assert_int_equal(x->socks, 2);
	close(fd);
}

/* Somebody takes the connection of a peer's socket away. */
static void test_cut_off(void **state)
{
	struct fix *x = *state;
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = udp_sock(&addr_loopback4, 0, NULL);

	send_to(x, fd, &x->bound_ep, 3, 1);
	(void)expect(x, x->service, 3, 1);
	assert_int_equal(connect(x->sock, &none, sizeof(none)), 0);
	send_to(x, fd, &x->bound_ep, 3, 2);
	settle(x);
	assert_int_equal(udp_splice_stats(x->u)->lost, 1);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	send_to(x, fd, &x->bound_ep, 3, 3);
	(void)expect(x, x->service, 3, 3);
	close(fd);
}

/* Datagrams of many peers wait for sockets, and none is lost or overtakes another. */
static void test_socket_later(void **state)
{
	enum { PEERS = 20, EACH = 3 };
	struct fix *x = *state;
	int fd[PEERS];

	x->sock_err = -EAGAIN;
	for (unsigned i = 0; i < PEERS; i++)
		fd[i] = udp_sock(&addr_loopback4, 0, NULL);
	for (uint8_t k = 0; k < EACH; k++) {
		for (unsigned i = 0; i < PEERS; i++)
			send_to(x, fd[i], &x->bound_ep, k ? 100 : 0, k);
	}
	expect_nothing(x, x->service);
	udp_splice_retry(x->u, 0);
	udp_splice_retry(x->u, AF_INET6);
	expect_nothing(x, x->service);
	assert_int_equal(udp_splice_stats(x->u)->now, PEERS);
	assert_int_equal(udp_splice_stats(x->u)->held, PEERS * EACH);

	x->sock_err = 0;
	udp_splice_retry(x->u, 0);
	for (uint8_t k = 0; k < EACH; k++) {
		for (unsigned i = 0; i < PEERS; i++)
			(void)expect(x, x->service, k ? 100 : 0, k);
	}
	assert_int_equal(udp_splice_stats(x->u)->lost, 0);
	for (unsigned i = 0; i < PEERS; i++) {
		struct ep from;

		send_to(x, fd[i], &x->bound_ep, 5, 9);
		from = expect(x, x->service, 5, 9);
		send_to(x, x->service, &from, 6, 8);
		(void)expect(x, fd[i], 6, 8);
		close(fd[i]);
	}
}

static void send_several(struct fix *x, int fd, size_t len, uint16_t seg, uint8_t with)
{
	int size = seg;

	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
	send_to(x, fd, &x->bound_ep, len, with);
	size = 0;
	assert_int_equal(setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size)), 0);
}

/* What the kernel has in one piece is datagrams all the same, be they sent at once or held. */
static void test_superframes(void **state)
{
	struct fix *x = *state;
	int fd = udp_sock(&addr_loopback4, 0, NULL), fd2 = udp_sock(&addr_loopback4, 0, NULL), gro = 0;
	socklen_t len = sizeof(gro);

	/* The first tells that there are many. */
	for (uint8_t k = 0; k < 4; k++) {
		send_several(x, fd, 20 * 1000 + k, 1000, k);
		for (unsigned i = 0; i < 20; i++)
			(void)expect(x, x->service, 1000, k);
		if (k)
			(void)expect(x, x->service, k, k);
		assert_int_equal(getsockopt(x->bound, IPPROTO_UDP, UDP_GRO, &gro, &len), 0);
		assert_int_equal(gro, 1);
	}
	x->sock_err = -EAGAIN;
	send_several(x, fd2, 9500, 1000, 5);
	send_to(x, fd2, &x->bound_ep, 0, 0);
	settle(x);
	assert_int_equal(udp_splice_stats(x->u)->held, 11);
	x->sock_err = 0;
	udp_splice_retry(x->u, 0);
	for (unsigned i = 0; i < 9; i++)
		(void)expect(x, x->service, 1000, 5);
	(void)expect(x, x->service, 500, 5);
	(void)expect(x, x->service, 0, 0);
	assert_int_equal(udp_splice_stats(x->u)->out, 4 * 20 + 3 + 11);
	assert_int_equal(udp_splice_stats(x->u)->lost, 0);
	close(fd);
	close(fd2);
}

/* They wait in vain: lost, and the next one asks again. So does one whose peer is gone. */
static void test_socket_never(void **state)
{
	struct fix *x = *state;
	int fd = udp_sock(&addr_loopback4, 0, NULL);

	x->sock_err = -EAGAIN;
	send_to(x, fd, &x->bound_ep, 3, 1);
	settle(x);
	udp_splice_retry(x->u, AF_INET);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	assert_int_equal(udp_splice_stats(x->u)->lost, 1);
	send_to(x, fd, &x->bound_ep, 3, 2);
	settle(x);
	x->sock_err = -EMFILE;
	udp_splice_retry(x->u, 0);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	assert_int_equal(udp_splice_stats(x->u)->lost, 2);
	x->sock_err = -EAGAIN;
	send_to(x, fd, &x->bound_ep, 3, 3);
	settle(x);
	udp_splice_remove(x->u, x->id);
	x->sock_err = 0;
	udp_splice_retry(x->u, 0);
	assert_int_equal(udp_splice_stats(x->u)->lost, 3);
	expect_nothing(x, x->service);
	close(fd);
}

/* What there is no room for is lost, and it alone. */
static void test_socket_too_late(void **state)
{
	struct fix *x = *state;
	int fd = udp_sock(&addr_loopback4, 0, NULL);
	const struct udp_splice_stats *s = udp_splice_stats(x->u);

	x->sock_err = -EAGAIN;
	for (uint8_t i = 0; i < 12; i++) {
		send_to(x, fd, &x->bound_ep, 65000, i);
		settle(x);
	}
	send_to(x, fd, &x->bound_ep, 1, 77);
	settle(x);
	assert_int_equal(s->held, UDP_HOLD_BYTES / 65000 + 1);
	assert_int_equal(s->held + s->lost, 13);
	x->sock_err = 0;
	udp_splice_retry(x->u, 0);
	/* The service's own buffer may be smaller. */
	assert_int_equal(s->out, s->held);
	(void)expect(x, x->service, 65000, 0);
	(void)expect(x, x->service, 65000, 1);
	close(fd);
}

/* Somebody else reads the bound socket; answers leave from it all the same. */
static void test_feed(void **state)
{
	struct fix *x = *state;
	struct ep seen, from;
	struct udp_splice_path path = { .local = addr_loopback4 };
	int fd = udp_sock(&addr_loopback4, 0, &path.peer);

	add_port(x, false, false);
	send_to(x, fd, &x->bound_ep, 3, 1);
	settle(x);
	assert_int_equal(recv(x->bound, x->buf, sizeof(x->buf), MSG_DONTWAIT), 3);
	udp_splice_feed(x->u, x->id, &path, &(struct iovec){ x->buf, 3 }, 1);
	seen = expect(x, x->service, 3, 1);
	udp_splice_feed(x->u, x->id, &path, &(struct iovec){ x->buf, 0 }, 1);
	(void)expect(x, x->service, 0, 0);
	udp_splice_feed(x->u, x->id, &path, (struct iovec[]){ { x->buf, 3 }, { x->buf, 3 }, { x->buf, 2 }, { x->buf, 0 } }, 4);
	for (unsigned i = 0; i < 4; i++)
		(void)expect(x, x->service, i < 2 ? 3 : i == 2 ? 2 : 0, 1);
	send_to(x, x->service, &seen, 9, 4);
	from = expect(x, fd, 9, 4);
	assert_true(ep_eq(&from, &x->bound_ep));
	udp_splice_remove(x->u, x->id);
	udp_splice_feed(x->u, x->id, &path, &(struct iovec){ x->buf, 3 }, 1);
	expect_nothing(x, x->service);
	close(fd);
}

static void test_remove(void **state)
{
	struct fix *x = *state;
	unsigned fds = fds_open();
	uint16_t first = x->id;
	int fd = udp_sock(&addr_loopback4, 0, NULL);

	for (unsigned i = 0; i < 3; i++) {
		send_to(x, fd, &x->bound_ep, 3, 1);
		(void)expect(x, x->service, 3, 1);
		assert_int_equal(udp_splice_stats(x->u)->now, 1);
		udp_splice_remove(x->u, x->id);
		udp_splice_remove(x->u, x->id);
		assert_int_equal(udp_splice_read(x->u, x->id), 0); /* an event that was on its way */
		loop_del(&x->loop, x->bound);
		assert_int_equal(udp_splice_stats(x->u)->now, 0);
		send_to(x, fd, &x->bound_ep, 3, 9);
		expect_nothing(x, x->service);
		assert_int_equal(recv(x->bound, x->buf, sizeof(x->buf), MSG_DONTWAIT), 3);
		add_port(x, true, false);
		assert_int_equal(x->id, first); /* the number is used again */
	}
	close(fd);
	assert_int_equal(fds_open(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_there_and_back, setup_any, teardown),
		cmocka_unit_test_setup_teardown(test_there_and_back, setup6, teardown),
		cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_source_port, setup_any, teardown),
		cmocka_unit_test_setup_teardown(test_source_port_of_the_service, setup_any, teardown),
		cmocka_unit_test_setup_teardown(test_source_address, setup_any, teardown),
		cmocka_unit_test_setup_teardown(test_dual, setup_bare, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup6, teardown),
		cmocka_unit_test_setup_teardown(test_client_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle_short, setup_short, teardown),
		cmocka_unit_test_setup_teardown(test_table_full, setup_few, teardown),
		cmocka_unit_test_setup_teardown(test_no_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_later, setup, teardown),
		cmocka_unit_test_setup_teardown(test_superframes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_never, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket_too_late, setup, teardown),
		cmocka_unit_test_setup_teardown(test_feed, setup_bare, teardown),
		cmocka_unit_test_setup_teardown(test_remove, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
