/* SPDX-License-Identifier: MIT */
/* Text that is cut short between characters (UTF-8, RFC 3629 section 3), not within one. What is not UTF-8 is cut anywhere. */
#pragma once

#include <stddef.h>

#include "base/defs.h"

/* How many bytes of s to show where there is room for max. */
size_t utf8_cut(const char *s, size_t max);

/* A buffer was too short for all of s: takes the beginning of a character off its end. */
void utf8_trim(char *s);
