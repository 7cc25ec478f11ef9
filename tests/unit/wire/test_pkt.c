/* SPDX-License-Identifier: MIT */
/* From a frame to its transport header. */
#include "wire/pkt.h"

#include <errno.h>

#include "frames.h"
#include "wire/eth.h"
#include "wire/ip.h"

/* IPv4 header: "45" or with options, total length, id, flags and offset. The checksum is nonsense on purpose. */
#define IP4(ihl, len, frag, proto) ETH4 "4" ihl "b8" len "1234" frag "40" proto "dead" ADDRS4
#define IP6(len, next) ETH6 "6b812345" len next "40" ADDRS6
#define ICMP8 "0800 1234 5678 0001 "
#define DATA4 "d1d2d3d4 "

#define FRAG_ATOMIC(next) next "00 0000 89abcdef "
#define FRAG_FIRST(next) next "00 0001 89abcdef "
#define FRAG_LAST(next) next "00 ffc0 89abcdef "
#define Z36 "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
#define PADN6 "0104 00000000 "

struct want {
	uint8_t family, proto;
	uint16_t l4;
	uint32_t l4_len;
	uint16_t sport, dport;
	bool frag, more;
	uint16_t off;
	uint32_t id;
	uint16_t l4_nexthdr;
	bool may_frag; /* without being a fragment */
};

struct good {
	const char *name, *frame;
	struct want want;
};

static const struct good good[] = {
	{ "tcp", IP4("5", "0028", "4000", "06") TCP20, { 4, 6, 34, 20, 1234, 80 } },
	{ "tcp with data", IP4("5", "002c", "0000", "06") TCP20 DATA4, { 4, 6, 34, 24, 1234, 80, .may_frag = true } },
	{ "udp", IP4("5", "0020", "4000", "11") UDP8 DATA4, { 4, 17, 34, 12, 1234, 53 } },
	{ "empty udp", IP4("5", "001c", "4000", "11") "04d20035 00080000", { 4, 17, 34, 8, 1234, 53 } },
	{ "reserved flag", IP4("5", "001c", "8000", "11") UDP8, { 4, 17, 34, 8, 1234, 53, .may_frag = true } },
	{ "echo", IP4("5", "001c", "4000", "01") ICMP8, { 4, 1, 34, 8 } },
	{ "other protocol", IP4("5", "0018", "4000", "2f") DATA4, { 4, 47, 34, 4 } },
	{ "no payload", IP4("5", "0014", "4000", "2f"), { 4, 47, 34, 0 } },
	{ "router alert", IP4("6", "0020", "4000", "11") "94040000" UDP8, { 4, 17, 38, 8, 1234, 53 } },
	{ "record route", IP4("8", "0028", "4000", "11") "01 0707 04 00000000 00ff8301" UDP8, { 4, 17, 46, 8, 1234, 53 } },
	{ "all options", IP4("f", "0044", "4000", "11") "4428 0500 " Z36 UDP8, { 4, 17, 74, 8, 1234, 53 } },
	{ "first fragment", IP4("5", "001c", "2000", "11") UDP8, { 4, 17, 34, 8, 0, 0, true, true, 0, 0x1234 } },
	{ "middle fragment", IP4("5", "001c", "2001", "06") UDP8, { 4, 6, 34, 8, 0, 0, true, true, 8, 0x1234 } },
	{ "last fragment", IP4("5", "0018", "1fff", "11") DATA4, { 4, 17, 34, 4, 0, 0, true, false, 65528, 0x1234 } },
	{ "short fragment", IP4("5", "0014", "2000", "06"), { 4, 6, 34, 0, 0, 0, true, true, 0, 0x1234 } },

	{ "tcp6", IP6("0014", "06") TCP20, { 6, 6, 54, 20, 1234, 80 } },
	{ "udp6", IP6("000c", "11") UDP8 DATA4, { 6, 17, 54, 12, 1234, 53 } },
	{ "echo6", IP6("0008", "3a") ICMP8, { 6, 58, 54, 8 } },
	{ "nothing next", IP6("0000", "3b"), { 6, 59, 54, 0 } },
	{ "nothing next but bytes", IP6("0004", "3b") DATA4, { 6, 59, 54, 4 } },
	{ "other protocol 6", IP6("0004", "2f") DATA4, { 6, 47, 54, 4 } },
	{ "authentication", IP6("0004", "33") DATA4, { 6, 51, 54, 4 } },
	{ "hop by hop", IP6("0010", "00") "1100" PADN6 UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "router alert 6", IP6("0010", "00") "3a00 05020000 0100 " ICMP8, { 6, 58, 62, 8 } },
	{ "pad1", IP6("0010", "3c") "1100 000000000000 " UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "pad1 and padn", IP6("0010", "3c") "1100 00 0103 000000 " UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "option to be skipped", IP6("0010", "3c") "1100 3e04ffffffff " UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "long options", IP6("0018", "3c") "1101 010c 000000000000000000000000 " UDP8, { 6, 17, 70, 8, 1234, 53 } },
	{ "headers fill head",
	  IP6("00c8", "3c") "1117 01bc " Z36 Z36 Z36 Z36 Z36 "00000000 00000000 " UDP8,
	  { 6, 17, 246, 8, 1234, 53 } },
	{ "route at its end", IP6("0010", "2b") "1100 0000 00000000 " UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "route 2 at its end", IP6("0020", "2b") "1102 0200 00000000 " ADDRS4 ADDRS4 UDP8, { 6, 17, 78, 8, 1234, 53 } },
	{ "all headers",
	  IP6("003c", "00") "3c00" PADN6 "2b00" PADN6 "2c00 0300 00000000 " FRAG_ATOMIC("3c") "0600" PADN6 TCP20,
	  { 6, 6, 94, 20, 1234, 80 } },
	{ "atomic", IP6("0010", "2c") FRAG_ATOMIC("11") UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "atomic, reserved bits", IP6("0010", "2c") "11ff 0006 89abcdef" UDP8, { 6, 17, 62, 8, 1234, 53 } },
	{ "first fragment 6", IP6("0010", "2c") FRAG_FIRST("11") UDP8, { 6, 17, 62, 8, 0, 0, true, true, 0, 0x89abcdef, 20 } },
	{ "last fragment 6", IP6("000c", "2c") FRAG_LAST("06") DATA4, { 6, 6, 62, 4, 0, 0, true, false, 0xffc0, 0x89abcdef, 20 } },
	{ "fragment of options",
	  IP6("0018", "00") "2c00" PADN6 FRAG_FIRST("3c") "1100" PADN6,
	  { 6, 60, 70, 8, 0, 0, true, true, 0, 0x89abcdef, 54 } },

	{ "arp", MAC_B MAC_A "0806 0001", { 0 } },
	{ "unknown", MAC_B MAC_A "88cc", { 0 } },
	{ "length instead of type", MAC_B MAC_A "0003 424203", { 0 } },
};

static const struct {
	const char *name, *frame;
} bad[] = {
	{ "empty", "" },
	{ "version 5", ETH4 "55b80028 12344000 4006dead " ADDRS4 TCP20 },
	{ "version 6 in IPv4", ETH4 "65b80028 12344000 4006dead " ADDRS4 TCP20 },
	{ "header of 16", ETH4 "44b80028 12344000 4006dead " ADDRS4 TCP20 },
	{ "header beyond the packet", IP4("7", "0018", "4000", "2f") DATA4 DATA4 DATA4 },
	{ "total below the header", IP4("5", "0013", "4000", "2f") DATA4 },
	{ "total of zero", IP4("5", "0000", "4000", "06") TCP20 },
	{ "total beyond the frame", IP4("5", "0029", "4000", "06") TCP20 },
	{ "loose source route", IP4("7", "0024", "4000", "11") "8307 04 0a000001 00" UDP8 },
	{ "strict source route", IP4("7", "0024", "4000", "11") "01 8907 04 0a000001" UDP8 },
	{ "option of length 0", IP4("6", "0020", "4000", "11") "94000000" UDP8 },
	{ "option of length 1", IP4("6", "0020", "4000", "11") "94010000" UDP8 },
	{ "option past the header", IP4("6", "0020", "4000", "11") "94050000" UDP8 },
	{ "option without length", IP4("6", "0020", "4000", "11") "01010194" UDP8 },
	{ "tcp of 19", IP4("5", "0027", "4000", "06") TCP20 },
	{ "udp of 7", IP4("5", "001b", "4000", "11") UDP8 },
	{ "icmp of 7", IP4("5", "001b", "4000", "01") ICMP8 },

	{ "version 4 in IPv6", ETH6 "4b812345 0008 1140" ADDRS6 UDP8 },
	{ "payload beyond the frame", IP6("0009", "11") UDP8 },
	{ "tcp6 of 19", IP6("0013", "06") TCP20 },
	{ "udp6 of 7", IP6("0007", "11") UDP8 },
	{ "icmp6 of 7", IP6("0007", "3a") ICMP8 },
	{ "no payload 6", IP6("0000", "11") UDP8 },
	{ "jumbo", IP6("0000", "00") "1100 c204 00010000 " UDP8 },
	{ "jumbo with a length", IP6("0010", "00") "1100 c204 00010000 " UDP8 },
	{ "hop by hop in second place", IP6("0018", "3c") "0000" PADN6 "1100" PADN6 UDP8 },
	{ "hop by hop twice", IP6("0018", "00") "0000" PADN6 "1100" PADN6 UDP8 },
	{ "option that must be known, 01", IP6("0010", "3c") "1100 4004 00000000 " UDP8 },
	{ "option that must be known, 10", IP6("0010", "3c") "1100 8004 00000000 " UDP8 },
	{ "option that must be known, 11", IP6("0010", "3c") "1100 c904 00000000 " UDP8 },
	{ "option past the header 6", IP6("0010", "3c") "1100 0105 00000000 " UDP8 },
	{ "option without length 6", IP6("0010", "3c") "1100 0103 000000 01 " UDP8 },
	{ "options past the packet", IP6("0010", "3c") "1102" PADN6 UDP8 },
	{ "source route", IP6("0020", "2b") "1102 0001 00000000 " ADDRS4 ADDRS4 UDP8 },
	{ "source route 2", IP6("0020", "2b") "1102 0201 00000000 " ADDRS4 ADDRS4 UDP8 },
	{ "segment route", IP6("0020", "2b") "1102 0401 00000000 " ADDRS4 ADDRS4 UDP8 },
	{ "mapped source", ETH6 "6b812345 0008 1140 00000000000000000000ffff08090a0b 20010db80000000000000000000000fe " UDP8 },
	{ "mapped destination", ETH6 "6b812345 0008 1140 20010db8000000000000000000000001 00000000000000000000ffff08090a0b " UDP8 },
	{ "cut fragment header", IP6("0007", "2c") FRAG_FIRST("11") UDP8 },
	{ "cut after atomic", IP6("000f", "2c") FRAG_ATOMIC("11") UDP8 },
	{ "cut after options", IP6("000f", "3c") "1100" PADN6 UDP8 },
	{ "header partly outside of head",
	  IP6("00d0", "3c") "1118 01c4 " Z36 Z36 Z36 Z36 Z36 "00000000 00000000 00000000 00000000 " UDP8 },
	{ "header outside of head", IP6("00e8", "3c") "111b 01dc " Z36 Z36 Z36 Z36 Z36 Z36 "00000000" UDP8 },
};

/* Head of pkt as the caller makes it; what lies behind the frame is filled with junk. */
static size_t pkt_load(struct pkt *p, const uint8_t *frame, size_t len, uint8_t junk)
{
	memset(p, junk, sizeof(*p));
	p->head_len = (uint16_t)MIN(len, sizeof(p->head));
	memcpy(p->head, frame, p->head_len);
	return len;
}

static void assert_pkt(const struct pkt *p, const struct want *w, const char *name)
{
	if (p->family != w->family || p->proto != w->proto || p->l4 != w->l4 || p->l4_len != w->l4_len)
		fail_msg("%s: family %u proto %u l4 %u len %u", name, p->family, p->proto, p->l4, p->l4_len);
	if (p->frag != w->frag || p->frag_more != w->more || p->frag_off != w->off || p->frag_id != w->id)
		fail_msg("%s: fragment %d more %d off %u id %x", name, p->frag, p->frag_more, p->frag_off, p->frag_id);
	if (p->may_frag != (w->may_frag || w->frag))
		fail_msg("%s: may be cut: %d", name, p->may_frag);
	if (p->sport != w->sport || p->dport != w->dport || p->l4_nexthdr != w->l4_nexthdr)
		fail_msg("%s: ports %u %u, fragment header named at %u", name, p->sport, p->dport, p->l4_nexthdr);
}

static void assert_common(const struct pkt *p)
{
	static const uint8_t a[MAC_LEN] = { 2, 0xaa, 0xbb, 0xcc, 0xdd, 0xa }, b[MAC_LEN] = { 2, 0xaa, 0xbb, 0xcc, 0xdd, 0xb };
	static const struct addr src4 = ADDR4_INIT(192, 168, 1, 2), dst4 = ADDR4_INIT(8, 9, 10, 11);
	static const struct addr src6 = { .b = { 0x20, 1, 0xd, 0xb8, [15] = 1 } },
				 dst6 = { .b = { 0x20, 1, 0xd, 0xb8, [15] = 0xfe } };

	assert_memory_equal(p->dst_mac, b, MAC_LEN);
	assert_memory_equal(p->src_mac, a, MAC_LEN);
	assert_int_equal(p->ethertype, get16(&p->head[12]));
	if (!p->family)
		return;
	assert_int_equal(p->l3, ETH_HLEN);
	assert_int_equal(p->ttl, 0x40);
	assert_int_equal(p->tos, 0xb8);
	assert_true(addr_eq(&p->src, p->family == 4 ? &src4 : &src6));
	assert_true(addr_eq(&p->dst, p->family == 4 ? &dst4 : &dst6));
}

static void good_frames(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		for (int junk = 0; junk < 2; junk++) {
			uint8_t frame[512];
			size_t len = hex_bytes(good[i].frame, frame, sizeof(frame));
			struct pkt p;
			int err;

			err = pkt_parse(&p, pkt_load(&p, frame, len, junk ? 0xff : 0));
			if (err)
				fail_msg("%s: %d", good[i].name, err);
			assert_pkt(&p, &good[i].want, good[i].name);
			assert_common(&p);
		}
	}
}

static void bad_frames(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t frame[512];
		struct pkt p;
		int err;

		err = pkt_parse(&p, pkt_load(&p, frame, hex_bytes(bad[i].frame, frame, sizeof(frame)), 0));
		if (err != -EBADMSG)
			fail_msg("%s: %d", bad[i].name, err);
	}
}

/* A frame cut anywhere before the end of its IP packet is refused, whatever bytes lie behind it in memory. */
static void truncated_frames(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint8_t frame[512];
		size_t len = hex_bytes(good[i].frame, frame, sizeof(frame));
		size_t end = good[i].want.family ? good[i].want.l4 + good[i].want.l4_len : ETH_HLEN;

		for (size_t cut = 0; cut < len; cut++) {
			struct pkt p;

			for (int junk = 0; junk < 2; junk++) {
				int err = pkt_parse(&p, pkt_load(&p, frame, cut, junk ? 0xff : 0));

				if (err != (cut < end ? -EBADMSG : 0))
					fail_msg("%s cut at %zu: %d", good[i].name, cut, err);
			}
		}
	}
}

/* The frame goes on behind head: all is as with the whole of it, or refused because headers lie outside. */
static void short_heads(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint8_t frame[512];
		size_t len = hex_bytes(good[i].frame, frame, sizeof(frame));
		size_t need = good[i].want.l4 ? good[i].want.l4 : ETH_HLEN;

		if (!good[i].want.frag && good[i].want.proto == PROTO_TCP)
			need += 20;
		else if (!good[i].want.frag && good[i].want.sport)
			need += 8;
		else if (!good[i].want.frag && (good[i].want.proto == PROTO_ICMP || good[i].want.proto == PROTO_ICMP6))
			need += 8;
		for (size_t cut = 0; cut < len; cut++) {
			struct pkt p;
			int err;

			pkt_load(&p, frame, cut, 0xff);
			err = pkt_parse(&p, len);
			if (err != (cut < need ? -EBADMSG : 0))
				fail_msg("%s head of %zu: %d", good[i].name, cut, err);
			if (!err)
				assert_pkt(&p, &good[i].want, good[i].name);
		}
	}
}

/* Padding behind the IP packet is no payload. */
static void padded_frames(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		uint8_t frame[512];
		size_t len = hex_bytes(good[i].frame, frame, sizeof(frame));

		for (size_t pad = 1; pad < 50; pad += 7) {
			struct pkt p;

			memset(&frame[len], 0xee, pad);
			assert_int_equal(pkt_parse(&p, pkt_load(&p, frame, len + pad, 0)), 0);
			assert_pkt(&p, &good[i].want, good[i].name);
		}
	}
}

static void long_frames(void **state)
{
	static const struct {
		const char *frame;
		size_t len;
		uint32_t want; /* 0: refused */
	} cases[] = {
		{ IP4("5", "ffff", "4000", "06") TCP20, 65549, 65515 },
		{ IP4("5", "ffff", "4000", "06") TCP20, 70000, 65515 },
		{ IP4("5", "ffff", "4000", "06") TCP20, 65548, 0 },
		{ IP4("5", "fff1", "4000", "06") TCP20, 65535, 65501 },
		{ IP6("ffff", "06") TCP20, 65589, 65535 },
		{ IP6("ffff", "06") TCP20, 65588, 0 },
		{ IP6("ffff", "00") "0600" PADN6 TCP20, 65589, 65527 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t frame[PKT_HEAD_MAX] = { 0 };
		struct pkt p;
		struct rd r;

		hex_bytes(cases[i].frame, frame, sizeof(frame));
		pkt_load(&p, frame, sizeof(frame), 0);
		assert_int_equal(pkt_parse(&p, cases[i].len), cases[i].want ? 0 : -EBADMSG);
		if (!cases[i].want)
			continue;
		assert_int_equal(p.l4_len, cases[i].want);
		r = pkt_l4(&p);
		assert_int_equal(rd_left(&r), PKT_HEAD_MAX - p.l4);
	}
}

static void l4_reader(void **state)
{
	uint8_t frame[128];
	size_t len = hex_bytes(IP4("5", "0020", "4000", "11") UDP8 DATA4 "eeeeeeee", frame, sizeof(frame));
	struct pkt p;
	struct rd r;

	assert_int_equal(pkt_parse(&p, pkt_load(&p, frame, len, 0)), 0);
	r = pkt_l4(&p);
	assert_int_equal(rd_left(&r), 12);
	assert_int_equal(rd_be16(&r), 1234);
	rd_skip(&r, 6);
	assert_int_equal(rd_be32(&r), 0xd1d2d3d4);
	assert_true(rd_done(&r));
}

/* Lengths that the caller cannot mean. */
static void wrong_head_len(void **state)
{
	uint8_t frame[PKT_HEAD_MAX] = { 0 };
	struct pkt p;

	hex_bytes(IP4("5", "0028", "4000", "06") TCP20, frame, sizeof(frame));
	pkt_load(&p, frame, sizeof(frame), 0);
	assert_int_equal(pkt_parse(&p, sizeof(frame) - 1), -EBADMSG);
	p.head_len = PKT_HEAD_MAX + 1;
	assert_int_equal(pkt_parse(&p, 1000), -EBADMSG);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_frames), cmocka_unit_test(bad_frames),     cmocka_unit_test(truncated_frames),
		cmocka_unit_test(short_heads), cmocka_unit_test(padded_frames),  cmocka_unit_test(long_frames),
		cmocka_unit_test(l4_reader),   cmocka_unit_test(wrong_head_len),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
