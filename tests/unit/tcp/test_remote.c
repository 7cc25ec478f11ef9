/* SPDX-License-Identifier: MIT */
/* What the guest is told of its data, on paths with and without delay. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

#define PART 1000
#define RTT_US 20000u
#define HOLD_NS (RTT_US * 5 / 4 * NSEC_PER_USEC)

static void send_part(struct world *w, uint8_t flags)
{
	uint8_t buf[PART];

	pattern_fill(DIR_UP, w->seq - w->iss - 1, buf, sizeof(buf));
	conn_send(w, flags, buf, sizeof(buf));
	world_turn(w);
}

static void begin(struct world *w, uint32_t rtt_us)
{
	world_init(w, &(struct world_conf){ .rtt_us = rtt_us });
	conn_open_out(w);
	w->s->size = 1 << 20;
}

static void end(struct world *w)
{
	host_check(w->s);
	conn_kill(w);
	world_fini(w);
}

/* What is short costs nothing, with a connection from the guest; the time that connect() took tells. */
static void test_short_path(void **state)
{
	struct world w;

	begin(&w, TCP_REFLECT_RTT_US - 1000);
	for (unsigned i = 0; i < 100; i++) {
		send_part(&w, TCP_ACK);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		fake_stream_ack(w.s, PART);
	}
	assert_int_equal(fake_os.calls[FAKE_INFO], 0);
	assert_int_equal(fake_os.calls[FAKE_TXACK], 0);
	assert_int_equal(fake_os.calls[FAKE_OUTQ], 0);
	end(&w);
}

/* connect() took long, as this process was not looking: the kernel knows better. */
static void test_slow_connect(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ .rtt_us = 0 });
	conn_syn(&w, &(struct tcp_hdr){ .mss = 1460, .has_wscale = true, .wscale = 7 });
	w.s = fake_stream_last();
	world_wait(&w, NSEC_PER_SEC);
	fake_stream_connected(w.s);
	world_settle(&w);
	assert_int_equal(fake_os.calls[FAKE_INFO], 1);
	assert_int_equal(fake_os.calls[FAKE_TXACK], 0);
	assert_int_equal(world_conn(&w)->reflect.mode, TCP_REFLECT_OFF);
	world_clear(&w);
	conn_reset(world_conn(&w));
	world_clear(&w);
	world_fini(&w);
}

/* The guest of a connection that came from the host has measured a round trip of no time: for it, it stays at that. */
static void test_accepted(void **state)
{
	struct world w;

	world_init(&w, &(struct world_conf){ .rtt_us = RTT_US });
	conn_open_in(&w);
	w.s->size = 1 << 20;
	for (unsigned i = 0; i < 100; i++) {
		send_part(&w, TCP_ACK);
		conn_expect(&w, TCP_ACK, w.ack, w.seq);
		fake_stream_ack(w.s, PART);
	}
	assert_int_equal(fake_os.calls[FAKE_INFO], 0);
	assert_int_equal(fake_os.calls[FAKE_TXACK], 0);
	end(&w);
}

/* Nothing is acknowledged as soon as it comes, or the guest takes that for the least round trip of the path. */
static void test_least_round_trip(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	send_part(&w, TCP_ACK);
	world_wait(&w, HOLD_NS - 2 * NSEC_PER_MSEC);
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	world_wait(&w, 4 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, told + PART);
	world_wait(&w, HOLD_NS - 4 * NSEC_PER_MSEC);
	conn_expect_none(&w);
	world_wait(&w, 6 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	end(&w);
}

static void test_delay(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	for (unsigned i = 0; i < 4; i++)
		send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	fake_stream_ack(w.s, 2500);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, told + 2500);
	fake_stream_ack(w.s, 1500);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	/* Nothing is out any more: no timer is left, and time passes without a word. */
	world_wait(&w, NSEC_PER_SEC);
	conn_expect_none(&w);
	end(&w);
}

/* Without news everything that the kernel took is acknowledged, and what comes later is again held back. */
static void test_silence(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	send_part(&w, TCP_ACK);
	world_wait(&w, HOLD_NS - 2 * NSEC_PER_MSEC);
	conn_expect_none(&w);
	world_wait(&w, 4 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, told + PART);
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	conn_expect_none(&w); /* that was the first of them, which is no news */
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	end(&w);
}

/* News put off the time without news. */
static void test_hold_restarts(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	for (unsigned i = 0; i < 5; i++)
		send_part(&w, TCP_ACK);
	for (unsigned i = 1; i < 5; i++) {
		world_wait(&w, HOLD_NS / 2);
		fake_stream_ack(w.s, PART);
		world_settle(&w);
		conn_expect(&w, TCP_ACK, w.ack, told + i * PART);
	}
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	end(&w);
}

/* Data towards the guest carries no more than that either. */
static void test_piggyback(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	send_part(&w, TCP_ACK);
	host_push(w.s, 10);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, told);
	w.ack += 10;
	send_part(&w, TCP_ACK);
	fake_stream_ack(w.s, PART);
	host_push(w.s, 10);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, told + PART);
	w.ack += 10;
	end(&w);
}

/* A FIN ends it: there is nothing left for which the guest would need to know the path. */
static void test_fin(void **state)
{
	struct world w;

	begin(&w, RTT_US);
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	send_part(&w, TCP_FIN | TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	fake_stream_ack(w.s, 10);
	world_wait(&w, NSEC_PER_SEC);
	conn_expect_none(&w);
	end(&w);
}

/* Where events can't be had, or the path can't be looked at, all is acknowledged at once. */
static void test_no_events(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct world w;

		world_init(&w, &(struct world_conf){ .rtt_us = RTT_US });
		fake_fail(i ? FAKE_INFO : FAKE_TXACK, -1, i ? ENOSYS : EINVAL, 0, UINT_MAX);
		conn_open_out(&w);
		for (unsigned j = 0; j < 3; j++) {
			send_part(&w, TCP_ACK);
			conn_expect(&w, TCP_ACK, w.ack, w.seq);
		}
		end(&w);
	}
}

/* What had to wait for room in the socket is acknowledged when the kernel takes it. */
static void test_spill(void **state)
{
	struct world w;

	begin(&w, RTT_US);
	w.s->size = PART;
	w.s->chunk = 1;
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	send_part(&w, TCP_ACK);
	assert_int_equal(world_conn(&w)->spill.len, PART);
	world_clear(&w);
	w.s->size = 1 << 20;
	fake_stream_ack(w.s, 700);
	world_settle(&w);
	assert_int_equal(world_conn(&w)->spill.len, 0);
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	assert_int_equal(world_conn(&w)->rcv.adv_ack, w.seq);
	world_clear(&w);
	end(&w);
}

/* An event that got lost, or that the kernel has not made yet, as it waits for the end of what was sent: the queue is looked at. */
static void test_no_event(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	w.s->txack = false;
	told = w.seq;
	for (unsigned i = 0; i < 4; i++)
		send_part(&w, TCP_ACK);
	fake_stream_ack(w.s, 2500);
	world_wait(&w, HOLD_NS - 2 * NSEC_PER_MSEC);
	conn_expect_none(&w);
	world_wait(&w, 4 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, told + 2500);
	world_wait(&w, HOLD_NS);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	end(&w);
}

/*
 * A remote that reads nothing, so that the socket is full and a window of nothing is all that the guest can be told: what it waited too
 * long for, it gets at once, and there is no timer that has nothing to do.
 */
static void test_late(void **state)
{
	struct world w;
	struct seen a;
	uint32_t told;

	begin(&w, RTT_US);
	w.s->size = PART;
	w.s->chunk = 1;
	told = w.seq;
	for (unsigned i = 0; i < 3; i++)
		send_part(&w, TCP_ACK);
	assert_int_equal(world_conn(&w)->spill.len, 2 * PART);
	conn_expect_none(&w);
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, told + PART);
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	conn_expect_none(&w);
	assert_true(world_conn(&w)->overdue);
	assert_false(timer_armed(&world_conn(&w)->silence));
	world_wait(&w, 10 * NSEC_PER_SEC);
	conn_expect_none(&w);
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	assert_true(world_take(&w, &a));
	assert_int_equal(a.h.ack, told + 2 * PART);
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	world_clear(&w);
	assert_int_equal(world_conn(&w)->rcv.adv_ack, w.seq);
	assert_false(timer_armed(&world_conn(&w)->silence));
	end(&w);
}

/* What found no room anywhere is nothing that the guest waits for: what it sends next is acknowledged in time, without an event as well. */
static void test_pool_exhausted(void **state)
{
	static uint32_t chunk[CHUNKS_MAX + 1];
	struct world w;
	uint32_t n = 0;

	begin(&w, RTT_US);
	while ((chunk[n] = chunk_get(w.t->pool)))
		n++;
	w.s->fill = w.s->size;
	send_part(&w, TCP_ACK);
	assert_int_equal(w.t->stats.spill_full, 1);
	w.seq -= PART;
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	world_clear(&w);
	w.s->fill = 0;
	fake_stream_ack(w.s, 0);
	world_settle(&w);
	world_clear(&w);
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	while (n)
		chunk_put(w.t->pool, chunk[--n]);
	end(&w);
}

/* Part of a hole is filled while the socket is full: that is acknowledged in time as well, though no event tells of it. */
static void test_hole_spilled(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	w.seq = told + 2 * PART;
	send_part(&w, TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, told);
	w.s->fill = w.s->size;
	w.seq = told;
	send_part(&w, TCP_ACK);
	assert_int_equal(world_conn(&w)->spill.len, PART);
	world_clear(&w);
	w.s->fill = 0;
	fake_stream_ack(w.s, 0);
	world_settle(&w);
	world_clear(&w);
	world_wait(&w, HOLD_NS + 2 * NSEC_PER_MSEC);
	assert_int_equal(world_conn(&w)->rcv.adv_ack, told + PART);
	world_clear(&w);
	end(&w);
}

/* What the link lost: the guest learns at once what came, or it would send that again as well. */
static void test_hole(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	send_part(&w, TCP_ACK);
	told = w.seq;
	w.seq += PART;
	send_part(&w, TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, told);
	w.seq = told;
	send_part(&w, TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, told + 2 * PART);
	w.seq = told + 2 * PART;
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	w.seq = told + 2 * PART; /* the acknowledgement came too late for it */
	send_part(&w, TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	world_wait(&w, NSEC_PER_SEC);
	conn_expect_none(&w);
	end(&w);
}

/* The other direction closes; that of the guest goes on. */
static void test_half_closed(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	told = w.seq;
	send_part(&w, TCP_ACK);
	fake_stream_fin(w.s);
	world_settle(&w);
	conn_expect(&w, TCP_FIN | TCP_ACK, w.ack, told);
	w.ack++;
	send_part(&w, TCP_ACK);
	conn_expect_none(&w);
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, told + PART);
	send_part(&w, TCP_FIN | TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_null(world_conn(&w));
	assert_true(w.s->fin_out && !w.s->rst_out);
	assert_int_equal(host_check(w.s), 3 * PART);
	world_fini(&w);
}

/* A FIN behind what waits for room is told of when all of it has gone. */
static void test_fin_waits(void **state)
{
	struct world w;
	uint32_t told;

	begin(&w, RTT_US);
	w.s->size = PART;
	w.s->chunk = 1;
	told = w.seq;
	send_part(&w, TCP_ACK);
	send_part(&w, TCP_FIN | TCP_ACK);
	conn_expect(&w, TCP_ACK, w.ack, told + PART);
	fake_stream_ack(w.s, PART);
	world_settle(&w);
	conn_expect(&w, TCP_ACK, w.ack, w.seq);
	assert_true(w.s->fin_out);
	end(&w);
}

/* The remote resets, or is not heard of until the kernel gives up: with an acknowledgement outstanding the guest gets its RST at once. */
static void test_death(void **state)
{
	for (unsigned i = 0; i < 2; i++) {
		struct world w;
		struct seen a;

		begin(&w, RTT_US);
		send_part(&w, TCP_ACK);
		conn_expect_none(&w);
		if (i)
			fake_stream_die(w.s, ETIMEDOUT);
		else
			fake_stream_rst(w.s);
		world_settle(&w);
		assert_true(world_take(&w, &a));
		assert_true(a.h.flags & TCP_RST);
		assert_int_equal(a.h.seq, w.ack);
		assert_null(world_conn(&w));
		world_wait(&w, NSEC_PER_SEC);
		conn_expect_none(&w);
		world_fini(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short_path),   cmocka_unit_test(test_slow_connect),
		cmocka_unit_test(test_accepted),     cmocka_unit_test(test_delay),
		cmocka_unit_test(test_silence),      cmocka_unit_test(test_hold_restarts),
		cmocka_unit_test(test_piggyback),    cmocka_unit_test(test_fin),
		cmocka_unit_test(test_no_events),    cmocka_unit_test(test_least_round_trip),
		cmocka_unit_test(test_spill),        cmocka_unit_test(test_no_event),
		cmocka_unit_test(test_late),         cmocka_unit_test(test_hole),
		cmocka_unit_test(test_half_closed),  cmocka_unit_test(test_fin_waits),
		cmocka_unit_test(test_death),        cmocka_unit_test(test_pool_exhausted),
		cmocka_unit_test(test_hole_spilled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
