/* SPDX-License-Identifier: MIT */
/* The queue towards a stream socket against a twin that simply appends all frames to one long run of bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "link/stream_tx.h"
#include "os/sock.h"

#define TWIN_MAX (64u << 20)

struct twin {
	uint8_t *bytes;
	size_t len, read;
	uint32_t seed;
	uint8_t fill;
};

static uint32_t rnd(struct twin *t)
{
	t->seed = t->seed * 1664525u + 1013904223u;
	return t->seed >> 8;
}

static void twin_add(struct twin *t, const uint8_t *hdr, size_t hdr_len, const uint8_t *body, size_t len)
{
	size_t frame = hdr_len + len < 60 ? 60 : hdr_len + len;

	assert_true(t->len + 4 + frame <= TWIN_MAX);
	t->bytes[t->len++] = (uint8_t)(frame >> 24);
	t->bytes[t->len++] = (uint8_t)(frame >> 16);
	t->bytes[t->len++] = (uint8_t)(frame >> 8);
	t->bytes[t->len++] = (uint8_t)frame;
	memcpy(t->bytes + t->len, hdr, hdr_len);
	memcpy(t->bytes + t->len + hdr_len, body, len);
	memset(t->bytes + t->len + hdr_len + len, 0, frame - hdr_len - len);
	t->len += frame;
}

static int setup(void **state)
{
	struct twin *t = calloc(1, sizeof(*t));

	t->bytes = malloc(TWIN_MAX);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct twin *t = *state;

	free(t->bytes);
	free(t);
	return 0;
}

/* Fills and commits the first k of n reserved frames; each ends short now and then. */
static void commit_some(struct stream_tx *q, struct twin *t, const struct txframe *f, unsigned k, size_t hdr_len)
{
	uint8_t hdr[128];

	for (unsigned i = 0; i < k; i++) {
		size_t len = rnd(t) % 3 && f[i].cap ? f[i].cap : rnd(t) % (f[i].cap + 1);
		struct txhdr h = { .bytes = hdr, .len = (uint16_t)hdr_len };

		assert_int_equal(f[i].n, 1);
		memset(hdr, ++t->fill, hdr_len);
		for (size_t j = 0; j < len; j++)
			((uint8_t *)f[i].body[0].iov_base)[j] = (uint8_t)(t->fill + j);
		stream_tx_commit(q, &f[i], &h, len);
		twin_add(t, hdr, hdr_len, f[i].body[0].iov_base, len);
	}
}

static void read_some(struct twin *t, int fd, size_t max)
{
	static uint8_t buf[1 << 20];
	ssize_t n = recv(fd, buf, max < sizeof(buf) ? max : sizeof(buf), MSG_DONTWAIT);

	if (n <= 0)
		return;
	assert_true(t->read + (size_t)n <= t->len);
	assert_memory_equal(buf, t->bytes + t->read, (size_t)n);
	t->read += (size_t)n;
}

static void run_random(struct twin *t, uint32_t seed, size_t len_max)
{
	struct txframe f[LINK_BATCH];
	struct stream_tx *q = calloc(1, sizeof(*q));
	bool full = false;
	int fd[2];

	t->seed = seed;
	t->len = t->read = 0;
	assert_int_equal(stream_tx_init(q), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);

	for (unsigned turn = 0; turn < 4000 && t->len < TWIN_MAX / 2; turn++) {
		size_t hdr = rnd(t) % 100, len = rnd(t) % (len_max + 1), n = rnd(t) % (LINK_BATCH + 1);
		size_t got = stream_tx_reserve(q, f, n, hdr, len);

		assert_true(got <= n);
		full |= got < n;
		commit_some(q, t, f, got ? (unsigned)(rnd(t) % (got + 1)) : 0, hdr);
		if (rnd(t) % 4 == 0)
			assert_int_equal(stream_tx_send(q, fd[0]), 0);
		/* The other end reads for a while, and then for a while it does not. */
		if (turn / 1000 % 2 && rnd(t) % 4 == 0)
			read_some(t, fd[1], rnd(t) % 300000);
	}
	while (!stream_tx_empty(q)) {
		assert_int_equal(stream_tx_send(q, fd[0]), 0);
		read_some(t, fd[1], SIZE_MAX);
	}
	read_some(t, fd[1], SIZE_MAX);
	while (t->read < t->len)
		read_some(t, fd[1], SIZE_MAX);
	assert_true(full); /* otherwise the interesting part was not reached */
	assert_true(stream_tx_half_free(q));
	close(fd[0]);
	close(fd[1]);
	stream_tx_fini(q);
	free(q);
}

static void test_random_small(void **state)
{
	for (uint32_t seed = 1; seed <= 4; seed++)
		run_random(*state, seed, 200);
}

static void test_random_mtu(void **state)
{
	for (uint32_t seed = 1; seed <= 4; seed++)
		run_random(*state, seed, 1500);
}

static void test_random_large(void **state)
{
	for (uint32_t seed = 1; seed <= 4; seed++)
		run_random(*state, seed, 65535);
}

/* Frames that come out as long as reserved are one piece, across reservations; a short one ends it. */
static void test_pieces(void **state)
{
	static const uint8_t hdr[54];
	struct txhdr h = { .bytes = hdr, .len = sizeof(hdr) };
	struct stream_tx *q = calloc(1, sizeof(*q));
	struct txframe f[8];

	assert_int_equal(stream_tx_init(q), 0);
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(stream_tx_reserve(q, f, 8, sizeof(hdr), 1000), 8);
		for (unsigned i = 0; i < 8; i++)
			stream_tx_commit(q, &f[i], &h, 1000);
	}
	assert_int_equal(q->end - q->first, 1);
	assert_int_equal(q->piece[0].iov_len, 24 * (4 + 54 + 1000));

	assert_int_equal(stream_tx_reserve(q, f, 8, sizeof(hdr), 1000), 8);
	stream_tx_commit(q, &f[0], &h, 999);
	stream_tx_commit(q, &f[1], &h, 1000);
	assert_int_equal(q->end - q->first, 2);

	/* Behind a short frame that is the last there is no gap. */
	assert_int_equal(stream_tx_reserve(q, f, 1, sizeof(hdr), 1000), 1);
	stream_tx_commit(q, &f[0], &h, 10);
	assert_int_equal(stream_tx_reserve(q, f, 1, sizeof(hdr), 1000), 1);
	stream_tx_commit(q, &f[0], &h, 1000);
	assert_int_equal(q->end - q->first, 2);
	stream_tx_fini(q);
	free(q);
}

/* What was not committed is given back. */
static void test_give_back(void **state)
{
	struct stream_tx *q = calloc(1, sizeof(*q));
	struct txframe f[LINK_BATCH], g[LINK_BATCH];

	assert_int_equal(stream_tx_init(q), 0);
	assert_int_equal(stream_tx_reserve(q, f, LINK_BATCH, 0, 65535), 15);
	assert_int_equal(stream_tx_reserve(q, g, LINK_BATCH, 0, 65535), 15);
	assert_ptr_equal(f[0].body[0].iov_base, g[0].body[0].iov_base);
	assert_true(stream_tx_empty(q));
	assert_int_equal(stream_tx_reserve(q, f, 1, 0, STREAM_TX_BUF), 0);
	assert_int_equal(stream_tx_reserve(q, f, 0, 0, 100), 0);
	stream_tx_fini(q);
	free(q);
}

/* A broken connection is an error; a full one is none. */
static void test_send_errors(void **state)
{
	struct stream_tx *q = calloc(1, sizeof(*q));
	struct txhdr h = { .bytes = NULL };
	struct txframe f;
	size_t left;
	int fd[2];

	assert_int_equal(stream_tx_init(q), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	while (stream_tx_reserve(q, &f, 1, 0, 65535)) {
		memset(f.body[0].iov_base, 0, 65535);
		stream_tx_commit(q, &f, &h, 65535);
	}
	assert_false(stream_tx_half_free(q));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(stream_tx_send(q, fd[0]), 0);
	left = q->piece[q->first].iov_len;
	assert_true(left > 0);
	assert_int_equal(stream_tx_send(q, fd[0]), 0);
	assert_int_equal(q->piece[q->first].iov_len, left);
	close(fd[1]);
	assert_true(stream_tx_send(q, fd[0]) < 0);
	close(fd[0]);
	stream_tx_fini(q);
	free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_small), cmocka_unit_test(test_random_mtu), cmocka_unit_test(test_random_large),
		cmocka_unit_test(test_pieces),       cmocka_unit_test(test_give_back),  cmocka_unit_test(test_send_errors),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
