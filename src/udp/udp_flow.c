/* SPDX-License-Identifier: MIT */
#include "udp/udp_flow.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "fwd/inbound.h"
#include "wire/ip.h"

#define PORT_DNS 53
#define DNS_NS (17 * NSEC_PER_SEC)
#define SWEEP_NS NSEC_PER_SEC /* time-outs are no finer than this */

static uint64_t idle_ns(const struct udp *u, enum udp_idle i)
{
	if (i == UDP_DNS)
		return DNS_NS;
	return i == UDP_ANSWERED ? udp_answered_ns(&u->d.times) : udp_oneway_ns(&u->d.times);
}

static struct ref flow_ref(const struct udp *u, const struct udp_flow *f)
{
	return (struct ref){ .index = f->flow.index, .gen = f->flow.gen, .owner = (uint8_t)u->owner_flow };
}

static uint32_t flow_mask(const struct udp_flow *f)
{
	return f->blocked ? 0 : EPOLLIN;
}

struct listener *udp_listener(const struct udp *u, uint32_t index)
{
	struct listener *l;

	if (!u->ls || index >= u->ls->n)
		return NULL;
	l = &u->ls->l[index];
	return l->proto == PROTO_UDP && l->fd >= 0 ? l : NULL;
}

static uint16_t *port_users(const struct udp *u, const struct udp_flow *f)
{
	return &u->users[!addr_is4(&f->sock.to.addr)][f->flow.key.gport];
}

static void socket_drop(struct udp *u, struct udp_flow *f)
{
	sockwatch_end(&f->watch);
	if (f->sock.fd >= 0)
		sock_close(f->sock.fd);
	f->sock.fd = -1;
	if (f->shares)
		--*port_users(u, f);
	f->shares = 0;
}

void udp_flow_close(struct udp *u, struct udp_flow *f)
{
	list_del(&f->idle);
	list_del(&f->wait);
	socket_drop(u, f);
	u->n--;
	flow_free(u->d.flows, &f->flow);
}

static struct udp_flow *idle_first(const struct udp *u, enum udp_idle i)
{
	return list_empty(&u->idle[i]) ? NULL : container_of(u->idle[i].next, struct udp_flow, idle);
}

static void sweep_arm(struct udp *u, uint64_t now_ns)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < UDP_IDLES; i++) {
		const struct udp_flow *f = idle_first(u, i);

		if (f)
			due = MIN(due, f->last_ns + idle_ns(u, i));
	}
	if (due == UINT64_MAX)
		return;
	u->sweep_ns = MAX(due, now_ns + SWEEP_NS);
	timer_set(&u->d.loop->timers, &u->sweep, u->sweep_ns);
}

void udp_flow_sweep(struct timer *t, uint64_t now_ns)
{
	struct udp *u = container_of(t, struct udp, sweep);

	for (unsigned i = 0; i < UDP_IDLES; i++) {
		struct udp_flow *f;

		while ((f = idle_first(u, i)) && f->last_ns + idle_ns(u, i) <= now_ns)
			udp_flow_close(u, f);
	}
	sweep_arm(u, now_ns);
}

static enum udp_idle idle_class(const struct udp *u, const struct udp_flow *f)
{
	enum udp_idle i = f->from_guest && f->from_host ? UDP_ANSWERED : UDP_ONEWAY;

	return f->sock.to.port == PORT_DNS && !f->host_first && idle_ns(u, i) > DNS_NS ? UDP_DNS : i;
}

void udp_flow_touch(struct udp *u, struct udp_flow *f, bool by_guest)
{
	/* The first answer gives the flow the time-out of one that has an answer. */
	if (!by_guest && f->from_host && peer_is_anyone(&f->sock))
		return;
	if (by_guest)
		f->from_guest = 1;
	else
		f->from_host = 1;
	f->last_ns = u->d.loop->now_ns;
	list_del(&f->idle);
	list_push(&u->idle[idle_class(u, f)], &f->idle);
	if (!timer_armed(&u->sweep) || f->last_ns + idle_ns(u, idle_class(u, f)) < u->sweep_ns)
		sweep_arm(u, f->last_ns);
}

void udp_flow_block(struct udp *u, struct udp_flow *f)
{
	if (!f->blocked)
		list_push(&u->wait, &f->wait);
	f->blocked = 1;
	sockwatch_set(&f->watch, flow_mask(f));
}

void udp_flow_unblock(struct udp_flow *f)
{
	f->blocked = 0;
	list_del(&f->wait);
	sockwatch_set(&f->watch, flow_mask(f));
}

void udp_flow_rest(struct udp_flow *f)
{
	sockwatch_rest(&f->watch, flow_mask(f));
}

/* A slot, if need be that of the flow that is the least likely to be missed: the oldest of those without an answer. */
static struct udp_flow *slot_new(struct udp *u, const struct flow_key *key)
{
	struct udp_flow *f;

	for (unsigned i = 0; u->n >= u->max && i < UDP_IDLES; i++) {
		f = idle_first(u, i);
		if (f)
			udp_flow_close(u, f);
	}
	f = (struct udp_flow *)flow_new(u->d.flows, key);
	if (!f)
		return NULL;
	u->n++;
	f->sock.fd = -1;
	sockwatch_init(&f->watch, u->d.loop);
	f->frags = 1;
	f->seg.max = UINT16_MAX;
	list_init(&f->idle);
	list_init(&f->wait);
	list_push(&u->idle[UDP_ONEWAY], &f->idle);
	f->last_ns = f->flow.born_ns = u->d.loop->now_ns;
	return f;
}

/* Takes a slot back whose socket never came to be. */
static void slot_free(struct udp *u, struct udp_flow *f)
{
	if (f->sock.fd >= 0)
		sock_close(f->sock.fd);
	f->sock.fd = -1;
	udp_flow_close(u, f);
}

static int set_recverr(int fd, bool v4)
{
	return v4 ? sock_set_int(fd, IPPROTO_IP, IP_RECVERR, 1) : sock_set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
}

static int set_reuse(int fd, int on)
{
	return sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, on);
}

/* Binds fd to an address that the listener l has already. */
static int bind_beside(int fd, const struct listener *l, const struct ep *local, unsigned scope)
{
	int rc = set_reuse(fd, 1);

	if (!rc)
		rc = set_reuse(l->fd, 1);
	if (rc)
		return rc;
	rc = sock_bind(fd, addr_family(&local->addr), local, scope);
	if (set_reuse(l->fd, 0))
		log_limited(LOG_LVL_WARN, "UDP: port %u can be shared by others", l->port);
	return rc;
}

/*
 * Binds to the port that the guest has. The first socket on it is bound for itself, and only then made ready to share: a port that
 * somebody else has stays his. Where the destination was translated, two destinations of the guest can be one of the host, and on
 * sockets with one port their answers could not be told apart: those do not share.
 */
static int bind_port(struct udp *u, struct udp_flow *f, const struct ep *want)
{
	bool share = addr_eq(&f->sock.to.addr, &f->flow.key.remote);
	uint16_t *users = port_users(u, f);
	int family = addr_family(&f->sock.to.addr);
	const struct listener *l;
	int rc = 0;

	if (!want->port)
		return -EADDRNOTAVAIL;
	if (share && *users)
		rc = set_reuse(f->sock.fd, 1);
	if (!rc)
		rc = sock_bind(f->sock.fd, family, want, u->d.out->scope6);
	if (rc == -EADDRINUSE && share && u->by_port[want->port]) {
		l = udp_listener(u, u->by_port[want->port] - 1);
		if (l)
			rc = bind_beside(f->sock.fd, l, want, u->d.out->scope6);
	}
	if (rc || !share || set_reuse(f->sock.fd, 1) || *users == UINT16_MAX)
		return rc;
	f->shares = 1;
	++*users;
	return 0;
}

/* keep: with the guest's port, if that can be. */
static int bind_source(struct udp *u, struct udp_flow *f, bool keep)
{
	bool v4 = addr_is4(&f->sock.to.addr);
	struct ep want = { .addr = v4 ? addr_any4 : addr_any6, .port = f->flow.key.gport };
	const struct addr *addr = v4 ? &u->d.out->addr4 : &u->d.out->addr6;
	bool fixed = !addr_is_any(addr) && !addr_is_loopback(&f->sock.to.addr);

	if (fixed)
		want.addr = *addr;
	if (keep && !bind_port(u, f, &want))
		return 0;
	want.port = 0;
	return fixed ? sock_bind(f->sock.fd, addr_family(&want.addr), &want, u->d.out->scope6) : 0;
}

static int socket_out(struct udp *u, struct udp_flow *f, bool keep)
{
	struct outbound o = *u->d.out;
	int rc;

	/* The address is bound together with the port, by bind_source(). */
	o.addr4 = addr_any4;
	o.addr6 = addr_any6;
	rc = out_socket(&o, SOCK_DGRAM, IPPROTO_UDP, &f->sock.to.addr, 0, &f->sock.fd);
	if (!rc)
		rc = bind_source(u, f, keep);
	if (!rc)
		rc = set_recverr(f->sock.fd, addr_is4(&f->sock.to.addr));
	return rc ? rc : peer_connect(&f->sock, u->d.out);
}

/* The destination is an address of the host, and nobody has the port there: we would be talking to ourselves. */
static bool is_self(const struct udp_flow *f)
{
	struct ep local;

	return f->flow.key.gport == f->sock.to.port && !sock_local(f->sock.fd, &local) && ep_eq(&local, &f->sock.to);
}

static int open_out(struct udp *u, struct udp_flow *f)
{
	int rc = socket_out(u, f, true);

	if (!rc && is_self(f)) {
		socket_drop(u, f);
		rc = socket_out(u, f, false);
	}
	return rc ? rc : sockwatch_begin(&f->watch, f->sock.fd, flow_ref(u, f), flow_mask(f));
}

struct udp_flow *udp_flow_from_guest(struct udp *u, const struct pkt *p)
{
	struct flow_key key = flow_key_init(PROTO_UDP, &p->src, p->sport, &p->dst, p->dport);
	struct ep dst = { .addr = p->dst, .port = p->dport }, to;
	struct udp_flow *f;
	int rc;

	if (!p->dport || !addr_is_unicast(&p->src) || addr_is_any(&p->dst) || addr_is_loopback(&p->dst))
		return NULL;
	if (nat_to_host(u->d.nat, PROTO_UDP, &dst, &to)) {
		hosterr_refuse(&u->hosterr, p, ECONNREFUSED);
		return NULL;
	}
	if (!flow_admit(u->d.flows, u->d.loop->now_ns))
		return NULL;
	f = slot_new(u, &key);
	if (!f)
		return NULL;
	f->sock.to = to;
	rc = open_out(u, f);
	if (rc) {
		slot_free(u, f);
		if (!hosterr_refuse(&u->hosterr, p, -rc))
			log_limited(LOG_LVL_WARN, "UDP: no socket: %s", strerror(-rc));
		return NULL;
	}
	return f;
}

static int open_beside(struct udp *u, struct udp_flow *f, const struct listener *l)
{
	const struct fwd_rule *r = &u->ls->table->rule[l->rule];
	int family = addr_family(&f->sock.to.addr);
	struct ep local = f->local;
	int rc;

	/* A listener for both families is not always told which address it was. */
	if (addr_is_any(&local.addr))
		local.addr = family == AF_INET ? addr_any4 : addr_any6;
	rc = sock_open(family, SOCK_DGRAM, IPPROTO_UDP, &f->sock.fd);
	if (rc)
		return rc;
	if (r->ifname[0])
		rc = sock_bind_dev(f->sock.fd, r->ifname);
	if (!rc)
		rc = bind_beside(f->sock.fd, l, &local, f->scope);
	if (!rc)
		rc = set_recverr(f->sock.fd, family == AF_INET);
	if (!rc)
		rc = sock_connect(f->sock.fd, family, &f->sock.to, f->scope);
	if (!rc)
		rc = sockwatch_begin(&f->watch, f->sock.fd, flow_ref(u, f), flow_mask(f));
	if (rc) {
		sock_close(f->sock.fd);
		f->sock.fd = -1;
		return rc;
	}
	/* As the listener has it. */
	peer_want_hops(&f->sock);
	return 0;
}

static bool same_path(const void *ctx, const struct flow *flow)
{
	const struct udp_flow *f = (const struct udp_flow *)flow;
	const struct udp_path *p = ctx;

	return !f->host_first || (ep_eq(&f->sock.to, &p->peer) && ep_eq(&f->local, &p->local));
}

/* Its flow if there is one; else NULL, and the key for one. */
static int find_path(struct udp *u, const struct udp_path *p, const struct listener *l, struct flow_key *ret_key,
		     struct udp_flow **ret_f)
{
	struct inbound in = {
		.guest = u->d.guest,
		.nat = u->d.nat,
		.flows = u->d.flows,
		.rule = &u->ls->table->rule[l->rule],
		.proto = PROTO_UDP,
		.to = l->to,
		.peer = &p->peer,
		.same = same_path,
		.ctx = p,
	};
	struct flow *f;
	int rc = inbound_find(&in, ret_key, &f);

	if (!rc)
		*ret_f = (struct udp_flow *)f;
	return rc;
}

struct udp_flow *udp_flow_from_host(struct udp *u, const struct udp_path *p)
{
	const struct listener *l = udp_listener(u, p->listener);
	struct flow_key key;
	struct udp_flow *f;
	int rc;

	if (!l || find_path(u, p, l, &key, &f))
		return NULL;
	if (f)
		return f;
	f = slot_new(u, &key);
	if (!f)
		return NULL;
	f->host_first = 1;
	f->sock.to = p->peer;
	ipopts_init(&f->sock.ip, u->d.out, &p->peer.addr);
	f->local = p->local;
	f->scope = p->scope;
	f->listener = p->listener;
	rc = open_beside(u, f, l);
	if (rc)
		log_limited(LOG_LVL_WARN, "UDP: no socket beside the listener on port %u: %s", l->port, strerror(-rc));
	else
		f->sock.connected = 1;
	return f;
}
