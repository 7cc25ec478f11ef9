/* SPDX-License-Identifier: MIT */
#include "fwd/listen.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/log.h"
#include "fake_host.h"
#include "os/sock.h"

#define OWNER_TCP 3
#define OWNER_UDP 4

static struct loop loop;

/* Rules from their text; a word that begins with "u" is for UDP. */
static void table(struct fwd_table *t, const char *specs)
{
	char text[256], err[FWD_ERR_LEN], *save = NULL;

	memset(t, 0, sizeof(*t));
	assert_true(strlen(specs) < sizeof(text));
	strcpy(text, specs);
	for (char *s = strtok_r(text, " ", &save); s; s = strtok_r(NULL, " ", &save)) {
		struct fwd_ctx c = { .opt = "-t", .proto = IPPROTO_TCP, .v4 = true, .v6 = true, .pasta = true };

		c.eph_first = 32768;
		c.eph_last = 60999;
		if (*s == 'u') {
			c.proto = IPPROTO_UDP;
			s++;
		}
		if (fwd_parse(&c, s, t, err))
			fail_msg("%s: %s", s, err);
	}
	fake_reset();
}

static const struct fake_sock *sock_at(const struct listeners *ls, unsigned i)
{
	assert_true(i < ls->n);
	return fake_get(ls->l[i].fd);
}

static void assert_log(unsigned i, const char *want)
{
	assert_true(i < fake->lines);
	assert_string_equal(fake->line[i], want);
}

static void test_sockets(void **state)
{
	static const struct {
		const char *spec;
		int family, type;
		bool dual;
		const char *addr, *ifname;
		unsigned scope;
	} t[] = {
		{ "80", AF_INET6, SOCK_STREAM, true, "::", "", 0 },
		{ "u80", AF_INET6, SOCK_DGRAM, true, "::", "", 0 },
		{ "0.0.0.0/80", AF_INET, SOCK_STREAM, false, "0.0.0.0", "", 0 },
		{ "[::]/80", AF_INET6, SOCK_STREAM, false, "::", "", 0 },
		{ "u[::1]/80", AF_INET6, SOCK_DGRAM, false, "::1", "", 0 },
		{ "192.0.2.1/80", AF_INET, SOCK_STREAM, false, "192.0.2.1", "", 0 },
		{ "%lo/80", AF_INET6, SOCK_STREAM, true, "::", "lo", 1 },
		{ "fe80::1%lo/80", AF_INET6, SOCK_STREAM, false, "fe80::1", "lo", 1 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		const struct fake_sock *s;
		struct fwd_table tab;
		struct listeners ls;
		struct addr a;

		table(&tab, t[i].spec);
		assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
		assert_int_equal(ls.n, 1);
		s = sock_at(&ls, 0);
		assert_int_equal(s->family, t[i].family);
		assert_int_equal(s->type, t[i].type);
		assert_int_equal(s->dual, t[i].dual);
		assert_int_equal(s->reuse, t[i].type == SOCK_STREAM);
		assert_int_equal(s->listening, t[i].type == SOCK_STREAM);
		assert_int_equal(addr_parse(t[i].addr, &a), 0);
		assert_true(addr_eq(&s->ep.addr, &a));
		assert_int_equal(s->ep.port, 80);
		assert_string_equal(s->ifname, t[i].ifname);
		if (t[i].scope)
			assert_int_equal(s->scope, if_nametoindex("lo"));
		assert_int_equal(ls.l[0].v6, t[i].family == AF_INET6);
		assert_false(s->freebind);
		assert_int_equal(s->pktinfo, t[i].type == SOCK_DGRAM);
		assert_false(s->in_loop);
		assert_int_equal(fake->lines, 0);
		listeners_close(&ls);
		assert_int_equal(fake->open, 0);
	}
}

static void test_ports_and_events(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "80-82:8080-8082 u53 127.0.0.1/9000");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(ls.n, 5);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);
	assert_int_equal(fake->in_loop, 5);
	for (unsigned i = 0; i < ls.n; i++) {
		static const uint16_t port[] = { 80, 81, 82, 53, 9000 }, to[] = { 8080, 8081, 8082, 53, 9000 },
				      rule[] = { 0, 0, 0, 1, 2 };
		const struct fake_sock *s = sock_at(&ls, i);

		assert_int_equal(ls.l[i].port, port[i]);
		assert_int_equal(ls.l[i].to, to[i]);
		assert_int_equal(ls.l[i].rule, rule[i]);
		assert_int_equal(ls.l[i].proto, i == 3 ? IPPROTO_UDP : IPPROTO_TCP);
		assert_int_equal(s->ref.index, i);
		assert_int_equal(s->ref.gen, 0);
		assert_int_equal(s->ref.owner, i == 3 ? OWNER_UDP : OWNER_TCP);
		assert_int_equal(s->events, EPOLLIN);
	}
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
	assert_int_equal(ls.n, 0);
}

static void test_freebind(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "80 192.0.2.1/81 u[2001:db8::1]/82");
	tab.freebind = true;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(sock_at(&ls, i)->freebind);
	listeners_close(&ls);

	table(&tab, "192.0.2.1/81");
	tab.freebind = true;
	fake->freebind_result = -ENOPROTOOPT;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -ENOPROTOOPT);
	assert_log(0, "E Listen failed for HOST TCP port 192.0.2.1/81: Protocol not available");
	assert_int_equal(fake->open, 0);
}

static int no_ipv6(int family)
{
	return family == AF_INET6 ? -EAFNOSUPPORT : 0;
}

static void test_without_ipv6(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "%lo/80");
	fake->open_result = no_ipv6;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(sock_at(&ls, 0)->family, AF_INET);
	assert_true(addr_eq(&sock_at(&ls, 0)->ep.addr, &addr_any4));
	assert_string_equal(sock_at(&ls, 0)->ifname, "lo");
	assert_int_equal(ls.l[0].v6, 0);
	listeners_close(&ls);

	/* Asked for by its address, it can't be had. */
	table(&tab, "[::1]/80");
	fake->open_result = no_ipv6;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EAFNOSUPPORT);
	assert_log(0, "E Listen failed for HOST TCP port [::1]/80: Address family not supported by protocol");
}

/* 80 and 8080-8089 are in use by another, ports below 1024 need a privilege. */
static int usual_host(const struct fake_sock *s)
{
	if (s->ep.port == 80 || (s->ep.port >= 8080 && s->ep.port < 8090))
		return -EADDRINUSE;
	return s->ep.port < 1024 ? -EACCES : 0;
}

static int nothing_free(const struct fake_sock *s)
{
	return -EADDRINUSE;
}

static void test_explicit_fails(void **state)
{
	static const struct {
		const char *spec, *line;
		int rc;
	} t[] = {
		{ "80", "E Listen failed for HOST TCP port */80: Address already in use", -EADDRINUSE },
		{ "u80", "E Listen failed for HOST UDP port */80: Address already in use", -EADDRINUSE },
		{ "22", "E Listen failed for HOST TCP port */22: Permission denied", -EACCES },
		{ "80:8080", "E Listen failed for HOST TCP port */80: Address already in use", -EADDRINUSE },
		{ "127.0.0.1/80", "E Listen failed for HOST TCP port 127.0.0.1/80: Address already in use", -EADDRINUSE },
		{ "[::1]/80", "E Listen failed for HOST TCP port [::1]/80: Address already in use", -EADDRINUSE },
		{ "%lo/80", "E Listen failed for HOST TCP port *%lo/80: Address already in use", -EADDRINUSE },
		{ "192.0.2.1%eth0/80", "E Listen failed for HOST TCP port 192.0.2.1%eth0/80: Address already in use", -EADDRINUSE },
		{ "0.0.0.0/80:10.0.0.5/90", "E Listen failed for HOST TCP port 0.0.0.0/80: Address already in use", -EADDRINUSE },
		{ "8070-8099", "E Listen failed for HOST TCP port */8080: Address already in use", -EADDRINUSE },
		{ "9000 u80", "E Listen failed for HOST UDP port */80: Address already in use", -EADDRINUSE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct fwd_table tab;
		struct listeners ls;

		table(&tab, t[i].spec);
		fake->bind_result = usual_host;
		assert_int_equal(listeners_open(&ls, &tab, NULL), t[i].rc);
		assert_int_equal(fake->lines, 1);
		assert_log(0, t[i].line);
		assert_int_equal(fake->open, 0);
		assert_int_equal(ls.n, 0);
	}
}

/* Every rule gets its line, so that one start tells all that is wrong; best-effort rules are not tried after that. */
static void test_explicit_fail_twice(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "u~1000 80 9000 22");
	fake->bind_result = usual_host;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EACCES);
	assert_int_equal(fake->lines, 2);
	assert_log(0, "E Listen failed for HOST TCP port */80: Address already in use");
	assert_log(1, "E Listen failed for HOST TCP port */22: Permission denied");
	assert_int_equal(fake->attempts, 3);
	assert_int_equal(fake->open, 0);
}

static void test_other_calls_fail(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "%lo/9000");
	fake->dev_result = -EPERM;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EPERM);
	assert_int_equal(fake->open, 0);

	table(&tab, "9000");
	fake->listen_result = -EADDRINUSE;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EADDRINUSE);
	assert_int_equal(fake->open, 0);

	table(&tab, "9000");
	fake->dual_result = -EINVAL;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EINVAL);
	assert_int_equal(fake->open, 0);

	table(&tab, "9000-9003");
	fake->loop_room = 2;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), -ENOSPC);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
}

static void test_weak(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "all");
	fake->bind_result = usual_host;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(ls.n, 32767 + 65535 - 60999);
	assert_int_equal(fake->open, ls.n - 1023 - 10);
	assert_int_equal(fake->lines, 4);
	assert_log(0, "W Listen failed for HOST TCP port */1-79: Permission denied");
	assert_log(1, "W Listen failed for HOST TCP port */80: Address already in use");
	assert_log(2, "W Listen failed for HOST TCP port */81-1023: Permission denied");
	assert_log(3, "W Listen failed for HOST TCP port */8080-8089: Address already in use");
	assert_int_equal(ls.l[78].fd, -1);
	assert_int_equal(sock_at(&ls, 32767)->ep.port, 61000);

	/* Closed ones are left alone. */
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);
	assert_int_equal(fake->in_loop, fake->open);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
}

/* What is left of one specifier stands and falls together, whichever way it was cut. */
static void test_weak_all_fail(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "%lo/all,~8088-65535,~10-8084");
	fake->bind_result = usual_host;
	assert_int_equal(tab.n, 2);
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EADDRINUSE);
	assert_string_equal(fake->line[fake->lines - 1], "E All listens failed for HOST TCP ports *%lo/1-8087");
	assert_int_equal(fake->open, 0);

	table(&tab, "~200-65535,~82-100");
	assert_int_equal(tab.n, 2);
	fake->bind_result = nothing_free;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EADDRINUSE);
	assert_int_equal(fake->lines, 3);
	assert_log(0, "W Listen failed for HOST TCP port */1-81: Address already in use");
	assert_log(1, "W Listen failed for HOST TCP port */101-199: Address already in use");
	assert_log(2, "E All listens failed for HOST TCP ports */1-199");

	table(&tab, "~1024-9999,~10001-65535");
	fake->bind_result = usual_host;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->open, 1);
	listeners_close(&ls);
}

/* Flows need descriptors too: best-effort ports leave some over. */
static void test_descriptor_limit(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "9000-9009 %lo/~9000-9009");
	fake->limit = 2048;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->wanted, 32767 + 65535 - 60999 + 1024);
	assert_int_equal(fake->open, 2048 - 512);
	assert_log(0, "W The limit of open files leaves 1526 ports to each specifier such as \"all\"");
	assert_log(1, "W Listen failed for HOST TCP port *%lo/1527-8999: Too many open files");
	listeners_close(&ls);

	/* One takes nothing from another; what a small one doesn't need is for the large ones. */
	table(&tab, "127.0.0.2/all uall 127.0.0.1/~101-65535");
	fake->limit = 20000;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->open, 2 * ((20000 - 512 - 100) / 2) + 100);
	assert_log(0, "W The limit of open files leaves 9694 ports to each specifier such as \"all\"");
	assert_log(1, "W Listen failed for HOST TCP port 127.0.0.2/9695-32767: Too many open files");
	assert_log(3, "W Listen failed for HOST UDP port */9695-32767: Too many open files");
	listeners_close(&ls);

	/* So few that half of them is the fair share. */
	table(&tab, "all");
	fake->limit = 256;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->open, 128);
	listeners_close(&ls);

	/* Ports that were asked for by number are tried as long as the kernel gives some. */
	table(&tab, "9000-9299");
	fake->limit = 256;
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->open, 300);
	listeners_close(&ls);
}

/* What comes first leaves as much to what comes later, in another place but by the same limit. */
static void test_descriptor_limit_of_two(void **state)
{
	struct listen_place place = { .open = NULL };
	struct fwd_table first, later;
	struct listeners ls, next;

	table(&later, "uall 9000-9099");
	table(&first, "127.0.0.3/all 127.0.0.2/~101-65535");
	place.later = &later;
	fake->limit = 20000;
	assert_int_equal(listeners_open(&ls, &first, &place), 0);
	assert_int_equal(fake->wanted, 2 * (32767 + 65535 - 60999) + 100 + 100 + 1024);
	assert_int_equal(fake->open, (20000 - 512 - 100 - 100) / 2 + 100);
	assert_log(0, "W The limit of open files leaves 9644 ports to each specifier such as \"all\"");
	assert_log(1, "W Listen failed for HOST TCP port 127.0.0.3/9645-32767: Too many open files");

	place = (struct listen_place){ .held = listeners_held(&ls) };
	assert_int_equal(listeners_open(&next, &later, &place), 0);
	assert_int_equal(fake->open, 20000 - 512);
	listeners_close(&next);
	listeners_close(&ls);
}

static void test_too_many(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "127.0.0.1/1-65535 127.0.0.2/1-65535 127.0.0.3/1-65535 127.0.0.4/1-65535 127.0.0.5/1-65535 127.0.0.6/1-5");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->open, LISTENERS_MAX);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);

	table(&tab, "127.0.0.1/1-65535 127.0.0.2/1-65535 127.0.0.3/1-65535 127.0.0.4/1-65535 127.0.0.5/1-65535 127.0.0.6/1-6");
	assert_int_equal(listeners_open(&ls, &tab, NULL), -E2BIG);
	assert_log(0, "E Too many ports to listen on: 327681, at most 327680");
	assert_int_equal(fake->attempts, 0);
}

static void test_scan(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "80 8000-8010,auto u%lo/auto");
	fake->bind_result = usual_host;
	assert_int_equal(listeners_open(&ls, &tab, NULL), -EADDRINUSE);

	table(&tab, "90 8000-8010:9000-9010,auto u%lo/auto");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(fake->open, 1);

	/* Before the start and after it. */
	assert_int_equal(listener_open(&ls, 1, 8005), 0);
	assert_int_equal(fake->in_loop, 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);
	assert_int_equal(fake->in_loop, 2);
	assert_int_equal(listener_open(&ls, 1, 8010), 0);
	assert_int_equal(listener_open(&ls, 1, 8010), 0);
	assert_int_equal(fake->in_loop, 3);
	assert_int_equal(ls.l[11].to, 9010);
	assert_int_equal(sock_at(&ls, 11)->ep.port, 8010);
	assert_int_equal(sock_at(&ls, 11)->ref.index, 11);

	assert_int_equal(listener_open(&ls, 1, 7999), -EINVAL);
	assert_int_equal(listener_open(&ls, 1, 8011), -EINVAL);
	assert_int_equal(listener_open(&ls, 2, 40000), -EINVAL);
	assert_int_equal(listener_open(&ls, 9, 80), -EINVAL);
	assert_int_equal(fake->open, 3);

	fake->bind_result = usual_host;
	assert_int_equal(listener_open(&ls, 2, 80), -EADDRINUSE);
	fake->loop_room = 0;
	assert_int_equal(listener_open(&ls, 2, 5000), -ENOSPC);
	assert_int_equal(fake->open, 3);
	assert_int_equal(fake->lines, 0);

	listener_close(&ls, 1, 8010);
	listener_close(&ls, 1, 8010);
	listener_close(&ls, 7, 8010);
	assert_int_equal(fake->open, 2);
	assert_int_equal(fake->in_loop, 2);
	fake->loop_room = 1;
	assert_int_equal(listener_open(&ls, 1, 8010), 0);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
	assert_int_equal(fake->in_loop, 0);
}

/* A listener that can't be served gets no events for a second, whatever happens meanwhile; others do. */
static void test_pause(void **state)
{
	struct fwd_table t;
	struct listeners ls;

	table(&t, "80-81 u80");
	loop.now_ns = 5 * NSEC_PER_SEC;
	timers_init(&loop.timers, loop.now_ns);
	assert_int_equal(listeners_open(&ls, &t, NULL), 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);

	listener_pause(&ls, 1);
	listener_pause(&ls, 1);
	assert_int_equal(fake_get(ls.l[0].fd)->events, EPOLLIN);
	assert_int_equal(fake_get(ls.l[1].fd)->events, 0);
	assert_int_equal(fake_get(ls.l[1].fd)->ref.index, 1);
	timers_run(&loop.timers, loop.now_ns + NSEC_PER_SEC - 2 * NSEC_PER_MSEC);
	assert_int_equal(fake_get(ls.l[1].fd)->events, 0);
	listener_pause(&ls, 2);
	timers_run(&loop.timers, loop.now_ns + NSEC_PER_SEC + 2 * NSEC_PER_MSEC);
	assert_int_equal(fake_get(ls.l[1].fd)->events, EPOLLIN);
	assert_int_equal(fake_get(ls.l[2].fd)->events, EPOLLIN);
	assert_int_equal(fake_get(ls.l[2].fd)->ref.owner, OWNER_UDP);
	assert_false(timer_armed(&ls.retry));
	listener_pause(&ls, 0);
	listeners_close(&ls);
	assert_false(timer_armed(&ls.retry));
	assert_int_equal(loop.timers.armed, 0);
}

/* --- taking connections --- */

#define PATTERN_MAX 64

static struct {
	int accept[PATTERN_MAX]; /* results of the next calls, after which nobody waits any more */
	unsigned n, at;
	int fn[PATTERN_MAX]; /* the same of the function that takes them */
	unsigned taken;
	struct listeners *close; /* closes its first listener, meanwhile */
} script;

static int next_accept(void)
{
	return script.at < script.n ? script.accept[script.at++] : -EAGAIN;
}

static int take(void *ctx, const struct listener *l, int fd, const struct ep *peer)
{
	assert_ptr_equal(ctx, &script);
	assert_int_equal(l->port, 80);
	assert_int_equal(peer->port, fake->accepts);
	sock_close(fd);
	if (script.close)
		listener_close(script.close, 0, 80);
	return script.fn[script.taken++];
}

/* Listeners for "80-81", of which the first has n calls of accept() before it. */
static void accept_world(struct listeners *ls, struct fwd_table *t, unsigned n)
{
	memset(&script, 0, sizeof(script));
	script.n = n;
	table(t, "80-81");
	fake->accept_result = next_accept;
	loop.now_ns = 5 * NSEC_PER_SEC;
	timers_init(&loop.timers, loop.now_ns);
	assert_int_equal(listeners_open(ls, t, NULL), 0);
	assert_int_equal(listeners_start(ls, &loop, OWNER_TCP, OWNER_UDP), 0);
}

static void accept_over(struct listeners *ls)
{
	listeners_close(ls);
	assert_int_equal(fake->open, 0);
	assert_int_equal(loop.timers.armed, 0);
}

static void test_accept(void **state)
{
	struct listeners ls;
	struct fwd_table t;

	/* All that wait, and it isn't asked again. */
	accept_world(&ls, &t, 3);
	listener_accept(&ls, 0, take, &script);
	assert_int_equal(script.taken, 3);
	assert_int_equal(fake->accepts, 4);
	assert_int_equal(ls.l[0].paused, 0);
	accept_over(&ls);

	/* More than one batch: the rest is for the next event. */
	accept_world(&ls, &t, PATTERN_MAX);
	listener_accept(&ls, 0, take, &script);
	assert_int_equal(script.taken, 32);
	assert_int_equal(ls.l[0].paused, 0);
	accept_over(&ls);

	/* No such listener, a closed one, one that is closed meanwhile. */
	accept_world(&ls, &t, 3);
	listener_accept(&ls, 2, take, &script);
	script.close = &ls;
	listener_accept(&ls, 0, take, &script);
	assert_int_equal(script.taken, 1);
	listener_accept(&ls, 0, take, &script);
	assert_int_equal(fake->accepts, 1);
	accept_over(&ls);
}

/* Of one connection: the next is taken. */
static void test_accept_errors_of_connections(void **state)
{
	static const int errs[] = { ECONNABORTED, ENETDOWN,   EPROTO,      ENOPROTOOPT, EHOSTDOWN, ENONET,
				    EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, ETIMEDOUT,   EINTR };

	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		struct listeners ls;
		struct fwd_table t;

		accept_world(&ls, &t, 3);
		script.accept[1] = -errs[i];
		listener_accept(&ls, 0, take, &script);
		assert_int_equal(script.taken, 2);
		assert_int_equal(ls.l[0].paused, 0);
		assert_int_equal(fake->lines, 0);
		accept_over(&ls);

		/* Nothing else for a whole batch: that is not the way on. */
		accept_world(&ls, &t, PATTERN_MAX);
		for (unsigned k = 0; k < PATTERN_MAX; k++)
			script.accept[k] = -errs[i];
		listener_accept(&ls, 0, take, &script);
		assert_int_equal(fake->accepts, 32);
		assert_int_equal(ls.l[0].paused, 1);
		accept_over(&ls);
	}
}

/* Descriptors or memory run out, at accept() or when the connection is to be passed on: the others wait in the kernel, for a second. */
static void test_accept_shortage(void **state)
{
	static const int errs[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(errs); i++) {
		struct listeners ls;
		struct fwd_table t;

		accept_world(&ls, &t, 10);
		log_set_now(i * 100 * NSEC_PER_SEC);
		if (i % 2)
			script.accept[2] = -errs[i / 2];
		else
			script.fn[1] = -errs[i / 2];
		listener_accept(&ls, 0, take, &script);
		assert_int_equal(script.taken, 2);
		assert_int_equal(fake_get(ls.l[0].fd)->events, 0);
		assert_int_equal(fake_get(ls.l[1].fd)->events, EPOLLIN);
		timers_run(&loop.timers, loop.now_ns + NSEC_PER_SEC + 2 * NSEC_PER_MSEC);
		assert_int_equal(fake_get(ls.l[0].fd)->events, EPOLLIN);
		listener_accept(&ls, 0, take, &script);
		assert_int_equal(script.taken, i % 2 ? 9 : 10);
		accept_over(&ls);
	}
}

static void test_accept_other_errors(void **state)
{
	static const int errs[] = { EPERM, EBADF, EINVAL, ENOTSOCK };

	for (size_t i = 0; i < ARRAY_SIZE(errs); i++) {
		struct listeners ls;
		struct fwd_table t;

		accept_world(&ls, &t, 3);
		script.accept[1] = -errs[i];
		listener_accept(&ls, 0, take, &script);
		assert_int_equal(script.taken, 1);
		assert_int_equal(ls.l[0].paused, 1);
		accept_over(&ls);

		/* The connection was not passed on, for a reason of its own. */
		accept_world(&ls, &t, 3);
		script.fn[1] = -errs[i];
		listener_accept(&ls, 0, take, &script);
		assert_int_equal(script.taken, 3);
		assert_int_equal(ls.l[0].paused, 0);
		accept_over(&ls);
	}
}

/* A port that is closed while it rests starts afresh. */
static void test_pause_and_close(void **state)
{
	struct listeners ls;
	struct fwd_table t;

	accept_world(&ls, &t, 1);
	listener_pause(&ls, 0);
	listener_close(&ls, 0, 80);
	assert_int_equal(listener_open(&ls, 0, 80), 0);
	assert_int_equal(fake_get(ls.l[0].fd)->events, EPOLLIN);
	listener_pause(&ls, 0);
	assert_int_equal(fake_get(ls.l[0].fd)->events, 0);
	accept_over(&ls);
}

/* Whoever takes connections wants no more for now; when he does, what waits is taken at once. */
static void test_accept_enough(void **state)
{
	struct listeners ls;
	struct fwd_table t;

	accept_world(&ls, &t, 10);
	script.fn[0] = -EBUSY;
	listener_accept(&ls, 0, take, &script);
	assert_int_equal(script.taken, 1);
	assert_int_equal(ls.l[0].paused, 1);
	assert_int_equal(fake->lines, 0);
	listeners_wake(&ls);
	assert_int_equal(ls.l[0].paused, 0);
	assert_int_equal(fake_get(ls.l[0].fd)->events, EPOLLIN);
	assert_false(timer_armed(&ls.retry));
	listeners_wake(&ls);
	accept_over(&ls);
}

/* --- another place --- */

static int elsewhere(void *ctx, const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	struct bound_spec *seen = ctx;

	*seen = *s;
	if (s->port == 90)
		return -EADDRINUSE;
	*ret_v6 = s->dual;
	return sock_open(s->dual ? AF_INET6 : AF_INET, SOCK_STREAM, s->proto, ret_fd);
}

static void test_place(void **state)
{
	struct bound_spec seen;
	struct listen_place place = { .name = "THERE", .open = elsewhere, .ctx = &seen };
	struct listeners ls;
	struct fwd_table t;

	table(&t, "127.0.0.1%eth7/80 u81");
	t.freebind = true;
	assert_int_equal(listeners_open(&ls, &t, &place), 0);
	assert_int_equal(listeners_held(&ls), 2);
	assert_true(seen.port == 81 && seen.proto == IPPROTO_UDP && seen.dual && seen.freebind && !seen.dev[0]);
	assert_int_equal(ls.l[0].v6, 0);
	assert_int_equal(ls.l[1].v6, 1);
	listener_close(&ls, 0, 80);
	assert_int_equal(listeners_held(&ls), 1);
	assert_int_equal(listener_open(&ls, 0, 80), 0);
	assert_true(seen.port == 80 && seen.proto == IPPROTO_TCP && !seen.dual && addr_eq(&seen.addr, &addr_loopback4));
	assert_string_equal(seen.dev, "eth7");
	listeners_close(&ls);

	table(&t, "90");
	assert_int_equal(listeners_open(&ls, &t, &place), -EADDRINUSE);
	assert_log(0, "E Listen failed for THERE TCP port */90: Address already in use");

	/* What others hold is not there for us. */
	table(&t, "all");
	place.held = 1000;
	fake->limit = 2048;
	assert_int_equal(listeners_open(&ls, &t, &place), 0);
	assert_int_equal(fake->wanted, 32767 + 65535 - 60999 + 1024 + 1000);
	assert_int_equal(fake->open, 2048 - 512 - 1000);
	listeners_close(&ls);
	table(&t, "all");
	place.held = 5000;
	fake->limit = 2048;
	assert_int_equal(listeners_open(&ls, &t, &place), -EMFILE);
}

static void test_empty(void **state)
{
	struct fwd_table tab;
	struct listeners ls;

	table(&tab, "none");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(ls.n, 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);
	listeners_close(&ls);
	listeners_close(&ls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets),
		cmocka_unit_test(test_freebind),
		cmocka_unit_test(test_ports_and_events),
		cmocka_unit_test(test_without_ipv6),
		cmocka_unit_test(test_explicit_fails),
		cmocka_unit_test(test_explicit_fail_twice),
		cmocka_unit_test(test_other_calls_fail),
		cmocka_unit_test(test_weak),
		cmocka_unit_test(test_weak_all_fail),
		cmocka_unit_test(test_descriptor_limit),
		cmocka_unit_test(test_descriptor_limit_of_two),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_accept),
		cmocka_unit_test(test_accept_errors_of_connections),
		cmocka_unit_test(test_accept_shortage),
		cmocka_unit_test(test_accept_other_errors),
		cmocka_unit_test(test_pause_and_close),
		cmocka_unit_test(test_accept_enough),
		cmocka_unit_test(test_place),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
