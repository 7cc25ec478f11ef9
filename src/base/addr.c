/* SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

int addr_family(const struct addr *a)
{
	return addr_is4(a) ? AF_INET : AF_INET6;
}

bool addr_is_any(const struct addr *a)
{
	return addr_eq(a, &addr_any6) || addr_eq(a, &addr_any4);
}

bool addr_is_loopback(const struct addr *a)
{
	return addr_is4(a) ? a->b[12] == 127 : addr_eq(a, &addr_loopback6);
}

bool addr_is_multicast(const struct addr *a)
{
	return addr_is4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

bool addr_is_linklocal(const struct addr *a)
{
	return addr_is4(a) ? a->b[12] == 169 && a->b[13] == 254 : a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

bool addr_is_broadcast(const struct addr *a)
{
	return addr_eq(a, &ADDR4_INIT(255, 255, 255, 255));
}

bool addr_is_unicast(const struct addr *a)
{
	return !addr_is_any(a) && !addr_is_loopback(a) && !addr_is_multicast(a) && !addr_is_broadcast(a);
}

bool addr_same_net(const struct addr *a, const struct addr *b, unsigned plen)
{
	const uint8_t *pa = addr_bytes(a), *pb = addr_bytes(b);
	unsigned bits = (unsigned)addr_len(a) * 8;
	unsigned whole, rest;

	if (addr_is4(a) != addr_is4(b))
		return false;
	plen = MIN(plen, bits);
	whole = plen / 8;
	rest = plen % 8;
	if (memcmp(pa, pb, whole))
		return false;
	return !rest || !((pa[whole] ^ pb[whole]) >> (8 - rest));
}

int addr_parse(const char *s, struct addr *ret_addr)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, s, b) == 1)
		*ret_addr = addr_from4(b);
	else if (inet_pton(AF_INET6, s, b) == 1)
		*ret_addr = addr_from6(b);
	else
		return -EINVAL;
	return 0;
}

int addr_parse_n(const char *s, size_t len, struct addr *ret_addr)
{
	bool brackets = len >= 2 && s[0] == '[' && s[len - 1] == ']';
	char text[ADDR_STRLEN];

	if (brackets) {
		s++;
		len -= 2;
	}
	if (len >= sizeof(text) || memchr(s, '\0', len))
		return -EINVAL;
	memcpy(text, s, len);
	text[len] = '\0';
	return addr_parse(text, ret_addr);
}

/* First group of the longest run of at least two zero groups, which "::" stands for (RFC 5952 4.2); 8 if there is none. */
static unsigned zero_run(const uint16_t *g, unsigned *ret_len)
{
	unsigned i, j, best = 8, best_len = 1;

	for (i = 0; i < 8; i = j + 1) {
		for (j = i; j < 8 && !g[j]; j++)
			;
		if (j - i > best_len) {
			best = i;
			best_len = j - i;
		}
	}
	*ret_len = best_len;
	return best;
}

static void addr_fmt6(const struct addr *a, char *buf)
{
	unsigned i, run, run_len = 0;
	uint16_t g[8];
	size_t at = 0;

	for (i = 0; i < 8; i++)
		g[i] = (uint16_t)(a->b[2 * i] << 8 | a->b[2 * i + 1]);
	run = zero_run(g, &run_len);
	for (i = 0; i < 8; i++) {
		if (i == run) {
			at += (size_t)snprintf(buf + at, ADDR_STRLEN - at, "::");
			i += run_len - 1;
			continue;
		}
		at += (size_t)snprintf(buf + at, ADDR_STRLEN - at, "%s%x", i && i != run + run_len ? ":" : "", g[i]);
	}
}

const char *addr_fmt(const struct addr *a, char *buf)
{
	if (addr_is4(a))
		snprintf(buf, ADDR_STRLEN, "%u.%u.%u.%u", a->b[12], a->b[13], a->b[14], a->b[15]);
	else
		addr_fmt6(a, buf);
	return buf;
}

const char *ep_fmt(const struct ep *e, char *buf)
{
	char text[ADDR_STRLEN];

	snprintf(buf, EP_STRLEN, addr_is4(&e->addr) ? "%s:%u" : "[%s]:%u", addr_fmt(&e->addr, text), e->port);
	return buf;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int mac_parse(const char *s, uint8_t ret_mac[MAC_LEN])
{
	uint8_t mac[MAC_LEN], any = 0;
	unsigned i;

	for (i = 0; i < MAC_LEN; i++, s += 3) {
		int hi = hex_digit(s[0]);
		int lo = hi < 0 ? -1 : hex_digit(s[1]);

		if (lo < 0 || s[2] != (i < MAC_LEN - 1 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)(hi << 4 | lo);
		any |= mac[i];
	}
	if (!any || mac[0] & 1)
		return -EINVAL;
	memcpy(ret_mac, mac, MAC_LEN);
	return 0;
}

const char *mac_fmt(const uint8_t mac[MAC_LEN], char *buf)
{
	snprintf(buf, MAC_STRLEN, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
	return buf;
}

int mask_to_plen(const struct addr *mask, unsigned *ret_plen)
{
	const uint8_t *b = mask->b + 12;
	uint32_t holes = ~((uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3]);

	/* The complement of a mask is one below a power of two. */
	if (!addr_is4(mask) || holes & (holes + 1))
		return -EINVAL;
	*ret_plen = 32 - (unsigned)__builtin_popcount(holes);
	return 0;
}
