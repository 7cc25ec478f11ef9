/* SPDX-License-Identifier: MIT */
#include "icmp_world.h"

#include <errno.h>
#include <linux/errqueue.h>

/* An error about the last request that was sent, as the network quotes it: with the identifier of the socket. */
static void network_error(const struct sock_err *e, size_t quoted)
{
	const struct fake_dgram *d = fake_sent(fake_os.n_sent - 1);
	struct fake_fd *f = fake_fd(d->fd);
	uint16_t csum;
	uint8_t msg[1500];

	assert_true(d->len <= sizeof(msg));
	memcpy(msg, d->data, d->len);
	msg[4] = (uint8_t)(f->local.port >> 8);
	msg[5] = (uint8_t)f->local.port;
	msg[2] = msg[3] = 0;
	csum = net_csum(NULL, NULL, 0, msg, d->len);
	msg[2] = (uint8_t)(csum >> 8);
	msg[3] = (uint8_t)csum;
	fake_dgram_error(d->fd, e, msg, MIN(quoted, d->len));
}

static void expect_error(struct world *w, size_t i, const struct net_family *a, const struct addr *from, uint16_t id, uint16_t seq)
{
	net_seen(&w->net, i, &w->seen);
	assert_int_equal(w->seen.proto, a->v4 ? 1 : 58);
	assert_true(addr_eq(&w->seen.src, from));
	assert_true(addr_eq(&w->seen.dst, &a->guest));
	net_seen_quote(&w->seen, &w->quote);
	assert_int_equal(w->quote.proto, a->v4 ? 1 : 58);
	assert_true(addr_eq(&w->quote.src, &a->guest));
	assert_true(addr_eq(&w->quote.dst, &a->peer));
	assert_int_equal(w->quote.type, a->v4 ? 8 : 128);
	assert_int_equal(w->quote.echo_id, id);
	assert_int_equal(w->quote.seq, seq);
}

static void icmp_errors(void **state)
{
	static const struct {
		bool v4;
		struct sock_err e;
		uint32_t info;
	} cases[] = {
		{ true, { .err = EHOSTUNREACH, .type = 11, .code = 0 }, 0 },
		{ true, { .err = EHOSTUNREACH, .type = 3, .code = 1 }, 0 },
		{ true, { .err = EMSGSIZE, .type = 3, .code = 4, .info = 1400 }, 1400 },
		{ true, { .err = EPROTO, .type = 12, .code = 0, .info = 1 }, UINT32_C(1) << 24 },
		{ false, { .err = EHOSTUNREACH, .type = 3, .code = 0, .info = 77 }, 0 },
		{ false, { .err = ENETUNREACH, .type = 1, .code = 0 }, 0 },
		{ false, { .err = EMSGSIZE, .type = 2, .code = 0, .info = 1280 }, 1280 },
		{ false, { .err = EPROTO, .type = 4, .code = 2, .info = 40 }, 40 },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		const struct net_family *a = &net_families[!cases[i / 2].v4];
		struct sock_err e = cases[i / 2].e;
		uint16_t id = 7;

		/* Every other time the identifier is not that of the socket. */
		if (i % 2)
			fake_fail(FAKE_BIND, -1, EADDRINUSE, 0, 1);
		world_ping(w, &a->guest, &a->peer, id, (uint16_t)(i + 3), NULL);
		assert_true((fake_fd_nth(0)->local.port == id) == !(i % 2));
		e.origin = a->v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
		e.has_from = true;
		e.from = a->router;
		network_error(&e, 1000);
		world_settle(w);
		assert_int_equal(w->net.fl.frames, 1);
		expect_error(w, 0, a, &a->router, id, (uint16_t)(i + 3));
		assert_int_equal(w->seen.type, e.type);
		assert_int_equal(w->seen.code, e.code);
		assert_int_equal(w->seen.info, cases[i / 2].info);
		/* The checksum went with the identifier. */
		assert_int_equal(net_csum(NULL, NULL, 0, w->quote.l4, w->quote.l4_len), 0);
		fake_link_clear(&w->net.fl);
		fake_loop_advance(&w->net.loop, 70 * NSEC_PER_SEC);
	}
}

static void sparse_entries(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[1];
	struct sock_err e = { .err = EHOSTUNREACH, .origin = SO_EE_ORIGIN_ICMP6, .type = 1, .code = 3 };

	world_ping(w, &a->guest, &a->peer, 7, 42, NULL);
	network_error(&e, 0);
	network_error(&e, 7);
	network_error(&e, 8);
	e.origin = SO_EE_ORIGIN_LOCAL;
	network_error(&e, 100);
	e = (struct sock_err){ .err = EPROTO, .origin = SO_EE_ORIGIN_ICMP6, .type = 0 };
	network_error(&e, 100);
	e.type = 5;
	network_error(&e, 100);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 3);
	for (unsigned i = 0; i < 3; i++)
		expect_error(w, i, a, &a->peer, 7, 42);
	fake_fd_nth(0)->so_error = EHOSTUNREACH;
	assert_int_equal(fake_loop_settle(&w->net.loop, 10), 1);
}

static void ping_forbidden(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < 20; i++) {
		const struct net_family *a = &net_families[i % 2];

		fake_fail(FAKE_OPEN, -1, i % 3 ? EACCES : EPERM, 0, 1);
		world_ping(w, &a->guest, &a->peer, (uint16_t)(7 + i), 1, NULL);
		assert_int_equal(flow_count(w->net.flows), 0);
	}
	assert_int_equal(w->warnings, 1);
	assert_non_null(strstr(w->warning, "net.ipv4.ping_group_range"));
	assert_int_equal(w->net.fl.frames, 0);
	/* Once it is allowed, it works. */
	world_ping(w, &net_families[0].guest, &net_families[0].peer, 7, 1, NULL);
	assert_int_equal(fake_os.n_sent, 1);
}

static void no_descriptors(void **state)
{
	static const enum fake_call calls[] = { FAKE_OPEN, FAKE_SETOPT, FAKE_CONNECT, FAKE_EPOLL_ADD };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		fake_fail(calls[i], -1, ENOMEM, 0, 1);
		world_ping(w, &net_families[0].guest, &net_families[0].peer, 7, 1, NULL);
		assert_int_equal(flow_count(w->net.flows), 0);
		assert_int_equal(fake_open_count(), 0);
		assert_int_equal(w->warnings, i + 1);
	}
}

static void send_errors(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct sock_err e = { .err = EHOSTUNREACH, .type = a->v4 ? 11 : 3, .has_from = true, .from = a->router };

		/* At connect() and at send(): our own message, about the request itself. */
		fake_fail(FAKE_CONNECT, -1, ENETUNREACH, 0, 1);
		world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
		expect_error(w, 0, a, &a->our, 7, 1);
		assert_int_equal(w->seen.type, a->v4 ? 3 : 1);
		assert_int_equal(w->seen.code, 0);
		fake_fail(FAKE_SENDMMSG, -1, EHOSTUNREACH, 0, 1);
		world_ping(w, &a->guest, &a->peer, 7, 2, NULL);
		expect_error(w, 1, a, &a->our, 7, 2);
		assert_int_equal(w->seen.code, a->v4 ? 1 : 3);
		/* The next one is to have a socket of another source address, if need be. */
		assert_int_equal(fake_open_count(), k);

		/* One that was pending: told, and the request sent. */
		world_ping(w, &a->guest, &a->peer, 7, 3, NULL);
		e.origin = a->v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
		network_error(&e, 100);
		world_ping(w, &a->guest, &a->peer, 7, 4, NULL);
		assert_int_equal(fake_os.n_sent, 2);
		expect_error(w, 2, a, &a->router, 7, 3);
		assert_int_equal(w->net.fl.frames, 3);

		/* Too long for the path. */
		fake_fd_nth(k)->pmtu = 20;
		fake_opt_set(fake_fd_nth(k), a->v4 ? IPPROTO_IP : IPPROTO_IPV6, a->v4 ? IP_MTU : IPV6_MTU, 1280);
		world_ping(w, &a->guest, &a->peer, 7, 5, NULL);
		expect_error(w, 3, a, &a->our, 7, 5);
		assert_int_equal(w->seen.type, a->v4 ? 3 : 2);
		assert_int_equal(w->seen.info, 1280);

		/* A full buffer says nothing. */
		fake_fd_nth(k)->pmtu = 0;
		fake_fd_nth(k)->room = 0;
		world_ping(w, &a->guest, &a->peer, 7, 6, NULL);
		assert_int_equal(w->net.fl.frames, 4);
		fake_link_clear(&w->net.fl);
		fake_sent_clear();
	}
	assert_int_equal(w->warnings, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(icmp_errors), T(sparse_entries), T(ping_forbidden), T(no_descriptors), T(send_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
