/* SPDX-License-Identifier: MIT */
#include "fwd/listen.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "os/rlimit.h"
#include "os/sock.h"
#include "os/unixpath.h"

#define PAUSE_NS NSEC_PER_SEC
#define ACCEPT_BATCH 32
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
	plain.flags &= FWD_DUAL | FWD_AT_PATH;
	fwd_rule_fmt(&plain, buf, RULE_STRLEN);
	return buf;
}

/* The usual place: our own network. */
static int host_open(void *ctx, const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	return bound_open(s, ret_fd, ret_v6);
}

static const struct listen_place host = { .name = "HOST", .open = host_open };

void listener_spec(const struct listeners *ls, const struct listener *l, struct bound_spec *ret_spec)
{
	const struct fwd_rule *r = &ls->table->rule[l->rule];

	*ret_spec = (struct bound_spec){
		.addr = r->addr,
		.port = l->port,
		.proto = r->proto,
		.dual = !!(r->flags & FWD_DUAL),
		.freebind = ls->table->freebind,
	};
	static_assert(sizeof(ret_spec->dev) == sizeof(r->ifname), "names of interfaces");
	memcpy(ret_spec->dev, r->ifname, sizeof(ret_spec->dev));
	if (ls->place.dev)
		snprintf(ret_spec->dev, sizeof(ret_spec->dev), "%s", ls->place.dev);
}

static int listener_open_at(struct listeners *ls, struct listener *l)
{
	const struct fwd_rule *r = &ls->table->rule[l->rule];
	struct bound_spec s;
	bool v6;
	int rc;

	if (r->flags & (FWD_AT_PATH | FWD_TO_PATH) && l->dir < 0) {
		rc = unixpath_folder(r->path, &l->dir);
		if (rc)
			return rc;
	}
	if (r->flags & FWD_AT_PATH)
		return unixpath_listen_private(r->path, &l->fd);
	listener_spec(ls, l, &s);
	rc = ls->place.open(ls->place.ctx, &s, &l->fd, &v6);
	if (!rc)
		l->v6 = v6;
	return rc;
}

static struct ref listener_ref(const struct listeners *ls, const struct listener *l)
{
	return ref_init(l->proto == IPPROTO_UDP ? ls->owner_udp : ls->owner_tcp, (uint32_t)(l - ls->l), 0);
}

static int listener_start(struct listeners *ls, struct listener *l)
{
	return loop_add(ls->loop, l->fd, listener_ref(ls, l), EPOLLIN);
}

static void listener_close_at(struct listeners *ls, struct listener *l)
{
	if (l->fd < 0)
		return;
	if (ls->loop)
		loop_del(ls->loop, l->fd);
	sock_close(l->fd);
	l->fd = -1;
	l->paused = 0;
}

static void dir_close(struct listener *l)
{
	if (l->dir >= 0)
		sock_close(l->dir);
	l->dir = -1;
}

struct listener *listener_find(const struct listeners *ls, unsigned rule, uint16_t port)
{
	if (rule >= ls->table->n || port < ls->table->rule[rule].first || port > ls->table->rule[rule].last)
		return NULL;
	return &ls->l[ls->first[rule] + port - ls->table->rule[rule].first];
}

static int listener_opened(struct listeners *ls, struct listener *l)
{
	int rc = ls->loop ? listener_start(ls, l) : 0;

	if (rc) {
		sock_close(l->fd);
		l->fd = -1;
	}
	return rc;
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
	return rc ? rc : listener_opened(ls, l);
}

int listener_take(struct listeners *ls, unsigned rule, uint16_t port, int fd, bool v6)
{
	struct listener *l = listener_find(ls, rule, port);

	if (!l || l->fd >= 0) {
		sock_close(fd);
		return -EINVAL;
	}
	l->fd = fd;
	l->v6 = v6;
	return listener_opened(ls, l);
}

int listener_take_path(struct listeners *ls, unsigned rule, int fd)
{
	const struct fwd_rule *r = &ls->table->rule[rule];

	if (!unixpath_is(fd, r->path) || sock_set_nonblock(fd)) {
		sock_close(fd);
		return -EBADF;
	}
	return listener_take(ls, rule, r->first, fd, false);
}

int listener_take_dir(struct listeners *ls, unsigned rule, int dir)
{
	struct listener *l = &ls->l[ls->first[rule]];
	struct stat st;

	if (fstat(dir, &st) || !S_ISDIR(st.st_mode)) {
		sock_close(dir);
		return -EBADF;
	}
	dir_close(l);
	l->dir = dir;
	return 0;
}

void listener_close(struct listeners *ls, unsigned rule, uint16_t port)
{
	struct listener *l = listener_find(ls, rule, port);

	if (l)
		listener_close_at(ls, l);
}

/* The listeners of a rule, closed, from that place on. */
static void listeners_put(struct listeners *ls, unsigned rule, uint32_t first)
{
	const struct fwd_rule *r = &ls->table->rule[rule];
	struct listener *l = &ls->l[first];

	ls->first[rule] = first;
	for (unsigned p = r->first; p <= r->last; p++) {
		*l++ = (struct listener){
			.fd = -1,
			.dir = -1,
			.rule = (uint16_t)rule,
			.port = (uint16_t)p,
			.to = (uint16_t)(r->to + (p - r->first)),
			.proto = r->proto,
		};
	}
	ls->n = MAX(ls->n, first + fwd_rule_ports(r));
}

static int listeners_alloc(struct listeners *ls)
{
	const struct fwd_table *t = ls->table;
	uint32_t n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += fwd_rule_ports(&t->rule[i]);
	if (n > LISTENERS_MAX) {
		log_err("Too many ports to listen on: %u, at most %u", n, LISTENERS_MAX);
		return -E2BIG;
	}
	/* Memory is used up to where listeners are. */
	ls->l = calloc(LISTENERS_MAX, sizeof(*ls->l));
	if (!ls->l)
		return -ENOMEM;
	for (unsigned i = 0; i < t->n; i++)
		listeners_put(ls, i, ls->n);
	return 0;
}

/* Some of that many places from first on belong to a rule. */
static bool place_taken(const struct listeners *ls, uint32_t first, uint32_t ports)
{
	for (unsigned i = 0; i < ls->table->n; i++) {
		uint32_t n = fwd_rule_ports(&ls->table->rule[i]);

		if (n && ls->first[i] < first + ports && first < ls->first[i] + n)
			return true;
	}
	return false;
}

/* The first gap that is large enough. */
static int place_find(const struct listeners *ls, uint32_t ports, uint32_t *ret_first)
{
	uint32_t best = LISTENERS_MAX;

	for (int i = -1; i < (int)ls->table->n; i++) {
		uint32_t first = i < 0 ? 0 : ls->first[i] + fwd_rule_ports(&ls->table->rule[i]);

		if (i >= 0 && !fwd_rule_ports(&ls->table->rule[i]))
			continue;
		if (first < best && ports <= LISTENERS_MAX - first && !place_taken(ls, first, ports))
			best = first;
	}
	*ret_first = best;
	return best < LISTENERS_MAX ? 0 : -E2BIG;
}

int listeners_rule_add(struct listeners *ls, const struct fwd_rule *r, unsigned *ret_rule)
{
	struct fwd_table *t = ls->table;
	uint32_t first;
	unsigned i = 0;
	int err;

	while (i < t->n && fwd_rule_ports(&t->rule[i]))
		i++;
	if (i == FWD_PLACES)
		return -ENOSPC;
	err = place_find(ls, fwd_rule_ports(r), &first);
	if (err)
		return err;
	t->rule[i] = *r;
	t->n = MAX(t->n, i + 1);
	listeners_put(ls, i, first);
	*ret_rule = i;
	return 0;
}

void listeners_rule_remove(struct listeners *ls, unsigned rule)
{
	struct fwd_table *t = ls->table;
	uint32_t ports = fwd_rule_ports(&t->rule[rule]);

	for (uint32_t i = 0; i < ports; i++) {
		listener_close_at(ls, &ls->l[ls->first[rule] + i]);
		dir_close(&ls->l[ls->first[rule] + i]);
	}
	t->rule[rule] = fwd_rule_none;
	while (t->n && !fwd_rule_ports(&t->rule[t->n - 1]))
		t->n--;
}

int listener_move(struct listeners *ls, struct listener *from, struct listener *to)
{
	int fd = from->fd, err = 0;

	if (fd < 0 || to->fd >= 0)
		return -EINVAL;
	to->v6 = from->v6;
	to->fd = fd;
	to->paused = 0;
	from->fd = -1;
	from->paused = 0;
	if (ls->loop)
		err = loop_mod(ls->loop, fd, listener_ref(ls, to), EPOLLIN);
	if (err)
		listener_close_at(ls, to);
	return err;
}

/* One line for an explicit rule is enough: the first port that fails ends the start. */
static int open_strict(struct listeners *ls, const struct fwd_rule *r, struct listener *l)
{
	char buf[RULE_STRLEN];

	for (unsigned p = r->first; p <= r->last; p++, l++) {
		int rc = listener_open_at(ls, l);

		if (rc) {
			log_err("Listen failed for %s %s port %s: %s", ls->place.name, proto_name(r->proto),
				ports_fmt(r, l->port, l->port, buf), strerror(-rc));
			return rc;
		}
	}
	return 0;
}

static void run_end(const struct listeners *ls, const struct fwd_rule *r, const struct run *run)
{
	char buf[RULE_STRLEN];

	if (run->err)
		log_warn("Listen failed for %s %s port %s: %s", ls->place.name, proto_name(r->proto),
			 ports_fmt(r, run->first, run->last, buf), strerror(-run->err));
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
			run_end(ls, r, &run);
			run = (struct run){ .err = rc, .first = l->port };
		}
		run.last = l->port;
		if (rc)
			*err = rc;
	}
	run_end(ls, r, &run);
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
	log_err("All listens failed for %s %s ports %s", ls->place.name, proto_name(r[first].proto),
		ports_fmt(&r[first], r[first].first, r[end - 1].last, buf));
	return err;
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

/* What those take that must not fail. */
static uint64_t strict_total(const struct fwd_table *t)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < t->n; i++) {
		if (!(t->rule[i].flags & (FWD_WEAK | FWD_SCAN)))
			total += t->rule[i].last - t->rule[i].first + 1u;
	}
	return total;
}

static uint64_t listeners_budget(const struct listeners *ls)
{
	uint64_t more = ls->place.later ? weak_total(ls->place.later, UINT16_MAX) + strict_total(ls->place.later) : 0;
	uint64_t limit = rlimit_nofile_want(ls->n + more + ls->place.held + UINT64_C(2) * FDS_SPARE);
	uint64_t taken = ls->place.held + MIN(limit / 2, (uint64_t)FDS_SPARE);

	return limit - MIN(limit, taken);
}

static bool listener_events(struct listeners *ls, struct listener *l, uint32_t events)
{
	int err = loop_mod(ls->loop, l->fd, listener_ref(ls, l), events);

	if (err)
		log_limited(LOG_LVL_WARN, "Can't watch port %u: %s", l->port, strerror(-err));
	return !err;
}

static void retry_arm(struct listeners *ls)
{
	if (!timer_armed(&ls->retry))
		timer_set(&ls->loop->timers, &ls->retry, ls->loop->now_ns + PAUSE_NS);
}

static void listeners_resume(struct timer *t, uint64_t now_ns)
{
	struct listeners *ls = container_of(t, struct listeners, retry);

	for (uint32_t i = 0; i < ls->n; i++) {
		struct listener *l = &ls->l[i];

		l->paused = l->paused && l->fd >= 0 && !listener_events(ls, l, EPOLLIN);
		/* Nobody else would ever look at it again. */
		if (l->paused)
			retry_arm(ls);
	}
}

void listeners_wake(struct listeners *ls)
{
	if (!timer_armed(&ls->retry))
		return;
	timer_cancel(&ls->loop->timers, &ls->retry);
	listeners_resume(&ls->retry, ls->loop->now_ns);
}

void listener_pause(struct listeners *ls, uint32_t index)
{
	struct listener *l = &ls->l[index];

	if (l->paused || l->fd < 0)
		return;
	if (!listener_events(ls, l, 0))
		return; /* the next event comes at once, and is another try */
	l->paused = 1;
	retry_arm(ls);
}

/* The error is that of one connection, which is gone: accept(2) gives it instead of a socket. */
static bool is_of_connection(int err)
{
	static const int errs[] = {
		ECONNABORTED, ENETDOWN,   EPROTO,      ENOPROTOOPT, EHOSTDOWN, ENONET,
		EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ETIMEDOUT,   EINTR,
	};

	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		if (err == -errs[i])
			return true;
	}
	return false;
}

void listener_accept(struct listeners *ls, uint32_t index, listener_conn_fn *fn, void *ctx)
{
	bool more = true, progress = false;
	int err = 0;

	for (unsigned i = 0; more && i < ACCEPT_BATCH; i++) {
		struct ep peer;
		int fd;

		if (index >= ls->n || ls->l[index].fd < 0)
			return;
		err = sock_accept(ls->l[index].fd, &peer, &fd);
		if (err == -EAGAIN)
			return;
		if (err) {
			more = is_of_connection(err);
			continue;
		}
		progress = true;
		err = fn(ctx, &ls->l[index], fd, &peer);
		if (err == -EBUSY) {
			listener_pause(ls, index);
			return;
		}
		more = !sock_is_shortage(err);
	}
	/* The kernel may not have taken from its queue what it reports as an error. */
	if (more && progress)
		return;
	log_limited(LOG_LVL_WARN, "Port %u: connections have to wait: %s", ls->l[index].port, strerror(-err));
	listener_pause(ls, index);
}

void listeners_keep(struct listeners *ls)
{
	for (uint32_t i = 0; i < ls->n; i++) {
		if (ls->table->rule[ls->l[i].rule].flags & FWD_AT_PATH)
			dir_close(&ls->l[i]);
	}
}

void listeners_undo(struct listeners *ls)
{
	for (uint32_t i = 0; i < ls->n; i++) {
		struct listener *l = &ls->l[i];
		const struct fwd_rule *r = &ls->table->rule[l->rule];

		if (r->flags & FWD_AT_PATH && l->fd >= 0 && l->dir >= 0 && unlinkat(l->dir, strrchr(r->path, '/') + 1, 0))
			log_debug("Socket %s stays: %s", r->path, strerror(errno));
	}
}

uint32_t listeners_held(const struct listeners *ls)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < ls->n; i++)
		n += ls->l[i].fd >= 0;
	return n;
}

void listeners_init(struct listeners *ls, struct fwd_table *t)
{
	*ls = (struct listeners){ .table = t, .place = host };
	timer_init(&ls->retry, listeners_resume);
}

/* The most that each specifier may have, so that none is left without any because of another. */
static uint64_t weak_share(const struct listeners *ls, uint64_t fds)
{
	const struct fwd_table *later = ls->place.later;
	uint64_t lo = 0, hi = UINT16_MAX;

	while (lo < hi) {
		uint64_t mid = (lo + hi + 1) / 2;

		if (weak_total(ls->table, mid) + (later ? weak_total(later, mid) : 0) <= fds)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

static int open_weak_all(struct listeners *ls, uint64_t fds)
{
	const struct fwd_table *t = ls->table;
	uint64_t share = weak_share(ls, fds);
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

int listeners_open(struct listeners *ls, struct fwd_table *t, const struct listen_place *place)
{
	uint64_t fds;
	int rc, err = 0;

	listeners_init(ls, t);
	if (place)
		ls->place = *place;
	if (!ls->place.open) {
		ls->place.name = host.name;
		ls->place.open = host.open;
	}
	rc = listeners_alloc(ls);
	if (rc)
		return rc;
	fds = listeners_budget(ls);
	if (ls->place.later)
		fds -= MIN(fds, strict_total(ls->place.later));

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
	if (err) {
		listeners_undo(ls);
		listeners_close(ls);
	}
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
	for (uint32_t i = 0; i < ls->n; i++) {
		listener_close_at(ls, &ls->l[i]);
		dir_close(&ls->l[i]);
	}
	free(ls->l);
	ls->l = NULL;
	ls->n = 0;
}
