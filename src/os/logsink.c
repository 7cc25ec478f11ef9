/* SPDX-License-Identifier: MIT */
#include "os/logsink.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define SYSLOG_PATH "/dev/log"
#define STAMP_MAX 48
#define COPY_CHUNK 4096
#define PID_DIGITS 7 /* of the largest that Linux has */
#define PID_TEXT_MAX 32

static const struct {
	int priority; /* syslog(3) */
	const char *name; /* in the file, with its padding */
} levels[] = {
	[LOG_LVL_ERR] = { LOG_ERR, "error:   " },     [LOG_LVL_WARN] = { LOG_WARNING, "warning: " },
	[LOG_LVL_INFO] = { LOG_INFO, "info:    " },   [LOG_LVL_DEBUG] = { LOG_DEBUG, "debug:   " },
	[LOG_LVL_TRACE] = { LOG_DEBUG, "trace:   " },
};

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void put_stderr(const char *line)
{
	struct iovec iov[] = { { (void *)line, strlen(line) }, { "\n", 1 } };

	(void)!writev(STDERR_FILENO, iov, ARRAY_SIZE(iov));
}

static void put_syslog(const struct logsink *s, enum log_level level, const char *line)
{
	char buf[LOG_LINE_MAX + 64];
	int len = snprintf(buf, sizeof(buf), "<%d>%s[%i]: %s", LOG_DAEMON | levels[level].priority, s->ident, (int)s->pid, line);

	if (len > 0)
		(void)!send(s->syslog_fd, buf, MIN((size_t)len, sizeof(buf) - 1), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Offset of the first line that begins at or behind at. */
static off_t line_start(int fd, off_t at)
{
	char buf[COPY_CHUNK];
	const char *nl;
	ssize_t n;

	while ((n = pread(fd, buf, sizeof(buf), at)) > 0) {
		nl = memchr(buf, '\n', (size_t)n);
		if (nl)
			return at + (nl - buf) + 1;
		at += n;
	}
	return at;
}

/* Moves the newer half of the file up to below the first line. */
static void file_rotate(struct logsink *s)
{
	off_t from = line_start(s->file_fd, (off_t)(s->head_len + (s->size - s->head_len) / 2));
	off_t to = (off_t)s->head_len;
	char buf[COPY_CHUNK];
	ssize_t n;

	while ((n = pread(s->file_fd, buf, sizeof(buf), from)) > 0) {
		if (pwrite(s->file_fd, buf, (size_t)n, to) != n)
			break;
		from += n;
		to += n;
	}
	if (!ftruncate(s->file_fd, to))
		s->size = (size_t)to;
}

static void file_append(struct logsink *s, const char *stamp, const char *line)
{
	struct iovec iov[] = { { (void *)stamp, strlen(stamp) }, { (void *)line, strlen(line) }, { "\n", 1 } };
	size_t len = iov[0].iov_len + iov[1].iov_len + iov[2].iov_len;
	ssize_t n;

	if (s->size + len > s->max)
		file_rotate(s);
	if (s->size + len > s->max)
		return;
	n = pwritev(s->file_fd, iov, ARRAY_SIZE(iov), (off_t)s->size);
	if (n > 0)
		s->size += (size_t)n;
}

static void put_file(struct logsink *s, enum log_level level, const char *line)
{
	uint64_t ns = clock_ns() - s->start_ns;
	char stamp[STAMP_MAX];

	snprintf(stamp, sizeof(stamp), "%" PRIu64 ".%04u: %s", ns / NSEC_PER_SEC, (unsigned)(ns % NSEC_PER_SEC / 100000),
		 levels[level].name);
	file_append(s, stamp, line);
}

static void logsink_put(void *ctx, enum log_level level, const char *line)
{
	struct logsink *s = ctx;

	if (s->to_stderr)
		put_stderr(line);
	if (s->syslog_fd >= 0)
		put_syslog(s, level, line);
	if (s->file_fd >= 0)
		put_file(s, level, line);
}

void logsink_init(struct logsink *s, const char *ident)
{
	*s = (struct logsink){ .to_stderr = true, .syslog_fd = -1, .file_fd = -1, .start_ns = clock_ns(), .pid = getpid() };
	snprintf(s->ident, sizeof(s->ident), "%s", ident);
	log_set_sink(logsink_put, s);
}

/* Not by syslog(3), which opens files and sockets when it likes, behind the back of the confinement. */
int logsink_syslog(struct logsink *s)
{
	static const struct sockaddr_un sun = { .sun_family = AF_UNIX, .sun_path = SYSLOG_PATH };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun))) {
		int err = -errno;

		close(fd);
		return err;
	}
	s->syslog_fd = fd;
	return 0;
}

/* Behind the number is room for a longer one. */
static int pid_text(const struct logsink *s, char text[PID_TEXT_MAX])
{
	return snprintf(text, PID_TEXT_MAX, " (%i)%*s", (int)s->pid, PID_DIGITS - snprintf(NULL, 0, "%i", (int)s->pid), "");
}

int logsink_file(struct logsink *s, const char *path, size_t max, const char *head)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char first[LOGSINK_HEAD_MAX], pid[PID_TEXT_MAX];

	if (fd < 0)
		return -errno;
	(void)pid_text(s, pid);
	snprintf(first, sizeof(first), "%s%s", head, pid);
	s->start_ns = clock_ns();
	s->max = max;
	s->pid_at = (off_t)strlen(head);
	s->size = 0;
	s->file_fd = fd;
	errno = 0;
	file_append(s, "", first);
	s->head_len = s->size;
	if (s->size < strlen(first) + 1)
		log_warn("Messages may be missing in the log file %s: %s", path, strerror(errno ? errno : ENOSPC));
	return 0;
}

void logsink_pid(struct logsink *s, pid_t pid)
{
	char text[PID_TEXT_MAX];
	int len;

	s->pid = pid;
	len = pid_text(s, text);
	if (s->file_fd >= 0 && s->head_len == (size_t)s->pid_at + (size_t)len + 1)
		(void)!pwrite(s->file_fd, text, (size_t)len, s->pid_at);
}

void logsink_stderr_off(struct logsink *s)
{
	s->to_stderr = false;
}

void logsink_fini(struct logsink *s)
{
	log_set_sink(NULL, NULL);
	if (s->syslog_fd >= 0)
		close(s->syslog_fd);
	if (s->file_fd >= 0)
		close(s->file_fd);
	s->syslog_fd = s->file_fd = -1;
}
