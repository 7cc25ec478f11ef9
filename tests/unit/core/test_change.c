/* SPDX-License-Identifier: MIT */
/* Changes of rules with sockets that are none: what is opened, moved and closed, and what a failure leaves behind. */
#include "core/change.h"

#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <cmocka.h>
#include <unistd.h>

static struct loop loop;
static struct fwd_table table;
static struct listeners ls;
static struct change change;
static struct ctl_plan plan;
static unsigned bad_port, later_port, busy, done, added, gone;
static bool ok;

/* Anything that can be waited for will do. */
static int place_open(void *ctx, const struct bound_spec *s, int *ret_fd, bool *ret_v6)
{
	if (s->port == bad_port)
		return -EADDRINUSE;
	*ret_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	*ret_v6 = s->dual;
	return *ret_fd < 0 ? -errno : 0;
}

static int on_open(void *ctx, enum ctl_table t, unsigned rule, uint16_t port)
{
	if (busy && busy--)
		return -EAGAIN;
	return port == later_port ? -EINPROGRESS : listener_open(&ls, rule, port);
}

static void on_close(void *ctx, enum ctl_table t, unsigned rule, uint16_t port)
{
	listener_close(&ls, rule, port);
}

static void on_release(void *ctx, enum ctl_table t, unsigned rule, uint16_t port)
{
	assert_true(listener_find(&ls, rule, port)->fd >= 0);
}

static void on_added(void *ctx, enum ctl_table t, unsigned rule)
{
	added++;
}

static void on_gone(void *ctx, enum ctl_table t, unsigned rule)
{
	gone++;
}

static void on_done(void *ctx, bool all)
{
	done++;
	ok = all;
}

static void rules(struct fwd_table *t, const char *specs)
{
	struct fwd_ctx c = { .opt = "-t", .proto = IPPROTO_TCP, .v4 = true, .v6 = true, .pasta = true };
	char text[256], err[FWD_ERR_LEN], *save = NULL;

	memset(t, 0, sizeof(*t));
	snprintf(text, sizeof(text), "%s", specs);
	for (char *s = strtok_r(text, " ", &save); s; s = strtok_r(NULL, " ", &save))
		assert_int_equal(fwd_parse(&c, s, t, err), 0);
}

static void start(const char *specs)
{
	struct listen_place place = { .name = "HOST", .open = place_open };
	struct change_conf c = { .loop = &loop, .ls = { &ls }, .open = on_open, .close = on_close, .release = on_release };

	c.added = on_added;
	c.gone = on_gone;
	c.done = on_done;
	assert_int_equal(loop_init(&loop), 0);
	rules(&table, specs);
	assert_int_equal(listeners_open(&ls, &table, &place), 0);
	assert_int_equal(listeners_start(&ls, &loop, 1, 2), 0);
	change_init(&change, &c);
	bad_port = later_port = busy = done = added = gone = 0;
}

static void end(void)
{
	assert_false(change_busy(&change));
	listeners_close(&ls);
	loop_fini(&loop);
}

/* All rules are replaced by these, but those that are the same. */
static void replace(const char *specs)
{
	struct ctl_rules c = { .v4 = true, .v6 = true, .pasta = true, .tcp = true, .udp = true };
	const struct fwd_table *const now[] = { &table, NULL };
	char text[256], *save = NULL;
	json_t *steps = json_pack("[{s:s}]", "clear", "in");

	snprintf(text, sizeof(text), "%s", specs);
	for (char *s = strtok_r(text, " ", &save); s; s = strtok_r(NULL, " ", &save))
		json_array_append_new(steps, json_pack("{s:{s:s, s:s, s:s}}", "add", "table", "in", "proto", "tcp", "spec", s));
	assert_int_equal(ctl_plan(&c, now, steps, &plan), 0);
	json_decref(steps);
	assert_int_equal(change_start(&change, &plan), 0);
}

static void turns(void)
{
	for (unsigned i = 0; i < 10000 && change_busy(&change) && loop.timers.armed; i++)
		assert_int_equal(loop_turn(&loop), 0);
}

/* The one open socket of a port, or -1. */
static int fd_of(uint16_t port)
{
	int fd = -1;

	for (unsigned i = 0; i < table.n; i++) {
		const struct listener *l = listener_find(&ls, i, port);

		if (!l || l->fd < 0)
			continue;
		assert_int_equal(fd, -1);
		fd = l->fd;
	}
	return fd;
}

static enum change_verdict verdict(const char *spec)
{
	char buf[100];

	for (unsigned i = 0; i < plan.n; i++) {
		if (!strcmp(fwd_rule_fmt(&plan.item[i].rule, buf, sizeof(buf)), spec))
			return change.result[i].verdict;
	}
	return CHANGE_NONE;
}

static void test_replaced(void **state)
{
	int stays, moves;

	start("80 90-99:190-199 100");
	stays = fd_of(80);
	moves = fd_of(95);
	replace("80 95 200-500");
	turns();
	assert_int_equal(done, 1);
	assert_true(ok);
	assert_int_equal(fd_of(80), stays);
	assert_int_equal(fd_of(95), moves);
	assert_int_equal(fd_of(94), -1);
	assert_int_equal(fd_of(100), -1);
	assert_int_equal(listeners_held(&ls), 1 + 1 + 301);
	assert_int_equal(verdict("*/80"), CHANGE_KEPT);
	assert_int_equal(verdict("*/95"), CHANGE_BOUND);
	assert_int_equal(verdict("*/100"), CHANGE_REMOVED);
	assert_int_equal(added, 2);
	assert_int_equal(gone, 2);
	end();
}

/* Sockets that had changed their rule go back, those that had been closed are opened again, new ones are closed. */
static void test_undone(void **state)
{
	int moved, untouched;

	start("80 90-99:190-199 0.0.0.0/100");
	moved = fd_of(95);
	untouched = fd_of(91);
	bad_port = 333;
	replace("80 95 127.0.0.1/100 200-500");
	turns();
	assert_int_equal(done, 1);
	assert_false(ok);
	assert_int_equal(fd_of(95), moved);
	assert_int_equal(fd_of(91), untouched);
	assert_true(fd_of(100) >= 0);
	assert_int_equal(listeners_held(&ls), 12);
	assert_int_equal(table.n, 3);
	assert_int_equal(verdict("*/200-500"), CHANGE_FAILED);
	assert_int_equal(verdict("*/95"), CHANGE_UNDONE);
	assert_int_equal(verdict("0.0.0.0/100"), CHANGE_UNDONE);
	assert_int_equal(added, gone);
	/* The same without the port that failed. */
	bad_port = 0;
	replace("80 95 127.0.0.1/100 200-500");
	turns();
	assert_true(ok);
	assert_int_equal(listeners_held(&ls), 304);
	end();
}

/* A port that had to be closed, and then is somebody else's. */
static void test_lost(void **state)
{
	start("0.0.0.0/100");
	bad_port = 100;
	replace("127.0.0.1/100");
	turns();
	assert_false(ok);
	assert_int_equal(verdict("127.0.0.1/100"), CHANGE_FAILED);
	assert_int_equal(verdict("0.0.0.0/100"), CHANGE_LOST);
	assert_int_equal(listeners_held(&ls), 0);
	end();
}

/* Whoever opens ports may need a while, or have too much to do; success or not is known at the end. */
static void test_later(void **state)
{
	for (int err = 0; err >= -EACCES; err -= EACCES) {
		unsigned rule;

		start("80");
		later_port = 91;
		busy = 3;
		replace("80 90-92");
		turns();
		assert_int_equal(busy, 0);
		assert_int_equal(done, 0);
		assert_true(change_busy(&change));
		rule = change.result[plan.n - 1].place;
		change_opened(&change, CTL_IN, rule + 1, 91, 0);
		assert_int_equal(change.pending, 1);
		if (!err)
			assert_int_equal(listener_open(&ls, rule, 91), 0);
		change_opened(&change, CTL_IN, rule, 91, err);
		turns();
		assert_int_equal(done, 1);
		assert_int_equal(ok, !err);
		assert_int_equal(listeners_held(&ls), err ? 1 : 4);
		assert_int_equal(change.result[plan.n - 1].err, err);
		end();
	}
}

static void test_partly(void **state)
{
	start("80");
	bad_port = 7;
	replace("all,~10-65535");
	turns();
	assert_true(ok);
	assert_int_equal(change.result[plan.n - 1].verdict, CHANGE_PARTLY);
	assert_int_equal(listeners_held(&ls), 8);
	/* Of none of them one can be had. */
	replace("all,~1-6,~8-65535");
	turns();
	assert_false(ok);
	assert_int_equal(listeners_held(&ls), 8);
	end();
}

/* Rules that open their ports by themselves come into their table when everything else is done. */
static void test_auto(void **state)
{
	start("80");
	replace("90-99,auto");
	turns();
	assert_true(ok);
	assert_int_equal(verdict("*/90-99,auto"), CHANGE_AUTO);
	assert_int_equal(listeners_held(&ls), 0);
	assert_int_equal(added, 1);
	assert_int_equal(gone, 1);
	bad_port = 5;
	replace("5");
	turns();
	assert_false(ok);
	assert_int_equal(verdict("*/90-99,auto"), CHANGE_UNDONE);
	end();
}

/* A UNIX socket that leads to another port is the same one, and goes back if that was in vain. */
static void test_path(void **state)
{
	char dir[] = "/tmp/test_change.XXXXXX", path[64], old[100], new[100];
	int fd;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	snprintf(old, sizeof(old), "%s:80", path);
	start(old);
	fd = fd_of(80);
	assert_true(fd >= 0);
	snprintf(new, sizeof(new), "%s:81", path);
	replace(new);
	turns();
	assert_true(ok);
	assert_int_equal(fd_of(81), fd);
	assert_int_equal(verdict(new), CHANGE_BOUND);
	assert_int_equal(verdict(old), CHANGE_REMOVED);
	assert_int_equal(listeners_held(&ls), 1);

	bad_port = 333;
	strcat(old, " 333");
	replace(old);
	turns();
	assert_false(ok);
	assert_int_equal(fd_of(81), fd);
	assert_int_equal(listeners_held(&ls), 1);
	end();
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replaced), cmocka_unit_test(test_undone), cmocka_unit_test(test_lost),
		cmocka_unit_test(test_later),    cmocka_unit_test(test_partly), cmocka_unit_test(test_auto),
		cmocka_unit_test(test_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
