/* SPDX-License-Identifier: MIT */
#include "icmp_world.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

static void round_trip(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct fake_fd *f;

		for (uint16_t seq = 1; seq <= 3; seq++) {
			world_ping(w, &a->guest, &a->peer, 0x1234, seq, NULL);
			world_reply(w, &a->peer);
			world_settle(w);
			world_expect(w, k * 3 + seq - 1u, &a->peer, &a->guest, 0x1234, seq);
			assert_int_equal(w->seen.ttl, 64);
		}
		/* One socket, with the guest's identifier, connected, that reports errors. */
		assert_int_equal(fake_open_count(), k + 1);
		f = fake_fd_nth(k);
		assert_int_equal(f->family, a->v4 ? AF_INET : AF_INET6);
		assert_int_equal(f->type, SOCK_DGRAM);
		assert_int_equal(f->proto, a->v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
		assert_int_equal(f->local.port, 0x1234);
		assert_true(f->connected);
		assert_true(addr_eq(&f->peer.addr, &a->peer));
		assert_int_equal(fake_opt(f, a->v4 ? IPPROTO_IP : IPPROTO_IPV6, a->v4 ? IP_RECVERR : IPV6_RECVERR, 0), 1);
		assert_int_equal(f->mask, EPOLLIN);
	}
}

/* Replies take the queue that the last request came by. */
static void queue_of_request(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	for (unsigned queue = 5; queue > 3; queue--) {
		w->net.fl.link.rx_queue = queue;
		world_ping(w, &a->guest, &a->peer, 5, 1, NULL);
		w->net.fl.link.rx_queue = 0;
		world_reply(w, &a->peer);
		world_settle(w);
		assert_int_equal(fake_link_frame(&w->net.fl, w->net.fl.frames - 1)->queue, queue);
	}
	assert_int_equal(w->net.fl.frames, 2);
}

/* A reply comes with the hop limit and the type of service that it had when the host got it. */
static void hops_of_reply(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];

		world_ping(w, &a->guest, &a->peer, 5, 1, NULL);
		world_reply(w, &a->peer);
		fake_dgram_hops(fake_fd_nth(k)->fd, 57, 0x2e);
		world_settle(w);
		world_expect(w, k, &a->peer, &a->guest, 5, 1);
		assert_int_equal(w->seen.ttl, 57);
		assert_int_equal(w->seen.tos, 0x2e);
	}
}

/* The identifier is taken: another one on the host's side, the guest's own towards it. */
static void identifier_taken(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];

		world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
		world_ping(w, &a->guest, &a->peer2, 7, 2, NULL);
		assert_int_equal(fake_open_count(), 2 * k + 2);
		assert_int_not_equal(fake_fd_nth(2 * k + 1)->local.port, 7);
		world_reply(w, &a->peer2);
		world_settle(w);
		world_expect(w, k, &a->peer2, &a->guest, 7, 2);
	}
}

static void identifier_zero(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	world_ping(w, &a->guest, &a->peer, 0, 9, NULL);
	assert_int_not_equal(fake_fd_nth(0)->local.port, 0);
	world_reply(w, &a->peer);
	world_settle(w);
	world_expect(w, 0, &a->peer, &a->guest, 0, 9);
}

static void gateway_is_the_loopback(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];

		world_ping(w, &a->guest, &a->our, 7, 1, NULL);
		assert_true(addr_eq(&fake_fd_nth(k)->peer.addr, &a->loopback));
		world_reply(w, &a->loopback);
		world_settle(w);
		world_expect(w, k, &a->our, &a->guest, 7, 1);
	}
}

/* Our link-local address leads nowhere on the host: the answer is ours. */
static void own_address(void **state)
{
	struct world *w = *state;
	const struct addr *ll = &w->net.nat.our_ll6;

	world_ping(w, &w->net.guest.ll6, ll, 7, 1, NULL);
	world_expect(w, 0, ll, &w->net.guest.ll6, 7, 1);
	assert_int_equal(fake_open_count(), 0);
}

static void hop_limit_is_carried(void **state)
{
	static const uint8_t ttl[] = { 64, 1, 2, 2, 3 };
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		unsigned opts = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(ttl); i++) {
			world_ping(w, &a->guest, &a->peer, 7, 1, &(struct gopt){ .ttl = ttl[i], .tos = 0x10 });
			assert_int_equal(fake_sent(i)->ttl, ttl[i]);
			assert_int_equal(fake_sent(i)->tos, 0x10);
			if (!i)
				opts = fake_os.calls[FAKE_SETOPT];
		}
		assert_int_equal(fake_os.calls[FAKE_SETOPT] - opts, 3);
		fake_sent_clear();
	}
}

static void default_hop_limit_costs_nothing(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
	assert_int_equal(fake_opt(fake_fd_nth(0), IPPROTO_IP, IP_TTL, -1), -1);
	assert_int_equal(fake_opt(fake_fd_nth(0), IPPROTO_IP, IP_TOS, -1), -1);
}

static void only_echo_requests(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		const struct gecho e = { &a->guest, &a->peer, 7, 1 };

		for (unsigned type = 0; type < 256; type++) {
			if (type == (a->v4 ? 8 : 128))
				continue;
			net_echo(&w->g, &e, "x", 1, NULL);
			w->g.p.head[w->g.p.l4] = (uint8_t)type;
			icmp_from_guest(w->icmp, &w->g.p, &w->g.f, 1);
		}
		/* A code that no echo has, a message that is cut, the protocol of the other family, no hops left. */
		net_echo(&w->g, &e, "x", 1, NULL);
		w->g.p.head[w->g.p.l4 + 1] = 1;
		icmp_from_guest(w->icmp, &w->g.p, &w->g.f, 1);
		net_echo(&w->g, &e, "x", 1, NULL);
		w->g.p.l4_len = 7;
		icmp_from_guest(w->icmp, &w->g.p, &w->g.f, 1);
		net_echo(&w->g, &e, "x", 1, NULL);
		w->g.p.proto = a->v4 ? 58 : 1;
		icmp_from_guest(w->icmp, &w->g.p, &w->g.f, 1);
		net_echo(&w->g, &e, "x", 1, NULL);
		w->g.p.ttl = 0;
		icmp_from_guest(w->icmp, &w->g.p, &w->g.f, 1);
	}
	assert_int_equal(fake_os.n_sent, 0);
	assert_int_equal(fake_open_count(), 0);
}

static void martians_are_dropped(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	world_ping(w, &addr_any4, &a->peer, 7, 1, NULL);
	world_ping(w, &addr_loopback4, &a->peer, 7, 1, NULL);
	world_ping(w, &a->group, &a->peer, 7, 1, NULL);
	world_ping(w, &a->guest, &addr_loopback4, 7, 1, NULL);
	world_ping(w, &a->guest, &addr_any4, 7, 1, NULL);
	world_ping(w, &net_families[1].guest, &addr_loopback6, 7, 1, NULL);
	assert_int_equal(fake_open_count(), 0);
	assert_int_equal(w->net.fl.frames, 0);
}

static void large_reply(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		size_t fit = 1500 - (a->v4 ? 28 : 48);
		const size_t len[] = { fit, fit + 1, 8000, 65507 };
		uint32_t id = UINT32_MAX;

		for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
			size_t msg_len = 8 + len[i];
			struct ep from = { .addr = a->peer };
			uint8_t *msg = calloc(1, msg_len);

			world_ping(w, &a->guest, &a->peer, 0x4321, 5, NULL);
			msg[0] = a->v4 ? 0 : 129;
			msg[4] = 0x99;
			msg[7] = 5;
			memset(msg + 8, 'z', len[i] - 1);
			fake_dgram_push(fake_fd_nth(k)->fd, &from, NULL, msg, msg_len);
			world_settle(w);
			if (len[i] <= fit)
				net_seen(&w->net, 0, &w->seen);
			else
				assert_int_equal(net_seen_frags(&w->net, 0, &w->seen), w->net.fl.frames);
			if (len[i] > fit) {
				assert_int_not_equal(w->seen.id, id);
				id = w->seen.id;
			}
			assert_int_equal(w->seen.echo_id, 0x4321);
			assert_int_equal(w->seen.seq, 5);
			assert_int_equal(w->seen.len, len[i]);
			assert_memory_equal(w->seen.body, msg + 8, len[i]);
			fake_link_clear(&w->net.fl);
			free(msg);
		}
	}
}

/* Many answer; each with its own address. */
static void multicast_and_broadcast(void **state)
{
	struct world *w = *state;
	struct addr bcast = ADDR4_INIT(198, 51, 100, 255);

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];

		world_ping(w, &a->guest, &a->group, 7, 1, &(struct gopt){ .ttl = 1 });
		assert_false(fake_fd_nth(k)->connected);
		assert_true(addr_eq(&fake_sent(k)->to.addr, &a->group));
		world_reply(w, &a->peer);
		world_reply(w, &a->peer2);
		world_settle(w);
		world_expect(w, 2 * k, &a->peer, &a->guest, 7, 1);
		world_expect(w, 2 * k + 1, &a->peer2, &a->guest, 7, 1);
	}
	fake_fail(FAKE_CONNECT, -1, EACCES, 0, 1);
	world_ping(w, &net_families[0].guest, &bcast, 8, 1, NULL);
	assert_int_equal(fake_os.n_sent, 3);
	assert_true(addr_eq(&fake_sent(2)->to.addr, &bcast));
	assert_int_equal(fake_opt(fake_fd(fake_sent(2)->fd), SOL_SOCKET, SO_BROADCAST, 0), 1);
}

/* What is no reply, or cut, is not passed on. */
static void odd_replies(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep from = { .addr = a->peer };
	int fd;

	world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
	fd = fake_fd_nth(0)->fd;
	fake_dgram_push(fd, &from, NULL, "\0\0\0\0\0\0\0", 7);
	fake_dgram_push(fd, &from, NULL, "", 0);
	fake_dgram_push(fd, &from, NULL, "\x08\0\0\0\0\0\0\0", 8);
	from.addr = a->group;
	fake_dgram_push(fd, &from, NULL, "\0\0\0\0\0\0\0\0", 8);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 0);
	/* Without payload it is one. */
	from.addr = a->peer;
	fake_dgram_push(fd, &from, NULL, "\0\0\0\0\0\0\0\x05", 8);
	world_settle(w);
	net_seen(&w->net, 0, &w->seen);
	assert_int_equal(w->seen.seq, 5);
	assert_int_equal(w->seen.len, 0);
}

static void time_out_and_share(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct flow_key key = flow_key_init(1, &a->guest, 7, &a->peer, 0);

	world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
	fake_loop_advance(&w->net.loop, 50 * NSEC_PER_SEC);
	world_reply(w, &a->peer);
	world_settle(w);
	fake_loop_advance(&w->net.loop, 58 * NSEC_PER_SEC);
	assert_int_equal(fake_open_count(), 1);
	fake_loop_advance(&w->net.loop, 4 * NSEC_PER_SEC);
	assert_int_equal(fake_open_count(), 0);
	assert_int_equal(w->net.loop.timers.armed, 0);

	/* No more than an eighth of the table: the oldest gives way. */
	for (uint16_t i = 0; i < FLOWS; i++)
		world_ping(w, &a->guest, &a->peer, (uint16_t)(100 + i), 1, NULL);
	assert_int_equal(flow_count(w->net.flows), FLOWS / 8);
	assert_int_equal(fake_open_count(), FLOWS / 8);
	for (unsigned i = 0; i < FLOWS / 8; i++)
		assert_in_range(fake_fd_nth(i)->local.port, 100 + FLOWS - FLOWS / 8, 100 + FLOWS);

	key.gport = 100 + FLOWS - 1;
	icmp_flow_abort(w->icmp, flow_find(w->net.flows, &key));
	assert_null(flow_find(w->net.flows, &key));
}

/* Replies find no room: lost; nothing spins. */
static void full_link(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
	fake_link_room(&w->net.fl, 0);
	world_reply(w, &a->peer);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 0);
	fake_link_room(&w->net.fl, 1);
	world_reply(w, &a->peer);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 1);
}

/* Whoever likes can answer a request to a group, and go on with that: it ends all the same. */
static void strangers_prolong_nothing(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	world_ping(w, &a->guest, &a->group, 7, 1, NULL);
	for (unsigned i = 0; i < 3; i++) {
		world_reply(w, &a->peer);
		world_settle(w);
		assert_int_equal(w->net.fl.frames, i + 1);
		fake_loop_advance(&w->net.loop, (i < 2 ? 29 : 4) * NSEC_PER_SEC);
	}
	assert_int_equal(flow_count(w->net.flows), 0);
}

/* A reply waits while the system has no memory for it, and nobody asks for it all the time. */
static void no_memory(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];

	world_ping(w, &a->guest, &a->peer, 7, 1, NULL);
	fake_fail(FAKE_RECVMMSG, -1, ENOMEM, 0, UINT_MAX);
	world_reply(w, &a->peer);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 0);
	fake_fail(FAKE_RECVMMSG, -1, 0, 0, 0);
	fake_loop_advance(&w->net.loop, 100 * NSEC_PER_MSEC);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(round_trip),
		T(queue_of_request),
		T(hops_of_reply),
		T(identifier_taken),
		T(identifier_zero),
		T(gateway_is_the_loopback),
		T(own_address),
		T(hop_limit_is_carried),
		T(default_hop_limit_costs_nothing),
		T(only_echo_requests),
		T(martians_are_dropped),
		T(large_reply),
		T(multicast_and_broadcast),
		T(odd_replies),
		T(time_out_and_share),
		T(full_link),
		T(strangers_prolong_nothing),
		T(no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
