/* SPDX-License-Identifier: MIT */
/* One connection, segment by segment. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "world.h"

void conn_syn(struct world *w, const struct tcp_hdr *opts)
{
	struct gseg s = { .h = *opts };

	s.h.flags = s.h.flags ? s.h.flags : TCP_SYN;
	s.h.seq = w->iss;
	s.h.window = s.h.window ? s.h.window : w->window;
	w->checked = false;
	world_put(w, &s, 1);
	w->seq = w->iss + 1;
}

void conn_open_out(struct world *w)
{
	static const struct tcp_hdr opts = { .mss = 1460, .has_wscale = true, .wscale = 7 };
	struct seen a;

	conn_syn(w, &opts);
	assert_non_null(world_conn(w));
	w->s = fake_fd(world_conn(w)->fd)->stream;
	world_settle(w);
	conn_expect_none(w);
	w->s->rtt = w->s->rtt_min = w->conf.rtt_us;
	world_wait(w, w->conf.rtt_us * NSEC_PER_USEC);
	fake_stream_connected(w->s);
	world_settle(w);
	assert_true(world_take(w, &a));
	assert_int_equal(a.h.flags, TCP_SYN | TCP_ACK);
	assert_int_equal(a.h.ack, w->iss + 1);
	w->irs = a.h.seq;
	w->ack = w->irs + 1;
	w->scale = a.h.wscale;
	w->checked = true;
	conn_send(w, TCP_ACK, NULL, 0);
	world_settle(w);
	assert_int_equal(world_conn(w)->state, CONN_ESTABLISHED);
	conn_expect_none(w);
	world_clear(w);
}

void conn_open_in(struct world *w)
{
	struct ep peer = w->r;
	struct gseg s = { .h = { .flags = TCP_SYN | TCP_ACK, .mss = 1460, .has_wscale = true, .wscale = 7 } };
	struct seen a;

	w->g.port = 80;
	w->s = fake_stream_arrive(w->listener.fd, &peer);
	w->s->rtt = w->s->rtt_min = w->conf.rtt_us;
	world_settle(w);
	assert_true(world_take(w, &a));
	assert_int_equal(a.h.flags, TCP_SYN);
	w->irs = a.h.seq;
	w->ack = w->irs + 1;
	w->scale = a.h.wscale;
	s.h.seq = w->iss;
	s.h.ack = w->ack;
	s.h.window = w->window;
	w->checked = true;
	world_put(w, &s, 1);
	w->seq = w->iss + 1;
	conn_expect(w, TCP_ACK, w->ack, w->seq);
	world_settle(w);
	assert_int_equal(world_conn(w)->state, CONN_ESTABLISHED);
	conn_expect_none(w);
	world_clear(w);
}

void conn_open(struct world *w, bool in)
{
	if (in)
		conn_open_in(w);
	else
		conn_open_out(w);
}

void conn_send(struct world *w, uint8_t flags, const void *data, size_t len)
{
	struct gseg s = {
		.h = { .flags = flags, .seq = w->seq, .ack = w->ack, .window = w->window },
		.data = data,
		.len = len,
	};

	w->seq += (uint32_t)len + !!(flags & TCP_FIN);
	world_put(w, &s, 1);
}

void conn_ack(struct world *w, uint32_t ack)
{
	w->ack = ack;
	conn_send(w, TCP_ACK, NULL, 0);
}

struct seen conn_expect(struct world *w, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct seen s;

	if (!world_take(w, &s))
		fail_msg("no packet, but one with flags %#x was expected", flags);
	assert_true(s.proto == 6);
	assert_int_equal(s.h.flags & ~(flags & TCP_PSH ? 0 : TCP_PSH), flags);
	assert_int_equal(s.h.seq, seq);
	if (flags & TCP_ACK)
		assert_int_equal(s.h.ack, ack);
	return s;
}

void conn_expect_none(struct world *w)
{
	struct seen s;

	if (world_take(w, &s))
		fail_msg("a packet too many: flags %#x seq %u ack %u, %zu bytes", s.h.flags, s.h.seq, s.h.ack, s.len);
}

size_t conn_take_data(struct world *w, size_t from)
{
	size_t n = 0;
	struct seen s;

	while (world_take(w, &s)) {
		if (!s.len)
			continue;
		assert_int_equal(s.h.seq, w->irs + 1 + (uint32_t)(from + n));
		pattern_check(DIR_DOWN, from + n, s.data, s.len);
		n += s.len;
	}
	w->ack = w->irs + 1 + (uint32_t)(from + n);
	return n;
}

size_t conn_unacked(struct world *w)
{
	return w->s->in_len - world_conn(w)->discard;
}

void conn_kill(struct world *w)
{
	struct gseg s = { .h = { .flags = TCP_RST | TCP_ACK, .ack = w->ack } };
	struct tcp_conn *k = world_conn(w);

	assert_non_null(k);
	s.h.seq = k->rcv.nxt;
	world_put(w, &s, 1);
	assert_null(world_conn(w));
	assert_int_equal(w->s->fd, -1);
	world_clear(w);
}
