/* SPDX-License-Identifier: MIT */
/*
 * The splice engine between clients, servers and a system that do whatever the input says, among the fakes of the unit tests: nothing is
 * lost in the middle, what is cut short does not look like an orderly end, nothing spins, and nothing is left of connections and pipes.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/rd.h"
#include "splice_sim.h"
#include "stream_event.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CONNS 6 /* of which the engine has room for less at once */
#define BYTES_MAX (1u << 20) /* that one end sends */

struct fuzz {
	struct splice_sim x;
	struct rd r;
	struct fake_stream *end[CONNS][2];
};

static void op_open(struct fuzz *z)
{
	struct fake_stream **end = z->end[rd_u8(&z->r) % CONNS];

	if (end[0])
		splice_sim_reset(&z->x, end);
	splice_sim_open(&z->x, end);
}

/* Of a socket that waits for its connection only that, or its end, can be told. */
static void op_end(struct fuzz *z)
{
	uint8_t which = rd_u8(&z->r), what = rd_u8(&z->r);
	struct fake_stream **end = z->end[which % CONNS], *s = end[which >> 7];
	uint16_t n = rd_be16(&z->r);

	if (!s)
		return;
	if (s->state == FAKE_S_CONNECTING && what & 0x80)
		fake_stream_fail(s, ECONNREFUSED);
	else if (s->state == FAKE_S_CONNECTING)
		fake_stream_connected(s);
	else if (!stream_event(s, what, n) && s->in_total < BYTES_MAX)
		splice_sim_push(end, which >> 7, n);
}

static void op_fail(struct fuzz *z)
{
	static const enum fake_call calls[] = {
		FAKE_OPEN,      FAKE_ACCEPT,    FAKE_CONNECT,    FAKE_SETOPT,    FAKE_LINGER,    FAKE_SHUTDOWN,
		FAKE_SEND,      FAKE_RECV,      FAKE_INFO,       FAKE_EPOLL_ADD, FAKE_EPOLL_DEL, FAKE_PIPE_OPEN,
		FAKE_PIPE_SIZE, FAKE_PIPE_FILL, FAKE_PIPE_DRAIN, FAKE_DISCARD,
	};
	static const int errs[] = { EAGAIN, ECONNRESET, EPIPE, ENOMEM, ENOBUFS, EINTR, EMFILE, EPERM };
	uint8_t what = rd_u8(&z->r), which = rd_u8(&z->r);

	fake_fail(calls[what % ARRAY_SIZE(calls)], -1, errs[which % ARRAY_SIZE(errs)], which >> 6, 1 + (which >> 4 & 3));
}

/* Several things may come at once. */
static void op_settle(struct fuzz *z)
{
	splice_sim_settle(&z->x);
}

static void op(struct fuzz *z)
{
	static void (*const ops[])(struct fuzz *) = { op_end, op_settle, op_open, op_fail, op_end };
	struct splice_show show;
	uint32_t slot = 0;

	ops[rd_u8(&z->r) % ARRAY_SIZE(ops)](z);
	for (; splice_next(z->x.s, &slot, splice_max(z->x.s), &show); slot++)
		assert_true(show.bytes[0] <= BYTES_MAX + UINT16_MAX && show.bytes[1] <= BYTES_MAX + UINT16_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct fuzz z;
	uint8_t conf;

	setenv("CMOCKA_TEST_ABORT", "1", 1);
	log_set_level(LOG_LVL_ERR);
	memset(&z, 0, sizeof(z));
	z.r = rd_init(data, len);
	conf = rd_u8(&z.r);
	splice_sim_init(&z.x, &(struct splice_conf){ .max = 4, .pipes_max = conf & 3, .pipes_big = conf >> 2 & 1 });
	while (rd_left(&z.r))
		op(&z);
	for (unsigned i = 0; i < FAKE_CALLS; i++)
		fake_os.fail[i].times = 0;
	splice_sim_settle(&z.x);
	for (unsigned i = 0; i < CONNS; i++) {
		splice_sim_check(z.end[i]);
		splice_sim_reset(&z.x, z.end[i]);
	}
	assert_int_equal(splice_stats(z.x.s)->now, 0);
	splice_sim_fini(&z.x);
	return 0;
}
