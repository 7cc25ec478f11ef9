/* SPDX-License-Identifier: MIT */
#include "xlate/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "net.h"

static const struct outbound out = { .scope6 = 7, .ttl4 = 64, .ttl6 = 64 };

static struct peer_sock peer_new(const struct addr *to)
{
	struct peer_sock s = { .to = { *to, 6000 } };

	assert_int_equal(sock_open(addr_family(to), SOCK_DGRAM, 17, &s.fd), 0);
	return s;
}

static void test_connect(void **state)
{
	const struct addr broadcast = ADDR4_INIT(255, 255, 255, 255);
	const struct {
		const struct addr *to;
		int err; /* of connect(2) */
		int rc;
		bool connected, broadcast;
		uint8_t ttl;
	} cases[] = {
		{ &net_families[0].peer, 0, 0, true, false, 64 },
		{ &net_families[1].peer, 0, 0, true, false, 64 },
		{ &net_families[0].peer, ENETUNREACH, -ENETUNREACH, false, false, 64 },
		{ &net_families[0].peer, EACCES, 0, false, true, 64 }, /* of a network of the host */
		{ &broadcast, 0, 0, false, true, 64 },
		{ &net_families[0].group, 0, 0, false, false, 1 },
		{ &net_families[1].group, 0, 0, false, false, 1 },
	};

	fake_os_init();
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer_sock s = peer_new(cases[i].to);

		if (cases[i].err)
			fake_fail(FAKE_CONNECT, s.fd, cases[i].err, 0, 1);
		assert_int_equal(peer_connect(&s, &out), cases[i].rc);
		assert_int_equal(s.connected, cases[i].connected);
		assert_int_equal(fake_fd(s.fd)->connected, cases[i].connected);
		assert_int_equal(fake_opt(fake_fd(s.fd), SOL_SOCKET, SO_BROADCAST, 0), cases[i].broadcast);
		assert_int_equal(s.ip.ttl, cases[i].ttl);
		sock_close(s.fd);
	}
	fake_os_fini();
}

static void test_failed(void **state)
{
	static const int passing[] = { ENOBUFS, EAGAIN, EMSGSIZE, EPERM, EACCES, ECONNREFUSED };
	struct peer_sock s = { .connected = true };

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
		peer_failed(&s, passing[i]);
	assert_false(s.stale);
	peer_failed(&s, ENETUNREACH);
	peer_failed(&s, EAGAIN);
	assert_true(s.stale);
	/* One that is not connected chooses its address anew each time. */
	s = (struct peer_sock){ .connected = false };
	peer_failed(&s, ENETUNREACH);
	assert_false(s.stale);
}

static void test_opts(void **state)
{
	const struct {
		const struct addr *to;
		int level, ttl, tos; /* options */
	} cases[] = {
		{ &net_families[0].peer, IPPROTO_IP, IP_TTL, IP_TOS },
		{ &net_families[0].group, IPPROTO_IP, IP_MULTICAST_TTL, IP_TOS },
		{ &net_families[1].peer, IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_TCLASS },
		{ &net_families[1].group, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, IPV6_TCLASS },
	};

	fake_os_init();
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer_sock s = peer_new(cases[i].to);
		struct pkt p = { .ttl = 9, .tos = 0x20 };
		unsigned calls;

		assert_int_equal(peer_connect(&s, &out), 0);
		assert_false(peer_opts_same(&s, &p));
		peer_opts_set(&s, &p);
		assert_true(peer_opts_same(&s, &p));
		assert_int_equal(fake_opt(fake_fd(s.fd), cases[i].level, cases[i].ttl, -1), 9);
		assert_int_equal(fake_opt(fake_fd(s.fd), cases[i].level, cases[i].tos, -1), 0x20);

		assert_int_equal(fake_opt(fake_fd(s.fd), cases[i].level,
					  cases[i].level == IPPROTO_IP ? IP_RECVTTL : IPV6_RECVHOPLIMIT, 0),
				 1);

		/* What it has already costs no call, nor does what can't be set, a second time. */
		calls = fake_os.calls[FAKE_SETOPT];
		peer_opts_set(&s, &p);
		assert_int_equal(fake_os.calls[FAKE_SETOPT], calls);
		p.ttl = 10;
		fake_fail(FAKE_SETOPT, s.fd, EPERM, 0, 1);
		peer_opts_set(&s, &p);
		peer_opts_set(&s, &p);
		assert_int_equal(fake_os.calls[FAKE_SETOPT], calls + 1);
		sock_close(s.fd);
	}
	fake_os_fini();
}

/* Where a new socket has another hop limit than the usual one, or that is not known, the usual one has to be set as well. */
static void test_default_hop_limit(void **state)
{
	static const struct outbound others[] = { { .ttl4 = 64, .ttl6 = 64 },
						  { .ttl4 = 100, .ttl6 = 100 },
						  { .ttl4 = 0, .ttl6 = 0 } };
	const struct pkt p = { .ttl = 64 };

	fake_os_init();
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(others); i++) {
		struct peer_sock s = peer_new(&net_families[i % 2].peer);
		int level = i % 2 ? IPPROTO_IPV6 : IPPROTO_IP, opt = i % 2 ? IPV6_UNICAST_HOPS : IP_TTL;

		assert_int_equal(peer_connect(&s, &others[i / 2]), 0);
		assert_int_equal(peer_opts_same(&s, &p), i / 2 == 0);
		peer_opts_set(&s, &p);
		assert_int_equal(fake_opt(fake_fd(s.fd), level, opt, -1), i / 2 == 0 ? -1 : 64);
		assert_true(peer_opts_same(&s, &p));
		sock_close(s.fd);
	}
	fake_os_fini();
}

/* Nothing for what fits every path; else only when it changes. */
static void test_cuts(void **state)
{
	static const struct {
		uint32_t l4_len;
		bool may_frag;
		bool call;
		int val[2]; /* IP_MTU_DISCOVER, IPV6_MTU_DISCOVER */
	} steps[] = {
		{ 8, false, false, { -1, -1 } },
		{ PEER_ANY_PATH, true, false, { -1, -1 } },
		{ PEER_ANY_PATH + 1, false, true, { IP_PMTUDISC_DO, IPV6_PMTUDISC_DO } },
		{ 1200, false, false, { IP_PMTUDISC_DO, IPV6_PMTUDISC_DO } },
		{ 100, true, false, { IP_PMTUDISC_DO, IPV6_PMTUDISC_DO } },
		{ 5000, true, true, { IP_PMTUDISC_DONT, IPV6_PMTUDISC_WANT } },
		{ 600, true, false, { IP_PMTUDISC_DONT, IPV6_PMTUDISC_WANT } },
		{ 600, false, true, { IP_PMTUDISC_DO, IPV6_PMTUDISC_DO } },
	};

	fake_os_init();
	for (unsigned k = 0; k < 2; k++) {
		struct peer_sock s = peer_new(&net_families[k].peer);
		struct fake_fd *f = fake_fd(s.fd);

		assert_int_equal(peer_connect(&s, &out), 0);
		for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
			struct pkt p = { .ttl = 64, .l4_len = steps[i].l4_len, .may_frag = steps[i].may_frag };
			unsigned calls = fake_os.calls[FAKE_SETOPT];
			int val;

			assert_int_equal(peer_opts_same(&s, &p), !steps[i].call);
			peer_opts_set(&s, &p);
			assert_true(peer_opts_same(&s, &p));
			assert_int_equal(fake_os.calls[FAKE_SETOPT] - calls, steps[i].call);
			val = k ? fake_opt(f, IPPROTO_IPV6, IPV6_MTU_DISCOVER, -1) : fake_opt(f, IPPROTO_IP, IP_MTU_DISCOVER, -1);
			assert_int_equal(val, steps[i].val[k]);
		}
		sock_close(s.fd);
	}
	fake_os_fini();
}

static void test_mtu(void **state)
{
	fake_os_init();
	for (unsigned k = 0; k < 2; k++) {
		struct peer_sock s = peer_new(&net_families[k].peer);

		fake_opt_set(fake_fd(s.fd), k ? IPPROTO_IPV6 : IPPROTO_IP, k ? IPV6_MTU : IP_MTU, 1400);
		assert_int_equal(peer_path_mtu(&s), 1400);
		fake_fail(FAKE_GETOPT, s.fd, ENOTCONN, 0, 1);
		assert_int_equal(peer_path_mtu(&s), 0);
		sock_close(s.fd);
	}
	fake_os_fini();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connect),           cmocka_unit_test(test_failed), cmocka_unit_test(test_opts),
		cmocka_unit_test(test_default_hop_limit), cmocka_unit_test(test_cuts),   cmocka_unit_test(test_mtu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
