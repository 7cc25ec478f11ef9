/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>

#include "os/netlink.h"

#define NL_ATTRS 64 /* attributes with a higher number are not looked at */
#define NL_ENTRY_HEAD \
	MAX(offsetof(struct nl_entry, route.hop), \
	    offsetof(struct nl_entry, nexthop.group)) /* cleared; links and addresses are smaller */
#define NL_BUF 32768 /* the kernel fills no larger datagrams than this for a dump */

/* Attributes of one message by number; NULL: absent. */
struct attrs {
	const struct nlattr *a[NL_ATTRS];
};

/* Attributes in the len bytes at p, which are what follows a fixed header. */
static struct attrs attrs_parse(const void *p, size_t len)
{
	const struct nlattr *attr = p;
	int left = (int)MIN(len, (size_t)INT_MAX);
	struct attrs t = { 0 };

	while (mnl_attr_ok(attr, left)) {
		if (mnl_attr_get_type(attr) < NL_ATTRS)
			t.a[mnl_attr_get_type(attr)] = attr;
		left -= MNL_ALIGN(attr->nla_len);
		attr = mnl_attr_next(attr);
	}
	return t;
}

/* Copies an attribute of exactly len bytes. */
static bool attr_get(const struct attrs *t, unsigned type, void *dst, size_t len)
{
	const struct nlattr *a = t->a[type];

	if (!a || mnl_attr_get_payload_len(a) != len)
		return false;
	memcpy(dst, mnl_attr_get_payload(a), len);
	return true;
}

/* 0 if it is absent. */
static uint32_t attr_u32(const struct attrs *t, unsigned type)
{
	uint32_t v = 0;

	(void)attr_get(t, type, &v, sizeof(v));
	return v;
}

/*
 * The address of this family; false if it is absent or not one. One that maps an IPv4 address to IPv6 (RFC 4291 2.5.5.2) is none: no host
 * on a network has it, though some have a route that refuses them all, and struct addr takes it for IPv4.
 */
static bool attr_addr(const struct attrs *t, unsigned type, int family, struct addr *ret_addr)
{
	struct addr a;
	uint8_t b[16];

	if (!attr_get(t, type, b, family == AF_INET ? 4 : 16))
		return false;
	a = family == AF_INET ? addr_from4(b) : addr_from6(b);
	if (family != AF_INET && addr_is4(&a))
		return false;
	*ret_addr = a;
	return true;
}

static bool parse_link(const struct ifinfomsg *m, const struct attrs *t, struct nl_entry *e)
{
	const struct nlattr *name = t->a[IFLA_IFNAME];
	struct nl_link *l = &e->link;
	size_t len;

	if (m->ifi_index <= 0 || !name)
		return false;
	len = strnlen(mnl_attr_get_payload(name), mnl_attr_get_payload_len(name));
	if (!len || len >= sizeof(l->name))
		return false;
	memcpy(l->name, mnl_attr_get_payload(name), len);
	l->index = (unsigned)m->ifi_index;
	l->flags = m->ifi_flags;
	l->mtu = attr_u32(t, IFLA_MTU);
	l->has_mac = m->ifi_type == ARPHRD_ETHER && attr_get(t, IFLA_ADDRESS, l->mac, MAC_LEN) && !mac_is_zero(l->mac);
	return true;
}

static bool parse_addr(const struct ifaddrmsg *m, const struct attrs *t, struct nl_entry *e)
{
	struct nl_addr *a = &e->addr;

	if ((m->ifa_family != AF_INET && m->ifa_family != AF_INET6) || m->ifa_prefixlen > (m->ifa_family == AF_INET ? 32 : 128))
		return false;
	/* On a point-to-point link, IFA_ADDRESS is the peer's. */
	if (!attr_addr(t, IFA_LOCAL, m->ifa_family, &a->addr) && !attr_addr(t, IFA_ADDRESS, m->ifa_family, &a->addr))
		return false;
	a->ifindex = m->ifa_index;
	a->plen = m->ifa_prefixlen;
	a->scope = m->ifa_scope;
	a->flags = t->a[IFA_FLAGS] ? attr_u32(t, IFA_FLAGS) : m->ifa_flags;
	return true;
}

/* A gateway of either family: the other one comes with its name. */
static void parse_gateway(const struct attrs *t, int family, struct nl_hop *hop)
{
	const struct nlattr *a = t->a[RTA_VIA];
	const uint8_t *p;
	uint16_t other;

	(void)attr_addr(t, RTA_GATEWAY, family, &hop->gw);
	if (!a || mnl_attr_get_payload_len(a) < sizeof(other))
		return;
	p = mnl_attr_get_payload(a);
	memcpy(&other, p, sizeof(other));
	if (other == AF_INET && mnl_attr_get_payload_len(a) == sizeof(other) + 4)
		hop->via = addr_from4(p + sizeof(other));
	else if (other == AF_INET6 && mnl_attr_get_payload_len(a) == sizeof(other) + 16)
		hop->via = addr_from6(p + sizeof(other));
}

static void parse_metrics(const struct nlattr *a, struct nl_route *r)
{
	struct attrs t;

	if (!a)
		return;
	t = attrs_parse(mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
	for (unsigned i = 1; i < NL_METRICS; i++)
		r->metrics[i] = attr_u32(&t, i);
	r->more |= t.a[RTAX_CC_ALGO] != NULL;
}

static void parse_hops(const struct nlattr *mp, int family, struct nl_route *r)
{
	const uint8_t *p = mnl_attr_get_payload(mp);
	size_t left = mnl_attr_get_payload_len(mp);

	while (r->n_hops < NL_HOPS) {
		struct rtnexthop nh;
		struct nl_hop *hop = &r->hop[r->n_hops];
		struct attrs t;
		size_t step;

		if (left < sizeof(nh))
			return;
		memcpy(&nh, p, sizeof(nh));
		*hop = (struct nl_hop){ 0 };
		if (nh.rtnh_len < sizeof(nh) || nh.rtnh_len > left)
			return;
		t = attrs_parse(p + sizeof(nh), nh.rtnh_len - sizeof(nh));
		hop->oif = nh.rtnh_ifindex > 0 ? (unsigned)nh.rtnh_ifindex : 0;
		hop->flags = nh.rtnh_flags;
		hop->weight = (uint16_t)(nh.rtnh_hops + 1);
		parse_gateway(&t, family, hop);
		r->encap |= t.a[RTA_ENCAP] != NULL;
		r->more |= t.a[RTA_FLOW] != NULL;
		r->n_hops++;
		step = RTNH_ALIGN(nh.rtnh_len);
		if (step >= left)
			return;
		p += step;
		left -= step;
	}
	r->hops_lost = left >= sizeof(struct rtnexthop);
}

static bool parse_route(const struct rtmsg *m, const struct attrs *t, struct nl_entry *e)
{
	struct nl_route *r = &e->route;

	const uint8_t max = m->rtm_family == AF_INET ? 32 : 128;

	if ((m->rtm_family != AF_INET && m->rtm_family != AF_INET6) || m->rtm_dst_len > max || m->rtm_src_len > max)
		return false;
	r->v6 = m->rtm_family == AF_INET6;
	r->dst = r->v6 ? addr_any6 : addr_any4;
	if (!attr_addr(t, RTA_DST, m->rtm_family, &r->dst) && m->rtm_dst_len)
		return false;
	r->plen = m->rtm_dst_len;
	r->type = m->rtm_type;
	r->protocol = m->rtm_protocol;
	r->flags = m->rtm_flags;
	r->table = t->a[RTA_TABLE] ? attr_u32(t, RTA_TABLE) : m->rtm_table;
	r->metric = attr_u32(t, RTA_PRIORITY);
	r->nh_id = attr_u32(t, RTA_NH_ID);
	r->scope = m->rtm_scope;
	r->tos = m->rtm_tos;
	r->encap = t->a[RTA_ENCAP] != NULL;
	r->more = t->a[RTA_FLOW] != NULL;
	(void)attr_get(t, RTA_PREF, &r->pref, sizeof(r->pref));
	parse_metrics(t->a[RTA_METRICS], r);
	(void)attr_addr(t, RTA_PREFSRC, m->rtm_family, &r->prefsrc);
	if (attr_addr(t, RTA_SRC, m->rtm_family, &r->src))
		r->src_plen = m->rtm_src_len;
	if (t->a[RTA_MULTIPATH]) {
		parse_hops(t->a[RTA_MULTIPATH], m->rtm_family, r);
	} else if (t->a[RTA_OIF]) {
		r->n_hops = 1;
		r->hop[0] = (struct nl_hop){
			.oif = attr_u32(t, RTA_OIF),
			.flags = m->rtm_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN | RTNH_F_ONLINK),
			.weight = 1,
		};
		parse_gateway(t, m->rtm_family, &r->hop[0]);
	}
	return true;
}

static bool parse_nexthop(const struct nhmsg *m, const struct attrs *t, struct nl_entry *e)
{
	const struct nlattr *group = t->a[NHA_GROUP];
	struct nl_nexthop *n = &e->nexthop;

	n->id = attr_u32(t, NHA_ID);
	if (!n->id)
		return false;
	n->hop.oif = attr_u32(t, NHA_OIF);
	n->hop.flags = m->nh_flags;
	n->hop.weight = 1;
	n->blackhole = t->a[NHA_BLACKHOLE] != NULL;
	n->encap = t->a[NHA_ENCAP] != NULL;
	if (m->nh_family == AF_INET || m->nh_family == AF_INET6)
		(void)attr_addr(t, NHA_GATEWAY, m->nh_family, &n->hop.gw);
	if (!group)
		return true;
	for (size_t at = 0; at + sizeof(struct nexthop_grp) <= mnl_attr_get_payload_len(group); at += sizeof(struct nexthop_grp)) {
		struct nexthop_grp g;

		if (n->n_group == NL_HOPS) {
			n->hops_lost = true;
			break;
		}
		memcpy(&g, (const uint8_t *)mnl_attr_get_payload(group) + at, sizeof(g));
		n->weight[n->n_group] = (uint16_t)(g.weight + 1);
		n->group[n->n_group++] = g.id;
	}
	return true;
}

/* The fixed header at the start of a message's payload, and the attributes behind it. */
static bool msg_split(const struct nlmsghdr *nlh, void *hdr, size_t hdr_len, struct attrs *ret_attrs)
{
	size_t len = nlh->nlmsg_len - MNL_NLMSG_HDRLEN;
	const uint8_t *p = mnl_nlmsg_get_payload(nlh);
	size_t skip = MNL_ALIGN(hdr_len);

	if (len < hdr_len)
		return false;
	memcpy(hdr, p, hdr_len);
	*ret_attrs = (struct attrs){ 0 };
	if (len > skip)
		*ret_attrs = attrs_parse(p + skip, len - skip);
	return true;
}

static bool msg_parse(const struct nlmsghdr *nlh, struct nl_entry *e)
{
	struct attrs t;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtmsg route;
		struct nhmsg nexthop;
	} m;

	memset(e, 0, NL_ENTRY_HEAD);
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
		e->kind = NL_LINK;
		return msg_split(nlh, &m, sizeof(m.link), &t) && parse_link(&m.link, &t, e);
	case RTM_DELLINK:
		e->kind = NL_LINK_GONE;
		/* Of another family, it is about a port of a bridge, say. */
		return msg_split(nlh, &m, sizeof(m.link), &t) && m.link.ifi_family == AF_UNSPEC && parse_link(&m.link, &t, e);
	case RTM_NEWADDR:
		e->kind = NL_ADDR;
		return msg_split(nlh, &m, sizeof(m.addr), &t) && parse_addr(&m.addr, &t, e);
	case RTM_NEWROUTE:
		e->kind = NL_ROUTE;
		return msg_split(nlh, &m, sizeof(m.route), &t) && parse_route(&m.route, &t, e);
	case RTM_NEWNEXTHOP:
		e->kind = NL_NEXTHOP;
		return msg_split(nlh, &m, sizeof(m.nexthop), &t) && parse_nexthop(&m.nexthop, &t, e);
	default:
		return false;
	}
}

/* Both NLMSG_ERROR and, where a dump fails half-way, NLMSG_DONE start with an error number. 1: no error. */
static int msg_end(const struct nlmsghdr *nlh)
{
	int err = 0;

	if (nlh->nlmsg_len >= MNL_NLMSG_HDRLEN + sizeof(err))
		memcpy(&err, mnl_nlmsg_get_payload(nlh), sizeof(err));
	return err < 0 && err > -4096 ? err : 1;
}

int nl_parse(const void *buf, size_t len, uint32_t seq, bool *intr, nl_entry_fn *fn, void *ctx)
{
	const uint8_t *p = buf;

	while (len) {
		const struct nlmsghdr *nlh = (const void *)p;
		struct nl_entry e;
		size_t step;

		if (len < sizeof(*nlh) || nlh->nlmsg_len < sizeof(*nlh) || nlh->nlmsg_len > len)
			return -EBADMSG;
		if (!seq || nlh->nlmsg_seq == seq) {
			if (nlh->nlmsg_flags & NLM_F_DUMP_INTR)
				*intr = true;
			if (nlh->nlmsg_type == NLMSG_DONE || nlh->nlmsg_type == NLMSG_ERROR)
				return msg_end(nlh);
			if (msg_parse(nlh, &e))
				fn(ctx, &e);
		}
		step = MNL_ALIGN(nlh->nlmsg_len);
		p += MIN(step, len);
		len -= MIN(step, len);
	}
	return 0;
}

static int dump_send(struct mnl_socket *nl, enum nl_kind kind, int family, uint32_t seq)
{
	static const struct {
		uint16_t type;
		uint8_t len;
	} request[] = {
		[NL_LINK] = { RTM_GETLINK, sizeof(struct ifinfomsg) },
		[NL_ADDR] = { RTM_GETADDR, sizeof(struct ifaddrmsg) },
		[NL_ROUTE] = { RTM_GETROUTE, sizeof(struct rtmsg) },
		[NL_NEXTHOP] = { RTM_GETNEXTHOP, sizeof(struct nhmsg) },
	};
	char buf[MNL_ALIGN(sizeof(struct nlmsghdr)) + 64] __attribute__((aligned(8))) = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	uint8_t *fixed;

	nlh->nlmsg_type = request[kind].type;
	nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	nlh->nlmsg_seq = seq;
	/* The family is the first byte of every fixed header. */
	fixed = mnl_nlmsg_put_extra_header(nlh, request[kind].len);
	*fixed = (uint8_t)family;
	while (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int dump_recv(struct mnl_socket *nl, uint32_t seq, nl_entry_fn *fn, void *ctx)
{
	char buf[NL_BUF] __attribute__((aligned(8)));
	bool intr = false;
	int r = 0;

	while (!r) {
		ssize_t n = mnl_socket_recvfrom(nl, buf, sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EPROTO;
		r = nl_parse(buf, (size_t)n, seq, &intr, fn, ctx);
	}
	if (r < 0)
		return r;
	return intr ? -EINTR : 0;
}

int nl_dump(enum nl_kind kind, int family, nl_entry_fn *fn, void *ctx)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	const uint32_t seq = 1; /* the socket is new, so this is enough to tell its answers apart */
	int r;

	if (!nl)
		return -errno;
	r = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) ? -errno : dump_send(nl, kind, family, seq);
	if (!r)
		r = dump_recv(nl, seq, fn, ctx);
	mnl_socket_close(nl);
	return r;
}

/* A socket that tells of changes. */
static int news_open(uint32_t groups, int *ret_fd)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_groups = groups };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&nl, sizeof(nl))) {
		int err = -errno;

		close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int nl_watch_open(int *ret_fd)
{
	return news_open(RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE, ret_fd);
}

bool nl_watch_read(int fd)
{
	bool some = false;
	char byte;

	/* What there was no room for is lost, but told. */
	while (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno == ENOBUFS)
		some = true;
	return some;
}

int nl_links_open(int *ret_fd)
{
	return news_open(RTMGRP_LINK, ret_fd);
}

int nl_links_ask(int fd, unsigned index, const char *name)
{
	char buf[256] __attribute__((aligned(8))) = { 0 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *i;

	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	i = mnl_nlmsg_put_extra_header(nlh, sizeof(*i));
	i->ifi_index = (int)index;
	if (!index)
		mnl_attr_put_strz(nlh, IFLA_IFNAME, name);
	return send(fd, nlh, nlh->nlmsg_len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int nl_links_read(int fd, nl_entry_fn *fn, void *ctx)
{
	char buf[NL_BUF] __attribute__((aligned(8)));
	bool intr = false;

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		int err;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return !n ? -EPROTO : errno == EAGAIN ? 0 : -errno;
		err = nl_parse(buf, (size_t)n, 0, &intr, fn, ctx);
		if (err < 0)
			return err;
	}
}
