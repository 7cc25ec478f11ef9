/* SPDX-License-Identifier: MIT */
#include "core/pasta_fwd.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "core/nslink.h"
#include "core/join.h"
#include "core/ns_ports.h"
#include "core/ns_refuse.h"
#include "core/pool.h"
#include "core/unix_out.h"
#include "os/sock.h"
#include "tcp/hand.h"
#include "wire/ip.h"

#define PIPES_BIG 32

struct pasta_fwd {
	struct pasta_fwd_deps d;
	struct splice *splice;
	struct udp_splice *udp_splice;
	struct pool pool;
	struct join join;
	struct unix_out unix_out;
	struct pool annex_pool; /* with an annex: of sockets that stand in for others */
	struct join annex_join;
	struct auto_run *auto_run;
	struct ns_ports ns_ports; /* automatic ones */
	struct ns_refuse ns_refuse;
	struct listeners *ls[AUTO_DIRS]; /* those that connections of each direction come to */
	uint32_t *udp_id[AUTO_DIRS]; /* for each of them: its number in udp_splice, plus one; 0: none yet */
};

/* --- connections --- */

/* Where in the namespace a connection from the host's loopback goes. False: not there by this way. */
static bool splice_dst(const struct pasta_fwd *f, const struct listener *l, const struct addr *peer, struct ep *ret_dst)
{
	const struct conf *c = f->d.conf;
	uint8_t flags = f->d.in->table->rule[l->rule].flags;
	bool by_path = flags & FWD_AT_PATH, v4 = by_path ? c->v4 : addr_is4(peer);
	struct addr lo = v4 ? addr_loopback4 : addr_loopback6;
	const struct addr *own = v4 ? &f->d.guest->addr4 : &f->d.guest->addr6;

	/* Whoever comes to a UNIX socket has no address that could be shown on an interface. */
	if (!by_path && (!c->ns.splice || !addr_is_loopback(peer) || flags & FWD_TARGET))
		return false;
	*ret_dst = (struct ep){ .addr = c->ns.host_lo_to_ns_lo ? lo : *own, .port = l->to };
	return !addr_is_any(&ret_dst->addr);
}

/* As many connections as there may be are a shortage like others: those that come next wait. */
static int wait_if_full(int err)
{
	return err == -ENOSPC ? -ENOBUFS : err;
}

static int accepted_in(void *ctx, const struct listener *l, int fd, const struct ep *peer)
{
	struct pasta_fwd *f = ctx;
	bool by_path = f->d.in->table->rule[l->rule].flags & FWD_AT_PATH;
	struct ep dst;
	int err;

	if (splice_dst(f, l, &peer->addr, &dst)) {
		err = wait_if_full(join_open(&f->join, by_path ? SPLICE_IN | SPLICE_FROM_UNIX : SPLICE_IN, fd, &dst));
		return !err && join_waits(&f->join) ? -EBUSY : err;
	}
	if (f->d.tcp && !by_path)
		tcp_accepted(f->d.tcp, l, fd, peer);
	else
		sock_abort(fd);
	return 0;
}

/* --- connections of the interface --- */

static int hand_take(void *ctx, int family, int *ret_fd)
{
	struct pasta_fwd *f = ctx;

	return pool_take(&f->annex_pool, family == AF_INET ? POOL_TCP4 : POOL_TCP6, ret_fd);
}

/* The guest's own probes are answered in the annex. */
static void keepalive_set(int fd)
{
	int err = sock_set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);

	if (err)
		log_debug("TCP: no keepalive: %s", strerror(-err));
}

static void hand_join(void *ctx, int guest_fd, int host_fd)
{
	struct pasta_fwd *f = ctx;
	int err;

	keepalive_set(host_fd);
	err = splice_join(f->splice, SPLICE_OUT, guest_fd, host_fd);

	if (err)
		log_limited(LOG_LVL_WARN, "TCP: a connection can't be handed over: %s", strerror(-err));
}

static int hand_inwards(void *ctx, int fd, const struct hand_in *in)
{
	const struct join_as as = { .ep = in->as, .tos = in->tos };
	struct pasta_fwd *f = ctx;

	keepalive_set(fd);
	return join_open_as(&f->annex_join, fd, &as, &in->to);
}

static void on_annex_reply(void *ctx, const struct agent_reply *r, const int *fds, unsigned n)
{
	struct pasta_fwd *f = ctx;
	enum pool_kind kind;
	int err;

	if (r->head.type != AGENT_SOCKETS) {
		nslink_replied(f->d.nslink, r->err);
		while (n)
			sock_close(fds[--n]);
		return;
	}
	err = pool_reply(&f->annex_pool, r, fds, &kind);
	join_reply(&f->annex_join, kind, err);
	tcp_hand_ready(f->d.tcp);
}

static int hand_start(struct pasta_fwd *f)
{
	struct tcp_hand_conf h = {
		.raw = { f->d.raw[0], f->d.raw[1] }, .take = hand_take, .join = hand_join, .inwards = hand_inwards, .ctx = f
	};

	pool_init_annex(&f->annex_pool, f->d.annex, f->d.budget->stock);
	join_init(&f->annex_join, f->d.loop, &f->annex_pool, f->splice);
	agent_set_reply(f->d.annex, on_annex_reply, f);
	return tcp_set_hand(f->d.tcp, &h);
}

static void on_in(void *ctx, struct ref ref, uint32_t events)
{
	struct pasta_fwd *f = ctx;

	if (join_waits(&f->join))
		listener_pause(f->d.in, ref.index);
	else
		listener_accept(f->d.in, ref.index, accepted_in, f);
}

/*
 * A connection to the namespace's loopback goes to that of the host, and to the same of its addresses: a local resolver may have another
 * one than 127.0.0.1.
 */
static int accepted_out(void *ctx, const struct listener *l, int fd, const struct ep *peer)
{
	struct pasta_fwd *f = ctx;
	bool v4 = addr_is4(&peer->addr);
	struct ep dst = { .addr = v4 ? addr_loopback4 : addr_loopback6, .port = l->to };
	struct ep local;
	int to, err;

	if (f->d.out->table->rule[l->rule].flags & FWD_TO_PATH) {
		err = wait_if_full(unix_out_open(&f->unix_out, l, fd));
		return !err && unix_out_waits(&f->unix_out, l) ? -EBUSY : err;
	}
	err = sock_open(v4 ? AF_INET : AF_INET6, SOCK_STREAM, IPPROTO_TCP, &to);
	if (err) {
		sock_abort(fd);
		return err;
	}
	if (!sock_local(fd, &local) && addr_is_loopback(&local.addr))
		dst.addr = local.addr;
	return wait_if_full(splice_open(f->splice, SPLICE_OUT, fd, to, &dst));
}

static void on_out(void *ctx, struct ref ref, uint32_t events)
{
	struct pasta_fwd *f = ctx;

	if (unix_out_waits(&f->unix_out, &f->d.out->l[ref.index]))
		listener_pause(f->d.out, ref.index);
	else
		listener_accept(f->d.out, ref.index, accepted_out, f);
}

/* --- datagrams --- */

/* A socket for a peer: user is us for those that go into the namespace. */
static int udp_sock(void *ctx, void *user, int family, int *ret_fd)
{
	struct pasta_fwd *f = ctx;

	if (user)
		return pool_take(&f->pool, family == AF_INET ? POOL_UDP4 : POOL_UDP6, ret_fd);
	return sock_open(family, SOCK_DGRAM, IPPROTO_UDP, ret_fd);
}

static void udp_refused(void *ctx, void *user, const struct ep *peer, const struct ep *to)
{
	struct pasta_fwd *f = ctx;

	/* On the host that takes rights which we don't have. */
	if (!user)
		ns_refuse_send(&f->ns_refuse, peer, to);
}

/* The number of a listener in udp_splice, or -errno. */
static int udp_port(struct pasta_fwd *f, enum auto_dir dir, uint32_t index)
{
	static const struct addr lo4 = addr_loopback4, lo6 = addr_loopback6;
	const struct listener *l = &f->ls[dir]->l[index];
	bool lo = dir == AUTO_OUT || f->d.conf->ns.host_lo_to_ns_lo;
	struct udp_splice_port p = {
		.fd = l->fd,
		.v6 = l->v6,
		.to = l->to,
		.to4 = lo ? &lo4 : &f->d.guest->addr4,
		.to6 = lo ? &lo6 : &f->d.guest->addr6,
		.same_lo = dir == AUTO_OUT,
		.user = dir == AUTO_IN ? f : NULL,
	};
	uint16_t id;
	int err;

	if (f->udp_id[dir][index])
		return (int)f->udp_id[dir][index] - 1;
	err = udp_splice_add(f->udp_splice, &p, &id);
	if (err)
		return err;
	f->udp_id[dir][index] = id + 1u;
	return id;
}

/* Before the listener closes. */
static void udp_port_forget(struct pasta_fwd *f, enum auto_dir dir, const struct listener *l)
{
	uint32_t *id = &f->udp_id[dir][l - f->ls[dir]->l];

	if (!*id)
		return;
	udp_splice_remove(f->udp_splice, (uint16_t)(*id - 1));
	*id = 0;
}

/* Datagrams that one of the host's listeners got. True: they went the short way. */
static bool udp_divert(void *ctx, const struct udp_arrival *a)
{
	struct pasta_fwd *f = ctx;
	struct udp_splice_path path = { .peer = *a->peer, .local = *a->local, .scope = a->scope };
	struct ep dst;
	int id;

	if (!splice_dst(f, &f->d.in->l[a->listener], &a->peer->addr, &dst))
		return false;
	id = udp_port(f, AUTO_IN, a->listener);
	if (id >= 0)
		udp_splice_feed(f->udp_splice, (uint16_t)id, &path, a->payload, a->n);
	return true;
}

/* Datagrams to the namespace's loopback. */
static void on_out_udp(void *ctx, struct ref ref, uint32_t events)
{
	struct pasta_fwd *f = ctx;
	int id, err;

	if (ref.index >= f->d.out->n || f->d.out->l[ref.index].fd < 0)
		return;
	id = udp_port(f, AUTO_OUT, ref.index);
	err = id < 0 ? id : udp_splice_read(f->udp_splice, (uint16_t)id);
	if (err)
		listener_pause(f->d.out, ref.index);
}

/* --- automatic ports --- */

/* The UDP translator has flows on ports of the host. */
static bool has_flows(const struct pasta_fwd *f, enum auto_dir dir, unsigned rule)
{
	return dir == AUTO_IN && f->d.udp && f->d.in->table->rule[rule].proto == PROTO_UDP;
}

int pasta_fwd_port_open(struct pasta_fwd *f, enum auto_dir dir, unsigned rule, uint16_t port)
{
	const struct listener *l;
	int err;

	if (dir == AUTO_OUT) {
		err = ns_ports_open(&f->ns_ports, rule, port);
		l = listener_find(f->d.out, rule, port);
		return err || !l || l->fd >= 0 ? err : -EINPROGRESS;
	}
	err = listener_open(f->ls[dir], rule, port);
	/* A program of the namespace that sends from the port it listens on may have been faster: then a flow has the port. */
	if (err == -EADDRINUSE && has_flows(f, dir, rule) && udp_port_release(f->d.udp, port))
		err = listener_open(f->ls[dir], rule, port);
	return err;
}

void pasta_fwd_port_release(struct pasta_fwd *f, enum auto_dir dir, unsigned rule, uint16_t port)
{
	const struct listener *l = listener_find(f->ls[dir], rule, port);

	if (l)
		udp_port_forget(f, dir, l);
}

void pasta_fwd_port_close(struct pasta_fwd *f, enum auto_dir dir, unsigned rule, uint16_t port)
{
	pasta_fwd_port_release(f, dir, rule, port);
	if (dir == AUTO_OUT)
		ns_ports_close(&f->ns_ports, rule, port);
	else
		listener_close(f->ls[dir], rule, port);
}

void pasta_fwd_rule_added(struct pasta_fwd *f, enum auto_dir dir, unsigned rule)
{
	if (f->auto_run)
		auto_run_rule_new(f->auto_run, dir, rule);
}

void pasta_fwd_rule_gone(struct pasta_fwd *f, enum auto_dir dir, unsigned rule)
{
	if (dir == AUTO_OUT)
		unix_out_gone(&f->unix_out, &f->d.out->l[f->d.out->first[rule]]);
	if (f->auto_run)
		auto_run_rule_gone(f->auto_run, dir, rule);
}

/* Open, or on its way: auto_run_failed() tells if it doesn't get there. */
static int auto_open(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port)
{
	int err = pasta_fwd_port_open(ctx, dir, rule, port);

	return err == -EINPROGRESS ? 0 : err;
}

static void auto_close(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port)
{
	struct pasta_fwd *f = ctx;

	/* A port that is closed is free for others. */
	if (has_flows(f, dir, rule))
		(void)udp_port_release(f->d.udp, port);
	pasta_fwd_port_close(f, dir, rule, port);
}

static void ns_port_done(void *ctx, unsigned rule, uint16_t port, int err)
{
	struct pasta_fwd *f = ctx;

	if (!(f->d.out->table->rule[rule].flags & FWD_SCAN)) {
		if (f->d.opened)
			f->d.opened(f->d.ctx, rule, port, err);
	} else if (err) {
		auto_run_failed(f->auto_run, AUTO_OUT, rule, port, err);
	}
}

static bool has_auto(const struct fwd_table *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		if (t->rule[i].flags & FWD_SCAN)
			return true;
	}
	return false;
}

static void auto_ours(struct pasta_fwd *f, enum auto_dir dir, const struct fwd_table *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct fwd_rule *r = &t->rule[i];

		for (uint32_t port = r->first; port <= r->last && !(r->flags & (FWD_SCAN | FWD_AT_PATH)); port++)
			auto_run_ours(f->auto_run, dir, r->proto, (uint16_t)port);
	}
}

static int auto_start(struct pasta_fwd *f)
{
	const struct conf *c = f->d.conf;
	unsigned any = 1u << SOCKDIAG_ANY, lo = any | 1u << SOCKDIAG_LO, addr = any | 1u << SOCKDIAG_ADDR;
	struct auto_conf a = {
		.loop = f->d.loop,
		.diag_fd = { -1, -1 },
		.table = { f->d.in->table, f->d.out->table },
		.later = f->d.opened,
		.reach = { [AUTO_IN] = c->ns.host_lo_to_ns_lo ? lo | addr : addr, [AUTO_OUT] = lo },
		.open = auto_open,
		.close = auto_close,
		.ctx = f,
	};
	bool now = has_auto(f->d.in->table) || has_auto(f->d.out->table);
	int err;

	if (!a.later && !now)
		return 0;
	err = agent_diag(f->d.agent, &a.diag_fd[AUTO_NS]);
	if (!err)
		err = sock_open(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, &a.diag_fd[AUTO_HOST]);
	if (err)
		log_msg(now ? LOG_LVL_WARN : LOG_LVL_DEBUG, "Automatic ports don't work here: %s", strerror(-err));
	err = auto_run_new(&a, &f->auto_run);
	if (err)
		return err;
	auto_ours(f, AUTO_IN, f->d.in->table);
	auto_ours(f, AUTO_OUT, f->d.out->table);
	return 0;
}

/* --- life --- */

static void on_reply(void *ctx, const struct agent_reply *r, const int *fds, unsigned n)
{
	struct pasta_fwd *f = ctx;
	enum pool_kind kind;
	int err;

	if (r->head.type == AGENT_LISTEN) {
		ns_ports_reply(&f->ns_ports, r, fds);
		return;
	}
	if (r->head.type != AGENT_SOCKETS) {
		while (n)
			sock_close(fds[--n]);
		return;
	}
	err = pool_reply(&f->pool, r, fds, &kind);
	join_reply(&f->join, kind, err);
	if (!join_waits(&f->join))
		listeners_wake(f->d.in);
	udp_splice_retry(f->udp_splice, err && kind == POOL_UDP4 ? AF_INET : err && kind == POOL_UDP6 ? AF_INET6 : 0);
}

static int engines_new(struct pasta_fwd *f)
{
	const struct budget *b = f->d.budget;
	struct splice_conf sc = { .loop = f->d.loop, .max = b->splices, .pipes_max = b->pipes, .pipes_big = PIPES_BIG };
	struct hash_key key;
	struct udp_splice_conf uc = {
		.loop = f->d.loop,
		.max = b->peers,
		.key = &key,
		.times = { f->d.conf->udp_timeout_s, f->d.conf->udp_timeout_stream_s },
		.sock = udp_sock,
		.refused = udp_refused,
		.ctx = f,
	};

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	f->splice = splice_new(&sc);
	f->udp_splice = udp_splice_new(&uc);
	if (!f->splice || !f->udp_splice)
		return -ENOMEM;
	join_init(&f->join, f->d.loop, &f->pool, f->splice);
	unix_out_init(&f->unix_out, f->d.loop, f->d.out, f->splice);
	for (unsigned dir = 0; dir < AUTO_DIRS; dir++) {
		f->udp_id[dir] = calloc(f->d.opened ? LISTENERS_MAX : f->ls[dir]->n + 1, sizeof(*f->udp_id[dir]));
		if (!f->udp_id[dir])
			return -ENOMEM;
	}
	return 0;
}

static int listeners_watch(struct pasta_fwd *f)
{
	const struct pasta_fwd_deps *d = &f->d;
	unsigned in = loop_owner(d->loop, on_in, f), out = loop_owner(d->loop, on_out, f);
	int err;

	if (d->udp)
		udp_set_divert(d->udp, udp_divert, f);
	err = listeners_start(d->in, d->loop, in, d->udp ? udp_listen_owner(d->udp) : 0);
	return err ? err : listeners_start(d->out, d->loop, out, loop_owner(d->loop, on_out_udp, f));
}

int pasta_fwd_new(const struct pasta_fwd_deps *d, struct pasta_fwd **ret_f)
{
	struct pasta_fwd *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->d = *d;
	f->ls[AUTO_IN] = d->in;
	f->ls[AUTO_OUT] = d->out;
	f->ns_ports = (struct ns_ports){ .agent = d->agent, .ls = d->out, .done = ns_port_done, .ctx = f };
	f->ns_refuse = (struct ns_refuse){ { -1, -1 } };
	pool_init(&f->pool, d->agent, d->budget->stock);
	agent_set_reply(d->agent, on_reply, f);
	err = engines_new(f);
	if (!err && d->annex && d->tcp)
		err = hand_start(f);
	if (!err)
		err = listeners_watch(f);
	if (!err)
		err = auto_start(f);
	/* A datagram that finds no socket is lost: the first one is to find one, too. */
	if (!err)
		err = pool_open(&f->pool);
	if (!err && f->annex_pool.agent)
		err = pool_open(&f->annex_pool);
	if (!err && (f->d.out->n || f->d.opened))
		ns_refuse_open(&f->ns_refuse, d->agent);
	if (err) {
		pasta_fwd_free(f);
		return err;
	}
	*ret_f = f;
	return 0;
}

bool pasta_fwd_settled(const struct pasta_fwd *f)
{
	return !f->auto_run || (auto_run_looked(f->auto_run) && !f->ns_ports.n);
}

const struct splice *pasta_fwd_splice(const struct pasta_fwd *f)
{
	return f->splice;
}

const struct udp_splice *pasta_fwd_udp_splice(const struct pasta_fwd *f)
{
	return f->udp_splice;
}

bool pasta_fwd_inwards(const struct udp_splice_show *u)
{
	return u->user;
}

void pasta_fwd_free(struct pasta_fwd *f)
{
	if (!f)
		return;
	if (f->auto_run)
		auto_run_free(f->auto_run);
	agent_set_reply(f->d.agent, NULL, NULL);
	if (f->annex_pool.agent)
		agent_set_reply(f->annex_pool.agent, NULL, NULL);
	join_fini(&f->join);
	unix_out_fini(&f->unix_out);
	join_fini(&f->annex_join);
	if (f->splice)
		splice_free(f->splice);
	if (f->udp_splice)
		udp_splice_free(f->udp_splice);
	pool_fini(&f->pool);
	pool_fini(&f->annex_pool);
	ns_refuse_close(&f->ns_refuse);
	free(f->udp_id[AUTO_IN]);
	free(f->udp_id[AUTO_OUT]);
	free(f);
}
