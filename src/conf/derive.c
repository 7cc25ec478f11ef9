/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/rd.h"
#include "base/wr.h"
#include "conf/derive.h"

#define MTU_DEFAULT 65520
#define MTU_ETHERNET 1500 /* of a guest that is not told any */
#define MTU_MIN4 68 /* RFC 791 3.2 */
#define IFNAME_DEFAULT "tap0"

/* A host without connectivity: addresses of our own making (RFC 3927). */
#define LOCAL4_ADDR ADDR4_INIT(169, 254, 2, 1)
#define LOCAL4_GW ADDR4_INIT(169, 254, 2, 2)
#define LOCAL4_PLEN 16
#define LOCAL6_GW ((struct addr){ .b = { 0xfe, 0x80, [15] = 1 } })

static const uint8_t our_mac_default[MAC_LEN] = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 };
static const struct addr unset;

/* Options, host and result, for the steps of derive(). */
struct work {
	const struct opts *o;
	const struct host *h;
	struct conf *c;
	char *err; /* DERIVE_ERR_LEN */
};

static PRINTF(2, 3) int fail(char *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, DERIVE_ERR_LEN, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static uint32_t addr4_num(const struct addr *a)
{
	struct rd r = rd_init(addr_bytes(a), 4);

	return rd_be32(&r);
}

static struct addr addr4_from_num(uint32_t num)
{
	uint8_t b[4];
	struct wr w = wr_init(b, sizeof(b));

	wr_be32(&w, num);
	return addr_from4(b);
}

/*
 * An address for us, next to the guest's in its network: the last one, as the first ones are likely to be somebody's. A network of one
 * address has no room, so there it is one that nobody else can have.
 */
static struct addr neighbour4(const struct addr *guest, unsigned plen)
{
	uint32_t num = addr4_num(guest);
	uint32_t host_bits, last;

	if (plen >= 32)
		return addr_eq(guest, &LOCAL4_GW) ? LOCAL4_ADDR : LOCAL4_GW;
	if (plen == 31)
		return addr4_from_num(num ^ 1);
	host_bits = UINT32_MAX >> plen;
	last = (num | host_bits) - 1;
	return addr4_from_num(last == num ? last - 1 : last);
}

/* RFC 4291 appendix A. */
static struct addr ll6_from_mac(const uint8_t mac[MAC_LEN])
{
	struct addr a = { .b = { 0xfe, 0x80, [11] = 0xff, [12] = 0xfe } };

	memcpy(a.b + 8, mac, 3);
	memcpy(a.b + 13, mac + 3, 3);
	a.b[8] ^= 2;
	return a;
}

static void derive_process(const struct work *w)
{
	const struct opts *o = w->o;
	struct conf *c = w->c;

	c->mode = o->mode;
	c->foreground = o->foreground;
	c->quiet = o->quiet;
	c->debug = o->debug;
	c->trace = o->trace;
	c->stats_s = o->stats_s;
	c->fd = o->fd;
	c->one_off = o->one_off || o->fd >= 0;
	c->vhost_user = o->vhost_user;
	c->passed = o->passed;
	c->socket_type = o->socket_type ? o->socket_type : SOCK_STREAM;
	memcpy(c->socket_path, o->socket_path, sizeof(c->socket_path));
	memcpy(c->pid_file, o->pid_file, sizeof(c->pid_file));
	memcpy(c->log_file, o->log_file, sizeof(c->log_file));
	memcpy(c->pcap_file, o->pcap_file, sizeof(c->pcap_file));
	memcpy(c->conf_path, o->conf_path, sizeof(c->conf_path));
	c->log_size = o->log_size;
	c->limits = o->limits;
	c->have_runas = o->have_runas;
	c->chroot_fallback = o->chroot_fallback;
	c->runas_uid = o->runas_uid;
	c->runas_gid = o->runas_gid;
}

static void derive_ns(const struct work *w)
{
	const struct opts *o = w->o;
	struct conf *c = w->c;
	struct conf_ns *n = &c->ns;

	memcpy(c->guest_mac, o->ns_mac, MAC_LEN);
	n->spawn = o->spawn;
	n->command = o->command;
	n->pid = o->pid;
	memcpy(n->netns, o->netns, sizeof(n->netns));
	memcpy(n->userns, o->userns, sizeof(n->userns));
	/* The caller of a container's namespace is in its user namespace already, as a rule. */
	n->netns_only = o->netns_only || (n->netns[0] && !n->userns[0]);
	n->no_pidns = o->no_pidns;
	n->no_quit = o->no_netns_quit;
	n->config_net = o->config_net && !o->splice_only;
	n->splice = !o->no_splice;
	n->splice_only = o->splice_only;
	/* Nothing of the data would be in a capture. */
	n->handover = !o->no_handover && !o->splice_only && !o->no_tcp && !o->pcap_file[0];
	n->host_lo_to_ns_lo = o->host_lo_to_ns_lo || o->splice_only;
}

/* What is copied to the interface in the namespace, once it is known what it gets otherwise. */
static void derive_ns_interface(const struct work *w)
{
	const struct host *h = w->h;
	const struct opts *o = w->o;
	struct conf *c = w->c;
	const struct guestconf *g = &c->guest;
	struct conf_ns *n = &c->ns;
	const char *name = c->template4[0] ? c->template4 : c->template6;

	if (o->ns_ifname[0])
		name = o->ns_ifname;
	else if (!name[0] || !strcmp(name, "lo"))
		name = IFNAME_DEFAULT;
	snprintf(n->ifname, sizeof(n->ifname), "%s", name);
	if (!n->config_net)
		return;
	n->copy_addrs4 = addr_is_set(&h->v4.addr) && c->v4 && !c->fixed4 && !o->no_copy_addrs;
	n->copy_addrs6 = c->template6_ifindex && !c->fixed6 && !o->no_copy_addrs;
	/* Routes that lead through a gateway which the address that was asked for can't reach would help nobody. */
	n->copy_routes4 = c->template4_ifindex && !addr_is_set(&o->gateway.v4) && !o->no_copy_routes &&
			  (!c->fixed4 || addr_eq(&g->gw4, &h->v4.gw)) && (c->fixed4 || addr_is_set(&h->v4.addr));
	n->copy_routes6 = c->template6_ifindex && !addr_is_set(&o->gateway.v6) && !o->no_copy_routes &&
			  (!c->fixed6 || !addr_is_set(&g->gw6) || addr_same_net(&g->gw6, &g->addr6, 64));
}

static void derive_mtu(const struct work *w)
{
	const struct opts *o = w->o;
	struct conf *c = w->c;
	unsigned mtu = o->have_mtu ? o->mtu : MTU_DEFAULT;

	c->guest.mtu = (uint16_t)mtu;
	c->mtu = (uint16_t)(mtu ? MAX(mtu, (unsigned)MTU_MIN4) : MTU_ETHERNET);
	if (mtu && c->v4 && mtu < MTU_MIN4)
		log_warn("MTU %u is too small for IPv4 (minimum %d)", mtu, MTU_MIN4);
	if (mtu && c->v6 && mtu < CONF_MTU_MIN6)
		log_warn("MTU %u is too small for IPv6 (minimum %d)%s", mtu, CONF_MTU_MIN6,
			 o->mode == CONF_PASTA ? ": the namespace's interface has none" : "");
}

static void derive_services(const struct work *w)
{
	const struct opts *o = w->o;
	struct conf *c = w->c;
	struct guestconf *g = &c->guest;

	c->v4 = !o->v6_only;
	c->v6 = !o->v4_only;
	c->tcp = !o->no_tcp;
	c->udp = !o->no_udp;
	c->icmp = !o->no_icmp;
	c->udp_timeout_s = w->h->udp_timeout_s;
	c->udp_timeout_stream_s = w->h->udp_timeout_stream_s;

	g->mac_given = !mac_is_zero(o->our_mac);
	memcpy(g->our_mac, g->mac_given ? o->our_mac : our_mac_default, MAC_LEN);
	memcpy(g->hostname, o->hostname, sizeof(g->hostname));
	memcpy(g->fqdn, o->fqdn, sizeof(g->fqdn));
	if (o->splice_only) {
		c->icmp = false;
		return;
	}
	g->v4 = c->v4;
	g->v6 = c->v6;
	g->dhcp = c->v4 && !o->no_dhcp;
	g->dhcp6 = c->v6 && !o->no_dhcpv6;
	g->ndp = c->v6 && !o->no_ndp;
	/* An interface that has been configured needs no second opinion. */
	g->ra = g->ndp && !o->no_ra && !o->config_net;
	g->dns = o->mode == CONF_PASTA ? o->dhcp_dns : !o->no_dhcp_dns;
	g->search_on = o->mode == CONF_PASTA ? o->dhcp_search : !o->no_dhcp_search;
}

static void route4_add(struct guestconf *g, const struct guestconf_route *r)
{
	if (g->n_route4 < GUESTCONF_ROUTES)
		g->route4[g->n_route4++] = *r;
}

/*
 * The host's static routes, as far as they make sense in the guest's network. A gateway outside of that network, as providers of
 * virtual machines like it, needs a route to itself first.
 */
static void derive_routes4(const struct work *w)
{
	const struct host_family *h = &w->h->v4;
	struct guestconf *g = &w->c->guest;

	if (!addr_same_net(&g->gw4, &g->addr4, g->plen4))
		route4_add(g, &(struct guestconf_route){ .dst = g->gw4, .plen = 32, .gw = addr_any4 });
	if (addr_is_set(&w->o->address.v4) || addr_is_set(&w->o->gateway.v4))
		return;
	for (unsigned i = 0; i < h->n_routes; i++) {
		struct guestconf_route r = h->route[i];

		if (!addr_is_set(&r.gw))
			r.gw = addr_any4;
		else if (!addr_same_net(&r.gw, &g->addr4, g->plen4))
			continue;
		route4_add(g, &r);
	}
}

static void derive_v4(const struct work *w)
{
	const struct host_family *h = &w->h->v4;
	const struct opts *o = w->o;
	struct conf *c = w->c;
	struct guestconf *g = &c->guest;
	bool given = addr_is_set(&o->address.v4);
	unsigned plen;

	if (given) {
		g->addr4 = o->address.v4;
		plen = o->plen4 ? o->plen4 : val_class_plen(&g->addr4);
	} else if (addr_is_set(&h->addr)) {
		g->addr4 = h->addr;
		plen = h->plen;
	} else {
		g->addr4 = LOCAL4_ADDR;
		plen = LOCAL4_PLEN;
	}
	g->plen4 = (uint8_t)(o->netmask ? o->netmask : plen);

	/* A gateway that the guest can't reach with the address that was asked for would help nobody. */
	if (addr_is_set(&o->gateway.v4))
		g->gw4 = o->gateway.v4;
	else if (addr_is_set(&h->gw) && !addr_eq(&h->gw, &g->addr4) && (!given || addr_same_net(&h->gw, &g->addr4, g->plen4)))
		g->gw4 = h->gw;
	else if (addr_eq(&g->addr4, &LOCAL4_ADDR))
		g->gw4 = LOCAL4_GW;
	else
		g->gw4 = neighbour4(&g->addr4, g->plen4);
	g->our4 = g->gw4;
	derive_routes4(w);

	c->fixed4 = given;
	memcpy(c->template4, h->ifname, sizeof(c->template4));
	c->template4_ifindex = h->ifindex;
	c->nat.v4 = (struct nat_family){ .our = g->our4, .map_loopback = g->gw4, .host = h->addr, .guest = g->addr4 };
}

static void derive_v6(const struct work *w)
{
	const struct host_family *h = &w->h->v6;
	const struct opts *o = w->o;
	struct conf *c = w->c;
	struct guestconf *g = &c->guest;
	struct addr gw;

	if (addr_is_set(&o->address.v6) && o->plen6 && o->plen6 != 64)
		log_warn("IPv6 prefix length /%u has no effect: the guest's prefix is a /64 (--address)", o->plen6);
	g->addr6 = addr_is_set(&o->address.v6) ? o->address.v6 : h->addr;
	if (!addr_is_set(&g->addr6))
		g->dhcp6 = false;

	gw = addr_is_set(&o->gateway.v6) ? o->gateway.v6 : h->gw;
	if (!addr_is_set(&gw) && !h->ifindex)
		gw = LOCAL6_GW;
	if (addr_is_set(&gw) && addr_is_linklocal(&gw)) {
		g->our_ll6 = gw;
	} else {
		/* Not of --mac-addr: where that is the guest's own (libvirt 9.0), the guest would find its address taken. */
		g->our_ll6 = ll6_from_mac(our_mac_default);
		if (!addr_eq(&gw, &g->addr6))
			g->gw6 = gw;
	}

	c->fixed6 = addr_is_set(&o->address.v6);
	memcpy(c->template6, h->ifname, sizeof(c->template6));
	c->template6_ifindex = h->ifindex;
	gw = addr_is_set(&g->gw6) ? g->gw6 : g->our_ll6;
	c->nat.v6 = (struct nat_family){ .our = gw, .map_loopback = gw, .host = h->addr, .guest = g->addr6 };
	c->nat.our_ll6 = g->our_ll6;
}

static const struct addr *pair_get(const struct opt_pair *p, bool v4)
{
	return v4 ? &p->v4 : &p->v6;
}

static const struct addr *first_of(const struct addr *list, unsigned n, bool v4)
{
	for (unsigned i = 0; i < n; i++) {
		if (addr_is4(&list[i]) == v4)
			return &list[i];
	}
	return &unset;
}

static void derive_maps(const struct work *w, bool v4)
{
	const struct opts *o = w->o;
	struct nat_family *f = v4 ? &w->c->nat.v4 : &w->c->nat.v6;
	const struct addr *a = pair_get(&o->map_loopback, v4);
	char buf[ADDR_STRLEN];

	if (addr_is_set(a))
		f->map_loopback = *a;
	else if (o->map_loopback.none || o->no_map_gw)
		f->map_loopback = unset;
	f->map_guest = *pair_get(&o->map_guest, v4);

	a = pair_get(&o->dns_forward, v4);
	if (!addr_is_set(a))
		return;
	f->dns_host = *pair_get(&o->dns_host, v4);
	if (!addr_is_set(&f->dns_host))
		f->dns_host = *first_of(w->h->resolv.dns, w->h->resolv.n_dns, v4);
	if (!addr_is_set(&f->dns_host))
		f->dns_host = *first_of(o->dns, o->n_dns, v4);
	if (addr_is_set(&f->dns_host))
		f->dns_forward = *a;
	else
		log_warn("No %s name server to forward queries for %s to (--dns-forward)", v4 ? "IPv4" : "IPv6", addr_fmt(a, buf));
}

/*
 * The address by which the guest reaches the host's resolver a; unset if there is none. What would mean ourselves or the guest in the
 * guest's eyes is shown as the address of --dns-forward or, without, as one of ours, and queries to that are mapped back.
 */
static struct addr resolver_shown(const struct work *w, const struct addr *a)
{
	bool v4 = addr_is4(a);
	struct nat_family *f = v4 ? &w->c->nat.v4 : &w->c->nat.v6;
	const struct addr *guest = v4 ? &w->c->guest.addr4 : &w->c->guest.addr6;
	struct addr via = f->map_loopback;

	if (!addr_eq(a, &via) && !addr_is_loopback(a) && !addr_eq(a, guest) && !addr_eq(a, &f->map_guest))
		return *a;
	if (addr_is_set(pair_get(&w->o->dns_forward, v4)))
		return f->dns_forward;
	if (addr_is_set(&via) && !addr_is_set(&f->dns_forward)) {
		f->dns_forward = via;
		f->dns_host = *a;
	}
	return via;
}

static void dns_add(struct guestconf *g, const struct addr *a)
{
	struct addr *list = addr_is4(a) ? g->dns4 : g->dns6;
	unsigned *n = addr_is4(a) ? &g->n_dns4 : &g->n_dns6;

	for (unsigned i = 0; i < *n; i++) {
		if (addr_eq(&list[i], a))
			return;
	}
	if (*n < GUESTCONF_DNS)
		list[(*n)++] = *a;
}

static bool enabled(const struct conf *c, const struct addr *a)
{
	return addr_is4(a) ? c->v4 : c->v6;
}

static void derive_dns_host(const struct work *w)
{
	const struct resolv *r = &w->h->resolv;
	struct conf *c = w->c;
	struct guestconf *g = &c->guest;

	for (unsigned i = 0; i < r->n_dns; i++) {
		struct addr a;

		if (!enabled(c, &r->dns[i]))
			continue;
		a = resolver_shown(w, &r->dns[i]);
		if (addr_is_set(&a))
			dns_add(g, &a);
	}
	/* Somebody who has queries forwarded wants the guest to send them there, if there is nothing else to ask. */
	if (!g->n_dns4 && addr_is_set(&c->nat.v4.dns_forward))
		dns_add(g, &c->nat.v4.dns_forward);
	if (!g->n_dns6 && addr_is_set(&c->nat.v6.dns_forward))
		dns_add(g, &c->nat.v6.dns_forward);
	if (!g->n_dns4 && !g->n_dns6 && g->dns)
		log_warn("Couldn't get any nameserver address");
}

static void derive_dns(const struct work *w)
{
	const struct opts *o = w->o;
	struct guestconf *g = &w->c->guest;

	if (!o->have_dns)
		derive_dns_host(w);
	for (unsigned i = 0; i < o->n_dns; i++) {
		if (enabled(w->c, &o->dns[i]))
			dns_add(g, &o->dns[i]);
	}
	if (o->have_search) {
		memcpy(g->search, o->search, sizeof(g->search));
		g->n_search = o->n_search;
	} else {
		memcpy(g->search, w->h->resolv.search, sizeof(g->search));
		g->n_search = w->h->resolv.n_search;
	}
}

static void derive_outbound(const struct work *w)
{
	const struct opts *o = w->o;
	struct outbound *out = &w->c->out;

	if (!addr_is_any(&o->outbound.v4))
		out->addr4 = o->outbound.v4;
	out->addr6 = o->outbound.v6;
	memcpy(out->if4, o->if4, sizeof(out->if4));
	memcpy(out->if6, o->if6, sizeof(out->if6));
	out->ttl4 = w->h->ttl4;
	out->ttl6 = w->h->ttl6;
	out->scope6 = w->h->out6 ? w->h->out6 : w->h->v6.ifindex;
}

/* Addresses with a meaning of their own that were given twice. */
static int check_clash(const struct work *w, bool v4)
{
	const struct opts *o = w->o;
	const struct {
		const struct opt_pair *pair;
		const char *name;
	} used[] = {
		{ &o->address, "address" }, { &o->map_guest, "map-guest-addr" }, { &o->map_loopback, "map-host-loopback" },
		{ &o->gateway, "gateway" }, { &o->dns_forward, "dns-forward" },
	};
	/* The guest's address clashes with all the others, the next with that of the host's loopback. */
	static const uint8_t pairs[][2] = { { 0, 1 }, { 0, 2 }, { 0, 3 }, { 0, 4 }, { 1, 2 } };
	char buf[ADDR_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		const struct addr *a = pair_get(used[pairs[i][0]].pair, v4);
		const struct addr *b = pair_get(used[pairs[i][1]].pair, v4);

		if (addr_is_set(a) && addr_eq(a, b))
			return fail(w->err, "Address %s can't be that of --%s and of --%s", addr_fmt(a, buf),
				    used[pairs[i][0]].name, used[pairs[i][1]].name);
	}
	return 0;
}

static int check(const struct work *w)
{
	const struct opts *o = w->o;
	const struct host *h = w->h;
	int r;

	if (o->splice_only)
		return 0;
	if (!mac_is_zero(o->ns_mac) && !memcmp(o->ns_mac, mac_is_zero(o->our_mac) ? our_mac_default : o->our_mac, MAC_LEN))
		return fail(w->err, "The MAC address of --ns-mac-addr can't be that of --mac-addr");
	if (o->ifname[0] && !(h->v4.ifindex && !o->v6_only) && !(h->v6.ifindex && !o->v4_only))
		return fail(w->err, "External interface not usable: %s (--interface)", o->ifname);
	r = check_clash(w, true);
	return r ? r : check_clash(w, false);
}

/* The gateway that was asked for may be the address that the guest gets from the host. */
static int check_gateways(const struct work *w)
{
	const struct guestconf *g = &w->c->guest;
	char buf[ADDR_STRLEN];

	if (w->c->v4 && addr_eq(&g->gw4, &g->addr4))
		return fail(w->err, "Invalid gateway: %s is the guest's own address (--gateway)", addr_fmt(&g->gw4, buf));
	if (w->c->v6 && addr_is_set(&g->addr6) && addr_eq(&w->o->gateway.v6, &g->addr6))
		return fail(w->err, "Invalid gateway: %s is the guest's own address (--gateway)", addr_fmt(&g->addr6, buf));
	return 0;
}

static void derive_network(const struct work *w)
{
	struct conf *c = w->c;

	if (c->v4) {
		if (!w->h->v4.ifindex)
			log_info("IPv4: no external interface as template, use local mode");
		derive_v4(w);
		derive_maps(w, true);
	}
	if (c->v6) {
		if (!w->h->v6.ifindex)
			log_info("IPv6: no external interface as template, use local mode");
		derive_v6(w);
		derive_maps(w, false);
	}
	derive_dns(w);
	derive_outbound(w);
	if (c->mode == CONF_PASTA)
		derive_ns_interface(w);
}

int derive(const struct opts *o, const struct host *h, struct conf *ret_conf, char err[DERIVE_ERR_LEN])
{
	struct work w = { .o = o, .h = h, .c = ret_conf, .err = err };

	if (check(&w))
		return -EINVAL;
	derive_process(&w);
	derive_services(&w);
	derive_mtu(&w);
	if (o->mode == CONF_PASTA)
		derive_ns(&w);
	if (o->splice_only)
		return 0;
	derive_network(&w);
	return check_gateways(&w);
}

static void family_again(const struct work *w, bool v4)
{
	struct nat_family *f = v4 ? &w->c->nat.v4 : &w->c->nat.v6;
	const struct addr *host = v4 ? &w->h->v4.addr : &w->h->v6.addr;

	if (!enabled(w->c, v4 ? &addr_any4 : &addr_any6))
		return;
	if (addr_is_set(host))
		f->host = *host;
	f->dns_forward = f->dns_host = unset;
	derive_maps(w, v4);
}

void derive_again(const struct opts *o, const struct host *h, struct conf *c)
{
	struct work w = { .o = o, .h = h, .c = c };
	struct guestconf *g = &c->guest;

	family_again(&w, true);
	family_again(&w, false);
	memset(g->dns4, 0, sizeof(g->dns4));
	memset(g->dns6, 0, sizeof(g->dns6));
	g->n_dns4 = g->n_dns6 = 0;
	derive_dns(&w);
}

static bool port_is_tcp(char letter)
{
	return letter == 't' || letter == 'T';
}

static bool port_is_outwards(char letter)
{
	return letter == 'T' || letter == 'U';
}

static int derive_port(const struct host *h, struct conf *c, const struct opt_port *p, char err[DERIVE_ERR_LEN])
{
	struct fwd_ctx ctx = {
		.opt = { '-', p->letter },
		.proto = port_is_tcp(p->letter) ? IPPROTO_TCP : IPPROTO_UDP,
		.v4 = c->v4,
		.v6 = c->v6,
		.pasta = c->mode == CONF_PASTA,
		.outwards = port_is_outwards(p->letter),
		.eph_first = h->eph_first,
		.eph_last = h->eph_last,
	};
	struct fwd_table *t = ctx.outwards ? &c->out_rules : &c->in;
	const char *name = ctx.proto == IPPROTO_TCP ? "TCP" : "UDP";
	unsigned before = t->n;
	char why[FWD_ERR_LEN];

	if (!(ctx.proto == IPPROTO_TCP ? c->tcp : c->udp) && strcmp(p->spec, "none"))
		return fail(err, "Port forwarding of %s, but %s is disabled: %s %s", name, name, ctx.opt, p->spec);
	if (fwd_parse(&ctx, p->spec, t, why))
		return fail(err, "%s", why);
	if (t->n == before && strcmp(p->spec, "none"))
		log_warn("Everything is excluded, no port is forwarded: %s %s", ctx.opt, p->spec);
	return 0;
}

static bool rule_opens(const struct fwd_rule *r, const struct bound_spec *at)
{
	struct bound_spec s = { .addr = r->addr, .port = at->port, .proto = r->proto, .dual = !!(r->flags & FWD_DUAL) };

	memcpy(s.dev, r->ifname, sizeof(s.dev));
	return !(r->flags & FWD_AT_PATH) && r->first <= at->port && at->port <= r->last && bound_serves(at, &s);
}

/* A socket of a service manager is forwarded to the port of its own number, unless a rule says otherwise. */
static int derive_passed(const struct host *h, struct conf *c, const struct bound_spec *at, char err[DERIVE_ERR_LEN])
{
	char addr[ADDR_STRLEN], spec[2 * ADDR_STRLEN];
	bool any = at->dual || (addr_is_any(&at->addr) && c->v4 != c->v6);

	for (unsigned i = 0; i < c->in.n; i++) {
		if (rule_opens(&c->in.rule[i], at))
			return 0;
	}
	snprintf(spec, sizeof(spec), addr_is4(&at->addr) || any ? "%s%s%.*s/%u" : "[%s]%s%.*s/%u",
		 any ? "*" : addr_fmt(&at->addr, addr), at->dev[0] ? "%" : "", BOUND_DEV_MAX, at->dev, at->port);
	return derive_port(h, c, &(struct opt_port){ .spec = spec, .letter = at->proto == IPPROTO_TCP ? 't' : 'u' }, err);
}

static bool port_given(const struct opts *o, char letter)
{
	for (unsigned i = 0; i < o->passed.ports; i++) {
		if (letter == (o->passed.port[i].at.proto == IPPROTO_TCP ? 't' : 'u'))
			return true;
	}
	for (unsigned i = 0; i < o->n_ports; i++) {
		if (o->port[i].letter == letter)
			return true;
	}
	return false;
}

int derive_ports(const struct opts *o, const struct host *h, struct conf *c, char err[DERIVE_ERR_LEN])
{
	c->in.freebind = o->freebind;
	c->eph_first = h->eph_first;
	c->eph_last = h->eph_last;
	for (unsigned i = 0; i < o->n_ports; i++) {
		if (derive_port(h, c, &o->port[i], err))
			return -EINVAL;
	}
	for (unsigned i = 0; i < o->passed.ports; i++) {
		if (derive_passed(h, c, &o->passed.port[i].at, err))
			return -EINVAL;
	}
	for (const char *l = c->mode == CONF_PASTA ? "tuTU" : ""; *l; l++) {
		if (port_given(o, *l) || !(port_is_tcp(*l) ? c->tcp : c->udp))
			continue;
		if (derive_port(h, c, &(struct opt_port){ .spec = "auto", .letter = *l }, err))
			return -EINVAL;
	}
	return 0;
}
