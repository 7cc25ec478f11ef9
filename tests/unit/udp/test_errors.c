/* SPDX-License-Identifier: MIT */
#include "udp_world.h"

#include <errno.h>
#include <linux/errqueue.h>

static int open_flow(struct world *w, const struct net_family *a)
{
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);

	world_send(w, &src, &dst, "open", 4, NULL);
	return fake_sent(fake_os.n_sent - 1)->fd;
}

/* Frame i is an ICMP error from this address about "gport to rport", with this payload quoted. */
static void expect_error(struct world *w, size_t i, const struct net_family *a, const struct addr *from, const char *payload)
{
	net_seen(&w->net, i, &w->seen);
	assert_int_equal(w->seen.proto, a->v4 ? 1 : 58);
	assert_true(addr_eq(&w->seen.src, from));
	assert_true(addr_eq(&w->seen.dst, &a->guest));
	net_seen_quote(&w->seen, &w->quote);
	assert_int_equal(w->quote.proto, 17);
	assert_true(addr_eq(&w->quote.src, &a->guest));
	assert_true(addr_eq(&w->quote.dst, &a->peer));
	assert_int_equal(w->quote.sport, 5000);
	assert_int_equal(w->quote.dport, 6000);
	assert_int_equal(w->quote.len, strlen(payload));
	if (*payload)
		assert_memory_equal(w->quote.body, payload, w->quote.len);
}

struct icmp_case {
	const char *name;
	bool v4;
	struct sock_err e;
	bool by_router;
	uint32_t info; /* that the guest is to see */
};

static void icmp_errors(void **state)
{
	static const struct icmp_case cases[] = {
		{ "port", true, { .err = ECONNREFUSED, .type = 3, .code = 3 }, false, 0 },
		{ "host", true, { .err = EHOSTUNREACH, .type = 3, .code = 1 }, true, 0 },
		{ "admin", true, { .err = EHOSTUNREACH, .type = 3, .code = 13, .info = 99 }, true, 0 },
		{ "frag", true, { .err = EMSGSIZE, .type = 3, .code = 4, .info = 1400 }, true, 1400 },
		{ "ttl", true, { .err = EHOSTUNREACH, .type = 11, .code = 0 }, true, 0 },
		{ "param", true, { .err = EPROTO, .type = 12, .code = 0, .info = 20 }, true, UINT32_C(20) << 24 },
		{ "port", false, { .err = ECONNREFUSED, .type = 1, .code = 4 }, false, 0 },
		{ "noroute", false, { .err = ENETUNREACH, .type = 1, .code = 0 }, true, 0 },
		{ "big", false, { .err = EMSGSIZE, .type = 2, .code = 0, .info = 1300 }, true, 1300 },
		{ "ttl", false, { .err = EHOSTUNREACH, .type = 3, .code = 0 }, true, 0 },
		{ "param", false, { .err = EPROTO, .type = 4, .code = 1, .info = 6 }, true, 6 },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct icmp_case *c = &cases[i];
		const struct net_family *a = &net_families[!c->v4];
		struct sock_err e = c->e;
		int fd = open_flow(w, a);

		e.origin = c->v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
		e.has_from = true;
		e.from = c->by_router ? a->router : a->peer;
		fake_dgram_error(fd, &e, "open", 4);
		assert_in_range(fake_loop_settle(&w->net.loop, 10), 1, 1);
		assert_int_equal(w->net.fl.frames, 1);
		expect_error(w, 0, a, &e.from, "open");
		assert_int_equal(w->seen.type, c->e.type);
		assert_int_equal(w->seen.code, c->e.code);
		assert_int_equal(w->seen.info, c->info);
		/* The payload is whole, so the checksum must be that of the guest's datagram. */
		assert_int_equal(net_csum(&a->guest, &a->peer, 17, w->quote.l4, w->quote.l4_len), 0);
		assert_int_equal(fake_fd(fd)->so_error, 0);
		fake_link_clear(&w->net.fl);
		/* The flow goes on. */
		assert_int_equal(open_flow(w, a), fd);
	}
}

/* Without a reporter, or without payload, the message is made of what is known. */
static void sparse_entries(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct sock_err e = { .err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP, .type = 3, .code = 3 };
	int fd = open_flow(w, a);

	fake_dgram_error(fd, &e, NULL, 0);
	world_settle(w);
	expect_error(w, 0, a, &a->peer, "");

	/* A redirect or a quench is nothing that the guest needs, nor is what the host found out itself. */
	e.type = 5;
	fake_dgram_error(fd, &e, NULL, 0);
	e.type = 4;
	fake_dgram_error(fd, &e, NULL, 0);
	e = (struct sock_err){ .err = EMSGSIZE, .origin = SO_EE_ORIGIN_LOCAL, .info = 1000 };
	fake_dgram_error(fd, &e, NULL, 0);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 1);
}

/* Errors about a mapped address come from the mapped address. */
static void mapped_reporter(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->our, 6000);
	struct sock_err e = {
		.err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP, .type = 3, .code = 3, .has_from = true, .from = addr_loopback4
	};

	world_send(w, &src, &dst, "x", 1, NULL);
	fake_dgram_error(world_sock(0)->fd, &e, "x", 1);
	world_settle(w);
	net_seen(&w->net, 0, &w->seen);
	assert_true(addr_eq(&w->seen.src, &a->our));
	net_seen_quote(&w->seen, &w->quote);
	assert_true(addr_eq(&w->quote.dst, &a->our));
	/* The resolver behind an address of its own. */
	w->net.nat.v4.dns_forward = dst.addr = ADDR4_INIT(192, 0, 2, 53);
	w->net.nat.v4.dns_host = e.from = a->peer2;
	dst.port = 53;
	world_send(w, &src, &dst, "x", 1, NULL);
	assert_true(addr_eq(&world_sock(1)->peer.addr, &a->peer2));
	fake_dgram_error(world_sock(1)->fd, &e, "x", 1);
	world_settle(w);
	net_seen(&w->net, 1, &w->seen);
	assert_true(addr_eq(&w->seen.src, &dst.addr));
}

static void many_errors(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[1];
	struct sock_err e = { .err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP6, .type = 1, .code = 4 };
	int fd = open_flow(w, a);

	for (unsigned i = 0; i < 150; i++)
		fake_dgram_error(fd, &e, "open", 4);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 150);
	assert_int_equal(fake_fd(fd)->so_error, 0);
}

/* An error is pending, but the queue is empty: it is cleared, or the event would come for ever. */
static void pending_error_without_entry(void **state)
{
	struct world *w = *state;
	int fd = open_flow(w, &net_families[0]);

	fake_fd(fd)->so_error = ECONNREFUSED;
	assert_int_equal(fake_loop_settle(&w->net.loop, 10), 1);
	assert_int_equal(fake_fd(fd)->so_error, 0);
	assert_int_equal(w->net.fl.frames, 0);
}

/* A large quotation is cut to what an error may carry. */
static void long_quote(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct sock_err e = { .err = EHOSTUNREACH, .type = a->v4 ? 11 : 3, .has_from = true, .from = a->router };
		uint8_t data[1400];

		memset(data, 'q', sizeof(data));
		e.origin = a->v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
		fake_dgram_error(open_flow(w, a), &e, data, sizeof(data));
		world_settle(w);
		net_seen(&w->net, k, &w->seen);
		assert_in_range(w->seen.l4_len + (a->v4 ? 20 : 40), 500, a->v4 ? 576 : 1280);
	}
}

/* What send() itself says, of the second of three datagrams, each longer than the one before. */
static void send_errors(void **state)
{
	static const struct {
		int err;
		uint8_t type4, code4, type6, code6;
	} cases[] = {
		{ ENETUNREACH, 3, 0, 1, 0 },
		{ EHOSTUNREACH, 3, 1, 1, 3 },
		{ EPERM, 3, 13, 1, 1 },
		{ EACCES, 3, 13, 1, 1 },
	};
	struct world *w = *state;
	struct pkt p[3];
	struct frame f[3];

	for (unsigned k = 0; k < 2 * ARRAY_SIZE(cases); k++) {
		const struct net_family *a = &net_families[k % 2];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);

		open_flow(w, a);
		fake_sent_clear();
		for (unsigned i = 0; i < 3; i++) {
			net_udp(&w->g[i], &src, &dst, i == 1 ? "two" : "last", 2 + i, NULL);
			p[i] = w->g[i].p;
			f[i] = w->g[i].f;
		}
		/* Once for the call that takes the first only, once for the call that tells why. */
		fake_fail(FAKE_SENDMMSG, -1, cases[k / 2].err, 1, 2);
		udp_from_guest(w->udp, p, f, 3);
		assert_int_equal(fake_os.n_sent, 2);
		assert_int_equal(w->net.fl.frames, 1);
		expect_error(w, 0, a, &a->our, "two");
		assert_int_equal(w->seen.type, a->v4 ? cases[k / 2].type4 : cases[k / 2].type6);
		assert_int_equal(w->seen.code, a->v4 ? cases[k / 2].code4 : cases[k / 2].code6);
		fake_link_clear(&w->net.fl);
	}
}

/* Datagrams that left as one message, which was refused: each is told about with its own quote, and those that can be sent are. */
static void send_errors_of_segments(void **state)
{
	struct world *w = *state;
	struct pkt p[5];
	struct frame f[5];

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);

		open_flow(w, a);
		fake_sent_clear();
		for (unsigned i = 0; i < 5; i++) {
			uint8_t data[3] = { 'a', 'b', (uint8_t)('0' + i) };

			net_udp(&w->g[i], &src, &dst, data, 3, NULL);
			p[i] = w->g[i].p;
			f[i] = w->g[i].f;
		}
		fake_fail(FAKE_SENDMMSG, -1, EPERM, 0, 3);
		udp_from_guest(w->udp, p, f, 5);
		assert_int_equal(fake_os.n_sent, 3);
		assert_int_equal(w->net.fl.frames, 2);
		for (uint8_t i = 0; i < 2; i++)
			expect_error(w, i, a, &a->our, (char[]){ 'a', 'b', (char)('0' + i), 0 });
		for (uint8_t i = 2; i < 5; i++)
			assert_memory_equal(fake_sent(i - 2u)->data, ((uint8_t[]){ 'a', 'b', (uint8_t)('0' + i) }), 3);
		fake_link_clear(&w->net.fl);

		/* That had nothing to do with segments. */
		fake_sent_clear();
		udp_from_guest(w->udp, p, f, 5);
		assert_int_equal(fake_os.n_messages, 1);
		assert_int_equal(fake_os.n_sent, 5);
	}
}

/* A pending error is that of an earlier datagram: the message is sent all the same, in one piece. */
static void pending_error_and_segments(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[1];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
	struct sock_err e = { .err = EMSGSIZE, .origin = SO_EE_ORIGIN_ICMP6, .type = 2, .info = 1280 };
	uint8_t data[4000] = { 0 };
	int fd = open_flow(w, a);

	fake_sent_clear();
	fake_dgram_error(fd, &e, "open", 4);
	world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1000 });
	assert_int_equal(w->net.fl.frames, 1);
	net_seen(&w->net, 0, &w->seen);
	assert_int_equal(w->seen.type, 2);
	assert_int_equal(w->seen.info, 1280);
	assert_int_equal(fake_os.n_messages, 1);
	assert_int_equal(fake_os.n_sent, 4);
}

/* A superframe whose datagrams are longer than the path allows, but for the last. */
static void segments_too_big(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		uint8_t data[3 * 1400 + 100] = { 0 };
		int fd = open_flow(w, a);

		fake_sent_clear();
		fake_fd(fd)->pmtu = 1200;
		fake_opt_set(fake_fd(fd), a->v4 ? IPPROTO_IP : IPPROTO_IPV6, a->v4 ? IP_MTU : IPV6_MTU, 1228);
		world_send(w, &src, &dst, data, sizeof(data), &(struct gopt){ .gso = 1400 });
		assert_int_equal(fake_os.n_sent, 1);
		assert_int_equal(fake_sent(0)->len, 100);
		assert_int_equal(w->net.fl.frames, 3);
		for (unsigned i = 0; i < 3; i++) {
			net_seen(&w->net, i, &w->seen);
			assert_int_equal(w->seen.type, a->v4 ? 3 : 2);
			assert_int_equal(w->seen.info, 1228);
		}
		/* Those that fit still leave together. */
		fake_sent_clear();
		world_send(w, &src, &dst, data, 4000, &(struct gopt){ .gso = 1200 });
		assert_int_equal(fake_os.n_messages, 1);
		assert_int_equal(fake_os.n_sent, 4);
		fake_link_clear(&w->net.fl);
	}
}

/* The host's address has gone, or somebody has cut the connection: one datagram is lost, the next finds a socket that works. */
static void stale_socket(void **state)
{
	static const int errs[] = { ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL, EINVAL, ENODEV, EDESTADDRREQ, ENOTCONN };
	struct world *w = *state;

	for (unsigned k = 0; k < 2 * ARRAY_SIZE(errs); k++) {
		const struct net_family *a = &net_families[k % 2];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);

		open_flow(w, a);
		fake_sent_clear();
		fake_fail(FAKE_SENDMMSG, -1, errs[k / 2], 0, 1);
		world_send(w, &src, &dst, "lost", 4, NULL);
		assert_int_equal(fake_os.n_sent, 0);
		assert_int_equal(flow_count(w->net.flows), 0);
		assert_int_equal(fake_open_count(), 0);
		world_send(w, &src, &dst, "next", 4, NULL);
		assert_int_equal(fake_os.n_sent, 1);
		assert_int_equal(fake_sent(0)->from.port, 5000);
		assert_int_equal(flow_count(w->net.flows), 1);
		assert_int_equal(fake_open_count(), 1);
		fake_loop_advance(&w->net.loop, 200 * NSEC_PER_SEC);
		fake_link_clear(&w->net.fl);
	}
}

/* An error that was pending is told, and the datagram that found it is sent all the same. */
static void pending_error_at_send(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct sock_err e = { .err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP, .type = 3, .code = 3 };
	int fd = open_flow(w, a);

	fake_sent_clear();
	fake_dgram_error(fd, &e, "open", 4);
	open_flow(w, a);
	assert_int_equal(fake_os.n_sent, 1);
	assert_int_equal(w->net.fl.frames, 1);
	expect_error(w, 0, a, &a->peer, "open");
	/* And with nothing in the queue. */
	fake_fd(fd)->so_error = ECONNREFUSED;
	open_flow(w, a);
	assert_int_equal(fake_os.n_sent, 2);
	assert_int_equal(w->net.fl.frames, 1);
	/* Twice in a row is not an old error any more. */
	fake_fail(FAKE_SENDMMSG, fd, ECONNREFUSED, 0, 2);
	world_send(w, &(struct ep){ a->guest, 5000 }, &(struct ep){ a->peer, 6000 }, "x", 1, NULL);
	assert_int_equal(fake_os.n_sent, 2);
}

static void too_big_at_send(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		int fd = open_flow(w, a);
		struct sock_err e = { .err = EMSGSIZE, .origin = SO_EE_ORIGIN_LOCAL, .info = 1280 };
		uint8_t data[1400] = { 0 };

		/* The kernel says it twice; the guest is told once. */
		fake_dgram_error(fd, &e, NULL, 0);
		fake_fd(fd)->so_error = 0;
		fake_sent_clear();
		fake_fd(fd)->pmtu = 1200;
		fake_opt_set(fake_fd(fd), a->v4 ? IPPROTO_IP : IPPROTO_IPV6, a->v4 ? IP_MTU : IPV6_MTU, 1280);
		world_send(w, &src, &dst, data, sizeof(data), NULL);
		assert_int_equal(fake_os.n_sent, 0);
		assert_int_equal(w->net.fl.frames, k + 1);
		net_seen(&w->net, k, &w->seen);
		assert_true(addr_eq(&w->seen.src, &a->our));
		assert_int_equal(w->seen.type, a->v4 ? 3 : 2);
		assert_int_equal(w->seen.code, a->v4 ? 4 : 0);
		assert_int_equal(w->seen.info, 1280);
		net_seen_quote(&w->seen, &w->quote);
		assert_int_equal(w->quote.sport, 5000);
		assert_int_equal(w->quote.dport, 6000);
	}
}

/* A full socket buffer drops, silently and once. */
static void full_socket(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
	struct pkt p[10];
	struct frame f[10];
	int fd = open_flow(w, a);
	unsigned calls;

	fake_sent_clear();
	for (unsigned i = 0; i < 10; i++) {
		net_udp(&w->g[i], &src, &dst, "0123456789", i, NULL); /* of different sizes: none joins another */
		p[i] = w->g[i].p;
		f[i] = w->g[i].f;
	}
	fake_fd(fd)->room = 4;
	calls = fake_os.calls[FAKE_SENDMMSG];
	udp_from_guest(w->udp, p, f, 10);
	assert_int_equal(fake_os.n_sent, 4);
	assert_int_equal(fake_os.calls[FAKE_SENDMMSG] - calls, 2);
	assert_int_equal(w->net.fl.frames, 0);
	assert_int_equal(fake_os.calls[FAKE_ERRQUEUE], 0);
}

/* No route, when the flow is opened. */
static void unreachable_at_connect(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);

		fake_fail(FAKE_CONNECT, -1, ENETUNREACH, 0, 1);
		world_send(w, &src, &dst, "hi", 2, NULL);
		assert_int_equal(fake_open_count(), 0);
		expect_error(w, k, a, &a->our, "hi");
		assert_int_equal(w->seen.code, 0);
	}
}

/* An address of ours behind which there is nothing. */
static void unmapped_address(void **state)
{
	struct world *w = *state;
	struct ep src = { { .b = { 0xfe, 0x80, [15] = 0x10 } }, 5000 }, dst = { w->net.nat.our_ll6, 6000 };

	world_send(w, &src, &dst, "hi", 2, NULL);
	assert_int_equal(fake_open_count(), 0);
	net_seen(&w->net, 0, &w->seen);
	assert_true(addr_eq(&w->seen.src, &dst.addr));
	assert_int_equal(w->seen.type, 1);
	assert_int_equal(w->seen.code, 4);
}

/* Errors find no room: lost, without harm. */
static void full_link(void **state)
{
	struct world *w = *state;
	struct sock_err e = { .err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP, .type = 3, .code = 3 };
	int fd = open_flow(w, &net_families[0]);

	fake_link_room(&w->net.fl, 0);
	fake_dgram_error(fd, &e, "open", 4);
	assert_int_equal(fake_loop_settle(&w->net.loop, 10), 1);
	assert_int_equal(w->net.fl.frames, 0);
}

/* recv() may be the one that finds the pending error. */
static void error_at_recv(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
	int fd = open_flow(w, a);

	fake_dgram_push(fd, &dst, NULL, "x", 1);
	fake_fail(FAKE_RECVMMSG, -1, ECONNREFUSED, 0, 1);
	world_settle(w);
	world_expect(w, 0, &dst, &src, "x", 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(icmp_errors),
		T(sparse_entries),
		T(mapped_reporter),
		T(many_errors),
		T(pending_error_without_entry),
		T(long_quote),
		T(send_errors),
		T(send_errors_of_segments),
		T(pending_error_and_segments),
		T(segments_too_big),
		T(stale_socket),
		T(pending_error_at_send),
		T(too_big_at_send),
		T(full_socket),
		T(unreachable_at_connect),
		T(unmapped_address),
		T(full_link),
		T(error_at_recv),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
