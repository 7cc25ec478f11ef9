/* SPDX-License-Identifier: MIT */
/*
 * UDP between two namespaces among fake sockets, whatever call of the system fails, and when: datagrams may be lost, but nothing is left
 * behind, and those that follow are passed on.
 *
 *   client --- bound socket | udp_splice | a socket for each client --- service
 */
#include "fake_faults.h"

#include <errno.h>
#include <limits.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "net.h"
#include "os/pktinfo.h"
#include "udp/udp_splice.h"

enum { V6 = 1, LATER = 2, VARIANTS = 4 };

struct sim {
	struct loop loop;
	struct udp_splice *u;
	unsigned variant;
	bool none; /* there is no socket now, but one later */
	int bound;
	uint16_t id;
	unsigned no_memory; /* looks that gave -ENOMEM */
	struct ep at, service;
};

static int give_sock(void *ctx, void *user, int family, int *ret_fd)
{
	const struct sim *x = ctx;

	return x->none ? -EAGAIN : sock_open(family, SOCK_DGRAM, IPPROTO_UDP, ret_fd);
}

static void on_bound(void *ctx, struct ref ref, uint32_t events)
{
	struct sim *x = ctx;

	x->no_memory += udp_splice_read(x->u, x->id) == -ENOMEM;
}

static void sim_init(struct sim *x, unsigned variant)
{
	static const struct hash_key key = { { 1, 2 } };
	static const struct addr none4 = addr_any4, none6 = addr_any6;
	struct udp_splice_conf c = { .loop = &x->loop, .max = 8, .key = &key, .sock = give_sock, .ctx = x };
	bool v6 = variant & V6;
	int family = v6 ? AF_INET6 : AF_INET;
	struct udp_splice_port p = { .v6 = v6, .to = 8000 };

	fake_os_init();
	*x = (struct sim){ .variant = variant };
	x->at = net_ep(v6 ? &addr_loopback6 : &addr_loopback4, 7000);
	x->service = net_ep(&x->at.addr, 8000);
	p.to4 = v6 ? &none4 : &x->service.addr;
	p.to6 = v6 ? &x->service.addr : &none6;
	assert_int_equal(loop_init(&x->loop), 0);
	x->u = udp_splice_new(&c);
	assert_non_null(x->u);
	assert_int_equal(sock_open(family, SOCK_DGRAM, IPPROTO_UDP, &x->bound), 0);
	assert_int_equal(sock_bind(x->bound, family, &x->at, 0), 0);
	assert_int_equal(pktinfo_enable(x->bound, v6), 0);
	p.fd = x->bound;
	assert_int_equal(udp_splice_add(x->u, &p, &x->id), 0);
	assert_int_equal(loop_add(&x->loop, x->bound, ref_init(loop_owner(&x->loop, on_bound, x), 0, 0), EPOLLIN), 0);
}

static void sim_fini(struct sim *x)
{
	fake_loop_advance(&x->loop, 400 * NSEC_PER_SEC);
	assert_int_equal(udp_splice_stats(x->u)->now, 0);
	assert_int_equal(fake_open_count(), 1);
	udp_splice_free(x->u);
	loop_del(&x->loop, x->bound);
	sock_close(x->bound);
	loop_fini(&x->loop);
	fake_os_fini();
}

static void settle(struct sim *x)
{
	assert_true(fake_loop_settle(&x->loop, 100) < 100);
}

static struct ep client(const struct sim *x, unsigned i)
{
	return net_ep(&x->at.addr, (uint16_t)(20000 + i));
}

static void ask(struct sim *x, unsigned i, const char *what)
{
	struct ep from = client(x, i);

	assert_int_not_equal(fake_dgram_route(IPPROTO_UDP, &from, &x->at, what, strlen(what)), -1);
}

static bool is_open(int fd)
{
	return fake_os.fd[fd - FAKE_FD_BASE].kind == FAKE_DGRAM;
}

/* The service answers all that it has got since datagram number first. */
static void answer(struct sim *x, unsigned first)
{
	for (unsigned i = first, end = fake_os.n_sent; i < end; i++) {
		const struct fake_dgram *d = fake_sent(i);

		if (ep_eq(&d->to, &x->service) && is_open(d->fd))
			fake_dgram_push(d->fd, &x->service, NULL, "answer", 6);
	}
	settle(x);
}

/* Several clients, with several datagrams at once, answers to them, and an error. */
static void run(struct sim *x)
{
	static char bulk[1000];
	struct sock_err e = { .err = ECONNREFUSED, .origin = SO_EE_ORIGIN_ICMP, .type = 3, .code = 3 };

	memset(bulk, 'b', sizeof(bulk) - 1);
	for (unsigned i = 0; i < 3; i++) {
		unsigned before = fake_os.n_sent;

		x->none = x->variant & LATER;
		ask(x, i, "question");
		ask(x, i, bulk);
		ask(x, i + 1, "word");
		settle(x);
		x->none = false;
		udp_splice_retry(x->u, 0);
		answer(x, before);
		answer(x, before);
		ask(x, i, "more");
		settle(x);
	}
	if (fake_os.n_sent && ep_eq(&fake_sent(0)->to, &x->service) && is_open(fake_sent(0)->fd)) {
		fake_dgram_error(fake_sent(0)->fd, &e, "question", 8);
		settle(x);
	}
	udp_splice_retry(x->u, x->variant & V6 ? AF_INET6 : AF_INET);
	fake_loop_advance(&x->loop, 2 * NSEC_PER_SEC);
	settle(x);
}

/* There and back. */
static void serve(struct sim *x)
{
	unsigned before = fake_os.n_sent;
	struct ep to = client(x, 100);

	ask(x, 100, "question");
	settle(x);
	assert_int_equal(fake_os.n_sent, before + 1);
	assert_int_equal(fake_sent(before)->len, 8);
	answer(x, before);
	assert_int_equal(fake_os.n_sent, before + 2);
	assert_int_equal(fake_sent(before + 1)->fd, x->bound);
	assert_true(ep_eq(&fake_sent(before + 1)->to, &to));
}

static void with_fault(const struct fake_fault *f)
{
	struct sim x;

	sim_init(&x, f->variant);
	fake_fault_begin(f);
	run(&x);
	fake_fault_end(f);
	settle(&x);
	serve(&x);
	sim_fini(&x);
}

/* Datagrams wait while the system has no memory for them, and nobody asks for them all the time. */
static void no_memory(void **state)
{
	struct sim x;
	int fd;

	sim_init(&x, 0);
	ask(&x, 0, "question");
	settle(&x);
	fd = fake_sent(0)->fd;

	/* An answer. */
	fake_dgram_push(fd, &x.service, NULL, "answer", 6);
	fake_fail(FAKE_RECVMMSG, fd, ENOMEM, 0, UINT_MAX);
	settle(&x);
	fake_loop_advance(&x.loop, 100 * NSEC_PER_MSEC);
	settle(&x);
	assert_int_equal(fake_os.n_sent, 1);
	fake_fail(FAKE_RECVMMSG, -1, 0, 0, 0);
	fake_loop_advance(&x.loop, 100 * NSEC_PER_MSEC);
	settle(&x);
	assert_int_equal(fake_os.n_sent, 2);
	assert_int_equal(fake_sent(1)->fd, x.bound);

	/* A question: there the caller decides when to look again. */
	fake_fail(FAKE_RECVMMSG, x.bound, ENOMEM, 0, 1);
	ask(&x, 0, "another");
	settle(&x);
	assert_int_equal(x.no_memory, 1);
	assert_int_equal(fake_os.n_sent, 3);

	/* The peer's time passes while its socket rests. */
	fake_dgram_push(fd, &x.service, NULL, "answer", 6);
	fake_fail(FAKE_RECVMMSG, fd, ENOBUFS, 0, UINT_MAX);
	settle(&x);
	sim_fini(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(no_memory) };

	log_set_level(LOG_LVL_ERR);
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return fake_faults_run(with_fault, VARIANTS);
}
