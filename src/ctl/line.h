/* SPDX-License-Identifier: MIT */
/* A line of the control protocol as JSON (RFC 8259). */
#pragma once

#include <jansson.h>

#include "base/defs.h"

/*
 * The object that line is, at most CTL_DEPTH_MAX deep, without NUL characters in its strings and without two members of one name: the
 * caller's. NULL: *ret_why says what is wrong with it; that is NULL if there was no memory.
 */
MUST_USE json_t *ctl_line_parse(const char *line, size_t len, const char **ret_why);
