/* SPDX-License-Identifier: MIT */
/* Each call of the system fails in turn: what tests of the translators have in common for that. */
#pragma once

#include "fake_sock.h"

/* Of one kind of call, after skip that succeed, times fail. */
struct fake_fault {
	enum fake_call call;
	int err; /* positive errno */
	unsigned skip, times;
	unsigned variant; /* of the test: 0..variants - 1 */
};

typedef void fake_fault_fn(const struct fake_fault *x);

/*
 * Runs two tests, as main() does. One has every call with every error, at the first times that it is made, as those differ; variants take
 * turns. The other has every call in every variant, with one error that means the same for all of them.
 */
int fake_faults_run(fake_fault_fn *fn, unsigned variants);

/* It fails from now on; it does not any more. */
void fake_fault_begin(const struct fake_fault *x);
void fake_fault_end(const struct fake_fault *x);
