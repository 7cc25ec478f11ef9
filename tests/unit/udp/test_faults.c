/* SPDX-License-Identifier: MIT */
/* Whatever call of the system fails, and when: datagrams may be lost, but nothing is left behind, and those that follow are passed on. */
#include "fake_faults.h"
#include "udp_world.h"

#include <errno.h>
#include <linux/errqueue.h>

/* All that a variant is about: family, and what the link and the kernel take. */
struct life {
	struct world *w;
	const struct net_family *a;
	struct ep guest, peer; /* of what the guest begins */
	struct ep host, caller, service; /* of what a peer begins */
};

static int arrive(const struct ep *from, const struct ep *to, const char *payload)
{
	return fake_dgram_route(17, from, to, payload, strlen(payload));
}

/* Where datagrams of the host to the guest's flow arrive; -1: it has none. */
static int answer(const struct life *l, const char *payload)
{
	struct ep to = { .addr = l->a->guest, .port = l->guest.port };

	return arrive(&l->peer, &to, payload);
}

static void failed(const struct life *l, int fd)
{
	struct sock_err e = { .err = ECONNREFUSED, .type = l->a->v4 ? 3 : 1, .code = l->a->v4 ? 3 : 4, .has_from = true };

	e.origin = l->a->v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6;
	e.from = l->a->peer;
	fake_dgram_error(fd, &e, "more", 4);
}

/* Both directions, in batches, with errors, and a link that is full for a while. */
static void run(const struct life *l)
{
	static uint8_t bulk[3000];
	struct world *w = l->w;
	int fd;

	for (unsigned i = 0; i < 3; i++)
		world_send(w, &l->guest, &l->peer, "word", 4, &(struct gopt){ .ttl = (uint8_t)(64 - i), .tos = (uint8_t)(i << 2) });
	world_send(w, &l->guest, &l->peer, bulk, sizeof(bulk), &(struct gopt){ .gso = 700 });
	for (unsigned i = 0; i < 4; i++)
		answer(l, "answer");
	world_settle(w);
	fake_link_room(&w->net.fl, 1);
	for (unsigned i = 0; i < 4; i++)
		answer(l, "later");
	world_settle(w);
	fake_link_room(&w->net.fl, SIZE_MAX);
	udp_link_ready(w->udp);
	world_settle(w);
	fd = answer(l, "last");
	if (fd >= 0)
		failed(l, fd);
	world_settle(w);
	world_send(w, &l->guest, &l->peer, "more", 4, NULL);
	for (unsigned i = 0; i < 3; i++) {
		arrive(&l->caller, &l->host, "question");
		world_settle(w);
		world_send(w, &l->service, &l->caller, "reply", 5, NULL);
	}
	fake_loop_advance(&w->net.loop, 2 * NSEC_PER_SEC);
	world_settle(w);
}

/* A new flow from either side works. */
static void serve(struct life *l)
{
	struct world *w = l->w;
	unsigned sent = fake_os.n_sent;

	fake_link_clear(&w->net.fl);
	l->guest.port++;
	l->caller.port++;
	world_send(w, &l->guest, &l->peer, "word", 4, NULL);
	assert_int_equal(fake_os.n_sent, sent + 1);
	assert_int_not_equal(answer(l, "answer"), -1);
	world_settle(w);
	world_expect(w, 0, &l->peer, &l->guest, "answer", 6);
	assert_int_not_equal(arrive(&l->caller, &l->host, "question"), -1);
	world_settle(w);
	world_expect(w, 1, &l->caller, &l->service, "question", 8);
	world_send(w, &l->service, &l->caller, "reply", 5, NULL);
	assert_int_equal(fake_os.n_sent, sent + 2);
	assert_true(ep_eq(&fake_sent(sent + 1)->to, &l->caller));
}

static void with_fault(const struct fake_fault *x)
{
	const struct net_family *a = &net_families[x->variant & 1];
	struct life l = { .a = a, .guest = net_ep(&a->guest, 5000), .peer = net_ep(&a->peer, 6000) };
	void *state;

	l.host = net_ep(&a->guest, 8000);
	l.caller = net_ep(&a->peer2, 7000);
	l.service = net_ep(&a->guest, 80);
	assert_int_equal(world_setup(&state), 0);
	l.w = state;
	world_listen(l.w, a->v4 ? &addr_any4 : &addr_any6, 8000, 80);
	world_listen_start(l.w);
	fake_fault_begin(x);
	run(&l);
	fake_fault_end(x);
	fake_loop_advance(&l.w->net.loop, 2 * NSEC_PER_SEC);
	world_settle(l.w);
	serve(&l);
	fake_loop_advance(&l.w->net.loop, 400 * NSEC_PER_SEC);
	assert_int_equal(flow_count(l.w->net.flows), 0);
	assert_int_equal(fake_open_count(), 1);
	world_teardown(&state);
}

int main(void)
{
	return fake_faults_run(with_fault, 2);
}
