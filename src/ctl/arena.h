/* SPDX-License-Identifier: MIT */
/*
 * Memory of jansson in a process that takes none from the heap once it runs: one piece of fixed size, mapped at start. Values live while a
 * message is read or made; as soon as none is left, all of it is free again. What doesn't fit fails as if there were no memory.
 */
#pragma once

#include "base/defs.h"

#define CTL_ARENA_SIZE (UINT32_C(4) << 20)

/* For the rest of the process, as jansson knows only one allocator. Once; before jansson is used. -ENOMEM. */
MUST_USE int ctl_arena_open(void);

/* No value is there any more, or is a loss that nobody will give back. No effect without ctl_arena_open(). */
void ctl_arena_reset(void);

/* Pieces that are there now. */
size_t ctl_arena_live(void);
