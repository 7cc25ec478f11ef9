/* SPDX-License-Identifier: MIT */
#include "fake_faults.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#define SKIPS 8

struct faults {
	fake_fault_fn *fn;
	unsigned variants;
};

static void test_all(void **state)
{
	const struct faults *f = *state;
	static const int errs[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN, EINTR, EPERM };

	for (enum fake_call call = 0; call < FAKE_CALLS; call++) {
		for (unsigned i = 0; call != FAKE_CLOSE && i < ARRAY_SIZE(errs) * SKIPS; i++) {
			unsigned e = i / SKIPS, skip = i % SKIPS, turn = e + skip * 3u + (unsigned)call;

			f->fn(&(struct fake_fault){ call, errs[e], skip, turn & 1 ? 1 : 4, turn % f->variants });
		}
	}
}

static void test_variants(void **state)
{
	const struct faults *f = *state;

	for (enum fake_call call = 0; call < FAKE_CALLS; call++) {
		for (unsigned v = 0; call != FAKE_CLOSE && v < 2 * f->variants; v++)
			f->fn(&(struct fake_fault){ call, ENOMEM, v % 3, v < f->variants ? 1 : 4, v % f->variants });
	}
}

int fake_faults_run(fake_fault_fn *fn, unsigned variants)
{
	struct faults f = { fn, variants };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(test_all, &f),
		cmocka_unit_test_prestate(test_variants, &f),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

void fake_fault_begin(const struct fake_fault *x)
{
	fake_fail(x->call, -1, x->err, x->skip, x->times);
}

void fake_fault_end(const struct fake_fault *x)
{
	fake_fail(x->call, -1, 0, 0, 0);
}
