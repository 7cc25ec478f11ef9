/* SPDX-License-Identifier: MIT */
/* The stock of pipes, over pipes that are not there: what the kernel gives depends on what all processes of a user have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "tcp/pipe_pool.h"

#define MAX_PIPES 100

/* The kernel. */
static struct {
	int next; /* descriptor */
	unsigned open, big, tried;
	uint32_t size; /* of a new pipe */
	int open_err, resize_err;
} kernel;

int pipe_open(struct pipe *ret_pipe)
{
	kernel.tried++;
	if (kernel.open_err)
		return kernel.open_err;
	kernel.open++;
	*ret_pipe = (struct pipe){ .rd = kernel.next, .wr = kernel.next + 1, .size = kernel.size };
	kernel.next += 2;
	return 0;
}

void pipe_close(struct pipe *p)
{
	assert_true(p->rd >= 0);
	assert_true(kernel.open > 0);
	kernel.open--;
	kernel.big -= p->size == PIPE_POOL_BIG;
	*p = PIPE_NONE;
}

int pipe_resize(struct pipe *p, uint32_t size)
{
	if (kernel.resize_err)
		return kernel.resize_err;
	p->size = size;
	kernel.big++;
	return 0;
}

static struct pipe_pool pp;
static struct pipe held[MAX_PIPES];

static int setup(void **state)
{
	memset(&kernel, 0, sizeof(kernel));
	kernel.next = 3;
	kernel.size = 65536;
	pipe_pool_init(&pp, MAX_PIPES, 8);
	return 0;
}

static int teardown(void **state)
{
	pipe_pool_fini(&pp);
	assert_int_equal(kernel.open, 0);
	assert_int_equal(pp.open, 0);
	assert_int_equal(pp.big, 0);
	return 0;
}

static unsigned get(unsigned n)
{
	unsigned got = 0;

	while (got < n && pipe_pool_get(&pp, &held[got]))
		got++;
	return got;
}

static void put(unsigned n, bool empty)
{
	while (n--) {
		pipe_pool_put(&pp, &held[n], empty);
		assert_int_equal(held[n].rd, -1);
	}
}

static void test_stock(void **state)
{
	for (unsigned round = 0; round < 3; round++) {
		assert_int_equal(get(MAX_PIPES), MAX_PIPES);
		assert_false(pipe_pool_get(&pp, &(struct pipe){ 0 }));
		assert_int_equal(kernel.big, 8);
		put(MAX_PIPES, true);
		assert_int_equal(kernel.open, PIPE_POOL_KEEP);
	}
	assert_int_equal(kernel.tried, MAX_PIPES + 2 * (MAX_PIPES - PIPE_POOL_KEEP));
	pipe_pool_trim(&pp, 4);
	assert_int_equal(kernel.open, 4);
	assert_int_equal(get(4), 4);
	put(4, true);
	assert_int_equal(kernel.open, 4);
}

/* What holds data is of no use to anybody else. */
static void test_not_empty(void **state)
{
	assert_int_equal(get(3), 3);
	put(3, false);
	assert_int_equal(kernel.open, 0);
}

/* After so many requests without one, it is tried again. */
static void wait_out(void)
{
	unsigned tried = kernel.tried;

	for (unsigned i = 0; i < PIPE_POOL_PAUSE; i++)
		assert_false(pipe_pool_get(&pp, &held[0]));
	assert_int_equal(kernel.tried, tried);
}

/* A pipe that holds next to nothing is not taken, and the kernel not asked for another at once; one day there are better ones. */
static void test_budget_spent(void **state)
{
	kernel.size = 8192;
	kernel.resize_err = -EPERM;
	for (unsigned round = 0; round < 3; round++) {
		assert_false(pipe_pool_get(&pp, &held[0]));
		assert_int_equal(kernel.tried, round + 1);
		assert_int_equal(kernel.open, 0);
		wait_out();
	}
	kernel.size = 65536;
	kernel.resize_err = 0;
	assert_int_equal(get(10), 10);
	assert_int_equal(kernel.big, 8);
	put(10, true);
}

/* Some are as large as usual, but not larger: good enough, and larger ones come when there are some. */
static void test_no_big_ones(void **state)
{
	kernel.resize_err = -EPERM;
	assert_int_equal(get(3), 3);
	assert_int_equal(kernel.big, 0);
	kernel.resize_err = 0;
	assert_true(pipe_pool_get(&pp, &held[3]));
	assert_int_equal(kernel.big, 1);
	put(4, true);
}

/* What is in stock is given out all the same. */
static void test_no_descriptors(void **state)
{
	assert_int_equal(get(2), 2);
	put(2, true);
	kernel.open_err = -EMFILE;
	assert_int_equal(get(5), 2);
	wait_out();
	put(2, true);
	assert_int_equal(get(5), 2);
	kernel.open_err = 0;
	wait_out();
	assert_true(pipe_pool_get(&pp, &held[2]));
	put(3, true);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_stock), T(test_not_empty), T(test_budget_spent), T(test_no_big_ones), T(test_no_descriptors),
	};
#undef T

	return cmocka_run_group_tests(tests, NULL, NULL);
}
