/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>

#include "base/log.h"
#include "conf/conf.h"

#define RULE_STRLEN 256

static void print_addr(const char *what, const struct addr *a)
{
	char buf[ADDR_STRLEN];

	if (addr_is_set(a))
		log_info("    %s: %s", what, addr_fmt(a, buf));
}

static void print_template(const struct conf *c)
{
	if (c->template4[0])
		log_info("Template interface: %s (IPv4)", c->template4);
	if (c->template6[0])
		log_info("Template interface: %s (IPv6)", c->template6);
}

static void print_outbound(const struct outbound *o)
{
	char buf[ADDR_STRLEN];

	if (o->if4[0])
		log_info("Outbound interface: %s (IPv4)", o->if4);
	if (o->if6[0])
		log_info("Outbound interface: %s (IPv6)", o->if6);
	if (addr_is_set(&o->addr4))
		log_info("Outbound address: %s", addr_fmt(&o->addr4, buf));
	if (addr_is_set(&o->addr6))
		log_info("Outbound address: %s", addr_fmt(&o->addr6, buf));
}

static void print_nat(const struct nat_family *f, const char *loopback)
{
	char a[ADDR_STRLEN], b[ADDR_STRLEN];

	if (addr_is_set(&f->map_loopback))
		log_info("NAT to host %s: %s", loopback, addr_fmt(&f->map_loopback, a));
	if (addr_is_set(&f->map_guest) && addr_is_set(&f->host))
		log_info("NAT to host %s: %s", addr_fmt(&f->host, b), addr_fmt(&f->map_guest, a));
	if (addr_is_set(&f->dns_forward) && addr_is_set(&f->dns_host))
		log_info("DNS forward to host %s: %s", addr_fmt(&f->dns_host, b), addr_fmt(&f->dns_forward, a));
}

/* Programs look for these very lines. */
static void print_dhcp(const struct guestconf *g)
{
	uint32_t mask = g->plen4 ? UINT32_MAX << (32 - g->plen4) : 0;

	log_info("DHCP:");
	print_addr("assign", &g->addr4);
	log_info("    mask: %u.%u.%u.%u", mask >> 24, mask >> 16 & 0xff, mask >> 8 & 0xff, mask & 0xff);
	print_addr("router", &g->gw4);
}

static void print_ndp(const struct guestconf *g)
{
	log_info("%s%s%s:", g->ndp ? "NDP" : "", g->ndp && g->dhcp6 ? "/" : "", g->dhcp6 ? "DHCPv6" : "");
	print_addr("assign", &g->addr6);
	print_addr("router", addr_is_set(&g->gw6) ? &g->gw6 : &g->our_ll6);
	print_addr("our link-local", &g->our_ll6);
}

static void print_dns(const struct guestconf *g, const struct addr *dns, unsigned n, bool search)
{
	char buf[ADDR_STRLEN];

	if (g->dns && n) {
		log_info("DNS:");
		for (unsigned i = 0; i < n; i++)
			log_info("    %s", addr_fmt(&dns[i], buf));
	}
	if (!search || !g->search_on || !g->n_search)
		return;
	log_info("DNS search list:");
	for (unsigned i = 0; i < g->n_search; i++)
		log_info("    %s", g->search[i]);
}

static void print_rules(const char *what, const struct fwd_table *t)
{
	char buf[RULE_STRLEN];

	if (!t->n)
		return;
	log_info("%s:", what);
	for (unsigned i = 0; i < t->n; i++)
		log_info("    %s %s", t->rule[i].proto == IPPROTO_TCP ? "TCP" : "UDP", fwd_rule_fmt(&t->rule[i], buf, sizeof(buf)));
}

static void print_mac(const struct conf *c)
{
	char mac[MAC_STRLEN];

	log_info("MAC:");
	log_info("    host: %s", mac_fmt(c->guest.our_mac, mac));
	if (c->mode == CONF_PASTA && !mac_is_zero(c->guest_mac))
		log_info("    namespace: %s", mac_fmt(c->guest_mac, mac));
}

static void print_network(const struct conf *c)
{
	const struct guestconf *g = &c->guest;

	print_template(c);
	print_outbound(&c->out);
	if (c->mode == CONF_PASTA)
		log_info("Namespace interface: %s", c->ns.ifname);
	print_mac(c);
	print_nat(&c->nat.v4, "127.0.0.1");
	print_nat(&c->nat.v6, "::1");
	if (g->dhcp)
		print_dhcp(g);
	if (c->v4)
		print_dns(g, g->dns4, g->n_dns4, true);
	if (g->ndp || g->dhcp6)
		print_ndp(g);
	if (c->v6)
		print_dns(g, g->dns6, g->n_dns6, !c->v4);
}

void conf_print(const struct conf *c)
{
	if (!c->ns.splice_only)
		print_network(c);
	print_rules("Inbound forwarding rules (HOST)", &c->in);
	print_rules("Outbound forwarding rules (SPLICE)", &c->out_rules);
}
