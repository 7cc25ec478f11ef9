/* SPDX-License-Identifier: MIT */
/* Rules that come and go while others listen; listeners that rest. */
#include "fwd/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "fake_host.h"

#define OWNER_TCP 3
#define OWNER_UDP 4

static struct loop loop;

static struct fwd_rule rule_of(const char *spec)
{
	struct fwd_ctx c = { .opt = "-t", .proto = IPPROTO_TCP, .v4 = true, .v6 = true };
	struct fwd_table t = { .n = 0 };
	char err[FWD_ERR_LEN];

	assert_int_equal(fwd_parse(&c, spec, &t, err), 0);
	assert_int_equal(t.n, 1);
	return t.rule[0];
}

/* One more rule in a table. */
static void table(struct fwd_table *t, const char *spec)
{
	t->rule[t->n++] = rule_of(spec);
}

static int setup(void **state)
{
	fake_reset();
	return 0;
}

/* Where the listeners of a rule begin; they are all there, and closed. */
static uint32_t place_of(const struct listeners *ls, unsigned rule)
{
	const struct fwd_rule *r = &ls->table->rule[rule];

	for (unsigned p = r->first; p <= r->last; p++) {
		const struct listener *l = listener_find(ls, rule, (uint16_t)p);

		assert_non_null(l);
		assert_int_equal(l - ls->l, ls->first[rule] + (p - r->first));
		assert_int_equal(l->fd, -1);
		assert_int_equal(l->rule, rule);
		assert_int_equal(l->port, p);
		assert_int_equal(l->to, r->to + (p - r->first));
	}
	return ls->first[rule];
}

/* Rules that come and go: others stay where they are, gaps are filled, and a place that is free is no rule. */
static void test_rules_later(void **state)
{
	struct fwd_rule small = rule_of("100-101:200-201"), large = rule_of("1000-1009");
	struct fwd_table tab = { .n = 0 };
	struct listeners ls;
	unsigned rule;

	table(&tab, "80-83");
	table(&tab, "90");
	table(&tab, "91");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);
	assert_int_equal(fake->in_loop, 6);
	listeners_rule_remove(&ls, 0);
	assert_int_equal(fake->in_loop, 2);
	assert_int_equal(fake->open, 2);
	assert_null(listener_find(&ls, 0, 80));
	assert_int_equal(listener_open(&ls, 0, 80), -EINVAL);
	assert_int_equal(ls.l[4].port, 90);

	assert_int_equal(listeners_rule_add(&ls, &large, &rule), 0);
	assert_int_equal(rule, 0);
	assert_int_equal(place_of(&ls, rule), 6);
	assert_int_equal(listeners_rule_add(&ls, &small, &rule), 0);
	assert_int_equal(rule, 3);
	assert_int_equal(place_of(&ls, rule), 0);
	assert_int_equal(listeners_rule_add(&ls, &small, &rule), 0);
	assert_int_equal(place_of(&ls, rule), 2);
	assert_int_equal(tab.n, 5);

	assert_int_equal(listener_open(&ls, 0, 1003), 0);
	assert_int_equal(fake->in_loop, 3);
	assert_int_equal(fake_get(listener_find(&ls, 0, 1003)->fd)->ref.index, 9);
	listeners_rule_remove(&ls, 4);
	listeners_rule_remove(&ls, 3);
	assert_int_equal(tab.n, 3);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
}

static void test_no_room(void **state)
{
	struct fwd_rule all = rule_of("1-65535"), one = rule_of("1");
	struct fwd_table tab = { .n = 0 };
	struct listeners ls;
	unsigned rule, n;

	table(&tab, "80");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	for (n = 0; n < 4; n++)
		assert_int_equal(listeners_rule_add(&ls, &all, &rule), 0);
	assert_int_equal(listeners_rule_add(&ls, &all, &rule), 0);
	assert_int_equal(listeners_rule_add(&ls, &all, &rule), -E2BIG);
	listeners_rule_remove(&ls, 2);
	assert_int_equal(listeners_rule_add(&ls, &all, &rule), 0);
	assert_int_equal(rule, 2);
	listeners_close(&ls);

	tab.n = 0;
	table(&tab, "80");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	for (n = 1; n < FWD_PLACES; n++)
		assert_int_equal(listeners_rule_add(&ls, &one, &rule), 0);
	assert_int_equal(listeners_rule_add(&ls, &one, &rule), -ENOSPC);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
}

/* A socket that changes its rule stays the same, and its events are those of the new one. */
static void test_move(void **state)
{
	struct fwd_rule other = rule_of("80:81");
	struct fwd_table tab = { .n = 0 };
	struct listener *from, *to;
	struct listeners ls;
	unsigned rule;
	int fd;

	table(&tab, "80");
	assert_int_equal(listeners_open(&ls, &tab, NULL), 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);
	assert_int_equal(listeners_rule_add(&ls, &other, &rule), 0);
	from = listener_find(&ls, 0, 80);
	to = listener_find(&ls, rule, 80);
	fd = from->fd;
	assert_int_equal(listener_move(&ls, from, to), 0);
	assert_int_equal(from->fd, -1);
	assert_int_equal(to->fd, fd);
	assert_int_equal(to->v6, 1);
	assert_int_equal(fake_get(fd)->ref.index, 1);
	assert_int_equal(listener_move(&ls, from, to), -EINVAL);
	assert_int_equal(listener_move(&ls, to, to), -EINVAL);
	listeners_rule_remove(&ls, 0);
	assert_int_equal(fake->open, 1);
	listeners_close(&ls);
	assert_int_equal(fake->open, 0);
}

/* One that can't be watched again yet is tried until it can be; one that can't be left alone is not taken for one that is. */
static void test_pause_fails(void **state)
{
	struct fwd_table t = { .n = 0 };
	struct listeners ls;

	table(&t, "80-81");
	loop.now_ns = 5 * NSEC_PER_SEC;
	timers_init(&loop.timers, loop.now_ns);
	assert_int_equal(listeners_open(&ls, &t, NULL), 0);
	assert_int_equal(listeners_start(&ls, &loop, OWNER_TCP, OWNER_UDP), 0);

	fake->mods_failing = 1;
	listener_pause(&ls, 0);
	assert_int_equal(fake_get(ls.l[0].fd)->events, EPOLLIN);
	assert_int_equal(ls.l[0].paused, 0);
	assert_string_equal(fake->line[0], "W Can't watch port 80: Cannot allocate memory");

	listener_pause(&ls, 0);
	listener_pause(&ls, 1);
	fake->mods_failing = 4;
	for (unsigned i = 1; i <= 3; i++) {
		loop.now_ns += NSEC_PER_SEC + 2 * NSEC_PER_MSEC;
		timers_run(&loop.timers, loop.now_ns);
		assert_int_equal(timer_armed(&ls.retry), i < 3);
		for (unsigned k = 0; k < 2; k++) {
			assert_int_equal(fake_get(ls.l[k].fd)->events, i < 3 ? 0 : EPOLLIN);
			assert_int_equal(ls.l[k].paused, i < 3);
		}
	}
	listeners_close(&ls);
	assert_int_equal(loop.timers.armed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_rules_later, setup),
		cmocka_unit_test_setup(test_no_room, setup),
		cmocka_unit_test_setup(test_move, setup),
		cmocka_unit_test_setup(test_pause_fails, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
