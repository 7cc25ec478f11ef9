/* SPDX-License-Identifier: MIT */
/* Datagrams towards the guest that come in numbers: as superframes where the link takes those, and each as it was. */
#include "udp_world.h"

#include <errno.h>
#include <netinet/udp.h>
#include <stdlib.h>

#define OFF (LINK_OFF_CSUM | LINK_OFF_USO)
#define PAYLOAD_MAX 65536

/* What was sent: the i-th datagram is len[i] bytes of its own. */
struct plan {
	size_t len[4 * LINK_BATCH];
	unsigned n;
};

static void fill(uint8_t *p, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seed * 31 + i * 131 + (i >> 8) * 17);
}

static int open_flow(struct world *w, const struct net_family *a)
{
	struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);

	world_send(w, &src, &dst, "open", 4, NULL);
	assert_true(fake_os.n_sent > 0);
	return fake_sent(fake_os.n_sent - 1)->fd;
}

static void push(struct plan *p, int fd, const struct net_family *a, size_t len)
{
	static uint8_t data[PAYLOAD_MAX];
	struct ep from = net_ep(&a->peer, 6000);

	assert_true(p->n < ARRAY_SIZE(p->len));
	fill(data, len, p->n);
	p->len[p->n++] = len;
	fake_dgram_push(fd, &from, NULL, data, len);
}

/* What the kernel got in one piece: n datagrams of seg bytes, and one of last, if that is not 0. */
static void push_super(struct plan *p, int fd, const struct net_family *a, uint16_t seg, unsigned n, size_t last)
{
	static uint8_t data[PAYLOAD_MAX];
	struct ep from = net_ep(&a->peer, 6000);
	size_t at = 0;

	for (unsigned i = 0; i < n + !!last; i++) {
		size_t len = i < n ? seg : last;

		assert_true(p->n < ARRAY_SIZE(p->len));
		fill(data + at, len, p->n);
		p->len[p->n++] = len;
		at += len;
	}
	fake_dgram_push_super(fd, &from, data, at, seg);
}

static bool is_fragment(const struct fake_frame *f, bool v4)
{
	return v4 ? (f->bytes[20] & 0x3f) || f->bytes[21] : f->bytes[20] == 44;
}

/* Cuts frames up as the guest's kernel does, and looks at each datagram. Returns how many frames there were; all are forgotten. */
static size_t expect(struct world *w, struct plan *p, const struct net_family *a)
{
	struct ep src = net_ep(&a->peer, 6000), dst = net_ep(&a->guest, 5000);
	size_t frames = w->net.fl.frames, i = 0;
	static uint8_t data[PAYLOAD_MAX];

	for (size_t k = 0; k < frames; i++) {
		const struct fake_frame *f = fake_link_frame(&w->net.fl, k);
		size_t at = 0, seg;

		if (is_fragment(f, a->v4)) {
			k += net_seen_frags(&w->net, k, &w->seen);
		} else {
			net_seen(&w->net, k, &w->seen);
			k++;
		}
		assert_true(addr_eq(&w->seen.src, &src.addr) && addr_eq(&w->seen.dst, &dst.addr));
		assert_true(w->seen.sport == src.port && w->seen.dport == dst.port);
		seg = f->gso_type ? f->gso_size : w->seen.len;
		if (f->gso_type) {
			assert_int_equal(f->gso_type, GSO_UDP);
			assert_true(w->net.fl.link.offloads & LINK_OFF_USO);
			assert_true(seg > 0 && seg < w->seen.len);
			assert_true((w->seen.len + seg - 1) / seg <= 64);
			assert_true(seg + (a->v4 ? 28 : 48) <= w->net.fl.link.mtu);
			assert_int_equal(f->csum_start, 14 + (a->v4 ? 20 : 40));
			assert_int_equal(f->csum_offset, 6);
		}
		for (;; i++) {
			size_t len = MIN(seg, w->seen.len - at);

			assert_true(i < p->n);
			assert_int_equal(len, p->len[i]);
			fill(data, len, (unsigned)i);
			assert_memory_equal(w->seen.body + at, data, len);
			at += len;
			if (at >= w->seen.len)
				break;
		}
	}
	assert_int_equal(i, p->n);
	p->n = 0;
	fake_link_clear(&w->net.fl);
	return frames;
}

/* So that superframes are expected: a batch of many of one size. */
static void teach(struct world *w, struct plan *p, int fd, const struct net_family *a, size_t len)
{
	for (unsigned i = 0; i < LINK_BATCH; i++)
		push(p, fd, a, len);
	world_settle(w);
	expect(w, p, a);
}

static void link_with_superframes(struct world *w)
{
	w->net.fl.link.offloads = OFF;
	w->net.fl.link.max_body = 65535;
	w->net.fl.piece = 977;
}

/* What was marked on the way is no part of a superframe of others. */
static void marks_are_kept(void **state)
{
	struct world *w = *state;
	struct plan p = { .n = 0 };

	link_with_superframes(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		struct ep src = net_ep(&a->guest, 5000), dst = net_ep(&a->peer, 6000);
		int fd = open_flow(w, a);
		unsigned marked = 0;

		teach(w, &p, fd, a, 1000);
		world_send(w, &src, &dst, "mark", 4, &(struct gopt){ .tos = 2 });
		for (unsigned i = 0; i < LINK_BATCH; i++) {
			push(&p, fd, a, 1000);
			fake_dgram_hops(fd, 64, i == 10 || i == 50 ? 3 : 2);
		}
		world_settle(w);
		for (size_t i = 0; i < w->net.fl.frames; i++) {
			net_seen(&w->net, i, &w->seen);
			assert_in_range(w->seen.tos, 2, 3);
			if (w->seen.tos == 3) {
				assert_int_equal(w->seen.len, 1000);
				marked++;
			}
		}
		assert_int_equal(marked, 2);
		assert_true(expect(w, &p, a) < LINK_BATCH);
	}
}

/* Many of one size become few frames. */
static void many_of_one_size(void **state)
{
	static const struct {
		size_t len;
		size_t frames; /* that 3 batches of 64 become, of which the first is not expected yet */
	} cases[] = { { 1, 64 + 2 }, { 64, 64 + 2 }, { 1000, 64 + 2 }, { 1400, 64 + 4 }, { 1452, 64 + 4 } };
	struct world *w = *state;
	struct plan p = { .n = 0 };

	link_with_superframes(w);
	for (unsigned k = 0; k < 2 * ARRAY_SIZE(cases); k++) {
		const struct net_family *a = &net_families[k % 2];
		int fd = open_flow(w, a);

		for (unsigned i = 0; i < 3 * LINK_BATCH; i++)
			push(&p, fd, a, cases[k / 2].len);
		world_settle(w);
		assert_int_equal(expect(w, &p, a), cases[k / 2].frames);
		assert_int_equal(fake_opt(fake_fd(fd), IPPROTO_UDP, UDP_GRO, 0), 1);
		fake_loop_advance(&w->net.loop, 200 * NSEC_PER_SEC);
	}
}

/* All kinds of sizes where one size was expected. */
static void other_sizes(void **state)
{
	static const size_t odd[] = { 0, 1, 63, 65, 1452, 1453, 3000, 65507 };
	struct world *w = *state;
	struct plan p = { .n = 0 };

	link_with_superframes(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		int fd = open_flow(w, a);

		for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
			/* The odd one as the first, as the last, behind a whole frame, and in the middle, with others before and behind. */
			for (unsigned at = 0; at < 50; at += at ? 9 : 1) {
				teach(w, &p, fd, a, i % 2 ? 64 : 1400);
				for (unsigned n = 0; n < 50; n++)
					push(&p, fd, a, n == at ? odd[i] : i % 2 ? 64 : 1400);
				world_settle(w);
				expect(w, &p, a);
			}
		}
	}
}

static void sizes_without_order(void **state)
{
	struct world *w = *state;
	struct plan p = { .n = 0 };
	uint32_t r = 1;

	link_with_superframes(w);
	for (unsigned k = 0; k < 400; k++) {
		const struct net_family *a = &net_families[k % 2];
		int fd = open_flow(w, a);
		size_t len = 1;

		for (unsigned i = 0; i < 150; i++) {
			r = r * 1664525 + 1013904223;
			if (!(r >> 29))
				len = (r >> 8) % 1600;
			if (r >> 24 & 3 || !len)
				push(&p, fd, a, len);
			else if (p.n < 100)
				push_super(&p, fd, a, (uint16_t)len, 1 + (r >> 20) % 30, (r >> 12) % (len + 1) % len);
		}
		world_settle(w);
		expect(w, &p, a);
	}
}

/* What the kernel got in one piece stays in one piece. */
static void superframes(void **state)
{
	struct world *w = *state;
	struct plan p = { .n = 0 };

	link_with_superframes(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		int fd = open_flow(w, a);

		teach(w, &p, fd, a, 1400);
		/* The first is not expected, and is cut up. */
		push_super(&p, fd, a, 1400, 46, 0);
		world_settle(w);
		expect(w, &p, a);
		for (unsigned i = 0; i < 4; i++)
			push_super(&p, fd, a, 1400, 45, 1 + i * 466);
		push(&p, fd, a, 1400);
		push(&p, fd, a, 0);
		push_super(&p, fd, a, 1000, 2, 0);
		world_settle(w);
		assert_int_equal(expect(w, &p, a), 7);
	}
}

/* Datagrams that are longer than packets of the guest's link become fragments, each for itself. */
static void superframes_of_long_datagrams(void **state)
{
	struct world *w = *state;
	struct plan p = { .n = 0 };

	link_with_superframes(w);
	for (unsigned k = 0; k < 2; k++) {
		const struct net_family *a = &net_families[k];
		int fd = open_flow(w, a);

		teach(w, &p, fd, a, 1400);
		for (unsigned i = 0; i < 3; i++)
			push_super(&p, fd, a, 4000, 15, 100);
		push_super(&p, fd, a, 1400, 10, 100);
		world_settle(w);
		expect(w, &p, a);
	}
}

/* A guest that takes no superframes never gets one, and nothing is asked of the kernel that would lead to any. */
static void link_without_superframes(void **state)
{
	static const uint32_t offloads[] = { 0, LINK_OFF_CSUM, LINK_OFF_CSUM | LINK_OFF_TSO4 | LINK_OFF_TSO6 };
	struct world *w = *state;
	struct plan p = { .n = 0 };

	for (unsigned k = 0; k < 2 * ARRAY_SIZE(offloads); k++) {
		const struct net_family *a = &net_families[k % 2];
		int fd = open_flow(w, a);

		w->net.fl.link.offloads = offloads[k / 2];
		w->net.fl.link.max_body = k / 2 == 2 ? 65535 : 1500;
		for (unsigned i = 0; i < 2; i++)
			teach(w, &p, fd, a, 1400);
		push_super(&p, fd, a, 1400, 46, 99);
		world_settle(w);
		assert_int_equal(expect(w, &p, a), 47);
		assert_int_equal(fake_opt(fake_fd(fd), IPPROTO_UDP, UDP_GRO, 0), 0);
	}
}

/* The guest starts again with another driver, and the flow goes on. */
static void guest_changes(void **state)
{
	static const struct {
		uint32_t offloads;
		size_t max_body;
	} cases[] = {
		{ 0, 1500 }, { LINK_OFF_CSUM, 1500 }, { OFF, 1500 }, { OFF, 3000 }, { LINK_OFF_CSUM | LINK_OFF_TSO4, 65535 }
	};
	struct world *w = *state;
	struct plan p = { .n = 0 };

	for (unsigned k = 0; k < 2 * ARRAY_SIZE(cases); k++) {
		const struct net_family *a = &net_families[k % 2];
		int fd = open_flow(w, a);

		for (unsigned gro = 0; gro < 2; gro++) {
			link_with_superframes(w);
			teach(w, &p, fd, a, 1400);
			if (gro) {
				push_super(&p, fd, a, 300, 5, 0);
				world_settle(w);
				expect(w, &p, a);
			}
			w->net.fl.link.offloads = cases[k / 2].offloads;
			w->net.fl.link.max_body = cases[k / 2].max_body;
			for (unsigned i = 0; i < 3; i++)
				push(&p, fd, a, 1400);
			world_settle(w);
			assert_true(expect(w, &p, a) >= 2);
			for (unsigned i = 0; i < 3; i++) {
				push_super(&p, fd, a, 300, 4, 100);
				world_settle(w);
				expect(w, &p, a);
			}
		}
		fake_loop_advance(&w->net.loop, 200 * NSEC_PER_SEC);
	}
}

/* Questions and answers are none the worse: no option is set, and each answer is a frame of its own. */
static void few_are_left_alone(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct plan p = { .n = 0 };
	int fd;

	link_with_superframes(w);
	fd = open_flow(w, a);
	fake_os.calls[FAKE_SETOPT] = 0;
	for (unsigned k = 0; k < 100; k++) {
		for (unsigned i = 0; i <= k % 3; i++)
			push(&p, fd, a, 100);
		world_settle(w);
		assert_int_equal(expect(w, &p, a), 1 + k % 3);
	}
	assert_int_equal(fake_os.calls[FAKE_SETOPT], 0);
}

/* A kernel without UDP_GRO: datagrams come one by one. */
static void kernel_without_superframes(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct plan p = { .n = 0 };
	int fd;

	link_with_superframes(w);
	fd = open_flow(w, a);
	fake_fail(FAKE_SETOPT, fd, ENOPROTOOPT, 0, 100);
	for (unsigned i = 0; i < 3; i++)
		teach(w, &p, fd, a, 1400);
	fake_fail(FAKE_SETOPT, fd, 0, 0, 0);
	/* It was asked once. */
	assert_int_equal(fake_opt(fake_fd(fd), IPPROTO_UDP, UDP_GRO, 0), 0);
	push_super(&p, fd, a, 1400, 46, 0);
	world_settle(w);
	assert_int_equal(expect(w, &p, a), 1);
}

/* Room for a frame or two at a time: nothing is lost, and the order stays. */
static void little_room(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[1];
	struct plan p = { .n = 0 };
	int fd;

	link_with_superframes(w);
	fd = open_flow(w, a);
	teach(w, &p, fd, a, 1400);
	fake_link_room(&w->net.fl, 0);
	for (unsigned i = 0; i < 4 * LINK_BATCH; i++)
		push(&p, fd, a, 1400);
	world_settle(w);
	assert_int_equal(w->net.fl.frames, 0);
	for (unsigned i = 0; i < 30; i++) {
		fake_link_room(&w->net.fl, 1 + i % 2);
		udp_link_ready(w->udp);
		world_settle(w);
	}
	assert_int_equal(fake_rx_count(fd), 0);
	assert_true(expect(w, &p, a) < 10);
}

/* In the middle of a run, datagrams of somebody else. */
static void stranger(void **state)
{
	struct world *w = *state;
	const struct net_family *a = &net_families[0];
	struct ep group = net_ep(&a->group, 6000), src = net_ep(&a->guest, 5000), from[2];
	uint8_t data[100];
	int fd;

	link_with_superframes(w);
	from[0] = net_ep(&a->peer, 6000);
	from[1] = net_ep(&a->peer2, 6000);
	world_send(w, &src, &group, "all", 3, NULL);
	fd = fake_sent(0)->fd;
	for (unsigned k = 0; k < 3; k++) {
		for (unsigned i = 0; i < 40; i++) {
			fill(data, sizeof(data), i);
			fake_dgram_push(fd, &from[i / 7 % 2], NULL, data, sizeof(data));
		}
		world_settle(w);
		assert_int_equal(w->net.fl.frames, 40);
		for (unsigned i = 0; i < 40; i++) {
			fill(data, sizeof(data), i);
			world_expect(w, i, &from[i / 7 % 2], &src, data, sizeof(data));
		}
		fake_link_clear(&w->net.fl);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
	const struct CMUnitTest tests[] = {
		T(many_of_one_size),           T(marks_are_kept), T(other_sizes),
		T(sizes_without_order),        T(superframes),    T(superframes_of_long_datagrams),
		T(link_without_superframes),   T(guest_changes),  T(few_are_left_alone),
		T(kernel_without_superframes), T(little_room),    T(stranger),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
