/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define SITE_LINES_MAX 5 /* a second */

static void sink_stderr(void *ctx, enum log_level level, const char *line)
{
	fprintf(stderr, "%s\n", line);
}

static enum log_level log_level = LOG_LVL_INFO;
static log_sink_fn *log_sink = sink_stderr;
static void *log_sink_ctx;
static uint64_t log_now_s;

void log_set_level(enum log_level level)
{
	log_level = level;
}

enum log_level log_get_level(void)
{
	return log_level;
}

void log_set_sink(log_sink_fn *fn, void *ctx)
{
	log_sink = fn ? fn : sink_stderr;
	log_sink_ctx = ctx;
}

void log_set_now(uint64_t now_s)
{
	log_now_s = now_s;
}

/* Copies in to out of size bytes, with the bytes that are not plain ASCII as \xNN; cuts off before the first that does not fit. */
static void escape(char *out, size_t size, const char *in)
{
	size_t at = 0;

	for (; *in; in++) {
		unsigned char c = (unsigned char)*in;
		bool plain = c >= 0x20 && c < 0x7f;

		if (size - at < (plain ? 2 : 5))
			break;
		if (plain)
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(out + at, size - at, "\\x%02x", c);
	}
	out[at] = '\0';
}

/* Callers report errors with %m or strerror(errno) and go on to return errno: it must survive. */
static void log_vmsg(enum log_level level, const char *fmt, va_list ap)
{
	char raw[LOG_LINE_MAX], line[LOG_LINE_MAX];
	int err = errno;

	if (vsnprintf(raw, sizeof(raw), fmt, ap) >= 0) {
		escape(line, sizeof(line), raw);
		log_sink(log_sink_ctx, level, line);
	}
	errno = err;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, fmt);
	log_vmsg(level, fmt, ap);
	va_end(ap);
}

/* Counts one line of the site; false if it must be held back. */
static bool site_pass(struct log_site *site, enum log_level level)
{
	if (site->window_s != log_now_s) {
		unsigned held_back = site->held_back;

		*site = (struct log_site){ .window_s = log_now_s };
		if (held_back)
			log_msg(level, "%u more messages like the next one were held back", held_back);
	}
	if (site->in_window < SITE_LINES_MAX) {
		site->in_window++;
		return true;
	}
	site->held_back++;
	return false;
}

void log_msg_limited(struct log_site *site, enum log_level level, const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	if (level > log_level || !site_pass(site, level))
		return;
	errno = err;
	va_start(ap, fmt);
	log_vmsg(level, fmt, ap);
	va_end(ap);
}
