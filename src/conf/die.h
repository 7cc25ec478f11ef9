/* SPDX-License-Identifier: MIT */
/* The end of the program before it has begun: start-up only, never once the loop runs. */
#pragma once

#include "base/defs.h"

/* Logs one line at level error and exits with status 1. */
__attribute__((noreturn)) void die(const char *fmt, ...) PRINTF(1, 2);
