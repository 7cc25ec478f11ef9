/* SPDX-License-Identifier: MIT */
/* The packet link over real sockets: sequenced packets and datagrams, and who may send them. The test is the guest. */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/iov.h"
#include "failing.h"
#include "link/packet.h"
#include "os/unixpath.h"
#include "link_world.h"

#define FRAME 65535u

struct fix {
	struct link_world w; /* the peer is the guest */
	char dir[64], path[UNIXPATH_MAX], name[2][UNIXPATH_MAX];
	unsigned frames, reset_at; /* seen; at which rx() resets the link, 0: never */
	size_t last_len;
	uint8_t last[FRAME];
};

static void on_frame(struct link_world *w, const struct frame *f)
{
	struct fix *x = container_of(w, struct fix, w);

	x->last_len = f->len;
	assert_true(f->len <= FRAME);
	iov_copy_out(f->iov, f->n, 0, x->last, f->len);
	if (++x->frames == x->reset_at)
		w->link->ops->reset(w->link);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));

	strcpy(x->dir, "/tmp/packet-test-XXXXXX");
	if (link_world_init(&x->w, on_frame) || !mkdtemp(x->dir))
		return -1;
	snprintf(x->path, sizeof(x->path), "%s/s", x->dir);
	snprintf(x->name[0], sizeof(x->name[0]), "%s/g0", x->dir);
	snprintf(x->name[1], sizeof(x->name[1]), "%s/g1", x->dir);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	link_world_fini(&x->w);
	unlink(x->path);
	unlink(x->name[0]);
	unlink(x->name[1]);
	rmdir(x->dir);
	free(x);
	return 0;
}

static void start(struct fix *x, struct packet_conf c)
{
	c.mtu = 65520;
	c.cb = link_world_cb(&x->w);
	assert_int_equal(packet_new(&x->w.loop, &c, &x->w.link), 0);
	assert_int_equal(packet_start(x->w.link), 0);
}

static void start_pair(struct fix *x, int type)
{
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, type, 0, fd), 0);
	x->w.peer = fd[1];
	start(x, (struct packet_conf){ .listen_fd = -1, .bound_fd = -1, .dir_fd = -1, .dir = "", .fd = fd[0] });
	assert_int_equal(x->w.up, 1);
}

static void start_listen(struct fix *x)
{
	struct packet_conf c = { .bound_fd = -1, .dir_fd = -1, .dir = "", .fd = -1 };
	char path[UNIXPATH_MAX];

	assert_int_equal(unixpath_open(SOCK_SEQPACKET, x->path, path, &c.listen_fd), 0);
	start(x, c);
}

static void start_bound(struct fix *x, bool one_off)
{
	struct packet_conf c = { .listen_fd = -1, .fd = -1, .one_off = one_off };
	static char dir[80], path[UNIXPATH_MAX];

	snprintf(dir, sizeof(dir), "%s/", x->dir);
	c.dir = dir;
	c.dir_fd = open(x->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(unixpath_open(SOCK_DGRAM, x->path, path, &c.bound_fd), 0);
	start(x, c);
}

static struct sockaddr_un sun_of(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	strcpy(sun.sun_path, path);
	return sun;
}

static int guest_connect(const struct fix *x)
{
	struct sockaddr_un sun = sun_of(x->path);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

/* A datagram socket with that name; NULL: without one. */
static int guest_bind(const char *path)
{
	struct sockaddr_un sun;
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (!path)
		return fd;
	sun = sun_of(path);
	unlink(path);
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	return fd;
}

static int guest_send(const struct fix *x, int fd, const void *data, size_t len)
{
	struct sockaddr_un sun = sun_of(x->path);

	return sendto(fd, data, len, MSG_DONTWAIT, (struct sockaddr *)&sun, sizeof(sun)) < 0 ? -errno : 0;
}

static void turns(struct fix *x)
{
	for (unsigned i = 0; i < 4; i++)
		link_world_turn(&x->w);
}

/* What comes to the guest next: its length; -errno. */
static ssize_t heard(int fd, uint8_t *buf)
{
	ssize_t n = recv(fd, buf, FRAME + 1, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

static uint8_t frame[FRAME + 10];

static void test_lengths(void **state)
{
	static const struct {
		size_t len;
		bool good;
	} t[] = { { 14, true }, { 13, false },   { 60, true },     { 1, false },     { 1514, true }, { 4, false },
		  { 0, false }, { 65535, true }, { 65536, false }, { 65540, false }, { 15, true } };
	static const int types[] = { SOCK_SEQPACKET, SOCK_DGRAM };
	struct fix *x = *state;

	for (size_t k = 0; k < sizeof(frame); k++)
		frame[k] = (uint8_t)(k * 7);
	for (unsigned k = 0; k < ARRAY_SIZE(types); k++) {
		start_pair(x, types[k]);
		for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
			unsigned before = x->frames;
			uint64_t bad = x->w.link->stats.rx_bad;

			assert_int_equal(send(x->w.peer, frame, t[i].len, 0), t[i].len);
			turns(x);
			assert_int_equal(x->frames - before, t[i].good);
			assert_int_equal(x->w.link->stats.rx_bad - bad, !t[i].good);
			if (t[i].good) {
				assert_int_equal(x->last_len, t[i].len);
				assert_memory_equal(x->last, frame, t[i].len);
			}
		}
		assert_true(x->w.link->up);
		close(x->w.peer);
		x->w.link->ops->free(x->w.link);
		x->w.up = 0;
	}
	x->w.link = NULL;
	x->w.peer = -1;
}

static void test_batches(void **state)
{
	struct fix *x = *state;

	start_pair(x, SOCK_SEQPACKET);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(send(x->w.peer, frame, 60, MSG_DONTWAIT), 60);
	turns(x);
	assert_int_equal(x->frames, 200);
	assert_int_equal(x->w.rx_max, LINK_BATCH);
	assert_int_equal(x->w.rx_calls, 4);
}

/* Each frame is a message, padded, in order, and none is lost to a guest that doesn't read for a while. */
static void test_to_guest(void **state)
{
	struct fix *x = *state;
	uint32_t sent = 0, got = 0;
	static uint8_t buf[FRAME + 1];

	start_pair(x, SOCK_SEQPACKET);
	for (unsigned round = 0; round < 20; round++) {
		for (;; sent++) {
			size_t len = sent % 3 ? 1000 + sent % 64000 : 20;

			memset(frame, 0, 20);
			memcpy(frame, &sent, sizeof(sent));
			if (link_send(x->w.link, 0, frame, len))
				break;
			if (sent % 10 == 0)
				link_flush(x->w.link);
		}
		x->w.ready = 0;
		link_world_turn(&x->w);
		assert_int_equal(x->w.ready, 0);
		while (got < sent) {
			ssize_t n = heard(x->w.peer, buf);

			if (n == -EAGAIN) {
				link_world_turn(&x->w);
				continue;
			}
			assert_int_equal(n, got % 3 ? 1000 + got % 64000 : 60);
			assert_memory_equal(buf, &got, sizeof(got));
			got++;
		}
		turns(x);
		assert_int_equal(x->w.ready, 1);
	}
	assert_true(sent > 400);
	assert_int_equal(x->w.link->stats.tx_frames, sent);
}

/* What was said before the end is heard; what looks like an end is none. */
static void test_end(void **state)
{
	struct fix *x = *state;

	start_listen(x);
	for (unsigned i = 1; i <= 3; i++) {
		x->frames = 0;
		x->w.peer = guest_connect(x);
		turns(x);
		assert_int_equal(x->w.up, i);
		assert_int_equal(send(x->w.peer, frame, 0, 0), 0);
		turns(x);
		assert_true(x->w.link->up);
		for (unsigned k = 0; k < 100; k++)
			assert_int_equal(send(x->w.peer, frame, 60, 0), 60);
		close(x->w.peer);
		turns(x);
		assert_int_equal(x->frames, 100);
		assert_int_equal(x->w.down, i);
		assert_int_equal(link_send(x->w.link, 0, frame, 60), -ENOBUFS);
	}
	x->w.peer = -1;
	assert_int_equal(x->w.gone, 0);
}

/* Empty messages among frames that are only read when the guest has gone: they are not its end. */
static void test_empty_before_end(void **state)
{
	struct fix *x = *state;

	start_listen(x);
	x->w.peer = guest_connect(x);
	turns(x);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(send(x->w.peer, frame, i % 2 ? 60 : 0, 0), i % 2 ? 60 : 0);
	close(x->w.peer);
	x->w.peer = -1;
	turns(x);
	assert_int_equal(x->frames, 3);
	assert_int_equal(x->w.link->stats.rx_bad, 3);
	assert_int_equal(x->w.down, 1);
}

/* A guest that goes without having read all, seen at first as frames for it are refused: what it has sent is heard all the same. */
static void test_end_unread(void **state)
{
	struct fix *x = *state;

	for (unsigned first = 0; first < 2; first++) {
		start_pair(x, SOCK_SEQPACKET);
		x->frames = x->w.gone = 0;
		assert_int_equal(link_send(x->w.link, 0, frame, 60), 0);
		turns(x);
		for (unsigned k = 0; k < 3 * LINK_BATCH; k++)
			assert_int_equal(send(x->w.peer, frame, 60, MSG_DONTWAIT), 60);
		close(x->w.peer);
		x->w.peer = -1;
		/* By which of the two the kernel tells that frames were not read. */
		if (first)
			link_world_turn(&x->w);
		assert_int_equal(link_send(x->w.link, 0, frame, 60), 0);
		link_flush(x->w.link);
		turns(x);
		assert_int_equal(x->frames, 3 * LINK_BATCH);
		assert_int_equal(x->w.gone, 1);
		x->w.link->ops->free(x->w.link);
		x->w.link = NULL;
		x->w.up = 0;
	}
}

static void test_second_client(void **state)
{
	struct fix *x = *state;
	uint8_t c;
	int second;

	start_listen(x);
	x->w.peer = guest_connect(x);
	turns(x);
	second = guest_connect(x);
	turns(x);
	assert_int_equal(recv(second, &c, 1, MSG_DONTWAIT), 0);
	close(second);
	assert_int_equal(x->w.up, 1);
	assert_int_equal(send(x->w.peer, frame, 60, 0), 60);
	turns(x);
	assert_int_equal(x->frames, 1);
}

/* In the middle of a batch. */
static void test_reset(void **state)
{
	struct fix *x = *state;
	uint8_t c;

	start_listen(x);
	x->w.peer = guest_connect(x);
	turns(x);
	x->reset_at = 3;
	for (unsigned k = 0; k < 10; k++)
		assert_int_equal(send(x->w.peer, frame, 60, 0), 60);
	turns(x);
	assert_int_equal(x->frames, 10);
	assert_int_equal(x->w.down, 1);
	assert_true(recv(x->w.peer, &c, 1, MSG_DONTWAIT) <= 0);
}

static void test_one_off(void **state)
{
	struct fix *x = *state;

	start_pair(x, SOCK_SEQPACKET);
	close(x->w.peer);
	x->w.peer = -1;
	turns(x);
	assert_int_equal(x->w.gone, 1);
}

/* A pair of datagram sockets doesn't tell of its end before something is sent. */
static void test_datagram_pair_end(void **state)
{
	struct fix *x = *state;

	start_pair(x, SOCK_DGRAM);
	close(x->w.peer);
	x->w.peer = -1;
	assert_int_equal(link_send(x->w.link, 0, frame, 60), 0);
	turns(x);
	assert_int_equal(x->w.gone, 1);
}

/* The first one is the guest, and nobody else is heard; with and without the word that some begin with. */
static void test_datagrams(void **state)
{
	struct fix *x = *state;
	static uint8_t buf[FRAME + 1];
	int other = guest_bind(x->name[1]), nameless = guest_bind(NULL);

	start_bound(x, false);
	assert_int_equal(link_send(x->w.link, 0, frame, 60), -ENOBUFS);
	assert_int_equal(guest_send(x, nameless, frame, 60), 0);
	turns(x);
	assert_int_equal(x->w.up, 0);
	assert_int_equal(x->frames, 0);
	x->w.peer = guest_bind(x->name[0]);
	assert_int_equal(guest_send(x, x->w.peer, "VFKT", 4), 0);
	turns(x);
	assert_int_equal(x->w.up, 1);
	assert_int_equal(x->w.link->stats.rx_bad, 1);
	assert_int_equal(guest_send(x, x->w.peer, frame, 60), 0);
	turns(x);
	assert_int_equal(x->frames, 1);
	assert_int_equal(guest_send(x, other, frame, 60), -EPERM);
	assert_int_equal(guest_send(x, nameless, frame, 60), -EPERM);
	assert_int_equal(link_send(x->w.link, 0, frame, 70), 0);
	turns(x);
	assert_int_equal(heard(x->w.peer, buf), 70);

	/* It goes, which shows when something is sent; the next one may be anybody. */
	close(x->w.peer);
	assert_int_equal(link_send(x->w.link, 0, frame, 70), 0);
	turns(x);
	assert_int_equal(x->w.down, 1);
	assert_int_equal(guest_send(x, other, frame, 60), 0);
	turns(x);
	assert_int_equal(x->w.up, 2);
	assert_int_equal(x->frames, 2);
	x->w.peer = other;
	close(nameless);
}

/* Nothing is sent to it: it is looked for, by its name, which may be that of another socket by then; or of none. */
static void test_silent_end(void **state)
{
	struct fix *x = *state;
	int again;

	start_bound(x, true);
	x->w.peer = guest_bind(x->name[0]);
	assert_int_equal(guest_send(x, x->w.peer, frame, 60), 0);
	turns(x);
	close(x->w.peer);
	again = x->w.peer = guest_bind(x->name[0]);
	assert_int_equal(guest_send(x, again, frame, 60), -EPERM);
	for (unsigned i = 0; i < 20 && guest_send(x, again, frame, 60); i++)
		assert_int_equal(loop_turn(&x->w.loop), 0);
	turns(x);
	assert_int_equal(x->frames, 2);
	assert_int_equal(x->w.gone, 0);
	close(again);
	x->w.peer = -1;
	for (unsigned i = 0; i < 20 && !x->w.gone; i++)
		assert_int_equal(loop_turn(&x->w.loop), 0);
	assert_int_equal(x->w.gone, 1);
}

/* Of sockets in other folders we see nothing later on: they are not looked for in the first place. */
static void test_other_folder(void **state)
{
	struct fix *x = *state;
	char sub[80], path[UNIXPATH_MAX];
	int far;

	snprintf(sub, sizeof(sub), "%s/sub", x->dir);
	snprintf(path, sizeof(path), "%s/g0", sub);
	assert_int_equal(mkdir(sub, 0700), 0);
	far = guest_bind(path);
	x->w.peer = guest_bind(x->name[0]);
	start_bound(x, false);
	assert_int_equal(guest_send(x, far, frame, 60), 0);
	turns(x);
	assert_int_equal(x->w.up, 0);
	assert_int_equal(x->w.link->stats.rx_bad, 1);
	assert_int_equal(guest_send(x, x->w.peer, frame, 60), 0);
	turns(x);
	assert_int_equal(x->w.up, 1);
	close(far);
	unlink(path);
	rmdir(sub);
}

/* The system has no memory for a while: nothing is lost, the guest stays, and nobody asks again and again. */
static void test_no_memory(void **state)
{
	static const int errs[] = { ENOMEM, ENOBUFS };
	struct fix *x = *state;
	static uint8_t buf[FRAME + 1];

	start_pair(x, SOCK_SEQPACKET);
	for (unsigned i = 0; i < ARRAY_SIZE(errs); i++) {
		failing_set(FAIL_RECVMMSG, errs[i], 0, 3);
		assert_int_equal(send(x->w.peer, frame, 60, 0), 60);
		while (x->frames <= i)
			link_world_turn(&x->w);
		assert_int_equal(failing[FAIL_RECVMMSG].calls, 4);
		failing_set(FAIL_SENDMMSG, errs[i], 0, 3);
		assert_int_equal(link_send(x->w.link, 0, frame, 60), 0);
		while (recvfrom(x->w.peer, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL) != 60)
			link_world_turn(&x->w);
		assert_int_equal(failing[FAIL_SENDMMSG].calls, 4);
	}
	assert_true(x->w.link->up);
	assert_int_equal(x->w.down, 0);
}

/* The guest has gone, and what would watch for the next one fails: it is watched for a little later. */
static void test_watched_again(void **state)
{
	struct fix *x = *state;

	start_bound(x, false);
	x->w.peer = guest_bind(x->name[0]);
	assert_int_equal(guest_send(x, x->w.peer, frame, 60), 0);
	turns(x);
	assert_int_equal(x->w.up, 1);
	failing_set(FAIL_EPOLL_CTL, ENOMEM, 0, 3);
	x->w.link->ops->reset(x->w.link);
	assert_int_equal(x->w.down, 1);
	assert_int_equal(guest_send(x, x->w.peer, frame, 60), 0);
	while (x->w.up < 2)
		link_world_turn(&x->w);
	assert_int_equal(failing[FAIL_EPOLL_CTL].times, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lengths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batches, setup, teardown),
		cmocka_unit_test_setup_teardown(test_to_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_empty_before_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_second_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end_unread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_datagram_pair_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_datagrams, setup, teardown),
		cmocka_unit_test_setup_teardown(test_silent_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_folder, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watched_again, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
