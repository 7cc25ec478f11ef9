/* SPDX-License-Identifier: MIT */
#include "fwd/auto.h"

#include <string.h>

#define WORDS (PORTS / 64)

/* The 64 bits of m from bit at on; beyond the ends there are none. */
static uint64_t bits_at(const struct portmap *m, int32_t at)
{
	int32_t word = at >> 6;
	unsigned shift = (unsigned)at & 63;
	uint64_t low = word >= 0 && word < WORDS ? m->w[word] : 0;
	uint64_t high = word + 1 >= 0 && word + 1 < WORDS ? m->w[word + 1] : 0;

	return shift ? low >> shift | high << (64 - shift) : low;
}

/* Bits of word w that are within first..last. */
static uint64_t range_mask(unsigned w, uint16_t first, uint16_t last)
{
	uint64_t mask = UINT64_MAX;

	if (w < first / 64u || w > last / 64u)
		return 0;
	if (w == first / 64u)
		mask &= UINT64_MAX << first % 64;
	if (w == last / 64u)
		mask &= UINT64_MAX >> (63 - last % 64);
	return mask;
}

void auto_want(const struct fwd_rule *r, const struct portmap *there, const struct portmap *ours, struct portmap *ret_want)
{
	int32_t distance = r->to - r->first;

	for (unsigned w = 0; w < WORDS; w++) {
		uint64_t mask = range_mask(w, r->first, r->last);
		int32_t at = (int32_t)w * 64 + distance;

		ret_want->w[w] = mask ? mask & bits_at(there, at) & ~bits_at(ours, at) : 0;
	}
}

void auto_diff(const struct portmap *want, const struct portmap *open, const struct portmap *keep, const struct portmap *refused,
	       struct auto_diff *ret_diff)
{
	uint64_t any = 0;

	for (unsigned w = 0; w < WORDS; w++) {
		ret_diff->open.w[w] = want->w[w] & ~open->w[w] & ~(refused ? refused->w[w] : 0);
		ret_diff->close.w[w] = open->w[w] & ~want->w[w] & ~(keep ? keep->w[w] : 0);
		any |= ret_diff->open.w[w] | ret_diff->close.w[w];
	}
	ret_diff->any = any;
}

bool auto_port_next(const struct portmap *m, uint32_t *port)
{
	for (uint32_t p = *port; p < PORTS; p = (p / 64 + 1) * 64) {
		uint64_t left = m->w[p / 64] >> p % 64;

		if (left) {
			*port = p + (uint32_t)__builtin_ctzll(left);
			return true;
		}
	}
	return false;
}

uint64_t auto_interval(uint64_t now_ns, uint64_t changed_ns, uint64_t cost_ns)
{
	uint64_t ns = changed_ns && now_ns - changed_ns < AUTO_BUSY_FOR_NS ? AUTO_BUSY_NS : AUTO_IDLE_NS;

	if (cost_ns >= AUTO_MAX_NS / AUTO_SHARE)
		return AUTO_MAX_NS;
	return MAX(ns, cost_ns * AUTO_SHARE);
}
