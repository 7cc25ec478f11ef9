/* SPDX-License-Identifier: MIT */
/* The system calls of the namespace agent once it is sealed, each with its reason, beside those that every process makes. */
#pragma once

#include "os/sysfilter.h"

extern const struct syscall_table agent_calls;

/* Beside them, of one that has an annex and follows the interface. */
extern const struct syscall_table agent_calls_annex;
