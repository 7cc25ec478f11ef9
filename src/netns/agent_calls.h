/* SPDX-License-Identifier: MIT */
/* The system calls of the namespace agent once it is sealed, each with its reason, beside those that every process makes. */
#pragma once

#include "os/sysfilter.h"

extern const struct syscall_table agent_calls;
