/* SPDX-License-Identifier: MIT */
/*
 * Each request at each time, as it should be and in wrong shapes: who asks gets one answer, what can't be done then is refused, and a front-end that
 * begins again on the same connection is served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "guest.h"

#define ASK FRONT_NEED_REPLY
#define UNKNOWN_MAX 400u /* numbers of requests that are tried */

/* A payload that makes sense, where zeros don't. */
static void body_fill(struct guest *t, uint32_t request, uint8_t body[static 512])
{
	uint64_t features = GUEST_BASIC | GUEST_MERGE;
	uint64_t region[5] = { 0, DRV_GUEST, DRV_MEM / 2, DRV_USER, DRV_MEM / 2 };
	uint64_t addr[5] = { 0, t->rx.desc - DRV_GUEST + DRV_USER, t->rx.used - DRV_GUEST + DRV_USER,
			     t->rx.avail - DRV_GUEST + DRV_USER, 0 };
	uint32_t ring[2] = { 0, request == 8 ? GUEST_SIZE : request == 18 };
	uint64_t log[2] = { 4096, 0 };
	struct {
		uint64_t size, offset;
		uint16_t queues, queue_size;
	} inflight = { DRV_MEM, 0, 2, GUEST_SIZE };
	uint64_t protocol = UINT64_C(1) << 3;

	memset(body, 0, 512);
	if (request == 2)
		memcpy(body, &features, sizeof(features));
	else if (request == 16)
		memcpy(body, &protocol, sizeof(protocol));
	else if (request == 8 || request == 18)
		memcpy(body, ring, sizeof(ring));
	else if (request == 9)
		memcpy(body, addr, sizeof(addr));
	else if (request == 6)
		memcpy(body, log, sizeof(log));
	else if (request == 31 || request == 32)
		memcpy(body, &inflight, 20);
	else if (request == 37 || request == 38)
		memcpy(body, region, sizeof(region));
	else if (request == 42)
		body[0] = 1;
}

/* What belongs to a feature that was not agreed on is not known. */
static bool needs_feature(uint32_t request)
{
	static const uint32_t needing[] = { 6, 31, 32, 36, 37, 38, 42, 43 };

	for (unsigned i = 0; i < ARRAY_SIZE(needing); i++) {
		if (needing[i] == request)
			return true;
	}
	return false;
}

/* Though its shape is right: the ring has to be stopped, or there is no such region. */
static bool refused(uint32_t request, enum guest_phase phase)
{
	if (request == 38)
		return phase < GUEST_MEMORY;
	return (request == 8 || request == 10) && phase == GUEST_RUNS;
}

static unsigned answers_due(uint32_t request, enum guest_phase phase, bool own, bool fits)
{
	if (phase != GUEST_CONNECTED)
		return 1;
	/* Before anything was agreed on, acknowledgements are not known; but by this one they are. */
	return (own && !needs_feature(request)) || (request == 16 && fits);
}

static void one(struct guest *t, const struct front_request *q, enum guest_phase phase, unsigned len, unsigned n)
{
	int mem = t->f.drv.fd, event = eventfd(0, EFD_NONBLOCK);
	/* Of memory where that is meant, else events; but there is none that comes by itself. */
	bool of_memory = q->request == 5 || q->request == 6 || q->request == 32 || q->request == 37;
	int fd[9];
	bool fits = len >= q->size && len <= q->size_max && n >= q->fds && n <= q->fds_max;
	uint8_t body[512];
	uint64_t v = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = of_memory ? mem : event;
	guest_again(t);
	guest_to(t, phase);
	body_fill(t, q->request, body);
	front_send_fds(&t->f, q->request, ASK, body, len, fd, n);
	guest_turns(t);
	assert_int_equal(front_answers(&t->f, q->request, &v), answers_due(q->request, phase, q->own, fits));
	if (phase != GUEST_CONNECTED && !q->own) {
		/* A table of memory says itself how many descriptors there are. */
		bool wrong = !fits || refused(q->request, phase) || (q->request == 5 && n);

		assert_int_equal(v, wrong);
	}
	if (!fits && q->own && answers_due(q->request, phase, q->own, fits))
		assert_int_equal(v & 0xff, q->request == 6 || q->request >= 42);
	/* It goes on on the same connection. */
	assert_true(front_ask(&t->f, 1, 0, NULL, 0) > 1);
	if (phase >= GUEST_RUNS || q->request == 12) {
		front_ring_stop(&t->f, 0);
		front_ring_stop(&t->f, 1);
	}
	guest_serves(t);
	close(event);
}

static void test_each_request_at_each_time(void **state)
{
	struct guest *t = *state;

	for (unsigned phase = 0; phase < GUEST_PHASES; phase++) {
		for (unsigned k = 0; k < FRONT_REQUESTS; k++) {
			const struct front_request *q = &front_requests[k];

			one(t, q, phase, q->size, q->fds);
			one(t, q, phase, q->size_max, q->fds_max);
			one(t, q, phase, q->size_max + 1, q->fds);
			one(t, q, phase, q->size, q->fds_max + 1);
			if (q->size)
				one(t, q, phase, q->size - 1, q->fds);
			if (q->fds)
				one(t, q, phase, q->size, q->fds - 1);
		}
	}
}

static bool is_known(uint32_t request)
{
	for (unsigned k = 0; k < FRONT_REQUESTS; k++) {
		if (front_requests[k].request == request)
			return true;
	}
	return false;
}

/* All other numbers are refused in any shape, while the device runs; so the table of these tests is the whole one. */
static void test_requests_that_are_none(void **state)
{
	static const unsigned sizes[] = { 0, 4, 8, 16, 20, 24, 40, 72, 264 };
	static const unsigned fds[] = { 0, 1, 2, 8 };
	static const uint8_t hdr[GUEST_VNET] = { 0 };
	struct guest *t = *state;
	uint8_t body[264] = { 0 };
	unsigned refusals = 0;
	int fd[8];

	for (unsigned i = 0; i < ARRAY_SIZE(fd); i++)
		fd[i] = t->f.drv.fd;
	guest_to(t, GUEST_RUNS);
	for (uint32_t request = 0; request < UNKNOWN_MAX; request++) {
		for (unsigned k = 0; k < ARRAY_SIZE(sizes) * ARRAY_SIZE(fds) && !is_known(request); k++) {
			uint64_t v = 0;

			front_send_fds(&t->f, request, ASK, body, sizes[k / ARRAY_SIZE(fds)], fd, fds[k % ARRAY_SIZE(fds)]);
			guest_turns(t);
			assert_int_equal(front_answers(&t->f, request, &v), 1);
			assert_int_equal(v, 1);
			refusals++;
		}
	}
	assert_int_equal(refusals, (UNKNOWN_MAX - FRONT_REQUESTS) * ARRAY_SIZE(sizes) * ARRAY_SIZE(fds));
	guest_send(t, hdr, GUEST_FRAME);
	assert_int_equal(t->frames, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_request_at_each_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_requests_that_are_none, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
