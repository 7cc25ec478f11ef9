/* SPDX-License-Identifier: MIT */
/* The system calls of the host agent, each with its reason, beside those that every process makes (os/sysfilter.h). */
#pragma once

#include "os/sysfilter.h"

extern const struct syscall_table hostwatch_calls;
