/* SPDX-License-Identifier: MIT */
/* The system calls of the engine's process, each with its reason, beside those that every process makes (os/sysfilter.h). */
#pragma once

#include "os/sysfilter.h"

/* What is made at any time. */
extern const struct syscall_table calls_run;

/* The same of pasta, which has a command to look after, and an agent; without kill(), whose conditions are known only when they run. */
extern const struct syscall_table calls_pasta;

/* Beside that, where rules lead to UNIX sockets of the host, or may come to. */
extern const struct syscall_table calls_paths;

/* What is made only between the loss of the privileges and the first turn of the loop. */
extern const struct syscall_table calls_start;
