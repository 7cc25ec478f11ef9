/* SPDX-License-Identifier: MIT */
#include "udp_world.h"

#include <errno.h>

/* Datagrams arrive as the kernel would hand them out; returns the descriptor that got it. */
static int arrive(const struct ep *from, const struct ep *to, const char *payload)
{
	return fake_dgram_route(17, from, to, payload, strlen(payload));
}

static void peer_gets_a_flow(void **state)
{
	struct world *w = *state;
	int lfd[2];

	for (unsigned k = 0; k < 2; k++)
		lfd[k] = world_listen(w, k ? &addr_any6 : &addr_any4, 8000, 80);
	world_listen_start(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), guest = net_ep(&a->guest, 80);
		struct fake_fd *f;

		assert_int_equal(arrive(&peer, &host, "one"), lfd[k]);
		assert_int_equal(arrive(&peer, &host, "two"), lfd[k]);
		assert_int_equal(arrive(&peer, &host, ""), lfd[k]);
		world_settle(w);
		assert_int_equal(w->net.fl.frames, 3);
		world_expect(w, 0, &peer, &guest, "one", 3);
		world_expect(w, 1, &peer, &guest, "two", 3);
		world_expect(w, 2, &peer, &guest, "", 0);

		/* A socket of its own, with the address and port that the peer knows; the listener's port is not up for sharing. */
		f = world_sock(2 + k);
		assert_true(ep_eq(&f->local, &host));
		assert_true(ep_eq(&f->peer, &peer));
		assert_int_equal(fake_opt(fake_fd(lfd[k]), SOL_SOCKET, SO_REUSEADDR, 0), 0);
		assert_int_equal(fake_opt(f, a->v4 ? IPPROTO_IP : IPPROTO_IPV6, a->v4 ? IP_RECVERR : IPV6_RECVERR, 0), 1);

		/* The answer leaves by it, and what the peer sends now arrives by it. */
		world_send(w, &guest, &peer, "reply", 5, NULL);
		assert_int_equal(fake_sent(k)->fd, f->fd);
		assert_true(ep_eq(&fake_sent(k)->to, &peer));
		assert_int_equal(arrive(&peer, &host, "three"), f->fd);
		world_settle(w);
		world_expect(w, 3, &peer, &guest, "three", 5);
		fake_link_clear(&w->net.fl);
	}
	assert_int_equal(flow_count(w->net.flows), 2);
	/* Answered flows last longer. */
	fake_loop_advance(&w->net.loop, 170 * NSEC_PER_SEC);
	assert_int_equal(flow_count(w->net.flows), 2);
	fake_loop_advance(&w->net.loop, 20 * NSEC_PER_SEC);
	assert_int_equal(flow_count(w->net.flows), 0);
}

/* Hop limit and type of service of what a peer sends first, and of what it sends then. */
static void marks_are_passed_on(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++)
		(void)world_listen(w, k ? &addr_any6 : &addr_any4, 8000, 80);
	world_listen_start(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), guest = net_ep(&a->guest, 80);
		static const uint8_t tos[] = { 0xb8, 0, 0x28 };

		for (unsigned i = 0; i < 2 * ARRAY_SIZE(tos); i++) {
			fake_dgram_hops(arrive(&peer, &host, "word"), 57, tos[i % ARRAY_SIZE(tos)]);
			if (i + 1 < ARRAY_SIZE(tos))
				continue; /* the first ones arrive together */
			world_settle(w);
		}
		assert_int_equal(w->net.fl.frames, 2 * ARRAY_SIZE(tos));
		for (unsigned i = 0; i < 2 * ARRAY_SIZE(tos); i++) {
			world_expect(w, i, &peer, &guest, "word", 4);
			assert_int_equal(w->seen.tos, tos[i % ARRAY_SIZE(tos)]);
			assert_int_equal(w->seen.ttl, 57);
		}
		fake_link_clear(&w->net.fl);
	}
}

static void many_peers(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep host = net_ep(&a->guest, 8000), guest = net_ep(&a->guest, 80);
	int lfd = world_listen(w, &addr_any4, 8000, 80);

	world_listen_start(w);
	for (uint16_t i = 0; i < 20; i++) {
		struct ep peer = net_ep(&a->peer, (uint16_t)(6000 + i));

		assert_int_equal(arrive(&peer, &host, "hi"), lfd);
	}
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 20);
	assert_int_equal(fake_open_count(), 21);
	for (uint16_t i = 0; i < 20; i++) {
		struct ep peer = net_ep(&a->peer, (uint16_t)(6000 + i));

		world_expect(w, i, &peer, &guest, "hi", 2);
		world_send(w, &guest, &peer, "yo", 2, NULL);
		assert_true(ep_eq(&fake_sent(i)->to, &peer));
		assert_true(ep_eq(&fake_sent(i)->from, &host));
	}
}

/* Both families on one socket. */
static void dual_stack(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), guest = net_ep(&a->guest, 80);

	world_listen(w, &addr_any6, 8000, 80);
	w->table.rule[0].flags = FWD_DUAL;
	world_listen_start(w);
	fake_dgram_push(w->l[0].fd, &peer, &host, "four", 4);
	world_settle(w);
	world_expect(w, 0, &peer, &guest, "four", 4);
	assert_int_equal(world_sock(1)->family, AF_INET);
	assert_true(ep_eq(&world_sock(1)->local, &host));
}

static void from_loopback(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++)
		world_listen(w, k ? &addr_any6 : &addr_any4, 8000, 80);
	world_listen_start(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep lo = net_ep(&a->loopback, 8000), peer = net_ep(&a->loopback, 6000);
		struct ep seen = net_ep(&a->our, 6000), guest = net_ep(&a->guest, 80);

		arrive(&peer, &lo, "lo");
		world_settle(w);
		world_expect(w, k, &seen, &guest, "lo", 2);
		world_send(w, &guest, &seen, "back", 4, NULL);
		assert_true(ep_eq(&fake_sent(k)->to, &peer));
		assert_true(ep_eq(&fake_sent(k)->from, &lo));
	}
}

/* The usual gateway of IPv6 is a link-local address: then so is that of the guest. */
static void from_loopback_link_local(void **state)
{
	struct world *w = *state;
	struct ep lo = { addr_loopback6, 8000 }, peer = { addr_loopback6, 6000 };
	struct ep seen = { w->net.nat.our_ll6, 6000 }, guest = { w->net.guest.ll6, 80 };

	w->net.nat.v6.our = w->net.nat.v6.map_loopback = w->net.nat.our_ll6;
	world_listen(w, &addr_any6, 8000, 80);
	world_listen_start(w);
	arrive(&peer, &lo, "lo");
	world_settle(w);
	world_expect(w, 0, &seen, &guest, "lo", 2);
}

/* Two peers that look the same to the guest. */
static void alike_peers(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep guest = net_ep(&a->guest, 80), seen = net_ep(&a->our, 6000);
	struct ep host1 = { addr_loopback4, 8000 }, host2 = { ADDR4_INIT(127, 0, 0, 2), 8000 };
	struct ep peer1 = { addr_loopback4, 6000 }, peer2 = { ADDR4_INIT(127, 0, 0, 9), 6000 };

	world_listen(w, &addr_any4, 8000, 80);
	world_listen_start(w);
	arrive(&peer1, &host1, "one");
	arrive(&peer2, &host2, "two");
	world_settle(w);
	world_expect(w, 0, &seen, &guest, "one", 3);
	net_seen(&w->net, 1, &w->seen);
	assert_true(addr_eq(&w->seen.src, &a->our));
	assert_int_not_equal(w->seen.sport, 6000);
	seen.port = w->seen.sport;
	world_send(w, &guest, &seen, "back", 4, NULL);
	assert_true(ep_eq(&fake_sent(0)->to, &peer2));
	assert_true(ep_eq(&fake_sent(0)->from, &host2));
	/* Again: the same port as before. */
	arrive(&peer2, &host2, "three");
	world_settle(w);
	world_expect(w, 2, &seen, &guest, "three", 5);
	assert_int_equal(flow_count(w->net.flows), 2);
}

static void target_and_device(void **state)
{
	struct world *w = *state;
	struct ep host = net_ep(&net_families[0].guest, 8000), peer = net_ep(&net_families[0].peer, 6000);
	struct ep target = { ADDR4_INIT(192, 0, 2, 77), 80 };

	world_listen(w, &addr_any4, 8000, 80);
	w->table.rule[0].flags |= FWD_TARGET;
	w->table.rule[0].target = target.addr;
	strcpy(w->table.rule[0].ifname, "eth3");
	world_listen_start(w);
	arrive(&peer, &host, "x");
	world_settle(w);
	world_expect(w, 0, &peer, &target, "x", 1);
	assert_string_equal(world_sock(1)->dev, "eth3");
}

/* Link-local peers: the interface of the datagram is that of the reply, and the guest's link-local address is the one addressed. */
static void link_local(void **state)
{
	struct world *w = *state;
	struct ep host = { { .b = { 0xfe, 0x80, [15] = 0x55 } }, 8000 }, peer = { { .b = { 0xfe, 0x80, [15] = 0x66 } }, 6000 };
	struct ep guest = { w->net.guest.ll6, 80 };

	world_listen(w, &addr_any6, 8000, 80);
	world_listen_start(w);
	arrive(&peer, &host, "ll");
	world_settle(w);
	world_expect(w, 0, &peer, &guest, "ll", 2);
	assert_int_equal(world_sock(1)->scope, 7); /* as the packet information said */
	assert_true(ep_eq(&world_sock(1)->local, &host));
}

/* Sent to a group: replies can't leave from that. */
static void to_a_group(void **state)
{
	struct world *w = *state;
	struct ep host = net_ep(&net_families[1].group, 8000), peer = net_ep(&net_families[1].peer, 6000);

	world_listen(w, &addr_any6, 8000, 80);
	world_listen_start(w);
	fake_dgram_push(w->l[0].fd, &peer, &host, "all", 3);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 1);
	assert_true(addr_is_any(&world_sock(1)->local.addr));
	assert_int_equal(world_sock(1)->local.port, 8000);
}

/* No socket to be had: the listener's own does it. */
static void through_the_listener(void **state)
{
	static const enum fake_call fails[] = { FAKE_OPEN, FAKE_BIND, FAKE_CONNECT };
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++)
		world_listen(w, k ? &addr_any6 : &addr_any4, 8000, 80);
	world_listen_start(w);
	for (unsigned i = 0; i < 6; i++) {
		const struct net_family *a = &net_families[i % 2];
		struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, (uint16_t)(6000 + i)),
			  guest = net_ep(&a->guest, 80);
		struct pkt p[2];
		struct frame f[2];

		fake_fail(fails[i / 2], -1, EMFILE, 0, 1);
		arrive(&peer, &host, "one");
		world_settle(w);
		assert_int_equal(fake_open_count(), 2);
		world_expect(w, 0, &peer, &guest, "one", 3);
		for (unsigned m = 0; m < 2; m++) {
			net_udp(&w->g[m], &guest, &peer, "back", 4, &(struct gopt){ .ttl = 9 });
			p[m] = w->g[m].p;
			f[m] = w->g[m].f;
		}
		udp_from_guest(w->udp, p, f, 2);
		for (unsigned m = 0; m < 2; m++) {
			assert_int_equal(fake_sent(m)->fd, w->l[i % 2].fd);
			assert_true(ep_eq(&fake_sent(m)->to, &peer));
			assert_true(addr_eq(&fake_sent(m)->pktinfo, &host.addr));
		}
		arrive(&peer, &host, "two");
		world_settle(w);
		world_expect(w, 1, &peer, &guest, "two", 3);
		fake_link_clear(&w->net.fl);
		fake_sent_clear();
	}
	/* Their options are everybody's: left alone. */
	assert_int_equal(fake_opt(fake_fd(w->l[0].fd), IPPROTO_IP, IP_TTL, -1), -1);
	/* They end with the listener. */
	assert_int_equal(flow_count(w->net.flows), 6);
	udp_set_listeners(w->udp, NULL);
	assert_int_equal(flow_count(w->net.flows), 0);
}

static void full_link(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), guest = net_ep(&a->guest, 80);
	int lfd = world_listen(w, &addr_any4, 8000, 80);

	world_listen_start(w);
	fake_link_room(&w->net.fl, 0);
	arrive(&peer, &host, "one");
	assert_in_range(fake_loop_settle(&w->net.loop, 10), 1, 1);
	assert_int_equal(fake_fd(lfd)->mask, 0);
	assert_int_equal(fake_rx_count(lfd), 1);
	fake_link_room(&w->net.fl, 10);
	udp_link_ready(w->udp);
	assert_int_equal(fake_fd(lfd)->mask, EPOLLIN);
	world_settle(w);
	world_expect(w, 0, &peer, &guest, "one", 3);
	/* One that was closed meanwhile. */
	fake_link_room(&w->net.fl, 0);
	peer.port++;
	arrive(&peer, &host, "two");
	world_settle(w);
	loop_del(&w->net.loop, lfd);
	sock_close(lfd);
	w->l[0].fd = -1;
	udp_link_ready(w->udp);
}

/* Between bind() and connect() the new socket gets what was meant for the listener. */
static void slipped_in(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), late = net_ep(&a->peer2, 7000);
	struct ep guest = net_ep(&a->guest, 80);

	world_listen(w, &addr_any4, 8000, 80);
	world_listen_start(w);
	arrive(&peer, &host, "one");
	world_settle(w);
	fake_dgram_push(world_sock(1)->fd, &late, NULL, "late", 4);
	fake_dgram_push(world_sock(1)->fd, &peer, NULL, "two", 3);
	world_settle(w);
	world_expect(w, 1, &late, &guest, "late", 4);
	world_expect(w, 2, &peer, &guest, "two", 3);
	assert_int_equal(flow_count(w->net.flows), 2);
	world_send(w, &guest, &late, "back", 4, NULL);
	assert_true(ep_eq(&fake_sent(0)->from, &host));
	assert_true(ep_eq(&fake_sent(0)->to, &late));
}

/* The same in a full table, where a new flow takes the slot of the one whose socket is just read: nothing is lost or shown as another's. */
static void slipped_in_full_table(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), late = net_ep(&a->peer2, 7000);
	struct ep guest = net_ep(&a->guest, 80), asks = net_ep(&a->guest, 5000), dns = net_ep(&a->peer, 53);
	static const char *const text[] = { "late", "one", "later", "two" };
	unsigned first, full;
	int fd;

	world_listen(w, &addr_any4, 8000, 80);
	world_listen_start(w);
	arrive(&peer, &host, "zero");
	world_settle(w);
	do {
		full = flow_count(w->net.flows);
		asks.port++;
		world_send(w, &asks, &dns, "?", 1, NULL);
	} while (flow_count(w->net.flows) > full);
	/* That was one too many: the first flow has gone. Once more, as the only one of its class. */
	arrive(&peer, &host, "again");
	world_settle(w);
	assert_int_equal(flow_count(w->net.flows), full);
	fd = fake_dgram_route(17, &peer, &host, "zero", 4);
	assert_true(fd != w->l[0].fd);
	for (unsigned i = 0; i < ARRAY_SIZE(text); i++)
		fake_dgram_push(fd, i % 2 ? &peer : &late, NULL, text[i], strlen(text[i]));
	first = (unsigned)w->net.fl.frames + 1;
	world_settle(w);
	for (unsigned i = 0; i < ARRAY_SIZE(text); i++)
		world_expect(w, first + i, i % 2 ? &peer : &late, &guest, text[i], strlen(text[i]));
	assert_int_equal(flow_count(w->net.flows), full);
	/* The last to come still has its flow. */
	assert_true(arrive(&peer, &host, "three") != w->l[0].fd);
	assert_int_equal(arrive(&late, &host, "latest"), w->l[0].fd);
	world_settle(w);
}

/* The guest speaks first, from a port that is forwarded to it: the peer sees the forwarded port. */
static void guest_first_from_a_forwarded_port(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep guest = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000), peer2 = net_ep(&a->peer2, 6001);
	int lfd = world_listen(w, &addr_any4, 8000, 8000);

	world_listen_start(w);
	world_send(w, &guest, &peer, "hi", 2, NULL);
	assert_int_equal(fake_sent(0)->from.port, 8000);
	assert_int_equal(fake_opt(fake_fd(lfd), SOL_SOCKET, SO_REUSEADDR, 0), 0);
	world_send(w, &guest, &peer2, "hi", 2, NULL);
	assert_true(fake_sent(1)->fd != lfd);
	assert_int_equal(fake_sent(1)->from.port, 8000);
}

/* All that is on one port of the host ends, whoever began it, and nothing else. */
static void port_released(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep guest = net_ep(&a->guest, 8000), other = net_ep(&a->guest, 8001), inner = net_ep(&a->guest, 80);
	struct ep peer = net_ep(&a->peer, 6000), peer2 = net_ep(&a->peer2, 6001), host = net_ep(&a->guest, 8000);
	int lfd = world_listen(w, &addr_any4, 8000, 80);

	world_listen_start(w);
	world_send(w, &guest, &peer2, "hi", 2, NULL);
	world_send(w, &other, &peer2, "hi", 2, NULL);
	assert_int_equal(arrive(&peer, &host, "hi"), lfd);
	world_settle(w);
	assert_int_equal(flow_count(w->net.flows), 3);
	assert_int_equal(fake_open_count(), 4);

	assert_int_equal(udp_port_release(w->udp, 8000), 2);
	assert_int_equal(flow_count(w->net.flows), 1);
	assert_int_equal(fake_open_count(), 2);
	assert_int_equal(udp_port_release(w->udp, 8000), 0);
	assert_int_equal(udp_port_release(w->udp, 80), 0);

	/* Both go on with new ones. */
	fake_link_clear(&w->net.fl);
	assert_int_equal(arrive(&peer, &host, "on"), lfd);
	world_settle(w);
	world_expect(w, 0, &peer, &inner, "on", 2);
	world_send(w, &guest, &peer2, "hi", 2, NULL);
	assert_int_equal(fake_sent(2)->from.port, 8000);
	assert_int_equal(flow_count(w->net.flows), 3);
}

static void large_datagram(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[1];
	struct ep host = net_ep(&a->guest, 8000), peer = net_ep(&a->peer, 6000);
	static uint8_t data[65507];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i / 3);
	world_listen(w, &addr_any6, 8000, 80);
	world_listen_start(w);
	fake_dgram_route(17, &peer, &host, data, sizeof(data));
	world_settle(w);
	assert_int_equal(net_seen_frags(&w->net, 0, &w->seen), w->net.fl.frames);
	assert_int_equal(w->seen.len, sizeof(data));
	assert_memory_equal(w->seen.body, data, sizeof(data));
}

/* Nowhere to go: no address of the guest is known, or the peer can't be shown. */
static void nowhere(void **state)
{
	struct world *w = *state;
	struct ep host = net_ep(&net_families[0].guest, 8000), peer = net_ep(&net_families[0].peer, 6000);

	world_listen(w, &addr_any4, 8000, 80);
	world_listen_start(w);
	w->net.guest.addr4 = addr_any4;
	arrive(&peer, &host, "x");
	world_settle(w);
	w->net.guest.addr4 = host.addr;
	peer.addr = addr_any4;
	arrive(&peer, &host, "x");
	peer = net_ep(&net_families[0].peer, 0);
	arrive(&peer, &host, "x");
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 0);
	assert_int_equal(flow_count(w->net.flows), 0);
	/* An error on a listener is cleared. */
	fake_fd(w->l[0].fd)->so_error = ENETDOWN;
	assert_int_equal(fake_loop_settle(&w->net.loop, 10), 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(peer_gets_a_flow), T(marks_are_passed_on),   T(many_peers),
		T(dual_stack),       T(from_loopback),         T(from_loopback_link_local),
		T(alike_peers),      T(target_and_device),     T(link_local),
		T(to_a_group),       T(through_the_listener),  T(full_link),
		T(slipped_in),       T(slipped_in_full_table), T(guest_first_from_a_forwarded_port),
		T(port_released),    T(large_datagram),        T(nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
