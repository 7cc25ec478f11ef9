/* SPDX-License-Identifier: MIT */
/* Who gets which frames of the guest, in which groups. Translators and services are fakes that write down what they were given. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/iov.h"
#include "base/log.h"
#include "base/wr.h"
#include "core/dispatch.h"
#include "wire/arp.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip.h"

#define FRAME_ROOM 4096

static const uint8_t mac_guest[MAC_LEN] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t mac_ours[MAC_LEN] = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 };

struct fix {
	struct engine e;
	struct conf conf;
	struct link link;
	char calls[1024]; /* "tcp:2 udp:1 ..." */
	uint8_t buf[LINK_BATCH][FRAME_ROOM];
	struct iovec iov[LINK_BATCH][3];
	struct frame frame[LINK_BATCH];
	unsigned n;
	enum service_verdict verdict;
	size_t last_len; /* of the last frame that a translator got */
	uint8_t last_byte;
	bool last_may_frag;
	unsigned replies;
	uint8_t sent[FRAME_ROOM]; /* the last of them */
};

static struct fix *cur; /* of the running test: the fakes have no other way to it */

static void note(const char *who, const struct pkt *p, const struct frame *f, unsigned n)
{
	size_t at = strlen(cur->calls);

	for (unsigned i = 1; i < n; i++) {
		assert_true(addr_eq(&p[0].src, &p[i].src) && addr_eq(&p[0].dst, &p[i].dst));
		assert_int_equal(p[0].sport, p[i].sport);
		assert_int_equal(p[0].dport, p[i].dport);
	}
	cur->last_len = f[n - 1].len;
	cur->last_may_frag = p[n - 1].may_frag;
	assert_int_equal(iov_len(f[n - 1].iov, f[n - 1].n), f[n - 1].len);
	iov_copy_out(f[n - 1].iov, f[n - 1].n, f[n - 1].len - 1, &cur->last_byte, 1);
	snprintf(cur->calls + at, sizeof(cur->calls) - at, "%s:%u ", who, n);
}

void tcp_from_guest(struct tcp *t, const struct pkt *p, const struct frame *f, unsigned n)
{
	note("tcp", p, f, n);
}

void tcp_too_big(struct tcp *t, const struct icmp_too_big *b)
{
	size_t at = strlen(cur->calls);

	snprintf(cur->calls + at, sizeof(cur->calls) - at, "tcp-too-big:%u ", b->dport);
}

void udp_from_guest(struct udp *u, const struct pkt *p, const struct frame *f, unsigned n)
{
	note("udp", p, f, n);
}

void icmp_from_guest(struct icmp *m, const struct pkt *p, const struct frame *f, unsigned n)
{
	note("icmp", p, f, n);
}

enum service_verdict service_input(const struct guestconf *c, const struct pkt *p, const uint8_t *frame, size_t frame_len,
				   struct wr *reply)
{
	size_t at = strlen(cur->calls);

	assert_ptr_equal(c, &cur->e.told);
	assert_true(frame_len <= SERVICE_FRAME_MAX);
	snprintf(cur->calls + at, sizeof(cur->calls) - at, "service ");
	if (cur->verdict == SERVICE_REPLY)
		wr_zero(reply, 60);
	return cur->verdict;
}

int link_send(struct link *l, unsigned queue, const void *frame, size_t len)
{
	assert_in_range(len, 60, sizeof(cur->sent));
	memcpy(cur->sent, frame, len);
	cur->replies++;
	return 0;
}

static void late_fired(struct timer *t, uint64_t now_ns)
{
	dispatch_frags_late(&cur->e);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	x->e.conf = &x->conf;
	x->e.link = &x->link;
	x->e.frags = frags_new(16);
	timers_init(&x->e.loop.timers, 0);
	timer_init(&x->e.frag_timer, late_fired);
	x->e.tcp = (struct tcp *)x;
	x->e.udp = (struct udp *)x;
	x->e.icmp = (struct icmp *)x;
	memset(x->e.guest.mac, 0xff, MAC_LEN);
	memcpy(x->e.guest.our_mac, mac_ours, MAC_LEN);
	x->verdict = SERVICE_DROP;
	*state = cur = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	frags_free(x->e.frags);
	free(x);
	cur = NULL;
	return 0;
}

/* A frame in three odd pieces, so that whoever takes the first for all is found out. */
static void add(struct fix *x, size_t len)
{
	struct iovec *iov = x->iov[x->n];
	uint8_t *b = x->buf[x->n];

	iov[0] = (struct iovec){ b, 1 };
	iov[1] = (struct iovec){ b + 1, 16 };
	iov[2] = (struct iovec){ b + 17, len - 17 };
	x->frame[x->n++] = (struct frame){ .iov = iov, .n = 3, .len = len };
}

struct spec {
	const char *src, *dst;
	uint8_t proto;
	uint16_t sport, dport;
	size_t payload;
};

static void add_ip_from(struct fix *x, const struct spec *s, const uint8_t mac[MAC_LEN])
{
	struct wr w = wr_init(x->buf[x->n], FRAME_ROOM);
	struct ip_tx ip = { .proto = s->proto, .ttl = 64 };
	size_t l4 = (s->proto == PROTO_TCP ? 20 : 8) + s->payload;

	assert_int_equal(addr_parse(s->src, &ip.src), 0);
	assert_int_equal(addr_parse(s->dst, &ip.dst), 0);
	eth_put(&w, mac_ours, mac, addr_is4(&ip.src) ? ETHERTYPE_IP4 : ETHERTYPE_IP6);
	ip_put(&w, &ip, l4);
	wr_be16(&w, s->sport);
	wr_be16(&w, s->dport);
	wr_be16(&w, (uint16_t)l4);
	wr_zero(&w, l4 - 6);
	assert_true(wr_ok(&w));
	add(x, wr_len(&w));
}

static void add_ip(struct fix *x, const struct spec *s)
{
	add_ip_from(x, s, mac_guest);
}

static void add_arp(struct fix *x, const uint8_t sha[MAC_LEN], const char *spa)
{
	struct wr w = wr_init(x->buf[x->n], FRAME_ROOM);
	struct arp a = { .op = ARP_REQUEST };

	memcpy(a.sha, sha, MAC_LEN);
	assert_int_equal(addr_parse(spa, &a.spa), 0);
	assert_int_equal(addr_parse("192.0.2.1", &a.tpa), 0);
	eth_put(&w, mac_ours, mac_guest, ETHERTYPE_ARP);
	arp_put(&w, &a);
	assert_true(wr_ok(&w));
	add(x, wr_len(&w));
}

static void expect(struct fix *x, const char *calls)
{
	x->calls[0] = '\0';
	dispatch_from_guest(&x->e, x->frame, x->n);
	assert_string_equal(x->calls, calls);
	x->n = 0;
}

static const struct spec tcp_a = { "192.0.2.2", "198.51.100.1", PROTO_TCP, 1000, 80, 100 };
static const struct spec tcp_b = { "192.0.2.2", "198.51.100.1", PROTO_TCP, 1001, 80, 100 };
static const struct spec tcp_c = { "192.0.2.2", "198.51.100.1", PROTO_TCP, 1000, 81, 100 };
static const struct spec tcp_d = { "192.0.2.2", "198.51.100.2", PROTO_TCP, 1000, 80, 100 };
static const struct spec tcp_6 = { "2001:db8::2", "2001:db8:1::1", PROTO_TCP, 1000, 80, 100 };
static const struct spec udp_a = { "192.0.2.2", "198.51.100.1", PROTO_UDP, 1000, 80, 0 };
static const struct spec udp_6 = { "2001:db8::2", "2001:db8:1::1", PROTO_UDP, 1000, 80, 3 };
static const struct spec ping = { "192.0.2.2", "198.51.100.1", PROTO_ICMP, 0x0800, 0, 10 };
static const struct spec ping_6 = { "2001:db8::2", "2001:db8:1::1", PROTO_ICMP6, 0x8000, 0, 10 };

static void test_runs(void **state)
{
	struct fix *x = *state;
	const struct spec *const seq[] = { &tcp_a, &tcp_a, &tcp_b, &tcp_a, &tcp_c, &tcp_c, &tcp_d, &tcp_6,
					   &tcp_6, &udp_a, &udp_a, &tcp_a, &udp_6, &ping,  &ping };

	for (unsigned i = 0; i < ARRAY_SIZE(seq); i++)
		add_ip(x, seq[i]);
	expect(x, "tcp:2 tcp:1 tcp:1 tcp:2 tcp:1 tcp:2 udp:2 tcp:1 udp:1 icmp:1 icmp:1 ");

	for (unsigned i = 0; i < LINK_BATCH; i++)
		add_ip(x, &tcp_a);
	expect(x, "tcp:64 ");
	expect(x, "");
}

/* What is not of the run ends it, and the order is kept. */
static void test_run_broken(void **state)
{
	struct fix *x = *state;

	add_ip(x, &tcp_a);
	add_arp(x, mac_guest, "192.0.2.2");
	add_ip(x, &tcp_a);
	add_ip(x, &tcp_a);
	memcpy(x->buf[x->n], mac_ours, MAC_LEN);
	x->buf[x->n][12] = 0; /* no ethertype that we know, too short for any */
	add(x, 20);
	add_ip(x, &udp_a);
	x->frame[x->n - 1].len = 20; /* cut */
	x->frame[x->n - 1].n = 2;
	x->iov[x->n - 1][1].iov_len = 19;
	add_ip(x, &tcp_a);
	expect(x, "tcp:1 service tcp:2 service tcp:1 ");
}

static void test_services(void **state)
{
	static const struct spec dhcp = { "0.0.0.0", "255.255.255.255", PROTO_UDP, 68, 67, 300 };
	static const struct spec dhcp6 = { "fe80::2", "ff02::1:2", PROTO_UDP, 546, 547, 30 };
	static const struct spec nd = { "::", "ff02::2", PROTO_ICMP6, 0x8500, 0, 0 };
	struct fix *x = *state;

	add_ip(x, &dhcp);
	add_ip(x, &dhcp6);
	add_ip(x, &nd);
	add_ip(x, &ping_6);
	expect(x, "service service service service ");
	assert_int_equal(x->replies, 0);

	/* Not the service's: it goes on, if its source is an address. */
	x->verdict = SERVICE_NOT_MINE;
	add_ip(x, &dhcp);
	add_ip(x, &dhcp6);
	add_ip(x, &nd);
	add_ip(x, &ping_6);
	add_arp(x, mac_guest, "192.0.2.2");
	expect(x, "service service udp:1 service service icmp:1 service ");

	x->verdict = SERVICE_REPLY;
	add_arp(x, mac_guest, "192.0.2.2");
	add_ip(x, &dhcp);
	expect(x, "service service ");
	assert_int_equal(x->replies, 2);
}

static void test_bad_sources(void **state)
{
	static const char *const bad4[] = { "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255" };
	static const char *const bad6[] = { "::", "::1", "ff02::1" };
	static const uint8_t group[MAC_LEN] = { 0x53, 0x54, 0, 1, 2, 3 };
	struct fix *x = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(bad4); i++) {
		struct spec t = tcp_a, u = udp_a, m = ping;

		t.src = u.src = m.src = bad4[i];
		add_ip(x, &t);
		add_ip(x, &u);
		add_ip(x, &m);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad6); i++) {
		struct spec t = tcp_6, u = udp_6;

		t.src = u.src = bad6[i];
		add_ip(x, &t);
		add_ip(x, &u);
	}
	add_ip_from(x, &tcp_a, group);
	add_ip_from(x, &udp_a, group);
	expect(x, "");
}

/* TCP has no groups as destination; UDP has. */
static void test_group_destinations(void **state)
{
	struct fix *x = *state;
	struct spec t = tcp_a, u = udp_a;

	t.dst = u.dst = "224.0.0.251";
	add_ip(x, &t);
	add_ip(x, &u);
	t.dst = "255.255.255.255";
	add_ip(x, &t);
	expect(x, "udp:1 ");
}

static void test_protocols_off(void **state)
{
	struct fix *x = *state;

	x->e.tcp = NULL;
	add_ip(x, &tcp_a);
	add_ip(x, &udp_a);
	expect(x, "udp:1 ");
	x->e.udp = NULL;
	x->e.icmp = NULL;
	add_ip(x, &udp_a);
	add_ip(x, &ping);
	expect(x, "");
}

static void test_icmp_of_the_wrong_family(void **state)
{
	struct fix *x = *state;
	struct spec s = ping;

	s.proto = PROTO_ICMP6;
	add_ip(x, &s);
	s = ping_6;
	s.proto = PROTO_ICMP;
	add_ip(x, &s);
	s = tcp_a;
	s.proto = 132; /* SCTP */
	add_ip(x, &s);
	expect(x, "");
}

/* Of a router behind the guest, about TCP; of other protocols nobody wants it, but it is no ping. */
static void test_too_big(void **state)
{
	static const uint8_t proto[] = { PROTO_TCP, PROTO_UDP };
	struct fix *x = *state;

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(proto); i++) {
		struct spec s = i % 2 ? ping_6 : ping;
		uint8_t *quote = x->buf[x->n] + ETH_HLEN + (i % 2 ? IP6_HLEN : IP4_HLEN) + ICMP_HLEN;

		s.sport = i % 2 ? 0x0200 : 0x0304;
		s.payload = 60;
		add_ip(x, &s);
		quote[0] = i % 2 ? 0x60 : 0x45;
		quote[i % 2 ? 6 : 9] = proto[i / 2];
		quote[(i % 2 ? IP6_HLEN : IP4_HLEN) + 3] = (uint8_t)(10 + i);
	}
	x->verdict = SERVICE_NOT_MINE;
	expect(x, "tcp-too-big:10 service tcp-too-big:11 service ");
}

static void check_guest(const struct fix *x, const uint8_t mac[MAC_LEN], const char *addr4)
{
	struct addr want;

	assert_int_equal(addr_parse(addr4, &want), 0);
	assert_memory_equal(x->e.guest.mac, mac, MAC_LEN);
	assert_true(addr_eq(&x->e.guest.addr4, &want));
}

static void test_learning(void **state)
{
	static const uint8_t other[MAC_LEN] = { 0x52, 0x54, 9, 9, 9, 9 };
	static const struct spec dhcp = { "0.0.0.0", "255.255.255.255", PROTO_UDP, 68, 67, 300 };
	struct fix *x = *state;

	assert_int_equal(addr_parse("192.0.2.99", &x->e.guest.addr4), 0);
	add_ip(x, &dhcp);
	expect(x, "service ");
	check_guest(x, mac_guest, "192.0.2.99");

	add_arp(x, mac_guest, "192.0.2.7");
	expect(x, "service ");
	check_guest(x, mac_guest, "192.0.2.7");

	/* It speaks for somebody else. */
	add_arp(x, other, "192.0.2.8");
	expect(x, "service ");
	check_guest(x, mac_guest, "192.0.2.7");

	add_ip(x, &tcp_a);
	expect(x, "tcp:1 ");
	check_guest(x, mac_guest, "192.0.2.2");
}

/* An IPv4 fragment of a UDP datagram to dport. */
static void add_fragment(struct fix *x, uint16_t dport, size_t off, size_t len, bool more)
{
	struct spec s = { "192.0.2.2", "198.51.100.1", PROTO_UDP, 1000, dport, len - 8 };
	uint8_t *ip;

	add_ip(x, &s);
	ip = x->buf[x->n - 1] + ETH_HLEN;
	ip[4] = 0x12;
	ip[6] = (uint8_t)((more ? 0x20 : 0) | off / 8 >> 8);
	ip[7] = (uint8_t)(off / 8);
	if (off)
		memset(ip + IP4_HLEN, 0x77, len);
	else
		ip[IP4_HLEN + 5] = 24; /* UDP length of the whole */
	if (!off)
		ip[IP4_HLEN + 4] = 0;
}

static void test_fragments(void **state)
{
	struct fix *x = *state;

	add_ip(x, &tcp_a);
	add_fragment(x, 80, 0, 16, true);
	add_ip(x, &tcp_a);
	add_fragment(x, 80, 16, 8, false);
	add_ip(x, &tcp_a);
	expect(x, "tcp:1 tcp:1 udp:1 tcp:1 ");

	add_fragment(x, 80, 16, 8, false);
	add_fragment(x, 80, 0, 16, true);
	expect(x, "udp:1 ");
	assert_int_equal(x->last_len, ETH_HLEN + IP4_HLEN + 24);
	assert_int_equal(x->last_byte, 0x77);
	assert_true(x->last_may_frag);

	/* Services are asked about the whole as well. */
	add_fragment(x, 67, 0, 16, true);
	add_fragment(x, 67, 16, 8, false);
	expect(x, "service ");
}

/* As a network card: what a bridge lets us hear of others is let pass. */
static void test_not_for_us(void **state)
{
	static const uint8_t other[MAC_LEN] = { 0x52, 0x54, 9, 9, 9, 9 }, group[MAC_LEN] = { 1, 0, 0x5e, 0, 0, 251 };
	struct fix *x = *state;

	add_ip(x, &tcp_a);
	add_ip(x, &tcp_a);
	memcpy(x->buf[1], other, MAC_LEN);
	add_arp(x, mac_guest, "192.0.2.2");
	memcpy(x->buf[2], other, MAC_LEN);
	add_fragment(x, 80, 0, 16, true);
	memcpy(x->buf[3], other, MAC_LEN);
	add_fragment(x, 80, 16, 8, false);
	add_ip(x, &udp_a);
	memcpy(x->buf[5], group, MAC_LEN);
	expect(x, "tcp:1 udp:1 ");
	assert_memory_equal(x->e.guest.mac, mac_guest, MAC_LEN);
}

/* Some who start us give us the address of the guest. */
static void test_address_of_the_guest(void **state)
{
	struct fix *x = *state;

	add_ip_from(x, &udp_a, mac_ours);
	expect(x, "");
	x->e.guest.mac_given = true;
	add_ip_from(x, &udp_a, mac_ours);
	expect(x, "udp:1 ");
	assert_memory_equal(x->e.guest.mac, mac_ours, MAC_LEN);
}

/* An address of ours as source, or the destination's: dropped, and nothing is learned from it. */
static void test_spoofed(void **state)
{
	struct fix *x = *state;
	struct nat nat = { .v4 = { .our = addr_any4 } };
	struct spec s = tcp_a;

	assert_int_equal(addr_parse("192.0.2.1", &nat.v4.our), 0);
	assert_int_equal(addr_parse("192.0.2.2", &x->e.guest.addr4), 0);
	x->e.guest.nat = &nat;
	s.src = "192.0.2.1";
	add_ip(x, &s);
	s.src = s.dst;
	add_ip(x, &s);
	expect(x, "");
	add_arp(x, mac_guest, "192.0.2.1");
	expect(x, "service ");
	check_guest(x, mac_guest, "192.0.2.2");
}

static void time_passes(struct fix *x, uint64_t ns)
{
	x->e.loop.now_ns += ns;
	timers_run(&x->e.loop.timers, x->e.loop.now_ns);
}

/* The rest of a datagram never comes: whoever sent its first fragment is told, once. */
static void test_fragments_late(void **state)
{
	struct fix *x = *state;

	add_fragment(x, 80, 16, 8, false);
	expect(x, "");
	time_passes(x, FRAG_TIMEOUT_NS + TIMER_TICK_NS);
	assert_int_equal(x->replies, 0); /* without its beginning nobody knows what it was */
	assert_false(timer_armed(&x->e.frag_timer));

	add_fragment(x, 80, 0, 16, true);
	expect(x, "");
	time_passes(x, FRAG_TIMEOUT_NS - 1);
	assert_int_equal(x->replies, 0);
	time_passes(x, 1 + TIMER_TICK_NS);
	assert_int_equal(x->replies, 1);
	assert_int_equal(x->sent[ETH_HLEN + 9], PROTO_ICMP);
	assert_int_equal(x->sent[ETH_HLEN + IP4_HLEN], 11);
	assert_int_equal(x->sent[ETH_HLEN + IP4_HLEN + 1], 1);
	/* It quotes the fragment: more fragments follow, none before; ports and length of the datagram. */
	assert_int_equal(x->sent[ETH_HLEN + IP4_HLEN + 8 + 6], 0x20);
	assert_int_equal(x->sent[ETH_HLEN + IP4_HLEN + 8 + IP4_HLEN + 3], 80);
	assert_int_equal(x->sent[ETH_HLEN + IP4_HLEN + 8 + IP4_HLEN + 5], 24);
	time_passes(x, 2 * FRAG_TIMEOUT_NS);
	assert_int_equal(x->replies, 1);

	/* What got complete is nobody's concern. */
	add_fragment(x, 80, 0, 16, true);
	add_fragment(x, 80, 16, 8, false);
	expect(x, "udp:1 ");
	time_passes(x, 2 * FRAG_TIMEOUT_NS);
	assert_int_equal(x->replies, 1);
}

/* A non-atomic IPv6 fragment of an ICMPv6 message of this type: 8 bytes at offset off. */
static void add_fragment6(struct fix *x, uint8_t type, size_t off, bool more)
{
	struct wr w = wr_init(x->buf[x->n], FRAME_ROOM);
	struct ip_tx ip = { .proto = 44, .ttl = 255 };

	assert_int_equal(addr_parse("2001:db8::2", &ip.src), 0);
	assert_int_equal(addr_parse("2001:db8:1::1", &ip.dst), 0);
	eth_put(&w, mac_ours, mac_guest, ETHERTYPE_IP6);
	ip_put(&w, &ip, IP6_FRAG_HLEN + 8);
	wr_be16(&w, PROTO_ICMP6 << 8);
	wr_be16(&w, (uint16_t)(off | more));
	wr_be32(&w, 4711u + type);
	wr_u8(&w, type);
	wr_zero(&w, 7);
	assert_true(wr_ok(&w));
	add(x, wr_len(&w));
}

/* RFC 6980: neighbour discovery in fragments is dropped; an echo request in fragments is an echo request. */
static void test_fragmented_discovery(void **state)
{
	struct fix *x = *state;

	x->verdict = SERVICE_NOT_MINE;
	for (unsigned type = 133; type <= 137; type++) {
		add_fragment6(x, (uint8_t)type, 0, true);
		add_fragment6(x, (uint8_t)type, 8, false);
		expect(x, "");
	}
	add_fragment6(x, 128, 0, true);
	add_fragment6(x, 128, 8, false);
	expect(x, "service icmp:1 ");
	assert_true(x->last_may_frag);
}

static void keep_line(void *ctx, enum log_level level, const char *line)
{
	struct fix *x = ctx;
	size_t at = strlen(x->calls);

	assert_int_equal(level, LOG_LVL_TRACE);
	snprintf(x->calls + at, sizeof(x->calls) - at, "%s\n", line);
}

/* Every frame has its line, also those that are nobody's. */
static void test_trace(void **state)
{
	struct fix *x = *state;

	log_set_sink(keep_line, x);
	add_ip(x, &udp_a);
	x->e.udp = NULL;
	expect(x, "");
	log_set_level(LOG_LVL_TRACE);
	add_ip(x, &udp_a);
	add_ip(x, &udp_a);
	add_ip(x, &udp_6);
	add_fragment(x, 80, 16, 8, false);
	memcpy(x->buf[x->n], mac_ours, MAC_LEN);
	x->buf[x->n][12] = 0x88;
	x->buf[x->n][13] = 0xb5;
	add(x, 64);
	add(x, 0 + 18);
	x->frame[x->n - 1].len = 10;
	x->frame[x->n - 1].n = 2;
	x->iov[x->n - 1][1].iov_len = 9;
	expect(x, "From guest: IPv4 protocol 17, 192.0.2.2:1000 to 198.51.100.1:80, 42 bytes\n"
		  "From guest: IPv4 protocol 17, 192.0.2.2:1000 to 198.51.100.1:80, 42 bytes\n"
		  "From guest: IPv6 protocol 17, [2001:db8::2]:1000 to [2001:db8:1::1]:80, 65 bytes\n"
		  "From guest: IPv4 protocol 17 fragment, 192.0.2.2:0 to 198.51.100.1:0, 42 bytes\n"
		  "From guest: ethertype 0x88b5 of 00:00:00:00:00:00, 64 bytes\nservice "
		  "From guest: malformed frame, 10 bytes\n");
	log_set_level(LOG_LVL_INFO);
	log_set_sink(NULL, NULL);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_runs),
		T(test_run_broken),
		T(test_services),
		T(test_bad_sources),
		T(test_group_destinations),
		T(test_protocols_off),
		T(test_icmp_of_the_wrong_family),
		T(test_too_big),
		T(test_learning),
		T(test_not_for_us),
		T(test_address_of_the_guest),
		T(test_spoofed),
		T(test_fragments),
		T(test_fragments_late),
		T(test_fragmented_discovery),
		T(test_trace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
