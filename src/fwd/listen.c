/* SPDX-License-Identifier: MIT */
#include "fwd/listen.h"

#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "os/rlimit.h"
#include "os/sock.h"

#ifndef IPV6_FREEBIND
#define IPV6_FREEBIND 78
#endif

#define PAUSE_NS NSEC_PER_SEC
#define FDS_SPARE 512 /* descriptors that best-effort rules leave to flows */
#define RULE_STRLEN 160

/* Ports of one rule, one after the other, that failed for the same reason. */
struct run {
	int err;
	uint16_t first, last;
};

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "UDP" : "TCP";
}

/* Ports first to last as "ADDR%IF/PORT". */
static const char *ports_fmt(const struct fwd_rule *r, uint16_t first, uint16_t last, char buf[RULE_STRLEN])
{
	struct fwd_rule plain = *r;

	plain.first = plain.to = first;
	plain.last = last;
	plain.flags &= FWD_DUAL;
	fwd_rule_fmt(&plain, buf, RULE_STRLEN);
	return buf;
}

static int socket_freebind(int fd, int family)
{
	if (family == AF_INET)
		return sock_set_int(fd, IPPROTO_IP, IP_FREEBIND, 1);
	return sock_set_int(fd, IPPROTO_IPV6, IPV6_FREEBIND, 1);
}

static int socket_setup(int fd, int family, const struct fwd_rule *r, const struct ep *ep)
{
	unsigned scope = 0;
	int rc = 0;

	if (r->flags & FWD_DUAL && family == AF_INET6)
		rc = sock_set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
	/* Connections that linger in TIME_WAIT must not keep us from starting again. For UDP it would let others share the port. */
	if (!rc && r->proto == IPPROTO_TCP)
		rc = sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!rc && r->ifname[0]) {
		rc = sock_bind_dev(fd, r->ifname);
		scope = if_nametoindex(r->ifname);
	}
	if (!rc)
		rc = sock_bind(fd, family, ep, scope);
	if (!rc && r->proto == IPPROTO_TCP)
		rc = sock_listen(fd, SOMAXCONN);
	return rc;
}

static int socket_open(const struct fwd_table *t, const struct listener *l, int *ret_fd, bool *ret_v6)
{
	const struct fwd_rule *r = &t->rule[l->rule];
	int type = r->proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	struct ep ep = { .addr = r->addr, .port = l->port };
	int family = r->flags & FWD_DUAL ? AF_INET6 : addr_family(&r->addr);
	int fd, rc;

	rc = sock_open(family, type, r->proto, &fd);
	if (rc == -EAFNOSUPPORT && r->flags & FWD_DUAL) {
		family = AF_INET;
		ep.addr = addr_any4;
		rc = sock_open(family, type, r->proto, &fd);
	}
	if (rc)
		return rc;
	if (t->freebind)
		rc = socket_freebind(fd, family);
	if (!rc)
		rc = socket_setup(fd, family, r, &ep);
	if (rc) {
		sock_close(fd);
		return rc;
	}
	*ret_fd = fd;
	*ret_v6 = family == AF_INET6;
	return 0;
}

static int listener_open_at(struct listeners *ls, struct listener *l)
{
	bool v6;
	int rc;

	rc = socket_open(ls->table, l, &l->fd, &v6);
	if (!rc)
		l->v6 = v6;
	return rc;
}

static int listener_start(struct listeners *ls, struct listener *l)
{
	struct ref ref = {
		.index = (uint32_t)(l - ls->l),
		.owner = (uint8_t)(l->proto == IPPROTO_UDP ? ls->owner_udp : ls->owner_tcp),
	};

	return loop_add(ls->loop, l->fd, ref, EPOLLIN);
}

static void listener_close_at(struct listeners *ls, struct listener *l)
{
	if (l->fd < 0)
		return;
	if (ls->loop)
		loop_del(ls->loop, l->fd);
	sock_close(l->fd);
	l->fd = -1;
}

/* The listeners stand in the order of rules and ports. */
static struct listener *listener_find(struct listeners *ls, unsigned rule, uint16_t port)
{
	struct listener *l = ls->l;

	if (rule >= ls->table->n)
		return NULL;
	for (unsigned i = 0; i < rule; i++)
		l += ls->table->rule[i].last - ls->table->rule[i].first + 1;
	if (port < ls->table->rule[rule].first || port > ls->table->rule[rule].last)
		return NULL;
	return l + (port - ls->table->rule[rule].first);
}

int listener_open(struct listeners *ls, unsigned rule, uint16_t port)
{
	struct listener *l = listener_find(ls, rule, port);
	int rc;

	if (!l)
		return -EINVAL;
	if (l->fd >= 0)
		return 0;
	rc = listener_open_at(ls, l);
	if (rc || !ls->loop)
		return rc;
	rc = listener_start(ls, l);
	if (rc) {
		sock_close(l->fd);
		l->fd = -1;
	}
	return rc;
}

void listener_close(struct listeners *ls, unsigned rule, uint16_t port)
{
	struct listener *l = listener_find(ls, rule, port);

	if (l)
		listener_close_at(ls, l);
}

static int listeners_alloc(struct listeners *ls, const struct fwd_table *t)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += t->rule[i].last - t->rule[i].first + 1u;
	if (n > LISTENERS_MAX) {
		log_err("Too many ports to listen on: %u, at most %u", n, LISTENERS_MAX);
		return -E2BIG;
	}
	ls->l = calloc(n ? n : 1, sizeof(*ls->l));
	if (!ls->l)
		return -ENOMEM;
	for (unsigned i = 0; i < t->n; i++) {
		const struct fwd_rule *r = &t->rule[i];

		for (unsigned p = r->first; p <= r->last; p++) {
			ls->l[ls->n++] = (struct listener){
				.fd = -1,
				.rule = (uint16_t)i,
				.port = (uint16_t)p,
				.to = (uint16_t)(r->to + (p - r->first)),
				.proto = r->proto,
			};
		}
	}
	return 0;
}

/* One line for an explicit rule is enough: the first port that fails ends the start. */
static int open_strict(struct listeners *ls, const struct fwd_rule *r, struct listener *l)
{
	char buf[RULE_STRLEN];

	for (unsigned p = r->first; p <= r->last; p++, l++) {
		int rc = listener_open_at(ls, l);

		if (rc) {
			log_err("Listen failed for HOST %s port %s: %s", proto_name(r->proto), ports_fmt(r, l->port, l->port, buf),
				strerror(-rc));
			return rc;
		}
	}
	return 0;
}

static void run_end(const struct fwd_rule *r, const struct run *run)
{
	char buf[RULE_STRLEN];

	if (run->err)
		log_warn("Listen failed for HOST %s port %s: %s", proto_name(r->proto), ports_fmt(r, run->first, run->last, buf),
			 strerror(-run->err));
}

/* Opens what can be opened while there are descriptors. Returns the number; *err becomes the last error, if there is one. */
static unsigned open_weak(struct listeners *ls, const struct fwd_rule *r, struct listener *l, uint64_t *fds, int *err)
{
	struct run run = { .err = 0 };
	unsigned opened = 0;

	for (unsigned p = r->first; p <= r->last; p++, l++) {
		int rc = *fds ? listener_open_at(ls, l) : -EMFILE;

		if (!rc) {
			opened++;
			(*fds)--;
		}
		if (rc != run.err) {
			run_end(r, &run);
			run = (struct run){ .err = rc, .first = l->port };
		}
		run.last = l->port;
		if (rc)
			*err = rc;
	}
	run_end(r, &run);
	return opened;
}

/* A specifier such as "all" becomes several rules, where ports are left out: they stand and fall together. */
static bool weak_same_spec(const struct fwd_rule *a, const struct fwd_rule *b)
{
	return a->proto == b->proto && a->flags == b->flags && addr_eq(&a->addr, &b->addr) && !strcmp(a->ifname, b->ifname);
}

static int open_weak_group(struct listeners *ls, unsigned first, unsigned end, uint64_t *fds)
{
	const struct fwd_rule *r = ls->table->rule;
	unsigned opened = 0;
	char buf[RULE_STRLEN];
	int err = 0;

	for (unsigned i = first; i < end; i++)
		opened += open_weak(ls, &r[i], listener_find(ls, i, r[i].first), fds, &err);
	if (opened || !err)
		return 0;
	log_err("All listens failed for HOST %s ports %s", proto_name(r[first].proto),
		ports_fmt(&r[first], r[first].first, r[end - 1].last, buf));
	return err;
}

static uint64_t listeners_budget(const struct listeners *ls)
{
	uint64_t limit = rlimit_nofile_want(ls->n + UINT64_C(2) * FDS_SPARE);
	uint64_t spare = MIN(limit / 2, (uint64_t)FDS_SPARE);

	return limit - spare;
}

static void listener_events(struct listeners *ls, struct listener *l, uint32_t events)
{
	unsigned owner = l->proto == IPPROTO_TCP ? ls->owner_tcp : ls->owner_udp;

	if (loop_mod(ls->loop, l->fd, ref_init(owner, (uint32_t)(l - ls->l), 0), events))
		log_limited(LOG_LVL_WARN, "Can't watch port %u", l->port);
}

static void listeners_resume(struct timer *t, uint64_t now_ns)
{
	struct listeners *ls = container_of(t, struct listeners, retry);

	for (uint32_t i = 0; i < ls->n; i++) {
		struct listener *l = &ls->l[i];

		if (l->paused && l->fd >= 0)
			listener_events(ls, l, EPOLLIN);
		l->paused = 0;
	}
}

void listener_pause(struct listeners *ls, uint32_t index)
{
	struct listener *l = &ls->l[index];

	if (l->paused || l->fd < 0)
		return;
	l->paused = 1;
	listener_events(ls, l, 0);
	if (!timer_armed(&ls->retry))
		timer_set(&ls->loop->timers, &ls->retry, ls->loop->now_ns + PAUSE_NS);
}

void listeners_init(struct listeners *ls, const struct fwd_table *t)
{
	*ls = (struct listeners){ .table = t };
	timer_init(&ls->retry, listeners_resume);
}

static bool is_weak(const struct fwd_rule *r)
{
	return (r->flags & (FWD_WEAK | FWD_SCAN)) == FWD_WEAK;
}

/* End of the specifier whose rules begin at first. */
static unsigned weak_group_end(const struct fwd_table *t, unsigned first)
{
	unsigned end = first + 1;

	while (end < t->n && weak_same_spec(&t->rule[first], &t->rule[end]))
		end++;
	return end;
}

/* What all best-effort specifiers together take if none of them gets more than max. */
static uint64_t weak_total(const struct fwd_table *t, uint64_t max)
{
	uint64_t total = 0;

	for (unsigned i = 0, end; i < t->n; i = end) {
		uint64_t ports = 0;

		end = is_weak(&t->rule[i]) ? weak_group_end(t, i) : i + 1;
		for (unsigned j = i; is_weak(&t->rule[i]) && j < end; j++)
			ports += t->rule[j].last - t->rule[j].first + 1u;
		total += MIN(ports, max);
	}
	return total;
}

/* The most that each specifier may have, so that none is left without any because of another. */
static uint64_t weak_share(const struct fwd_table *t, uint64_t fds)
{
	uint64_t lo = 0, hi = UINT16_MAX;

	while (lo < hi) {
		uint64_t mid = (lo + hi + 1) / 2;

		if (weak_total(t, mid) <= fds)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

static int open_weak_all(struct listeners *ls, uint64_t fds)
{
	const struct fwd_table *t = ls->table;
	uint64_t share = weak_share(t, fds);
	int err = 0;

	if (share < UINT16_MAX)
		log_warn("The limit of open files leaves %" PRIu64 " ports to each specifier such as \"all\"", share);
	for (unsigned i = 0, end; !err && i < t->n; i = end) {
		uint64_t left = share;

		end = i + 1;
		if (!is_weak(&t->rule[i]))
			continue;
		end = weak_group_end(t, i);
		err = open_weak_group(ls, i, end, &left);
	}
	return err;
}

int listeners_open(struct listeners *ls, const struct fwd_table *t)
{
	uint64_t fds;
	int rc, err = 0;

	listeners_init(ls, t);
	rc = listeners_alloc(ls, t);
	if (rc)
		return rc;
	fds = listeners_budget(ls);

	/* Those first that must not fail. */
	for (unsigned i = 0; i < t->n; i++) {
		const struct fwd_rule *r = &t->rule[i];

		if (r->flags & (FWD_WEAK | FWD_SCAN))
			continue;
		rc = open_strict(ls, r, listener_find(ls, i, r->first));
		if (rc)
			err = rc;
		fds -= MIN(fds, (uint64_t)(r->last - r->first + 1));
	}
	if (!err)
		err = open_weak_all(ls, fds);
	if (err)
		listeners_close(ls);
	return err;
}

int listeners_start(struct listeners *ls, struct loop *loop, unsigned owner_tcp, unsigned owner_udp)
{
	ls->loop = loop;
	ls->owner_tcp = owner_tcp;
	ls->owner_udp = owner_udp;
	for (uint32_t i = 0; i < ls->n; i++) {
		int rc;

		if (ls->l[i].fd < 0)
			continue;
		rc = listener_start(ls, &ls->l[i]);
		if (rc)
			return rc;
	}
	return 0;
}

void listeners_close(struct listeners *ls)
{
	if (ls->loop)
		timer_cancel(&ls->loop->timers, &ls->retry);
	for (uint32_t i = 0; i < ls->n; i++)
		listener_close_at(ls, &ls->l[i]);
	free(ls->l);
	ls->l = NULL;
	ls->n = 0;
}
