/* SPDX-License-Identifier: MIT */
#include "udp_world.h"

#include <errno.h>

static void expect_sent(unsigned i, int fd, const struct ep *to, const void *payload, size_t len)
{
	const struct fake_dgram *d = fake_sent(i);

	assert_int_equal(d->fd, fd);
	assert_true(ep_eq(&d->to, to));
	assert_int_equal(d->len, len);
	if (len)
		assert_memory_equal(d->data, payload, len);
}

/* A flow: its socket is connected to the peer, has the guest's port, reports errors, and is read when there is something. */
static void opens_a_connected_socket(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		struct fake_fd *f;

		world_send(w, &src, &dst, "hello", 5, NULL);
		f = world_sock(k);
		assert_int_equal(f->family, a->v4 ? AF_INET : AF_INET6);
		assert_true(f->connected);
		assert_true(ep_eq(&f->peer, &dst));
		assert_int_equal(f->local.port, 5000);
		assert_int_equal(f->scope, 3);
		assert_int_equal(fake_opt(f, a->v4 ? IPPROTO_IP : IPPROTO_IPV6, a->v4 ? IP_RECVERR : IPV6_RECVERR, 0), 1);
		assert_true(f->in_epoll);
		assert_int_equal(f->mask, EPOLLIN);
		expect_sent(0, f->fd, &dst, "hello", 5);

		/* The same flow again. */
		world_send(w, &src, &dst, "again", 5, NULL);
		expect_sent(1, f->fd, &dst, "again", 5);
		assert_int_equal(flow_count(w->net.flows), k + 1);
		fake_sent_clear();
	}
	assert_int_equal(fake_open_count(), 2);
	assert_int_equal(w->net.fl.frames, 0);
}

/* One system call for a batch, whatever its size; payload in order. */
static void batch_is_one_call(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	struct pkt p[LINK_BATCH];
	struct frame f[LINK_BATCH];
	uint8_t payload[LINK_BATCH];

	for (unsigned i = 0; i < LINK_BATCH; i++) {
		memset(payload, (int)i, sizeof(payload));
		net_udp(&w->g[i], &src, &dst, payload, i, NULL);
		p[i] = w->g[i].p;
		f[i] = w->g[i].f;
	}
	udp_from_guest(w->udp, p, f, LINK_BATCH);
	assert_int_equal(fake_os.calls[FAKE_SENDMMSG], 1);
	assert_int_equal(fake_os.n_sent, LINK_BATCH);
	for (unsigned i = 0; i < LINK_BATCH; i++) {
		memset(payload, (int)i, sizeof(payload));
		expect_sent(i, world_sock(0)->fd, &dst, payload, i); /* the first is empty, and is sent all the same */
	}
	assert_int_equal(fake_os.calls[FAKE_OPEN], 1);
	assert_int_equal(fake_os.calls[FAKE_EPOLL_ADD], 1);
	assert_int_equal(fake_os.calls[FAKE_EPOLL_MOD], 0);
}

static void empty_datagram(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[1].guest, 5000), dst = net_ep(&net_families[1].peer, 6000);

	world_send(w, &src, &dst, NULL, 0, NULL);
	assert_int_equal(fake_os.n_sent, 1);
	expect_sent(0, world_sock(0)->fd, &dst, NULL, 0);
}

static void udp_length_rules(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);

	/* Shorter than the packet: the rest is not payload. So is what Ethernet added. */
	world_send(w, &src, &dst, "12345678", 8, &(struct gopt){ .udp_len = 8 + 3, .pad = 9 });
	expect_sent(0, world_sock(0)->fd, &dst, "123", 3);
	/* Longer than the packet, or than a header: dropped. */
	world_send(w, &src, &dst, "12345678", 8, &(struct gopt){ .udp_len = 17 });
	world_send(w, &src, &dst, "12345678", 8, &(struct gopt){ .udp_len = 7 });
	world_send(w, &src, &dst, "12345678", 8, &(struct gopt){ .udp_len = 1, .pad = 20 });
	world_send(w, &src, &dst, "12345678", 8, &(struct gopt){ .udp_len = 17, .pad = 20 });
	assert_int_equal(fake_os.n_sent, 1);
}

static void fill(uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
}

/* A superframe leaves with few messages, as the datagrams that it stands for. */
static void superframe(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[1].guest, 5000), dst = net_ep(&net_families[1].peer, 6000);
	uint8_t data[65000];

	fill(data, sizeof(data));
	world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 600 });
	assert_int_equal(fake_os.n_sent, 109); /* 108 of 600 and one of 200 */
	assert_int_equal(fake_os.n_messages, 2); /* 64 and 45 */
	assert_int_equal(fake_os.calls[FAKE_SENDMMSG], 1);
	for (unsigned i = 0; i < 109; i++)
		expect_sent(i, world_sock(0)->fd, &dst, data + i * 600, i < 108 ? 600 : 200);
}

/* Datagrams of which not even one would fit in a message with others, as IPv6 has them, leave one by one. */
static void superframe_of_the_longest(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[1].guest, 5000), dst = net_ep(&net_families[1].peer, 6000);
	static const uint16_t seg[] = { 65507, 65508, 65526 };
	uint8_t data[65527];

	fill(data, sizeof(data));
	world_send(w, &src, &dst, "open", 4, NULL);
	world_sock(0)->room = 2 * ARRAY_SIZE(seg);
	for (unsigned i = 0; i < ARRAY_SIZE(seg); i++) {
		fake_sent_clear();
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = seg[i] });
		assert_int_equal(fake_os.n_sent, 2);
		expect_sent(0, world_sock(0)->fd, &dst, data, seg[i]);
		expect_sent(1, world_sock(0)->fd, &dst, data + seg[i], sizeof(data) - seg[i]);
	}
}

/* What the kernel does not take in one piece leaves one by one, at once and from then on. */
static void segments_refused(void **state)
{
	static const struct {
		int err;
		bool longer_only; /* shorter ones still leave together */
	} cases[] = { { EIO, false }, { EINVAL, true }, { EMSGSIZE, true } };
	struct world *w = *state;
	uint8_t data[6000];

	fill(data, sizeof(data));
	for (uint16_t k = 0; k < 2 * ARRAY_SIZE(cases); k++) {
		const struct net_family *a = &net_families[k % 2];
		struct ep src = net_ep(&a->guest, 5000 + k), dst = net_ep(&a->peer, 6000);
		int fd;

		world_send(w, &src, &dst, "open", 4, NULL);
		fd = fake_sent(fake_os.n_sent - 1)->fd;
		fake_fd(fd)->seg_err = cases[k / 2].err;
		fake_sent_clear();
		fake_os.calls[FAKE_SENDMMSG] = 0;
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1400 });
		assert_int_equal(fake_os.calls[FAKE_SENDMMSG], 6); /* in vain once, and 5 */
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1400 });
		assert_int_equal(fake_os.calls[FAKE_SENDMMSG], 7);
		assert_int_equal(fake_os.n_sent, 10);
		for (unsigned i = 0; i < 10; i++)
			expect_sent(i, fd, &dst, data + i % 5 * 1400, i % 5 < 4 ? 1400 : 400);
		fake_fd(fd)->seg_err = 0;
		fake_sent_clear();
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1399 });
		assert_int_equal(fake_os.n_sent, 5);
		assert_int_equal(fake_os.n_messages, cases[k / 2].longer_only ? 1 : 5);
		assert_int_equal(w->net.fl.frames, 0);
		assert_int_equal(flow_count(w->net.flows), k + 1);
	}
}

/* The path may be another one ten minutes later: what was refused is tried again. */
static void segments_again(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	static const unsigned after_s[] = { 0, 599, 1 }, messages[] = { 5, 5, 1 };
	uint8_t data[6000];

	fill(data, sizeof(data));
	world_send(w, &src, &dst, "open", 4, NULL);
	world_sock(0)->seg_err = EMSGSIZE;
	for (unsigned i = 0; i < ARRAY_SIZE(after_s); i++) {
		w->net.loop.now_ns += after_s[i] * NSEC_PER_SEC;
		fake_sent_clear();
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1400 });
		assert_int_equal(fake_os.n_sent, 5);
		assert_int_equal(fake_os.n_messages, messages[i]);
		world_sock(0)->seg_err = 0;
	}
}

/* As many datagrams as a frame may stand for are more than the kernel takes in a message. */
static void superframe_of_the_shortest(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	uint8_t data[100];

	fill(data, sizeof(data));
	world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1 });
	assert_int_equal(fake_os.n_sent, 100);
	assert_int_equal(fake_os.n_messages, 2); /* 64 and 36 */
	for (unsigned i = 0; i < 100; i++)
		expect_sent(i, world_sock(0)->fd, &dst, data + i, 1);
}

/* A kernel that does not know segments would send all of them as one datagram. */
static void segments_unknown(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	uint8_t data[1000];

	fill(data, sizeof(data));
	fake_fail(FAKE_GETOPT, -1, ENOPROTOOPT, 0, 1);
	for (unsigned k = 0; k < 2; k++) {
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 10 });
		assert_int_equal(fake_os.n_sent, 100);
		assert_int_equal(fake_os.n_messages, 100);
		for (unsigned i = 0; i < 100; i++)
			expect_sent(i, world_sock(0)->fd, &dst, data + i * 10, 10);
		fake_sent_clear();
	}
	assert_int_equal(fake_os.calls[FAKE_GETOPT], 1);
}

/* Without room for all of it, what is left over is dropped like anything else; nothing is sent twice. */
static void superframe_without_room(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	uint8_t data[5000];

	fill(data, sizeof(data));
	world_send(w, &src, &dst, "open", 4, NULL);
	fake_sent_clear();
	world_sock(0)->seg_err = EIO;
	world_sock(0)->room = 3;
	world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1000 });
	assert_int_equal(fake_os.n_sent, 3);
	world_sock(0)->room = UINT32_MAX;
	world_send(w, &src, &dst, "next", 4, NULL);
	assert_int_equal(fake_os.n_sent, 4);
	expect_sent(2, world_sock(0)->fd, &dst, data + 2000, 1000);
	expect_sent(3, world_sock(0)->fd, &dst, "next", 4);
}

/* Datagrams of one size that come together leave together, in order, each as it was. */
static void runs_of_one_size(void **state)
{
	static const struct {
		uint16_t len[16];
		unsigned n, messages;
	} cases[] = {
		{ { 100, 100, 100, 100 }, 4, 1 },
		{ { 100, 100, 40, 100, 100 }, 5, 2 }, /* a shorter one is the last */
		{ { 100, 100, 101, 101 }, 4, 2 }, /* a longer one is the first of others */
		{ { 5, 4, 3, 2, 1 }, 5, 3 },
		{ { 1, 2, 3, 4, 5 }, 5, 5 },
		{ { 0, 0, 0 }, 3, 3 }, /* empty ones are none of several */
		{ { 10, 0, 10, 10, 0, 10 }, 6, 5 },
		{ { 1472, 1472, 1472, 1, 1, 1 }, 6, 2 },
		{ { 40000, 25507, 40000, 25508 }, 4, 3 }, /* the longest that there is, and one more */
		{ { 1 }, 1, 1 },
	};
	struct world *w = *state;
	static uint8_t data[16][65536];
	struct pkt p[16];
	struct frame f[16];

	for (unsigned i = 0; i < 16; i++) {
		fill(data[i], sizeof(data[i]));
		data[i][0] = (uint8_t)i;
	}
	for (unsigned k = 0; k < 2 * ARRAY_SIZE(cases); k++) {
		const struct net_family *a = &net_families[k % 2];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		unsigned n = cases[k / 2].n;

		for (unsigned i = 0; i < n; i++) {
			net_udp(&w->g[i], &src, &dst, data[i], cases[k / 2].len[i], NULL);
			p[i] = w->g[i].p;
			f[i] = w->g[i].f;
		}
		udp_from_guest(w->udp, p, f, n);
		assert_int_equal(fake_os.n_messages, cases[k / 2].messages);
		assert_int_equal(fake_os.n_sent, n);
		for (unsigned i = 0; i < n; i++)
			expect_sent(i, fake_sent(0)->fd, &dst, data[i], cases[k / 2].len[i]);
		fake_sent_clear();
	}
}

/* Superframes and single datagrams in one batch, more than one call takes; and two hop limits in it. */
static void many_messages(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	struct pkt p[LINK_BATCH];
	struct frame f[LINK_BATCH];
	unsigned at = 0;
	uint8_t data[3000];

	fill(data, sizeof(data));
	world_send(w, &src, &dst, "open", 4, NULL);
	fake_sent_clear();
	for (unsigned i = 0; i < LINK_BATCH; i++) {
		struct gopt o = { .gso = i % 2 ? 1000 : 0, .ttl = i < 40 ? 64 : 63 };

		net_udp(&w->g[i], &src, &dst, data, i % 2 ? 2000 + i : i, &o);
		p[i] = w->g[i].p;
		f[i] = w->g[i].f;
	}
	udp_from_guest(w->udp, p, f, LINK_BATCH);
	assert_int_equal(fake_os.n_messages, LINK_BATCH);
	for (unsigned i = 0; i < LINK_BATCH; i++) {
		for (unsigned k = 0; k < (i % 2 ? 3 : 1); k++, at++) {
			size_t len = i % 2 ? (k < 2 ? 1000 : i) : i;

			assert_int_equal(fake_sent(at)->ttl, i < 40 ? 64 : 63);
			expect_sent(at, world_sock(0)->fd, &dst, data + k * 1000, len);
		}
	}
	assert_int_equal(fake_os.n_sent, at);
}

static void hop_limit_is_carried(void **state)
{
	struct world *w = *state;
	static const uint8_t ttl[] = { 64, 1, 2, 2, 64 };
	static const uint8_t tos[] = { 0, 0, 0, 0x2e, 0x2e };

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 33434);
		struct pkt p[5];
		struct frame f[5];
		unsigned opts;

		for (unsigned i = 0; i < 5; i++) {
			net_udp(&w->g[i], &src, &dst, "probe", 5, &(struct gopt){ .ttl = ttl[i], .tos = tos[i] });
			p[i] = w->g[i].p;
			f[i] = w->g[i].f;
		}
		udp_from_guest(w->udp, p, f, 1);
		opts = fake_os.calls[FAKE_SETOPT];
		udp_from_guest(w->udp, p, f, 5);
		assert_int_equal(fake_os.n_sent, 6);
		for (unsigned i = 0; i < 5; i++) {
			assert_int_equal(fake_sent(i + 1)->ttl, ttl[i]);
			assert_int_equal(fake_sent(i + 1)->tos, tos[i]);
		}
		/* Only when it changes: 1, 2, 64, the type of service once. */
		assert_int_equal(fake_os.calls[FAKE_SETOPT] - opts, 4);
		fake_sent_clear();
	}
}

/* A first datagram with the default hop limit costs no option. */
static void default_hop_limit_costs_nothing(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);

	world_send(w, &src, &dst, "a", 1, NULL);
	assert_int_equal(fake_opt(world_sock(0), IPPROTO_IP, IP_TTL, -1), -1);
	assert_int_equal(fake_opt(world_sock(0), IPPROTO_IP, IP_TOS, -1), -1);
}

static void zero_hop_limit_is_dropped(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);

	net_udp(&w->g[0], &src, &dst, "a", 1, NULL);
	w->g[0].p.ttl = 0;
	udp_from_guest(w->udp, &w->g[0].p, &w->g[0].f, 1);
	assert_int_equal(fake_os.n_sent, 0);
}

static void gateway_is_the_loopback(void **state)
{
	struct world *w = *state;

	w->net.out.addr4 = ADDR4_INIT(192, 0, 2, 99);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->our, 53), lo = net_ep(&a->loopback, 53);

		world_send(w, &src, &dst, "q", 1, NULL);
		assert_true(ep_eq(&world_sock(k)->peer, &lo));
		assert_true(addr_is_any(&world_sock(k)->local.addr));
		/* The answer comes back from the address that the guest asked. */
		fake_dgram_push(world_sock(k)->fd, &lo, NULL, "reply", 5);
		world_settle(w);
		world_expect(w, k, &dst, &src, "reply", 5);
	}
}

static void outbound_address_and_device(void **state)
{
	struct world *w = *state;
	struct ep src = net_ep(&net_families[0].guest, 5000), dst = net_ep(&net_families[0].peer, 6000);
	struct ep local = { .addr = ADDR4_INIT(192, 0, 2, 99), .port = 5000 };

	w->net.out.addr4 = local.addr;
	strcpy(w->net.out.if4, "eth7");
	world_send(w, &src, &dst, "a", 1, NULL);
	assert_true(ep_eq(&world_sock(0)->local, &local));
	assert_string_equal(world_sock(0)->dev, "eth7");
	/* With the port taken, still the address. */
	fake_fail(FAKE_BIND, -1, EADDRINUSE, 0, 1);
	src.port = 5001;
	world_send(w, &src, &dst, "a", 1, NULL);
	assert_true(addr_eq(&world_sock(1)->local.addr, &local.addr));
	assert_int_not_equal(world_sock(1)->local.port, 5001);
	assert_int_equal(fake_os.n_sent, 2);
}

static void one_port_for_all_peers(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), p1 = net_ep(&a->peer, 1), p2 = net_ep(&a->peer2, 2), gw = net_ep(&a->our, 3);

	world_send(w, &src, &p1, "1", 1, NULL);
	world_send(w, &src, &p2, "2", 1, NULL);
	assert_int_equal(world_sock(0)->local.port, 5000);
	assert_int_equal(world_sock(1)->local.port, 5000);
	/* What was translated does not share: its answers could be those of an other flow. */
	world_send(w, &src, &gw, "3", 1, NULL);
	assert_int_not_equal(world_sock(2)->local.port, 5000);
	assert_int_equal(fake_os.n_sent, 3);
}

/* The port of somebody else stays his, even if he would share it. */
static void port_of_another_process(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 1), any = { addr_any4, 5000 };
	int fd;

	assert_int_equal(sock_open(AF_INET, SOCK_DGRAM, 17, &fd), 0);
	assert_int_equal(sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	assert_int_equal(sock_bind(fd, AF_INET, &any, 0), 0);
	world_send(w, &src, &dst, "1", 1, NULL);
	assert_int_equal(fake_os.n_sent, 1);
	assert_int_not_equal(fake_fd(fake_sent(0)->fd)->local.port, 5000);
	sock_close(fd);
}

static void martians_are_dropped(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	const struct {
		struct addr src, dst;
		uint16_t dport;
	} cases[] = {
		{ addr_any4, a->peer, 1 },
		{ addr_loopback4, a->peer, 1 },
		{ ADDR4_INIT(224, 0, 0, 1), a->peer, 1 },
		{ ADDR4_INIT(255, 255, 255, 255), a->peer, 1 },
		{ a->guest, addr_loopback4, 1 },
		{ a->guest, addr_any4, 1 },
		{ a->guest, a->peer, 0 },
		{ addr_any6, net_families[1].peer, 1 },
		{ net_families[1].guest, addr_loopback6, 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ep src = net_ep(&cases[i].src, 9), dst = net_ep(&cases[i].dst, cases[i].dport);

		world_send(w, &src, &dst, "x", 1, NULL);
		assert_int_equal(fake_open_count(), 0);
		assert_int_equal(flow_count(w->net.flows), 0);
		assert_int_equal(w->net.fl.frames, 0);
	}
}

static void multicast_and_broadcast(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->group, 1900), other = net_ep(&a->peer, 1900);
		struct fake_fd *f;

		world_send(w, &src, &dst, "search", 6, &(struct gopt){ .ttl = 4 });
		f = world_sock(k);
		assert_false(f->connected);
		expect_sent(k, f->fd, &dst, "search", 6);
		assert_int_equal(fake_sent(k)->ttl, 4);
		/* The answer of whoever it was that answered. */
		assert_int_equal(f->local.port, 5000);
		fake_dgram_push(f->fd, &other, NULL, "here", 4);
		world_settle(w);
		world_expect(w, k, &other, &src, "here", 4);
	}
	fake_sent_clear();

	struct ep src = net_ep(&net_families[0].guest, 5001), dst = { ADDR4_INIT(255, 255, 255, 255), 137 };

	world_send(w, &src, &dst, "b", 1, NULL);
	assert_int_equal(fake_os.n_sent, 1);
	assert_true(ep_eq(&fake_sent(0)->to, &dst));

	/* The broadcast address of a network: connect() says that it is one. */
	dst.addr = ADDR4_INIT(198, 51, 100, 255);
	fake_fail(FAKE_CONNECT, -1, EACCES, 0, 1);
	world_send(w, &src, &dst, "c", 1, NULL);
	assert_int_equal(fake_os.n_sent, 2);
	assert_true(ep_eq(&fake_sent(1)->to, &dst));
	assert_int_equal(fake_opt(fake_fd(fake_sent(1)->fd), SOL_SOCKET, SO_BROADCAST, 0), 1);
	assert_false(fake_fd(fake_sent(1)->fd)->connected);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(opens_a_connected_socket),
		T(batch_is_one_call),
		T(empty_datagram),
		T(udp_length_rules),
		T(superframe),
		T(superframe_of_the_longest),
		T(superframe_of_the_shortest),
		T(segments_refused),
		T(segments_again),
		T(segments_unknown),
		T(superframe_without_room),
		T(runs_of_one_size),
		T(many_messages),
		T(hop_limit_is_carried),
		T(default_hop_limit_costs_nothing),
		T(zero_hop_limit_is_dropped),
		T(gateway_is_the_loopback),
		T(outbound_address_and_device),
		T(one_port_for_all_peers),
		T(port_of_another_process),
		T(martians_are_dropped),
		T(multicast_and_broadcast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
