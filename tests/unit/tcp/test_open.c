/* SPDX-License-Identifier: MIT */
/* Handshakes both ways: options, retransmission, giving up, and what failures of connect() become. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/icmp.h"
#include "wire/ip.h"
#include "world.h"

static const struct tcp_hdr usual = { .mss = 1460, .has_wscale = true, .wscale = 7 };

static void test_out_options(void **state)
{
	static const size_t mtus[] = { 576, 1280, 1500, 9000, 65520, 65535 };

	for (unsigned v6 = 0; v6 < 2; v6++) {
		for (unsigned i = 0; i < ARRAY_SIZE(mtus); i++) {
			struct world w;
			struct seen a;

			world_init(&w, &(struct world_conf){ .v6 = v6, .mtu = mtus[i] });
			conn_syn(&w, &usual);
			conn_expect_none(&w);
			w.s = fake_stream_last();
			assert_int_equal(w.s->state, FAKE_S_CONNECTING);
			assert_true(ep_eq(&w.s->peer, &w.r));
			assert_int_equal(fake_opt(fake_fd(w.s->fd), SOL_SOCKET, SO_OOBINLINE, 0), 1);
			fake_stream_connected(w.s);
			assert_true(world_settle(&w) <= 2);
			assert_true(world_take(&w, &a));
			assert_int_equal(a.h.flags, TCP_SYN | TCP_ACK);
			assert_int_equal(a.h.ack, w.iss + 1);
			assert_int_equal(a.h.mss, mtus[i] - world_overhead(&w));
			assert_true(a.h.has_wscale);
			assert_int_equal(a.h.wscale, TCP_WSCALE);
			assert_true(a.h.window > 0); /* not scaled in a SYN (RFC 7323 2.2) */
			assert_true(addr_eq(&a.src, &w.r.addr) && addr_eq(&a.dst, &w.g.addr));
			conn_expect_none(&w);
			w.ack = a.h.seq + 1;
			conn_send(&w, TCP_ACK, NULL, 0);
			conn_expect_none(&w);
			assert_int_equal(world_conn(&w)->snd.una, a.h.seq + 1);
			assert_int_equal(world_conn(&w)->snd.wnd, (uint32_t)w.window << 7);
			conn_kill(&w);
			assert_true(w.s->rst_out);
			world_fini(&w);
		}
	}
}

static void test_in_options(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world w;
		struct seen a;
		struct gseg s = { .h = { .flags = TCP_SYN | TCP_ACK, .mss = 1000, .has_wscale = true, .wscale = 3 } };

		world_init(&w, &(struct world_conf){ .v6 = v6 });
		w.g.port = 80;
		w.s = fake_stream_arrive(w.listener.fd, &w.r);
		assert_int_equal(world_settle(&w), 2); /* the listener; the connection, which is writable */
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.flags, TCP_SYN);
		assert_int_equal(a.h.mss, 1500 - world_overhead(&w));
		assert_true(a.h.has_wscale);
		assert_int_equal(a.h.wscale, TCP_WSCALE);
		assert_int_equal(a.h.sport, w.r.port);
		assert_int_equal(a.h.dport, 80);
		assert_int_equal(a.h.ack, 0);
		assert_true(addr_eq(&a.src, &w.r.addr) && addr_eq(&a.dst, &w.g.addr));
		w.s->peer = w.r;
		s.h.seq = w.iss;
		s.h.ack = a.h.seq + 1;
		s.h.window = 100;
		world_put(&w, &s, 1);
		w.ack = a.h.seq + 1;
		a = conn_expect(&w, TCP_ACK, w.ack, w.iss + 1);
		assert_true(a.h.window);
		conn_expect_none(&w);
		assert_int_equal(world_conn(&w)->snd.wnd, 100); /* of a SYN: not scaled */
		assert_int_equal(world_conn(&w)->snd.mss, 1000);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* What the guest says of itself, and what we make of it. */
static void test_guest_mss(void **state)
{
	static const struct {
		bool v6;
		uint16_t mss, want;
	} tab[] = {
		{ false, 0, 536 },    { true, 0, 1220 },    { false, 1, 48 },      { false, 47, 48 },
		{ false, 48, 48 },    { false, 49, 49 },    { false, 1460, 1460 }, { false, 1461, 1460 },
		{ true, 1440, 1440 }, { true, 1460, 1440 }, { true, 3, 48 },       { false, 65535, 1460 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct world w;
		struct tcp_hdr h = { .mss = tab[i].mss };
		struct seen a;

		world_init(&w, &(struct world_conf){ .v6 = tab[i].v6 });
		conn_syn(&w, &h);
		w.s = fake_stream_last();
		fake_stream_connected(w.s);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		assert_false(a.h.has_wscale); /* the guest did not offer it */
		w.irs = a.h.seq;
		w.ack = w.irs + 1;
		conn_send(&w, TCP_ACK, NULL, 0);
		host_push(w.s, 5000);
		world_settle(&w);
		for (size_t done = 0; done < 5000;) {
			assert_true(world_take(&w, &a));
			assert_int_equal(a.len, MIN((size_t)tab[i].want, 5000 - done));
			pattern_check(DIR_DOWN, done, a.data, a.len);
			assert_int_equal(!!(a.h.flags & TCP_PSH), done + a.len == 5000);
			done += a.len;
		}
		conn_expect_none(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

static void test_syn_ack_repeated(void **state)
{
	struct world w;
	struct seen a, b;
	uint64_t wait = 1000, last = 0;
	unsigned n = 0;

	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &usual);
	w.s = fake_stream_last();
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	last = fake_os.now_ns;
	while (world_conn(&w)) {
		assert_true(n++ < 30);
		world_wait(&w, wait * NSEC_PER_MSEC - 2 * NSEC_PER_MSEC - (fake_os.now_ns - last));
		conn_expect_none(&w);
		world_wait(&w, 4 * NSEC_PER_MSEC);
		last = fake_os.now_ns - 2 * NSEC_PER_MSEC;
		assert_true(world_take(&w, &b));
		if (!(b.h.flags & TCP_SYN))
			break;
		assert_int_equal(b.h.flags, TCP_SYN | TCP_ACK);
		assert_int_equal(b.h.seq, a.h.seq);
		assert_int_equal(b.h.ack, a.h.ack);
		assert_int_equal(b.h.mss, a.h.mss);
		assert_int_equal(b.h.has_wscale, a.h.has_wscale);
		wait = MIN(wait * 2, (uint64_t)60000);
	}
	/* It gave up: both sides hear of it. */
	assert_in_range(n, 4, 14);
	assert_int_equal(b.h.flags, TCP_RST | TCP_ACK);
	assert_int_equal(b.h.ack, w.iss + 1);
	assert_null(world_conn(&w));
	assert_true(w.s->rst_out);
	world_fini(&w);
}

static void test_syn_repeated(void **state)
{
	struct world w;
	struct seen a, b;
	unsigned n = 0;

	world_init(&w, &(struct world_conf){ 0 });
	w.g.port = 80;
	w.s = fake_stream_arrive(w.listener.fd, &w.r);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	for (uint64_t ms = 1000; world_conn(&w) && n < 30; ms = MIN(ms * 2, (uint64_t)60000), n++) {
		world_wait(&w, ms * NSEC_PER_MSEC - 3 * NSEC_PER_MSEC);
		conn_expect_none(&w);
		world_wait(&w, 3 * NSEC_PER_MSEC);
		assert_true(world_take(&w, &b));
		if (b.h.flags & TCP_RST)
			continue;
		assert_int_equal(b.h.flags, TCP_SYN);
		assert_int_equal(b.h.seq, a.h.seq);
		assert_int_equal(b.h.mss, a.h.mss);
	}
	assert_in_range(n, 4, 14);
	conn_expect_none(&w);
	assert_true(w.s->rst_out);
	world_fini(&w);
}

/* A guest without an address of the family can't be reached: the client learns so at once. */
static void test_in_no_guest(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ .v6 = true });
	w.guest.addr6 = w.guest.ll6 = addr_any6;
	w.s = fake_stream_arrive(w.listener.fd, &w.r);
	world_settle(&w);
	conn_expect_none(&w);
	assert_true(w.s->rst_out);
	world_fini(&w);
}

/* No room on the link when the answer is due: the timer brings it. */
static void test_handshake_no_room(void **state)
{
	for (unsigned in = 0; in < 2; in++) {
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		fake_link_room(&w.fl, 0);
		if (in) {
			w.g.port = 80;
			w.s = fake_stream_arrive(w.listener.fd, &w.r);
		} else {
			conn_syn(&w, &usual);
			w.s = fake_stream_last();
			fake_stream_connected(w.s);
		}
		world_settle(&w);
		conn_expect_none(&w);
		fake_link_room(&w.fl, SIZE_MAX);
		world_wait(&w, NSEC_PER_SEC + NSEC_PER_MSEC);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.flags, in ? TCP_SYN : TCP_SYN | TCP_ACK);
		w.ack = a.h.seq + 1;
		w.seq = w.iss;
		tcp_flow_abort(w.t, &world_conn(&w)->f);
		world_fini(&w);
	}
}

/* The guest's SYN comes again before and after our answer. */
static void test_syn_duplicate(void **state)
{
	struct world w;
	struct seen a, b;

	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &usual);
	w.s = fake_stream_last();
	conn_syn(&w, &usual);
	conn_syn(&w, &usual);
	conn_expect_none(&w);
	assert_int_equal(fake_open_count(), 2); /* with the listener */
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	conn_syn(&w, &usual);
	assert_true(world_take(&w, &b));
	assert_int_equal(b.h.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(b.h.seq, a.h.seq);
	assert_int_equal(b.h.ack, a.h.ack);
	conn_expect_none(&w);
	/* Both answers arrive, the guest acknowledges twice. */
	w.ack = a.h.seq + 1;
	w.irs = a.h.seq;
	conn_send(&w, TCP_ACK, NULL, 0);
	conn_send(&w, TCP_ACK, NULL, 0);
	conn_expect_none(&w);
	assert_int_equal(world_conn(&w)->state, CONN_ESTABLISHED);
	conn_kill(&w);
	world_fini(&w);
}

/* The ACK of our SYN-ACK is lost; the first data carries the acknowledgement. */
static void test_handshake_with_data(void **state)
{
	struct world w;
	struct seen a;
	uint8_t data[100];

	world_init(&w, &(struct world_conf){ 0 });
	conn_syn(&w, &usual);
	w.s = fake_stream_last();
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	w.ack = a.h.seq + 1;
	w.checked = true;
	pattern_fill(DIR_UP, 0, data, sizeof(data));
	conn_send(&w, TCP_ACK | TCP_PSH, data, sizeof(data));
	conn_expect(&w, TCP_ACK, w.ack, w.iss + 1 + 100);
	assert_int_equal(host_check(w.s), 100);
	conn_kill(&w);
	world_fini(&w);
}

/* What connect() comes to, at once or later, and what the guest sees. */
static void test_connect_fails(void **state)
{
	static const struct {
		int err;
		enum { RST, ICMP, SILENCE } want;
		uint8_t type4, code4, type6, code6;
	} tab[] = {
		{ ECONNREFUSED, RST, 0, 0, 0, 0 },
		{ EHOSTUNREACH, ICMP, 3, 1, 1, 3 },
		{ ENETUNREACH, ICMP, 3, 0, 1, 0 },
		{ ETIMEDOUT, SILENCE, 0, 0, 0, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab) * 4; i++) {
		bool v6 = i & 1, later = i & 2;
		unsigned c = i / 4;
		struct world w;
		struct seen a;

		if (tab[c].err == ETIMEDOUT && !later)
			continue;
		world_init(&w, &(struct world_conf){ .v6 = v6 });
		if (!later)
			fake_fail(FAKE_CONNECT, -1, tab[c].err, 0, 1);
		conn_syn(&w, &usual);
		if (later) {
			world_wait(&w, 300 * NSEC_PER_MSEC);
			conn_expect_none(&w);
			fake_stream_fail(fake_stream_last(), tab[c].err);
		}
		assert_in_range(world_settle(&w), 0, 1);
		if (tab[c].want == RST) {
			assert_true(world_take(&w, &a));
			assert_int_equal(a.h.flags, TCP_RST | TCP_ACK);
			assert_int_equal(a.h.ack, w.iss + 1);
		} else if (tab[c].want == ICMP) {
			assert_true(world_take(&w, &a));
			assert_int_equal(a.proto, v6 ? PROTO_ICMP6 : PROTO_ICMP);
			assert_int_equal(a.icmp_type, v6 ? tab[c].type6 : tab[c].type4);
			assert_int_equal(a.icmp_code, v6 ? tab[c].code6 : tab[c].code4);
			assert_true(addr_eq(&a.src, v6 ? &w.nat.v6.our : &w.nat.v4.our)); /* the first router */
			assert_true(addr_eq(&a.quoted_src, &w.g.addr) && addr_eq(&a.quoted_dst, &w.r.addr));
			assert_int_equal(a.quoted.sport, w.g.port);
			assert_int_equal(a.quoted.dport, w.r.port);
			assert_int_equal(a.quoted.seq, w.iss);
			assert_int_equal(a.quoted.flags, TCP_SYN);
		}
		conn_expect_none(&w);
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

/* Segments of no connection (RFC 9293 3.10.7.1). */
static void test_no_connection(void **state)
{
	struct world w;
	struct gseg s = { .h = { .flags = TCP_ACK, .seq = 5, .ack = 77 }, .data = "abc", .len = 3 };

	world_init(&w, &(struct world_conf){ 0 });
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_RST, 77, 0);
	s.h.flags = TCP_FIN;
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_RST | TCP_ACK, 0, 5 + 3 + 1);
	s.h.flags = TCP_SYN | TCP_ACK;
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_RST, 77, 0);
	s.h.flags = TCP_RST;
	world_put(&w, &s, 1);
	s.h.flags = TCP_RST | TCP_ACK;
	world_put(&w, &s, 1);
	s.h.flags = TCP_RST | TCP_SYN;
	world_put(&w, &s, 1);
	conn_expect_none(&w);
	assert_int_equal(flow_count(w.flows), 0);
	world_fini(&w);
}

/* Whatever system call fails, nothing is left behind. */
static void test_out_of_resources(void **state)
{
	static const struct {
		enum fake_call call;
		int err;
		unsigned skip;
	} tab[] = {
		{ FAKE_OPEN, EMFILE, 0 },    { FAKE_OPEN, ENFILE, 0 },      { FAKE_SETOPT, ENOMEM, 0 },
		{ FAKE_CONNECT, EAGAIN, 0 }, { FAKE_EPOLL_ADD, ENOSPC, 0 }, { FAKE_EPOLL_ADD, ENOMEM, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(tab); i++) {
		struct world w;

		world_init(&w, &(struct world_conf){ 0 });
		fake_fail(tab[i].call, -1, tab[i].err, tab[i].skip, 1);
		conn_syn(&w, &usual);
		world_settle(&w);
		assert_null(world_conn(&w));
		world_clear(&w);
		/* The guest tries again, and it works. */
		conn_open_out(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

static void test_accept_fails(void **state)
{
	static const int errs[] = { ECONNABORTED, EINTR };

	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		struct world w;

		world_init(&w, &(struct world_conf){ 0 });
		fake_fail(FAKE_ACCEPT, -1, errs[i], 0, 1);
		conn_open_in(&w);
		conn_kill(&w);
		world_fini(&w);
	}
}

/* Where it will not get better at once, the connection waits in the kernel, and nobody asks again and again. */
static void test_accept_lacks(void **state)
{
	static const int errs[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EPERM };

	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		fake_fail(FAKE_ACCEPT, -1, errs[i], 0, 1);
		w.g.port = 80;
		w.s = fake_stream_arrive(w.listener.fd, &w.r);
		world_settle(&w);
		assert_int_equal(fake_os.calls[FAKE_ACCEPT], 1);
		conn_expect_none(&w);
		world_wait(&w, 1100 * NSEC_PER_MSEC);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		assert_int_equal(a.h.flags, TCP_SYN);
		w.ack = a.h.seq + 1;
		conn_kill(&w);
		world_fini(&w);
	}
}

/* The guest refuses, or answers nonsense. */
static void test_in_refused(void **state)
{
	struct world w;
	struct seen a;
	struct gseg s = { .h = { .flags = TCP_RST | TCP_ACK } };

	world_init(&w, &(struct world_conf){ 0 });
	w.g.port = 80;
	w.s = fake_stream_arrive(w.listener.fd, &w.r);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	/* A wrong acknowledgement: the RST of a stranger counts for nothing, other segments are answered with a RST. */
	s.h.ack = a.h.seq + 2;
	world_put(&w, &s, 1);
	conn_expect_none(&w);
	s.h.flags = TCP_SYN | TCP_ACK;
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_RST, a.h.seq + 2, 0);
	s.h.flags = TCP_ACK;
	world_put(&w, &s, 1);
	conn_expect(&w, TCP_RST, a.h.seq + 2, 0);
	s.h.flags = TCP_RST;
	s.h.ack = 0;
	world_put(&w, &s, 1);
	assert_non_null(world_conn(&w));
	s.h.flags = TCP_RST | TCP_ACK;
	s.h.ack = a.h.seq + 1;
	world_put(&w, &s, 1);
	assert_null(world_conn(&w));
	assert_true(w.s->rst_out);
	conn_expect_none(&w);
	world_fini(&w);
}

/* The host's client leaves before the guest answers. */
static void test_in_abandoned(void **state)
{
	for (unsigned rst = 0; rst < 2; rst++) {
		struct world w;
		struct seen a;

		world_init(&w, &(struct world_conf){ 0 });
		w.g.port = 80;
		w.s = fake_stream_arrive(w.listener.fd, &w.r);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		if (rst)
			fake_stream_rst(w.s);
		else
			fake_stream_fin(w.s);
		assert_true(world_settle(&w) <= 2);
		if (!rst) {
			struct gseg s = { .h = { .flags = TCP_SYN | TCP_ACK, .seq = w.iss, .ack = a.h.seq + 1, .window = 1000 } };

			conn_expect_none(&w);
			world_put(&w, &s, 1);
			w.seq = w.iss + 1;
			w.ack = a.h.seq + 1;
			world_settle(&w);
			conn_expect(&w, TCP_FIN | TCP_ACK, a.h.seq + 1, w.iss + 1);
			conn_kill(&w);
		} else {
			conn_expect(&w, TCP_RST, a.h.seq + 1, 0);
		}
		assert_null(world_conn(&w));
		world_fini(&w);
	}
}

/* What the guest sends is not held back until something else is acknowledged, be it short or the end of something long. */
static void test_nodelay(void **state)
{
	static const struct {
		unsigned len[3];
		int set[3];
	} cases[] = { { { 1, 1, 1 }, { 0, 1, 1 } }, { { 512, 2000, 1 }, { 0, 1, 1 } }, { { 1461, 1, 1 }, { 1, 1, 1 } } };
	uint8_t data[4000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		struct world w;
		size_t done = 0;

		world_init(&w, &(struct world_conf){ .mtu = 9000 });
		conn_open(&w, i & 1);
		for (unsigned j = 0; j < 3; j++) {
			conn_send(&w, TCP_ACK, data + done, cases[i / 2].len[j]);
			done += cases[i / 2].len[j];
			assert_int_equal(host_check(w.s), done);
			assert_int_equal(fake_opt(fake_fd(w.s->fd), IPPROTO_TCP, 1 /* TCP_NODELAY */, 0), cases[i / 2].set[j]);
		}
		conn_kill(&w);
		world_fini(&w);
	}
}

/* The next connection of the guest, from another port, is opened, answered and reset. */
static void another(struct world *w)
{
	w->g.port++;
	conn_open_out(w);
	assert_int_equal(fake_opt(fake_fd(w->s->fd), SOL_SOCKET, SO_OOBINLINE, 0), 1);
	conn_kill(w);
}

static void test_stock(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct world w;
		unsigned calls;

		world_init(&w, &(struct world_conf){ .v6 = v6, .stock = 5 });
		assert_int_equal(fake_open_count(), 1); /* the listener */
		another(&w);
		assert_int_equal(fake_open_count(), 1);
		world_wait(&w, TCP_STOCK_FILL_NS);
		assert_int_equal(fake_open_count(), 1 + 5);
		/* From now on none is made while the guest waits, and what was taken is made up for. */
		for (unsigned i = 0; i < 20; i++) {
			calls = fake_os.calls[FAKE_OPEN];
			for (unsigned k = 0; k < i % 6; k++)
				another(&w);
			assert_int_equal(fake_os.calls[FAKE_OPEN], calls);
			world_wait(&w, TCP_STOCK_FILL_NS);
			assert_int_equal(fake_open_count(), 1 + 5);
		}
		/* More at once than there are. */
		calls = fake_os.calls[FAKE_OPEN];
		for (unsigned k = 0; k < 7; k++)
			another(&w);
		assert_int_equal(fake_os.calls[FAKE_OPEN], calls + 2);
		/* None can be made: later, then; and nobody tries while nobody needs one. */
		fake_fail(FAKE_OPEN, -1, EMFILE, 2, 1);
		world_wait(&w, TCP_STOCK_FILL_NS);
		assert_int_equal(fake_open_count(), 1 + 2);
		calls = fake_os.calls[FAKE_OPEN];
		world_wait(&w, 50 * TCP_STOCK_FILL_NS);
		assert_int_equal(fake_os.calls[FAKE_OPEN], calls);
		another(&w);
		world_wait(&w, TCP_STOCK_FILL_NS);
		assert_int_equal(fake_open_count(), 1 + 5);
		/* They go when nobody comes for them. */
		world_wait(&w, TCP_STOCK_KEEP_NS / 2);
		another(&w);
		world_wait(&w, TCP_STOCK_KEEP_NS / 2);
		assert_int_equal(fake_open_count(), 1 + 5);
		world_wait(&w, TCP_STOCK_KEEP_NS);
		assert_int_equal(fake_open_count(), 1);
		another(&w);
		world_wait(&w, TCP_STOCK_FILL_NS);
		assert_int_equal(fake_open_count(), 1 + 5);
		world_fini(&w);
	}
}

/* It is bound when it is known what for. */
static void test_stock_bound(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ .stock = 3 });
	another(&w);
	world_wait(&w, TCP_STOCK_FILL_NS);
	assert_int_equal(fake_os.calls[FAKE_BIND], 1); /* the listener */
	assert_int_equal(addr_parse("192.0.2.77", &w.out.addr4), 0);
	w.g.port++;
	conn_open_out(&w);
	assert_true(addr_eq(&fake_fd(w.s->fd)->local.addr, &w.out.addr4));
	conn_kill(&w);
	world_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodelay),
		cmocka_unit_test(test_stock),
		cmocka_unit_test(test_stock_bound),
		cmocka_unit_test(test_out_options),
		cmocka_unit_test(test_in_options),
		cmocka_unit_test(test_guest_mss),
		cmocka_unit_test(test_syn_ack_repeated),
		cmocka_unit_test(test_syn_repeated),
		cmocka_unit_test(test_handshake_no_room),
		cmocka_unit_test(test_syn_duplicate),
		cmocka_unit_test(test_handshake_with_data),
		cmocka_unit_test(test_connect_fails),
		cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_out_of_resources),
		cmocka_unit_test(test_accept_fails),
		cmocka_unit_test(test_accept_lacks),
		cmocka_unit_test(test_in_refused),
		cmocka_unit_test(test_in_abandoned),
		cmocka_unit_test(test_in_no_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
