/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "os/logsink.h"

#define MAX_SIZE 4096

struct fix {
	struct logsink sink;
	char path[64];
	char text[2 * MAX_SIZE];
};

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	strcpy(x->path, "/tmp/logsink-test-XXXXXX");
	close(mkstemp(x->path));
	logsink_init(&x->sink, "passt");
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	logsink_fini(&x->sink);
	log_set_level(LOG_LVL_INFO);
	unlink(x->path);
	free(x);
	return 0;
}

static const char *file_text(struct fix *x)
{
	int fd = open(x->path, O_RDONLY);
	ssize_t n = read(fd, x->text, sizeof(x->text) - 1);

	assert_true(n >= 0);
	x->text[n] = '\0';
	close(fd);
	return x->text;
}

static unsigned warnings_of(const char *path, int fd)
{
	struct logsink s;
	char buf[512] = "";
	unsigned n = 0;

	logsink_init(&s, "passt");
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(logsink_file(&s, path, MAX_SIZE, "passt 1: /bin/passt"), 0);
	logsink_fini(&s);
	assert_true(pread(fd, buf, sizeof(buf) - 1, 0) >= 0);
	for (const char *at = buf; (at = strstr(at, "Messages may be missing in the log file ")); at++)
		n++;
	return n;
}

/* Who asked for a log file should not have to wonder why it is empty. */
static void test_no_room(void **state)
{
	struct fix *x = *state;
	char err_path[] = "/tmp/logsink-test-XXXXXX";
	int err = dup(STDERR_FILENO), fd = mkstemp(err_path);
	unsigned good = warnings_of(x->path, fd), full = warnings_of("/dev/full", fd);

	dup2(err, STDERR_FILENO);
	close(err);
	close(fd);
	unlink(err_path);
	assert_int_equal(good, 0);
	assert_int_equal(full, 1);
}

/* Blanks behind a number, as far as others can be longer. */
static int pid_room(pid_t pid)
{
	return 7 - snprintf(NULL, 0, "%i", (int)pid);
}

static void test_lines(void **state)
{
	static const char *const tail[] = { "error:   one", "warning: two", "info:    three", "debug:   four", "trace:   five" };
	struct fix *x = *state;
	char head[128], *save, *line;

	assert_int_equal(truncate(x->path, 100), 0);
	assert_int_equal(logsink_file(&x->sink, x->path, MAX_SIZE, "passt 1.0: /usr/bin/passt"), 0);
	logsink_stderr_off(&x->sink);
	log_set_level(LOG_LVL_TRACE);
	log_err("one");
	log_warn("two");
	log_info("three");
	log_debug("four");
	log_trace("five");

	snprintf(head, sizeof(head), "passt 1.0: /usr/bin/passt (%i)%*s", (int)getpid(), pid_room(getpid()), "");
	file_text(x);
	line = strtok_r(x->text, "\n", &save);
	assert_string_equal(line, head);
	for (unsigned i = 0; i < ARRAY_SIZE(tail); i++) {
		unsigned sec, frac;
		int at = 0;

		line = strtok_r(NULL, "\n", &save);
		assert_non_null(line);
		assert_int_equal(sscanf(line, "%u.%4u: %n", &sec, &frac, &at), 2);
		assert_int_equal(strcspn(line, ":") - strcspn(line, "."), 5); /* four digits */
		assert_string_equal(line + at, tail[i]);
	}
	assert_null(strtok_r(NULL, "\n", &save));
}

/* A number of another length stands in the place of the first one, and nothing else moves. */
static void test_pid(void **state)
{
	static const pid_t pid[] = { 4194304, 1, 65536, 4194303 };
	struct fix *x = *state;
	char want[128];

	assert_int_equal(logsink_file(&x->sink, x->path, MAX_SIZE, "passt 1.0: /usr/bin/passt"), 0);
	logsink_stderr_off(&x->sink);
	log_err("one");
	for (unsigned i = 0; i < ARRAY_SIZE(pid); i++) {
		logsink_pid(&x->sink, pid[i]);
		snprintf(want, sizeof(want), "passt 1.0: /usr/bin/passt (%i)%*s\n", (int)pid[i], pid_room(pid[i]), "");
		file_text(x);
		assert_memory_equal(x->text, want, strlen(want));
		assert_string_equal(strstr(x->text, "error:"), "error:   one\n");
	}
}

/* Without a file, or with one that does not hold the first line, there is nothing to change. */
static void test_pid_nowhere(void **state)
{
	struct fix *x = *state;
	char text[1024];

	logsink_pid(&x->sink, 12345);
	assert_int_equal(logsink_file(&x->sink, x->path, 8, "passt 1.0: /usr/bin/passt"), 0);
	logsink_stderr_off(&x->sink);
	snprintf(text, sizeof(text), "%s", file_text(x));
	logsink_pid(&x->sink, 54321);
	assert_string_equal(file_text(x), text);
}

/* However much is written: the file stays within its size, begins with its first line, ends with the newest one, and holds whole lines
 * that follow each other without a gap. */
static void test_rotation(void **state)
{
	struct fix *x = *state;
	char *save, *line;
	unsigned n;

	assert_int_equal(logsink_file(&x->sink, x->path, MAX_SIZE, "head"), 0);
	logsink_stderr_off(&x->sink);
	for (n = 0; n < 1000; n++) {
		unsigned first, next;

		log_info("line %u%*s", n, (int)(n * 7 % 150), "");
		if (n % 37 && n < 990)
			continue;
		assert_true(strlen(file_text(x)) <= MAX_SIZE);
		assert_true(n < 200 || strlen(x->text) > MAX_SIZE / 3);
		assert_int_equal(x->text[strlen(x->text) - 1], '\n');
		line = strtok_r(x->text, "\n", &save);
		assert_memory_equal(line, "head (", 6);
		line = strtok_r(NULL, "\n", &save);
		assert_int_equal(sscanf(line, "%*u.%*u: info:    line %u", &first), 1);
		for (next = first + 1; (line = strtok_r(NULL, "\n", &save)); next++) {
			unsigned got;

			assert_int_equal(sscanf(line, "%*u.%*u: info:    line %u", &got), 1);
			assert_int_equal(got, next);
		}
		assert_int_equal(next, n + 1);
	}
}

static void test_stderr(void **state)
{
	struct fix *x = *state;
	int fd = open(x->path, O_WRONLY | O_APPEND), keep = dup(STDERR_FILENO);

	dup2(fd, STDERR_FILENO);
	log_info("plain");
	log_debug("too fine");
	logsink_stderr_off(&x->sink);
	log_info("nobody hears this");
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(fd);
	assert_string_equal(file_text(x), "plain\n");
}

static void test_bad_file(void **state)
{
	struct fix *x = *state;

	assert_int_equal(logsink_file(&x->sink, "/nonexistent/log", MAX_SIZE, "head"), -ENOENT);
	logsink_stderr_off(&x->sink);
	log_info("goes nowhere");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_lines),  T(test_pid),      T(test_pid_nowhere), T(test_rotation),
					    T(test_stderr), T(test_bad_file), T(test_no_room) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
