/* SPDX-License-Identifier: MIT */
/*
 * Messages for people: levels, rate limits, and escaping of what outsiders may have chosen.
 *
 * This module formats and filters; where a line goes is the business of the sink that start-up installs (os/logsink.h). A message is
 * one line without a newline. Bytes below 0x20 and 0x7f and above are written as \xNN, so nobody can forge a second line.
 */
#pragma once

#include "base/defs.h"

enum log_level {
	LOG_LVL_ERR,
	LOG_LVL_WARN,
	LOG_LVL_INFO,
	LOG_LVL_DEBUG,
	LOG_LVL_TRACE,
};

#define LOG_LINE_MAX 1024

/* Gets each line that passes the filter: NUL-terminated, escaped, without newline. */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *line);

/* State of a rate-limited call site: at most 5 lines a second, then one line that counts what was held back. */
struct log_site {
	uint64_t window_s;
	unsigned in_window;
	unsigned held_back;
};

/* Messages above this level are dropped. Start value: LOG_LVL_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* Until a sink is set, lines go to stderr. */
void log_set_sink(log_sink_fn *fn, void *ctx);

/* Clock of the rate limit, set by the loop; seconds. */
void log_set_now(uint64_t now_s);

void log_msg(enum log_level level, const char *fmt, ...) PRINTF(2, 3);
void log_msg_limited(struct log_site *site, enum log_level level, const char *fmt, ...) PRINTF(3, 4);

#define log_err(...) log_msg(LOG_LVL_ERR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LVL_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LVL_INFO, __VA_ARGS__)
#define log_debug(...) \
	do { \
		if (unlikely(log_get_level() >= LOG_LVL_DEBUG)) \
			log_msg(LOG_LVL_DEBUG, __VA_ARGS__); \
	} while (0)
#define log_trace(...) \
	do { \
		if (unlikely(log_get_level() >= LOG_LVL_TRACE)) \
			log_msg(LOG_LVL_TRACE, __VA_ARGS__); \
	} while (0)

/* For messages that a guest or a peer can cause: limited for each place in the code. */
#define log_limited(level, ...) \
	do { \
		static struct log_site _site; \
		if (log_get_level() >= (level)) \
			log_msg_limited(&_site, (level), __VA_ARGS__); \
	} while (0)
