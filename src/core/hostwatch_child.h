/* SPDX-License-Identifier: MIT */
/* The host agent's own half of hostwatch.h. */
#pragma once

#include "core/hostwatch.h"

/* A helper_fn: watches on behalf of the struct hostwatch_conf at ctx. */
__attribute__((noreturn)) void hostwatch_child_run(const void *ctx, int sock, pid_t parent);
