/* SPDX-License-Identifier: MIT */
/* Connections that are handed over: up to the moment when somebody else has both sockets. */
#include "tcp/hand.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/ip.h"
#include "world.h"

#define PAIRS_MAX 512

static const struct tcp_hdr usual = { .mss = 1460, .has_wscale = true, .wscale = 7, .sack_ok = true, .has_ts = true, .ts_val = 99 };

/* Who joins, has sockets, or has not. */
static struct hands {
	struct world w;
	int raw[2];
	int take_err; /* positive errno; 0: there are sockets */
	unsigned taken;
	struct fake_stream *pair[PAIRS_MAX][2]; /* towards the guest, towards the host */
	unsigned pairs;
	unsigned inwards;
	struct hand_in in;
	int inwards_fd, inwards_err;
} x;

static int take(void *ctx, int family, int *ret_fd)
{
	assert_ptr_equal(ctx, &x);
	if (x.take_err)
		return -x.take_err;
	x.taken++;
	return sock_open(family, SOCK_STREAM, IPPROTO_TCP, ret_fd);
}

static void join(void *ctx, int guest_fd, int host_fd)
{
	assert_in_range(x.pairs, 0, PAIRS_MAX - 1);
	assert_false(fake_fd(guest_fd)->in_epoll);
	assert_true(fake_fd(host_fd)->in_epoll);
	x.pair[x.pairs][0] = fake_stream_of(guest_fd);
	x.pair[x.pairs++][1] = fake_stream_of(host_fd);
}

static int inwards(void *ctx, int fd, const struct hand_in *in)
{
	x.inwards++;
	x.inwards_fd = fd;
	x.in = *in;
	return x.inwards_err;
}

static void begin(bool v6)
{
	struct tcp_hand_conf c = { .take = take, .join = join, .inwards = inwards, .ctx = &x };

	memset(&x, 0, sizeof(x));
	world_init(&x.w, &(struct world_conf){ .v6 = v6 });
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(sock_open(i ? AF_INET6 : AF_INET, SOCK_DGRAM, IPPROTO_RAW, &x.raw[i]), 0);
		c.raw[i] = x.raw[i];
	}
	assert_int_equal(tcp_set_hand(x.w.t, &c), 0);
}

static void end(void)
{
	for (unsigned i = 0; i < x.pairs; i++) {
		sock_close(x.pair[i][0]->fd);
		sock_close(x.pair[i][1]->fd);
	}
	world_wait(&x.w, 3 * HAND_WAIT_NS); /* nobody listens any more */
	assert_int_equal(x.w.t->hand->n, 0);
	sock_close(x.raw[0]);
	sock_close(x.raw[1]);
	world_fini(&x.w);
}

/* A SYN of the guest, and the socket that connects because of it. */
static struct fake_stream *syn(void)
{
	conn_syn(&x.w, &usual);
	conn_expect_none(&x.w);
	return fake_fd(world_conn(&x.w)->fd)->stream;
}

static void connected(struct fake_stream *s)
{
	fake_stream_connected(s);
	world_settle(&x.w);
}

static void again(void)
{
	conn_syn(&x.w, &usual);
	world_settle(&x.w);
}

/* The guest's kernel and that of the annex agree. */
static struct fake_stream *agree_at(unsigned port)
{
	struct fake_stream *s = fake_stream_arrive(x.w.t->hand->port[port].fd, &x.w.g);

	s->local = x.w.r;
	return s;
}

static void agree(void)
{
	(void)agree_at(0);
	world_settle(&x.w);
}

/* The i-th packet that was sent is the guest's SYN. */
static void is_syn(unsigned i)
{
	const struct fake_dgram *d = fake_sent(i);
	struct flow_key key = flow_key_init(PROTO_TCP, &x.w.g.addr, x.w.g.port, &x.w.r.addr, x.w.r.port);
	struct tcp_hdr h = usual;
	uint8_t want[TCP_SYN_MAX];
	struct tcp_syn s;
	size_t len;

	h.flags = TCP_SYN;
	h.seq = x.w.iss;
	h.window = x.w.window;
	s = tcp_syn_of(&h);
	len = tcp_syn_put(&s, &key, want);
	assert_int_equal(d->fd, x.raw[x.w.conf.v6]);
	assert_true(addr_eq(&d->to.addr, &x.w.r.addr));
	assert_int_equal(d->len, len);
	assert_memory_equal(d->data, want, len);
}

static void is_pair(unsigned i, const struct fake_stream *host)
{
	assert_true(i < x.pairs);
	assert_ptr_equal(x.pair[i][1], host);
	assert_true(ep_eq(&x.pair[i][0]->peer, &x.w.g));
	assert_true(ep_eq(&x.pair[i][0]->local, &x.w.r));
	assert_false(host->rst_out || host->fin_out);
	assert_null(world_conn(&x.w));
}

/* The guest's connect() fails. */
static void expect_refusal(void)
{
	struct seen a;

	assert_true(world_take(&x.w, &a));
	assert_int_equal(a.h.flags, TCP_RST | TCP_ACK);
	assert_int_equal(a.h.ack, x.w.iss + 1);
	conn_expect_none(&x.w);
}

/* --- from the guest --- */

static void test_out(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct fake_stream *s;

		begin(v6);
		s = syn();
		assert_int_equal(fake_os.n_sent, 0);
		assert_int_equal(x.taken, 0); /* nobody knows yet whether somebody is there */
		connected(s);
		assert_int_equal(fake_os.n_sent, 1);
		is_syn(0);
		assert_int_equal(world_conn(&x.w)->state, CONN_HANDED);
		assert_int_equal(fake_fd(x.w.t->hand->port[0].fd)->local.port, x.w.r.port);
		assert_true(addr_is_any(&fake_fd(x.w.t->hand->port[0].fd)->local.addr));
		agree();
		is_pair(0, s);
		assert_int_equal(x.pairs, 1);
		assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_OUT], 1);
		conn_expect_none(&x.w); /* from us, the guest has heard nothing */
		end();
	}
}

/* The second connection to a port finds somebody who listens, and is there when its SYN was said. */
static void test_at_once(void **state)
{
	struct fake_stream *first, *second;

	begin(false);
	first = syn();
	x.w.g.port++;
	second = syn();
	x.w.g.port--;
	connected(first);
	agree();
	is_pair(0, first);
	x.w.g.port++;
	fake_stream_connected(second);
	(void)agree_at(0);
	world_settle(&x.w);
	is_pair(1, second);
	assert_int_equal(x.taken, 1);
	end();
}

/* It is who has connected that decides; until then nobody says anything. */
static void test_refused(void **state)
{
	struct fake_stream *s;

	begin(false);
	s = syn();
	fake_stream_fail(s, ECONNREFUSED);
	world_settle(&x.w);
	expect_refusal();
	assert_int_equal(fake_os.n_sent, 0);
	assert_int_equal(x.taken, 0);
	end();
}

static void test_syn_again(void **state)
{
	struct fake_stream *s;

	begin(false);
	s = syn();
	again();
	assert_int_equal(fake_os.n_sent, 0);
	connected(s);
	for (unsigned i = 0; i < 3; i++) {
		is_syn(i);
		again();
	}
	agree();
	is_pair(0, s);
	assert_int_equal(x.taken, 1);
	end();
}

/* A guest that has given up says so, by a reset that is exact. */
static void test_guest_gives_up(void **state)
{
	static const uint8_t other[] = { TCP_ACK, TCP_FIN | TCP_ACK, TCP_SYN | TCP_ACK, TCP_ACK | TCP_PSH };
	struct fake_stream *s;

	begin(false);
	s = syn();
	connected(s);
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		x.w.seq = x.w.iss + 1;
		conn_send(&x.w, other[i], NULL, 0);
		assert_non_null(world_conn(&x.w));
	}
	for (uint32_t off = 0; off < 3; off += 2) {
		x.w.seq = x.w.iss + off;
		conn_send(&x.w, TCP_RST, NULL, 0);
		assert_non_null(world_conn(&x.w));
	}
	x.w.seq = x.w.iss + 1;
	conn_send(&x.w, TCP_RST, NULL, 0);
	assert_null(world_conn(&x.w));
	assert_true(s->rst_out);
	conn_expect_none(&x.w);
	assert_int_equal(fake_os.n_sent, 1);
	/* Too late. */
	s = agree_at(0);
	world_settle(&x.w);
	assert_true(s->rst_out);
	assert_int_equal(x.pairs, 0);
	end();
}

/* One that says nothing, too. */
static void test_guest_is_silent(void **state)
{
	struct fake_stream *s;

	begin(false);
	s = syn();
	connected(s);
	world_wait(&x.w, HAND_WAIT_NS - NSEC_PER_MSEC);
	assert_non_null(world_conn(&x.w));
	world_wait(&x.w, 2 * NSEC_PER_MSEC);
	assert_null(world_conn(&x.w));
	assert_true(s->rst_out);
	conn_expect_none(&x.w);
	assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_GUEST_GONE], 1);
	end();
}

/* The remote has reset the connection before we saw that it was there. Its guest sees both as well. */
static void test_host_resets_at_once(void **state)
{
	struct fake_stream *s, *g;

	begin(false);
	s = syn();
	fake_stream_connected(s);
	fake_stream_rst(s);
	world_settle(&x.w);
	is_syn(0);
	g = agree_at(0);
	world_settle(&x.w);
	assert_int_equal(x.pairs, 0);
	assert_true(g->rst_out);
	assert_int_equal(s->fd, -1);
	assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_REMOTE_GONE], 1);
	assert_null(world_conn(&x.w));
	conn_expect_none(&x.w);
	end();
}

/* What the host says meanwhile is for whoever joins the two. */
static void test_host_says_something(void **state)
{
	struct fake_stream *s;

	begin(false);
	s = syn();
	connected(s);
	host_push(s, 5000);
	world_settle(&x.w);
	fake_stream_fin(s);
	world_settle(&x.w);
	conn_expect_none(&x.w);
	assert_int_equal(s->in_len, 5000);
	agree();
	is_pair(0, s);
	assert_int_equal(s->in_len, 5000);
	assert_int_equal(s->peek_off, -1);
	end();
}

/* --- sockets --- */

static void test_none_in_stock(void **state)
{
	struct fake_stream *s, *t;

	begin(false);
	x.take_err = EAGAIN;
	s = syn();
	connected(s);
	x.w.g.port++;
	t = syn();
	connected(t);
	again();
	tcp_hand_ready(x.w.t);
	world_settle(&x.w);
	assert_int_equal(fake_os.n_sent, 0);
	/* One of the two gives up. */
	conn_send(&x.w, TCP_RST, NULL, 0);
	assert_null(world_conn(&x.w));
	assert_true(t->rst_out);
	x.take_err = 0;
	tcp_hand_ready(x.w.t);
	world_settle(&x.w);
	x.w.g.port--;
	assert_int_equal(fake_os.n_sent, 1);
	is_syn(0);
	agree();
	is_pair(0, s);
	conn_expect_none(&x.w);
	end();
}

/* Whatever fails, nothing is left behind, and the guest is told. */
static void test_out_of_resources(void **state)
{
	static const struct {
		enum fake_call call;
		int err;
	} tab[] = {
		{ FAKE_CALLS, EMFILE }, /* no socket */
		{ FAKE_BIND, EADDRINUSE }, { FAKE_LISTEN, ENOMEM }, { FAKE_EPOLL_ADD, ENOSPC }, { FAKE_SENDMMSG, EPERM },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tab); i++) {
		struct fake_stream *s;

		begin(false);
		s = syn();
		if (tab[i].call == FAKE_CALLS)
			x.take_err = tab[i].err;
		else
			fake_fail(tab[i].call, -1, tab[i].err, 0, 1);
		connected(s);
		expect_refusal();
		assert_null(world_conn(&x.w));
		assert_true(s->rst_out);
		assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_NO_SOCKET], 1);
		x.take_err = 0;
		end();
	}
}

/* A queue that is full, somewhere: the guest says it again, and so do we. */
static void test_not_sent(void **state)
{
	struct fake_stream *s;

	begin(false);
	s = syn();
	fake_fail(FAKE_SENDMMSG, -1, ENOBUFS, 0, 1);
	connected(s);
	assert_non_null(world_conn(&x.w));
	conn_expect_none(&x.w);
	again();
	is_syn(0);
	agree();
	is_pair(0, s);
	end();
}

/* One that listens for each port, as many as there may be; those that nobody uses go. */
static void test_ports(void **state)
{
	uint16_t first;

	begin(false);
	first = x.w.r.port;
	for (unsigned i = 0; i < HAND_PORTS + 3; i++) {
		world_wait(&x.w, NSEC_PER_MSEC);
		connected(syn());
		(void)agree_at(i < HAND_PORTS ? i : i - HAND_PORTS); /* in the place of the oldest */
		world_settle(&x.w);
		assert_int_equal(x.pairs, i + 1);
		x.w.r.port++;
	}
	assert_int_equal(x.w.t->hand->n, HAND_PORTS);
	assert_int_equal(x.taken, HAND_PORTS + 3);
	/* Some go on being used. */
	world_wait(&x.w, HAND_WAIT_NS - 10 * NSEC_PER_MSEC);
	for (unsigned i = 10; i < 20; i++) {
		x.w.r.port = (uint16_t)(first + i);
		x.w.g.port++;
		connected(syn());
		(void)agree_at(i);
		world_settle(&x.w);
	}
	assert_int_equal(x.taken, HAND_PORTS + 3);
	world_wait(&x.w, HAND_WAIT_NS - 20 * NSEC_PER_MSEC);
	assert_int_equal(x.w.t->hand->n, 10);
	/* Each of them is still the one of its port, by its events. */
	for (unsigned i = 0; i < 10; i++) {
		x.w.r.port = x.w.t->hand->port[i].port;
		x.w.g.port++;
		connected(syn());
		(void)agree_at(i);
		world_settle(&x.w);
		assert_null(world_conn(&x.w));
	}
	assert_int_equal(x.taken, HAND_PORTS + 3);
	end();
}

/* Somebody whom nobody waits for. */
static void test_stranger(void **state)
{
	struct fake_stream *s, *t;

	begin(false);
	s = syn();
	connected(s);
	x.w.g.port++;
	t = agree_at(0);
	world_settle(&x.w);
	assert_true(t->rst_out);
	assert_int_equal(x.pairs, 0);
	/* Nor for one whose remote hasn't answered. */
	(void)syn();
	t = agree_at(0);
	world_settle(&x.w);
	assert_true(t->rst_out);
	tcp_flow_abort(x.w.t, &world_conn(&x.w)->f);
	x.w.g.port--;
	agree();
	is_pair(0, s);
	end();
}

/* --- those that stay --- */

static void test_linklocal(void **state)
{
	struct fake_stream *s;
	struct seen a;

	begin(true);
	x.w.r.addr = (struct addr){ .b = { 0xfe, 0x80, [15] = 9 } };
	s = syn();
	connected(s);
	assert_true(world_take(&x.w, &a));
	assert_int_equal(a.h.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(fake_os.n_sent, 0);
	assert_int_equal(tcp_hand_stats(x.w.t)->stays[TCP_STAYS_LINK_LOCAL], 1);
	x.w.ack = a.h.seq + 1;
	conn_send(&x.w, TCP_ACK, NULL, 0);
	assert_int_equal(world_conn(&x.w)->state, CONN_ESTABLISHED);
	x.w.s = s;
	conn_kill(&x.w);
	end();
}

/* --- to the guest --- */

static void test_in(void **state)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct fake_stream *s;

		begin(v6);
		x.w.g.port = 80;
		s = fake_stream_arrive(x.w.listener.fd, &x.w.r);
		s->tos = 0xbb;
		world_settle(&x.w);
		conn_expect_none(&x.w);
		assert_int_equal(x.inwards, 1);
		assert_int_equal(x.in.tos, 0xb8); /* without the bits of ECN */
		assert_ptr_equal(fake_stream_of(x.inwards_fd), s);
		assert_true(ep_eq(&x.in.as, &x.w.r));
		assert_true(ep_eq(&x.in.to, &x.w.g));
		assert_null(world_conn(&x.w));
		assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_IN], 1);
		sock_close(x.inwards_fd);
		end();
	}
}

/* Whoever takes it has closed it in any case. */
static void test_in_without_sockets(void **state)
{
	begin(false);
	x.w.g.port = 80;
	x.inwards_err = -ENOSPC;
	(void)fake_stream_arrive(x.w.listener.fd, &x.w.r);
	world_settle(&x.w);
	conn_expect_none(&x.w);
	assert_int_equal(x.inwards, 1);
	assert_null(world_conn(&x.w));
	assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_IN], 0);
	assert_int_equal(tcp_hand_stats(x.w.t)->end[HAND_NO_SOCKET], 1);
	sock_close(x.inwards_fd);
	end();
}

/* The newest that is half open has to give way: the guest, which may have an answer already, is told when it comes. */
static void test_displaced(void **state)
{
	struct fake_stream *s, *t;

	begin(false);
	s = syn();
	connected(s);
	conn_displaced(x.w.t, &world_conn(&x.w)->f);
	assert_null(world_conn(&x.w));
	assert_true(s->rst_out);
	conn_expect_none(&x.w);
	t = agree_at(0);
	world_settle(&x.w);
	assert_true(t->rst_out);
	assert_int_equal(x.pairs, 0);
	end();
}

/* Counters have a name each. */
static void test_names(void **state)
{
	for (enum hand_end e = 0; e < HAND_ENDS; e++)
		assert_memory_equal(hand_end_name(e), "tcp_hand", 8);
	for (enum tcp_stay i = TCP_STAYS_NOT + 1; i < TCP_STAYS_KINDS; i++)
		assert_memory_equal(hand_stay_name(i), "tcp_kept_", 9);
}

/* At the end of the program nobody is left waiting. */
static void test_end(void **state)
{
	struct fake_stream *s, *t;

	begin(false);
	s = syn();
	connected(s);
	x.take_err = EAGAIN;
	x.w.r.port++;
	t = syn();
	connected(t);
	tcp_flow_abort(x.w.t, &world_conn(&x.w)->f);
	x.w.r.port--;
	tcp_flow_abort(x.w.t, &world_conn(&x.w)->f);
	assert_true(s->rst_out && t->rst_out);
	x.take_err = 0;
	tcp_hand_ready(x.w.t);
	world_clear(&x.w);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_syn_again),
		cmocka_unit_test(test_guest_gives_up),
		cmocka_unit_test(test_guest_is_silent),
		cmocka_unit_test(test_host_resets_at_once),
		cmocka_unit_test(test_host_says_something),
		cmocka_unit_test(test_none_in_stock),
		cmocka_unit_test(test_out_of_resources),
		cmocka_unit_test(test_not_sent),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_stranger),
		cmocka_unit_test(test_linklocal),
		cmocka_unit_test(test_in),
		cmocka_unit_test(test_in_without_sockets),
		cmocka_unit_test(test_displaced),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_end),
	};

	return cmocka_run_group_tests_name("tcp/hand", tests, NULL, NULL);
}
