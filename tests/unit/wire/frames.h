/* SPDX-License-Identifier: MIT */
/* Bytes for the tests of wire/: written as hexadecimal text, and a checksum that is slow and plain (RFC 1071 1). */
#pragma once

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/defs.h"

#define MAC_A "02aabbccdd0a "
#define MAC_B "02aabbccdd0b "
#define ETH4 MAC_B MAC_A "0800 "
#define ETH6 MAC_B MAC_A "86dd "
#define ADDRS4 "c0a80102 08090a0b "
#define ADDRS6 "20010db8000000000000000000000001 20010db80000000000000000000000fe "
#define TCP20 "04d20050 00000001 00000002 5010ffff 00000000 "
#define UDP8 "04d20035 000c0000 "

static inline unsigned hex_digit(char c)
{
	return (unsigned)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
}

/* Returns the number of bytes that the text stands for; spaces are free between bytes. */
static inline size_t hex_bytes(const char *text, uint8_t *dst, size_t cap)
{
	size_t n = 0;

	for (; *text; text++) {
		if (*text == ' ')
			continue;
		assert_true(isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]) && n < cap);
		dst[n++] = (uint8_t)(hex_digit(text[0]) << 4 | hex_digit(text[1]));
		text++;
	}
	return n;
}

/* One's complement sum of 16-bit words, the carry added at once each time; an odd last byte is the high one of its word. */
static inline uint16_t slow_sum(const uint8_t *b, size_t len, uint16_t start)
{
	uint32_t sum = start;

	for (size_t i = 0; i < len; i++) {
		sum += i % 2 ? b[i] : (uint32_t)b[i] << 8;
		if (sum > 0xffff)
			sum -= 0xffff;
	}
	return (uint16_t)sum;
}

static inline uint16_t get16(const uint8_t *b)
{
	return (uint16_t)(b[0] << 8 | b[1]);
}

/* Repeatable numbers that look random (Knuth's MMIX generator). */
static inline uint32_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}
