/* SPDX-License-Identifier: MIT */
#include "udp_world.h"

#include <stdlib.h>

int world_setup(void **state)
{
	return world_setup_times(state, 0, 0);
}

int world_setup_times(void **state, uint32_t oneway_s, uint32_t answered_s)
{
	struct world *w = calloc(1, sizeof(*w));
	struct udp_deps d;

	assert_non_null(w);
	net_init(&w->net, FLOWS, udp_slot_size());
	listeners_init(&w->ls, &w->table);
	d = (struct udp_deps){
		.loop = &w->net.loop,
		.link = &w->net.fl.link,
		.flows = w->net.flows,
		.guest = &w->net.guest,
		.nat = &w->net.nat,
		.out = &w->net.out,
		.times = { oneway_s, answered_s },
	};
	w->udp = udp_new(&d);
	assert_non_null(w->udp);
	*state = w;
	return 0;
}

int world_teardown(void **state)
{
	struct world *w = *state;

	udp_free(w->udp);
	assert_int_equal(flow_count(w->net.flows), 0);
	assert_int_equal(w->net.loop.timers.armed, 0);
	world_listen_stop(w);
	net_fini(&w->net);
	free(w);
	return 0;
}

void world_send(struct world *w, const struct ep *src, const struct ep *dst, const void *payload, size_t len, const struct gopt *o)
{
	net_udp(&w->g[0], src, dst, payload, len, o);
	udp_from_guest(w->udp, &w->g[0].p, &w->g[0].f, 1);
}

struct fake_fd *world_sock(unsigned i)
{
	return fake_fd_nth(i);
}

int world_listen(struct world *w, const struct addr *addr, uint16_t port, uint16_t to)
{
	struct bound_spec s = { .addr = *addr, .port = port, .proto = 17 };
	struct fwd_rule *r = &w->table.rule[w->table.n];
	struct listener *l = &w->l[w->ls.n];
	bool v6;

	assert_true(w->ls.n < ARRAY_SIZE(w->l));
	*r = (struct fwd_rule){ .addr = *addr, .first = port, .last = port, .to = to, .proto = 17 };
	*l = (struct listener){ .rule = (uint16_t)w->table.n++, .port = port, .to = to, .proto = 17 };
	assert_int_equal(bound_open(&s, &l->fd, &v6), 0);
	l->v6 = v6;
	w->ls.l = w->l;
	w->ls.n++;
	return l->fd;
}

void world_listen_start(struct world *w)
{
	w->ls.loop = &w->net.loop;
	w->ls.owner_udp = udp_listen_owner(w->udp);
	for (uint32_t i = 0; i < w->ls.n; i++) {
		struct ref ref = { .index = i, .owner = (uint8_t)w->ls.owner_udp };

		assert_int_equal(loop_add(&w->net.loop, w->l[i].fd, ref, EPOLLIN), 0);
	}
	udp_set_listeners(w->udp, &w->ls);
}

void world_listen_stop(struct world *w)
{
	for (uint32_t i = 0; i < w->ls.n; i++) {
		if (w->l[i].fd < 0)
			continue;
		loop_del(&w->net.loop, w->l[i].fd);
		sock_close(w->l[i].fd);
		w->l[i].fd = -1;
	}
	w->ls.n = 0;
}

void world_settle(struct world *w)
{
	/* More turns than any test has batches: what needs more is spinning. */
	assert_true(fake_loop_settle(&w->net.loop, 200) < 200);
}

void world_expect(struct world *w, size_t i, const struct ep *src, const struct ep *dst, const void *payload, size_t len)
{
	net_seen(&w->net, i, &w->seen);
	assert_int_equal(w->seen.proto, 17);
	assert_true(addr_eq(&w->seen.src, &src->addr));
	assert_true(addr_eq(&w->seen.dst, &dst->addr));
	assert_int_equal(w->seen.sport, src->port);
	assert_int_equal(w->seen.dport, dst->port);
	assert_int_equal(w->seen.len, len);
	if (len)
		assert_memory_equal(w->seen.body, payload, len);
}
