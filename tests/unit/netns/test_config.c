/* SPDX-License-Identifier: MIT */
/* Interfaces in network namespaces, really set up; iproute2 tells what came of it. Argument: who does it (as.h). */
#include <errno.h>
#include <linux/rtnetlink.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "as.h"
#include "netns/config.h"
#include "shell.h"

static struct nsconf c;
static struct nsconf_result r;
static char logged[SHELL_OUT_MAX];

/* A new network namespace, with an interface that is connected to somewhere. */
static int setup(void **state)
{
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_string_equal(shell("ip link add name eth0 type veth peer name far && ip link set far up"), "");
	memset(&c, 0, sizeof(c));
	memcpy(c.name, "eth0", 5);
	logged[0] = '\0';
	return 0;
}

static struct nsconf_addr *addr(const char *text, uint8_t plen)
{
	struct nsconf_addr *a = &c.addr[c.n_addrs++];

	*a = (struct nsconf_addr){ .addr = ip(text), .plen = plen };
	return a;
}

/* gw NULL: none. */
static struct nsconf_route *route(const char *dst, uint8_t plen, const char *gw)
{
	const struct nsconf_route to = { .dst = ip(dst), .plen = plen, .type = RTN_UNICAST, .protocol = RTPROT_STATIC };
	const struct nsconf_hop hop = { .gw = gw ? ip(gw) : addr_any6, .weight = 1 };

	assert_int_equal(nsconf_route_add(&c, &to, &hop, 1), 0);
	c.route[c.n_routes - 1].scope = gw || strchr(dst, ':') ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	return &c.route[c.n_routes - 1];
}

static void apply(void)
{
	assert_int_equal(nsconf_apply(&c, &r), 0);
	nsconf_log(&c, &r);
	assert_string_equal(logged, "");
	assert_int_equal(r.n_warnings, 0);
}

static void has(const char *text, const char *part)
{
	if (!strstr(text, part))
		print_error("\"%s\" is not in:\n%s\n", part, text);
	assert_non_null(strstr(text, part));
}

static void test_link(void **state)
{
	static const uint8_t mac[MAC_LEN] = { 2, 0, 0, 0, 0xab, 1 };

	memcpy(c.rename, "ens3", 5);
	memcpy(c.mac, mac, MAC_LEN);
	c.has_mac = 1;
	c.mtu = 9000;
	c.txqlen = 1234;
	apply();
	has(shell("ip -o link show dev ens3"), ",UP,LOWER_UP> mtu 9000 ");
	has(shell("ip -o link show dev ens3"), " qlen 1234");
	has(shell("ip -o link show dev ens3"), "link/ether 02:00:00:00:ab:01 ");
	has(shell("ip -o link show dev lo"), "<LOOPBACK,UP,LOWER_UP>");
	assert_string_equal(shell("cat /proc/sys/net/ipv6/conf/ens3/accept_ra"), "0\n");
	/* Of its address, and of nothing else: the kernel makes none, and there is no waiting. */
	has(shell("ip -6 -o addr show dev ens3"), "inet6 fe80::ff:fe00:ab01/64 scope link");
	assert_null(strstr(shell("ip -6 -o addr show dev ens3"), "tentative"));
}

static void test_addresses(void **state)
{
	addr("192.0.2.2", 24);
	addr("198.51.100.9", 32);
	addr("203.0.113.1", 31);
	addr("2001:db8::2", 64);
	addr("2001:db8:1::2", 128)->deprecated = 1;
	apply();
	has(shell("ip -4 -o addr"), "inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0");
	has(shell("ip -4 -o addr"), "inet 198.51.100.9/32 scope global eth0");
	has(shell("ip -4 -o addr"), "inet 203.0.113.1/31 scope global eth0");
	has(shell("ip -6 -o addr"), "inet6 2001:db8::2/64 scope global");
	has(shell("ip -6 -o addr"), "inet6 2001:db8:1::2/128 scope global nodad deprecated");
	assert_null(strstr(shell("ip -6 -o addr show dev eth0"), "tentative"));
	/* Usable at once: an address that is still being tested can't be bound to. */
	has(shell("ip -4 route"), "192.0.2.0/24 dev eth0");
	has(shell("ip -6 route"), "2001:db8::/64 dev eth0");
}

/* Copied routes, with those to the prefixes among them. */
static void test_copied(void **state)
{
	addr("192.0.2.2", 24)->no_prefix_route = 1;
	addr("2001:db8::2", 64)->no_prefix_route = 1;
	route("0.0.0.0", 0, "192.0.2.1")->metric = 100;
	route("192.0.2.0", 24, NULL)->prefsrc = ip("192.0.2.2");
	route("::", 0, "2001:db8::1")->metric = 1024;
	route("2001:db8::", 64, NULL)->metric = 256;
	apply();
	assert_string_equal(shell("ip -4 route"), "default via 192.0.2.1 dev eth0 proto static metric 100 \n"
						  "192.0.2.0/24 dev eth0 proto static scope link src 192.0.2.2 \n");
	has(shell("ip -6 route"), "2001:db8::/64 dev eth0 proto static metric 256");
	has(shell("ip -6 route"), "default via 2001:db8::1 dev eth0 proto static metric 1024");
	assert_string_equal(shell("ip -4 route show 192.0.2.0/24 | wc -l"), "1\n");
}

/* Each leads to the gateway of the one before it. */
static void test_order(void **state)
{
	addr("192.0.2.2", 32);
	addr("2001:db8::2", 128);
	route("0.0.0.0", 0, "10.0.0.1");
	route("10.0.0.1", 32, NULL);
	route("::", 0, "2001:db8:f::1");
	route("2001:db8:f::1", 128, NULL);
	apply();
	assert_string_equal(shell("ip -4 route"), "default via 10.0.0.1 dev eth0 proto static \n"
						  "10.0.0.1 dev eth0 proto static scope link \n");
	has(shell("ip -6 route"), "default via 2001:db8:f::1 dev eth0 proto static");
	assert_null(strstr(shell("ip route; ip -6 route"), "onlink"));
}

/* No route leads there, so it is taken to be on the link. */
static void test_gateway_nowhere(void **state)
{
	addr("192.0.2.2", 24);
	addr("2001:db8::2", 64);
	route("0.0.0.0", 0, "10.0.0.1");
	route("::", 0, "2001:db8:f::1");
	apply();
	has(shell("ip -4 route"), "default via 10.0.0.1 dev eth0 proto static onlink");
	has(shell("ip -6 route"), "default via 2001:db8:f::1 dev eth0 proto static metric 1024 onlink");
}

static void nowhere(const char *dst, uint8_t plen, uint8_t type)
{
	const struct nsconf_route to = { .dst = ip(dst), .plen = plen, .type = type, .protocol = RTPROT_STATIC };

	assert_int_equal(nsconf_route_add(&c, &to, NULL, 0), 0);
}

static void test_odd_routes(void **state)
{
	struct nsconf_route *to;
	const struct nsconf_route multi4 = {
		.dst = ip("198.51.100.0"), .plen = 24, .type = RTN_UNICAST, .protocol = RTPROT_STATIC
	};
	const struct nsconf_route multi6 = {
		.dst = ip("2001:db8:2::"), .plen = 48, .type = RTN_UNICAST, .protocol = RTPROT_STATIC
	};
	const struct nsconf_hop hops4[] = { { .gw = ip("192.0.2.3"), .weight = 1 },
					    { .gw = ip("192.0.2.4"), .weight = 5 },
					    { .gw = ip("10.9.9.9"), .weight = 1, .onlink = 1 } };
	const struct nsconf_hop hops6[] = { { .gw = ip("2001:db8::3"), .weight = 1 }, { .gw = ip("fe80::4"), .weight = 256 } };

	addr("192.0.2.2", 24);
	addr("192.0.2.77", 24);
	addr("2001:db8::2", 64);
	route("0.0.0.0", 0, NULL);
	assert_int_equal(nsconf_route_add(&c, &multi4, hops4, 3), 0);
	assert_int_equal(nsconf_route_add(&c, &multi6, hops6, 2), 0);
	nowhere("10.1.0.0", 16, RTN_BLACKHOLE);
	nowhere("10.2.0.0", 16, RTN_UNREACHABLE);
	nowhere("10.3.0.0", 16, RTN_PROHIBIT);
	nowhere("10.4.0.0", 16, RTN_THROW);
	nowhere("2001:db8:bad::", 48, RTN_BLACKHOLE);
	to = route("203.0.113.0", 24, "fe80::1");
	to->prefsrc = ip("192.0.2.77");
	to->metrics[RTAX_MTU] = 1400;
	to->metrics[RTAX_INITCWND] = 30;
	to = route("203.0.113.128", 25, "192.0.2.1");
	to->prefsrc = ip("192.168.1.1"); /* not ours here */
	to->tos = 0x10;
	route("203.0.113.0", 24, "192.0.2.9")->metric = 50;
	route("::", 0, "fe80::1")->pref = 1;
	apply();

	has(shell("ip -4 route show 198.51.100.0/24"), "nexthop via 192.0.2.3 dev eth0 weight 1 \n");
	has(shell("ip -4 route show 198.51.100.0/24"), "nexthop via 192.0.2.4 dev eth0 weight 5 \n");
	has(shell("ip -4 route show 198.51.100.0/24"), "nexthop via 10.9.9.9 dev eth0 weight 1 onlink \n");
	has(shell("ip -6 route show 2001:db8:2::/48"), "nexthop via 2001:db8::3 dev eth0 weight 1");
	has(shell("ip -6 route show 2001:db8:2::/48"), "nexthop via fe80::4 dev eth0 weight 256");
	has(shell("ip -4 route"), "default dev eth0 proto static scope link \n");
	has(shell("ip -4 route"), "blackhole 10.1.0.0/16 ");
	has(shell("ip -4 route"), "unreachable 10.2.0.0/16 ");
	has(shell("ip -4 route"), "prohibit 10.3.0.0/16 ");
	has(shell("ip -4 route"), "throw 10.4.0.0/16 ");
	has(shell("ip -6 route"), "blackhole 2001:db8:bad::/48 ");
	has(shell("ip -4 route"), "203.0.113.0/24 via inet6 fe80::1 dev eth0 proto static src 192.0.2.77 mtu 1400 initcwnd 30 \n");
	has(shell("ip -4 route"), "203.0.113.128/25 tos 0x10 via 192.0.2.1 dev eth0 proto static \n");
	has(shell("ip -4 route"), "203.0.113.0/24 via 192.0.2.9 dev eth0 proto static metric 50 \n");
	has(shell("ip -6 route"), "default via fe80::1 dev eth0 proto static metric 1024 pref high");
}

/* One that can't be set is named, and the others are set. */
static void test_warnings(void **state)
{
	addr("192.0.2.2", 24);
	addr("ff02::1", 64);
	addr("2001:db8::2", 64);
	route("10.0.0.0", 8, "192.0.2.9")->type = 77;
	route("10.1.0.0", 16, "192.0.2.1");
	c.rename[0] = '/';
	assert_int_equal(nsconf_apply(&c, &r), 0);
	nsconf_log(&c, &r);
	has(logged, "Couldn't rename the interface in the namespace: Invalid argument\n");
	has(logged, "Couldn't set address ff02::1/64 in the namespace: ");
	has(logged, "Couldn't set route 10.0.0.0/8 via 192.0.2.9 in the namespace: ");
	has(shell("ip -4 route"), "10.1.0.0/16 via 192.0.2.1 dev eth0");
	has(shell("ip -4 -o addr"), "192.0.2.2/24");
}

/* Too small for IPv6: the rest works. */
static void test_small_mtu(void **state)
{
	c.mtu = 1000;
	addr("192.0.2.2", 24);
	addr("2001:db8::2", 64);
	route("0.0.0.0", 0, "192.0.2.1");
	assert_int_equal(nsconf_apply(&c, &r), 0);
	nsconf_log(&c, &r);
	has(logged, "Couldn't set address 2001:db8::2/64 in the namespace: ");
	has(shell("ip -4 route"), "default via 192.0.2.1 dev eth0");
}

/* No more than a count of what finds no room. */
static void test_many_warnings(void **state)
{
	addr("192.0.2.2", 24);
	for (int i = 0; i < NSCONF_WARNINGS + 36; i++)
		route("10.0.0.0", 8, "192.0.2.9")->type = 77;
	assert_int_equal(nsconf_apply(&c, &r), 0);
	assert_int_equal(r.n_warnings, NSCONF_WARNINGS + 36);
	nsconf_log(&c, &r);
	has(logged, "36 more addresses or routes couldn't be set");
}

static void test_full(void **state)
{
	char text[32];

	addr("192.0.2.2", 24);
	for (unsigned i = 0; i < NSCONF_ROUTES; i++) {
		snprintf(text, sizeof(text), "10.%u.%u.0", i / 256, i % 256);
		route(text, 24, "192.0.2.1");
	}
	assert_int_equal(nsconf_route_add(&c, &c.route[0], c.hop, 1), -ENOSPC);
	apply();
	assert_string_equal(shell("ip -4 route | grep -c 'via 192.0.2.1'"), "512\n");
}

static void test_missing(void **state)
{
	memcpy(c.name, "eth7", 5);
	assert_int_equal(nsconf_apply(&c, &r), -ENODEV);
	assert_int_equal(r.err, -ENODEV);
	nsconf_log(&c, &r);
	has(logged, "Couldn't set up interface eth7 in the namespace: No such device\n");
	has(shell("ip -o link show dev lo"), "<LOOPBACK,UP,LOWER_UP>");
}

static void test_only_lo(void **state)
{
	c.name[0] = '\0';
	c.only_lo = 1;
	apply();
	has(shell("ip -o link show dev lo"), "<LOOPBACK,UP,LOWER_UP>");
	has(shell("ip -o link show dev eth0"), "state DOWN");
}

static void test_link_only(void **state)
{
	static const uint8_t mac[MAC_LEN] = { 2, 0, 0, 0, 0, 9 };

	memcpy(c.mac, mac, MAC_LEN);
	c.has_mac = c.link_only = 1;
	addr("192.0.2.2", 24);
	apply();
	has(shell("ip -o link show dev eth0"), "state DOWN");
	has(shell("ip -o link show dev eth0"), "link/ether 02:00:00:00:00:09 ");
	assert_string_equal(shell("ip -o addr show dev eth0"), "");
	/* The kernel makes the address when somebody brings it up. */
	assert_string_equal(shell("ip link set eth0 up"), "");
	has(shell("ip -o addr show dev eth0"), "inet6 fe80::ff:fe00:9/64 scope link");
}

/* As a host can have it for all that is new. */
static void test_ip6_disabled(void **state)
{
	as_write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
	addr("192.0.2.2", 24);
	apply();
	assert_string_equal(shell("ip -6 -o addr show dev eth0"), "");

	addr("2001:db8::2", 64);
	apply();
	has(shell("ip -6 -o addr show dev eth0"), "inet6 2001:db8::2/64 scope global");
}

/* Structures that come from a process that is not to be trusted. */
static void test_invalid(void **state)
{
	struct nsconf good;

	addr("192.0.2.2", 24);
	route("10.0.0.0", 8, "192.0.2.1");
	good = c;
	assert_true(nsconf_valid(&c));
#define BAD(what) \
	do { \
		c = good; \
		what; \
		assert_false(nsconf_valid(&c)); \
		assert_int_equal(nsconf_apply(&c, &r), -EINVAL); \
	} while (0)
	BAD(memset(c.name, 'x', sizeof(c.name)));
	BAD(memset(c.rename, 'x', sizeof(c.rename)));
	BAD(c.n_addrs = NSCONF_ADDRS + 1);
	BAD(c.n_routes = NSCONF_ROUTES + 1);
	BAD(c.n_hops = NSCONF_HOPS + 1);
	BAD(c.addr[0].plen = 33);
	BAD(c.route[0].plen = 33);
	BAD(c.route[0].hop = 2);
	BAD(c.route[0].n_hops = 2);
	BAD(c.route[0].n_hops = NSCONF_ROUTE_HOPS + 1);
	BAD(c.route[0].prefsrc = ip("2001:db8::1"));
	BAD(c.route[0].src_plen = 1);
#undef BAD
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_link, setup),
		cmocka_unit_test_setup(test_addresses, setup),
		cmocka_unit_test_setup(test_copied, setup),
		cmocka_unit_test_setup(test_order, setup),
		cmocka_unit_test_setup(test_gateway_nowhere, setup),
		cmocka_unit_test_setup(test_odd_routes, setup),
		cmocka_unit_test_setup(test_warnings, setup),
		cmocka_unit_test_setup(test_many_warnings, setup),
		cmocka_unit_test_setup(test_small_mtu, setup),
		cmocka_unit_test_setup(test_full, setup),
		cmocka_unit_test_setup(test_missing, setup),
		cmocka_unit_test_setup(test_only_lo, setup),
		cmocka_unit_test_setup(test_link_only, setup),
		cmocka_unit_test_setup(test_ip6_disabled, setup),
		cmocka_unit_test_setup(test_invalid, setup),
	};

	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	if (as_become(argc, argv) && geteuid())
		as_container();
	log_set_sink(log_keep, logged);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
