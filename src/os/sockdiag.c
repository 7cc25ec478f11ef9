/* SPDX-License-Identifier: MIT */
#include "os/sockdiag.h"

#include <assert.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/rd.h"

#define BUF 32768 /* the kernel fills no larger datagrams than this for a dump */
#define ROUNDS 16 /* datagrams of one event, so that others get their turn */
#define IFINDEX_LO 1 /* in every namespace */
#define ASKS (SOCKDIAG_PROTOS * SOCKDIAG_FAMILIES)

struct sockdiag {
	struct loop *loop;
	unsigned owner;
	int fd;
	sockdiag_done_fn *fn;
	void *ctx;
	uint32_t seq; /* of the question that goes on; each has its own */
	unsigned ask; /* which it is: 0 to ASKS - 1; ASKS: none */
	unsigned datagrams; /* of its answer */
	struct sockdiag_scan scan;
	struct {
		int err;
		uint64_t digest;
	} before[SOCKDIAG_PROTOS]; /* of the last scan that was finished */
	uint8_t buf[BUF];
};

/* What each question is about. */
static const struct {
	uint8_t family, proto, state;
	enum sockdiag_proto index;
} asks[ASKS] = {
	{ AF_INET, IPPROTO_TCP, TCP_LISTEN, SOCKDIAG_TCP },
	{ AF_INET6, IPPROTO_TCP, TCP_LISTEN, SOCKDIAG_TCP },
	{ AF_INET, IPPROTO_UDP, TCP_CLOSE, SOCKDIAG_UDP },
	{ AF_INET6, IPPROTO_UDP, TCP_CLOSE, SOCKDIAG_UDP },
};

void sockdiag_select(const struct sockdiag_ports *p, unsigned families, unsigned wheres, struct portmap *ret_map)
{
	for (unsigned i = 0; i < SOCKDIAG_FAMILIES * SOCKDIAG_WHERES; i++) {
		unsigned family = i / SOCKDIAG_WHERES, where = i % SOCKDIAG_WHERES;

		if (!(families >> family & 1) || !(wheres >> where & 1))
			continue;
		for (unsigned w = 0; w < ARRAY_SIZE(ret_map->w); w++)
			ret_map->w[w] |= p->map[family][where].w[w];
	}
}

/* --- the answer --- */

/* Attributes: whether a socket of IPv6 is for IPv6 only. */
static bool attrs_v6only(struct rd *r)
{
	while (rd_left(r) >= sizeof(struct nlattr)) {
		struct nlattr a;
		struct rd body;

		rd_copy(r, &a, sizeof(a));
		if (a.nla_len < sizeof(a))
			return false;
		body = rd_sub(r, a.nla_len - sizeof(a));
		if ((a.nla_type & NLA_TYPE_MASK) == INET_DIAG_SKV6ONLY)
			return rd_u8(&body);
		rd_skip(r, MIN((size_t)(NLA_ALIGN(a.nla_len) - a.nla_len), rd_left(r)));
	}
	return false;
}

/* A step that can be undone for any given value, and then mixing: lists that differ in one socket never have the same digest. */
static uint64_t digest_add(uint64_t digest, uint64_t value)
{
	digest = (digest ^ (value + 1)) * UINT64_C(0x9e3779b97f4a7c15);
	return digest ^ digest >> 29;
}

static void port_add(struct sockdiag_ports *p, const struct inet_diag_msg *m, bool v6only)
{
	bool v6 = m->idiag_family == AF_INET6;
	struct addr a = v6 ? addr_from6(m->id.idiag_src) : addr_from4(m->id.idiag_src);
	uint16_t port = ntohs(m->id.idiag_sport);
	enum sockdiag_where where = SOCKDIAG_ADDR;

	if (!port)
		return;
	if (addr_is_loopback(&a) || (addr_is_any(&a) && m->id.idiag_if == IFINDEX_LO))
		where = SOCKDIAG_LO;
	else if (addr_is_any(&a))
		where = SOCKDIAG_ANY;
	p->digest = digest_add(p->digest, port | (uint32_t)where << 16 | !addr_is4(&a) << 20 | v6only << 21);
	if (!addr_is4(&a))
		portmap_set(&p->map[SOCKDIAG_6][where], port);
	if (addr_is4(&a) || (addr_is_any(&a) && !v6only))
		portmap_set(&p->map[SOCKDIAG_4][where], port);
}

static void socket_parse(struct rd *r, enum sockdiag_proto proto, struct sockdiag_ports *p)
{
	struct inet_diag_msg m;

	rd_copy(r, &m, sizeof(m));
	if (!rd_ok(r) || (m.idiag_family != AF_INET && m.idiag_family != AF_INET6))
		return;
	if (m.idiag_state != (proto == SOCKDIAG_TCP ? TCP_LISTEN : TCP_CLOSE))
		return;
	port_add(p, &m, attrs_v6only(r));
}

/* Both NLMSG_ERROR and, where a dump fails half-way, NLMSG_DONE start with an error number. 1: no error. */
static int end_parse(struct rd *r)
{
	int32_t err = 0;

	rd_copy(r, &err, sizeof(err));
	return err < 0 && err > -4096 ? err : 1;
}

int sockdiag_parse(const void *buf, size_t len, uint32_t seq, enum sockdiag_proto proto, struct sockdiag_ports *p)
{
	struct rd r = rd_init(buf, len);

	while (rd_left(&r)) {
		struct nlmsghdr h;
		struct rd body;

		rd_copy(&r, &h, sizeof(h));
		if (!rd_ok(&r) || h.nlmsg_len < sizeof(h))
			return -EBADMSG;
		body = rd_sub(&r, h.nlmsg_len - sizeof(h));
		if (!rd_ok(&body))
			return -EBADMSG;
		rd_skip(&r, MIN((size_t)(-h.nlmsg_len & (NLMSG_ALIGNTO - 1)), rd_left(&r)));
		if (seq && h.nlmsg_seq != seq)
			continue;
		if (h.nlmsg_type == NLMSG_DONE || h.nlmsg_type == NLMSG_ERROR)
			return end_parse(&body);
		if (h.nlmsg_type == SOCK_DIAG_BY_FAMILY)
			socket_parse(&body, proto, p);
	}
	return 0;
}

/* --- asking --- */

/* Processor time, not time that went by: on a busy machine a look that waits for its turn costs no more. */
static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int ask_send(struct sockdiag *sd)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {
		.h = { .nlmsg_len = sizeof(q),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		       .nlmsg_seq = ++sd->seq },
		.r = { .sdiag_family = asks[sd->ask].family,
		       .sdiag_protocol = asks[sd->ask].proto,
		       .idiag_states = 1u << asks[sd->ask].state },
	};
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	ssize_t n;

	static_assert(sizeof(q) == NLMSG_HDRLEN + sizeof(struct inet_diag_req_v2), "no hole in a question");
	if (!q.h.nlmsg_seq)
		q.h.nlmsg_seq = sd->seq = 1;
	sd->datagrams = 0;
	n = sendto(sd->fd, &q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
	return n < 0 ? -errno : 0;
}

/* The present question is answered, with an error or not: the next one, or the end. */
static void ask_done(struct sockdiag *sd, int err)
{
	if (err)
		sd->scan.err[asks[sd->ask].index] = err;
	while (++sd->ask < ASKS) {
		err = ask_send(sd);
		if (!err)
			return;
		sd->scan.err[asks[sd->ask].index] = err;
	}
}

/* One datagram. False: there is none. */
static bool answer_read(struct sockdiag *sd)
{
	struct sockaddr_nl from = { .nl_pid = 0 };
	struct iovec iov = { .iov_base = sd->buf, .iov_len = sizeof(sd->buf) };
	struct msghdr msg = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n = recvmsg(sd->fd, &msg, MSG_DONTWAIT);
	int r;

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0 && errno == EINTR)
		return true;
	/* Only the kernel has number 0. */
	if (sd->ask == ASKS || (n >= 0 && from.nl_pid))
		return true;
	if (n < 0)
		r = -errno;
	else if (msg.msg_flags & MSG_TRUNC)
		r = -EMSGSIZE;
	else
		r = sockdiag_parse(sd->buf, (size_t)n, sd->seq, asks[sd->ask].index, &sd->scan.ports[asks[sd->ask].index]);
	if (!r && ++sd->datagrams > 1)
		sd->scan.torn = true;
	if (r)
		ask_done(sd, r < 0 ? r : 0);
	return true;
}

static bool is_same(const struct sockdiag *sd)
{
	bool same = true;

	for (unsigned i = 0; i < SOCKDIAG_PROTOS; i++)
		same &= sd->before[i].err == sd->scan.err[i] && sd->before[i].digest == sd->scan.ports[i].digest;
	return same;
}

static void scan_done(struct sockdiag *sd)
{
	sd->scan.same = is_same(sd);
	for (unsigned i = 0; i < SOCKDIAG_PROTOS; i++) {
		sd->before[i].err = sd->scan.err[i];
		sd->before[i].digest = sd->scan.ports[i].digest;
	}
	sd->fn(sd->ctx, &sd->scan);
}

/* What there is to read, and what is to be asked then. start: since when to count. */
static void answers_read(struct sockdiag *sd, uint64_t start)
{
	bool asked = sd->ask < ASKS, more = true;

	for (unsigned i = 0; more && i < ROUNDS; i++)
		more = answer_read(sd) && !(asked && sd->ask == ASKS);
	sd->scan.cost_ns += cpu_ns() - start;
	if (asked && sd->ask == ASKS)
		scan_done(sd);
}

static void on_event(void *ctx, struct ref ref, uint32_t events)
{
	answers_read(ctx, cpu_ns());
}

int sockdiag_start(struct sockdiag *sd)
{
	uint64_t start = cpu_ns();
	int err;

	if (sd->ask < ASKS)
		return -EBUSY;
	memset(&sd->scan, 0, sizeof(sd->scan));
	sd->ask = 0;
	err = ask_send(sd);
	if (err)
		sd->ask = ASKS;
	else
		answers_read(sd, start);
	return err;
}

int sockdiag_new(struct loop *loop, int fd, sockdiag_done_fn *fn, void *ctx, struct sockdiag **ret_sd)
{
	struct sockdiag *sd = calloc(1, sizeof(*sd));
	int err;

	if (!sd) {
		close(fd);
		return -ENOMEM;
	}
	*sd = (struct sockdiag){ .loop = loop, .fd = fd, .fn = fn, .ctx = ctx, .ask = ASKS };
	sd->before[0].err = 1; /* like no scan */
	sd->owner = loop_owner(loop, on_event, sd);
	err = loop_add(loop, fd, ref_init(sd->owner, 0, 0), EPOLLIN);
	if (err) {
		close(fd);
		free(sd);
		return err;
	}
	*ret_sd = sd;
	return 0;
}

void sockdiag_free(struct sockdiag *sd)
{
	loop_del(sd->loop, sd->fd);
	close(sd->fd);
	free(sd);
}
