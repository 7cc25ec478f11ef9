/* SPDX-License-Identifier: MIT */
#include "splice_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static uint8_t byte_of(uint8_t salt, size_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 7 + (i >> 16) + salt);
}

static void nothing(struct timer *t, uint64_t now_ns)
{
}

void sw_turn(struct sw *x, uint64_t wait_ns)
{
	timer_set(&x->loop.timers, &x->nowait, wait_ns ? x->loop.now_ns + wait_ns : 0);
	assert_int_equal(loop_turn(&x->loop), 0);
}

void sw_settle(struct sw *x)
{
	struct pollfd p = { .fd = x->loop.epfd, .events = POLLIN };

	timer_cancel(&x->loop.timers, &x->nowait);
	for (unsigned i = 0; poll(&p, 1, x->patience_ms) > 0 || x->loop.timers.armed; i++) {
		assert_true(i < SW_ROUNDS);
		sw_turn(x, 0);
		timer_cancel(&x->loop.timers, &x->nowait);
	}
}

int sw_listener(struct sw *x, struct ep *ret_ep)
{
	struct ep ep = { .addr = x->family == AF_INET ? addr_loopback4 : addr_loopback6 };
	int fd;

	assert_int_equal(sock_open(x->family, SOCK_STREAM, 0, &fd), 0);
	assert_int_equal(sock_bind(fd, x->family, &ep, 0), 0);
	assert_int_equal(sock_listen(fd, 4096), 0);
	assert_int_equal(sock_local(fd, ret_ep), 0);
	return fd;
}

static int setup_with(void **state, int family, const struct splice_conf *c)
{
	struct sw *x = calloc(1, sizeof(*x));
	struct splice_conf conf = *c;

	signal(SIGPIPE, SIG_IGN); /* as the engine asks for */
	x->family = family;
	timer_init(&x->nowait, nothing);
	assert_int_equal(loop_init(&x->loop), 0);
	conf.loop = &x->loop;
	x->s = splice_new(&conf);
	assert_non_null(x->s);
	x->front = sw_listener(x, &x->front_ep);
	x->back = sw_listener(x, &x->back_ep);
	*state = x;
	return 0;
}

int sw_setup(void **state)
{
	return setup_with(state, AF_INET, &(struct splice_conf){ .max = 1024, .pipes_max = 4096, .pipes_big = 4 });
}

int sw_setup6(void **state)
{
	return setup_with(state, AF_INET6, &(struct splice_conf){ .max = 1024, .pipes_max = 4096 });
}

int sw_setup_copy(void **state)
{
	return setup_with(state, AF_INET, &(struct splice_conf){ .max = 1024 });
}

int sw_setup_few(void **state)
{
	return setup_with(state, AF_INET, &(struct splice_conf){ .max = 64, .pipes_max = 3 });
}

int sw_setup_two(void **state)
{
	return setup_with(state, AF_INET, &(struct splice_conf){ .max = 2, .pipes_max = 4 });
}

int sw_setup_joined(void **state)
{
	(void)sw_setup(state);
	((struct sw *)*state)->joined = true;
	return 0;
}

int sw_teardown(void **state)
{
	struct sw *x = *state;

	if (x->s)
		splice_free(x->s);
	close(x->front);
	close(x->back);
	loop_fini(&x->loop);
	free(x);
	return 0;
}

void sw_peer_close(struct sw_peer *p)
{
	close(p->fd);
	p->fd = -1;
}

static int connect_to(struct sw *x, const struct ep *ep)
{
	int fd, err;

	assert_int_equal(sock_open(x->family, SOCK_STREAM, 0, &fd), 0);
	err = sock_connect(fd, x->family, ep, 0);
	assert_true(!err || err == -EINPROGRESS);
	return fd;
}

int sw_accept(struct sw *x, int listen_fd)
{
	struct ep peer;
	int fd;

	for (unsigned i = 0; i < SW_ROUNDS; i++) {
		if (!sock_accept(listen_fd, &peer, &fd))
			return fd;
		sw_turn(x, NSEC_PER_MSEC);
	}
	fail_msg("nobody connects");
	return -1;
}

int sw_open_near(struct sw *x, const struct ep *dst, int want)
{
	int fd = connect_to(x, &x->front_ep), from = sw_accept(x, x->front), to;

	if (x->joined) {
		to = connect_to(x, dst);
		assert_int_equal(poll(&(struct pollfd){ .fd = to, .events = POLLOUT }, 1, -1), 1);
		/* Of somebody who has gone: nothing of it may come any more. */
		assert_int_equal(loop_add(&x->loop, to, ref_init(LOOP_OWNERS, 0, 0), EPOLLIN), 0);
		assert_int_equal(splice_join(x->s, SPLICE_IN, from, to), want);
	} else {
		assert_int_equal(sock_open(x->family, SOCK_STREAM, 0, &to), 0);
		assert_int_equal(splice_open(x->s, SPLICE_IN, from, to, dst), want);
	}
	return fd;
}

void sw_open_pair(struct sw *x, struct sw_peer *near, struct sw_peer *far)
{
	*near = (struct sw_peer){ .fd = sw_open_near(x, &x->back_ep, 0), .salt = 17 };
	*far = (struct sw_peer){ .fd = sw_accept(x, x->back), .salt = 99 };
	sw_settle(x);
}

void sw_open_direct(struct sw *x, struct sw_peer *near, struct sw_peer *far)
{
	*near = (struct sw_peer){ .fd = connect_to(x, &x->back_ep), .salt = 17 };
	*far = (struct sw_peer){ .fd = sw_accept(x, x->back), .salt = 99 };
}

size_t sw_peer_send(struct sw_peer *p, size_t len)
{
	static uint8_t buf[128 << 10];
	size_t done = 0;

	while (done < len) {
		size_t n = MIN(len - done, sizeof(buf));
		ssize_t r;

		for (size_t i = 0; i < n; i++)
			buf[i] = byte_of(p->salt, p->sent + i);
		r = send(p->fd, buf, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (r <= 0)
			break;
		p->sent += (size_t)r;
		done += (size_t)r;
	}
	return done;
}

size_t sw_peer_read(struct sw_peer *p, const struct sw_peer *from, size_t max)
{
	static uint8_t buf[256 << 10];
	size_t done = 0;

	while (done < max && !p->eof && !p->err) {
		ssize_t r = recv(p->fd, buf, MIN(max - done, sizeof(buf)), MSG_DONTWAIT);

		if (r < 0 && errno == EAGAIN)
			break;
		p->eof = !r;
		p->err = r < 0 ? errno : 0;
		for (ssize_t i = 0; i < r; i++) {
			if (buf[i] != byte_of(from->salt, p->got + (size_t)i))
				fail_msg("byte %zu is wrong", p->got + (size_t)i);
		}
		done += r > 0 ? (size_t)r : 0;
		p->got += r > 0 ? (size_t)r : 0;
	}
	return done;
}

void sw_until_read(struct sw *x, struct sw_peer *p, const struct sw_peer *from, size_t total)
{
	for (unsigned i = 0; p->got < total; i++) {
		if (!sw_peer_read(p, from, total - p->got))
			sw_turn(x, NSEC_PER_MSEC);
		assert_int_equal(p->err, 0);
		assert_false(p->eof && p->got < total);
		assert_true(i < SW_ROUNDS);
	}
}

void sw_until_end(struct sw *x, struct sw_peer *p, const struct sw_peer *from)
{
	for (unsigned i = 0; !p->eof && !p->err; i++) {
		assert_true(i < SW_ROUNDS);
		if (!sw_peer_read(p, from, SIZE_MAX))
			sw_turn(x, NSEC_PER_MSEC);
	}
}

void sw_until_none(struct sw *x)
{
	for (unsigned i = 0; splice_stats(x->s)->now; i++) {
		assert_true(i < SW_ROUNDS);
		sw_turn(x, NSEC_PER_MSEC);
	}
}
