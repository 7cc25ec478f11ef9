/* SPDX-License-Identifier: MIT */
/*
 * Connections that are joined with sockets of the namespace, and the stock of these. Agent and splice engine are fakes that write down
 * what is asked of them; connections are real, on loopback.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/join.h"
#include "os/sock.h"

#define ASKED_MAX 64
#define PAIRS (JOIN_WAIT_MAX + 1)

struct fix {
	struct loop loop;
	struct agent agent;
	struct pool pool;
	struct join join;
	int listen_fd;
	struct ep listen_ep;
	int client[PAIRS];
	unsigned n;

	struct agent_req asked[ASKED_MAX]; /* of the agent */
	unsigned n_asked, answered;
	int send_err;

	struct ep joined[PAIRS];
	int joined_fd[PAIRS];
	unsigned n_joined, max; /* connections */
	struct ep as; /* of the last socket that something was joined with */
	int tos;
};

static struct fix *cur; /* of the running test: the fakes have no other way to it */

/* --- fakes --- */

int agent_send(struct agent *a, struct agent_req *req, uint32_t *ret_cookie)
{
	assert_ptr_equal(a, &cur->agent);
	if (cur->send_err)
		return cur->send_err;
	assert_true(cur->n_asked < ASKED_MAX);
	*ret_cookie = req->head.cookie = 1000 + cur->n_asked;
	cur->asked[cur->n_asked++] = *req;
	return 0;
}

static void reply_make(const struct agent_req *q, int err, struct agent_reply *r, int fds[FDPASS_MAX])
{
	*r = (struct agent_reply){ .head = q->head, .err = err };
	for (unsigned i = 0; !err && i < q->sockets.n; i++) {
		assert_int_equal(sock_open((int)q->sockets.family, (int)q->sockets.type, (int)q->sockets.proto, &fds[i]), 0);
		r->n_fds++;
	}
}

int agent_call(struct agent *a, struct agent_req *req, struct agent_reply *ret_reply, int ret_fds[FDPASS_MAX])
{
	uint32_t cookie;
	int err = agent_send(a, req, &cookie);

	if (err)
		return err;
	cur->answered = cur->n_asked;
	reply_make(req, 0, ret_reply, ret_fds);
	return 0;
}

int splice_open(struct splice *s, enum splice_way way, int from, int to, const struct ep *dst)
{
	cur->joined[cur->n_joined] = *dst;
	cur->joined_fd[cur->n_joined++] = from;
	if (sock_local(to, &cur->as) || sock_get_int(to, IPPROTO_IP, IP_TOS, &cur->tos))
		cur->tos = -1;
	sock_close(to);
	return 0;
}

uint32_t splice_room(const struct splice *s)
{
	return cur->max - cur->n_joined;
}

/* --- the world --- */

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));
	struct ep lo = { .addr = addr_loopback4 };

	cur = *state = x;
	x->max = 1000;
	x->loop.now_ns = 5 * NSEC_PER_SEC;
	timers_init(&x->loop.timers, x->loop.now_ns);
	pool_init(&x->pool, &x->agent, POOL_KEEP);
	join_init(&x->join, &x->loop, &x->pool, NULL);
	return sock_open(AF_INET, SOCK_STREAM, 0, &x->listen_fd) || sock_bind(x->listen_fd, AF_INET, &lo, 0) ||
	       sock_listen(x->listen_fd, 512) || sock_local(x->listen_fd, &x->listen_ep);
}

static int teardown(void **state)
{
	struct fix *x = *state;

	join_fini(&x->join);
	pool_fini(&x->pool);
	assert_int_equal(x->loop.timers.armed, 0);
	for (unsigned i = 0; i < x->n; i++) {
		if (x->client[i] >= 0)
			close(x->client[i]);
	}
	for (unsigned i = 0; i < x->n_joined; i++)
		close(x->joined_fd[i]);
	close(x->listen_fd);
	free(x);
	return 0;
}

static struct ep dst_of(unsigned i, bool v4)
{
	return (struct ep){ .addr = v4 ? addr_loopback4 : addr_loopback6, .port = (uint16_t)(1 + i) };
}

/* A connection of the next client, as it is accepted. */
static int client_arrive(struct fix *x)
{
	struct ep peer;
	struct pollfd p = { .fd = x->listen_fd, .events = POLLIN };
	int fd;

	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &x->client[x->n]), 0);
	assert_int_equal(sock_connect(x->client[x->n++], AF_INET, &x->listen_ep, 0), -EINPROGRESS);
	assert_int_equal(poll(&p, 1, -1), 1);
	assert_int_equal(sock_accept(x->listen_fd, &peer, &fd), 0);
	return fd;
}

/* The same, for the port with its number. */
static int client_join(struct fix *x, bool v4)
{
	struct ep dst = dst_of(x->n, v4);

	return join_open(&x->join, SPLICE_IN, client_arrive(x), &dst);
}

static void client_reset(struct fix *x, unsigned i)
{
	sock_abort(x->client[i]);
	x->client[i] = -1;
}

static bool was_reset(const struct fix *x, unsigned i)
{
	char byte;
	ssize_t n = recv(x->client[i], &byte, 1, MSG_DONTWAIT);

	return n < 0 && errno == ECONNRESET;
}

/* The agent answers the oldest request. */
static void answer(struct fix *x, int err)
{
	struct agent_reply r;
	enum pool_kind kind;
	int fds[FDPASS_MAX];

	assert_true(x->answered < x->n_asked);
	reply_make(&x->asked[x->answered++], err, &r, fds);
	err = pool_reply(&x->pool, &r, fds, &kind);
	assert_int_not_equal(kind, POOL_KINDS);
	join_reply(&x->join, kind, err);
}

static void answer_all(struct fix *x)
{
	while (x->answered < x->n_asked)
		answer(x, 0);
}

/* --- tests --- */

/* From stock, which is filled up before it is empty. */
static void test_stock(void **state)
{
	struct fix *x = *state;

	assert_int_equal(pool_open(&x->pool), 0);
	assert_int_equal(x->n_asked, POOL_KINDS);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(client_join(x, i % 3), 0);
		assert_int_equal(x->n_joined, i + 1);
		assert_int_equal(x->joined[i].port, 1 + i);
		answer_all(x);
	}
	assert_true(x->n_asked - POOL_KINDS <= 8);
}

/* Nothing in stock: one question for all, and then they go on in the order in which they came. */
static void test_wait(void **state)
{
	struct fix *x = *state;

	for (unsigned i = 0; i < 40; i++)
		assert_int_equal(client_join(x, true), 0);
	assert_int_equal(x->n_joined, 0);
	assert_int_equal(x->n_asked, 1);
	assert_int_equal(x->asked[0].sockets.n, POOL_KEEP);
	assert_int_equal(client_join(x, false), 0);
	assert_int_equal(x->n_asked, 2);
	assert_int_equal(x->asked[1].sockets.family, AF_INET6);
	answer_all(x);
	assert_int_equal(x->n_joined, 41);
	for (unsigned i = 0, port = 1; i < 41; i++) {
		if (addr_is4(&x->joined[i].addr))
			assert_int_equal(x->joined[i].port, port++);
	}
	assert_false(timer_armed(&x->join.late));
}

/* No room for so many descriptors: then for one. Not for one either: whoever waits does so, and nobody asks on and on. */
static void test_shortage(void **state)
{
	struct fix *x = *state;
	unsigned asked;

	assert_int_equal(client_join(x, true), 0);
	assert_int_equal(client_join(x, false), 0);
	assert_true(join_waits(&x->join));
	answer(x, -EMFILE);
	assert_int_equal(x->n_asked, 3);
	assert_int_equal(x->asked[2].sockets.n, 1);
	assert_int_equal(x->asked[2].sockets.family, AF_INET);
	answer(x, -EMFILE); /* of the other family */
	assert_int_equal(x->n_asked, 4);
	answer(x, -EMFILE);
	assert_int_equal(x->n_asked, 4);
	answer_all(x);
	asked = x->n_asked;
	assert_int_equal(x->n_joined, 1);
	assert_int_equal(x->joined[0].port, 2);
	assert_true(join_waits(&x->join));
	assert_false(was_reset(x, 0));

	/* A little later there is another try; what follows on success is no more than that. */
	x->loop.now_ns += JOIN_AGAIN_NS + 2 * NSEC_PER_MSEC;
	timers_run(&x->loop.timers, x->loop.now_ns);
	assert_int_equal(x->n_asked, asked + 1);
	assert_int_equal(x->asked[asked].sockets.n, 1);
	answer(x, -ENOBUFS);
	assert_int_equal(x->n_asked, asked + 1);
	x->loop.now_ns += JOIN_AGAIN_NS + 2 * NSEC_PER_MSEC;
	timers_run(&x->loop.timers, x->loop.now_ns);
	for (unsigned i = 0; x->answered < x->n_asked; i++) {
		assert_true(i < 10);
		answer(x, x->asked[x->answered].sockets.n > 1 ? -EMFILE : 0);
	}
	assert_int_equal(x->n_joined, 2);
	assert_false(join_waits(&x->join));
	assert_int_equal(x->loop.timers.armed, 0);
}

/* A shortage has no end, or the agent can't be asked for one: not longer than others wait. */
static void test_long_shortage(void **state)
{
	struct fix *x = *state;
	uint64_t end = x->loop.now_ns + JOIN_WAIT_NS;

	assert_int_equal(client_join(x, true), 0);
	answer(x, -EMFILE);
	answer(x, -EMFILE);
	x->send_err = -ENOBUFS;
	while (x->loop.now_ns < end) {
		assert_false(was_reset(x, 0));
		x->loop.now_ns += JOIN_AGAIN_NS / 2;
		timers_run(&x->loop.timers, x->loop.now_ns);
	}
	x->loop.now_ns += 2 * NSEC_PER_MSEC;
	timers_run(&x->loop.timers, x->loop.now_ns);
	assert_true(was_reset(x, 0));
	assert_int_equal(x->loop.timers.armed, 0);

	/* One that comes in a shortage waits as well. */
	assert_int_equal(client_join(x, true), 0);
	x->send_err = 0;
	x->loop.now_ns += JOIN_AGAIN_NS + 2 * NSEC_PER_MSEC;
	timers_run(&x->loop.timers, x->loop.now_ns);
	answer(x, 0);
	assert_int_equal(x->n_joined, 1);
}

/* What is no shortage does not pass. */
static void test_refused(void **state)
{
	struct fix *x = *state;

	assert_int_equal(client_join(x, true), 0);
	assert_int_equal(client_join(x, false), 0);
	answer(x, -EACCES);
	answer(x, 0);
	answer(x, -EACCES);
	assert_true(was_reset(x, 0));
	assert_int_equal(x->n_joined, 1);
	assert_int_equal(x->loop.timers.armed, 0);
}

/* The agent takes no requests. */
static void test_agent_gone(void **state)
{
	struct fix *x = *state;

	assert_int_equal(client_join(x, true), 0);
	x->send_err = -EPIPE;
	assert_int_equal(client_join(x, false), -EPIPE);
	assert_true(was_reset(x, 1));
	assert_false(was_reset(x, 0));
	join_fini(&x->join);
	assert_true(was_reset(x, 0));
}

/* Who has reset is not to be seen; who has said all that there is to say is. */
static void test_client_gone(void **state)
{
	struct fix *x = *state;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(client_join(x, true), 0);
	client_reset(x, 0);
	assert_int_equal(sock_shutdown_wr(x->client[1]), 0);
	assert_int_equal(write(x->client[2], "data", 4), 4);
	client_reset(x, 2);
	answer_all(x);
	assert_int_equal(x->n_joined, 1);
	assert_int_equal(x->joined[0].port, 2);
}

static void test_late(void **state)
{
	struct fix *x = *state;
	uint64_t start = x->loop.now_ns;

	assert_int_equal(client_join(x, true), 0);
	x->loop.now_ns = start + JOIN_WAIT_NS / 2;
	timers_run(&x->loop.timers, x->loop.now_ns);
	assert_int_equal(client_join(x, true), 0);
	x->loop.now_ns = start + JOIN_WAIT_NS + 2 * NSEC_PER_MSEC;
	timers_run(&x->loop.timers, x->loop.now_ns);
	assert_true(was_reset(x, 0));
	assert_false(was_reset(x, 1));
	x->loop.now_ns += JOIN_WAIT_NS;
	timers_run(&x->loop.timers, x->loop.now_ns);
	assert_true(was_reset(x, 1));
	assert_int_equal(x->loop.timers.armed, 0);
	answer_all(x);
	assert_int_equal(x->n_joined, 0);
	assert_int_equal(client_join(x, true), 0);
	assert_int_equal(x->n_joined, 1);
}

static void test_too_many(void **state)
{
	struct fix *x = *state;

	for (unsigned i = 0; i < JOIN_WAIT_MAX; i++)
		assert_int_equal(client_join(x, true), 0);
	assert_int_equal(client_join(x, true), -ENOBUFS);
	assert_true(was_reset(x, JOIN_WAIT_MAX));
	answer_all(x);
	assert_int_equal(x->n_joined, JOIN_WAIT_MAX);
}

/* What nobody had asked for is given back. */
static void test_stray_reply(void **state)
{
	struct fix *x = *state;
	struct agent_req q = { .head = { .type = AGENT_SOCKETS, .cookie = 7 }, .sockets = { AF_INET, SOCK_STREAM, 0, 2 } };
	struct agent_reply r;
	enum pool_kind kind;
	int fds[FDPASS_MAX];

	reply_make(&q, 0, &r, fds);
	assert_int_equal(pool_reply(&x->pool, &r, fds, &kind), 0);
	assert_int_equal(kind, POOL_KINDS);
	assert_int_equal(close(fds[0]), -1);
	assert_int_equal(close(fds[1]), -1);
	reply_make(&q, -EMFILE, &r, fds);
	assert_int_equal(pool_reply(&x->pool, &r, fds, &kind), 0);
	assert_int_equal(x->n_asked, 0);
}

/* Those that wait have their place: who comes when all are taken is the one that is reset. */
static void test_full(void **state)
{
	struct fix *x = *state;

	x->max = 5;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(client_join(x, true), 0);
	assert_int_equal(client_join(x, true), -ENOSPC);
	assert_true(was_reset(x, 5));
	answer_all(x);
	assert_int_equal(x->n_joined, 5);
	assert_int_equal(client_join(x, true), -ENOSPC);
	for (unsigned i = 0; i < 5; i++)
		assert_false(was_reset(x, i));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A socket that stands in for somebody has his address, and the type of service of his packets; also if it comes late. */
static void test_as(void **state)
{
	struct join_as as = { .ep = { .addr = addr_loopback4, .port = 1 }, .tos = 0xb8 };
	struct ep dst = dst_of(1, true);
	struct fix *x = *state;
	int fd;

	pool_init_annex(&x->pool, &x->agent, 4);
	/* A port that is free. */
	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &fd), 0);
	assert_int_equal(sock_bind(fd, AF_INET, &(struct ep){ .addr = addr_loopback4 }, 0), 0);
	assert_int_equal(sock_local(fd, &as.ep), 0);
	sock_close(fd);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(join_open_as(&x->join, client_arrive(x), &as, &dst), 0);
		assert_int_equal(x->n_joined, i);
		answer_all(x);
		assert_int_equal(x->n_joined, i + 1);
		assert_true(ep_eq(&x->as, &as.ep));
		assert_int_equal(x->tos, 0xb8);
		assert_true(x->asked[0].sockets.stand_in);
		pool_fini(&x->pool);
	}
	/* An address that can't be had. */
	as.ep.addr = ADDR4_INIT(192, 0, 2, 1);
	assert_int_equal(join_open_as(&x->join, client_arrive(x), &as, &dst), 0);
	answer_all(x);
	assert_int_equal(x->n_joined, 2);
	assert_int_equal(x->join.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_stock),       T(test_wait), T(test_shortage), T(test_long_shortage), T(test_refused), T(test_agent_gone),
		T(test_client_gone), T(test_late), T(test_too_many), T(test_stray_reply),   T(test_full),    T(test_as),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
