/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "os/pcap.h"

#define FILE_ROOM (8u << 20)

static char path[] = "/tmp/pcap-test-XXXXXX";

static int setup(void **state)
{
	strcpy(path, "/tmp/pcap-test-XXXXXX");
	close(mkstemp(path));
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return 0;
}

static uint32_t word(const uint8_t *p)
{
	uint32_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static size_t file_read(uint8_t *buf)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, buf, FILE_ROOM);

	close(fd);
	return n > 0 ? (size_t)n : 0;
}

static void test_records(void **state)
{
	static uint8_t frame[65549];
	uint8_t *buf = malloc(FILE_ROOM);
	static const size_t lens[] = { 14, 60, 1514, 65549, 1, 0 };
	struct pcap *p = pcap_new();
	size_t at = 24, n;
	uint32_t sec;

	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 13);
	assert_int_equal(pcap_open(p, path), 0);
	assert_int_equal(file_read(buf), 24); /* readable from the start */
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			struct iovec iov[] = { { frame, lens[i] / 3 },
					       { frame, 0 },
					       { frame + lens[i] / 3, lens[i] - lens[i] / 3 } };

			pcap_frame(p, iov, 3);
		}
	}
	pcap_close(p);
	pcap_free(p);

	n = file_read(buf);
	assert_int_equal(word(buf), 0xa1b23c4d);
	assert_int_equal(word(buf + 4), 2 | 4 << 16);
	assert_true(word(buf + 16) >= 65549);
	assert_int_equal(word(buf + 20), 1);
	sec = word(buf + at);
	for (unsigned i = 0; i < 20 * ARRAY_SIZE(lens); i++) {
		size_t len = lens[i % ARRAY_SIZE(lens)];

		assert_true(at + 16 + len <= n);
		assert_in_range(word(buf + at), sec, sec + 3600);
		assert_in_range(word(buf + at + 4), 0, 999999999);
		assert_int_equal(word(buf + at + 8), len);
		assert_int_equal(word(buf + at + 12), len);
		assert_memory_equal(buf + at + 16, frame, len);
		at += 16 + len;
	}
	assert_int_equal(at, n);
	free(buf);
}

static void count(void *ctx, enum log_level level, const char *line)
{
	assert_int_equal(level, LOG_LVL_WARN);
	++*(unsigned *)ctx;
}

/* A full disk ends the capture, with one warning. */
static void test_write_error(void **state)
{
	static uint8_t frame[60000];
	struct iovec iov = { frame, sizeof(frame) };
	unsigned warnings = 0;
	struct pcap *p = pcap_new();

	log_set_sink(count, &warnings);
	assert_int_equal(pcap_open(p, "/dev/full"), 0);
	for (unsigned i = 0; i < 50; i++)
		pcap_frame(p, &iov, 1);
	pcap_close(p);
	pcap_free(p);
	assert_int_equal(warnings, 1);
	log_set_sink(NULL, NULL);
}

static void test_open_error(void **state)
{
	struct pcap *p = pcap_new();

	assert_int_equal(pcap_open(p, "/nonexistent/pcap"), -ENOENT);
	pcap_free(p);
	pcap_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_records, setup, teardown),
		cmocka_unit_test(test_write_error),
		cmocka_unit_test(test_open_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
