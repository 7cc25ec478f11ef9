/* SPDX-License-Identifier: MIT */
#include "udp_world.h"

#include <errno.h>
#include <stdlib.h>

/* The guest speaks first; returns the descriptor of the flow. */
static int open_flow(struct world *w, const struct net_family *a, uint16_t gport, uint16_t rport)
{
	struct ep src = net_ep(&a->guest, gport), dst = net_ep(&a->peer, rport);

	world_send(w, &src, &dst, "open", 4, NULL);
	assert_true(fake_os.n_sent > 0);
	return fake_sent(fake_os.n_sent - 1)->fd;
}

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed + i * 131 + (i >> 8) * 17);
}

static void answers_reach_the_guest(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		size_t max = 1500 - (a->v4 ? 28 : 48);
		int fd = open_flow(w, a, 5000, 6000);
		uint8_t data[1472];

		/* Empty, odd, even, and all that one packet takes. */
		const size_t len[] = { 0, 1, 2, 100, 101, 999, max - 1, max };

		for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
			fill(data, len[i], i);
			fake_dgram_push(fd, &dst, NULL, data, len[i]);
		}
		world_settle(w);
		assert_int_equal(w->net.fl.frames, ARRAY_SIZE(len));
		for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
			fill(data, len[i], i);
			world_expect(w, i, &dst, &src, data, len[i]);
			assert_int_equal(w->seen.ttl, 64);
		}
		assert_int_equal(w->net.fl.reserves, k + 1);
		fake_link_clear(&w->net.fl);
	}
}

/* Answers take the queue that the flow's datagrams came by last, in pieces or whole; the first, if there were none. */
static void queue_of_the_flow(void **state)
{
	static const unsigned queues[] = { 0, 3, 127, 1 };
	struct world *w = *state;
	struct link *l = &w->net.fl.link;

	for (unsigned i = 0; i < ARRAY_SIZE(queues) * 2; i++) {
		const struct net_family *a = &net_families[i % 2];
		struct ep dst = net_ep(&a->peer, 6000);
		static uint8_t data[5000];
		size_t n = w->net.fl.frames;
		int fd;

		l->rx_queue = queues[i / 2];
		fd = open_flow(w, a, 5000, 6000);
		l->rx_queue = 0;
		fake_dgram_push(fd, &dst, NULL, data, 100);
		fake_dgram_push(fd, &dst, NULL, data, sizeof(data));
		world_settle(w);
		assert_in_range(w->net.fl.frames, n + 4, n + 6);
		for (; n < w->net.fl.frames; n++)
			assert_int_equal(fake_link_frame(&w->net.fl, n)->queue, queues[i / 2]);
	}
	assert_int_equal(flow_count(w->net.flows), 2);
}

/* Answers come with their hop limit and their marks, from the first one on and whatever the guest's datagrams had. */
static void marks_are_passed_on(void **state)
{
	static const struct {
		uint8_t ttl, tos; /* of the guest's */
	} cases[] = { { 0, 0 }, { 200, 0 }, { 0, 2 }, { 9, 0 }, { 9, 0xb8 } };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases) * 2; i++) {
		const struct net_family *a = &net_families[i % 2];
		struct ep src = net_ep(&a->guest, (uint16_t)(5000 + i)), dst = net_ep(&a->peer, 6000);
		size_t c = i / 2;
		int fd;

		world_send(w, &src, &dst, "open", 4, &(struct gopt){ .ttl = cases[c].ttl, .tos = cases[c].tos });
		fd = fake_sent(fake_os.n_sent - 1)->fd;
		fake_dgram_push(fd, &dst, NULL, "answer", 6);
		fake_dgram_hops(fd, 57, 0xbb);
		world_settle(w);
		assert_int_equal(w->net.fl.frames, 1);
		world_expect(w, 0, &dst, &src, "answer", 6);
		assert_int_equal(w->seen.ttl, 57);
		assert_int_equal(w->seen.tos, 0xbb);
		fake_dgram_push(fd, &dst, NULL, "more", 4);
		fake_dgram_hops(fd, 58, 0xbb);
		world_settle(w);
		world_expect(w, 1, &dst, &src, "more", 4);
		assert_int_equal(w->seen.ttl, 58);
		assert_int_equal(w->seen.tos, 0xbb);
		fake_link_clear(&w->net.fl);
	}
}

static void batches_are_received_in_place(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep dst = net_ep(&a->peer, 6000);
	int fd = open_flow(w, a, 5000, 6000);
	unsigned n = LINK_BATCH * 2 + 3;

	for (unsigned i = 0; i < n; i++)
		fake_dgram_push(fd, &dst, NULL, &i, sizeof(i));
	world_settle(w);
	assert_int_equal(w->net.fl.frames, n);
	/* One call for each batch, one reservation, no copy (a copy would be a reservation of its own). */
	assert_int_equal(fake_os.calls[FAKE_RECVMMSG], 3);
	assert_int_equal(w->net.fl.reserves, 3);
	for (unsigned i = 0; i < n; i++) {
		net_seen(&w->net, i, &w->seen);
		assert_memory_equal(w->seen.body, &i, sizeof(i));
	}
}

static void partial_checksum(void **state)
{
	struct world *w = *state;

	w->net.fl.link.offloads = LINK_OFF_CSUM;
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		const struct fake_frame *f;
		uint8_t l4[8 + 5];
		uint16_t rest;

		fake_dgram_push(open_flow(w, a, 5000, 6000), &dst, NULL, "12345", 5);
		world_settle(w);
		world_expect(w, k, &dst, &src, "12345", 5);
		f = fake_link_frame(&w->net.fl, k);
		assert_int_equal(f->csum_start, 14 + (a->v4 ? 20 : 40));
		assert_int_equal(f->csum_offset, 6);
		/* What a device does: sums from there to the end, and writes the complement. */
		memcpy(l4, w->seen.l4, sizeof(l4));
		rest = net_csum(NULL, NULL, 0, l4, sizeof(l4));
		l4[6] = (uint8_t)(rest >> 8);
		l4[7] = (uint8_t)rest;
		assert_int_equal(net_csum(&dst.addr, &src.addr, 17, l4, sizeof(l4)), 0);
	}
}

/* A checksum of zero would mean "none": it is sent as 0xffff. */
static void zero_checksum(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
	int fd = open_flow(w, a, 5000, 6000);
	uint8_t l4[10] = { 6000 >> 8, 6000 & 0xff, 5000 >> 8, 5000 & 0xff, 0, 10 };
	uint16_t csum = net_csum(&dst.addr, &src.addr, 17, l4, 10);
	uint8_t data[2] = { (uint8_t)(csum >> 8), (uint8_t)csum };

	fake_dgram_push(fd, &dst, NULL, data, 2);
	world_settle(w);
	net_seen(&w->net, 0, &w->seen);
	assert_int_equal(w->seen.l4[6] << 8 | w->seen.l4[7], 0xffff);
}

/* Larger than the link's packets: fragments, in the order of the datagrams, and each whole. */
static void large_datagrams_leave_in_fragments(void **state)
{
	struct world *w = *state;
	uint8_t *data = malloc(65536);

	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		size_t max = 1500 - (a->v4 ? 28 : 48);
		const size_t len[] = { 10, max, max + 1, 20, 3000, 0, 65507, max + 8, 30 };
		int fd = open_flow(w, a, 5000, 6000);
		uint32_t id = UINT32_MAX;
		size_t at = 0;

		for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
			fill(data, len[i], i);
			fake_dgram_push(fd, &dst, NULL, data, len[i]);
		}
		world_settle(w);
		for (unsigned i = 0; i < ARRAY_SIZE(len); i++) {
			fill(data, len[i], i);
			if (len[i] <= max) {
				world_expect(w, at++, &dst, &src, data, len[i]);
				continue;
			}
			at += net_seen_frags(&w->net, at, &w->seen);
			assert_int_equal(w->seen.len, len[i]);
			assert_memory_equal(w->seen.body, data, len[i]);
			assert_int_equal(w->seen.sport, 6000);
			assert_int_equal(w->seen.dport, 5000);
			assert_int_not_equal(w->seen.id, id);
			id = w->seen.id;
		}
		assert_int_equal(at, w->net.fl.frames);
		fake_link_clear(&w->net.fl);
	}
	free(data);
}

/* With jumbo frames the largest datagram takes one. */
static void jumbo(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
	uint8_t *data = malloc(65507);
	unsigned reserves;
	int fd;

	w->net.fl.link.mtu = w->net.fl.link.max_body = 65535;
	w->net.fl.piece = 4096;
	fill(data, 65507, 3);
	fd = open_flow(w, a, 5000, 6000);
	fake_dgram_push(fd, &dst, NULL, data, 65507);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 1);
	world_expect(w, 0, &dst, &src, data, 65507);

	/* Room is reserved for what came last: the next is received in place; for small ones it is less. */
	reserves = w->net.fl.reserves;
	for (unsigned i = 0; i < 3; i++)
		fake_dgram_push(fd, &dst, NULL, data, 65507);
	world_settle(w);
	assert_int_equal(w->net.fl.reserves, reserves + 1);
	assert_int_equal(w->net.fl.body, 65507);
	for (unsigned i = 1; i < 4; i++)
		world_expect(w, i, &dst, &src, data, 65507);
	for (unsigned i = 0; i < 2; i++) {
		fake_dgram_push(fd, &dst, NULL, data, 10);
		world_settle(w);
		world_expect(w, 4 + i, &dst, &src, data, 10);
	}
	assert_int_equal(w->net.fl.body, 2048);
	free(data);
}

/* No room: the socket is left alone until there is some, and nothing is lost or spins. */
static void full_link(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep dst = net_ep(&a->peer, 6000);
	int fd = open_flow(w, a, 5000, 6000);

	fake_link_room(&w->net.fl, 3);
	for (unsigned i = 0; i < 10; i++)
		fake_dgram_push(fd, &dst, NULL, &i, sizeof(i));
	assert_in_range(fake_loop_settle(&w->net.loop, 100), 1, 3);
	assert_int_equal(w->net.fl.frames, 3);
	assert_int_equal(fake_rx_count(fd), 7);
	assert_int_equal(fake_fd(fd)->mask, 0);
	assert_int_equal(fake_loop_settle(&w->net.loop, 100), 0);

	/* Errors are told even then, as the kernel does not mask them. */
	fake_fd(fd)->so_error = ECONNREFUSED;
	assert_int_equal(fake_loop_settle(&w->net.loop, 100), 1);

	fake_link_room(&w->net.fl, 2);
	udp_link_ready(w->udp);
	assert_int_equal(fake_fd(fd)->mask, EPOLLIN);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 5);
	fake_link_room(&w->net.fl, SIZE_MAX);
	udp_link_ready(w->udp);
	udp_link_ready(w->udp);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 10);
	for (unsigned i = 0; i < 10; i++) {
		net_seen(&w->net, i, &w->seen);
		assert_memory_equal(w->seen.body, &i, sizeof(i));
	}
}

/* After the first large one, no more are taken from the socket than there is room for. */
static void large_datagrams_wait_for_room(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[1];
	struct ep dst = net_ep(&a->peer, 6000);
	int fd = open_flow(w, a, 5000, 6000);
	uint8_t data[14000]; /* ten fragments */
	size_t at = 0;

	fill(data, sizeof(data), 0);
	fake_dgram_push(fd, &dst, NULL, data, sizeof(data));
	world_settle(w);
	fake_link_clear(&w->net.fl);
	fake_link_room(&w->net.fl, 10 * 6);
	for (unsigned i = 0; i < 20; i++)
		fake_dgram_push(fd, &dst, NULL, data, sizeof(data));
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 10 * 6);
	assert_int_equal(fake_rx_count(fd), 14);
	for (unsigned i = 0; i < 6; i++)
		at += net_seen_frags(&w->net, at, &w->seen);
	assert_int_equal(at, 60);
}

static void unplugged_guest(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep dst = net_ep(&a->peer, 6000);
	int fd = open_flow(w, a, 5000, 6000);

	w->net.fl.link.up = false;
	fake_dgram_push(fd, &dst, NULL, "x", 1);
	world_settle(w);
	assert_int_equal(fake_rx_count(fd), 1);
	/* A blocked flow can be closed like any other. */
	fake_loop_advance(&w->net.loop, 31 * NSEC_PER_SEC);
	assert_int_equal(fake_open_count(), 0);
	udp_link_ready(w->udp);
}

/* What came in before connect() has another source: it is shown as it is, and one that does not map is dropped. */
static void strangers(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000), other = net_ep(&a->peer2, 7);
	struct ep odd = { ADDR4_INIT(224, 0, 0, 9), 8 };
	int fd = open_flow(w, a, 5000, 6000);

	fake_dgram_push(fd, &other, NULL, "1", 1);
	fake_dgram_push(fd, &odd, NULL, "2", 1);
	fake_dgram_push(fd, &dst, NULL, "3", 1);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 2);
	world_expect(w, 0, &other, &src, "1", 1);
	world_expect(w, 1, &dst, &src, "3", 1);
}

/* An event that was queued for a flow that is gone finds nothing. */
static void late_event(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ref ref = fake_fd(open_flow(w, a, 5000, 6000))->ref;

	fake_loop_advance(&w->net.loop, 40 * NSEC_PER_SEC);
	assert_int_equal(fake_open_count(), 0);
	w->net.loop.owner[ref.owner].fn(w->net.loop.owner[ref.owner].ctx, ref, EPOLLIN | EPOLLERR);
	open_flow(w, a, 5000, 6000);
	w->net.loop.owner[ref.owner].fn(w->net.loop.owner[ref.owner].ctx, ref, EPOLLIN | EPOLLERR);
	assert_int_equal(fake_os.calls[FAKE_RECVMMSG], 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(answers_reach_the_guest),
		T(queue_of_the_flow),
		T(marks_are_passed_on),
		T(batches_are_received_in_place),
		T(partial_checksum),
		T(zero_checksum),
		T(large_datagrams_leave_in_fragments),
		T(jumbo),
		T(full_link),
		T(large_datagrams_wait_for_room),
		T(unplugged_guest),
		T(strangers),
		T(late_event),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
