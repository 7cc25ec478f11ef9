/* SPDX-License-Identifier: MIT */
/* What to look at where the kernel refuses namespaces: user_namespaces(7), namespaces(7), and what distributions add to them. */
#pragma once

#include "base/defs.h"

/* After the error was logged: a line that names what is likely to have refused a new user namespace, or what comes with one. */
void refusal_log_user(int err);

/* The same for a new network namespace in the user namespace that we are in. */
void refusal_log_net(int err);

/* The same where the user namespace is there, but is of no use. Nothing is logged if nothing is known. */
void refusal_log_map(int err);
