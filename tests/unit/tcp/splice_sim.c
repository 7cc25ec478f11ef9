/* SPDX-License-Identifier: MIT */
#include "splice_sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "world.h"

#define ROUNDS 2000 /* of turns; only what has no end gets there */

void splice_sim_init(struct splice_sim *x, const struct splice_conf *c)
{
	const struct ep any = { .addr = addr_any4, .port = 80 };
	struct splice_conf conf = *c;

	fake_os_init();
	assert_int_equal(loop_init(&x->loop), 0);
	conf.loop = &x->loop;
	x->s = splice_new(&conf);
	assert_non_null(x->s);
	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &x->listener), 0);
	assert_int_equal(sock_bind(x->listener, AF_INET, &any, 0), 0);
	assert_int_equal(sock_listen(x->listener, 8), 0);
}

void splice_sim_fini(struct splice_sim *x)
{
	splice_free(x->s);
	sock_close(x->listener);
	assert_int_equal(x->loop.timers.armed, 0);
	loop_fini(&x->loop);
	fake_os_fini();
}

/* Those that could not be accepted when they came have no business here any more. */
static int client_accept(struct splice_sim *x, const struct fake_stream *client, int *ret_fd)
{
	struct ep peer;
	int err;

	while (!(err = sock_accept(x->listener, &peer, ret_fd)) && fake_stream_of(*ret_fd) != client)
		sock_abort(*ret_fd);
	return err;
}

void splice_sim_open(struct splice_sim *x, struct fake_stream *ret_end[2])
{
	const struct ep client = { .addr = addr_loopback4, .port = 1000 }, server = { .addr = addr_loopback4, .port = 8080 };
	int from, to;

	ret_end[0] = fake_stream_arrive(x->listener, &client);
	ret_end[1] = NULL;
	if (client_accept(x, ret_end[0], &from))
		return;
	if (sock_open(AF_INET, SOCK_STREAM, 0, &to)) {
		sock_abort(from);
		return;
	}
	ret_end[1] = fake_stream_of(to);
	(void)!splice_open(x->s, SPLICE_IN, from, to, &server);
}

void splice_sim_settle(struct splice_sim *x)
{
	for (unsigned i = 0; fake_loop_settle(&x->loop, ROUNDS) || x->loop.timers.armed; i++) {
		assert_true(i < ROUNDS);
		fake_loop_advance(&x->loop, NSEC_PER_MSEC);
	}
}

void splice_sim_push(struct fake_stream *end[2], unsigned i, size_t len)
{
	if (end[i] && !end[i]->fin_in)
		pattern_push(end[i], i, len);
}

void splice_sim_check(struct fake_stream *const end[2])
{
	for (unsigned i = 0; i < 2; i++) {
		const struct fake_stream *to = end[i], *from = end[!i];

		if (!to || !from)
			continue;
		assert_true(to->out_len <= from->in_total);
		pattern_check(!i, 0, to->out, to->out_len);
		if (to->fin_out)
			assert_true(from->fin_in && to->out_len == from->in_total);
	}
}

void splice_sim_reset(struct splice_sim *x, struct fake_stream *end[2])
{
	for (unsigned i = 0; i < 2; i++) {
		if (end[i])
			fake_stream_rst(end[i]);
	}
	splice_sim_settle(x);
}
