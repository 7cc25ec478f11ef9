/* SPDX-License-Identifier: MIT */
/*
 * Automatic ports at work, in a world of two sides with services that come and go. Clock and sock_diag are fakes: a look sees the
 * services of a side, and the ports that we have open there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "fwd/auto_run.h"
#include "os/sock.h"

#define TCP 6
#define UDP 17
#define ALL_WHERES 7u
#define FD_HOST 1000
#define FD_NS 1001

struct sockdiag {
	sockdiag_done_fn *fn;
	void *ctx;
	enum auto_side side;
	bool asked, once;
	struct sockdiag_scan scan, before;
};

/* A port of the world: what listens there. */
struct spot {
	bool service;
	bool ours; /* opened by us */
	enum sockdiag_where where; /* of the service */
	bool v4, v6; /* families of the service */
};

static struct {
	struct loop loop;
	struct auto_run *a;
	struct fwd_table table[AUTO_DIRS];
	struct spot spot[AUTO_SIDES][SOCKDIAG_PROTOS][PORTS];
	struct sockdiag diag[AUTO_SIDES];
	bool closed_fd[AUTO_SIDES];
	int start_err, err[SOCKDIAG_PROTOS];
	bool torn;
	uint64_t cost;
	unsigned span; /* ports below this one exist */
	unsigned looks, opens, closes, warnings;
} w;

/* --- the fake --- */

int sockdiag_new(struct loop *loop, int fd, sockdiag_done_fn *fn, void *ctx, struct sockdiag **ret_sd)
{
	enum auto_side side = fd == FD_NS ? AUTO_NS : AUTO_HOST;

	w.diag[side] = (struct sockdiag){ .fn = fn, .ctx = ctx, .side = side };
	*ret_sd = &w.diag[side];
	return 0;
}

void sockdiag_free(struct sockdiag *sd)
{
	w.closed_fd[sd->side] = true;
}

int sockdiag_start(struct sockdiag *sd)
{
	assert_false(sd->asked);
	w.looks++;
	if (w.start_err)
		return w.start_err;
	sd->asked = true;
	return 0;
}

void sockdiag_select(const struct sockdiag_ports *p, unsigned families, unsigned wheres, struct portmap *ret_map)
{
	for (unsigned f = 0; f < SOCKDIAG_FAMILIES; f++) {
		for (unsigned k = 0; k < SOCKDIAG_WHERES; k++) {
			for (unsigned i = 0; i < w.span && families >> f & 1 && wheres >> k & 1; i++) {
				if (portmap_has(&p->map[f][k], (uint16_t)i))
					portmap_set(ret_map, (uint16_t)i);
			}
		}
	}
}

void sock_close(int fd)
{
	if (fd == FD_HOST || fd == FD_NS)
		w.closed_fd[fd == FD_NS] = true;
}

static void answer(struct sockdiag *sd)
{
	struct sockdiag_scan *s = &sd->scan;

	memset(s, 0, sizeof(*s));
	for (unsigned k = 0; k < SOCKDIAG_PROTOS; k++) {
		s->err[k] = w.err[k];
		for (unsigned p = 0; p < w.span && !w.err[k]; p++) {
			const struct spot *o = &w.spot[sd->side][k][p];

			if (o->service && o->v4)
				portmap_set(&s->ports[k].map[SOCKDIAG_4][o->where], (uint16_t)p);
			if (o->service && o->v6)
				portmap_set(&s->ports[k].map[SOCKDIAG_6][o->where], (uint16_t)p);
			if (o->ours) {
				portmap_set(&s->ports[k].map[SOCKDIAG_4][SOCKDIAG_LO], (uint16_t)p);
				portmap_set(&s->ports[k].map[SOCKDIAG_6][SOCKDIAG_LO], (uint16_t)p);
			}
		}
	}
	s->same = sd->once && !memcmp(s, &sd->before, sizeof(*s));
	sd->before = *s;
	sd->before.same = false;
	sd->once = true;
	s->cost_ns = w.cost;
	s->torn = w.torn;
	sd->asked = false;
	sd->fn(sd->ctx, s);
}

/* --- the world --- */

static enum auto_side listens_on(enum auto_dir dir)
{
	return dir == AUTO_IN ? AUTO_HOST : AUTO_NS;
}

static struct spot *spot_of(enum auto_dir dir, unsigned rule, uint16_t port)
{
	return &w.spot[listens_on(dir)][w.table[dir].rule[rule].proto == UDP][port];
}

static int on_open(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port)
{
	const struct fwd_rule *r = &w.table[dir].rule[rule];
	const struct spot *to = &w.spot[!listens_on(dir)][r->proto == UDP][r->to + (port - r->first)];
	const struct spot *twin = &w.spot[!listens_on(dir)][0][r->to + (port - r->first)];
	struct spot *o = spot_of(dir, rule, port);

	assert_true(r->flags & FWD_SCAN);
	assert_in_range(port, r->first, r->last);
	assert_false(o->ours);
	/* Never to where only we are. */
	assert_true(to->service || (r->proto == UDP && twin->service));
	assert_false(to->ours);
	w.opens++;
	if (o->service)
		return -EADDRINUSE;
	o->ours = true;
	return 0;
}

static void on_close(void *ctx, enum auto_dir dir, unsigned rule, uint16_t port)
{
	struct spot *o = spot_of(dir, rule, port);

	assert_true(o->ours);
	w.closes++;
	o->ours = false;
}

static void on_log(void *ctx, enum log_level level, const char *line)
{
	w.warnings += level <= LOG_LVL_WARN;
}

static void rule_add(enum auto_dir dir, struct fwd_rule r)
{
	w.table[dir].rule[w.table[dir].n++] = r;
}

static void start(void)
{
	struct auto_conf c = {
		.loop = &w.loop,
		.diag_fd = { FD_HOST, FD_NS },
		.table = { &w.table[AUTO_IN], &w.table[AUTO_OUT] },
		.reach = { ALL_WHERES, ALL_WHERES },
		.open = on_open,
		.close = on_close,
	};

	assert_int_equal(auto_run_new(&c, &w.a), 0);
}

static int setup(void **state)
{
	memset(&w, 0, sizeof(w));
	w.span = PORTS;
	w.loop.now_ns = 77 * NSEC_PER_SEC;
	timers_init(&w.loop.timers, w.loop.now_ns);
	log_set_sink(on_log, NULL);
	log_set_now(0);
	return 0;
}

static int teardown(void **state)
{
	auto_run_free(w.a);
	assert_true(w.closed_fd[0] && w.closed_fd[1]);
	assert_int_equal(w.loop.timers.armed, 0);
	return 0;
}

static void service(enum auto_side side, uint8_t proto, uint16_t port, bool on)
{
	w.spot[side][proto == UDP][port].service = on;
	w.spot[side][proto == UDP][port].v4 = w.spot[side][proto == UDP][port].v6 = true;
}

static void answer_all(void)
{
	for (unsigned i = 0; i < AUTO_SIDES; i++) {
		if (w.diag[i].asked)
			answer(&w.diag[i]);
	}
}

/* Lets the clock go on to the next look, and answers it. Returns the time that went by. */
static uint64_t look(void)
{
	uint64_t ns = timers_next(&w.loop.timers, w.loop.now_ns), before = w.loop.now_ns;

	assert_int_equal(w.loop.timers.armed, 1);
	while (!w.diag[0].asked && !w.diag[1].asked) {
		ns = timers_next(&w.loop.timers, w.loop.now_ns);
		assert_true(ns < 10 * NSEC_PER_SEC);
		w.loop.now_ns += ns ? ns : NSEC_PER_MSEC;
		timers_run(&w.loop.timers, w.loop.now_ns);
		if (w.start_err)
			break;
	}
	answer_all();
	return w.loop.now_ns - before;
}

/* The same up to this time, however many looks there are. */
static void clock_to(uint64_t at)
{
	while (w.loop.now_ns < at) {
		uint64_t ns = MAX(timers_next(&w.loop.timers, w.loop.now_ns), NSEC_PER_USEC);

		w.loop.now_ns = MIN(w.loop.now_ns + ns, at);
		timers_run(&w.loop.timers, w.loop.now_ns);
		answer_all();
	}
}

static bool open_at(enum auto_side side, uint8_t proto, uint16_t port)
{
	return w.spot[side][proto == UDP][port].ours;
}

static void standard_rules(void)
{
	for (unsigned d = 0; d < AUTO_DIRS; d++) {
		rule_add(d, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
		rule_add(d, (struct fwd_rule){ .proto = UDP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	}
}

static void test_follow(void **state)
{
	standard_rules();
	start();
	assert_false(auto_run_looked(w.a));
	look();
	assert_true(auto_run_looked(w.a));
	assert_int_equal(w.opens, 0);
	service(AUTO_NS, TCP, 8080, true);
	service(AUTO_HOST, TCP, 9090, true);
	service(AUTO_NS, UDP, 53, true);
	service(AUTO_NS, TCP, 40000, true); /* no rule has it */
	look();
	assert_true(open_at(AUTO_HOST, TCP, 8080));
	assert_true(open_at(AUTO_HOST, UDP, 8080)); /* UDP follows TCP */
	assert_true(open_at(AUTO_NS, TCP, 9090));
	assert_true(open_at(AUTO_NS, UDP, 9090));
	assert_true(open_at(AUTO_HOST, UDP, 53));
	assert_false(open_at(AUTO_HOST, TCP, 53));
	assert_false(open_at(AUTO_HOST, TCP, 40000));
	assert_int_equal(w.opens, 5);
	/* What we have opened is seen there from now on, and means nothing. */
	for (unsigned i = 0; i < 5; i++)
		look();
	assert_int_equal(w.opens, 5);
	service(AUTO_NS, TCP, 8080, false);
	look();
	assert_false(open_at(AUTO_HOST, TCP, 8080) || open_at(AUTO_HOST, UDP, 8080));
	assert_int_equal(w.closes, 2);
	look();
	assert_int_equal(w.opens, 5);
	assert_int_equal(w.closes, 2);
}

/* A rule leads to other ports than it listens on; one of fixed ports, that we listen on as well, is no service. */
static void test_distance_and_fixed(void **state)
{
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 8000, .last = 8010, .to = 9000, .flags = FWD_SCAN | FWD_DUAL });
	rule_add(AUTO_OUT, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 22, .last = 22, .to = 22, .flags = FWD_DUAL });
	start();
	auto_run_ours(w.a, AUTO_IN, TCP, 22);
	w.spot[AUTO_HOST][0][22].ours = true;
	service(AUTO_NS, TCP, 9003, true);
	service(AUTO_NS, TCP, 8003, true);
	look();
	assert_true(open_at(AUTO_HOST, TCP, 8003));
	assert_int_equal(w.opens, 1);
	look();
	look();
	assert_int_equal(w.opens, 1);
	service(AUTO_HOST, TCP, 9005, true);
	look();
	assert_true(open_at(AUTO_NS, TCP, 9005));
	look();
	assert_false(open_at(AUTO_HOST, TCP, 8005)); /* 9005 over there is ours */
}

static void test_reach_and_family(void **state)
{
	struct auto_conf c = {
		.loop = &w.loop,
		.diag_fd = { FD_HOST, FD_NS },
		.table = { &w.table[AUTO_IN], NULL },
		.reach = { 1 << SOCKDIAG_ANY | 1 << SOCKDIAG_ADDR, 0 },
		.open = on_open,
		.close = on_close,
	};

	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 100, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 101, .last = 200, .to = 101, .flags = FWD_SCAN });
	w.table[AUTO_IN].rule[1].addr = addr_any4;
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 201, .last = 300, .to = 201, .flags = FWD_SCAN });
	assert_int_equal(auto_run_new(&c, &w.a), 0);
	assert_true(w.closed_fd[AUTO_HOST]); /* nobody asks there */
	for (uint16_t p = 50; p < 300; p += 100) {
		for (unsigned i = 0; i < 9; i++)
			service(AUTO_NS, TCP, (uint16_t)(p + i), true);
		for (unsigned i = 0; i < 9; i++) {
			struct spot *o = &w.spot[AUTO_NS][0][p + i];

			o->where = i % 3;
			o->v4 = i / 3 != 1;
			o->v6 = i / 3 != 2;
		}
	}
	look();
	for (uint16_t p = 50; p < 300; p += 100) {
		for (unsigned i = 0; i < 9; i++) {
			const struct spot *o = &w.spot[AUTO_NS][0][p + i];
			bool family = p == 50 || (p == 150 ? o->v4 : o->v6);

			assert_int_equal(open_at(AUTO_HOST, TCP, (uint16_t)(p + i)), family && o->where != SOCKDIAG_LO);
		}
	}
}

/* A port that is taken is tried again, but not all the time. */
static void test_refused(void **state)
{
	uint64_t t = 0;

	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	start();
	service(AUTO_NS, TCP, 80, true);
	service(AUTO_HOST, TCP, 80, true);
	look();
	assert_int_equal(w.opens, 1);
	while (w.opens == 1)
		t += look();
	assert_in_range(t, 2 * NSEC_PER_SEC, 3 * NSEC_PER_SEC);
	service(AUTO_HOST, TCP, 80, false);
	while (!open_at(AUTO_HOST, TCP, 80))
		look();
	assert_int_equal(w.opens, 3);
	/* Gone and back again: that is a new one. */
	service(AUTO_NS, TCP, 80, false);
	look();
	service(AUTO_HOST, TCP, 80, true);
	service(AUTO_NS, TCP, 80, true);
	look();
	assert_int_equal(w.opens, 4);
	service(AUTO_NS, TCP, 80, false);
	look();
	service(AUTO_HOST, TCP, 80, false);
	service(AUTO_NS, TCP, 80, true);
	look();
	assert_true(open_at(AUTO_HOST, TCP, 80));
}

/* From a torn list a port has to be missing twice. */
static void test_torn(void **state)
{
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	start();
	service(AUTO_NS, TCP, 80, true);
	w.torn = true;
	look();
	assert_true(open_at(AUTO_HOST, TCP, 80));
	service(AUTO_NS, TCP, 80, false);
	look();
	assert_true(open_at(AUTO_HOST, TCP, 80));
	service(AUTO_NS, TCP, 80, true);
	look();
	service(AUTO_NS, TCP, 80, false);
	look();
	assert_true(open_at(AUTO_HOST, TCP, 80));
	assert_true(look() <= AUTO_BUSY_NS + NSEC_PER_MSEC); /* the second look comes soon */
	assert_false(open_at(AUTO_HOST, TCP, 80));
	assert_int_equal(w.opens, 1);
}

/* Nothing is known: nothing is changed. It is told once. */
static void test_unknown(void **state)
{
	standard_rules();
	start();
	service(AUTO_NS, TCP, 80, true);
	look();
	assert_int_equal(w.opens, 2);
	w.err[SOCKDIAG_TCP] = -ENOENT;
	look();
	look();
	assert_true(open_at(AUTO_HOST, TCP, 80));
	assert_int_equal(w.warnings, 1);
	w.err[SOCKDIAG_TCP] = 0;
	w.start_err = -ENOBUFS;
	look();
	look();
	assert_true(open_at(AUTO_HOST, TCP, 80));
	w.start_err = 0;
	service(AUTO_NS, TCP, 80, false);
	look();
	assert_false(open_at(AUTO_HOST, TCP, 80));
}

/* Nobody is to wait for a first look that can't be had. */
static void test_no_look(void **state)
{
	standard_rules();
	start();
	w.start_err = -ENOBUFS;
	look();
	assert_true(auto_run_looked(w.a));
	w.start_err = 0;
	look();
}

static void test_pace(void **state)
{
	uint64_t ns = 0;

	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	start();
	assert_true(look() <= 2 * NSEC_PER_MSEC); /* at once */
	for (unsigned i = 0; i < 30; i++)
		ns = look();
	assert_in_range(ns, AUTO_IDLE_NS, AUTO_IDLE_NS + NSEC_PER_MSEC);
	service(AUTO_NS, TCP, 80, true);
	look();
	ns = look();
	assert_in_range(ns, AUTO_BUSY_NS, AUTO_BUSY_NS + NSEC_PER_MSEC);
	for (unsigned i = 0; i < 30; i++)
		ns = look();
	assert_in_range(ns, AUTO_IDLE_NS, AUTO_IDLE_NS + NSEC_PER_MSEC);
	w.cost = 5 * NSEC_PER_MSEC;
	look();
	ns = look();
	assert_in_range(ns, NSEC_PER_SEC, NSEC_PER_SEC + NSEC_PER_MSEC);
	auto_run_now(w.a);
	assert_true(look() <= 2 * NSEC_PER_MSEC);
}

/* Changes at any moment, far enough from each other to be alone: the next look sees them, on average within 200 ms. */
static void test_delay(void **state)
{
	uint64_t seed = 88172645463325252, sum[2] = { 0 }, worst = 0, at, n = 500;

	w.span = 128;
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 127, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	start();
	look();
	for (unsigned i = 0; i < 2 * n; i++) {
		bool on = i % 2 == 0;

		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		at = w.loop.now_ns + 2 * NSEC_PER_SEC + (seed >> 20) % NSEC_PER_SEC;
		clock_to(at);
		service(AUTO_NS, TCP, 80, on);
		look();
		assert_int_equal(open_at(AUTO_HOST, TCP, 80), on);
		sum[on] += w.loop.now_ns - at;
		worst = MAX(worst, w.loop.now_ns - at);
	}
	assert_true(sum[0] / n < 200 * NSEC_PER_MSEC && sum[1] / n < 200 * NSEC_PER_MSEC);
	assert_true(worst <= AUTO_IDLE_NS + 2 * NSEC_PER_MSEC);
}

/* Somebody asks for a look while one goes on: another follows. */
static void test_now_while_looking(void **state)
{
	rule_add(AUTO_IN, (struct fwd_rule){ .proto = TCP, .first = 1, .last = 32767, .to = 1, .flags = FWD_SCAN | FWD_DUAL });
	start();
	look();
	while (!w.diag[AUTO_NS].asked) {
		w.loop.now_ns += NSEC_PER_MSEC;
		timers_run(&w.loop.timers, w.loop.now_ns);
	}
	auto_run_now(w.a);
	answer(&w.diag[AUTO_NS]);
	assert_true(look() <= 2 * NSEC_PER_MSEC);
	assert_true(look() >= AUTO_BUSY_NS);
}

/* The same service on both sides: neither direction can have it, and UDP does not go round in a circle. */
static void test_both_sides(void **state)
{
	standard_rules();
	start();
	service(AUTO_NS, TCP, 8080, true);
	service(AUTO_HOST, TCP, 8080, true);
	for (unsigned i = 0; i < 10; i++)
		look();
	assert_false(open_at(AUTO_HOST, TCP, 8080) || open_at(AUTO_NS, TCP, 8080));
	assert_false(open_at(AUTO_HOST, UDP, 8080) && open_at(AUTO_NS, UDP, 8080));
}

/* Services come and go at random, on few ports so that they meet. The checks are in on_open(); in the end all is as it should be. */
static void test_random(void **state)
{
	static const uint8_t protos[] = { TCP, UDP };
	uint64_t seed = 2463534242;

	w.span = 64;
	standard_rules();
	start();
	for (unsigned i = 0; i < 1500; i++) {
		seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
		for (unsigned k = 0; k < (seed >> 60) % 4; k++) {
			uint64_t r = seed >> (20 + k * 10);
			enum auto_side side = r & 1;
			uint8_t proto = protos[r >> 1 & 1];
			uint16_t port = (uint16_t)(1 + (r >> 2) % 6);

			/* Nobody gets a port that is ours. */
			if (!w.spot[side][proto == UDP][port].ours)
				service(side, proto, port, r >> 5 & 1);
		}
		look();
	}
	for (unsigned i = 0; i < 30; i++)
		look();
	for (unsigned side = 0; side < AUTO_SIDES; side++) {
		for (uint16_t p = 1; p <= 6; p++) {
			const struct spot *here = &w.spot[side][0][p], *there = &w.spot[!side][0][p];

			assert_int_equal(here->ours, there->service && !here->service);
		}
	}
	assert_true(w.opens > 300 && w.closes > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_follow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_distance_and_fixed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reach_and_family, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_look, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_delay, setup, teardown),
		cmocka_unit_test_setup_teardown(test_now_while_looking, setup, teardown),
		cmocka_unit_test_setup_teardown(test_both_sides, setup, teardown),
		cmocka_unit_test_setup_teardown(test_random, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
