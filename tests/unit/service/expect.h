/* SPDX-License-Identifier: MIT */
/* Assertions over the kit. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "kit.h"

static inline void expect_same(const char *what, const uint8_t *got, size_t len, const uint8_t *want, size_t want_len)
{
	unsigned bad = 0;

	for (size_t i = 0; i < MIN(len, want_len); i++) {
		if (got[i] != want[i] && bad++ < 8)
			print_error("%s: byte %zu is %02x, not %02x\n", what, i, got[i], want[i]);
	}
	if (len != want_len)
		print_error("%s: %zu bytes, not %zu\n", what, len, want_len);
	assert_true(!bad && len == want_len);
}

/* Asks with a frame given as text (sealed here). want: the reply as text, sealed and padded to 60 bytes, or NULL for none. */
static inline void expect_reply(const struct guestconf *c, const char *what, const char *ask, const char *want)
{
	uint8_t in[2048], out[2048] = { 0 };
	size_t len = kit_hex(ask, in, sizeof(in)), want_len;
	struct kit_reply r = { 0 };

	kit_seal(in, len);
	if (kit_ask(c, in, len, &r)) {
		if (want)
			fail_msg("%s: is no packet", what);
		return;
	}
	if (!want) {
		if (r.v != SERVICE_DROP)
			fail_msg("%s: verdict %d instead of no answer", what, r.v);
		return;
	}
	if (r.v != SERVICE_REPLY)
		fail_msg("%s: verdict %d instead of an answer", what, r.v);
	if (kit_reply_fault(c, r.f, r.len))
		fail_msg("%s: %s", what, kit_reply_fault(c, r.f, r.len));
	want_len = kit_hex(want, out, sizeof(out));
	kit_seal(out, want_len);
	expect_same(what, r.f, r.len, out, MAX(want_len, (size_t)60));
}

/*
 * Asks with every shorter frame: as it is, and with the lengths of its headers made to fit. Whatever comes back is well-formed; at least
 * all shorter than min bytes get no answer at all.
 */
static inline void expect_cuts(const struct guestconf *c, const char *what, const char *ask, size_t min)
{
	uint8_t in[2048], cut[2048];
	size_t whole = kit_hex(ask, in, sizeof(in));

	kit_seal(in, whole);
	for (size_t len = 0; len < whole; len++) {
		for (unsigned fit = 0; fit < 2; fit++) {
			struct kit_reply r = { 0 };

			memcpy(cut, in, len);
			if (fit && len > 62)
				kit_seal(cut, len);
			if (kit_ask(c, cut, len, &r) || r.v != SERVICE_REPLY)
				continue;
			if (len < min)
				fail_msg("%s: answer to %zu bytes of it", what, len);
			if (kit_reply_fault(c, r.f, r.len))
				fail_msg("%s cut to %zu: %s", what, len, kit_reply_fault(c, r.f, r.len));
		}
	}
}

static inline void expect_verdict(const struct guestconf *c, const char *what, const char *ask, enum service_verdict want)
{
	uint8_t in[2048];
	size_t len = kit_hex(ask, in, sizeof(in));
	struct kit_reply r = { 0 };

	kit_seal(in, len);
	assert_int_equal(kit_ask(c, in, len, &r), 0);
	if (r.v != want)
		fail_msg("%s: verdict %d, not %d", what, r.v, want);
}
