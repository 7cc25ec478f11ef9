/* SPDX-License-Identifier: MIT */
/* What the system's own tools say, and a log that can be looked at. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/log.h"

#define SHELL_OUT_MAX 16384

/* Output of a shell command, in a buffer that the next call overwrites. */
static inline const char *shell(const char *fmt, ...)
{
	static char out[SHELL_OUT_MAX];
	char cmd[2048];
	va_list ap;
	size_t n;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	fflush(NULL);
	f = popen(cmd, "r");
	if (!f)
		return "popen failed";
	n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	if (pclose(f))
		snprintf(out + n, sizeof(out) - n, "(failed)");
	return out;
}

static inline void log_keep(void *ctx, enum log_level level, const char *line)
{
	char *to = ctx;
	size_t at = strlen(to);

	snprintf(to + at, SHELL_OUT_MAX - at, "%s\n", line);
}

static inline struct addr ip(const char *text)
{
	struct addr a;

	if (addr_parse(text, &a))
		memset(&a, 0xff, sizeof(a));
	return a;
}
