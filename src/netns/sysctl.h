/* SPDX-License-Identifier: MIT */
/* Sysctls of the caller's network namespace. */
#pragma once

#include "base/defs.h"

/* path below /proc/sys: "net/ipv4/...". -errno; -EROFS is usual in containers. */
MUST_USE int sysctl_set(const char *path, const char *value);
