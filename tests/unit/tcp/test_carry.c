/* SPDX-License-Identifier: MIT */
/* Hop limit and type of service of the guest's segments on the socket, and where a SYN with a low hop limit ended. */
#include <errno.h>
#include <time.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/icmp.h"
#include "wire/ip.h"
#include "world.h"

/* The options as the socket has them; -1: never set. */
static void assert_opts(const struct world *w, int ttl, int tos, int recverr)
{
	const struct fake_fd *f = fake_fd(w->s->fd);
	bool v6 = w->conf.v6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;

	assert_int_equal(fake_opt(f, level, v6 ? IPV6_UNICAST_HOPS : IP_TTL, -1), ttl);
	assert_int_equal(fake_opt(f, level, v6 ? IPV6_TCLASS : IP_TOS, -1), tos);
	assert_int_equal(fake_opt(f, level, v6 ? IPV6_RECVERR : IP_RECVERR, -1), recverr);
}

static void syn(struct world *w, uint8_t ttl, uint8_t tos)
{
	struct gseg s = { .h = { .flags = TCP_SYN, .seq = w->iss, .window = w->window }, .ttl = ttl, .tos = tos };

	world_put(w, &s, 1);
	w->seq = w->iss + 1;
	w->s = fake_stream_last();
}

static void data(struct world *w, uint8_t ttl, uint8_t tos, size_t len)
{
	struct gseg s = {
		.h = { .flags = TCP_ACK, .seq = w->seq, .ack = w->ack, .window = w->window },
		.data = "abcd",
		.len = len,
		.ttl = ttl,
		.tos = tos,
	};

	w->seq += (uint32_t)len;
	world_put(w, &s, 1);
	world_settle(w);
}

static void connected(struct world *w)
{
	struct seen a;

	fake_stream_connected(w->s);
	world_settle(w);
	assert_true(world_take(w, &a));
	assert_int_equal(a.h.flags, TCP_SYN | TCP_ACK);
	w->ack = a.h.seq + 1;
	conn_send(w, TCP_ACK, NULL, 0);
	world_settle(w);
	world_clear(w);
}

/* Of what a SYN carries, only what is not usual. ECN bits are no part of it. */
static void test_syn(void **state)
{
	static const struct {
		uint8_t ttl, tos;
		int want_ttl, want_tos, want_recverr;
	} tab[] = {
		{ 64, 0, -1, -1, -1 },        { 64, 3, -1, -1, -1 }, { 255, 0, 255, -1, -1 },
		{ 128, 0xb9, 128, 0xb8, -1 }, { 63, 0, 63, -1, 1 },  { 1, 0x20, 1, 0x20, 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab) * 2; i++) {
		unsigned c = i / 2;
		struct world w;

		world_init(&w, &(struct world_conf){ .v6 = i & 1 });
		syn(&w, tab[c].ttl, tab[c].tos);
		assert_opts(&w, tab[c].want_ttl, tab[c].want_tos, tab[c].want_recverr);
		connected(&w);
		/* Errors on the way do not end a connection. */
		assert_opts(&w, tab[c].want_ttl, tab[c].want_tos, tab[c].want_recverr < 0 ? -1 : 0);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Those of data, of connections that either side has opened, and a call only for what changes. */
static void test_data(void **state)
{
	static const struct {
		uint8_t ttl, tos;
		size_t len;
		unsigned calls;
		int want_ttl, want_tos;
	} steps[] = {
		{ 64, 0, 4, 0, -1, -1 },      { 64, 0xb8, 0, 0, -1, -1 },     { 64, 0xb8, 4, 1, -1, 0xb8 },
		{ 64, 0xbb, 4, 0, -1, 0xb8 }, { 255, 0xb8, 4, 1, 255, 0xb8 }, { 255, 0xb8, 4, 0, 255, 0xb8 },
		{ 64, 0, 4, 2, 64, 0 },
	};

	for (unsigned i = 0; i < 4; i++) {
		struct world w;

		world_init(&w, &(struct world_conf){ .v6 = i & 1 });
		conn_open(&w, i & 2);
		/* TCP_NODELAY is set by the second one. */
		data(&w, IP_TTL_DEFAULT, 0, 4);
		data(&w, IP_TTL_DEFAULT, 0, 4);
		for (size_t k = 0; k < ARRAY_SIZE(steps); k++) {
			unsigned calls = fake_os.calls[FAKE_SETOPT];

			data(&w, steps[k].ttl, steps[k].tos, steps[k].len);
			assert_int_equal(fake_os.calls[FAKE_SETOPT] - calls, steps[k].calls);
			assert_opts(&w, steps[k].want_ttl, steps[k].want_tos, -1);
		}
		world_clear(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* All segments of a connection from the host are marked as its SYN was, which its socket is asked for once, and not more about. */
static void test_accepted(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		bool v6 = i & 1, untold = i & 2;
		unsigned calls;
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ .v6 = v6 });
		w.g.port = 80;
		w.s = fake_stream_arrive(w.listener.fd, &w.r);
		w.s->tos = 0xbb;
		if (untold)
			fake_fail(FAKE_GETOPT, -1, EOPNOTSUPP, 0, 1);
		calls = fake_os.calls[FAKE_GETOPT];
		world_settle(&w);
		assert_int_equal(fake_os.calls[FAKE_GETOPT] - calls, 1);
		assert_int_equal(fake_opt(fake_fd(w.s->fd), SOL_IPV6, IPV6_RECVTCLASS, 0), 0);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.flags, TCP_SYN);
		assert_int_equal(a.tos, untold ? 0 : 0xb8);
		world_wait(&w, 2 * NSEC_PER_SEC);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.tos, untold ? 0 : 0xb8);
		w.ack = a.h.seq + 1;
		conn_kill(&w);
		world_fini(&w);
	}
}

/* The router reports it, not we; whether the kernel gives up by that or would go on trying. */
static void test_ends_on_the_way(void **state)
{
	const struct addr router[] = { ADDR4_INIT(198, 51, 100, 1), { .b = { 0x20, 1, 0xd, 0xb8, [15] = 1 } } };

	for (unsigned i = 0; i < 4; i++) {
		bool v6 = i & 1, soft = i & 2;
		struct sock_err e = {
			.err = EHOSTUNREACH,
			.origin = v6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP,
			.type = v6 ? ICMP6_TIME_EXCEEDED : ICMP4_TIME_EXCEEDED,
			.has_from = true,
			.from = router[v6],
		};
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ .v6 = v6 });
		syn(&w, 2, 0);
		conn_expect_none(&w);
		fake_dgram_error(w.s->fd, &e, "the SYN", 7);
		fake_fd(w.s->fd)->pending = true;
		if (soft)
			fake_fd(w.s->fd)->so_error = 0;
		world_settle(&w);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.proto, v6 ? PROTO_ICMP6 : PROTO_ICMP);
		assert_int_equal(a.icmp_type, e.type);
		assert_true(addr_eq(&a.src, &router[v6]));
		assert_true(addr_eq(&a.quoted_src, &w.g.addr) && addr_eq(&a.quoted_dst, &w.r.addr));
		assert_int_equal(a.quoted.sport, w.g.port);
		assert_int_equal(a.quoted.dport, w.r.port);
		assert_int_equal(a.quoted.seq, w.iss);
		conn_expect_none(&w);
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

/* A refusal by RST, or by the host itself, is what it is without a hop limit. */
static void test_refused(void **state)
{
	for (unsigned i = 0; i < 4; i++) {
		bool v6 = i & 1, rst = i & 2;
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ .v6 = v6 });
		syn(&w, 3, 0);
		fake_stream_fail(w.s, rst ? ECONNREFUSED : EHOSTUNREACH);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		if (rst)
			assert_int_equal(a.h.flags, TCP_RST | TCP_ACK);
		else
			assert_int_equal(a.icmp_type, v6 ? ICMP6_UNREACH : ICMP4_UNREACH);
		conn_expect_none(&w);
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

/* What can't be set costs nothing but a warning. */
static void test_not_set(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ 0 });
	fake_fail(FAKE_SETOPT, -1, EPERM, 2, 1); /* behind those that every socket gets */
	syn(&w, 200, 0);
	connected(&w);
	data(&w, 200, 0, 4);
	assert_opts(&w, -1, -1, -1);
	world_clear(&w);
	conn_kill(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syn),      cmocka_unit_test(test_data),
		cmocka_unit_test(test_accepted), cmocka_unit_test(test_ends_on_the_way),
		cmocka_unit_test(test_refused),  cmocka_unit_test(test_not_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
