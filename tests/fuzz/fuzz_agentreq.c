/* SPDX-License-Identifier: MIT */
/*
 * An engine that asks the namespace agent what it likes. What the agent would do to its namespace is done by those below, who look at what
 * they are given. Each request has one reply, which fits it, or is the end; when it is sealed the agent opens no taps and configures
 * nothing; and all descriptors are closed again.
 */
#include <assert.h>
#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rd.h"
#include "fds.h"
#include "netns/agent_serve.h"
#include "netns/nlreq.h"
#include "os/box.h"
#include "os/netlink.h"
#include "os/settle.h"
#include "os/sock.h"
#include "os/sysfilter.h"
#include "os/tun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* No interface of this machine has a name that begins with that, so nothing of it is touched. */
#define OURS 0x80

#define REQUESTS 16

/* How what the agent calls turns out: a byte of the input for each call. */
static struct rd outcome;

static int come_out(void)
{
	static const int errs[] = { 0, 0, 0, 0, -EEXIST, -ENETUNREACH, -EPERM, -EINVAL };

	return errs[rd_u8(&outcome) % ARRAY_SIZE(errs)];
}

static int fd_new(int *ret_fd)
{
	int err = come_out();

	if (err)
		return err;
	*ret_fd = eventfd(0, EFD_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

/* --- what the agent calls --- */

int tun_open(const char *name, bool vnet, struct tun *ret_tun)
{
	struct tun t = { .vnet_hdr_len = vnet ? 10 : 0 };
	int err = fd_new(&t.fd);

	assert(strlen(name) < AGENT_NAME_MAX);
	if (!err)
		*ret_tun = t;
	return err;
}

int bound_open(const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	assert(strlen(s->dev) < BOUND_DEV_MAX);
	*ret_v6 = s->dual;
	return fd_new(ret_fd);
}

int sock_open(int family, int type, int proto, int *ret_fd)
{
	assert(family == AF_INET || family == AF_INET6);
	assert(type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_RAW);
	return fd_new(ret_fd);
}

int helper_seal(const struct helper_seal *s, pid_t parent, const unsigned *cap, size_t n)
{
	return come_out();
}

int box_memory(void)
{
	return come_out();
}

int box_landlock(unsigned refuse, const int *dir, unsigned n, int *ret_lost)
{
	return come_out();
}

int sysfilter_load(const struct syscall_table *const *t, size_t n)
{
	return come_out();
}

void settle_memory(void)
{
}

unsigned if_nametoindex(const char *name)
{
	assert(strlen(name) < IF_NAMESIZE);
	errno = ENODEV;
	return (uint8_t)name[0] == OURS ? 7 : 0;
}

int nlreq_open(struct nlreq *q)
{
	return come_out();
}

void nlreq_close(struct nlreq *q)
{
}

int nlreq_link_up(struct nlreq *q, int ifindex)
{
	return come_out();
}

int nlreq_link_name(struct nlreq *q, int ifindex, const char *name)
{
	assert(strlen(name) < IF_NAMESIZE);
	return (uint8_t)name[0] == OURS ? come_out() : -EINVAL;
}

int nlreq_link_mac(struct nlreq *q, int ifindex, const uint8_t mac[MAC_LEN])
{
	return come_out();
}

int nlreq_link_mtu(struct nlreq *q, int ifindex, uint32_t mtu)
{
	assert(mtu);
	return come_out();
}

int nlreq_link_txqlen(struct nlreq *q, int ifindex, uint32_t frames)
{
	assert(frames);
	return come_out();
}

int nlreq_link_no_addrgen(struct nlreq *q, int ifindex)
{
	return come_out();
}

int nlreq_addr(struct nlreq *q, int ifindex, const struct nsconf_addr *a)
{
	assert(a->plen <= 8 * addr_len(&a->addr));
	return come_out();
}

int nlreq_route(struct nlreq *q, const struct nlreq_route *r)
{
	static struct nsconf_hop hop[NSCONF_ROUTE_HOPS];

	assert(r->route.plen <= 8 * addr_len(&r->route.dst) && r->route.n_hops <= NSCONF_ROUTE_HOPS);
	memcpy(hop, r->hop, r->route.n_hops * sizeof(*hop));
	return come_out();
}

int nl_links_open(int *ret_fd)
{
	return fd_new(ret_fd);
}

int annex_make(const struct annex_conf *c, int net_fd, struct annex_result *ret_result, struct annex_fds *ret_fds)
{
	struct annex_fds f = { -1, { -1, -1 } };
	int err = fd_new(&f.tap);

	assert(net_fd >= 0 && strlen(c->name) < ANNEX_NAME_MAX);
	if (!err)
		err = fd_new(&f.raw[0]);
	if (!err && c->v6)
		err = fd_new(&f.raw[1]);
	if (err && f.tap >= 0)
		close(f.tap);
	if (err && f.raw[0] >= 0)
		close(f.raw[0]);
	*ret_result = (struct annex_result){ .err = err };
	if (!err)
		*ret_fds = f;
	return err;
}

int annex_follow(const struct annex_conf *c)
{
	return come_out();
}

int annex_leave(void)
{
	return come_out();
}

int annex_socket(int fd, int family)
{
	assert(fd >= 0);
	return come_out();
}

/* --- the engine --- */

static struct addr addr_of(struct rd *in)
{
	struct addr a = addr_any6;
	uint8_t what = rd_u8(in);

	if (what & 1)
		a = (struct addr){ .b = { [10] = 0xff, 0xff, 192, 0, 2, what } };
	else if (what)
		a = (struct addr){ .b = { what & 2 ? 0xfe : 0x20, what & 2 ? 0x80 : 1, [15] = what } };
	return a;
}

/* Such as may be asked for, but for the numbers in it. */
static void config_fill(struct nsconf *c, struct rd *in)
{
	uint8_t what = rd_u8(in), more = rd_u8(in);

	c->name[0] = c->rename[0] = (char)OURS;
	c->name[1] = (char)rd_u8(in);
	c->rename[1] = (char)rd_u8(in);
	c->has_mac = what & 1;
	c->mtu = what & 2;
	c->txqlen = what & 4;
	c->only_lo = (what & 0x18) == 0x18;
	c->link_only = (what & 0x60) == 0x60;
	c->n_addrs = more & 7;
	c->n_routes = more >> 3 & 7;
	c->n_hops = more >> 6;
	for (unsigned i = 0; i < c->n_addrs; i++)
		c->addr[i] = (struct nsconf_addr){ addr_of(in), rd_u8(in), 0, 0, what >> 7 };
	for (unsigned i = 0; i < c->n_routes; i++) {
		struct nsconf_route *r = &c->route[i];

		*r = (struct nsconf_route){ .dst = addr_of(in), .prefsrc = addr_of(in), .src = addr_of(in), .type = 1 };
		r->plen = rd_u8(in);
		r->src_plen = rd_u8(in);
		r->hop = rd_u8(in);
		r->n_hops = rd_u8(in);
	}
	for (unsigned i = 0; i < c->n_hops; i++)
		c->hop[i].gw = addr_of(in);
}

/* Of the right size, unless the input says otherwise. */
static size_t request_make(struct agent_req *q, struct rd *in)
{
	uint8_t type = rd_u8(in), how = rd_u8(in);
	size_t len, at;

	memset(q, 0, sizeof(*q));
	q->head.type = how & 0x10 ? rd_be32(in) : type % AGENT_TYPES;
	q->head.cookie = type;
	len = agent_req_size(q->head.type);
	if (q->head.type == AGENT_CONFIG)
		config_fill(&q->config, in);
	/* Anything, anywhere. */
	for (unsigned i = 0; i < (how & 7u); i++) {
		at = sizeof(q->head) + (size_t)rd_be16(in) * (how & 8 ? 2 : 1) % (sizeof(*q) - sizeof(q->head) - 8);
		rd_copy(in, (uint8_t *)q + at, 8);
	}
	return how & 0x20 ? MIN((size_t)rd_be16(in), sizeof(*q)) : len;
}

/* What came of it: a reply that fits, or none because there is none. */
static void reply_check(int sock, const struct agent_req *q, bool was_sealed)
{
	struct agent_reply r;
	int fds[FDPASS_MAX];
	unsigned n = 0;
	ssize_t len = fdpass_recv(sock, &r, sizeof(r), MSG_DONTWAIT, fds, &n);

	assert(len > 0 && (size_t)len == agent_reply_size(q->head.type));
	assert(r.head.type == q->head.type && r.head.cookie == q->head.cookie && r.err <= 0);
	assert(r.n_fds == n && (!n || !r.err));
	assert(!was_sealed || r.err == -EPERM ||
	       (q->head.type != AGENT_CONFIG && q->head.type != AGENT_OPEN_TAP && q->head.type != AGENT_ANNEX));
	while (n)
		close(fds[--n]);
}

static void sink(void *ctx, enum log_level level, const char *line)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct agent_serve s;
	static struct agent_req q;
	struct rd in = rd_init(data, len);
	unsigned before = fds_open();
	int sock[2], err = 0;

	log_set_sink(sink, NULL);
	outcome = rd_sub(&in, MIN((size_t)rd_u8(&in), rd_left(&in)));
	memset(&s, 0, sizeof(s));
	if (fdpass_pair(sock))
		abort();
	s.sock = sock[0];
	for (unsigned i = 0; i < REQUESTS && rd_left(&in) && !err; i++) {
		size_t size = request_make(&q, &in);
		unsigned n = rd_u8(&in) % 4;
		const int some[3] = { sock[1], sock[1], sock[1] };
		bool sealed = s.sealed;

		if (fdpass_send(sock[1], &q, size, some, n, MSG_DONTWAIT))
			abort();
		err = agent_serve_next(&s);
		assert(!err || err == -EPIPE || err == -EPROTO);
		assert(err != -EPROTO || size != agent_req_size(q.head.type) || !size);
		if (!err)
			reply_check(sock[1], &q, sealed);
	}
	close(sock[1]);
	assert(err || agent_serve_next(&s) == -EPIPE);
	close(sock[0]);
	assert(fds_open() == before);
	return 0;
}
