/* SPDX-License-Identifier: MIT */
/* Numbers from text: decimal digits only, no sign, no space, nothing after. */
#pragma once

#include "base/defs.h"

/* Parses all of s. -EINVAL if it is not a number, -ERANGE if it is below min or above max. */
MUST_USE int num_parse(const char *s, uint64_t min, uint64_t max, uint64_t *ret_val);

/* Parses the digits at *s and moves *s behind them; the same errors. */
MUST_USE int num_take(const char **s, uint64_t min, uint64_t max, uint64_t *ret_val);
