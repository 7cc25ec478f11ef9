/* SPDX-License-Identifier: MIT */
/* Parsing of sock_diag messages; and the kernel's own, where we may have a namespace with no sockets but ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "os/sock.h"
#include "os/sockdiag.h"

#define T4 SOCKDIAG_4
#define T6 SOCKDIAG_6

struct buf {
	uint8_t b[8192] __attribute__((aligned(4)));
	size_t len;
};

/* One message of the answer; extra bytes behind the fixed part. Not padded if it is the last. */
static void put(struct buf *b, uint16_t type, uint32_t seq, const void *body, size_t len)
{
	struct nlmsghdr h = { .nlmsg_len = (uint32_t)(sizeof(h) + len), .nlmsg_type = type, .nlmsg_seq = seq };

	b->len = NLMSG_ALIGN(b->len);
	memcpy(b->b + b->len, &h, sizeof(h));
	if (len)
		memcpy(b->b + b->len + sizeof(h), body, len);
	b->len += h.nlmsg_len;
}

struct sock {
	struct inet_diag_msg m;
	struct nlattr shut;
	uint8_t shut_val[4];
	struct nlattr v6only;
	uint8_t v6only_val[4];
};

static struct sock sock_of(uint8_t state, const struct addr *a, uint16_t port, int v6only)
{
	struct sock s = {
		.m = { .idiag_family = (uint8_t)addr_family(a), .idiag_state = state },
		.shut = { .nla_len = 5, .nla_type = INET_DIAG_SHUTDOWN },
		.v6only = { .nla_len = 5, .nla_type = v6only < 0 ? INET_DIAG_TOS : INET_DIAG_SKV6ONLY },
		.v6only_val = { v6only > 0 },
	};

	s.m.id.idiag_sport = htons(port);
	memcpy(s.m.id.idiag_src, addr_bytes(a), addr_len(a));
	return s;
}

/* The bits of a map as a list. */
static unsigned ports_of(const struct portmap *m, uint16_t *list, unsigned max)
{
	unsigned n = 0;

	for (unsigned p = 0; p < PORTS; p++) {
		if (!portmap_has(m, (uint16_t)p))
			continue;
		assert_true(n < max);
		list[n++] = (uint16_t)p;
	}
	return n;
}

/* The only port of a map; 0: none. */
static uint16_t only(const struct portmap *m)
{
	uint16_t list[1] = { 0 };

	return ports_of(m, list, 1) ? list[0] : 0;
}

static void test_sockets(void **state)
{
	static const struct {
		struct addr addr;
		int v6only;
		unsigned ifindex;
		int where4, where6; /* -1: not there */
	} t[] = {
		{ ADDR4_INIT(0, 0, 0, 0), -1, 0, SOCKDIAG_ANY, -1 },
		{ ADDR4_INIT(127, 0, 0, 1), -1, 0, SOCKDIAG_LO, -1 },
		{ ADDR4_INIT(127, 8, 0, 1), -1, 0, SOCKDIAG_LO, -1 },
		{ ADDR4_INIT(0, 0, 0, 0), -1, 1, SOCKDIAG_LO, -1 },
		{ ADDR4_INIT(0, 0, 0, 0), -1, 2, SOCKDIAG_ANY, -1 },
		{ ADDR4_INIT(192, 0, 2, 1), -1, 0, SOCKDIAG_ADDR, -1 },
		{ { .q = { 0 } }, 1, 0, -1, SOCKDIAG_ANY },
		{ { .q = { 0 } }, 0, 0, SOCKDIAG_ANY, SOCKDIAG_ANY },
		{ { .q = { 0 } }, -1, 0, SOCKDIAG_ANY, SOCKDIAG_ANY },
		{ { .q = { 0 } }, 0, 1, SOCKDIAG_LO, SOCKDIAG_LO },
		{ { .b = { [15] = 1 } }, 0, 0, -1, SOCKDIAG_LO },
		{ { .b = { 0x20, 1, [15] = 1 } }, 0, 0, -1, SOCKDIAG_ADDR },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		struct sockdiag_ports *p = calloc(1, sizeof(*p));
		struct sock s = sock_of(TCP_LISTEN, &t[i].addr, 8080, t[i].v6only);
		struct buf b = { .len = 0 };

		s.m.id.idiag_if = t[i].ifindex;
		put(&b, SOCK_DIAG_BY_FAMILY, 7, &s, sizeof(s));
		assert_int_equal(sockdiag_parse(b.b, b.len, 7, SOCKDIAG_TCP, p), 0);
		for (int w = 0; w < SOCKDIAG_WHERES; w++) {
			assert_int_equal(only(&p->map[T4][w]), t[i].where4 == w ? 8080 : 0);
			assert_int_equal(only(&p->map[T6][w]), t[i].where6 == w ? 8080 : 0);
		}
		free(p);
	}
}

/* A socket of IPv6 that is bound to a mapped address serves IPv4 only. */
static void test_mapped(void **state)
{
	struct sockdiag_ports *p = calloc(1, sizeof(*p));
	struct sock s = sock_of(TCP_LISTEN, &addr_any6, 53, 0);
	struct addr lo = addr_loopback4;
	struct buf b = { .len = 0 };

	memcpy(s.m.id.idiag_src, lo.b, sizeof(lo.b));
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	assert_int_equal(sockdiag_parse(b.b, b.len, 1, SOCKDIAG_TCP, p), 0);
	assert_int_equal(only(&p->map[T4][SOCKDIAG_LO]), 53);
	assert_int_equal(only(&p->map[T6][SOCKDIAG_LO]) + only(&p->map[T6][SOCKDIAG_ANY]), 0);
	free(p);
}

/* Other states, protocols, families, sequence numbers and types are not for us; what is cut is left out. */
static void test_odd(void **state)
{
	struct sockdiag_ports *p = calloc(1, sizeof(*p));
	struct sock s = sock_of(TCP_ESTABLISHED, &addr_any4, 1, -1);
	struct buf b = { .len = 0 };
	uint16_t list[8];

	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	s = sock_of(TCP_CLOSE, &addr_any4, 2, -1);
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	s = sock_of(TCP_LISTEN, &addr_any4, 3, -1);
	put(&b, SOCK_DIAG_BY_FAMILY, 2, &s, sizeof(s));
	put(&b, 16, 1, &s, sizeof(s));
	s.m.idiag_family = AF_UNIX;
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	s = sock_of(TCP_LISTEN, &addr_any4, 0, -1);
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	s = sock_of(TCP_LISTEN, &addr_any4, 4, -1);
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s.m) - 1);
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, 3);
	put(&b, NLMSG_NOOP, 1, NULL, 0);
	s = sock_of(TCP_LISTEN, &addr_any4, 5, -1);
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s.m)); /* without attributes */
	s = sock_of(TCP_LISTEN, &addr_any6, 6, 1);
	s.shut.nla_len = 2; /* broken: what follows is not to be trusted */
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	assert_int_equal(sockdiag_parse(b.b, b.len, 1, SOCKDIAG_TCP, p), 0);
	assert_int_equal(ports_of(&p->map[T4][SOCKDIAG_ANY], list, 8), 2);
	assert_int_equal(list[0], 5);
	assert_int_equal(list[1], 6);
	assert_int_equal(only(&p->map[T6][SOCKDIAG_ANY]), 6);

	memset(p, 0, sizeof(*p));
	assert_int_equal(sockdiag_parse(b.b, b.len, 1, SOCKDIAG_UDP, p), 0);
	assert_int_equal(only(&p->map[T4][SOCKDIAG_ANY]), 2);
	assert_int_equal(sockdiag_parse(b.b, b.len, 0, SOCKDIAG_TCP, p), 0);
	assert_true(portmap_has(&p->map[T4][SOCKDIAG_ANY], 3));
	free(p);
}

static void test_end(void **state)
{
	struct sockdiag_ports *p = calloc(1, sizeof(*p));
	struct sock s = sock_of(TCP_LISTEN, &addr_any4, 9, -1);
	struct nlmsghdr h = { .nlmsg_len = 15 };
	int32_t err = 0;
	struct buf b = { .len = 0 };

	assert_int_equal(sockdiag_parse(b.b, 0, 1, SOCKDIAG_TCP, p), 0);
	put(&b, NLMSG_DONE, 1, &err, sizeof(err));
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	assert_int_equal(sockdiag_parse(b.b, b.len, 1, SOCKDIAG_TCP, p), 1);
	assert_int_equal(only(&p->map[T4][SOCKDIAG_ANY]), 0);

	b.len = 0;
	err = -ENOENT;
	put(&b, SOCK_DIAG_BY_FAMILY, 1, &s, sizeof(s));
	put(&b, NLMSG_ERROR, 1, &err, sizeof(err));
	assert_int_equal(sockdiag_parse(b.b, b.len, 1, SOCKDIAG_TCP, p), -ENOENT);
	assert_int_equal(only(&p->map[T4][SOCKDIAG_ANY]), 9);
	for (size_t cut = 1; cut < 16; cut++)
		assert_int_equal(sockdiag_parse(b.b, cut, 1, SOCKDIAG_TCP, p), -EBADMSG);
	assert_int_equal(sockdiag_parse(&h, sizeof(h), 1, SOCKDIAG_TCP, p), -EBADMSG);
	h.nlmsg_len = 17;
	assert_int_equal(sockdiag_parse(&h, sizeof(h), 1, SOCKDIAG_TCP, p), -EBADMSG);

	b.len = 0;
	put(&b, NLMSG_DONE, 1, NULL, 0); /* no error number: none */
	assert_int_equal(sockdiag_parse(b.b, b.len, 1, SOCKDIAG_TCP, p), 1);
	free(p);
}

static void test_select(void **state)
{
	struct sockdiag_ports *p = calloc(1, sizeof(*p));
	struct portmap m = { 0 };
	uint16_t list[8];

	for (unsigned f = 0; f < SOCKDIAG_FAMILIES; f++) {
		for (unsigned w = 0; w < SOCKDIAG_WHERES; w++)
			portmap_set(&p->map[f][w], (uint16_t)(f * 1000 + w + 1));
	}
	sockdiag_select(p, 1 << T4, 1 << SOCKDIAG_LO | 1 << SOCKDIAG_ADDR, &m);
	assert_int_equal(ports_of(&m, list, 8), 2);
	assert_int_equal(list[0], 2);
	assert_int_equal(list[1], 3);
	sockdiag_select(p, 1 << T6, 1 << SOCKDIAG_ANY, &m); /* added to what is there */
	assert_int_equal(ports_of(&m, list, 8), 3);
	assert_int_equal(list[2], 1001);
	free(p);
}

/* --- the kernel --- */

struct fix {
	struct loop loop;
	struct timer nowait;
	struct sockdiag *sd;
	struct sockdiag_scan scan;
	unsigned scans;
};

static void nothing(struct timer *t, uint64_t now_ns)
{
}

static void on_scan(void *ctx, const struct sockdiag_scan *scan)
{
	struct fix *x = ctx;

	x->scan = *scan;
	x->scans++;
}

static void scan(struct fix *x)
{
	unsigned before = x->scans;

	assert_int_equal(sockdiag_start(x->sd), 0);
	if (x->scans == before)
		assert_int_equal(sockdiag_start(x->sd), -EBUSY);
	for (unsigned i = 0; x->scans == before; i++) {
		assert_true(i < 1000);
		timer_set(&x->loop.timers, &x->nowait, x->loop.now_ns + 10 * NSEC_PER_MSEC);
		assert_int_equal(loop_turn(&x->loop), 0);
	}
	assert_int_equal(x->scans, before + 1);
}

static int bound(const struct addr *a, int type, uint16_t port, bool dual)
{
	struct ep ep = { .addr = *a, .port = port };
	int fd, family = addr_family(a);

	assert_int_equal(sock_open(family, type, 0, &fd), 0);
	if (dual)
		assert_int_equal(sock_set_dual(fd), 0);
	assert_int_equal(sock_bind(fd, family, &ep, 0), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(sock_listen(fd, 5), 0);
	return fd;
}

static void lo_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
}

static int setup(void **state)
{
	struct fix *x = calloc(1, sizeof(*x));
	int fd;

	*state = x;
	timer_init(&x->nowait, nothing);
	assert_int_equal(loop_init(&x->loop), 0);
	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return 0;
	lo_up();
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd >= 0)
		assert_int_equal(sockdiag_new(&x->loop, fd, on_scan, x, &x->sd), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fix *x = *state;

	if (x->sd)
		sockdiag_free(x->sd);
	loop_fini(&x->loop);
	free(x);
	return 0;
}

static void expect(const struct portmap *m, const uint16_t *want, unsigned n)
{
	uint16_t list[16];

	assert_int_equal(ports_of(m, list, 16), n);
	assert_memory_equal(list, want, n * sizeof(*want));
}

static void test_kernel(void **state)
{
	const struct addr lo2 = ADDR4_INIT(127, 0, 0, 2);
	struct ep at = { .addr = addr_loopback4, .port = 1000 };
	struct fix *x = *state;
	const struct sockdiag_ports *tcp = &x->scan.ports[SOCKDIAG_TCP], *udp = &x->scan.ports[SOCKDIAG_UDP];
	int fd[16], n = 0;

	if (!x->sd)
		skip();
	scan(x);
	for (unsigned i = 0; i < SOCKDIAG_PROTOS; i++)
		assert_int_equal(x->scan.err[i], 0);
	expect(&tcp->map[T4][SOCKDIAG_ANY], NULL, 0);

	fd[n++] = bound(&addr_any4, SOCK_STREAM, 1000, false);
	fd[n++] = bound(&addr_loopback4, SOCK_STREAM, 1001, false);
	fd[n++] = bound(&lo2, SOCK_STREAM, 1002, false);
	fd[n++] = bound(&addr_any6, SOCK_STREAM, 1003, true);
	fd[n++] = bound(&addr_any6, SOCK_STREAM, 1004, false);
	fd[n++] = bound(&addr_loopback6, SOCK_STREAM, 1005, false);
	fd[n++] = bound(&addr_any4, SOCK_DGRAM, 2000, false);
	fd[n++] = bound(&addr_loopback6, SOCK_DGRAM, 2001, false);
	fd[n++] = bound(&addr_any6, SOCK_DGRAM, 2002, true);
	fd[n++] = bound(&addr_any4, SOCK_DGRAM, 2003, false);
	assert_int_equal(sock_connect(fd[n - 1], AF_INET, &at, 0), 0); /* one that serves nobody else */
	assert_int_equal(sock_open(AF_INET, SOCK_STREAM, 0, &fd[n++]), 0);
	assert_true(sock_connect(fd[n - 1], AF_INET, &at, 0) != -ECONNREFUSED);
	scan(x);
	assert_false(x->scan.torn);
	assert_true(x->scan.cost_ns > 0);
	expect(&tcp->map[T4][SOCKDIAG_ANY], (uint16_t[]){ 1000, 1003 }, 2);
	expect(&tcp->map[T4][SOCKDIAG_LO], (uint16_t[]){ 1001, 1002 }, 2);
	expect(&tcp->map[T6][SOCKDIAG_ANY], (uint16_t[]){ 1003, 1004 }, 2);
	expect(&tcp->map[T6][SOCKDIAG_LO], (uint16_t[]){ 1005 }, 1);
	expect(&udp->map[T4][SOCKDIAG_ANY], (uint16_t[]){ 2000, 2002 }, 2);
	expect(&udp->map[T6][SOCKDIAG_ANY], (uint16_t[]){ 2002 }, 1);
	expect(&udp->map[T6][SOCKDIAG_LO], (uint16_t[]){ 2001 }, 1);

	/* Each change is seen, and nothing else is one. */
	assert_false(x->scan.same);
	scan(x);
	assert_true(x->scan.same);
	fd[n++] = bound(&addr_loopback4, SOCK_DGRAM, 2004, false);
	scan(x);
	assert_false(x->scan.same);
	close(fd[--n]);
	fd[n++] = bound(&addr_any4, SOCK_DGRAM, 2004, false);
	scan(x);
	assert_false(x->scan.same);
	scan(x);
	assert_true(x->scan.same);

	for (int i = 0; i < n; i++)
		close(fd[i]);
	scan(x);
	assert_false(x->scan.same);
	expect(&tcp->map[T4][SOCKDIAG_ANY], NULL, 0);
	expect(&udp->map[T6][SOCKDIAG_ANY], NULL, 0);
}

/* More than one datagram. */
static void test_many(void **state)
{
	enum { MANY = 900 };
	struct rlimit lim = { 1024, 1024 };
	struct fix *x = *state;
	static int fd[MANY];

	getrlimit(RLIMIT_NOFILE, &lim);
	if (!x->sd || lim.rlim_cur < MANY + 50)
		skip();
	for (unsigned i = 0; i < MANY; i++)
		fd[i] = bound(&addr_any4, SOCK_STREAM, (uint16_t)(20000 + i), false);
	scan(x);
	assert_true(x->scan.torn);
	for (unsigned p = 0; p < PORTS; p++)
		assert_int_equal(portmap_has(&x->scan.ports[SOCKDIAG_TCP].map[T4][SOCKDIAG_ANY], (uint16_t)p),
				 p >= 20000 && p < 20000 + MANY);
	for (unsigned i = 0; i < MANY; i++)
		close(fd[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_mapped),
		cmocka_unit_test(test_odd),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_select),
		cmocka_unit_test_setup_teardown(test_kernel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
