/* SPDX-License-Identifier: MIT */
#include "icmp/icmp_flow.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/log.h"
#include "os/hops.h"
#include "wire/ip.h"

#define IDLE_NS (60 * NSEC_PER_SEC) /* RFC 5508 REQ-1: not less */
#define SWEEP_NS NSEC_PER_SEC

static struct icmp_flow *idle_first(const struct icmp *m)
{
	return list_empty(&m->idle) ? NULL : container_of(m->idle.next, struct icmp_flow, idle);
}

void icmp_flow_close(struct icmp *m, struct icmp_flow *f)
{
	list_del(&f->idle);
	sockwatch_end(&f->watch);
	if (f->sock.fd >= 0)
		sock_close(f->sock.fd);
	m->n--;
	flow_free(m->d.flows, &f->flow);
}

static void sweep_arm(struct icmp *m, uint64_t now_ns)
{
	const struct icmp_flow *f = idle_first(m);

	if (f)
		timer_set(&m->d.loop->timers, &m->sweep, MAX(f->last_ns + IDLE_NS, now_ns + SWEEP_NS));
}

void icmp_flow_sweep(struct timer *t, uint64_t now_ns)
{
	struct icmp *m = container_of(t, struct icmp, sweep);
	struct icmp_flow *f;

	while ((f = idle_first(m)) && f->last_ns + IDLE_NS <= now_ns)
		icmp_flow_close(m, f);
	sweep_arm(m, now_ns);
}

void icmp_flow_touch(struct icmp *m, struct icmp_flow *f)
{
	f->last_ns = m->d.loop->now_ns;
	list_del(&f->idle);
	list_push(&m->idle, &f->idle);
	if (!timer_armed(&m->sweep))
		sweep_arm(m, f->last_ns);
}

static struct icmp_flow *slot_new(struct icmp *m, const struct flow_key *key)
{
	struct icmp_flow *f;

	if (m->n >= m->max)
		icmp_flow_close(m, idle_first(m));
	f = (struct icmp_flow *)flow_new(m->d.flows, key);
	if (!f)
		return NULL;
	m->n++;
	f->flow.born_ns = m->d.loop->now_ns;
	f->sock.fd = -1;
	sockwatch_init(&f->watch, m->d.loop);
	list_init(&f->idle);
	icmp_flow_touch(m, f);
	return f;
}

/* Takes a slot back whose socket never came to be. */
static void slot_free(struct icmp *m, struct icmp_flow *f)
{
	if (f->sock.fd >= 0)
		sock_close(f->sock.fd);
	f->sock.fd = -1;
	icmp_flow_close(m, f);
}

static int open_ping(struct icmp *m, struct icmp_flow *f)
{
	bool v4 = addr_is4(&f->sock.to.addr);
	int proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	struct ref ref = { .index = f->flow.index, .gen = f->flow.gen, .owner = (uint8_t)m->owner };
	int rc;

	rc = out_socket(m->d.out, SOCK_DGRAM, proto, &f->sock.to.addr, f->flow.key.gport, &f->sock.fd);
	if (rc == -EADDRINUSE)
		rc = out_socket(m->d.out, SOCK_DGRAM, proto, &f->sock.to.addr, 0, &f->sock.fd);
	if ((rc == -EACCES || rc == -EPERM) && !m->warned) {
		m->warned = true;
		log_warn("Can't open ping sockets: %s; the guest can't ping. See sysctl net.ipv4.ping_group_range", strerror(-rc));
	}
	if (rc)
		return m->warned && (rc == -EACCES || rc == -EPERM) ? -ENOTSUP : rc;
	rc = v4 ? sock_set_int(f->sock.fd, IPPROTO_IP, IP_RECVERR, 1) : sock_set_int(f->sock.fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
	if (!rc)
		rc = peer_connect(&f->sock, m->d.out);
	if (!rc)
		rc = sockwatch_begin(&f->watch, f->sock.fd, ref, EPOLLIN);
	return rc;
}

bool icmp_is_ours(const struct icmp *m, const struct addr *a)
{
	const struct nat *n = m->d.nat;

	return !addr_is_any(a) && (addr_eq(a, &n->our_ll6) || addr_eq(a, &n->v4.our) || addr_eq(a, &n->v6.our));
}

struct icmp_flow *icmp_flow_from_guest(struct icmp *m, const struct pkt *p, uint16_t id)
{
	struct flow_key key = flow_key_init(p->proto, &p->src, id, &p->dst, 0);
	struct icmp_flow *f = (struct icmp_flow *)flow_find(m->d.flows, &key);
	struct ep dst = { .addr = p->dst }, to;
	int rc;

	if (f)
		return f;
	if (!addr_is_unicast(&p->src) || addr_is_any(&p->dst) || addr_is_loopback(&p->dst))
		return NULL;
	if (nat_to_host(m->d.nat, p->proto, &dst, &to)) {
		hosterr_refuse(&m->hosterr, p, EHOSTUNREACH);
		return NULL;
	}
	if (!flow_admit(m->d.flows, m->d.loop->now_ns))
		return NULL;
	f = slot_new(m, &key);
	if (!f)
		return NULL;
	f->sock.to = to;
	rc = open_ping(m, f);
	if (rc) {
		slot_free(m, f);
		if (rc != -ENOTSUP && !hosterr_refuse(&m->hosterr, p, -rc))
			log_limited(LOG_LVL_WARN, "ICMP: no socket: %s", strerror(-rc));
		return NULL;
	}
	return f;
}
