/* SPDX-License-Identifier: MIT */
/* The stream link over real sockets: framing, back-pressure, and the life of connections. The test is the VMM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/iov.h"
#include "failing.h"
#include "link/stream.h"
#include "os/unixpath.h"
#include "link_world.h"

#define SEEN_MAX (64u << 20)

struct fix {
	struct link_world w; /* the peer is the VMM */
	char dir[64], path[UNIXPATH_MAX];

	uint8_t *seen; /* frames from the guest, each with its length in front, as on the wire */
	size_t seen_len;
	unsigned reset_at; /* frame count at which rx() resets the link; 0: never */
	unsigned frames;
};

static size_t put_frame(uint8_t *to, size_t len, uint8_t fill)
{
	to[0] = (uint8_t)(len >> 24);
	to[1] = (uint8_t)(len >> 16);
	to[2] = (uint8_t)(len >> 8);
	to[3] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		to[4 + i] = (uint8_t)(fill + i * 7);
	return 4 + len;
}

static void on_frame(struct link_world *w, const struct frame *f)
{
	struct fix *x = container_of(w, struct fix, w);
	uint8_t *to = x->seen + x->seen_len;

	assert_int_equal(f->gso_type, GSO_NONE);
	assert_true(x->seen_len + 4 + f->len <= SEEN_MAX);
	put_frame(to, f->len, 0);
	iov_copy_out(f->iov, f->n, 0, to + 4, f->len);
	x->seen_len += 4 + f->len;
	if (++x->frames == x->reset_at)
		x->w.link->ops->reset(x->w.link);
}

static void start(struct fix *x, int listen_fd, int fd, bool one_off)
{
	struct stream_conf c = {
		.listen_fd = listen_fd,
		.fd = fd,
		.one_off = one_off,
		.mtu = 65520,
		.cb = link_world_cb(&x->w),
	};

	assert_int_equal(stream_new(&x->w.loop, &c, &x->w.link), 0);
	assert_int_equal(x->w.link->mtu, 65520);
	assert_int_equal(stream_start(x->w.link), 0);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	x->seen = malloc(SEEN_MAX);
	strcpy(x->dir, "/tmp/stream-test-XXXXXX");
	if (link_world_init(&x->w, on_frame) || !mkdtemp(x->dir))
		return -1;
	snprintf(x->path, sizeof(x->path), "%s/s", x->dir);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	link_world_fini(&x->w);
	unlink(x->path);
	rmdir(x->dir);
	free(x->seen);
	free(x);
	return 0;
}

static void start_pair(struct fix *x)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	x->w.peer = fd[1];
	start(x, -1, fd[0], false);
}

static void start_listen(struct fix *x, bool one_off)
{
	char path[UNIXPATH_MAX];
	int fd = -1;

	assert_int_equal(unixpath_open(SOCK_STREAM, x->path, path, &fd), 0);
	assert_string_equal(path, x->path);
	start(x, fd, -1, one_off);
}

static int vmm_connect(const struct fix *x)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(sun.sun_path, x->path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static void vmm_write(struct fix *x, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = send(x->w.peer, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		assert_true(n > 0 || (n < 0 && errno == EAGAIN));
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
		link_world_turn(&x->w);
	}
	link_world_turn(&x->w);
}

static bool vmm_closed(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static const size_t lens[] = { 14, 15, 60, 17, 14, 255, 256, 33 };

static size_t some_frames(uint8_t *to)
{
	size_t at = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++)
		at += put_frame(to + at, lens[i], (uint8_t)(i * 31));
	return at;
}

static void test_every_split(void **state)
{
	struct fix *x = *state;
	uint8_t wire[2048];
	size_t len = some_frames(wire);

	start_pair(x);
	assert_int_equal(x->w.up, 1);
	assert_true(x->w.link->up);
	for (size_t cut = 0; cut <= len; cut++) {
		x->seen_len = 0;
		x->frames = 0;
		vmm_write(x, wire, cut);
		vmm_write(x, wire + cut, len - cut);
		assert_int_equal(x->frames, ARRAY_SIZE(lens));
		assert_int_equal(x->seen_len, len);
		assert_memory_equal(x->seen, wire, len);
	}
}

static void test_byte_by_byte(void **state)
{
	struct fix *x = *state;
	uint8_t wire[2048];
	size_t len = some_frames(wire);

	start_pair(x);
	for (size_t i = 0; i < len; i++)
		vmm_write(x, wire + i, 1);
	assert_int_equal(x->seen_len, len);
	assert_memory_equal(x->seen, wire, len);
	assert_int_equal(x->w.link->stats.rx_frames, ARRAY_SIZE(lens));
}

/* More bytes than any buffer holds, in frames of all sizes, the largest included. */
static void test_bulk(void **state)
{
	struct fix *x = *state;
	uint8_t *wire = malloc(SEEN_MAX);
	size_t len = 0, size = 14;

	for (uint8_t fill = 0; len + 70000 < SEEN_MAX / 8; fill++) {
		len += put_frame(wire + len, fill % 5 ? size : 65535, fill);
		size = size >= 40000 ? 14 : size * 3 / 2;
	}
	start_pair(x);
	vmm_write(x, wire, len);
	assert_int_equal(x->seen_len, len);
	assert_memory_equal(x->seen, wire, len);
	free(wire);
}

static void test_batches(void **state)
{
	struct fix *x = *state;
	uint8_t wire[200 * 18];
	size_t len = 0;

	for (unsigned i = 0; i < 200; i++)
		len += put_frame(wire + len, 14, (uint8_t)i);
	start_pair(x);
	vmm_write(x, wire, len);
	assert_int_equal(x->frames, 200);
	assert_int_equal(x->w.rx_max, LINK_BATCH);
	assert_int_equal(x->w.rx_calls, 4);
	assert_memory_equal(x->seen, wire, len);
}

static void test_bad_length(void **state)
{
	static const uint32_t bad[] = { 0, 1, 13, 65536, 69632, 0x01000000, 0xffffffff };
	struct fix *x = *state;

	start_listen(x, false);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		uint8_t wire[128];
		size_t len = put_frame(wire, 20, 1);

		put_frame(wire + len, 0, 0);
		wire[len] = (uint8_t)(bad[i] >> 24);
		wire[len + 1] = (uint8_t)(bad[i] >> 16);
		wire[len + 2] = (uint8_t)(bad[i] >> 8);
		wire[len + 3] = (uint8_t)bad[i];
		x->frames = 0;
		x->w.peer = vmm_connect(x);
		link_world_turn(&x->w);
		assert_int_equal(x->w.up, i + 1);
		vmm_write(x, wire, len + 4);
		assert_int_equal(x->frames, 1); /* what came before is good */
		assert_int_equal(x->w.down, i + 1);
		assert_false(x->w.link->up);
		assert_true(vmm_closed(x->w.peer));
		close(x->w.peer);
	}
	x->w.peer = -1;
	assert_int_equal(x->w.link->stats.rx_bad, ARRAY_SIZE(bad));
}

static void test_second_client(void **state)
{
	struct fix *x = *state;
	uint8_t wire[2048];
	size_t len = some_frames(wire);
	int second;

	start_listen(x, false);
	x->w.peer = vmm_connect(x);
	link_world_turn(&x->w);
	vmm_write(x, wire, 10);
	second = vmm_connect(x);
	link_world_turn(&x->w);
	assert_true(vmm_closed(second));
	close(second);
	assert_int_equal(x->w.up, 1);
	vmm_write(x, wire + 10, len - 10);
	assert_int_equal(x->frames, ARRAY_SIZE(lens));
}

/* A new guest starts afresh: half a frame of the old one is forgotten, in both directions. */
static void test_reconnect(void **state)
{
	struct fix *x = *state;
	static uint8_t frame[60000], buf[70000];
	uint8_t wire[2048];
	size_t len = some_frames(wire);

	start_listen(x, false);
	x->w.peer = vmm_connect(x);
	link_world_turn(&x->w);
	vmm_write(x, wire, 50);
	while (!link_send(x->w.link, 0, frame, sizeof(frame)))
		link_flush(x->w.link);
	close(x->w.peer);
	link_world_turn(&x->w);
	link_world_turn(&x->w);
	assert_int_equal(x->w.down, 1);
	assert_int_equal(x->w.gone, 0);
	assert_false(x->w.link->up);
	assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), -ENOBUFS);

	x->frames = x->w.ready = 0;
	x->seen_len = 0;
	x->w.peer = vmm_connect(x);
	link_world_turn(&x->w);
	assert_int_equal(x->w.up, 2);
	link_world_turn(&x->w);
	assert_int_equal(x->w.ready, 1); /* a reservation had failed while nobody was there */
	vmm_write(x, wire, len);
	assert_int_equal(x->seen_len, len);
	assert_memory_equal(x->seen, wire, len);

	assert_int_equal(link_send(x->w.link, 0, "0123456789abcd", 14), 0);
	link_world_turn(&x->w);
	assert_int_equal(recv(x->w.peer, buf, sizeof(buf), MSG_DONTWAIT), 64);
	assert_memory_equal(buf,
			    "\0\0\0\x3c"
			    "0123456789abcd\0",
			    19);
}

/* The new connection is there before we have noticed the end of the old one, with words in it that are still to be heard. */
static void test_back_at_once(void **state)
{
	struct fix *x = *state;
	uint8_t wire[2048];
	size_t len = some_frames(wire);

	start_listen(x, false);
	for (unsigned i = 1; i <= 5; i++) {
		x->w.peer = vmm_connect(x);
		link_world_turn(&x->w);
		link_world_turn(&x->w);
		assert_int_equal(x->w.up, i);
		assert_int_equal(x->w.down, i - 1);
		assert_int_equal(x->frames, (i - 1) * ARRAY_SIZE(lens));
		assert_int_equal(send(x->w.peer, wire, len, 0), len);
		assert_int_equal(send(x->w.peer, wire, 10, 0), 10);
		close(x->w.peer);
	}
	x->w.peer = -1;
}

static void test_one_off(void **state)
{
	struct fix *x = *state;

	start_listen(x, true);
	link_world_turn(&x->w);
	assert_int_equal(x->w.gone, 0);
	x->w.peer = vmm_connect(x);
	link_world_turn(&x->w);
	close(x->w.peer);
	x->w.peer = -1;
	link_world_turn(&x->w);
	assert_int_equal(x->w.gone, 1);
	assert_int_equal(x->w.down, 0);
}

static void test_fd_is_one_off(void **state)
{
	struct fix *x = *state;

	start_pair(x);
	close(x->w.peer);
	x->w.peer = -1;
	link_world_turn(&x->w);
	assert_int_equal(x->w.gone, 1);
	assert_false(x->w.link->up);
}

/* What the guest sent before it went is still heard, even if it did not read what we sent. */
static void test_last_words(void **state)
{
	struct fix *x = *state;
	uint8_t wire[2048];
	size_t len = some_frames(wire);

	start_pair(x);
	assert_int_equal(send(x->w.peer, wire, len, 0), len);
	close(x->w.peer);
	x->w.peer = -1;
	assert_int_equal(link_send(x->w.link, 0, wire, 100), 0);
	link_flush(x->w.link);
	link_flush(x->w.link);
	link_world_turn(&x->w);
	link_world_turn(&x->w);
	assert_int_equal(x->seen_len, len);
	assert_int_equal(x->w.gone, 1);
}

static void test_reset_in_rx(void **state)
{
	struct fix *x = *state;
	uint8_t wire[200 * 18];
	size_t len = 0;

	for (unsigned i = 0; i < 200; i++)
		len += put_frame(wire + len, 14, (uint8_t)i);
	x->reset_at = 3;
	start_listen(x, false);
	x->w.peer = vmm_connect(x);
	link_world_turn(&x->w);
	assert_int_equal(send(x->w.peer, wire, len, 0), len);
	link_world_turn(&x->w);
	assert_int_equal(x->frames, LINK_BATCH); /* the batch that was on its way, no further one */
	assert_int_equal(x->w.down, 1);
	assert_true(vmm_closed(x->w.peer));
}

static void test_no_guest(void **state)
{
	struct fix *x = *state;
	struct txframe f[4];

	start_listen(x, false);
	assert_int_equal(link_reserve(x->w.link, f, &(struct txwant){ .n = 4, .hdr = 14, .len = 100 }), 0);
	assert_int_equal(link_send(x->w.link, 0, "0123456789abcd", 14), -ENOBUFS);
	link_flush(x->w.link);
	x->w.link->ops->reset(x->w.link);
	link_world_turn(&x->w);
	assert_int_equal(x->w.up + x->w.down + x->w.gone + x->w.ready, 0);
}

/* Takes up to max bytes at the VMM's end and checks the frames that are whole by then. */
static size_t drain(struct fix *x, const uint8_t *expect, size_t at, size_t max)
{
	static uint8_t buf[1 << 20];
	ssize_t n = recv(x->w.peer, buf, MIN(max, sizeof(buf)), MSG_DONTWAIT);

	if (n <= 0)
		return at;
	assert_memory_equal(buf, expect + at, (size_t)n);
	return at + (size_t)n;
}

/* A guest that does not read: reserve() falls short, nothing is lost or torn, tx_ready() comes once it reads again. */
static void test_back_pressure(void **state)
{
	struct fix *x = *state;
	uint8_t *expect = malloc(SEEN_MAX);
	size_t sent = 0, got = 0;
	uint8_t fill = 0;

	start_pair(x);
	for (unsigned round = 0; round < 4; round++) {
		size_t size = 100 + round * 7000;
		unsigned ready = x->w.ready, turns = 0;

		for (;;) {
			size_t n = put_frame(expect + sent, size, ++fill);

			assert_true(sent + 70000 < SEEN_MAX);
			if (link_send(x->w.link, 0, expect + sent + 4, size))
				break;
			sent += n;
			size = size < 30000 ? size + 11 : 61;
		}
		link_world_turn(&x->w);
		assert_int_equal(x->w.ready, ready);
		while (x->w.ready == ready && turns++ < 10000) {
			got = drain(x, expect, got, 100000);
			link_world_turn(&x->w);
		}
		assert_int_equal(x->w.ready, ready + 1);
	}
	for (unsigned i = 0; got < sent && i < 10000; i++) {
		got = drain(x, expect, got, SIZE_MAX);
		link_world_turn(&x->w);
	}
	assert_int_equal(got, sent);
	assert_int_equal(x->w.link->stats.tx_full, 4);
	free(expect);
}

/* No event is waited for that nothing could be done about: not when all is quiet, not against a guest that does not read. */
static void test_no_spin(void **state)
{
	struct fix *x = *state;
	struct epoll_event ev;
	static uint8_t frame[60000];

	start_pair(x);
	link_flush(x->w.link);
	assert_int_equal(epoll_wait(x->w.loop.epfd, &ev, 1, 0), 0);
	while (!link_send(x->w.link, 0, frame, sizeof(frame))) {
	}
	link_world_turn(&x->w);
	link_world_turn(&x->w);
	assert_int_equal(epoll_wait(x->w.loop.epfd, &ev, 1, 0), 0);
}

static const int shortages[] = { ENOMEM, ENOBUFS };

/* The system has no memory for a while: nothing is lost, the guest stays, and nobody asks again and again. */
static void test_no_memory_from_guest(void **state)
{
	struct fix *x = *state;
	uint8_t buf[64];
	size_t len = put_frame(buf, 60, 7);

	start_pair(x);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(shortages); i++) {
		bool deaf = i % 2; /* what watches the socket fails as well */

		failing_set(FAIL_RECV, shortages[i / 2], 0, deaf ? 1 : 3);
		if (deaf)
			failing_set(FAIL_EPOLL_CTL, ENOMEM, 1, 2);
		assert_int_equal(write(x->w.peer, buf, len), len);
		while (x->frames <= i)
			link_world_turn(&x->w);
		assert_int_equal(failing[FAIL_RECV].calls, deaf ? 2 : 4);
		assert_int_equal(failing[FAIL_EPOLL_CTL].times, 0);
	}
	assert_true(x->w.link->up);
	assert_int_equal(x->w.down, 0);
}

static void test_no_memory_to_guest(void **state)
{
	struct fix *x = *state;
	uint8_t frame[60] = { 1 };

	start_pair(x);
	for (unsigned i = 0; i < ARRAY_SIZE(shortages); i++) {
		struct pollfd p = { .fd = x->w.peer, .events = POLLIN };
		uint8_t buf[100];

		failing_set(FAIL_SENDMSG, shortages[i], 0, 3);
		assert_int_equal(link_send(x->w.link, 0, frame, sizeof(frame)), 0);
		while (!poll(&p, 1, 0))
			link_world_turn(&x->w);
		assert_int_equal(read(x->w.peer, buf, sizeof(buf)), 64);
		assert_int_equal(failing[FAIL_SENDMSG].calls, 4);
	}
	assert_true(x->w.link->up);
}

/* A guest has gone and come again, and nothing can be read meanwhile. */
static void test_no_memory_and_next_guest(void **state)
{
	struct fix *x = *state;
	uint8_t buf[64];
	size_t len = put_frame(buf, 60, 7);

	start_listen(x, false);
	x->w.peer = vmm_connect(x);
	link_world_turn(&x->w);
	assert_int_equal(x->w.up, 1);
	assert_int_equal(write(x->w.peer, buf, len), len);
	close(x->w.peer);
	x->w.peer = vmm_connect(x);
	failing_set(FAIL_RECV, ENOMEM, 0, 3);
	while (x->w.up < 2)
		link_world_turn(&x->w);
	assert_int_equal(x->w.down, 1);
	assert_int_equal(x->frames, 1);
	assert_int_equal(write(x->w.peer, buf, len), len);
	while (x->frames < 2)
		link_world_turn(&x->w);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_every_split),
		T(test_byte_by_byte),
		T(test_bulk),
		T(test_batches),
		T(test_bad_length),
		T(test_second_client),
		T(test_reconnect),
		T(test_back_at_once),
		T(test_one_off),
		T(test_fd_is_one_off),
		T(test_last_words),
		T(test_reset_in_rx),
		T(test_no_guest),
		T(test_back_pressure),
		T(test_no_spin),
		T(test_no_memory_from_guest),
		T(test_no_memory_to_guest),
		T(test_no_memory_and_next_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
