/* SPDX-License-Identifier: MIT */
#include "netns/annex.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netns/nldivert.h"
#include "netns/sysctl.h"
#include "os/sock.h"

#define PAIR_NAME "pair" /* our end of it */
#define TAP_NAME "frames"
/* Not that of the other end: where both are the same, the kernel may take a second to notice that the pair is up. */
#define PAIR_INDEX 1000
#define PAIR_MTU 65535 /* whatever the namespace makes of its end */
#define IF_LOOPBACK 1
#define TABLE 100 /* all that is in it: everything is local */
#define PREF_PAIR 90
#define PREF_MARK 91

/*
 * The way back to whatever address of the namespace is by this one, which nobody has: all that is known of it is the MAC, and that is the
 * namespace's (RFC 3927, RFC 4291 2.5.6).
 */
static const struct addr next_hop[ANNEX_RAW] = { ADDR4_INIT(169, 254, 77, 1), { .b = { 0xfe, 0x80, [15] = 0x77 } } };
static const struct addr any[ANNEX_RAW] = { ADDR4_INIT(0, 0, 0, 0), { .q = { 0, 0 } } };

struct make {
	const struct annex_conf *c;
	int net_fd;
	struct nlreq nl;
	bool paired; /* our end is there */
	int tap; /* its index */
	struct tun tun;
	struct annex_fds *fds;
};

static unsigned families(const struct annex_conf *c)
{
	return c->v6 ? ANNEX_RAW : 1;
}

static int pair_make(struct make *m)
{
	struct nlreq_ether here = { .name = PAIR_NAME, .index = PAIR_INDEX, .mtu = PAIR_MTU },
			   there = { .name = m->c->name, .mtu = m->c->mtu };
	int err;

	memcpy(here.mac, m->c->our_mac, MAC_LEN);
	memcpy(there.mac, m->c->mac, MAC_LEN);
	err = nlreq_veth(&m->nl, &here, &there, m->net_fd);
	m->paired = !err;
	return err;
}

static int tap_make(struct make *m)
{
	int err = tun_open(TAP_NAME, true, &m->tun);

	if (err)
		return err;
	m->fds->tap = m->tun.fd;
	m->tap = (int)if_nametoindex(TAP_NAME);
	if (!m->tap)
		return -errno;
	return m->c->queue ? nlreq_link_txqlen(&m->nl, m->tap, m->c->queue) : 0;
}

/* Without addresses of their own, which nobody is to hear of. Where there is no IPv6, there are none anyway. */
static int up(struct make *m)
{
	int err = nlreq_link_up(&m->nl, IF_LOOPBACK);

	(void)!nlreq_link_no_addrgen(&m->nl, PAIR_INDEX);
	(void)!nlreq_link_no_addrgen(&m->nl, m->tap);
	if (!err)
		err = nlreq_link_up(&m->nl, PAIR_INDEX);
	return err ? err : nlreq_link_up(&m->nl, m->tap);
}

static int divert(struct make *m)
{
	const struct nldivert d[] = {
		{ .from = PAIR_INDEX, .to = m->tap, .what = annex_filter_ours(), .prio = 1 },
		{ .from = PAIR_INDEX, .to = m->tap, .what = annex_filter_resets(), .prio = 2, .copy = true },
		{ .from = m->tap, .to = PAIR_INDEX, .what = annex_filter_any(), .prio = 1 },
	};
	int err = nldivert_open(&m->nl, PAIR_INDEX);

	if (!err)
		err = nldivert_open(&m->nl, m->tap);
	for (size_t i = 0; !err && i < ARRAY_SIZE(d); i++)
		err = nldivert_add(&m->nl, &d[i]);
	return err;
}

static int rules_add(struct make *m, int family)
{
	const struct nlreq_rule pair = {
		.family = family, .pref = PREF_PAIR, .iif = PAIR_NAME, .proto = IPPROTO_TCP, .table = TABLE
	};
	const struct nlreq_rule mark = { .family = family, .pref = PREF_MARK, .mark = ANNEX_MARK, .table = TABLE };
	int err = nlreq_rule(&m->nl, &pair);

	return err ? err : nlreq_rule(&m->nl, &mark);
}

/* The way to the namespace. What its interface carries at once is a property of the route, and so known to the sockets. */
static int back_set(struct nlreq *nl, const struct annex_conf *c, unsigned f)
{
	const struct nsconf_hop hop = { .gw = next_hop[f], .weight = 1 };
	struct nlreq_route r = { .route = { .dst = any[f], .n_hops = 1, .type = RTN_UNICAST, .protocol = RTPROT_STATIC },
				 .hop = &hop,
				 .ifindex = PAIR_INDEX,
				 .onlink = true,
				 .replace = true };
	int err = nlreq_neigh(nl, PAIR_INDEX, &next_hop[f], c->mac);

	r.route.metrics[RTAX_MTU] = c->mtu;
	/* A kernel that is so near expects acknowledgements earlier than the other one's timer for them, and probes for a loss otherwise. */
	r.route.metrics[RTAX_QUICKACK] = 1;
	return err ? err : nlreq_route(nl, &r);
}

static int local_add(struct make *m, unsigned f)
{
	const struct nsconf_hop hop = { .weight = 1 };
	const struct nlreq_route r = {
		.route = { .dst = any[f], .n_hops = 1, .type = RTN_LOCAL, .protocol = RTPROT_STATIC, .scope = RT_SCOPE_HOST },
		.hop = &hop,
		.ifindex = IF_LOOPBACK,
		.table = TABLE
	};

	return nlreq_route(&m->nl, &r);
}

static int routes(struct make *m)
{
	int err = 0;

	for (unsigned f = 0; !err && f < families(m->c); f++) {
		err = back_set(&m->nl, m->c, f);
		if (!err)
			err = local_add(m, f);
		if (!err)
			err = rules_add(m, addr_family(&any[f]));
	}
	return err;
}

/*
 * The sockets have whatever port the peer has. They go without TIME_WAIT, as a peer may use a port again as soon as it thinks fit; on the way
 * to the namespace, which is a function call, no segment is old. Nothing is forwarded, even where new namespaces do as the first one does.
 * Who has vanished is noticed as on a tap device (TCP_KEEP_IDLE_S and the following). A smaller MTU behind the namespace is found out by
 * trying, as ICMP errors don't come here (RFC 4821).
 */
static int sysctls(struct make *m)
{
	static const struct {
		const char *path, *value;
		bool v6;
	} tab[] = {
		{ "net/ipv4/ip_unprivileged_port_start", "0", false },
		{ "net/ipv4/tcp_max_tw_buckets", "0", false },
		{ "net/ipv4/ip_forward", "0", false },
		{ "net/ipv4/tcp_mtu_probing", "1", false },
		{ "net/ipv4/tcp_keepalive_time", "600", false },
		{ "net/ipv4/tcp_keepalive_intvl", "60", false },
		{ "net/ipv4/tcp_keepalive_probes", "9", false },
		{ "net/ipv6/conf/all/forwarding", "0", true },
	};
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(tab); i++)
		err = tab[i].v6 && !m->c->v6 ? 0 : sysctl_set(tab[i].path, tab[i].value);
	return err;
}

/* Whether there will be any that stand in for others. */
static int socket_try(int family)
{
	int fd, err = sock_open(family, SOCK_STREAM, IPPROTO_TCP, &fd);

	if (err)
		return err;
	err = annex_socket(fd, family);
	sock_close(fd);
	return err;
}

static int sockets(struct make *m)
{
	int err = 0;

	for (unsigned f = 0; !err && f < families(m->c); f++) {
		err = socket_try(addr_family(&any[f]));
		if (err)
			break;
		err = sock_open(addr_family(&any[f]), SOCK_RAW, IPPROTO_RAW, &m->fds->raw[f]);
		if (!err)
			err = sock_set_int(m->fds->raw[f], SOL_SOCKET, SO_MARK, ANNEX_MARK);
	}
	return err;
}

static void undo(struct make *m)
{
	if (m->paired)
		(void)!nlreq_link_del(&m->nl, PAIR_INDEX);
	sock_close(m->fds->tap);
	for (unsigned f = 0; f < ANNEX_RAW; f++)
		sock_close(m->fds->raw[f]);
	*m->fds = (struct annex_fds){ -1, { -1, -1 } };
}

int annex_make(const struct annex_conf *c, int net_fd, struct annex_result *ret_result, struct annex_fds *fds)
{
	static int (*const step[ANNEX_STEPS])(struct make * m) = {
		[ANNEX_PAIR] = pair_make, [ANNEX_TAP] = tap_make,    [ANNEX_UP] = up,           [ANNEX_DIVERT] = divert,
		[ANNEX_ROUTES] = routes,  [ANNEX_SYSCTLS] = sysctls, [ANNEX_SOCKETS] = sockets,
	};
	struct make m = { .c = c, .net_fd = net_fd, .fds = fds };
	struct annex_result r = { .step = ANNEX_PAIR };

	*fds = (struct annex_fds){ -1, { -1, -1 } };
	r.err = nlreq_open(&m.nl);
	if (!r.err) {
		for (unsigned i = 0; !r.err && i < ANNEX_STEPS; i++) {
			r.step = i;
			r.err = step[i](&m);
		}
		if (r.err)
			undo(&m);
		nlreq_close(&m.nl);
	}
	r.vnet_hdr_len = m.tun.vnet_hdr_len;
	r.offloads = m.tun.offloads;
	*ret_result = r;
	return r.err;
}

int annex_follow(const struct annex_conf *c)
{
	struct nlreq nl;
	int err = nlreq_open(&nl);

	if (err)
		return err;
	for (unsigned f = 0; !err && f < families(c); f++)
		err = back_set(&nl, c, f);
	nlreq_close(&nl);
	return err;
}

int annex_leave(void)
{
	struct nlreq nl;
	int err = nlreq_open(&nl);

	if (err)
		return err;
	err = nlreq_link_del(&nl, PAIR_INDEX);
	nlreq_close(&nl);
	return err;
}

int annex_socket(int fd, int family)
{
	bool v4 = family == AF_INET;
	int err = sock_set_int(fd, v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, 1);

	if (!err)
		err = sock_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	/* Who is behind the namespace's interface may vanish; those that are accepted are asked as well. */
	if (!err)
		err = sock_set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	/* Also beside one that listens on the port. */
	return err ? err : sock_set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
}

static const struct {
	const char *name, *needs;
} words[ANNEX_STEPS] = {
	[ANNEX_PAIR] = { "pair of interfaces", "veth of the kernel, and CAP_NET_ADMIN in the namespace" },
	[ANNEX_TAP] = { "tap device", "/dev/net/tun" },
	[ANNEX_UP] = { "interfaces", "CAP_NET_ADMIN in the namespace" },
	[ANNEX_DIVERT] = { "diversion of frames", "sch_ingress, cls_bpf and act_mirred of the kernel" },
	[ANNEX_ROUTES] = { "routes", "policy routing of the kernel, since Linux 4.17" },
	[ANNEX_SYSCTLS] = { "sysctls", "a /proc/sys that can be written to" },
	[ANNEX_SOCKETS] = { "sockets", "CAP_NET_RAW and CAP_NET_ADMIN in the namespace" },
};

const char *annex_step_name(uint32_t step)
{
	return step < ANNEX_STEPS ? words[step].name : "something";
}

const char *annex_step_needs(uint32_t step)
{
	return step < ANNEX_STEPS ? words[step].needs : "another version";
}
