/* SPDX-License-Identifier: MIT */
/* Words of the language that the rest of the tree is written in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF(f, a) __attribute__((format(printf, f, a)))
#define UNUSED __attribute__((unused))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define MIN(a, b) \
	({ \
		__typeof__(a) _min_a = (a); \
		__typeof__(b) _min_b = (b); \
		_min_a < _min_b ? _min_a : _min_b; \
	})
#define MAX(a, b) \
	({ \
		__typeof__(a) _max_a = (a); \
		__typeof__(b) _max_b = (b); \
		_max_a > _max_b ? _max_a : _max_b; \
	})
#define CLAMP(x, lo, hi) MIN(MAX((x), (lo)), (hi))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define NSEC_PER_SEC UINT64_C(1000000000)
#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_USEC UINT64_C(1000)
