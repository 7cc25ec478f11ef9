/* SPDX-License-Identifier: MIT */
#include "netns/nlmsg.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>

#define PLEN4_BROADCAST 30 /* longer prefixes have no broadcast address (RFC 3021) */
#define LIFETIME_EVER UINT32_MAX

int nlreq_open(struct nlreq *q)
{
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (!nl)
		return -errno;
	if (mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID)) {
		int err = -errno;

		mnl_socket_close(nl);
		return err;
	}
	*q = (struct nlreq){ .nl = nl };
	return 0;
}

void nlreq_close(struct nlreq *q)
{
	mnl_socket_close(q->nl);
}

/* --- link --- */

static struct ifinfomsg *link_start(union nlmsg *m, int ifindex)
{
	struct ifinfomsg *i = nlmsg_start(m, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = ifindex;
	return i;
}

int nlreq_link_up(struct nlreq *q, int ifindex)
{
	union nlmsg m;
	struct ifinfomsg *i = link_start(&m, ifindex);

	i->ifi_flags = i->ifi_change = IFF_UP;
	return nlmsg_send(q, &m);
}

int nlreq_link_name(struct nlreq *q, int ifindex, const char *name)
{
	union nlmsg m;

	link_start(&m, ifindex);
	mnl_attr_put_strz(&m.h, IFLA_IFNAME, name);
	return nlmsg_send(q, &m);
}

int nlreq_link_mac(struct nlreq *q, int ifindex, const uint8_t mac[MAC_LEN])
{
	union nlmsg m;

	link_start(&m, ifindex);
	mnl_attr_put(&m.h, IFLA_ADDRESS, MAC_LEN, mac);
	return nlmsg_send(q, &m);
}

static int link_u32(struct nlreq *q, int ifindex, uint16_t attr, uint32_t value)
{
	union nlmsg m;

	link_start(&m, ifindex);
	mnl_attr_put_u32(&m.h, attr, value);
	return nlmsg_send(q, &m);
}

int nlreq_link_mtu(struct nlreq *q, int ifindex, uint32_t mtu)
{
	return link_u32(q, ifindex, IFLA_MTU, mtu);
}

int nlreq_link_txqlen(struct nlreq *q, int ifindex, uint32_t frames)
{
	return link_u32(q, ifindex, IFLA_TXQLEN, frames);
}

int nlreq_link_no_addrgen(struct nlreq *q, int ifindex)
{
	struct nlattr *spec, *inet6;
	union nlmsg m;

	link_start(&m, ifindex);
	spec = mnl_attr_nest_start(&m.h, IFLA_AF_SPEC);
	inet6 = mnl_attr_nest_start(&m.h, AF_INET6);
	mnl_attr_put_u8(&m.h, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
	mnl_attr_nest_end(&m.h, inet6);
	mnl_attr_nest_end(&m.h, spec);
	return nlmsg_send(q, &m);
}

static void put_ether(union nlmsg *m, const struct nlreq_ether *e)
{
	mnl_attr_put_strz(&m->h, IFLA_IFNAME, e->name);
	mnl_attr_put(&m->h, IFLA_ADDRESS, MAC_LEN, e->mac);
	mnl_attr_put_u32(&m->h, IFLA_MTU, e->mtu);
}

int nlreq_veth(struct nlreq *q, const struct nlreq_ether *here, const struct nlreq_ether *there, int netns_fd)
{
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *i;
	union nlmsg m;

	i = nlmsg_start(&m, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));
	i->ifi_index = here->index;
	put_ether(&m, here);
	info = mnl_attr_nest_start(&m.h, IFLA_LINKINFO);
	mnl_attr_put_strz(&m.h, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(&m.h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(&m.h, VETH_INFO_PEER);
	i = mnl_nlmsg_put_extra_header(&m.h, sizeof(*i));
	i->ifi_index = there->index;
	put_ether(&m, there);
	mnl_attr_put_u32(&m.h, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	mnl_attr_nest_end(&m.h, peer);
	mnl_attr_nest_end(&m.h, data);
	mnl_attr_nest_end(&m.h, info);
	return nlmsg_send(q, &m);
}

int nlreq_link_del(struct nlreq *q, int ifindex)
{
	union nlmsg m;
	struct ifinfomsg *i = nlmsg_start(&m, RTM_DELLINK, 0, sizeof(*i));

	i->ifi_index = ifindex;
	return nlmsg_send(q, &m);
}

/* --- addresses --- */

static void put_addr(union nlmsg *m, uint16_t attr, const struct addr *a)
{
	mnl_attr_put(&m->h, attr, addr_len(a), addr_bytes(a));
}

/* All bits of the host part set. */
static struct addr broadcast_of(const struct addr *a, unsigned plen)
{
	struct addr b = *a;

	for (unsigned bit = plen; bit < 32; bit++)
		b.b[12 + bit / 8] |= (uint8_t)(0x80u >> bit % 8);
	return b;
}

int nlreq_addr(struct nlreq *q, int ifindex, const struct nsconf_addr *a)
{
	const struct ifa_cacheinfo life = { .ifa_valid = LIFETIME_EVER };
	uint32_t flags = 0;
	struct ifaddrmsg *i;
	struct addr bcast;
	union nlmsg m;

	i = nlmsg_start(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));
	i->ifa_family = (uint8_t)addr_family(&a->addr);
	i->ifa_prefixlen = a->plen;
	i->ifa_scope = a->scope;
	i->ifa_index = (uint32_t)ifindex;
	put_addr(&m, IFA_LOCAL, &a->addr);
	put_addr(&m, IFA_ADDRESS, &a->addr);
	if (addr_is4(&a->addr) && a->plen && a->plen <= PLEN4_BROADCAST) {
		bcast = broadcast_of(&a->addr, a->plen);
		put_addr(&m, IFA_BROADCAST, &bcast);
	}
	if (!addr_is4(&a->addr))
		flags |= IFA_F_NODAD;
	if (a->no_prefix_route)
		flags |= IFA_F_NOPREFIXROUTE;
	mnl_attr_put_u32(&m.h, IFA_FLAGS, flags);
	if (a->deprecated)
		mnl_attr_put(&m.h, IFA_CACHEINFO, sizeof(life), &life);
	return nlmsg_send(q, &m);
}

int nlreq_neigh(struct nlreq *q, int ifindex, const struct addr *a, const uint8_t mac[MAC_LEN])
{
	union nlmsg m;
	struct ndmsg *n = nlmsg_start(&m, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*n));

	n->ndm_family = (uint8_t)addr_family(a);
	n->ndm_ifindex = ifindex;
	n->ndm_state = NUD_PERMANENT;
	put_addr(&m, NDA_DST, a);
	mnl_attr_put(&m.h, NDA_LLADDR, MAC_LEN, mac);
	return nlmsg_send(q, &m);
}

/* --- routes --- */

static uint8_t hop_flags(const struct nlreq_route *r, const struct nsconf_hop *h)
{
	return addr_is_set(&h->gw) && (r->onlink || h->onlink) ? RTNH_F_ONLINK : 0;
}

static void put_gateway(union nlmsg *m, const struct nsconf_route *r, const struct nsconf_hop *h)
{
	struct {
		uint16_t family;
		uint8_t addr[16];
	} via = { 0 };
	size_t len;

	if (!addr_is_set(&h->gw))
		return;
	if (addr_is4(&h->gw) == addr_is4(&r->dst)) {
		put_addr(m, RTA_GATEWAY, &h->gw);
		return;
	}
	len = addr_is4(&h->gw) ? 4 : 16;
	via.family = (uint16_t)addr_family(&h->gw);
	memcpy(via.addr, h->gw.b + sizeof(h->gw.b) - len, len);
	mnl_attr_put(&m->h, RTA_VIA, sizeof(via.family) + len, &via);
}

static void put_multipath(union nlmsg *m, const struct nlreq_route *r)
{
	struct nlattr *nest = mnl_attr_nest_start(&m->h, RTA_MULTIPATH);

	for (unsigned i = 0; i < r->route.n_hops; i++) {
		const struct nsconf_hop *h = &r->hop[i];
		struct rtnexthop *nh = mnl_nlmsg_get_payload_tail(&m->h);
		uint32_t start = m->h.nlmsg_len;

		nh->rtnh_ifindex = r->ifindex;
		nh->rtnh_flags = hop_flags(r, h);
		nh->rtnh_hops = (uint8_t)(h->weight - 1);
		m->h.nlmsg_len += sizeof(*nh);
		put_gateway(m, &r->route, h);
		nh->rtnh_len = (uint16_t)(m->h.nlmsg_len - start);
	}
	mnl_attr_nest_end(&m->h, nest);
}

static void put_metrics(union nlmsg *m, const struct nsconf_route *r)
{
	struct nlattr *nest = mnl_attr_nest_start(&m->h, RTA_METRICS);

	for (uint16_t i = 1; i < NSCONF_METRICS; i++) {
		if (r->metrics[i])
			mnl_attr_put_u32(&m->h, i, r->metrics[i]);
	}
	mnl_attr_nest_end(&m->h, nest);
}

static bool has_metrics(const struct nsconf_route *r)
{
	for (unsigned i = 1; i < NSCONF_METRICS; i++) {
		if (r->metrics[i])
			return true;
	}
	return false;
}

int nlreq_route(struct nlreq *q, const struct nlreq_route *r)
{
	const struct nsconf_route *c = &r->route;
	struct rtmsg *t;
	union nlmsg m;

	if (c->n_hops > NSCONF_ROUTE_HOPS)
		return -EMSGSIZE;
	/* Without NLM_F_EXCL, as there may be several routes to one place. */
	t = nlmsg_start(&m, RTM_NEWROUTE, NLM_F_CREATE | (r->replace ? NLM_F_REPLACE : NLM_F_APPEND), sizeof(*t));
	t->rtm_family = (uint8_t)addr_family(&c->dst);
	t->rtm_dst_len = c->plen;
	t->rtm_tos = c->tos;
	t->rtm_table = r->table ? r->table : RT_TABLE_MAIN;
	t->rtm_protocol = c->protocol;
	t->rtm_scope = c->scope;
	t->rtm_type = c->type;
	if (c->plen)
		put_addr(&m, RTA_DST, &c->dst);
	t->rtm_src_len = c->src_plen;
	if (c->src_plen)
		put_addr(&m, RTA_SRC, &c->src);
	if (c->metric)
		mnl_attr_put_u32(&m.h, RTA_PRIORITY, c->metric);
	if (addr_is_set(&c->prefsrc))
		put_addr(&m, RTA_PREFSRC, &c->prefsrc);
	if (c->pref && !addr_is4(&c->dst))
		mnl_attr_put_u8(&m.h, RTA_PREF, c->pref);
	if (has_metrics(c))
		put_metrics(&m, c);
	if (c->n_hops == 1) {
		mnl_attr_put_u32(&m.h, RTA_OIF, (uint32_t)r->ifindex);
		t->rtm_flags = hop_flags(r, r->hop);
		put_gateway(&m, c, r->hop);
	} else if (c->n_hops) {
		put_multipath(&m, r);
	}
	return nlmsg_send(q, &m);
}

int nlreq_rule(struct nlreq *q, const struct nlreq_rule *r)
{
	union nlmsg m;
	struct fib_rule_hdr *h = nlmsg_start(&m, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*h));

	h->family = (uint8_t)r->family;
	h->action = FR_ACT_TO_TBL;
	h->table = r->table;
	mnl_attr_put_u32(&m.h, FRA_PRIORITY, r->pref);
	if (r->iif)
		mnl_attr_put_strz(&m.h, FRA_IIFNAME, r->iif);
	if (r->proto)
		mnl_attr_put_u8(&m.h, FRA_IP_PROTO, r->proto);
	if (r->mark)
		mnl_attr_put_u32(&m.h, FRA_FWMARK, r->mark);
	return nlmsg_send(q, &m);
}
