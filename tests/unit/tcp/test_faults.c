/* SPDX-License-Identifier: MIT */
/*
 * Whatever call of the system fails, and when: nothing is left behind, nothing is acknowledged that the host did not take, and the next
 * connection is served.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "fake_faults.h"
#include "sim.h"
#include "wire/ip.h"

/* Answers what came: acknowledges data and FIN as a guest does. False: the connection is gone. */
static bool answer(struct world *w)
{
	struct seen a;
	bool due = false;

	while (world_take(w, &a)) {
		if (a.proto != PROTO_TCP || a.h.flags & TCP_RST)
			continue;
		if (a.h.flags & TCP_SYN || a.h.seq == w->ack) {
			w->ack = a.h.seq + (uint32_t)a.len + !!(a.h.flags & (TCP_SYN | TCP_FIN));
			due = true;
		}
	}
	world_clear(w);
	if (due && world_conn(w))
		conn_send(w, TCP_ACK, NULL, 0);
	return world_conn(w);
}

static bool go_on(struct world *w)
{
	for (unsigned i = 0; i < 8; i++) {
		world_settle(w);
		if (!answer(w))
			return false;
	}
	return true;
}

static bool begin_out(struct world *w)
{
	static const struct tcp_hdr usual = { .mss = 1460, .has_wscale = true, .wscale = 7 };

	w->g.port = 33333;
	conn_syn(w, &usual);
	if (!world_conn(w))
		return false;
	w->s = fake_fd(world_conn(w)->fd)->stream;
	fake_stream_connected(w->s);
	return true;
}

static bool begin_in(struct world *w)
{
	struct gseg s = { .h = { .flags = TCP_SYN | TCP_ACK, .mss = 1460, .has_wscale = true, .wscale = 7, .seq = w->iss } };
	struct ep peer = w->r;
	struct seen a;

	w->g.port = 80;
	w->s = fake_stream_arrive(w->listener.fd, &peer);
	world_wait(w, 2 * NSEC_PER_SEC); /* a listener that lacks something tries again after a while */
	if (!world_conn(w) || !world_take(w, &a))
		return false;
	w->ack = s.h.ack = a.h.seq + 1;
	s.h.window = w->window;
	w->seq = w->iss + 1;
	world_put(w, &s, 1);
	return world_conn(w);
}

/* A connection with all that one can have, as far as it gets. */
static void life(struct world *w, bool in)
{
	uint8_t data[3000];

	pattern_fill(DIR_UP, 0, data, sizeof(data));
	if (!(in ? begin_in(w) : begin_out(w)) || !go_on(w))
		return;
	/* The socket is full: what was sent waits in the spill buffer. */
	w->s->fill = w->s->size - 100;
	conn_send(w, TCP_ACK, data, sizeof(data));
	if (!go_on(w))
		return;
	w->s->fill = 0;
	fake_stream_ack(w->s, w->s->out_len);
	host_push(w->s, 20000);
	if (!go_on(w))
		return;
	world_wait(w, NSEC_PER_SEC);
	if (!go_on(w))
		return;
	fake_stream_fin(w->s);
	if (!go_on(w))
		return;
	conn_send(w, TCP_FIN | TCP_ACK, NULL, 0);
	world_wait(w, 2 * NSEC_PER_SEC);
	go_on(w);
	host_check(w->s);
}

static void one_flow_abort(void *ctx, struct flow *f)
{
	tcp_flow_abort(ctx, f);
}

static void with_fault(const struct fake_fault *x)
{
	bool in = x->variant & 1;
	struct world w;

	world_init(&w, &(struct world_conf){ .v6 = x->variant & 2,
					     .stock = x->variant & 4 ? 2 : 0,
					     .peek_off_err = x->variant & 8 ? ENOPROTOOPT : 0 });
	fake_fault_begin(x);
	life(&w, in);
	fake_fault_end(x);
	world_wait(&w, 10 * NSEC_PER_SEC); /* who lacked something tries again */
	flow_each(w.flows, one_flow_abort, w.t);
	world_settle(&w);
	world_clear(&w);

	/* Service goes on. */
	w.g.port = 33334;
	w.iss += 1000000;
	conn_open(&w, in);
	host_push(w.s, 100);
	world_settle(&w);
	conn_send(&w, TCP_ACK, "data", 4);
	assert_int_equal(w.s->out_len, 4);
	assert_int_equal(conn_take_data(&w, 0), 100);
	conn_kill(&w);
	world_wait(&w, TCP_STOCK_KEEP_NS * 2); /* what is in stock goes when nobody comes */
	world_fini(&w);
}

int main(void)
{
	return fake_faults_run(with_fault, 16);
}
