/* SPDX-License-Identifier: MIT */
/* Ethernet and IP headers as we write them. */
#include "wire/ip.h"

#include "frames.h"
#include "wire/eth.h"

static const struct addr src4 = ADDR4_INIT(192, 168, 1, 2), dst4 = ADDR4_INIT(8, 9, 10, 11);
static const struct addr src6 = { .b = { 0x20, 1, 0xd, 0xb8, [15] = 1 } }, dst6 = { .b = { 0x20, 1, 0xd, 0xb8, [15] = 0xfe } };

static void eth_bytes(void **state)
{
	static const uint8_t a[MAC_LEN] = { 2, 0xaa, 0xbb, 0xcc, 0xdd, 0xa }, b[MAC_LEN] = { 2, 0xaa, 0xbb, 0xcc, 0xdd, 0xb };
	uint8_t out[ETH_HLEN + 1] = { [ETH_HLEN] = 0x77 }, want[ETH_HLEN];
	struct wr w = wr_init(out, sizeof(out));

	eth_put(&w, b, a, ETHERTYPE_IP6);
	hex_bytes(ETH6, want, sizeof(want));
	assert_int_equal(wr_len(&w), ETH_HLEN);
	assert_memory_equal(out, want, ETH_HLEN);
	assert_int_equal(out[ETH_HLEN], 0x77);

	w = wr_init(out, ETH_HLEN - 1);
	eth_put(&w, b, a, ETHERTYPE_IP4);
	assert_false(wr_ok(&w));
	assert_memory_equal(out, want, ETH_HLEN);
}

static void ip_bytes(void **state)
{
	static const struct {
		struct ip_tx ip;
		size_t l4_len;
		const char *want;
	} cases[] = {
		{ { .proto = PROTO_TCP, .ttl = 64 }, 0, "45000014 00004000 4006 6726 " ADDRS4 },
		{ { .proto = PROTO_UDP, .ttl = 1, .tos = 0xb8, .id = 0x1234, .may_frag = true },
		  1000,
		  "45b803fc 12340000 0111 cf47 " ADDRS4 },
		{ { .proto = PROTO_ICMP, .ttl = 255 }, 65515, "4500ffff 00004000 ff01 a83e " ADDRS4 },
		{ { .proto = PROTO_TCP, .ttl = 64 }, 0, "60000000 00000640 " ADDRS6 },
		{ { .proto = PROTO_ICMP6, .ttl = 255, .tos = 0xb8, .flow_label = 0xabcde }, 65535, "6b8abcde ffff3aff " ADDRS6 },
		{ { .proto = PROTO_UDP, .ttl = 3, .tos = 0x0f, .flow_label = 0xfff00001 }, 0x123, "60f00001 01231103 " ADDRS6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t want[IP6_HLEN], out[IP6_HLEN];
		size_t len = hex_bytes(cases[i].want, want, sizeof(want));
		struct ip_tx ip = cases[i].ip;
		struct wr w = wr_init(out, sizeof(out));

		ip.src = len == IP4_HLEN ? src4 : src6;
		ip.dst = len == IP4_HLEN ? dst4 : dst6;
		assert_int_equal(ip_hlen(&ip.src), len);
		ip_put(&w, &ip, cases[i].l4_len);
		assert_int_equal(wr_len(&w), len);
		assert_memory_equal(out, want, len);
		if (len == IP4_HLEN)
			assert_int_equal(slow_sum(out, len, 0), 0xffff);
	}
}

/* The checksum against the slow one, over many headers. */
static void ip4_checksums(void **state)
{
	uint64_t rnd = 1;

	for (unsigned i = 0; i < 2000; i++) {
		uint32_t s = next_random(&rnd), d = next_random(&rnd), v = next_random(&rnd);
		struct ip_tx ip = { .src = addr_from4(&s), .dst = addr_from4(&d), .may_frag = v & 1 };
		uint8_t out[IP4_HLEN];
		struct wr w = wr_init(out, sizeof(out));

		ip.proto = (uint8_t)(v >> 1);
		ip.ttl = (uint8_t)(v >> 9);
		ip.tos = (uint8_t)(v >> 17);
		ip.id = (uint16_t)next_random(&rnd);
		ip_put(&w, &ip, next_random(&rnd) % 65516);
		assert_true(wr_ok(&w));
		assert_int_equal(slow_sum(out, sizeof(out), 0), 0xffff);
		assert_int_equal(out[6] >> 4, v & 1 ? 0 : 4);
	}
}

static void ip_refused(void **state)
{
	static const struct {
		const struct addr *src, *dst;
		size_t l4_len, cap;
	} cases[] = {
		{ &src4, &dst4, 65516, 64 },    { &src4, &dst4, SIZE_MAX, 64 }, { &src6, &dst6, 65536, 64 },
		{ &src6, &dst6, SIZE_MAX, 64 }, { &src4, &dst6, 0, 64 },        { &src6, &dst4, 0, 64 },
		{ &src4, &dst4, 0, 19 },        { &src6, &dst6, 0, 39 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ip_tx ip = { .src = *cases[i].src, .dst = *cases[i].dst, .proto = PROTO_TCP };
		uint8_t out[64] = { 0 }, untouched[64] = { 0 };
		struct wr w = wr_init(out, cases[i].cap);

		ip_put(&w, &ip, cases[i].l4_len);
		assert_false(wr_ok(&w));
		assert_memory_equal(out, untouched, sizeof(out));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(eth_bytes),
		cmocka_unit_test(ip_bytes),
		cmocka_unit_test(ip4_checksums),
		cmocka_unit_test(ip_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
