/* SPDX-License-Identifier: MIT */
#include "xlate/hosterr.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "net.h"

struct world {
	struct net net;
	struct hosterr h;
	struct gframe g;
	struct seen seen, quote;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	net_init(&w->net, 1, sizeof(struct flow));
	w->h = (struct hosterr){ .link = &w->net.fl.link, .guest = &w->net.guest, .nat = &w->net.nat };
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	net_fini(&w->net);
	free(w);
	return 0;
}

static void make_pkt(struct world *w, const struct addr *src, const struct addr *dst)
{
	struct ep from = net_ep(src, 5000), to = net_ep(dst, 6000);

	net_udp(&w->g, &from, &to, "payload", 7, NULL);
}

/* Takes the only frame; the packet that was made is quoted. */
static void expect(struct world *w, const struct addr *from, const struct addr *to)
{
	assert_int_equal(w->net.fl.frames, 1);
	net_seen(&w->net, 0, &w->seen);
	assert_true(addr_eq(&w->seen.src, from));
	assert_true(addr_eq(&w->seen.dst, to));
	net_seen_quote(&w->seen, &w->quote);
	assert_true(addr_eq(&w->quote.src, &w->g.p.src));
	assert_true(addr_eq(&w->quote.dst, &w->g.p.dst));
	assert_int_equal(w->quote.sport, 5000);
	assert_int_equal(w->quote.dport, 6000);
	fake_link_clear(&w->net.fl);
}

enum from { NOBODY, ROUTER, DESTINATION };

static void who_refuses(void **state)
{
	static const struct {
		int err;
		enum from from;
		uint8_t type4, code4, type6, code6;
	} cases[] = {
		{ ECONNREFUSED, DESTINATION, 3, 3, 1, 4 },
		{ EHOSTUNREACH, ROUTER, 3, 1, 1, 3 },
		{ ENETUNREACH, ROUTER, 3, 0, 1, 0 },
		{ EACCES, ROUTER, 3, 13, 1, 1 },
		{ EPERM, ROUTER, 3, 13, 1, 1 },
		{ ENOMEM, NOBODY, 0, 0, 0, 0 },
		{ ETIMEDOUT, NOBODY, 0, 0, 0, 0 },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const struct net_family *a = &net_families[i % 2];
		bool told = cases[i / 2].from != NOBODY;

		make_pkt(w, &a->guest, &a->peer);
		assert_int_equal(hosterr_refuse(&w->h, &w->g.p, cases[i / 2].err), told);
		if (told) {
			expect(w, cases[i / 2].from == ROUTER ? &a->our : &a->peer, &a->guest);
			assert_int_equal(w->seen.type, a->v4 ? cases[i / 2].type4 : cases[i / 2].type6);
			assert_int_equal(w->seen.code, a->v4 ? cases[i / 2].code4 : cases[i / 2].code6);
		}
		assert_int_equal(w->net.fl.frames, 0);
	}
}

/* By which address the guest knows us as a router; with none, the destination has to speak for itself. */
static void router_address(void **state)
{
	struct world *w = *state;
	const struct net_family *v4 = &net_families[0], *v6 = &net_families[1];
	struct addr ll = w->net.nat.our_ll6;

	w->net.nat.v4.our = w->net.nat.v6.our = addr_any6;
	make_pkt(w, &v4->guest, &v4->peer);
	assert_true(hosterr_refuse(&w->h, &w->g.p, EHOSTUNREACH));
	expect(w, &v4->peer, &v4->guest);
	make_pkt(w, &v6->guest, &v6->peer);
	hosterr_too_big(&w->h, &w->g.p, 1300);
	expect(w, &ll, &v6->guest);
	w->net.nat.our_ll6 = addr_any6;
	assert_true(hosterr_refuse(&w->h, &w->g.p, EHOSTUNREACH));
	expect(w, &v6->peer, &v6->guest);
}

static void too_big(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];

		make_pkt(w, &a->guest, &a->peer);
		hosterr_too_big(&w->h, &w->g.p, 1333);
		expect(w, &a->our, &a->guest);
		assert_int_equal(w->seen.type, a->v4 ? 3 : 2);
		assert_int_equal(w->seen.code, a->v4 ? 4 : 0);
		assert_int_equal(w->seen.info, 1333);
	}
}

/* An error that would be reported, of a packet for which there must be no report. */
static void never_about_groups(void **state)
{
	struct world *w = *state;
	const struct addr dst[] = { net_families[0].group, net_families[1].group, ADDR4_INIT(255, 255, 255, 255) };

	for (unsigned i = 0; i < ARRAY_SIZE(dst); i++) {
		make_pkt(w, &net_families[!addr_is4(&dst[i])].guest, &dst[i]);
		assert_true(hosterr_refuse(&w->h, &w->g.p, ENETUNREACH));
		hosterr_too_big(&w->h, &w->g.p, 1300);
		assert_int_equal(w->net.fl.frames, 0);
	}
}

/* Quotes the packet that was made. */
static size_t quote(const void *ctx, const void *payload, size_t len, uint8_t ret_quote[HOSTERR_QUOTE_MAX])
{
	const struct world *w = ctx;
	size_t n = w->g.p.head_len - w->g.p.l3;

	assert_int_equal(len, 4);
	assert_memory_equal(payload, "kept", 4);
	memcpy(ret_quote, w->g.p.head + w->g.p.l3, n);
	return n;
}

static void what_the_network_reports(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	const struct addr lo = addr_loopback4;
	const struct {
		struct sock_err e;
		const struct addr *to, *remote; /* the peer, for the host and the guest */
		const struct addr *from; /* expected; NULL: nothing */
		uint32_t info;
	} cases[] = {
		{ { .type = 11, .has_from = true, .from = a->router, .info = 7 }, &a->peer, &a->peer, &a->router, 0 },
		{ { .type = 3, .code = 4, .has_from = true, .from = a->router, .info = 1400 },
		  &a->peer,
		  &a->peer,
		  &a->router,
		  1400 },
		{ { .type = 3, .code = 3, .has_from = true, .from = a->peer }, &a->peer, &a->peer, &a->peer, 0 },
		{ { .type = 11, .has_from = true, .from = a->router, .ttl = 61 }, &a->peer, &a->peer, &a->router, 0 },
		{ { .type = 3, .code = 3, .has_from = true, .from = lo }, &lo, &a->our, &a->our, 0 },
		{ { .type = 3, .code = 1 }, &a->peer, &a->peer, &a->peer, 0 },
		{ { .type = 3, .has_from = true, .from = net_families[1].router }, &a->peer, &a->peer, &a->peer, 0 },
		{ { .type = 5, .has_from = true, .from = a->router }, &a->peer, &a->peer, NULL, 0 },
		{ { .type = 3, .origin = SO_EE_ORIGIN_LOCAL }, &a->peer, &a->peer, NULL, 0 },
	};
	int fd;

	assert_int_equal(sock_open(AF_INET, SOCK_DGRAM, 17, &fd), 0);
	assert_int_equal(sock_set_int(fd, IPPROTO_IP, IP_RECVERR, 1), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct flow f = { .key = flow_key_init(17, &a->guest, 5000, cases[i].remote, 6000), .queue = 5 };
		struct hosterr_sock s = { .fd = fd, .flow = &f, .to = cases[i].to, .quote = quote, .ctx = w };
		struct sock_err e = cases[i].e;

		if (!e.origin)
			e.origin = SO_EE_ORIGIN_ICMP;
		e.err = EHOSTUNREACH;
		make_pkt(w, &a->guest, cases[i].remote);
		fake_dgram_error(fd, &e, "kept", 4);
		assert_int_equal(hosterr_drain(&w->h, &s), e.origin == SO_EE_ORIGIN_ICMP);
		assert_int_equal(fake_fd(fd)->so_error, 0);
		if (cases[i].from) {
			assert_int_equal(fake_link_frame(&w->net.fl, 0)->queue, 5);
			expect(w, cases[i].from, &a->guest);
			assert_int_equal(w->seen.info, cases[i].info);
			assert_int_equal(w->seen.ttl, e.ttl ? e.ttl : 64);
		}
		assert_int_equal(w->net.fl.frames, 0);
	}
	sock_close(fd);
}

/* One call has a limit; what is left makes the next event. */
static void one_batch(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct flow f = { .key = flow_key_init(17, &a->guest, 5000, &a->peer, 6000) };
	struct hosterr_sock s = { .flow = &f, .to = &a->peer, .quote = quote, .ctx = w };
	struct sock_err e = { .err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP, .type = 3, .code = 3 };

	assert_int_equal(sock_open(AF_INET, SOCK_DGRAM, 17, &s.fd), 0);
	assert_int_equal(sock_set_int(s.fd, IPPROTO_IP, IP_RECVERR, 1), 0);
	make_pkt(w, &a->guest, &a->peer);
	for (unsigned i = 0; i < LINK_BATCH + 3; i++)
		fake_dgram_error(s.fd, &e, "kept", 4);
	assert_int_equal(hosterr_drain(&w->h, &s), LINK_BATCH);
	assert_int_equal(hosterr_drain(&w->h, &s), 3);
	assert_int_equal(w->net.fl.frames, LINK_BATCH + 3);
	/* Without room: lost, without harm. */
	fake_link_room(&w->net.fl, 0);
	fake_dgram_error(s.fd, &e, "kept", 4);
	assert_int_equal(hosterr_drain(&w->h, &s), 1);
	assert_int_equal(w->net.fl.frames, LINK_BATCH + 3);
	sock_close(s.fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(who_refuses), T(router_address), T(too_big), T(never_about_groups), T(what_the_network_reports), T(one_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
