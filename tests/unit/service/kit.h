/* SPDX-License-Identifier: MIT */
/*
 * For the tests of service/ and their fuzz targets: a configuration, frames from text, and a check of replies that shares no code with
 * what made them: plain arithmetic on bytes.
 */
#pragma once

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

#define OUR_MAC "9a559a559a55 "
#define GUEST_MAC "525400123456 "
#define BCAST_MAC "ffffffffffff "
#define OUR_LL6 "fe80 00*13 01 "
#define OUR4 "c0000201 "
#define GUEST4 "c0000202 "
#define ANY4 "00000000 "
#define BCAST4 "ffffffff "

/* IPv4 192.0.2.2/24 behind 192.0.2.1; IPv6 2001:db8::2 behind fe80::1, which also answers for 2001:db8::1. */
static inline struct guestconf kit_conf(void)
{
	struct guestconf c = {
		.our_mac = { 0x9a, 0x55, 0x9a, 0x55, 0x9a, 0x55 },
		.mtu = 65520,
		.v4 = true,
		.v6 = true,
		.dhcp = true,
		.dhcp6 = true,
		.ndp = true,
		.ra = true,
		.dns = true,
		.search_on = true,
		.addr4 = ADDR4_INIT(192, 0, 2, 2),
		.plen4 = 24,
		.gw4 = ADDR4_INIT(192, 0, 2, 1),
		.our4 = ADDR4_INIT(192, 0, 2, 1),
		.dns4 = { ADDR4_INIT(198, 51, 100, 53), ADDR4_INIT(198, 51, 100, 54) },
		.n_dns4 = 2,
		.addr6 = { .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 2 } },
		.our_ll6 = { .b = { 0xfe, 0x80, [15] = 1 } },
		.gw6 = { .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 } },
		.dns6 = { { .b = { 0x20, 0x01, 0x0d, 0xb8, [15] = 0x53 } } },
		.n_dns6 = 1,
		.search = { "example.org", "a.test" },
		.n_search = 2,
		.hostname = "guest",
		.fqdn = "guest.example.org",
	};

	return c;
}

static inline unsigned kit_digit(char c)
{
	return (unsigned)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
}

/* Bytes that the text stands for: pairs of digits, spaces between bytes, "00*12" is a byte twelve times. Aborts on anything else. */
static inline size_t kit_hex(const char *s, uint8_t *dst, size_t cap)
{
	size_t n = 0;

	while (*s) {
		unsigned long times = 1;
		uint8_t b;

		if (*s == ' ') {
			s++;
			continue;
		}
		if (!isxdigit((unsigned char)s[0]) || !isxdigit((unsigned char)s[1]))
			abort();
		b = (uint8_t)(kit_digit(s[0]) << 4 | kit_digit(s[1]));
		s += 2;
		if (*s == '*') {
			char *end;

			times = strtoul(s + 1, &end, 10);
			s = end;
		}
		if (times > cap - n)
			abort();
		memset(dst + n, b, times);
		n += times;
	}
	return n;
}

static inline uint16_t kit_get16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

static inline void kit_set16(uint8_t *b, size_t v)
{
	b[0] = (uint8_t)(v >> 8);
	b[1] = (uint8_t)v;
}

/* One's complement sum, the carry added at once each time; an odd last byte is the high one of its word. */
static inline uint32_t kit_sum(const uint8_t *b, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return sum;
}

/* Sum over pseudo-header and transport part of a frame with IP at 14 and no options or extension headers. */
static inline uint32_t kit_l4_sum(const uint8_t *f, size_t len)
{
	bool v4 = f[12] == 0x08;
	size_t l4 = v4 ? 34 : 54, l4_len = (v4 ? kit_get16(f + 16) + 14u : kit_get16(f + 18) + 54u) - l4;
	uint8_t words[4] = { 0, v4 ? f[23] : f[20], (uint8_t)(l4_len >> 8), (uint8_t)l4_len };
	uint32_t sum = kit_sum(words, sizeof(words), 0);

	if (l4_len > len - l4)
		return 0;
	sum = v4 ? kit_sum(f + 26, 8, sum) : kit_sum(f + 22, 32, sum);
	return kit_sum(f + l4, l4_len, sum);
}

/* Fills in the lengths and checksums of a frame that leaves them zero. */
static inline void kit_seal(uint8_t *f, size_t len)
{
	uint16_t type = kit_get16(f + 12);
	size_t l4 = type == 0x0800 ? 34 : 54, at;
	uint8_t proto;

	if (type != 0x0800 && type != 0x86dd)
		return;
	kit_set16(f + (type == 0x0800 ? 16 : 18), type == 0x0800 ? len - 14 : len - 54);
	proto = type == 0x0800 ? f[23] : f[20];
	if (type == 0x0800)
		kit_set16(f + 24, 0xffff - kit_sum(f + 14, 20, 0));
	if (proto == 17)
		kit_set16(f + l4 + 4, len - l4);
	at = l4 + (proto == 17 ? 6 : 2);
	kit_set16(f + at, 0xffff - kit_l4_sum(f, len));
	if (!kit_get16(f + at))
		kit_set16(f + at, 0xffff);
}

/* What is wrong with an option list of DHCP; NULL if nothing is. */
static inline const char *kit_dhcp_fault(const uint8_t *m, size_t len)
{
	size_t i = 240;

	if (len < 300 || m[0] != 2 || kit_get16(m + 236) != 0x6382 || kit_get16(m + 238) != 0x5363)
		return "DHCP header";
	while (i < len && m[i] != 255) {
		if (!m[i]) {
			i++;
			continue;
		}
		if (i + 2 > len || i + 2 + m[i + 1] > len)
			return "DHCP option cut";
		i += 2u + m[i + 1];
	}
	return i < len ? NULL : "DHCP without end";
}

static inline const char *kit_dhcp6_fault(const uint8_t *m, size_t len)
{
	size_t i = 4;

	while (i < len) {
		if (i + 4 > len || i + 4 + kit_get16(m + i + 2) > len)
			return "DHCPv6 option cut";
		i += 4u + kit_get16(m + i + 2);
	}
	return m[0] == 2 || m[0] == 7 ? NULL : "DHCPv6 type";
}

static inline const char *kit_nd_fault(const uint8_t *m, size_t len)
{
	size_t i = m[0] == 134 ? 16 : 24;

	if (m[0] != 134 && m[0] != 136)
		return "ND type";
	while (i < len) {
		if (i + 8 > len || !m[i + 1] || i + m[i + 1] * 8u > len)
			return "ND option cut or empty";
		i += m[i + 1] * 8u;
	}
	return NULL;
}

static inline const char *kit_ip_fault(const uint8_t *f, size_t len, bool v4)
{
	size_t l4 = v4 ? 34 : 54, end;

	if (len < l4 + 8 || f[14] >> 4 != (v4 ? 4 : 6))
		return "IP header";
	end = v4 ? 14u + kit_get16(f + 16) : 54u + kit_get16(f + 18);
	if (end < l4 + 8 || end > len || (end < len && len != 60))
		return "IP length";
	if (v4 && (f[14] != 0x45 || kit_sum(f + 14, 20, 0) != 0xffff))
		return "IP checksum";
	if (kit_l4_sum(f, len) != 0xffff)
		return "L4 checksum";
	if (!v4 && f[20] == 58)
		return f[21] == 255 ? kit_nd_fault(f + l4, end - l4) : "hop limit";
	if ((v4 ? f[23] : f[20]) != 17 || kit_get16(f + l4 + 4) != end - l4 || !kit_get16(f + l4 + 6))
		return "UDP header";
	return v4 ? kit_dhcp_fault(f + l4 + 8, end - l4 - 8) : kit_dhcp6_fault(f + l4 + 8, end - l4 - 8);
}

/* What is wrong with a reply; NULL if nothing is. */
static inline const char *kit_reply_fault(const struct guestconf *c, const uint8_t *f, size_t len)
{
	struct pkt p;

	if (len < 60 || len > SERVICE_FRAME_MAX)
		return "size";
	memcpy(p.head, f, MIN(len, sizeof(p.head)));
	p.head_len = (uint16_t)MIN(len, sizeof(p.head));
	if (pkt_parse(&p, len))
		return "not parsed";
	if (memcmp(f + 6, c->our_mac, MAC_LEN))
		return "source";
	switch (kit_get16(f + 12)) {
	case 0x0806:
		return kit_get16(f + 20) == 2 ? NULL : "ARP operation";
	case 0x0800:
		return kit_ip_fault(f, len, true);
	case 0x86dd:
		return kit_ip_fault(f, len, false);
	default:
		return "ethertype";
	}
}

struct kit_reply {
	enum service_verdict v;
	size_t len;
	uint8_t f[SERVICE_FRAME_MAX];
};

/* Parses and asks; the frame is copied to a block of its own size, so that a read past its end is found out. */
static inline int kit_ask(const struct guestconf *c, const uint8_t *frame, size_t len, struct kit_reply *ret_reply)
{
	uint8_t *exact = malloc(len ? len : 1);
	struct wr w = wr_init(ret_reply->f, sizeof(ret_reply->f));
	struct pkt p;
	int err;

	if (!exact)
		abort();
	memcpy(exact, frame, len);
	p.head_len = (uint16_t)MIN(len, sizeof(p.head));
	memcpy(p.head, exact, p.head_len);
	err = pkt_parse(&p, len);
	if (!err) {
		ret_reply->v = service_input(c, &p, exact, len, &w);
		ret_reply->len = wr_len(&w);
	}
	free(exact);
	return err;
}
