/* SPDX-License-Identifier: MIT */
/* Choice of the template interface, its address and its static routes. */
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "conf/discover.h"

static struct addr A(const char *s) {
	struct addr a = addr_any6;

	if (s)
		assert_int_equal(addr_parse(s, &a), 0);
	return a;
}

static void
eq(const struct addr *a, const char *want)
{
	char buf[ADDR_STRLEN];

	assert_string_equal(addr_fmt(a, buf), want);
}

/* A plain route in the main table. */
static struct nl_entry route(const char *dst, unsigned plen, const char *gw, unsigned oif, uint32_t metric)
{
	struct nl_entry e = { .kind = NL_ROUTE };

	e.route = (struct nl_route){
		.dst = A(dst), .plen = (uint8_t)plen, .type = RTN_UNICAST, .table = RT_TABLE_MAIN, .metric = metric
	};
	e.route.v6 = !addr_is4(&e.route.dst);
	e.route.n_hops = 1;
	e.route.hop[0] = (struct nl_hop){ .oif = oif, .gw = A(gw) };
	return e;
}

static struct nl_entry address(unsigned ifindex, const char *addr, unsigned plen, uint32_t flags)
{
	struct nl_entry e = { .kind = NL_ADDR };

	e.addr = (struct nl_addr){ .ifindex = ifindex, .addr = A(addr), .plen = (uint8_t)plen, .flags = flags };
	return e;
}

static void feed(struct pick *p, struct nl_entry e)
{
	pick_route(p, &e);
}

static void feed_addr(struct pick_addr *p, struct nl_entry e)
{
	pick_addr(p, &e);
}

static void feed_static(struct pick_static *p, struct nl_entry e)
{
	pick_static(p, &e);
}

static void test_default(void **state)
{
	struct pick p = { 0 };

	feed(&p, route("192.0.2.0", 24, NULL, 5, 0));
	assert_int_equal(p.ifindex, 5); /* better than nothing */
	eq(&p.gw, "::");
	feed(&p, route("0.0.0.0", 0, "192.0.2.1", 2, 600));
	assert_int_equal(p.ifindex, 2);
	feed(&p, route("0.0.0.0", 0, "198.51.100.1", 3, 100));
	assert_int_equal(p.ifindex, 3);
	eq(&p.gw, "198.51.100.1");
	feed(&p, route("0.0.0.0", 0, "203.0.113.1", 4, 100)); /* the first wins */
	feed(&p, route("10.0.0.0", 8, "203.0.113.1", 4, 0));
	assert_int_equal(p.ifindex, 3);
}

static void test_unusable(void **state)
{
	struct pick p = { 0 };
	struct nl_entry e;

	feed(&p, route("169.254.0.0", 16, NULL, 2, 0));
	feed(&p, route("fe80::", 64, NULL, 2, 0));
	feed(&p, route("ff00::", 8, NULL, 2, 0));
	feed(&p, route("127.0.0.0", 8, NULL, 2, 0));
	feed(&p, route("::", 0, NULL, 1, 0)); /* lo */
	e = route("0.0.0.0", 0, NULL, 2, 0);
	e.route.type = RTN_UNREACHABLE;
	feed(&p, e);
	e = route("0.0.0.0", 0, NULL, 2, 0);
	e.route.flags = RTM_F_CLONED;
	feed(&p, e);
	e = route("0.0.0.0", 0, NULL, 2, 0);
	e.route.n_hops = 0;
	feed(&p, e);
	feed(&p, address(2, "10.0.0.1", 24, 0));
	assert_int_equal(p.ifindex, 0);
}

static void test_order(void **state)
{
	struct nl_entry down = route("0.0.0.0", 0, "10.0.0.1", 2, 0), vpn = route("0.0.0.0", 0, NULL, 3, 0);
	struct pick p = { 0 };

	vpn.route.table = 51820;
	down.route.hop[0].flags = RTNH_F_LINKDOWN;
	feed(&p, route("10.0.0.0", 8, NULL, 9, 0));
	feed(&p, vpn);
	assert_int_equal(p.ifindex, 3);
	feed(&p, down);
	assert_int_equal(p.ifindex, 2);
	feed(&p, route("0.0.0.0", 0, "10.0.0.1", 4, 4000000000u));
	assert_int_equal(p.ifindex, 4);
	feed(&p, vpn);
	assert_int_equal(p.ifindex, 4);
}

static void test_only_if(void **state)
{
	struct pick p = { .only_if = 6 };
	struct nl_entry multi = route("0.0.0.0", 0, "10.0.0.1", 2, 0);

	feed(&p, multi);
	assert_int_equal(p.ifindex, 0);
	multi.route.n_hops = 2;
	multi.route.hop[1] = (struct nl_hop){ .oif = 6, .gw = A("10.6.0.1") };
	feed(&p, multi);
	assert_int_equal(p.ifindex, 6);
	eq(&p.gw, "10.6.0.1");
}

static void test_multipath(void **state)
{
	struct nl_entry multi = route("0.0.0.0", 0, "10.0.0.1", 2, 0);
	struct pick p = { 0 };

	multi.route.n_hops = 3;
	multi.route.hop[0].flags = RTNH_F_DEAD;
	multi.route.hop[1] = (struct nl_hop){ .oif = 1 };
	multi.route.hop[2] = (struct nl_hop){ .oif = 4, .gw = A("10.4.0.1") };
	feed(&p, multi);
	assert_int_equal(p.ifindex, 4);
	eq(&p.gw, "10.4.0.1");
}

static void test_nexthops(void **state)
{
	struct nl_entry r = route("0.0.0.0", 0, NULL, 0, 0);
	struct nl_entry nh = { .kind = NL_NEXTHOP };
	struct nexthops t = { 0 };
	struct pick p = { .nexthops = &t };

	nh.nexthop = (struct nl_nexthop){ .id = 7, .hop = { .oif = 3, .gw = A("10.0.0.1") } };
	pick_nexthop(&t, &nh);
	nh.nexthop = (struct nl_nexthop){ .id = 8, .group = { 99, 7 }, .n_group = 2 };
	pick_nexthop(&t, &nh);
	assert_int_equal(t.n, 2);

	r.route.n_hops = 0;
	r.route.nh_id = 5; /* not there */
	feed(&p, r);
	assert_int_equal(p.ifindex, 0);
	r.route.nh_id = 7;
	r.route.metric = 9;
	feed(&p, r);
	assert_int_equal(p.ifindex, 3);
	p.ifindex = 0;
	r.route.nh_id = 8;
	feed(&p, r);
	assert_int_equal(p.ifindex, 3);
	eq(&p.gw, "10.0.0.1");

	/* More objects than there is room for. */
	for (unsigned i = 0; i < 2 * DISCOVER_NEXTHOPS; i++)
		pick_nexthop(&t, &nh);
	assert_int_equal(t.n, DISCOVER_NEXTHOPS);
}

static void test_address(void **state)
{
	struct pick_addr p = { .ifindex = 2 };
	struct nl_entry link;

	feed_addr(&p, address(3, "10.3.0.1", 24, 0));
	feed_addr(&p, address(2, "127.0.0.2", 8, 0));
	eq(&p.addr, "::");
	link = address(2, "169.254.7.7", 16, 0);
	link.addr.scope = RT_SCOPE_LINK;
	feed_addr(&p, link);
	eq(&p.addr, "169.254.7.7");
	feed_addr(&p, address(2, "10.0.0.2", 24, IFA_F_SECONDARY));
	eq(&p.addr, "10.0.0.2");
	feed_addr(&p, address(2, "10.0.0.3", 25, IFA_F_PERMANENT));
	eq(&p.addr, "10.0.0.3");
	assert_int_equal(p.plen, 25);
	feed_addr(&p, address(2, "10.0.0.4", 24, IFA_F_PERMANENT));
	eq(&p.addr, "10.0.0.3");
}

static void test_address6(void **state)
{
	struct pick_addr p = { .ifindex = 2 };

	feed_addr(&p, address(2, "fe80::2", 64, 0));
	eq(&p.addr, "::");
	feed_addr(&p, address(2, "2001:db8::d", 64, IFA_F_TENTATIVE));
	eq(&p.addr, "2001:db8::d");
	feed_addr(&p, address(2, "2001:db8::a", 64, IFA_F_DEPRECATED));
	eq(&p.addr, "2001:db8::a");
	feed_addr(&p, address(2, "2001:db8::b", 64, IFA_F_TEMPORARY));
	eq(&p.addr, "2001:db8::b");
	feed_addr(&p, address(2, "fd00::c", 64, IFA_F_PERMANENT));
	eq(&p.addr, "fd00::c");
	feed_addr(&p, address(2, "2001:db8::e", 64, IFA_F_MANAGETEMPADDR));
	eq(&p.addr, "2001:db8::e");
}

/* "ip route add default dev eth0 src ADDR", with ADDR on lo. */
static void test_prefsrc(void **state)
{
	struct nl_entry e = route("0.0.0.0", 0, NULL, 2, 0);
	struct pick_addr a = { .ifindex = 2 };
	struct pick p = { 0 };

	e.route.prefsrc = A("203.0.113.9");
	feed(&p, e);
	a.prefsrc = p.prefsrc;
	feed_addr(&a, address(1, "203.0.113.9", 32, IFA_F_PERMANENT));
	eq(&a.addr, "203.0.113.9");
	feed_addr(&a, address(2, "10.0.0.2", 24, IFA_F_PERMANENT));
	eq(&a.addr, "203.0.113.9");
	/* ... but not at any price. */
	a = (struct pick_addr){ .ifindex = 2, .prefsrc = p.prefsrc };
	feed_addr(&a, address(2, "203.0.113.9", 32, IFA_F_DEPRECATED));
	feed_addr(&a, address(2, "10.0.0.2", 24, IFA_F_PERMANENT));
	eq(&a.addr, "10.0.0.2");
}

static void test_static(void **state)
{
	struct pick_static p = { .ifindex = 2, .addr = A("10.0.0.2"), .plen = 24 };
	struct nl_entry other = route("10.7.0.0", 16, "10.0.0.7", 2, 0);

	other.route.table = 100;
	feed_static(&p, route("0.0.0.0", 0, "10.0.0.1", 2, 0));
	feed_static(&p, route("10.0.0.0", 24, NULL, 2, 0)); /* its own network */
	feed_static(&p, route("169.254.0.0", 16, NULL, 2, 0));
	feed_static(&p, route("10.8.0.0", 16, NULL, 3, 0)); /* elsewhere */
	feed_static(&p, route("2001:db8::", 32, NULL, 2, 0));
	feed_static(&p, other);
	assert_int_equal(p.n, 0);
	feed_static(&p, route("10.5.0.0", 16, "10.0.0.5", 2, 0));
	feed_static(&p, route("10.6.0.0", 16, NULL, 2, 0));
	feed_static(&p, route("10.0.0.0", 8, NULL, 2, 0));
	assert_int_equal(p.n, 3);
	eq(&p.route[0].dst, "10.5.0.0");
	eq(&p.route[0].gw, "10.0.0.5");
	eq(&p.route[1].gw, "::");
	assert_int_equal(p.route[2].plen, 8);
	for (int i = 0; i < 40; i++)
		feed_static(&p, route("10.5.0.0", 16, "10.0.0.5", 2, 0));
	assert_int_equal(p.n, GUESTCONF_ROUTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default), cmocka_unit_test(test_unusable),  cmocka_unit_test(test_order),
		cmocka_unit_test(test_only_if), cmocka_unit_test(test_multipath), cmocka_unit_test(test_nexthops),
		cmocka_unit_test(test_address), cmocka_unit_test(test_address6),  cmocka_unit_test(test_prefsrc),
		cmocka_unit_test(test_static),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
