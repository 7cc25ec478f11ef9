/* SPDX-License-Identifier: MIT */
#include "icmp_world.h"

#include <stdlib.h>

#include "base/log.h"

static const char payload[] = "abcdefghijklmnopqrstuvwabcdefghi";

static void sink(void *ctx, enum log_level level, const char *line)
{
	struct world *w = ctx;

	w->warnings++;
	strncpy(w->warning, line, sizeof(w->warning) - 1);
}

int world_setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct icmp_deps d;

	assert_non_null(w);
	log_set_sink(sink, w);
	net_init(&w->net, FLOWS, icmp_slot_size());
	d = (struct icmp_deps){
		.loop = &w->net.loop,
		.link = &w->net.fl.link,
		.flows = w->net.flows,
		.guest = &w->net.guest,
		.nat = &w->net.nat,
		.out = &w->net.out,
	};
	w->icmp = icmp_new(&d);
	assert_non_null(w->icmp);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;

	icmp_free(w->icmp);
	log_set_sink(NULL, NULL);
	assert_int_equal(flow_count(w->net.flows), 0);
	assert_int_equal(w->net.loop.timers.armed, 0);
	net_fini(&w->net);
	free(w);
	return 0;
}

void world_ping(struct world *w, const struct addr *src, const struct addr *dst, uint16_t id, uint16_t seq, const struct gopt *o)
{
	const struct gecho e = { src, dst, id, seq };

	net_echo(&w->g, &e, payload, sizeof(payload), o);
	icmp_from_guest(w->icmp, &w->g.p, &w->g.f, 1);
}

void world_reply(struct world *w, const struct addr *from)
{
	const struct fake_dgram *d = fake_sent(fake_os.n_sent - 1);
	struct fake_fd *f = fake_fd(d->fd);
	struct ep src = { .addr = *from };
	uint8_t msg[1500];

	assert_true(d->len >= 8 && d->len <= sizeof(msg));
	memcpy(msg, d->data, d->len);
	assert_int_equal(msg[0], f->family == AF_INET ? 8 : 128);
	/* The kernel puts in the identifier of the socket, and a checksum. */
	msg[0] = f->family == AF_INET ? 0 : 129;
	msg[2] = 0x12;
	msg[3] = 0x34;
	msg[4] = (uint8_t)(f->local.port >> 8);
	msg[5] = (uint8_t)f->local.port;
	fake_dgram_push(d->fd, &src, NULL, msg, d->len);
}

void world_settle(struct world *w)
{
	assert_true(fake_loop_settle(&w->net.loop, 100) < 100);
}

void world_expect(struct world *w, size_t i, const struct addr *src, const struct addr *dst, uint16_t id, uint16_t seq)
{
	net_seen(&w->net, i, &w->seen);
	assert_int_equal(w->seen.proto, w->seen.v4 ? 1 : 58);
	assert_true(addr_eq(&w->seen.src, src));
	assert_true(addr_eq(&w->seen.dst, dst));
	assert_int_equal(w->seen.type, w->seen.v4 ? 0 : 129);
	assert_int_equal(w->seen.code, 0);
	assert_int_equal(w->seen.echo_id, id);
	assert_int_equal(w->seen.seq, seq);
	assert_int_equal(w->seen.len, sizeof(payload));
	assert_memory_equal(w->seen.body, payload, sizeof(payload));
}
