/* SPDX-License-Identifier: MIT */
/*
 * Where the lines of base/log.h go: stderr (while we have one), and syslog or a file.
 *
 * On stderr a line stands as it is. In the file it is "S.ffff: level:   text", S.ffff being the seconds since the file was opened; the
 * first line names the program. When the file would outgrow its size, its older half gives way in place, below the first line.
 * Nothing here blocks on a slow reader of syslog, and a sink that fails is silent: there is nobody to tell.
 */
#pragma once

#include <sys/types.h>

#include "base/log.h"

#define LOGSINK_HEAD_MAX 512

struct logsink {
	bool to_stderr;
	int syslog_fd; /* -1: none */
	int file_fd; /* -1: none */
	size_t size, max; /* of the file, bytes */
	size_t head_len; /* of its first line, */
	off_t pid_at; /* and where our number is in there */
	uint64_t start_ns;
	pid_t pid; /* by which others know us */
	char ident[32];
};

/* Starts with stderr only and makes itself the sink of the log. ident is the program's name for syslog. */
void logsink_init(struct logsink *s, const char *ident);

/* Lines also go to syslog, at /dev/log. -errno if nobody listens there. */
MUST_USE int logsink_syslog(struct logsink *s);

/*
 * Lines also go to this file, which is emptied; max bytes long at most. The first line is "head (PID)" with the process ID of the
 * caller, and room for a longer one; if that can't be written, there is one warning, and the file is tried again with each line.
 */
MUST_USE int logsink_file(struct logsink *s, const char *path, size_t max, const char *head);

/* Others know us by another number: syslog, and the first line of the file. */
void logsink_pid(struct logsink *s, pid_t pid);

/* For a daemon, which has no stderr any more. */
void logsink_stderr_off(struct logsink *s);

void logsink_fini(struct logsink *s);
