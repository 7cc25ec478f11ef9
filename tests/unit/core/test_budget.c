/* SPDX-License-Identifier: MIT */
/* How descriptors are shared: never more than there are, as far as that is possible, and always something of everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/budget.h"

#define STOCKS 4
#define ALL (BUDGET_LOOPBACK | BUDGET_LINK)
#define HAND (ALL | BUDGET_HANDOVER)

static uint64_t used(const struct budget *b, unsigned what)
{
	uint64_t stocks = STOCKS + (what & BUDGET_HANDOVER ? 2 : 0);

	return b->flows + UINT64_C(2) * b->splices + UINT64_C(2) * b->pipes + b->peers + stocks * b->stock + 2 * b->ready +
	       BUDGET_SPARE;
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
	struct budget b = budget_share(budget_want(1000, BUDGET_LINK), 1000, BUDGET_LINK);

	assert_int_equal(b.flows, BUDGET_FLOWS);
	assert_int_equal(b.splices + b.pipes + b.peers + b.stock, 0);
	b = budget_share(budget_want(1000, ALL), 1000, ALL);
	assert_int_equal(b.flows, BUDGET_FLOWS);
	full(&b);
	assert_int_equal(used(&b, ALL), budget_want(0, ALL));
	b = budget_share(budget_want(0, ALL) - 1, 0, ALL);
	assert_true(b.flows < BUDGET_FLOWS);
	/* Nobody has flows without an interface. */
	b = budget_share(50000, 0, BUDGET_LOOPBACK);
	full(&b);
	assert_true(b.flows < 100);
}

/* Connections are pairs of sockets then. */
static void test_handover(void **state)
{
	struct budget b = budget_share(budget_want(0, HAND), 0, HAND);

	assert_int_equal(b.splices, BUDGET_FLOWS);
	assert_int_equal(b.flows, BUDGET_SPLICES);
	assert_int_equal(used(&b, HAND), budget_want(0, HAND));
	b = budget_share(20000, 0, HAND);
	assert_in_range(b.splices, 8000, 9500);
}

static void test_limits(void **state)
{
	static const unsigned kind[] = { BUDGET_LINK, ALL, HAND };
	struct budget before[ARRAY_SIZE(kind)] = { 0 };

	for (uint64_t limit = 0; limit < 200000; limit += limit / 50 + 1) {
		for (unsigned i = 0; i < ARRAY_SIZE(kind); i++) {
			bool loopback = kind[i] & BUDGET_LOOPBACK;
			struct budget b = budget_share(limit, 100, kind[i]);

			assert_true(b.flows >= 64);
			assert_int_equal(!b.splices, !loopback);
			assert_int_equal(!b.pipes, !loopback);
			assert_int_equal(!b.peers, !loopback);
			assert_int_equal(!b.stock, !loopback);
			if (limit >= (loopback ? 610 : 300))
				assert_true(used(&b, kind[i]) + 100 <= limit);
			assert_true(b.flows >= before[i].flows && b.splices >= before[i].splices && b.pipes >= before[i].pipes);
			assert_true(b.peers >= before[i].peers && b.stock >= before[i].stock);
			before[i] = b;
		}
	}
}

/* What is usual. */
static void test_usual(void **state)
{
	struct budget b = budget_share(4096, 10, ALL);

	assert_in_range(b.flows, 2000, 3000);
	assert_in_range(b.splices, 500, 700);
	b = budget_share(524288, 28000, ALL);
	full(&b);
	b = budget_share(1024, 0, BUDGET_LINK);
	assert_int_equal(b.flows, 1024 - BUDGET_SPARE - 2 * b.ready);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_handover),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_usual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
