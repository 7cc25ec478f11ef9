/* SPDX-License-Identifier: MIT */
/* Requests that are wrong in every way there is: nothing ends but what has to, and no descriptor is left open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "front.h"
#include "os/fdpass.h"

#define ASK FRONT_NEED_REPLY
#define FEATURES (UINT64_C(1) << 32 | UINT64_C(1) << 30)

static int setup(void **state)
{
	struct front *f = calloc(1, sizeof(*f));

	front_init(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	front_fini(*state);
	free(*state);
	return 0;
}

/* Each request with each size and each number of descriptors: whoever asks gets one answer, and a wrong one is a refusal. */
static void test_wrong_sizes_and_descriptors(void **state)
{
	struct front *f = *state;
	uint8_t body[300] = { 0 };
	int fd[12];
	uint64_t v = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = eventfd(0, EFD_NONBLOCK);
	for (unsigned k = 0; k < FRONT_REQUESTS; k++) {
		/* Protocol features: those without which there are no acknowledgements. */
		body[0] = front_requests[k].request == 16 ? 8 : 0;
		for (unsigned len = 0; len <= sizeof(body); len += len < 48 ? 1 : 7) {
			for (unsigned n = 0; n <= ARRAY_SIZE(fd); n += n < 2 ? 1 : 5) {
				bool fits = len >= front_requests[k].size && len <= front_requests[k].size_max &&
					    n >= front_requests[k].fds && n <= front_requests[k].fds_max;

				front_negotiate(f, FEATURES, 0);
				front_send_fds(f, front_requests[k].request, ASK, body, len, fd, n);
				assert_int_equal(front_work(f), 0);
				assert_int_equal(front_answers(f, front_requests[k].request, &v), 1);
				if (!fits && !front_requests[k].own)
					assert_int_equal(v, 1);
				if (!fits && front_requests[k].own)
					assert_int_equal(v & 0xff,
							 front_requests[k].request == 6 || front_requests[k].request >= 42);
			}
		}
		vdev_reset(&f->d);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		close(fd[i]);
}

static void test_rings_that_are_none(void **state)
{
	struct front *f = *state;
	static const uint32_t bad[] = { VDEV_RINGS, VDEV_RINGS + 1, 255, 256, 0x80000000, UINT32_MAX };
	static const uint32_t requests[] = { 8, 9, 10, 18 };
	int fd = eventfd(0, EFD_NONBLOCK);

	front_negotiate(f, FEATURES, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint32_t body[10] = { bad[i], 1 };

		for (unsigned k = 0; k < ARRAY_SIZE(requests); k++)
			assert_int_equal(front_ask(f, requests[k], ASK, body, requests[k] == 9 ? 40 : 8), 1);
		assert_int_equal(front_ask(f, 11, ASK, body, 8), 0);
	}
	for (uint64_t ring = VDEV_RINGS; ring < 256; ring += 13) {
		for (uint32_t request = 12; request <= 14; request++)
			assert_int_equal(front_ask_fd(f, request, ASK, &ring, 8, fd), 1);
	}
	/* Says that there is a descriptor, or none, and the opposite is true. */
	for (uint32_t request = 12; request <= 14; request++) {
		uint64_t ring = 0;

		assert_int_equal(front_ask(f, request, ASK, &ring, 8), 1);
		ring = 0x100;
		assert_int_equal(front_ask_fd(f, request, ASK, &ring, 8, fd), 1);
	}
	close(fd);
}

static void test_values_that_are_none(void **state)
{
	struct front *f = *state;
	static const uint32_t sizes[] = { 0, 3, 5, 6, 32769, 65536, UINT32_MAX };
	int kick = eventfd(0, EFD_NONBLOCK);
	uint64_t addr[5] = { 0, 0, 0, 0, 0 };
	uint32_t num[2] = { 0, 8 }, base[2] = { 0, 65536 };
	uint64_t ring = 0;

	front_negotiate(f, FEATURES, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		num[1] = sizes[i];
		assert_int_equal(front_ask(f, 8, ASK, num, 8), 1);
	}
	assert_int_equal(front_ask(f, 10, ASK, base, 8), 1);
	/* A ring that lies nowhere. */
	num[1] = 8;
	assert_int_equal(front_ask(f, 8, ASK, num, 8), 0);
	assert_int_equal(front_ask(f, 9, ASK, addr, 40), 0);
	assert_int_equal(front_ask_fd(f, 12, ASK, &ring, 8, kick), 1);
	assert_false(vq_running(&f->d.ring[0].q));
	addr[0] = UINT64_C(2) << 32; /* a flag that nobody knows */
	assert_int_equal(front_ask(f, 9, ASK, addr, 40), 1);
	close(kick);
}

static void test_messages_in_pieces(void **state)
{
	struct front *f = *state;
	uint32_t hdr[5] = { 8, 1 | ASK, 8, 3, 64 };
	uint64_t v = 9;

	front_negotiate(f, FEATURES, 0);
	for (unsigned i = 0; i < sizeof(hdr); i++) {
		assert_int_equal(front_answers(f, 8, &v), 0);
		assert_int_equal(send(f->sock, (uint8_t *)hdr + i, 1, 0), 1);
		assert_int_equal(front_work(f), 0);
	}
	assert_int_equal(front_answers(f, 8, &v), 1);
	assert_int_equal(v, 0);
	assert_int_equal(f->d.ring[3].conf.size, 64);
}

static void test_the_end(void **state)
{
	struct front *f = *state;
	int fd = eventfd(0, 0);
	uint32_t hdr[3] = { 5, 1, 40 };

	/* In the middle of a message whose descriptors are here already. */
	assert_int_equal(fdpass_send(f->sock, hdr, sizeof(hdr), &fd, 1, 0), 0);
	shutdown(f->sock, SHUT_WR);
	assert_int_equal(front_work(f), -ECONNRESET);
	close(fd);
}

static void test_what_is_no_message(void **state)
{
	static const uint32_t bad[][3] = {
		{ 1, 0, 0 }, { 1, 2, 0 }, { 1, 3, 0 }, { 1, 1, VCHAN_BODY + 1 }, { 1, 1, UINT32_MAX },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct front *f = calloc(1, sizeof(*f));

		front_init(f);
		assert_int_equal(send(f->sock, bad[i], 12, 0), 12);
		assert_int_equal(front_work(f), -EPROTO);
		front_fini(f);
		free(f);
	}
}

/* Answers to questions that we never asked. */
static void test_replies_are_ignored(void **state)
{
	struct front *f = *state;
	int fd = eventfd(0, 0);

	front_negotiate(f, FEATURES, 0);
	front_send_fds(f, 1, 4 | ASK, NULL, 0, &fd, 1);
	assert_int_equal(front_work(f), 0);
	assert_int_equal(recv(f->sock, &fd, 1, 0), -1);
	close(fd);
}

/* A front-end that asks and never reads. */
static void test_nobody_reads_the_answers(void **state)
{
	struct front *f = *state;
	int err = 0;

	for (unsigned i = 0; i < 100000 && !err; i++) {
		front_send(f, 1, 0, NULL, 0);
		err = front_work(f);
	}
	assert_int_equal(err, -EAGAIN);
}

/* Descriptors that are no events, with nobody at the other end or with no room: nothing waits. */
static void test_calls_into_the_void(void **state)
{
	struct front *f = *state;
	int kick = eventfd(0, EFD_NONBLOCK), full = eventfd(0, 0), pair[2];
	uint64_t ring = 1;

	assert_int_equal(eventfd_write(full, UINT64_MAX - 1), 0);
	front_negotiate(f, FEATURES, 0);
	assert_int_equal(front_memory(f), 0);
	front_ring(f, &f->drv, 1, kick, full);
	vdev_ring_call(&f->d, 1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
	assert_int_equal(front_ask_fd(f, 13, ASK, &ring, 8, pair[0]), 0);
	for (unsigned i = 0; i < 10000; i++)
		vdev_ring_call(&f->d, 1);
	assert_int_equal(front_ask_fd(f, 13, ASK, &ring, 8, f->drv.fd), 0);
	close(pair[0]);
	close(pair[1]);
	close(kick);
	close(full);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_wrong_sizes_and_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rings_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values_that_are_none, setup, teardown),
		cmocka_unit_test_setup_teardown(test_messages_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_end, setup, teardown),
		cmocka_unit_test(test_what_is_no_message),
		cmocka_unit_test_setup_teardown(test_replies_are_ignored, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_reads_the_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_calls_into_the_void, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
