/* SPDX-License-Identifier: MIT */
#include "udp/udp_splice.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/iov.h"
#include "base/list.h"
#include "base/log.h"
#include "flow/flow.h"
#include "os/pktinfo.h"
#include "os/sock.h"
#include "os/sockwatch.h"
#include "udp/udp_hold.h"
#include "udp/udp_out.h"

#define BATCH UDP_SPLICE_FEED
#define SLOT 65536u /* more than any datagram has */
#define PROTO_UDP 17
#define NO_PORT UINT32_MAX
#define SWEEP_NS NSEC_PER_SEC /* time-outs are no finer than this */

enum idle { IDLE_ONEWAY, IDLE_ANSWERED, IDLES };

/* Its key: the peer as guest, what it writes to as remote address, the number of the bound socket as remote port. */
struct peer {
	struct flow flow;
	struct list idle; /* in udp_splice.idle[], ordered by last_ns */
	uint64_t last_ns;
	struct flow_count out, back; /* from it, and to it */
	unsigned scope;
	int fd; /* -1: it waits for one */
	struct sockwatch watch; /* of fd */
	struct udp_out_seg seg; /* of both sockets */
	bool answered;
	bool gro; /* messages of fd may consist of several datagrams (os/udpseg.h) */
};

struct port {
	struct udp_splice_port p;
	uint32_t next_free;
	bool used;
	bool gro; /* as that of a peer */
};

struct udp_splice {
	struct udp_splice_conf c;
	unsigned owner;
	struct port *port;
	uint32_t n_ports; /* entries of port that were ever used */
	uint32_t free; /* first free one of these */
	struct flow_table *peers;
	struct list idle[IDLES];
	struct timer sweep;
	uint64_t sweep_ns; /* when that is due */
	struct udp_hold hold; /* of peers that have no socket yet */
	struct udp_splice_stats stats;
	struct udp_out out;

	/* Scratch: one batch. */
	int pending, failed; /* errors of send_run(), positive: of an earlier datagram; of the last one that was not sent */
	struct mmsghdr m[BATCH];
	struct iovec iov[BATCH];
	struct sockaddr_storage name[BATCH];
	union {
		uint8_t b[PKTINFO_CTL + UDPSEG_CTL];
		struct cmsghdr align;
	} ctl[BATCH];
	uint8_t *area; /* BATCH times SLOT */
};

static struct peer *idle_first(const struct udp_splice *u, enum idle i)
{
	return list_empty(&u->idle[i]) ? NULL : container_of(u->idle[i].next, struct peer, idle);
}

static void peer_close(struct udp_splice *u, struct peer *p)
{
	list_del(&p->idle);
	sockwatch_end(&p->watch);
	if (p->fd >= 0)
		sock_close(p->fd);
	u->stats.now--;
	flow_free(u->peers, &p->flow);
}

static uint64_t idle_ns(const struct udp_splice *u, enum idle i)
{
	return i == IDLE_ANSWERED ? udp_answered_ns(&u->c.times) : udp_oneway_ns(&u->c.times);
}

static void sweep_arm(struct udp_splice *u, uint64_t now_ns)
{
	uint64_t due = UINT64_MAX;

	for (unsigned i = 0; i < IDLES; i++) {
		const struct peer *p = idle_first(u, i);

		if (p)
			due = MIN(due, p->last_ns + idle_ns(u, i));
	}
	if (due == UINT64_MAX)
		return;
	u->sweep_ns = MAX(due, now_ns + SWEEP_NS);
	timer_set(&u->c.loop->timers, &u->sweep, u->sweep_ns);
}

static void sweep_fire(struct timer *t, uint64_t now_ns)
{
	struct udp_splice *u = container_of(t, struct udp_splice, sweep);

	for (unsigned i = 0; i < IDLES; i++) {
		struct peer *p;

		while ((p = idle_first(u, i)) && p->last_ns + idle_ns(u, i) <= now_ns)
			peer_close(u, p);
	}
	sweep_arm(u, now_ns);
}

static void peer_touch(struct udp_splice *u, struct peer *p)
{
	enum idle i = p->answered ? IDLE_ANSWERED : IDLE_ONEWAY;

	p->last_ns = u->c.loop->now_ns;
	list_del(&p->idle);
	list_push(&u->idle[i], &p->idle);
	if (!timer_armed(&u->sweep) || p->last_ns + idle_ns(u, i) < u->sweep_ns)
		sweep_arm(u, p->last_ns);
}

static const struct udp_splice_port *peer_port(const struct udp_splice *u, const struct peer *p)
{
	return &u->port[p->flow.key.rport].p;
}

/* --- peers --- */

/* The port that the peer has, if it is free over there. */
static void peer_bind(const struct peer *p, const struct ep *dst)
{
	int family = addr_family(&dst->addr), err;
	struct ep src = { .addr = family == AF_INET ? addr_any4 : addr_any6, .port = p->flow.key.gport };

	/* The destination is over there as well: with its port we would be talking to ourselves, and keep the service from having it. */
	if (src.port == dst->port)
		return;
	/* From one loopback address to itself: nobody else's datagrams come by before we are connected. */
	if (addr_is_loopback(&dst->addr))
		src.addr = dst->addr;
	err = sock_bind(p->fd, family, &src, 0);
	if (err)
		log_limited(LOG_LVL_DEBUG, "UDP splice: source port %u not kept: %s", src.port, strerror(-err));
}

/* -EAGAIN with p->fd -1: later. */
static int peer_open(struct udp_splice *u, struct peer *p)
{
	const struct udp_splice_port *port = peer_port(u, p);
	bool v4 = addr_is4(&p->flow.key.guest);
	struct ep dst = { .addr = v4 ? *port->to4 : *port->to6, .port = port->to };
	int family = addr_family(&dst.addr), err;

	if (port->same_lo && addr_is_loopback(&p->flow.key.remote))
		dst.addr = p->flow.key.remote;
	err = u->c.sock(u->c.ctx, port->user, family, &p->fd);
	if (err)
		return err;
	peer_bind(p, &dst);
	err = sock_connect(p->fd, family, &dst, p->scope);
	if (!err)
		err = sockwatch_begin(&p->watch, p->fd, ref_init(u->owner, p->flow.index, p->flow.gen), EPOLLIN);
	return err;
}

/* Of those without an answer first, that which is idle for longest. */
static void make_room(struct udp_splice *u)
{
	for (unsigned i = 0; i < IDLES && flow_count(u->peers) == flow_max(u->peers); i++) {
		struct peer *p = idle_first(u, i);

		if (p)
			peer_close(u, p);
	}
}

/* The socket of the peer, if it is to be had; false: the peer is closed. */
static bool peer_ready(struct udp_splice *u, struct peer *p)
{
	int err = peer_open(u, p);

	if (!err || (err == -EAGAIN && p->fd < 0))
		return true;
	log_limited(LOG_LVL_WARN, "UDP: no socket to pass a datagram on to port %u: %s", peer_port(u, p)->to, strerror(-err));
	peer_close(u, p);
	return false;
}

/* The peer that a datagram came from, new if need be. NULL: it can't be passed on. */
static struct peer *peer_find(struct udp_splice *u, uint16_t id, const struct udp_splice_path *path)
{
	struct flow_key key = flow_key_init(PROTO_UDP, &path->peer.addr, path->peer.port, &path->local, id);
	struct peer *p = (struct peer *)flow_find(u->peers, &key);
	bool v4 = addr_is4(&path->peer.addr);

	if (p) {
		peer_touch(u, p);
		return p;
	}
	if (!path->peer.port || addr_is_any(v4 ? u->port[id].p.to4 : u->port[id].p.to6))
		return NULL;
	make_room(u);
	p = (struct peer *)flow_new(u->peers, &key);
	if (!p)
		return NULL;
	u->stats.now++;
	list_init(&p->idle);
	p->flow.born_ns = u->c.loop->now_ns;
	p->fd = -1;
	sockwatch_init(&p->watch, u->c.loop);
	p->seg.max = UINT16_MAX;
	p->scope = path->scope;
	if (!peer_ready(u, p))
		return NULL;
	peer_touch(u, p);
	return p;
}

/* --- moving --- */

static bool peer_is(const struct peer *p, uint16_t id, const struct udp_splice_path *path)
{
	const struct flow_key *k = &p->flow.key;

	return k->rport == id && k->gport == path->peer.port && addr_eq(&k->guest, &path->peer.addr) &&
	       addr_eq(&k->remote, &path->local);
}

/* The endpoint's socket has this error (positive): if that is what became of a datagram, whoever sent it is told. */
static void peer_error(const struct udp_splice *u, const struct peer *p, int err)
{
	const struct udp_splice_port *port = peer_port(u, p);
	struct ep peer = { .addr = p->flow.key.guest, .port = p->flow.key.gport }, to;

	if (err != ECONNREFUSED || !u->c.refused || addr_is_any(&p->flow.key.remote) || sock_local(port->fd, &to))
		return;
	to.addr = p->flow.key.remote;
	u->c.refused(u->c.ctx, port->user, &peer, &to);
}

/* What was pending as an error of an earlier datagram is not this one's. */
static bool on_pending(void *ctx, int err)
{
	struct udp_splice *u = ctx;

	if (err != EMSGSIZE)
		u->pending = err;
	return err != EMSGSIZE;
}

static void on_failed(void *ctx, const struct pkt *pkt, int err)
{
	struct udp_splice *u = ctx;

	u->failed = err;
}

/* Sends messages first to end - 1 of the batch. Returns the error, if any, of the last one that was lost by it; positive. */
static int send_run(struct udp_splice *u, struct udp_out_to *to, unsigned first, unsigned end, struct flow_count *count)
{
	uint64_t bytes = 0;

	u->pending = u->failed = 0;
	to->pending = on_pending;
	to->failed = on_failed;
	to->ctx = u;
	to->now_s = (uint32_t)(u->c.loop->now_ns / NSEC_PER_SEC);
	udp_out_begin(&u->out, to);
	for (unsigned i = first; i < end; i++) {
		struct udp_out_data d = {
			.iov = &u->iov[i], .n = 1, .len = u->iov[i].iov_len, .seg = udpseg_get(&u->m[i].msg_hdr)
		};

		udp_out_put(&u->out, &d);
		bytes += d.len;
	}
	udp_out_end(&u->out);
	flow_counted(count, u->out.sent, bytes);
	u->stats.lost += u->out.lost;
	return u->failed;
}

/* Keeps the datagrams of message i for a peer that has no socket yet. */
static void hold(struct udp_splice *u, const struct peer *p, unsigned i)
{
	size_t len = u->iov[i].iov_len, seg = udpseg_get(&u->m[i].msg_hdr), at = 0;

	if (!seg)
		seg = len;
	do {
		struct iovec part;

		iov_slice(&u->iov[i], 1, at, MIN(seg, len - at), &part, 1, NULL);
		if (udp_hold_put(&u->hold, p->flow.index, p->flow.gen, len ? &part : &u->iov[i]))
			u->stats.held++;
		else
			u->stats.lost++;
		at += seg;
	} while (at < len);
}

/* From a peer: they wait if it has no socket yet. The peer may be closed after that. */
static void peer_send(struct udp_splice *u, struct peer *p, unsigned first, unsigned end)
{
	struct udp_out_to to = { .fd = p->fd, .seg = &p->seg };
	int err;

	for (unsigned i = first; i < end && p->fd < 0; i++)
		hold(u, p, i);
	if (p->fd < 0)
		return;
	err = send_run(u, &to, first, end, &p->out);
	u->stats.out += u->out.sent;
	/* Somebody has cut the connection (sock_diag(7)): the next datagram gets another. */
	if (err == EDESTADDRREQ || err == ENOTCONN)
		peer_close(u, p);
	else
		peer_error(u, p, err ? err : u->pending);
}

static void msg_init(struct udp_splice *u, unsigned i)
{
	u->iov[i] = (struct iovec){ .iov_base = u->area + (size_t)i * SLOT, .iov_len = SLOT };
	u->m[i] = (struct mmsghdr){ .msg_hdr = { .msg_iov = &u->iov[i], .msg_iovlen = 1 } };
}

/* Message i with room for its control messages. */
static void msg_control(struct udp_splice *u, unsigned i)
{
	u->m[i].msg_hdr.msg_control = u->ctl[i].b;
	u->m[i].msg_hdr.msg_controllen = sizeof(u->ctl[i].b);
}

/* A batch of n datagrams: if that is many, the kernel may give them in one piece. */
static void learn(int fd, int n, bool *gro)
{
	if (*gro || n < UDPSEG_BULK)
		return;
	*gro = true;
	if (udpseg_receive(fd))
		log_debug("UDP splice: no superframes from the kernel");
}

/* Where message i of a bound socket came from. */
static bool msg_path(struct udp_splice *u, unsigned i, struct udp_splice_path *ret_path)
{
	const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)&u->name[i];
	struct udp_splice_path path = { .scope = 0 };

	if (!u->m[i].msg_hdr.msg_namelen || sock_to_ep(&u->name[i], &path.peer))
		return false;
	path.local = addr_is4(&path.peer.addr) ? addr_any4 : addr_any6;
	(void)pktinfo_get(&u->m[i].msg_hdr, &path.local, &path.scope);
	if (u->name[i].ss_family == AF_INET6 && sin6->sin6_scope_id)
		path.scope = sin6->sin6_scope_id;
	*ret_path = path;
	return true;
}

/* An error that nobody asks for would be reported again and again. Returns it, positive. */
static int error_clear(int fd, int err)
{
	err = err == -EAGAIN ? sock_error(fd) : -err;
	if (err)
		log_limited(LOG_LVL_DEBUG, "UDP splice: %s", strerror(err));
	return err;
}

int udp_splice_read(struct udp_splice *u, uint16_t id)
{
	struct peer *run = NULL;
	unsigned first = 0;
	int got, fd;

	if (id >= u->n_ports || !u->port[id].used)
		return 0;
	fd = u->port[id].p.fd;
	for (unsigned i = 0; i < BATCH; i++) {
		msg_init(u, i);
		u->m[i].msg_hdr.msg_name = &u->name[i];
		u->m[i].msg_hdr.msg_namelen = sizeof(u->name[i]);
		msg_control(u, i);
	}
	got = sock_recvmmsg(fd, u->m, BATCH, 0);
	if (sock_lacks_memory(got))
		return got;
	if (got < 0)
		(void)error_clear(fd, got);
	learn(fd, got, &u->port[id].gro);

	/* Datagrams of one peer that follow each other leave with one call; before another peer may push it out of the table. */
	for (unsigned i = 0; (int)i < got; i++) {
		struct udp_splice_path path;
		bool ok = msg_path(u, i, &path);

		if (run && !(ok && peer_is(run, id, &path))) {
			peer_send(u, run, first, i);
			run = NULL;
		}
		if (!run && ok) {
			run = peer_find(u, id, &path);
			first = i;
		}
		u->iov[i].iov_len = u->m[i].msg_len;
		if (!run)
			u->stats.lost++;
	}
	if (run)
		peer_send(u, run, first, (unsigned)got);
	return 0;
}

static void peer_read(struct udp_splice *u, struct peer *p)
{
	const struct udp_splice_port *port = peer_port(u, p);
	const struct flow_key *k = &p->flow.key;
	struct ep dst = { .addr = k->guest, .port = k->gport };
	struct udp_out_to to = {
		.fd = port->fd,
		.dst = &dst,
		.family = port->v6 ? AF_INET6 : AF_INET,
		.scope = p->scope,
		.local = addr_is_any(&k->remote) ? NULL : &k->remote,
		.seg = &p->seg,
	};
	int got;

	for (unsigned i = 0; i < BATCH; i++) {
		msg_init(u, i);
		if (p->gro)
			msg_control(u, i);
	}
	got = sock_recvmmsg(p->fd, u->m, BATCH, 0);
	if (sock_lacks_memory(got))
		sockwatch_rest(&p->watch, EPOLLIN);
	else if (got < 0)
		peer_error(u, p, error_clear(p->fd, got));
	if (got <= 0)
		return;
	learn(p->fd, got, &p->gro);
	p->answered = true;
	peer_touch(u, p);
	for (unsigned i = 0; (int)i < got; i++)
		u->iov[i].iov_len = u->m[i].msg_len;
	(void)send_run(u, &to, 0, (unsigned)got, &p->back);
	u->stats.back += u->out.sent;
}

/* What lies in memory of others, from a peer. */
static void send_all(struct udp_splice *u, struct peer *p, const struct iovec *payload, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		u->iov[i] = payload[i];
		u->m[i].msg_hdr = (struct msghdr){ 0 };
	}
	peer_send(u, p, 0, n);
}

void udp_splice_feed(struct udp_splice *u, uint16_t id, const struct udp_splice_path *path, const struct iovec *payload, unsigned n)
{
	struct peer *p = id < u->n_ports && u->port[id].used ? peer_find(u, id, path) : NULL;

	if (p)
		send_all(u, p, payload, n);
	else
		u->stats.lost += n;
}

struct retry {
	struct udp_splice *u;
	int failed;
};

/* One that was held. Those of one peer don't overtake each other: either all of them are done with, or all wait on. */
static bool held_take(void *ctx, const struct udp_held *d, const struct iovec *payload)
{
	const struct retry *r = ctx;
	struct udp_splice *u = r->u;
	struct peer *p = (struct peer *)flow_get(u->peers, d->index, d->gen);

	if (p && p->fd < 0 && addr_family(&p->flow.key.guest) == r->failed) {
		peer_close(u, p);
		p = NULL;
	}
	if (p && p->fd < 0 && !peer_ready(u, p))
		p = NULL;
	if (p && p->fd < 0)
		return false;
	if (p)
		send_all(u, p, payload, 1);
	else
		u->stats.lost++;
	return true;
}

void udp_splice_retry(struct udp_splice *u, int failed)
{
	struct retry r = { .u = u, .failed = failed };

	udp_hold_each(&u->hold, held_take, &r);
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	struct udp_splice *u = ctx;
	struct peer *p = (struct peer *)flow_get(u->peers, ref.index, ref.gen);

	if (p)
		peer_read(u, p);
}

/* --- ports --- */

static struct port *port_new(struct udp_splice *u)
{
	struct port *port = NULL;

	if (u->free != NO_PORT) {
		port = &u->port[u->free];
		u->free = port->next_free;
	} else if (u->n_ports < UDP_SPLICE_PORTS) {
		port = &u->port[u->n_ports++];
	}
	return port;
}

static void port_free(struct udp_splice *u, struct port *port)
{
	port->used = false;
	port->next_free = u->free;
	u->free = (uint32_t)(port - u->port);
}

int udp_splice_add(struct udp_splice *u, const struct udp_splice_port *p, uint16_t *ret_id)
{
	struct port *port = port_new(u);

	if (!port)
		return -ENOSPC;
	port->p = *p;
	port->used = true;
	port->gro = false;
	*ret_id = (uint16_t)(port - u->port);
	return 0;
}

struct of_port {
	struct udp_splice *u;
	uint16_t id;
};

static void close_of_port(void *ctx, struct flow *f)
{
	const struct of_port *of = ctx;

	if (f->key.rport == of->id)
		peer_close(of->u, (struct peer *)f);
}

void udp_splice_remove(struct udp_splice *u, uint16_t id)
{
	struct of_port of = { .u = u, .id = id };

	if (id >= u->n_ports || !u->port[id].used)
		return;
	flow_each(u->peers, close_of_port, &of);
	port_free(u, &u->port[id]);
}

uint32_t udp_splice_max(const struct udp_splice *u)
{
	return flow_max(u->peers);
}

bool udp_splice_next(const struct udp_splice *u, uint32_t *slot, uint32_t end, struct udp_splice_show *ret_show)
{
	const struct peer *p = (const struct peer *)flow_next(u->peers, slot, end);

	if (!p)
		return false;
	*ret_show = (struct udp_splice_show){
		.answered = p->answered,
		.born_ns = p->flow.born_ns,
		.out = p->out,
		.back = p->back,
		.bound_fd = peer_port(u, p)->fd,
		.fd = p->fd,
		.path = { { p->flow.key.guest, p->flow.key.gport }, p->flow.key.remote, p->scope },
		.user = peer_port(u, p)->user,
	};
	return true;
}

const struct udp_splice_stats *udp_splice_stats(const struct udp_splice *u)
{
	return &u->stats;
}

static void *area_map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

struct udp_splice *udp_splice_new(const struct udp_splice_conf *c)
{
	struct udp_splice *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->c = *c;
	u->free = NO_PORT;
	for (unsigned i = 0; i < IDLES; i++)
		list_init(&u->idle[i]);
	timer_init(&u->sweep, sweep_fire);
	u->peers = flow_table_new(c->max, (sizeof(struct peer) + 7) / 8 * 8, c->key);
	u->port = area_map(UDP_SPLICE_PORTS * sizeof(*u->port));
	u->area = area_map((size_t)BATCH * SLOT);
	if (!u->peers || !u->port || !u->area || udp_hold_init(&u->hold)) {
		udp_splice_free(u);
		return NULL;
	}
	u->owner = loop_owner(c->loop, on_event, u);
	return u;
}

void udp_splice_free(struct udp_splice *u)
{
	for (uint32_t i = 0; i < u->n_ports; i++)
		udp_splice_remove(u, (uint16_t)i);
	timer_cancel(&u->c.loop->timers, &u->sweep);
	if (u->peers)
		flow_table_free(u->peers);
	if (u->port)
		munmap(u->port, UDP_SPLICE_PORTS * sizeof(*u->port));
	if (u->area)
		munmap(u->area, (size_t)BATCH * SLOT);
	udp_hold_fini(&u->hold);
	free(u);
}
