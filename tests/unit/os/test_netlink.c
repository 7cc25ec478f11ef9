/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <libmnl/libmnl.h>

#include "os/netlink.h"

#define ENTRIES 32

/* A datagram that is being built, and what came out of it. */
struct box {
	char buf[8192] __attribute__((aligned(8)));
	size_t len;
	struct nl_entry e[ENTRIES];
	unsigned n;
	bool intr;
};

static struct box b;

static void collect(void *ctx, const struct nl_entry *e)
{
	struct box *box = ctx;

	assert_true(box->n < ENTRIES);
	box->e[box->n++] = *e;
}

static int setup(void **state)
{
	memset(&b, 0, sizeof(b));
	return 0;
}

static struct nlmsghdr *msg(uint16_t type, const void *fixed, size_t len)
{
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(b.buf + b.len);

	nlh->nlmsg_type = type;
	nlh->nlmsg_seq = 1;
	nlh->nlmsg_flags = NLM_F_MULTI;
	memcpy(mnl_nlmsg_put_extra_header(nlh, len), fixed, len);
	return nlh;
}

static void end(const struct nlmsghdr *nlh)
{
	b.len += MNL_ALIGN(nlh->nlmsg_len);
}

static void done(int err)
{
	end(msg(NLMSG_DONE, &err, sizeof(err)));
}

/* From a block of the exact size, so that a read past the end is seen. */
static int parse(void)
{
	char *exact = malloc(b.len ? b.len : 1);
	int r;

	assert_non_null(exact);
	memcpy(exact, b.buf, b.len);
	b.n = 0;
	r = nl_parse(exact, b.len, 1, &b.intr, collect, &b);
	free(exact);
	return r;
}

static void put_addr(struct nlmsghdr *nlh, uint16_t type, const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	mnl_attr_put(nlh, type, addr_len(&a), addr_bytes(&a));
}

static void eq(const struct addr *a, const char *want)
{
	char buf[ADDR_STRLEN];

	assert_string_equal(addr_fmt(a, buf), want);
}

static void test_link(void **state)
{
	struct ifinfomsg m = { .ifi_type = ARPHRD_ETHER, .ifi_index = 3, .ifi_flags = IFF_UP };
	static const uint8_t mac[8] = { 2, 0, 0, 0, 0, 1 };
	struct nlmsghdr *nlh = msg(RTM_NEWLINK, &m, sizeof(m));

	mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth0");
	mnl_attr_put_u32(nlh, IFLA_MTU, 1400);
	mnl_attr_put(nlh, IFLA_ADDRESS, 6, mac);
	end(nlh);
	/* Without an address, as a tunnel is; with one of another size, as InfiniBand is. */
	m.ifi_type = ARPHRD_NONE;
	nlh = msg(RTM_NEWLINK, &m, sizeof(m));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "wg0");
	end(nlh);
	nlh = msg(RTM_NEWLINK, &m, sizeof(m));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "ib0");
	mnl_attr_put(nlh, IFLA_ADDRESS, 8, mac);
	end(nlh);
	/* No name; a name that is too long; index 0. */
	end(msg(RTM_NEWLINK, &m, sizeof(m)));
	nlh = msg(RTM_NEWLINK, &m, sizeof(m));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "0123456789abcdef");
	end(nlh);
	m.ifi_index = 0;
	nlh = msg(RTM_NEWLINK, &m, sizeof(m));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth0");
	end(nlh);

	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 3);
	assert_int_equal(b.e[0].kind, NL_LINK);
	assert_int_equal(b.e[0].link.index, 3);
	assert_string_equal(b.e[0].link.name, "eth0");
	assert_int_equal(b.e[0].link.mtu, 1400);
	assert_int_equal(b.e[0].link.flags, IFF_UP);
	assert_true(b.e[0].link.has_mac);
	assert_memory_equal(b.e[0].link.mac, mac, 6);
	assert_string_equal(b.e[1].link.name, "wg0");
	assert_false(b.e[1].link.has_mac);
	assert_false(b.e[2].link.has_mac);
}

static void test_addr(void **state)
{
	struct ifaddrmsg m = { .ifa_family = AF_INET, .ifa_prefixlen = 32, .ifa_index = 4, .ifa_scope = RT_SCOPE_LINK };
	struct nlmsghdr *nlh = msg(RTM_NEWADDR, &m, sizeof(m));

	/* Point to point: the peer, and ours. */
	put_addr(nlh, IFA_ADDRESS, "10.0.0.1");
	put_addr(nlh, IFA_LOCAL, "10.0.0.2");
	end(nlh);
	m = (struct ifaddrmsg){ .ifa_family = AF_INET6, .ifa_prefixlen = 64, .ifa_index = 4, .ifa_flags = IFA_F_PERMANENT };
	nlh = msg(RTM_NEWADDR, &m, sizeof(m));
	put_addr(nlh, IFA_ADDRESS, "2001:db8::2");
	mnl_attr_put_u32(nlh, IFA_FLAGS, IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE);
	end(nlh);
	nlh = msg(RTM_NEWADDR, &m, sizeof(m));
	put_addr(nlh, IFA_ADDRESS, "10.0.0.2"); /* four bytes, for IPv6 */
	end(nlh);
	m.ifa_prefixlen = 129;
	nlh = msg(RTM_NEWADDR, &m, sizeof(m));
	put_addr(nlh, IFA_ADDRESS, "2001:db8::2");
	end(nlh);
	m = (struct ifaddrmsg){ .ifa_family = AF_PACKET };
	end(msg(RTM_NEWADDR, &m, sizeof(m)));

	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 2);
	eq(&b.e[0].addr.addr, "10.0.0.2");
	assert_int_equal(b.e[0].addr.plen, 32);
	assert_int_equal(b.e[0].addr.scope, RT_SCOPE_LINK);
	eq(&b.e[1].addr.addr, "2001:db8::2");
	assert_int_equal(b.e[1].addr.ifindex, 4);
	assert_int_equal(b.e[1].addr.flags, IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE);
}

static void test_route(void **state)
{
	struct rtmsg m = {
		.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST, .rtm_protocol = RTPROT_DHCP
	};
	struct nlmsghdr *nlh = msg(RTM_NEWROUTE, &m, sizeof(m));

	mnl_attr_put_u32(nlh, RTA_OIF, 2);
	put_addr(nlh, RTA_GATEWAY, "192.0.2.1");
	put_addr(nlh, RTA_PREFSRC, "192.0.2.2");
	mnl_attr_put_u32(nlh, RTA_PRIORITY, 100);
	end(nlh);
	m = (struct rtmsg){ .rtm_family = AF_INET6, .rtm_dst_len = 32, .rtm_table = RT_TABLE_COMPAT, .rtm_type = RTN_UNICAST };
	nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	put_addr(nlh, RTA_DST, "2001:db8::");
	mnl_attr_put_u32(nlh, RTA_TABLE, 51820);
	mnl_attr_put_u32(nlh, RTA_NH_ID, 7);
	end(nlh);
	/* A length, but no destination. */
	end(msg(RTM_NEWROUTE, &m, sizeof(m)));

	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 2);
	eq(&b.e[0].route.dst, "0.0.0.0");
	assert_int_equal(b.e[0].route.n_hops, 1);
	assert_int_equal(b.e[0].route.hop[0].oif, 2);
	eq(&b.e[0].route.hop[0].gw, "192.0.2.1");
	eq(&b.e[0].route.prefsrc, "192.0.2.2");
	assert_int_equal(b.e[0].route.metric, 100);
	assert_int_equal(b.e[0].route.table, RT_TABLE_MAIN);
	assert_int_equal(b.e[0].route.protocol, RTPROT_DHCP);
	eq(&b.e[1].route.dst, "2001:db8::");
	assert_true(b.e[1].route.v6);
	assert_int_equal(b.e[1].route.plen, 32);
	assert_int_equal(b.e[1].route.table, 51820);
	assert_int_equal(b.e[1].route.nh_id, 7);
	assert_int_equal(b.e[1].route.n_hops, 0);
}

/* Some hosts refuse addresses of IPv4 in IPv6 by a route; it is left out, and the one behind it is not. */
static void test_mapped(void **state)
{
	static const uint8_t mapped[16] = { [10] = 0xff, [11] = 0xff };
	struct rtmsg m = { .rtm_family = AF_INET6, .rtm_dst_len = 96, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNREACHABLE };
	struct nlmsghdr *nlh;

	nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	mnl_attr_put(nlh, RTA_DST, sizeof(mapped), mapped);
	end(nlh);
	nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	put_addr(nlh, RTA_DST, "2001:db8::");
	end(nlh);
	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 1);
	eq(&b.e[0].route.dst, "2001:db8::");
}

/* A route with n hops, the last one cut short by cut bytes. */
static void multipath(unsigned n, size_t cut)
{
	struct rtmsg m = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_type = RTN_UNICAST };
	struct nlmsghdr *nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	uint8_t hops[2048];
	size_t len = 0;

	for (unsigned i = 0; i < n; i++) {
		const uint8_t gw[4] = { 10, 0, 0, (uint8_t)(i + 1) };
		const struct nlattr attr = { .nla_len = sizeof(attr) + 4, .nla_type = RTA_GATEWAY };
		struct rtnexthop nh = { .rtnh_len = sizeof(nh) + sizeof(attr) + 4, .rtnh_ifindex = (int)i + 2 };

		nh.rtnh_flags = i ? 0 : RTNH_F_DEAD;
		memcpy(hops + len, &nh, sizeof(nh));
		memcpy(hops + len + sizeof(nh), &attr, sizeof(attr));
		memcpy(hops + len + sizeof(nh) + sizeof(attr), gw, 4);
		len += sizeof(nh) + sizeof(attr) + 4;
	}
	mnl_attr_put(nlh, RTA_MULTIPATH, len - cut, hops);
	end(nlh);
}

static void test_multipath(void **state)
{
	const struct nl_route *r = &b.e[0].route;

	multipath(3, 0);
	assert_int_equal(parse(), 0);
	assert_int_equal(r->n_hops, 3);
	assert_int_equal(r->hop[0].oif, 2);
	assert_int_equal(r->hop[0].flags, RTNH_F_DEAD);
	eq(&r->hop[0].gw, "10.0.0.1");
	assert_int_equal(r->hop[2].oif, 4);
	eq(&r->hop[2].gw, "10.0.0.3");

	setup(state);
	multipath(NL_HOPS, 0);
	assert_int_equal(parse(), 0);
	assert_int_equal(r->n_hops, NL_HOPS);
	assert_false(r->hops_lost);

	setup(state);
	multipath(NL_HOPS + 1, 0);
	assert_int_equal(parse(), 0);
	assert_int_equal(r->n_hops, NL_HOPS);
	assert_true(r->hops_lost);

	for (size_t cut = 1; cut < 16; cut++) {
		setup(state);
		multipath(2, cut);
		assert_int_equal(parse(), 0);
		assert_int_equal(r->n_hops, 1);
	}
}

static void test_nexthop(void **state)
{
	struct nhmsg m = { .nh_family = AF_INET6, .nh_flags = RTNH_F_LINKDOWN };
	struct nexthop_grp g[NL_HOPS + 1] = { { .id = 5 }, { .id = 6 } };
	struct nlmsghdr *nlh = msg(RTM_NEWNEXTHOP, &m, sizeof(m));

	mnl_attr_put_u32(nlh, NHA_ID, 7);
	mnl_attr_put_u32(nlh, NHA_OIF, 3);
	put_addr(nlh, NHA_GATEWAY, "fe80::1");
	end(nlh);
	m.nh_family = AF_UNSPEC;
	nlh = msg(RTM_NEWNEXTHOP, &m, sizeof(m));
	mnl_attr_put_u32(nlh, NHA_ID, 8);
	mnl_attr_put(nlh, NHA_GROUP, 2 * sizeof(g[0]) + 3, g);
	end(nlh);
	nlh = msg(RTM_NEWNEXTHOP, &m, sizeof(m));
	mnl_attr_put_u32(nlh, NHA_ID, 9);
	mnl_attr_put(nlh, NHA_GROUP, sizeof(g), g);
	end(nlh);
	end(msg(RTM_NEWNEXTHOP, &m, sizeof(m)));

	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 3);
	assert_int_equal(b.e[0].nexthop.id, 7);
	assert_int_equal(b.e[0].nexthop.hop.oif, 3);
	assert_int_equal(b.e[0].nexthop.hop.flags, RTNH_F_LINKDOWN);
	eq(&b.e[0].nexthop.hop.gw, "fe80::1");
	assert_int_equal(b.e[1].nexthop.n_group, 2);
	assert_int_equal(b.e[1].nexthop.group[1], 6);
	assert_false(b.e[1].nexthop.hops_lost);
	assert_true(b.e[2].nexthop.hops_lost);
	assert_int_equal(b.e[2].nexthop.n_group, NL_HOPS);
}

static void test_framing(void **state)
{
	struct rtmsg m = { .rtm_family = AF_INET, .rtm_type = RTN_UNICAST };
	struct nlmsghdr *nlh;

	assert_int_equal(parse(), 0);
	done(0);
	assert_int_equal(parse(), 1);
	assert_false(b.intr);

	/* Another sequence number: a late answer to somebody else. */
	setup(state);
	nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	nlh->nlmsg_seq = 2;
	end(nlh);
	nlh = msg(NLMSG_DONE, &m, sizeof(int));
	nlh->nlmsg_seq = 2;
	end(nlh);
	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 0);

	/* What follows the end is not looked at; an inconsistent dump is told. */
	setup(state);
	nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	nlh->nlmsg_flags |= NLM_F_DUMP_INTR;
	end(nlh);
	done(0);
	end(msg(RTM_NEWROUTE, &m, sizeof(m)));
	assert_int_equal(parse(), 1);
	assert_int_equal(b.n, 1);
	assert_true(b.intr);

	setup(state);
	done(-EOPNOTSUPP);
	assert_int_equal(parse(), -EOPNOTSUPP);
	setup(state);
	nlh = msg(NLMSG_ERROR, &(struct nlmsgerr){ .error = -EPERM }, sizeof(struct nlmsgerr));
	end(nlh);
	assert_int_equal(parse(), -EPERM);
}

static void test_broken(void **state)
{
	static const uint32_t lens[] = { 0, 15, 17, 30, 400, 0x7fffffff, 0x80000000, 0xffffffff };
	struct rtmsg m = { .rtm_family = AF_INET, .rtm_type = RTN_UNICAST };
	struct nlmsghdr *nlh = msg(RTM_NEWROUTE, &m, sizeof(m));
	size_t full;

	mnl_attr_put_u32(nlh, RTA_OIF, 2);
	end(nlh);
	full = b.len;
	/* Cut anywhere: the length of the message is a lie. */
	for (b.len = 1; b.len < full; b.len++)
		assert_int_equal(parse(), -EBADMSG);
	/* Shorter than it is, or wild; those that are at least a header are followed by bytes that are none. */
	b.len = full;
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		nlh->nlmsg_len = lens[i];
		assert_int_equal(parse(), -EBADMSG);
		assert_true(b.n <= 1);
	}
	/* A message of its header only, or with half of its fixed part, is none. */
	for (b.len = 16; b.len < 28; b.len++) {
		nlh->nlmsg_len = (uint32_t)b.len;
		assert_int_equal(parse(), 0);
		assert_int_equal(b.n, 0);
	}
	/* Attributes that are cut. */
	for (b.len = 28; b.len < full; b.len++) {
		nlh->nlmsg_len = (uint32_t)b.len;
		assert_int_equal(parse(), 0);
		assert_int_equal(b.n, 1);
		assert_int_equal(b.e[0].route.n_hops, 0);
	}
}

static void find_lo(void *ctx, const struct nl_entry *e)
{
	if (e->kind == NL_LINK && !strcmp(e->link.name, "lo"))
		*(unsigned *)ctx = e->link.index;
}

/* What the kernel of this machine says: there is always a loopback interface. */
static void test_dump(void **state)
{
	unsigned lo = 0;
	int r;

	for (int i = 0; i < 5; i++) {
		r = nl_dump(NL_LINK, AF_UNSPEC, find_lo, &lo);
		if (r != -EINTR)
			break;
	}
	assert_int_equal(r, 0);
	assert_int_equal(lo, 1);
}

/* An interface that is gone, and a port that has only left a bridge. */
static void test_gone(void **state)
{
	struct ifinfomsg m = { .ifi_type = ARPHRD_ETHER, .ifi_index = 3 };
	struct nlmsghdr *nlh;

	for (int bridge = 0; bridge < 2; bridge++) {
		m.ifi_family = bridge ? AF_BRIDGE : AF_UNSPEC;
		nlh = msg(RTM_DELLINK, &m, sizeof(m));
		mnl_attr_put_strz(nlh, IFLA_IFNAME, "eth0");
		end(nlh);
	}
	assert_int_equal(parse(), 0);
	assert_int_equal(b.n, 1);
	assert_int_equal(b.e[0].kind, NL_LINK_GONE);
	assert_int_equal(b.e[0].link.index, 3);
}

/* By index, and by name; nothing is there that nobody has asked for. */
static void test_watch(void **state)
{
	unsigned lo = 0;
	int fd;

	assert_int_equal(nl_links_open(&fd), 0);
	assert_int_equal(nl_links_ask(fd, 0, "lo"), 0);
	while (!lo)
		assert_int_equal(nl_links_read(fd, find_lo, &lo), 0);
	assert_int_equal(lo, 1);
	lo = 0;
	assert_int_equal(nl_links_ask(fd, 1, "whatever"), 0);
	while (!lo)
		assert_int_equal(nl_links_read(fd, find_lo, &lo), 0);
	assert_int_equal(nl_links_ask(fd, 0, "not-there"), 0);
	assert_int_equal(nl_links_read(fd, find_lo, &lo), -ENODEV);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_link, setup),
		cmocka_unit_test_setup(test_addr, setup),
		cmocka_unit_test_setup(test_route, setup),
		cmocka_unit_test_setup(test_mapped, setup),
		cmocka_unit_test_setup(test_multipath, setup),
		cmocka_unit_test_setup(test_nexthop, setup),
		cmocka_unit_test_setup(test_framing, setup),
		cmocka_unit_test_setup(test_broken, setup),
		cmocka_unit_test(test_dump),
		cmocka_unit_test_setup(test_gone, setup),
		cmocka_unit_test(test_watch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
