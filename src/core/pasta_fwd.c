/* SPDX-License-Identifier: MIT */
#include "core/pasta_fwd.h"

#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "core/pool.h"
#include "fwd/auto_run.h"
#include "os/sock.h"
#include "tcp/splice.h"
#include "udp/udp_splice.h"
#include "wire/ip.h"

#define SPLICE_MAX 16384
#define PIPES_MAX 1024
#define PIPES_BIG 32
#define UDP_PEERS_MAX 4096
#define ACCEPT_BATCH 32
#define PENDING_MAX 256
#define NO_PORT UINT32_MAX

/* A listener in the namespace. */
struct out_port {
	int fd; /* -1: closed */
	uint16_t rule, port, to;
	uint8_t proto;
	bool v6;
	uint16_t splice_id; /* UDP */
};

/* A connection that waits for a socket of the namespace. */
struct pending {
	int fd;
	struct ep dst;
};

struct pasta_fwd {
	struct pasta_fwd_deps d;
	unsigned owner_in, owner_out;
	struct splice *splice;
	struct udp_splice *udp_splice;
	struct pool pool;
	struct auto_run *auto_run;
	struct out_port *out;
	uint32_t n_out;
	uint16_t *udp_in; /* for each of the host's listeners: its port of udp_splice, plus one */
	struct pending pending[PENDING_MAX];
	unsigned n_pending;
};

/* --- connections --- */

/* Joins a connection of the host with dst in the namespace; takes fd. */
static void join_ns(struct pasta_fwd *f, int fd, const struct ep *dst)
{
	int to, err = pool_take(&f->pool, addr_is4(&dst->addr) ? POOL_TCP4 : POOL_TCP6, &to);

	if (err && f->n_pending < PENDING_MAX) {
		f->pending[f->n_pending++] = (struct pending){ .fd = fd, .dst = *dst };
		return;
	}
	if (!err)
		err = splice_open(f->splice, fd, to, dst);
	else
		sock_close(fd);
	if (err)
		log_limited(LOG_LVL_DEBUG, "Connection to the namespace: %s", strerror(-err));
}

static void join_pending(struct pasta_fwd *f)
{
	unsigned n = f->n_pending;
	struct pending todo[PENDING_MAX];

	memcpy(todo, f->pending, n * sizeof(todo[0]));
	f->n_pending = 0;
	for (unsigned i = 0; i < n; i++)
		join_ns(f, todo[i].fd, &todo[i].dst);
}

/* Where in the namespace a connection from the host's loopback goes. False: not there by this way. */
static bool splice_dst(const struct pasta_fwd *f, const struct listener *l, const struct addr *peer, struct ep *ret_dst)
{
	const struct conf *c = f->d.conf;
	bool v4 = addr_is4(peer);
	struct addr lo = v4 ? addr_loopback4 : addr_loopback6;
	const struct addr *own = v4 ? &c->guest.addr4 : &c->guest.addr6;

	if (!c->ns.splice || !addr_is_loopback(peer) || c->in.rule[l->rule].flags & FWD_TARGET)
		return false;
	*ret_dst = (struct ep){ .addr = c->ns.host_lo_to_ns_lo ? lo : *own, .port = l->to };
	return !addr_is_any(&ret_dst->addr);
}

static void accepted_in(struct pasta_fwd *f, const struct listener *l, int fd, const struct ep *peer)
{
	struct ep dst;

	if (splice_dst(f, l, &peer->addr, &dst)) {
		join_ns(f, fd, &dst);
	} else if (f->d.tcp) {
		tcp_accepted(f->d.tcp, l, fd, peer);
	} else {
		if (sock_linger_reset(fd))
			log_debug("SO_LINGER not set");
		sock_close(fd);
	}
}

static void on_in(void *ctx, struct ref ref, uint32_t events)
{
	struct pasta_fwd *f = ctx;
	const struct listener *l;

	if (ref.index >= f->d.in->n)
		return;
	l = &f->d.in->l[ref.index];
	for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
		struct ep peer;
		int fd, err = sock_accept(l->fd, &peer, &fd);

		if (err == -EAGAIN)
			return;
		if (!err)
			accepted_in(f, l, fd, &peer);
		else if (err != -ECONNABORTED && err != -EINTR) {
			log_limited(LOG_LVL_WARN, "Connection to port %u: %s", l->port, strerror(-err));
			listener_pause(f->d.in, ref.index);
			return;
		}
	}
}

/*
 * A connection to the namespace's loopback goes to that of the host, and to the same of its addresses: a local resolver may have another
 * one than 127.0.0.1.
 */
static void accepted_out(struct pasta_fwd *f, const struct out_port *o, int fd, const struct ep *peer)
{
	bool v4 = addr_is4(&peer->addr);
	struct ep dst = { .addr = v4 ? addr_loopback4 : addr_loopback6, .port = o->to };
	int to, err = sock_open(v4 ? AF_INET : AF_INET6, SOCK_STREAM, IPPROTO_TCP, &to);
	struct ep local;

	if (!sock_local(fd, &local) && addr_is_loopback(&local.addr))
		dst.addr = local.addr;
	if (err)
		sock_close(fd);
	else
		err = splice_open(f->splice, fd, to, &dst);
	if (err)
		log_limited(LOG_LVL_DEBUG, "Connection to the host: %s", strerror(-err));
}

static void on_out(void *ctx, struct ref ref, uint32_t events)
{
	struct pasta_fwd *f = ctx;
	const struct out_port *o;

	if (ref.index >= f->n_out || f->out[ref.index].fd < 0)
		return;
	o = &f->out[ref.index];
	for (unsigned i = 0; i < ACCEPT_BATCH; i++) {
		struct ep peer;
		int fd, err = sock_accept(o->fd, &peer, &fd);

		if (err)
			return;
		accepted_out(f, o, fd, &peer);
	}
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

static int udp_in_port(struct pasta_fwd *f, uint32_t index, const struct ep *dst)
{
	const struct listener *l = &f->d.in->l[index];
	struct udp_splice_port p = { .fd = l->fd, .v6 = l->v6, .to = dst->port, .user = f };
	const struct conf *c = f->d.conf;
	uint16_t id;
	int err;

	if (f->udp_in[index])
		return f->udp_in[index] - 1;
	p.to4 = c->ns.host_lo_to_ns_lo ? addr_loopback4 : c->guest.addr4;
	p.to6 = c->ns.host_lo_to_ns_lo ? addr_loopback6 : c->guest.addr6;
	err = udp_splice_add(f->udp_splice, &p, &id);
	if (err)
		return err;
	f->udp_in[index] = (uint16_t)(id + 1);
	return id;
}

/* A datagram that one of the host's listeners got. True: it went the short way. */
static bool udp_divert(void *ctx, const struct udp_arrival *a)
{
	struct pasta_fwd *f = ctx;
	struct udp_splice_path path = { .peer = *a->peer, .local = *a->local, .scope = a->scope };
	struct ep dst;
	int id;

	if (!splice_dst(f, &f->d.in->l[a->listener], &a->peer->addr, &dst))
		return false;
	id = udp_in_port(f, a->listener, &dst);
	if (id >= 0)
		udp_splice_feed(f->udp_splice, (uint16_t)id, &path, &a->payload);
	return true;
}

/* --- listeners in the namespace --- */

static int out_open(struct pasta_fwd *f, struct out_port *o)
{
	const struct fwd_rule *r = &f->d.conf->out_rules.rule[o->rule];
	struct agent_req req = {
		.head = { .type = AGENT_LISTEN },
		.listen = { .addr = r->addr, .port = o->port, .proto = o->proto, .dual = !!(r->flags & FWD_DUAL), .dev = "lo" },
	};
	struct agent_reply reply;
	int fds[FDPASS_MAX], err = agent_call(f->d.agent, &req, &reply, fds);
	struct udp_splice_port p = { .watch = true, .to = o->to, .to4 = addr_loopback4, .to6 = addr_loopback6, .same_lo = true };

	if (err)
		return err;
	o->fd = p.fd = fds[0];
	o->v6 = p.v6 = reply.v6;
	if (o->proto == PROTO_UDP)
		err = udp_splice_add(f->udp_splice, &p, &o->splice_id);
	else
		err = loop_add(f->d.loop, o->fd, ref_init(f->owner_out, (uint32_t)(o - f->out), 0), EPOLLIN);
	if (err) {
		sock_close(o->fd);
		o->fd = -1;
	}
	return err;
}

static void out_close(struct pasta_fwd *f, struct out_port *o)
{
	if (o->fd < 0)
		return;
	if (o->proto == PROTO_UDP)
		udp_splice_remove(f->udp_splice, o->splice_id);
	else
		loop_del(f->d.loop, o->fd);
	sock_close(o->fd);
	o->fd = -1;
}

static uint32_t out_count(const struct fwd_table *t)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < t->n; i++)
		n += t->rule[i].last - t->rule[i].first + 1u;
	return n;
}

static void out_init(struct pasta_fwd *f)
{
	const struct fwd_table *t = &f->d.conf->out_rules;

	for (unsigned i = 0; i < t->n; i++) {
		const struct fwd_rule *r = &t->rule[i];

		for (uint32_t port = r->first; port <= r->last; port++)
			f->out[f->n_out++] = (struct out_port){
				.fd = -1,
				.rule = (uint16_t)i,
				.port = (uint16_t)port,
				.to = (uint16_t)(r->to + port - r->first),
				.proto = r->proto,
			};
	}
}

/* All that don't wait for somebody to listen on the other side. */
static int out_open_all(struct pasta_fwd *f)
{
	int ret = 0;

	for (uint32_t i = 0; i < f->n_out; i++) {
		struct out_port *o = &f->out[i];
		const struct fwd_rule *r = &f->d.conf->out_rules.rule[o->rule];
		const char *proto = o->proto == PROTO_TCP ? "TCP" : "UDP";
		int err;

		if (r->flags & FWD_SCAN)
			continue;
		err = out_open(f, o);
		if (!err)
			continue;
		if (r->flags & FWD_WEAK) {
			log_limited(LOG_LVL_WARN, "Listen failed for SPLICE %s port */%u: %s", proto, o->port, strerror(-err));
			continue;
		}
		log_err("Listen failed for SPLICE %s port */%u: %s", proto, o->port, strerror(-err));
		ret = err;
	}
	return ret;
}

/* --- automatic ports --- */

static struct out_port *out_find(struct pasta_fwd *f, unsigned rule, uint16_t port)
{
	for (uint32_t i = 0; i < f->n_out; i++) {
		if (f->out[i].rule == rule)
			return &f->out[i + port - f->d.conf->out_rules.rule[rule].first];
	}
	return NULL;
}

/* A program of the namespace that sends from the port it listens on may have been faster: then a flow has the port. */
static int auto_open_in(struct pasta_fwd *f, unsigned rule, uint16_t port)
{
	int err = listener_open(f->d.in, rule, port);

	if (err != -EADDRINUSE || f->d.in->table->rule[rule].proto != PROTO_UDP || !f->d.udp || !udp_port_release(f->d.udp, port))
		return err;
	return listener_open(f->d.in, rule, port);
}

static int auto_open(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port)
{
	struct pasta_fwd *f = ctx;
	struct out_port *o;

	if (dir == AUTO_IN)
		return auto_open_in(f, rule, port);
	o = out_find(f, rule, port);
	if (!o)
		return -EINVAL;
	return o->fd >= 0 ? 0 : out_open(f, o);
}

static void auto_close(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port)
{
	struct pasta_fwd *f = ctx;
	struct out_port *o;

	if (dir == AUTO_IN) {
		/* Its index may be one that the splice engine knows by the old socket. */
		for (uint32_t i = 0; i < f->d.in->n; i++) {
			const struct listener *l = &f->d.in->l[i];

			if (l->rule != rule || l->port != port || !f->udp_in[i])
				continue;
			udp_splice_remove(f->udp_splice, (uint16_t)(f->udp_in[i] - 1));
			f->udp_in[i] = 0;
		}
		/* A port that is closed is free for others. */
		if (f->d.udp && f->d.in->table->rule[rule].proto == PROTO_UDP)
			(void)udp_port_release(f->d.udp, port);
		listener_close(f->d.in, rule, port);
		return;
	}
	o = out_find(f, rule, port);
	if (o)
		out_close(f, o);
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

		for (uint32_t port = r->first; port <= r->last && !(r->flags & FWD_SCAN); port++)
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
		.table = { &c->in, &c->out_rules },
		.reach = { [AUTO_IN] = c->ns.host_lo_to_ns_lo ? lo | addr : addr, [AUTO_OUT] = lo },
		.open = auto_open,
		.close = auto_close,
		.ctx = f,
	};
	int err;

	if (!has_auto(&c->in) && !has_auto(&c->out_rules))
		return 0;
	err = agent_diag(f->d.agent, &a.diag_fd[AUTO_NS]);
	if (!err)
		err = sock_open(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG, &a.diag_fd[AUTO_HOST]);
	if (err)
		log_warn("Automatic ports don't work here: %s", strerror(-err));
	err = auto_run_new(&a, &f->auto_run);
	if (err)
		return err;
	auto_ours(f, AUTO_IN, &c->in);
	auto_ours(f, AUTO_OUT, &c->out_rules);
	return 0;
}

/* --- life --- */

static void on_reply(void *ctx, const struct agent_reply *r, const int *fds, unsigned n)
{
	struct pasta_fwd *f = ctx;

	if (r->head.type != AGENT_SOCKETS) {
		for (unsigned i = 0; i < n; i++)
			sock_close(fds[i]);
		return;
	}
	pool_reply(&f->pool, r, fds, n);
	join_pending(f);
	/* Of which kind a request that failed was is not known. */
	udp_splice_retry(f->udp_splice, n ? 0 : AF_INET);
	udp_splice_retry(f->udp_splice, n ? 0 : AF_INET6);
}

static int engines_new(struct pasta_fwd *f)
{
	struct splice_conf sc = { .loop = f->d.loop, .max = SPLICE_MAX, .pipes_max = PIPES_MAX, .pipes_big = PIPES_BIG };
	struct hash_key key;
	struct udp_splice_conf uc = { .loop = f->d.loop, .max = UDP_PEERS_MAX, .key = &key, .sock = udp_sock, .ctx = f };

	if (getrandom(&key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	f->splice = splice_new(&sc);
	f->udp_splice = udp_splice_new(&uc);
	f->n_out = 0;
	f->out = calloc(out_count(&f->d.conf->out_rules) + 1, sizeof(*f->out));
	f->udp_in = calloc(f->d.in->n + 1, sizeof(*f->udp_in));
	return f->splice && f->udp_splice && f->out && f->udp_in ? 0 : -ENOMEM;
}

int pasta_fwd_new(const struct pasta_fwd_deps *d, struct pasta_fwd **ret_f)
{
	struct pasta_fwd *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return -ENOMEM;
	f->d = *d;
	f->owner_in = loop_owner(d->loop, on_in, f);
	f->owner_out = loop_owner(d->loop, on_out, f);
	pool_init(&f->pool, d->agent);
	agent_set_reply(d->agent, on_reply, f);
	err = engines_new(f);
	if (!err) {
		out_init(f);
		err = out_open_all(f);
	}
	if (!err)
		err = listeners_start(d->in, d->loop, f->owner_in, d->udp ? udp_listen_owner(d->udp) : 0);
	if (!err && d->udp)
		udp_set_divert(d->udp, udp_divert, f);
	if (!err)
		err = auto_start(f);
	/* A datagram that finds no socket is lost: the first one is to find one, too. */
	if (!err)
		err = pool_open(&f->pool);
	if (err) {
		pasta_fwd_free(f);
		return err;
	}
	*ret_f = f;
	return 0;
}

bool pasta_fwd_settled(const struct pasta_fwd *f)
{
	return !f->auto_run || auto_run_looked(f->auto_run);
}

void pasta_fwd_free(struct pasta_fwd *f)
{
	if (!f)
		return;
	if (f->auto_run)
		auto_run_free(f->auto_run);
	for (uint32_t i = 0; f->out && f->udp_splice && i < f->n_out; i++)
		out_close(f, &f->out[i]);
	while (f->n_pending)
		sock_close(f->pending[--f->n_pending].fd);
	if (f->splice)
		splice_free(f->splice);
	if (f->udp_splice)
		udp_splice_free(f->udp_splice);
	pool_fini(&f->pool);
	free(f->out);
	free(f->udp_in);
	free(f);
}
