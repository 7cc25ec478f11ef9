/* SPDX-License-Identifier: MIT */
/*
 * Big-endian numbers inside a block whose bounds are known already (rd_bytes(), wr_put()): headers that every frame has are written
 * as one block, which compilers turn into a few stores.
 */
#pragma once

#include "base/defs.h"

static inline uint16_t be16_get(const uint8_t p[2])
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t be32_get(const uint8_t p[4])
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline void be16_set(uint8_t p[2], uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline void be32_set(uint8_t p[4], uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}
