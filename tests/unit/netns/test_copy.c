/* SPDX-License-Identifier: MIT */
/* From messages of the host's kernel to the interface in the namespace. */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>

#include "netns/copy.h"
#include "shell.h"

#define IF_LO 1
#define IF_UP 2 /* the template */
#define IF_OTHER 3

static struct nsconf conf;
static struct nscopy k;
static char logged[SHELL_OUT_MAX];
static char buf[8192] __attribute__((aligned(8)));
static struct nlmsghdr *m;

static int setup(void **state)
{
	memset(&conf, 0, sizeof(conf));
	memset(&k, 0, sizeof(k));
	k.v4 = k.v6 = (struct nscopy_family){ .ifindex = IF_UP, .addrs = true, .routes = true };
	k.conf = &conf;
	logged[0] = '\0';
	return 0;
}

/* --- messages, as the kernel writes them --- */

static void *start(uint16_t type, size_t len)
{
	memset(buf, 0, sizeof(buf));
	m = mnl_nlmsg_put_header(buf);
	m->nlmsg_type = type;
	return mnl_nlmsg_put_extra_header(m, len);
}

/* From a block of the exact size, so that a read past the end is seen. */
static void feed(void)
{
	bool intr = false;
	char *exact = malloc(m->nlmsg_len);

	assert_non_null(exact);
	memcpy(exact, buf, m->nlmsg_len);
	assert_int_equal(nl_parse(exact, m->nlmsg_len, 0, &intr, nscopy_entry, &k), 0);
	free(exact);
}

static void put(uint16_t type, const char *text)
{
	struct addr a = ip(text);

	mnl_attr_put(m, type, addr_len(&a), addr_bytes(&a));
}

static void address(unsigned ifindex, const char *text, uint8_t plen, uint32_t flags)
{
	struct ifaddrmsg *i = start(RTM_NEWADDR, sizeof(*i));

	i->ifa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	i->ifa_prefixlen = plen;
	i->ifa_index = ifindex;
	i->ifa_scope = RT_SCOPE_UNIVERSE;
	put(IFA_ADDRESS, text);
	mnl_attr_put_u32(m, IFA_FLAGS, flags);
	feed();
}

/* Everything but the attributes beyond the destination. */
static struct rtmsg *route(const char *dst, uint8_t plen)
{
	struct rtmsg *t = start(RTM_NEWROUTE, sizeof(*t));

	t->rtm_family = strchr(dst, ':') ? AF_INET6 : AF_INET;
	t->rtm_dst_len = plen;
	t->rtm_table = RT_TABLE_MAIN;
	t->rtm_type = RTN_UNICAST;
	t->rtm_protocol = RTPROT_STATIC;
	if (plen)
		put(RTA_DST, dst);
	return t;
}

static void via(const char *gw, unsigned ifindex)
{
	if (gw)
		put(RTA_GATEWAY, gw);
	mnl_attr_put_u32(m, RTA_OIF, ifindex);
	feed();
}

struct hop {
	unsigned ifindex;
	const char *gw;
	uint8_t flags, hops;
};

static void multipath(const struct hop *h, unsigned n)
{
	struct nlattr *nest = mnl_attr_nest_start(m, RTA_MULTIPATH);

	for (unsigned i = 0; i < n; i++) {
		struct rtnexthop *nh = mnl_nlmsg_get_payload_tail(m);
		uint32_t at = m->nlmsg_len;

		nh->rtnh_ifindex = (int)h[i].ifindex;
		nh->rtnh_flags = h[i].flags;
		nh->rtnh_hops = h[i].hops;
		m->nlmsg_len += sizeof(*nh);
		if (h[i].gw)
			put(RTA_GATEWAY, h[i].gw);
		nh->rtnh_len = (uint16_t)(m->nlmsg_len - at);
	}
	mnl_attr_nest_end(m, nest);
	feed();
}

static void nexthop(uint32_t id, unsigned ifindex, const char *gw)
{
	struct nhmsg *n = start(RTM_NEWNEXTHOP, sizeof(*n));

	n->nh_family = gw && strchr(gw, ':') ? AF_INET6 : AF_INET;
	mnl_attr_put_u32(m, NHA_ID, id);
	if (gw)
		put(NHA_GATEWAY, gw);
	if (ifindex)
		mnl_attr_put_u32(m, NHA_OIF, ifindex);
	else
		mnl_attr_put(m, NHA_BLACKHOLE, 0, NULL);
	feed();
}

/* --- what came of it --- */

static void eq(const struct addr *a, const char *want)
{
	char text[ADDR_STRLEN];

	assert_string_equal(addr_fmt(a, text), want);
}

/* The route of this number: its text as in messages. */
static const struct nsconf_route *is(unsigned i, const char *want)
{
	static char text[NSCONF_ROUTE_STRLEN];

	assert_true(i < conf.n_routes);
	assert_string_equal(nsconf_route_fmt(&conf, &conf.route[i], text), want);
	return &conf.route[i];
}

static void finish(unsigned n_addrs, unsigned n_routes)
{
	nscopy_finish(&k);
	assert_int_equal(conf.n_addrs, n_addrs);
	assert_int_equal(conf.n_routes, n_routes);
	assert_true(nsconf_valid(&conf));
	assert_string_equal(logged, "");
	assert_int_equal(k.lost, 0);
}

static void test_ordinary(void **state)
{
	const struct nsconf_route *r;
	struct rtmsg *t;

	address(IF_LO, "127.0.0.1", 8, 0);
	address(IF_LO, "::1", 128, 0);
	address(IF_UP, "192.0.2.2", 24, IFA_F_PERMANENT);
	address(IF_UP, "2001:db8::2", 64, 0);
	address(IF_UP, "fe80::2", 64, 0);
	address(IF_OTHER, "198.51.100.2", 24, 0);
	route("0.0.0.0", 0);
	put(RTA_PREFSRC, "192.0.2.2");
	mnl_attr_put_u32(m, RTA_PRIORITY, 100);
	via("192.0.2.1", IF_UP);
	t = route("192.0.2.0", 24);
	t->rtm_scope = RT_SCOPE_LINK;
	t->rtm_protocol = RTPROT_KERNEL;
	via(NULL, IF_UP);
	route("198.51.100.0", 24);
	via(NULL, IF_OTHER);
	t = route("::", 0);
	t->rtm_protocol = RTPROT_RA;
	mnl_attr_put_u8(m, RTA_PREF, 1);
	via("fe80::1", IF_UP);
	route("fe80::", 64);
	via(NULL, IF_UP);
	t = route("ff00::", 8);
	t->rtm_type = RTN_MULTICAST;
	via(NULL, IF_UP);
	finish(2, 3);

	eq(&conf.addr[0].addr, "192.0.2.2");
	assert_int_equal(conf.addr[0].plen, 24);
	assert_true(conf.addr[0].no_prefix_route);
	eq(&conf.addr[1].addr, "2001:db8::2");
	r = is(0, "IPv4 default via 192.0.2.1");
	assert_int_equal(r->metric, 100);
	eq(&r->prefsrc, "192.0.2.2");
	r = is(1, "192.0.2.0/24");
	assert_int_equal(r->scope, RT_SCOPE_LINK);
	assert_int_equal(r->protocol, RTPROT_KERNEL);
	r = is(2, "IPv6 default via fe80::1");
	assert_int_equal(r->pref, 1);
	assert_int_equal(r->protocol, RTPROT_RA);
}

/* What was not asked for; a family without an interface. */
static void test_choice(void **state)
{
	k.v4.routes = false;
	k.v6.addrs = false;
	for (int i = 0; i < 2; i++) {
		conf.n_addrs = conf.n_routes = conf.n_hops = 0;
		address(IF_UP, "192.0.2.2", 24, 0);
		address(IF_UP, "2001:db8::2", 64, 0);
		route("0.0.0.0", 0);
		via("192.0.2.1", IF_UP);
		route("::", 0);
		via("fe80::1", IF_UP);
		if (i)
			finish(1, 0);
		else
			finish(1, 1);
		/* The kernel makes the route to the prefix then. */
		assert_false(conf.addr[0].no_prefix_route);
		k.v6.ifindex = 0;
	}
}

static void test_addresses(void **state)
{
	address(IF_UP, "192.0.2.2", 24, 0);
	address(IF_UP, "192.0.2.2", 24, 0);
	address(IF_UP, "192.0.2.3", 24, IFA_F_SECONDARY);
	address(IF_UP, "2001:db8::2", 64, IFA_F_DEPRECATED);
	address(IF_UP, "2001:db8::3", 64, IFA_F_DADFAILED);
	address(IF_UP, "2001:db8::4", 64, IFA_F_TEMPORARY | IFA_F_TENTATIVE);
	address(IF_UP, "169.254.7.7", 16, 0);
	finish(5, 0);
	assert_false(conf.addr[1].deprecated);
	assert_true(conf.addr[2].deprecated);
	eq(&conf.addr[3].addr, "2001:db8::4");
	eq(&conf.addr[4].addr, "169.254.7.7");
}

static void test_multipath(void **state)
{
	static const struct hop all[] = { { IF_UP, "192.0.2.1", 0, 0 }, { IF_UP, "192.0.2.9", RTNH_F_ONLINK, 9 } };
	static const struct hop some[] = { { IF_OTHER, "198.51.100.1", 0, 0 }, { IF_UP, "192.0.2.1", 0, 3 } };
	static const struct hop none[] = { { IF_OTHER, "198.51.100.1", 0, 0 }, { 4, "192.0.2.1", 0, 3 } };
	static const struct hop dead[] = { { IF_UP, "192.0.2.7", RTNH_F_DEAD, 0 }, { IF_UP, "192.0.2.8", RTNH_F_LINKDOWN, 0 } };
	static const struct hop all_dead[] = { { IF_UP, "192.0.2.7", RTNH_F_DEAD, 0 } };
	const struct nsconf_route *r;

	route("0.0.0.0", 0);
	multipath(all, 2);
	route("10.0.0.0", 8);
	multipath(some, 2);
	route("10.1.0.0", 16);
	multipath(none, 2);
	route("10.2.0.0", 16);
	multipath(dead, 2);
	route("10.3.0.0", 16);
	multipath(all_dead, 1);
	finish(0, 4);
	r = is(0, "IPv4 default via 192.0.2.1 and 1 more");
	assert_int_equal(conf.hop[r->hop].weight, 1);
	assert_false(conf.hop[r->hop].onlink);
	assert_int_equal(conf.hop[r->hop + 1].weight, 10);
	assert_true(conf.hop[r->hop + 1].onlink);
	is(1, "10.0.0.0/8 via 192.0.2.1");
	is(2, "10.2.0.0/16 via 192.0.2.8");
	is(3, "10.3.0.0/16 via 192.0.2.7");
}

static void test_too_many_hops(void **state)
{
	struct hop h[NL_HOPS + 1];

	for (unsigned i = 0; i < ARRAY_SIZE(h); i++)
		h[i] = (struct hop){ IF_UP, "192.0.2.1", 0, (uint8_t)i };
	route("0.0.0.0", 0);
	multipath(h, NL_HOPS);
	assert_string_equal(logged, "");
	route("0.0.0.0", 0);
	multipath(h, NL_HOPS + 1);
	assert_string_equal(logged, "Not all hops of a route are copied: there are too many\n");
	assert_int_equal(conf.route[1].n_hops, NL_HOPS);
}

static void test_nexthops(void **state)
{
	struct nexthop_grp g[] = { { .id = 1, .weight = 4 }, { .id = 2 }, { .id = 99 } };
	const struct nsconf_route *r;
	struct nhmsg *n;

	nexthop(1, IF_UP, "192.0.2.1");
	nexthop(2, IF_UP, "fe80::1");
	nexthop(3, 0, NULL);
	nexthop(4, IF_OTHER, "192.0.2.1");
	n = start(RTM_NEWNEXTHOP, sizeof(*n));
	mnl_attr_put_u32(m, NHA_ID, 5);
	mnl_attr_put(m, NHA_GROUP, sizeof(g), g);
	feed();
	for (uint32_t id = 1; id <= 6; id++) {
		char dst[16];

		snprintf(dst, sizeof(dst), "10.%u.0.0", id);
		route(dst, 16);
		mnl_attr_put_u32(m, RTA_NH_ID, id);
		feed();
	}
	finish(0, 4);
	is(0, "10.1.0.0/16 via 192.0.2.1");
	is(1, "10.2.0.0/16 via fe80::1");
	is(2, "blackhole 10.3.0.0/16");
	r = is(3, "10.5.0.0/16 via 192.0.2.1 and 1 more");
	assert_int_equal(conf.hop[r->hop].weight, 5);
}

/* What there is no room for is told about, once a route needs it; those of other interfaces take none. */
static void test_too_many_nexthops(void **state)
{
	struct nexthop_grp g[] = { { .id = 1 }, { .id = 1001 } };
	struct nhmsg *n;

	for (uint32_t id = 100; id < 200; id++)
		nexthop(id, IF_OTHER, "192.0.2.1");
	for (uint32_t id = 1; id <= NSCOPY_NEXTHOPS - 1; id++)
		nexthop(id, IF_UP, "192.0.2.1");
	n = start(RTM_NEWNEXTHOP, sizeof(*n));
	mnl_attr_put_u32(m, NHA_ID, 1000);
	mnl_attr_put(m, NHA_GROUP, sizeof(g), g);
	feed();
	route("10.1.0.0", 16);
	mnl_attr_put_u32(m, RTA_NH_ID, 1001);
	feed();
	assert_string_equal(logged, "");

	nexthop(1001, IF_UP, "192.0.2.2");
	route("10.1.0.0", 16);
	mnl_attr_put_u32(m, RTA_NH_ID, 1001);
	feed();
	assert_string_equal(logged, "Route to 10.1.0.0/16 is not copied: there are too many nexthop objects\n");
	logged[0] = '\0';
	route("10.2.0.0", 16);
	mnl_attr_put_u32(m, RTA_NH_ID, 1000);
	feed();
	assert_string_equal(logged, "Not all hops of a route are copied: there are too many\n");
	assert_int_equal(k.lost, 1);
	assert_int_equal(conf.n_routes, 1);
	is(0, "10.2.0.0/16 via 192.0.2.1");
}

static void test_attributes_left_out(void **state)
{
	const struct hop h[] = { { IF_UP, "192.0.2.1", 0, 0 } };
	struct nlattr *nest;

	route("10.1.0.0", 16);
	via("192.0.2.1", IF_UP);
	finish(0, 1);
	assert_string_equal(logged, "");
	route("10.2.0.0", 16);
	mnl_attr_put_u32(m, RTA_FLOW, 5);
	via("192.0.2.1", IF_UP);
	route("10.3.0.0", 16);
	nest = mnl_attr_nest_start(m, RTA_METRICS);
	mnl_attr_put_u32(m, RTAX_MTU, 1400);
	mnl_attr_put_strz(m, RTAX_CC_ALGO, "reno");
	mnl_attr_nest_end(m, nest);
	multipath(h, 1);
	route("10.4.0.0", 16);
	mnl_attr_put_u32(m, RTA_FLOW, 5);
	via("192.0.2.1", IF_OTHER);
	nscopy_finish(&k);
	assert_string_equal(logged, "Congestion control algorithms and realms of routes are not copied (of 2)\n");
	assert_int_equal(conf.n_routes, 3);
	assert_int_equal(conf.route[2].metrics[RTAX_MTU], 1400);
	assert_int_equal(k.lost, 0);
}

static void test_odd(void **state)
{
	const struct nsconf_route *r;
	static const struct {
		uint16_t family;
		uint8_t gw[16];
	} other = { AF_INET6, { 0xfe, 0x80, [15] = 7 } };
	struct nlattr *nest;
	struct rtmsg *t;

	/* IPv4 by way of an IPv6 router. */
	route("0.0.0.0", 0);
	mnl_attr_put(m, RTA_VIA, 18, &other);
	via(NULL, IF_UP);
	/* No router, metrics of all kinds. */
	t = route("10.0.0.0", 8);
	t->rtm_tos = 0x10;
	nest = mnl_attr_nest_start(m, RTA_METRICS);
	mnl_attr_put_u32(m, RTAX_MTU, 1400);
	mnl_attr_put_u32(m, RTAX_INITCWND, 20);
	mnl_attr_nest_end(m, nest);
	via(NULL, IF_UP);
	/* Nowhere: on no interface; the kernel's own is everywhere. */
	t = route("10.1.0.0", 16);
	t->rtm_type = RTN_BLACKHOLE;
	feed();
	t = route("2001:db8:bad::", 48);
	t->rtm_type = RTN_UNREACHABLE;
	via(NULL, IF_LO);
	t = route("::", 0);
	t->rtm_type = RTN_UNREACHABLE;
	t->rtm_protocol = RTPROT_KERNEL;
	via(NULL, IF_LO);
	/* For packets from one place only; for many receivers. */
	t = route("::", 0);
	t->rtm_src_len = 48;
	put(RTA_SRC, "2001:db8:1::");
	via("fe80::1", IF_UP);
	route("224.0.0.0", 4);
	via(NULL, IF_UP);
	/* 0.0.0.0 as a gateway is none. An entry of a cache is no route. */
	t = route("10.2.0.0", 16);
	t->rtm_flags = RTNH_F_ONLINK;
	via("0.0.0.0", IF_UP);
	t = route("2001:db8::7", 128);
	t->rtm_flags = RTM_F_CLONED;
	via("fe80::1", IF_UP);
	t = route("192.0.2.2", 32);
	t->rtm_type = RTN_LOCAL;
	via(NULL, IF_UP);
	finish(0, 7);

	is(0, "IPv4 default via fe80::7");
	is(1, "10.0.0.0/8");
	assert_int_equal(conf.route[1].tos, 0x10);
	assert_int_equal(conf.route[1].metrics[RTAX_MTU], 1400);
	assert_int_equal(conf.route[1].metrics[RTAX_INITCWND], 20);
	is(2, "blackhole 10.1.0.0/16");
	is(3, "unreachable 2001:db8:bad::/48");
	r = is(4, "IPv6 default via fe80::1");
	assert_int_equal(r->src_plen, 48);
	eq(&r->src, "2001:db8:1::");
	is(5, "224.0.0.0/4");
	is(6, "10.2.0.0/16");
}

/* A source that belongs to another interface comes along; one that nobody has doesn't. */
static void test_source(void **state)
{
	address(IF_LO, "203.0.113.1", 32, 0);
	address(IF_OTHER, "198.51.100.2", 24, 0);
	address(IF_UP, "192.0.2.2", 24, 0);
	route("0.0.0.0", 0);
	put(RTA_PREFSRC, "203.0.113.1");
	via("192.0.2.1", IF_UP);
	route("10.0.0.0", 8);
	put(RTA_PREFSRC, "203.0.113.99");
	via("192.0.2.1", IF_UP);
	finish(2, 2);
	eq(&conf.addr[1].addr, "203.0.113.1");
	assert_int_equal(conf.addr[1].plen, 32);
}

/* Tables that rules choose: nothing but a default route, and only if there is no other. */
static void test_tables(void **state)
{
	for (int main_too = 0; main_too < 2; main_too++) {
		setup(NULL);
		for (uint32_t i = 0; i < 3; i++) {
			static const uint32_t metric[] = { 7, 5, 6 };
			char gw[16];

			route("0.0.0.0", 0)->rtm_table = RT_TABLE_COMPAT;
			mnl_attr_put_u32(m, RTA_TABLE, 51820 + i);
			mnl_attr_put_u32(m, RTA_PRIORITY, metric[i]);
			snprintf(gw, sizeof(gw), "10.0.0.%u", i + 1);
			via(gw, IF_UP);
		}
		route("10.5.0.0", 16)->rtm_table = 100;
		via("10.0.0.1", IF_UP);
		route("0.0.0.0", 0)->rtm_table = 100;
		via("10.0.0.9", IF_OTHER);
		if (main_too) {
			route("0.0.0.0", 0);
			via("192.0.2.1", IF_UP);
		}
		finish(0, 1);
		is(0, main_too ? "IPv4 default via 192.0.2.1" : "IPv4 default via 10.0.0.2");
	}
}

static void test_lost(void **state)
{
	char text[32];

	route("10.0.0.0", 8);
	mnl_attr_put_u16(m, RTA_ENCAP_TYPE, 1);
	mnl_attr_put_u32(m, RTA_ENCAP, 0);
	via("192.0.2.1", IF_UP);
	assert_string_equal(logged, "Route to 10.0.0.0/8 is not copied: it leads through a tunnel\n");
	assert_int_equal(k.lost, 1);

	setup(NULL);
	for (unsigned i = 0; i <= NSCONF_ROUTES; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.0", i / 256, i % 256);
		route(text, 24);
		via("192.0.2.1", IF_UP);
	}
	is(NSCONF_ROUTES - 1, "10.1.255.0/24 via 192.0.2.1");
	/* Nothing works without default routes. */
	for (unsigned i = 0; i < 2; i++) {
		route("::", 0);
		via("fe80::1", IF_UP);
	}
	is(NSCONF_ROUTES - 1, "IPv6 default via fe80::1");
	assert_string_equal(logged, "");
	assert_int_equal(k.lost, 3);
	nscopy_finish(&k);
	assert_true(nsconf_valid(&conf));
	assert_string_equal(logged, "There are too many routes: 3 of them are not copied\n");

	setup(NULL);
	for (unsigned i = 0; i <= NSCONF_ADDRS; i++) {
		assert_string_equal(logged, "");
		snprintf(text, sizeof(text), "10.0.0.%u", i + 1);
		address(IF_UP, text, 24, 0);
	}
	assert_string_equal(logged, "Address 10.0.0.65/24 is not copied: there are too many\n");
}

/* Whatever this machine has. */
static void test_host(void **state)
{
	k.v4.ifindex = k.v6.ifindex = IF_LO;
	nscopy_host(&k);
	assert_true(nsconf_valid(&conf));
	nscopy_host(&k);
	assert_true(nsconf_valid(&conf));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_ordinary, setup),
		cmocka_unit_test_setup(test_choice, setup),
		cmocka_unit_test_setup(test_addresses, setup),
		cmocka_unit_test_setup(test_multipath, setup),
		cmocka_unit_test_setup(test_too_many_hops, setup),
		cmocka_unit_test_setup(test_nexthops, setup),
		cmocka_unit_test_setup(test_too_many_nexthops, setup),
		cmocka_unit_test_setup(test_attributes_left_out, setup),
		cmocka_unit_test_setup(test_odd, setup),
		cmocka_unit_test_setup(test_source, setup),
		cmocka_unit_test_setup(test_tables, setup),
		cmocka_unit_test_setup(test_lost, setup),
		cmocka_unit_test_setup(test_host, setup),
	};

	log_set_sink(log_keep, logged);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
