/* SPDX-License-Identifier: MIT */
/* How descriptors are shared: never more than there are, as far as that is possible, and always something of everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/budget.h"

#define STOCKS 4

static uint64_t used(const struct budget *b)
{
	return b->flows + UINT64_C(2) * b->splices + UINT64_C(2) * b->pipes + b->peers + (uint64_t)STOCKS * b->stock +
	       2 * b->ready + BUDGET_SPARE;
}

static void full(const struct budget *b)
{
	assert_int_equal(b->splices, BUDGET_SPLICES);
	assert_int_equal(b->pipes, BUDGET_PIPES);
	assert_int_equal(b->peers, BUDGET_PEERS);
	assert_int_equal(b->stock, BUDGET_STOCK);
}

static void test_enough(void **state)
{
	struct budget b = budget_share(budget_want(1000, false), 1000, false, true);

	assert_int_equal(b.flows, BUDGET_FLOWS);
	assert_int_equal(b.splices + b.pipes + b.peers + b.stock, 0);
	b = budget_share(budget_want(1000, true), 1000, true, true);
	assert_int_equal(b.flows, BUDGET_FLOWS);
	full(&b);
	assert_int_equal(used(&b), budget_want(0, true));
	b = budget_share(budget_want(0, true) - 1, 0, true, true);
	assert_true(b.flows < BUDGET_FLOWS);
	/* Nobody has flows without an interface. */
	b = budget_share(50000, 0, true, false);
	full(&b);
	assert_true(b.flows < 100);
}

static void test_limits(void **state)
{
	struct budget before = { 0 };

	for (uint64_t limit = 0; limit < 200000; limit += limit / 50 + 1) {
		for (unsigned loopback = 0; loopback < 2; loopback++) {
			struct budget b = budget_share(limit, 100, loopback, true);

			assert_true(b.flows >= 64);
			assert_int_equal(!b.splices, !loopback);
			assert_int_equal(!b.pipes, !loopback);
			assert_int_equal(!b.peers, !loopback);
			assert_int_equal(!b.stock, !loopback);
			if (limit >= (loopback ? 600 : 300))
				assert_true(used(&b) + 100 <= limit);
			if (!loopback)
				continue;
			assert_true(b.flows >= before.flows && b.splices >= before.splices && b.pipes >= before.pipes);
			assert_true(b.peers >= before.peers && b.stock >= before.stock);
			before = b;
		}
	}
}

/* What is usual. */
static void test_usual(void **state)
{
	struct budget b = budget_share(4096, 10, true, true);

	assert_in_range(b.flows, 2000, 3000);
	assert_in_range(b.splices, 500, 700);
	b = budget_share(524288, 28000, true, true);
	full(&b);
	b = budget_share(1024, 0, false, true);
	assert_int_equal(b.flows, 1024 - BUDGET_SPARE - 2 * b.ready);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_usual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
