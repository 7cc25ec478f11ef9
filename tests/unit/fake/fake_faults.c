/* SPDX-License-Identifier: MIT */
#include "fake_faults.h"

#include <errno.h>

#define SKIPS 8

void fake_faults_all(fake_fault_fn *fn, unsigned variants)
{
	static const int errs[] = { EMFILE, ENFILE, ENOBUFS, ENOMEM, EAGAIN, EINTR, EPERM };

	for (enum fake_call call = 0; call < FAKE_CALLS; call++) {
		for (unsigned i = 0; call != FAKE_CLOSE && i < ARRAY_SIZE(errs) * SKIPS; i++) {
			unsigned e = i / SKIPS, skip = i % SKIPS, turn = e + skip * 3u + (unsigned)call;

			fn(&(struct fake_fault){ call, errs[e], skip, turn & 1 ? 1 : 4, turn % variants });
		}
	}
}

void fake_faults_variants(fake_fault_fn *fn, unsigned variants)
{
	for (enum fake_call call = 0; call < FAKE_CALLS; call++) {
		for (unsigned v = 0; call != FAKE_CLOSE && v < 2 * variants; v++)
			fn(&(struct fake_fault){ call, ENOMEM, v % 3, v < variants ? 1 : 4, v % variants });
	}
}

void fake_fault_begin(const struct fake_fault *x)
{
	fake_fail(x->call, -1, x->err, x->skip, x->times);
}

void fake_fault_end(const struct fake_fault *x)
{
	fake_fail(x->call, -1, 0, 0, 0);
}
