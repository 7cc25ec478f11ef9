/* SPDX-License-Identifier: MIT */
/* The programs, run by the kernel: as filters of a socket that frames are sent to. */
#include "netns/annex_filter.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ETH_LEN 14
#define FRAME_MAX 200

static uint8_t frame[FRAME_MAX];

/* True if a program picks the first len bytes of the frame. */
static bool picks(struct annex_filter f, size_t len)
{
	struct sock_fprog prog = { .len = f.n, .filter = (struct sock_filter *)f.insn };
	uint8_t got[FRAME_MAX];
	int s[2];
	bool r;

	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s), 0);
	assert_int_equal(setsockopt(s[1], SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)), 0);
	/* Who sends to a filter that picks nothing of it is told, or not: by the version. */
	if (send(s[0], frame, len, 0) < 0)
		assert_int_equal(errno, EPERM);
	r = recv(s[1], got, sizeof(got), 0) >= 0;
	close(s[0]);
	close(s[1]);
	return r;
}

/* Ethernet and IPv4 with options of that many words; returns the length of both. */
static size_t put4(uint8_t proto, unsigned words, uint16_t frag)
{
	memset(frame, 0xff, sizeof(frame)); /* what nobody should look at */
	frame[12] = 0x08;
	frame[13] = 0x00;
	frame[ETH_LEN] = (uint8_t)(0x45 + words);
	frame[ETH_LEN + 6] = (uint8_t)(frag >> 8);
	frame[ETH_LEN + 7] = (uint8_t)frag;
	frame[ETH_LEN + 9] = proto;
	return ETH_LEN + 20 + words * 4;
}

static size_t put6(uint8_t next, uint16_t src, uint16_t dst)
{
	memset(frame, 0xff, sizeof(frame));
	frame[12] = 0x86;
	frame[13] = 0xdd;
	frame[ETH_LEN] = 0x60;
	frame[ETH_LEN + 6] = next;
	frame[ETH_LEN + 8] = (uint8_t)(src >> 8);
	frame[ETH_LEN + 9] = (uint8_t)src;
	frame[ETH_LEN + 24] = (uint8_t)(dst >> 8);
	frame[ETH_LEN + 25] = (uint8_t)dst;
	return ETH_LEN + 40;
}

/* A segment with these flags behind at bytes. */
static void check_flags(size_t at, unsigned flags)
{
	bool ours = (flags & 0x17) == 0x02, reset = flags & 0x04;

	frame[at + 13] = (uint8_t)flags;
	assert_int_equal(picks(annex_filter_ours(), at + 20), ours);
	assert_int_equal(picks(annex_filter_resets(), at + 20), reset);
}

/* Whatever the flags, with IPv4 options or without, and over IPv6. */
static void test_flags(void **state)
{
	for (unsigned flags = 0; flags < 256; flags++) {
		check_flags(put4(6, 0, 0x4000), flags);
		check_flags(put4(6, 10, 0), flags);
		check_flags(put6(6, 0x2001, 0xfd00), flags);
	}
}

static void check_ours(size_t len)
{
	assert_true(picks(annex_filter_ours(), len));
	assert_false(picks(annex_filter_resets(), len));
}

/* All that isn't TCP, and the TCP that stays ours, with any flags. */
static void test_ours(void **state)
{
	static const uint16_t ll[] = { 0xfe80, 0xfe81, 0xfebf };

	for (unsigned proto = 0; proto < 256; proto++) {
		if (proto == 6)
			continue;
		check_ours(put4((uint8_t)proto, 0, 0) + 20);
		check_ours(put4((uint8_t)proto, 0, 0));
		check_ours(put4((uint8_t)proto, 3, 0x2000) + 20);
		check_ours(put6((uint8_t)proto, 0x2001, 0x2001) + 20);
		check_ours(put6((uint8_t)proto, 0x2001, 0x2001));
	}
	for (unsigned type = 0; type < 65536; type++) {
		if (type == 0x0800 || type == 0x86dd)
			continue;
		(void)put4(6, 0, 0);
		frame[12] = (uint8_t)(type >> 8);
		frame[13] = (uint8_t)type;
		if (type % 257 == 0 || type == 0x0806 || type == 0x8100)
			check_ours(ETH_LEN + 40);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ll); i++) {
		check_ours(put6(6, ll[i], 0x2001) + 20);
		check_ours(put6(6, 0x2001, ll[i]) + 20);
		check_ours(put6(6, ll[i], ll[i]) + 20);
	}
	check_flags(put6(6, 0xfe7f, 0xfec0), 0x10);
	check_flags(put6(6, 0xff02, 0xff02), 0x02);
}

/* The rest of a packet that was cut has no flags, whatever stands there; a first fragment has. */
static void test_fragments(void **state)
{
	static const uint16_t frag[] = { 0x0001, 0x2001, 0x1fff, 0x00b9, 0x3000 };

	for (size_t i = 0; i < ARRAY_SIZE(frag); i++) {
		size_t at = put4(6, 0, frag[i]);

		for (unsigned flags = 0; flags < 256; flags++) {
			frame[at + 13] = (uint8_t)flags;
			assert_false(picks(annex_filter_ours(), at + 20));
			assert_false(picks(annex_filter_resets(), at + 20));
		}
	}
	check_flags(put4(6, 0, 0x2000), 0x02);
	check_flags(put4(6, 0, 0x2000), 0x10);
}

/* A segment whose flags are not there is the kernel's, which drops it. */
static void test_short(void **state)
{
	size_t at = put4(6, 0, 0);

	for (size_t len = ETH_LEN + 20; len < at + 13; len++)
		assert_false(picks(annex_filter_ours(), len));
	at = put6(6, 0x2001, 0x2001);
	for (size_t len = ETH_LEN + 40; len < at + 13; len++)
		assert_false(picks(annex_filter_ours(), len));
}

static void test_any(void **state)
{
	assert_true(picks(annex_filter_any(), ETH_LEN));
	assert_true(picks(annex_filter_any(), put4(6, 0, 0) + 20));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags), cmocka_unit_test(test_ours), cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_short), cmocka_unit_test(test_any),
	};

	return cmocka_run_group_tests_name("netns/annex_filter", tests, NULL, NULL);
}
