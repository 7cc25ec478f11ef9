/* SPDX-License-Identifier: MIT */
/* Whatever call of the system fails, and when: echoes may be lost, but nothing is left behind, and those that follow are passed on. */
#include "fake_faults.h"
#include "icmp_world.h"

#include <errno.h>
#include <linux/errqueue.h>

static void failed(const struct net_family *a, int fd)
{
	struct sock_err e = { .err = EHOSTUNREACH, .type = a->v4 ? 3 : 1, .code = a->v4 ? 1 : 3, .has_from = true };
	uint8_t echo[8] = { a->v4 ? 8 : 128 };

	e.origin = a->v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	e.from = a->router;
	fake_dgram_error(fd, &e, echo, sizeof(echo));
}

static void run(struct world *w, const struct net_family *a)
{
	for (uint16_t seq = 1; seq <= 5; seq++) {
		unsigned sent = fake_os.n_sent;

		world_ping(w, &a->guest, &a->peer, 7, seq,
			   &(struct gopt){ .ttl = (uint8_t)(60 + seq), .tos = (uint8_t)(seq << 2) });
		if (fake_os.n_sent > sent)
			world_reply(w, &a->peer);
		world_settle(w);
		if (fake_os.n_sent > sent && seq % 2)
			failed(a, fake_sent(sent)->fd);
		world_settle(w);
	}
}

static void with_fault(const struct fake_fault *x)
{
	const struct net_family *a = &net_families[x->variant & 1];
	struct world *w;
	void *state;

	assert_int_equal(world_setup(&state), 0);
	w = state;
	fake_fault_begin(x);
	run(w, a);
	fake_fault_end(x);
	fake_loop_advance(&w->net.loop, 100 * NSEC_PER_MSEC);
	world_settle(w);
	for (uint16_t id = 7; id < 9; id++) {
		fake_link_clear(&w->net.fl);
		world_ping(w, &a->guest, &a->peer, id, 9, NULL);
		world_reply(w, &a->peer);
		world_settle(w);
		world_expect(w, w->net.fl.frames - 1, &a->peer, &a->guest, id, 9);
	}
	fake_loop_advance(&w->net.loop, 400 * NSEC_PER_SEC);
	assert_int_equal(flow_count(w->net.flows), 0);
	assert_int_equal(fake_open_count(), 0);
	world_teardown(&state);
}

int main(void)
{
	return fake_faults_run(with_fault, 2);
}
