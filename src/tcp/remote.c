/* SPDX-License-Identifier: MIT */
/*
 * What the remote behind the socket has acknowledged, passed on to the guest.
 *
 * Events tell of it; but the kernel makes one only when the last byte of a send was acknowledged, and can drop it. So the timer asks when
 * the guest has waited for as long as is usual, and if there is nothing new, it gets what the host's kernel took. It counts from what
 * the guest was told last, as the guest's own timers do, no matter how long its data waited in the spill buffer. What the guest sent since
 * stays out of it: congestion control that goes by the least round trip (BBR) would take one that is too short for the path's.
 */
#include <string.h>

#include "base/log.h"
#include "os/sock.h"
#include "os/txack.h"
#include "tcp/conn.h"

#define SMALL_BUFFER (64u << 10)
#define PATIENCE_US 50000u /* a quarter of the least time-out of Linux */

static void ack_news(struct tcp_conn *k)
{
	if (conn_ack_seq(k) != k->rcv.adv_ack)
		conn_ack_later(k);
}

static void silence_begin(struct tcp_conn *k)
{
	k->silent_end = k->rcv.nxt;
	timer_set(&k->t->d.loop->timers, &k->silence, k->t->d.loop->now_ns + tcp_reflect_hold_ns(&k->reflect));
}

/* The guest is told something new. */
static void news(struct tcp_conn *k)
{
	ack_news(k);
	k->overdue = false;
	if (conn_ack_seq(k) != k->rcv.nxt)
		silence_begin(k);
	else
		timer_cancel(&k->t->d.loop->timers, &k->silence);
}

static void path_look(struct tcp_conn *k, uint32_t seen_us)
{
	struct txack_rtt rtt;
	int err;

	/* A window that is not scaled fills no path with delay: such a guest is better off with what the kernel took. */
	k->reflect.mode = TCP_REFLECT_OFF;
	if (!k->rcv.wscale || txack_rtt(k->fd, &rtt))
		return;
	if (!tcp_reflect_start(&k->reflect, rtt.min, rtt.smoothed, seen_us, k->rcv.adv_ack))
		return;
	err = txack_enable(k->fd);
	if (!err)
		return;
	log_limited(LOG_LVL_DEBUG, "TCP flow %u: no events of acknowledgements: %s", k->f.index, strerror(-err));
	k->reflect.mode = TCP_REFLECT_OFF;
}

void remote_connected(struct tcp_conn *k)
{
	uint64_t us = (k->t->d.loop->now_ns - k->f.born_ns) / NSEC_PER_USEC;

	/* connect() took no less than a round trip: mostly, that tells enough without a system call. */
	if (us < TCP_REFLECT_RTT_US)
		k->reflect.mode = TCP_REFLECT_OFF;
	else
		path_look(k, (uint32_t)MIN(us, (uint64_t)TCP_REFLECT_HOLD_MAX_US));
}

/*
 * Whether data may wait for room that the remote's acknowledgements make, two round trips in slow start, without the guest's taking it for
 * lost. Small buffers need that to be full all the time, so with those it is enough that its retransmission timer doesn't fire.
 */
void remote_inward(struct tcp_conn *k, uint32_t sndbuf)
{
	uint32_t far_us = sndbuf < SMALL_BUFFER ? PATIENCE_US : TCP_REFLECT_RTT_US;
	struct txack_rtt rtt;

	/* Not of short connections, which need no more than the first window; nor where it is all the same. */
	if (!k->rcv.strict || !k->looked_room || k->path_known || tcp_rcv_sure(sndbuf) >= tcp_rcv_low(&k->rcv))
		return;
	k->path_known = true;
	k->rcv.strict = !txack_rtt(k->fd, &rtt) && rtt.min >= far_us;
}

void remote_release(struct tcp_conn *k, uint32_t end)
{
	uint32_t accepted = conn_accepted(k);

	if (seq_gt(end, accepted))
		end = accepted;
	if (k->reflect.mode != TCP_REFLECT_ON || !seq_gt(end, k->reflect.acked))
		return;
	tcp_reflect_release(&k->reflect, end, k->t->d.loop->now_ns);
	news(k);
}

void remote_sent(struct tcp_conn *k)
{
	if (k->reflect.mode != TCP_REFLECT_ON)
		return;
	tcp_reflect_on_data(&k->reflect, k->rcv.nxt, k->t->d.loop->now_ns);
	if (k->ooo)
		remote_release(k, k->rcv.nxt); /* it sends again what the link lost, and has to learn at once what came */
	/* Some of it may wait in the spill buffer, or nothing of it have found room there. */
	if (conn_ack_seq(k) != k->rcv.nxt && !timer_armed(&k->silence) && !k->overdue)
		silence_begin(k);
}

void remote_flushed(struct tcp_conn *k)
{
	if (k->overdue || k->held)
		remote_release(k, k->held ? k->rcv.nxt : k->silent_end);
	ack_news(k);
}

/* True: the remote has acknowledged more. */
static bool remote_ask(struct tcp_conn *k)
{
	uint32_t outq;

	if (sock_outq(k->fd, &outq) || !tcp_reflect_on_report(&k->reflect, conn_accepted(k), outq, k->t->d.loop->now_ns))
		return false;
	news(k);
	return true;
}

bool remote_event(struct tcp_conn *k)
{
	if (k->reflect.mode != TCP_REFLECT_ON || txack_take(k->fd) <= 0)
		return false;
	(void)remote_ask(k);
	return true;
}

void remote_silent(struct timer *timer, uint64_t now_ns)
{
	struct tcp_conn *k = container_of(timer, struct tcp_conn, silence);
	struct txack_rtt rtt;

	if (!txack_rtt(k->fd, &rtt))
		k->reflect.path_us = rtt.smoothed;
	if (remote_ask(k))
		return;
	k->overdue = true;
	remote_release(k, k->silent_end); /* or that is still in the spill buffer */
}
