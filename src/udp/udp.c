/* SPDX-License-Identifier: MIT */
#include "udp/udp.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bitmap.h"
#include "base/log.h"
#include "udp/udp_err.h"
#include "udp/udp_flow.h"
#include "udp/udp_guest.h"
#include "udp/udp_host.h"
#include "wire/ip.h"

#define AREA_SIZE ((size_t)LINK_BATCH * UDP_AREA)

static void on_flow(void *ctx, struct ref ref, uint32_t events)
{
	struct udp *u = ctx;
	struct flow *f = flow_get(u->d.flows, ref.index, ref.gen);

	if (!f || f->key.proto != PROTO_UDP)
		return;
	if (events & EPOLLERR)
		udp_err_drain(u, (struct udp_flow *)f);
	if (events & EPOLLIN)
		udp_guest_from_flow(u, (struct udp_flow *)f);
}

static void on_listener(void *ctx, struct ref ref, uint32_t events)
{
	struct udp *u = ctx;
	const struct listener *l = udp_listener(u, ref.index);

	if (l && events & EPOLLERR)
		sock_error(l->fd);
	if (l && events & EPOLLIN)
		udp_guest_from_listener(u, ref.index);
}

size_t udp_slot_size(void)
{
	return (sizeof(struct udp_flow) + 7) & ~(size_t)7;
}

struct udp *udp_new(const struct udp_deps *d)
{
	struct udp *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->area = mmap(NULL, AREA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	u->by_port = calloc(PORTS, sizeof(*u->by_port));
	u->users[0] = calloc(PORTS, sizeof(*u->users[0]));
	u->users[1] = calloc(PORTS, sizeof(*u->users[1]));
	u->d = *d;
	u->hosterr = (struct hosterr){ .link = d->link, .guest = d->guest, .nat = d->nat };
	u->max = MAX(flow_max(d->flows) / 2, 1u);
	for (unsigned i = 0; i < UDP_IDLES; i++)
		list_init(&u->idle[i]);
	list_init(&u->wait);
	timer_init(&u->sweep, udp_flow_sweep);
	if (u->area == MAP_FAILED || !u->by_port || !u->users[0] || !u->users[1]) {
		udp_free(u);
		return NULL;
	}
	u->owner_flow = loop_owner(d->loop, on_flow, u);
	u->owner_listen = loop_owner(d->loop, on_listener, u);
	return u;
}

void udp_free(struct udp *u)
{
	if (!u)
		return;
	for (unsigned i = 0; i < UDP_IDLES; i++) {
		while (!list_empty(&u->idle[i]))
			udp_flow_close(u, container_of(u->idle[i].next, struct udp_flow, idle));
	}
	timer_cancel(&u->d.loop->timers, &u->sweep);
	if (u->area != MAP_FAILED)
		munmap(u->area, AREA_SIZE);
	free(u->by_port);
	free(u->users[0]);
	free(u->users[1]);
	free(u->ls_blocked);
	free(u);
}

void udp_from_guest(struct udp *u, const struct pkt *p, const struct frame *f, unsigned n)
{
	struct flow_key key = flow_key_init(PROTO_UDP, &p->src, p->sport, &p->dst, p->dport);
	struct udp_flow *uf = (struct udp_flow *)flow_find(u->d.flows, &key);

	if (!uf)
		uf = udp_flow_from_guest(u, p);
	if (!uf)
		return;
	uf->flow.queue = u->d.link->rx_queue & FLOW_QUEUE_MASK;
	udp_flow_touch(u, uf, true);
	udp_host_send(u, uf, p, f, n);
}

unsigned udp_listen_owner(const struct udp *u)
{
	return u->owner_listen;
}

/* Of flows: those that go through listeners, and those on ports. */
struct flow_range {
	uint32_t listener, listeners; /* the first, and how many */
	uint16_t first, last;
};

static bool has_no_socket(const struct udp_flow *f, const struct flow_range *unused)
{
	return f->sock.fd < 0;
}

/* A flow that the guest began has the guest's port, if it got it. */
static bool is_on_port(const struct udp_flow *f, const struct flow_range *r)
{
	uint16_t port = f->host_first ? f->local.port : f->flow.key.gport;

	return port >= r->first && port <= r->last;
}

static bool is_of_rule(const struct udp_flow *f, const struct flow_range *r)
{
	return (f->host_first && f->listener >= r->listener && f->listener - r->listener < r->listeners) || is_on_port(f, r);
}

/* Closes the flows that match says true of; how many. */
static unsigned flows_close(struct udp *u, bool (*match)(const struct udp_flow *f, const struct flow_range *r),
			    const struct flow_range *range)
{
	unsigned n = 0;

	for (unsigned i = 0; i < UDP_IDLES; i++) {
		struct list *next;

		for (struct list *p = u->idle[i].next; p != &u->idle[i]; p = next) {
			struct udp_flow *f = container_of(p, struct udp_flow, idle);

			next = p->next;
			if (!match(f, range))
				continue;
			udp_flow_close(u, f);
			n++;
		}
	}
	return n;
}

unsigned udp_port_release(struct udp *u, uint16_t port)
{
	struct flow_range r = { .first = port, .last = port };

	return flows_close(u, is_on_port, &r);
}

void udp_rule_added(struct udp *u, unsigned rule)
{
	const struct fwd_rule *r = &u->ls->table->rule[rule];

	if (r->proto != PROTO_UDP)
		return;
	for (unsigned p = r->first; p <= r->last; p++)
		u->by_port[p] = u->ls->first[rule] + (p - r->first) + 1;
}

void udp_rule_gone(struct udp *u, unsigned rule)
{
	const struct fwd_table *t = u->ls->table;
	const struct fwd_rule *gone = &t->rule[rule];
	struct flow_range range = { u->ls->first[rule], fwd_rule_ports(gone), gone->first, gone->last };

	if (gone->proto != PROTO_UDP)
		return;
	(void)flows_close(u, is_of_rule, &range);
	for (uint32_t i = 0; i < range.listeners; i++) {
		uint32_t at = range.listener + i;

		u->by_port[gone->first + i] = 0;
		u->ls_blocked[at / 64] &= ~(UINT64_C(1) << at % 64);
	}
	/* Another rule may have the same port on another address. */
	for (unsigned i = 0; i < t->n; i++) {
		if (i != rule && t->rule[i].first <= gone->last && gone->first <= t->rule[i].last)
			udp_rule_added(u, i);
	}
}

void udp_set_listeners(struct udp *u, struct listeners *ls)
{
	/* Those without a socket of their own end with the listener. */
	(void)flows_close(u, has_no_socket, NULL);
	for (uint32_t i = 0; u->ls && i < u->ls->n; i++)
		u->by_port[u->ls->l[i].port] = 0;
	free(u->ls_blocked);
	u->ls_blocked = NULL;
	u->ls_any_blocked = false;
	u->ls = ls;
	if (!ls)
		return;
	u->ls_blocked = calloc((LISTENERS_MAX + 63) / 64, sizeof(*u->ls_blocked));
	if (!u->ls_blocked) {
		u->ls = NULL;
		log_err("UDP: no memory for listeners");
		return;
	}
	for (unsigned i = 0; i < ls->table->n; i++)
		udp_rule_added(u, i);
}

static void listeners_unblock(struct udp *u)
{
	if (!u->ls_any_blocked)
		return;
	u->ls_any_blocked = false;
	for (uint32_t i = 0; i < u->ls->n; i++) {
		const struct listener *l = udp_listener(u, i);
		struct ref ref = { .index = i, .owner = (uint8_t)u->owner_listen };
		int rc = 0;

		if (!(u->ls_blocked[i / 64] >> i % 64 & 1))
			continue;
		u->ls_blocked[i / 64] &= ~(UINT64_C(1) << i % 64);
		if (l)
			rc = loop_mod(u->d.loop, l->fd, ref, EPOLLIN);
		if (rc)
			log_limited(LOG_LVL_WARN, "UDP: port %u: no events: %s", l->port, strerror(-rc));
	}
}

void udp_link_ready(struct udp *u)
{
	while (!list_empty(&u->wait))
		udp_flow_unblock(container_of(u->wait.next, struct udp_flow, wait));
	listeners_unblock(u);
}

void udp_flow_abort(struct udp *u, struct flow *f)
{
	udp_flow_close(u, (struct udp_flow *)f);
}

void udp_set_divert(struct udp *u, udp_divert_fn *fn, void *ctx)
{
	u->divert = fn;
	u->divert_ctx = ctx;
}

void udp_flow_show(const struct flow *f, struct flow_show *ret_show)
{
	const struct udp_flow *k = (const struct udp_flow *)f;

	*ret_show = (struct flow_show){
		.state = k->from_guest && k->from_host ? "answered" : "one-way",
		.host_first = k->host_first,
		.fd = k->sock.fd,
		.peer = k->sock.to,
	};
}
