/* SPDX-License-Identifier: MIT */
/* Limit of open descriptors (RLIMIT_NOFILE, getrlimit(2)). */
#pragma once

#include "base/defs.h"

/* Raises the soft limit towards the hard one if it is below want. Returns the soft limit that holds now. */
uint64_t rlimit_nofile_want(uint64_t want);
