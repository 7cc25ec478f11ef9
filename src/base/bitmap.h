/* SPDX-License-Identifier: MIT */
/* A bit for every port. */
#pragma once

#include "base/defs.h"

#define PORTS 65536

struct portmap {
	uint64_t w[PORTS / 64];
};

static inline void portmap_set(struct portmap *m, uint16_t port)
{
	m->w[port / 64] |= UINT64_C(1) << port % 64;
}

static inline void portmap_clear(struct portmap *m, uint16_t port)
{
	m->w[port / 64] &= ~(UINT64_C(1) << port % 64);
}

static inline bool portmap_has(const struct portmap *m, uint16_t port)
{
	return m->w[port / 64] >> port % 64 & 1;
}
