/* SPDX-License-Identifier: MIT */
/*
 * Whatever call of the system fails, and when: no connection and no descriptor is left behind, no byte is lost in the middle, what is cut
 * short does not look like an orderly end, and the next connection is served.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/log.h"
#include "fake_faults.h"
#include "splice_sim.h"

enum { COPIED = 1, SLOW = 2, SERVER_ENDS = 4, RESET = 8, VARIANTS = 16 };

#define ROUNDS 40 /* of acknowledgements: more than it takes */

static bool all_came(struct fake_stream *const end[2])
{
	return end[0]->out_len == end[1]->in_total && end[1]->out_len == end[0]->in_total;
}

/* A connection with all that one can have, as far as it gets. */
static void life(struct splice_sim *x, unsigned variant, struct fake_stream *end[2])
{
	unsigned first = variant & SERVER_ENDS ? 1 : 0;

	splice_sim_open(x, end);
	splice_sim_push(end, 0, 100); /* before there is anybody to pass it on to */
	splice_sim_settle(x);
	if (!end[1] || end[1]->state != FAKE_S_CONNECTING)
		return;
	fake_stream_connected(end[1]);
	for (unsigned i = 0; i < 2; i++) {
		end[i]->size = variant & SLOW ? 5000 : end[i]->size;
		splice_sim_push(end, i, 10000);
	}
	splice_sim_settle(x);
	splice_sim_push(end, !first, 70000); /* more than a pipe holds */
	/* Each acknowledgement makes some room again. */
	for (unsigned i = 0; i < ROUNDS && !all_came(end); i++) {
		fake_stream_ack(end[0], SIZE_MAX);
		fake_stream_ack(end[1], SIZE_MAX);
		splice_sim_settle(x);
	}
	if (variant & RESET)
		fake_stream_rst(end[first]);
	else
		fake_stream_fin(end[first]);
	splice_sim_settle(x);
	splice_sim_push(end, !first, 1000);
	splice_sim_settle(x);
	fake_stream_fin(end[!first]);
	fake_stream_ack(end[first], SIZE_MAX);
	splice_sim_settle(x);
}

static void with_fault(const struct fake_fault *x)
{
	struct splice_sim sim;
	struct fake_stream *end[2];

	splice_sim_init(&sim, &(struct splice_conf){ .max = 2, .pipes_max = x->variant & COPIED ? 0 : 3, .pipes_big = 1 });
	fake_fault_begin(x);
	life(&sim, x->variant, end);
	fake_fault_end(x);
	splice_sim_check(end);
	/* Of what is left, somebody has not heard: a call said that there was nothing where there was something. */
	splice_sim_reset(&sim, end);
	assert_int_equal(splice_stats(sim.s)->now, 0);

	/* Service goes on. */
	life(&sim, x->variant & ~(unsigned)RESET, end);
	splice_sim_check(end);
	assert_true(end[0]->fin_out && end[1]->fin_out);
	assert_int_equal(splice_stats(sim.s)->now, 0);
	splice_sim_fini(&sim);
}

int main(void)
{
	log_set_level(LOG_LVL_ERR);
	return fake_faults_run(with_fault, VARIANTS);
}
