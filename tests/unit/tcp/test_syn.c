/* SPDX-License-Identifier: MIT */
#include "tcp/syn.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/csum.h"

#define ETH_LEN 14

static struct addr ip(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

static struct flow_key key_of(bool v4)
{
	struct addr guest = ip(v4 ? "192.0.2.15" : "2001:db8::15"), remote = ip(v4 ? "198.51.100.7" : "2001:db8:1::7");

	return flow_key_init(PROTO_TCP, &guest, 40000, &remote, 443);
}

/* The packet behind an Ethernet header, as a frame of the guest would have it. */
static int packet_parse(const uint8_t *packet, size_t len, struct pkt *p)
{
	memset(p, 0, sizeof(*p));
	p->head[12] = packet[0] >> 4 == 4 ? 0x08 : 0x86;
	p->head[13] = packet[0] >> 4 == 4 ? 0x00 : 0xdd;
	memcpy(p->head + ETH_LEN, packet, len);
	p->head_len = (uint16_t)(ETH_LEN + len);
	return pkt_parse(p, p->head_len);
}

/* What a SYN says, said again, says the same. */
static void check_again(const struct tcp_hdr *h, bool v4)
{
	struct flow_key key = key_of(v4);
	struct tcp_syn s = tcp_syn_of(h);
	uint8_t packet[TCP_SYN_MAX];
	size_t len = tcp_syn_put(&s, &key, packet);
	struct tcp_hdr again;
	struct tcp_syn t;
	struct pkt p;
	struct rd r;

	assert_true(len >= ip_hlen(&key.guest) + TCP_HLEN);
	assert_int_equal(packet_parse(packet, len, &p), 0);
	assert_int_equal(p.family, v4 ? 4 : 6);
	assert_int_equal(p.proto, PROTO_TCP);
	assert_true(addr_eq(&p.src, &key.guest) && addr_eq(&p.dst, &key.remote));
	assert_int_equal(p.l4_len, len - ip_hlen(&key.guest));
	assert_false(tcp_syn_stays(&p));
	r = pkt_l4(&p);
	assert_int_equal(tcp_hdr_read(&r, &again), 0);
	assert_int_equal(again.sport, key.gport);
	assert_int_equal(again.dport, key.rport);
	assert_int_equal(again.ack, 0);
	assert_int_equal(again.ts_ecr, 0);
	assert_int_equal(again.flags & ~(TCP_ECE | TCP_CWR), TCP_SYN);
	assert_int_equal(again.hlen, p.l4_len); /* no data */
	t = tcp_syn_of(&again);
	assert_int_equal(t.seq, h->seq);
	assert_int_equal(t.window, h->window);
	assert_int_equal(t.mss, h->mss);
	assert_int_equal(t.has_wscale, h->has_wscale);
	assert_int_equal(t.wscale, h->wscale);
	assert_int_equal(t.sack_ok, h->sack_ok);
	assert_int_equal(t.has_ts, h->has_ts);
	assert_int_equal(t.ts_val, h->ts_val);
	assert_int_equal(t.ecn, (h->flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR));

	/* Nobody corrects a checksum on this way. */
	assert_int_equal(csum_fold(csum_add(packet + p.l4 - ETH_LEN, p.l4_len, csum_pseudo(&p.src, &p.dst, PROTO_TCP, p.l4_len))),
			 0);
	if (v4)
		assert_int_equal(csum_fold(csum_add(packet, IP4_HLEN, 0)), 0);
}

/* Every set of options, with small and large numbers. */
static void test_again(void **state)
{
	static const uint32_t number[] = { 0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x12345678 };

	for (unsigned bits = 0; bits < 64; bits++) {
		for (size_t i = 0; i < ARRAY_SIZE(number); i++) {
			struct tcp_hdr h = {
				.flags = (uint8_t)(TCP_SYN | (bits & 1 ? TCP_ECE : 0) | (bits & 2 ? TCP_CWR : 0)),
				.seq = number[i],
				.window = (uint16_t)number[i],
				.mss = bits & 4 ? (uint16_t)(number[i] | 536) : 0,
				.has_wscale = bits & 8,
				.wscale = bits & 8 ? (uint8_t)(number[i] % 15) : (uint8_t)0,
				.sack_ok = bits & 16,
				.has_ts = bits & 32,
				.ts_val = bits & 32 ? number[i] : 0,
			};

			check_again(&h, true);
			check_again(&h, false);
		}
	}
}

/* What only an answer has is not repeated. */
static void test_stray(void **state)
{
	struct tcp_hdr h = { .flags = TCP_SYN | TCP_PSH | TCP_URG,
			     .seq = 7,
			     .ack = 99,
			     .urgent = 3,
			     .window = 64240,
			     .mss = 1460,
			     .has_ts = true,
			     .ts_val = 5,
			     .ts_ecr = 6,
			     .n_sack = 2,
			     .sack = { { 1, 2 }, { 3, 4 } } };
	struct flow_key key = key_of(true);
	struct tcp_syn s = tcp_syn_of(&h);
	uint8_t packet[TCP_SYN_MAX];

	assert_int_equal(tcp_syn_put(&s, &key, packet), IP4_HLEN + TCP_HLEN + 4 + 12);
	check_again(&h, false);
}

/* A packet of TCP over IPv6 with one empty extension header (RFC 8200 4.6), or none. */
static void packet6(struct pkt *p, const char *src, const char *dst, bool ext)
{
	uint8_t packet[IP6_HLEN + 8 + TCP_HLEN] = { 0 };
	struct wr w = wr_init(packet, sizeof(packet));
	struct ip_tx tx = { .src = ip(src), .dst = ip(dst), .proto = ext ? 60 : PROTO_TCP, .ttl = 64 };
	struct tcp_hdr h = { .sport = 1, .dport = 2, .flags = TCP_SYN };

	ip_put(&w, &tx, TCP_HLEN + (ext ? 8u : 0u));
	if (ext)
		wr_bytes(&w, (const uint8_t[8]){ PROTO_TCP, 0, 1, 4 }, 8);
	tcp_hdr_put(&w, &h);
	assert_int_equal(packet_parse(packet, wr_len(&w), p), 0);
	assert_int_equal(p->proto, PROTO_TCP);
}

static void test_stays(void **state)
{
	static const struct {
		const char *src, *dst;
		bool ext;
		enum tcp_stay want;
	} row[] = {
		{ "2001:db8::1", "2001:db8::2", false, TCP_STAYS_NOT },
		{ "fd00::1", "::1:2", false, TCP_STAYS_NOT },
		{ "2001:db8::1", "2001:db8::2", true, TCP_STAYS_HEADERS },
		{ "fe80::1", "2001:db8::2", false, TCP_STAYS_LINK_LOCAL },
		{ "2001:db8::1", "fe80::2", false, TCP_STAYS_LINK_LOCAL },
		{ "2001:db8::1", "febf:ffff::2", false, TCP_STAYS_LINK_LOCAL },
		{ "fe80::1", "fe80::2", true, TCP_STAYS_HEADERS },
		{ "fec0::1", "fe7f::2", false, TCP_STAYS_NOT },
	};
	struct pkt p;

	for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
		packet6(&p, row[i].src, row[i].dst, row[i].ext);
		assert_int_equal(tcp_syn_stays(&p), row[i].want);
	}
	/* IPv4 has no such scopes, as far as sockets are concerned. */
	p = (struct pkt){ .family = 4, .src = ip("169.254.1.2"), .dst = ip("169.254.169.254") };
	assert_int_equal(tcp_syn_stays(&p), TCP_STAYS_NOT);
	p = (struct pkt){ .family = 6, .l3 = ETH_LEN, .l4 = ETH_LEN + IP6_HLEN, .src = ip("2001:db8::1"), .dst = ip("192.0.2.1") };
	assert_int_equal(tcp_syn_stays(&p), TCP_STAYS_MAPPED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_stray),
		cmocka_unit_test(test_stays),
	};

	return cmocka_run_group_tests_name("tcp/syn", tests, NULL, NULL);
}
