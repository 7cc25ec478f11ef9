/* SPDX-License-Identifier: MIT */
#include "tcp/tcp.h"

#include <stdlib.h>

#include "base/log.h"
#include "tcp/conn.h"
#include "wire/ip.h"

#define ACKS_WAITING 64 /* that find no room in one turn, before it ends */

size_t tcp_slot_size(void)
{
	return sizeof(struct tcp_conn);
}

/* One walk over the table a minute: guests that have been silent are asked, and given up when they do not answer. */
static void sweep_conn(void *ctx, struct flow *f)
{
	struct tcp *t = ctx;
	uint32_t now_s = (uint32_t)(t->d.loop->now_ns / NSEC_PER_SEC);
	struct tcp_conn *k;

	if (f->key.proto != PROTO_TCP)
		return;
	k = container_of(f, struct tcp_conn, f);
	if (now_s - k->heard_s >= TCP_SWEEP_S)
		ooo_free(t->pool, &k->ooo); /* nobody fills the hole */
	if (host_discard(k)) {
		conn_reset(k);
		return;
	}
	if (k->state != CONN_ESTABLISHED || now_s - k->heard_s < TCP_KEEP_IDLE_S)
		return;
	if (k->probes >= TCP_KEEP_PROBES) {
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: the guest does not answer", f->index);
		conn_reset(k);
		return;
	}
	k->probes++;
	(void)seg_send_probe(k);
}

static void tcp_sweep(struct timer *timer, uint64_t now_ns)
{
	struct tcp *t = container_of(timer, struct tcp, sweep);

	timer_set(&t->d.loop->timers, timer, now_ns + TCP_SWEEP_S * NSEC_PER_SEC);
	flow_each(t->d.flows, sweep_conn, t);
}

/* Pumps all connections of a list, which may enter themselves again. */
static void tcp_pump_list(struct list *l)
{
	struct list todo;

	list_init(&todo);
	list_splice(&todo, l);
	while (!list_empty(&todo)) {
		struct tcp_conn *k = container_of(todo.next, struct tcp_conn, wait_node);

		list_del(&k->wait_node);
		host_pump(k);
	}
}

static void tcp_again(struct timer *timer, uint64_t now_ns)
{
	struct tcp *t = container_of(timer, struct tcp, again_timer);

	/* Timers run behind the events of a turn: who had a share in this one waits for the next. */
	if (t->again_turn == t->d.loop->turns)
		timer_set(&t->d.loop->timers, timer, now_ns);
	else
		tcp_pump_list(&t->again);
}

void tcp_link_ready(struct tcp *t)
{
	tcp_pump_list(&t->wait);
}

/* Who finds no room waits, behind those whose queue may have some; tcp_link_ready() is followed by the end of a turn. */
void tcp_turn_end(struct tcp *t)
{
	uint32_t full = 0; /* queues of the link */
	unsigned waiting = 0;

	while (!list_empty(&t->acks) && waiting < ACKS_WAITING) {
		struct tcp_conn *k = container_of(t->acks.next, struct tcp_conn, ack_node);
		uint32_t queue = 1u << k->f.queue % 32;

		if (full & queue || !seg_send_ack(k)) {
			full |= queue;
			waiting++;
			list_del(&k->ack_node);
			list_push(&t->acks, &k->ack_node);
		} else if (conn_done(k)) {
			conn_free(k);
		}
	}
}

struct tcp *tcp_new(const struct tcp_deps *d)
{
	struct tcp *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->d = *d;
	t->hosterr = (struct hosterr){ .link = d->link, .guest = d->guest, .nat = d->nat };
	list_init(&t->acks);
	list_init(&t->late);
	list_init(&t->wait);
	list_init(&t->again);
	timer_init(&t->again_timer, tcp_again);
	timer_init(&t->late_timer, conn_ack_waited);
	timer_init(&t->sweep, tcp_sweep);
	tcp_stock_init(t, d->stock);
	t->pool = chunk_pool_new(d->spill_bytes ? MAX(d->spill_bytes / CHUNK_SIZE, 1u) : CHUNKS_MAX);
	t->scratch = malloc(TCP_SCRATCH); /* its pages are touched only on kernels without SO_PEEK_OFF */
	if (!t->pool || !t->scratch) {
		tcp_free(t);
		return NULL;
	}
	flow_table_on_displace(d->flows, conn_displaced, t);
	t->owner = loop_owner(d->loop, tcp_on_host, t);
	t->owner_listen = loop_owner(d->loop, tcp_on_listen, t);
	return t;
}

void tcp_free(struct tcp *t)
{
	if (!t)
		return;
	timer_cancel(&t->d.loop->timers, &t->again_timer);
	timer_cancel(&t->d.loop->timers, &t->late_timer);
	timer_cancel(&t->d.loop->timers, &t->sweep);
	hand_free(t);
	tcp_stock_fini(t);
	chunk_pool_free(t->pool);
	free(t->scratch);
	free(t);
}

unsigned tcp_listen_owner(const struct tcp *t)
{
	return t->owner_listen;
}

void tcp_set_listeners(struct tcp *t, struct listeners *ls)
{
	t->ls = ls;
}

void tcp_flow_abort(struct tcp *t, struct flow *f)
{
	struct tcp_conn *k = container_of(f, struct tcp_conn, f);

	(void)t;
	/* All that the guest had to say is in the host's kernel, which goes on delivering it: a reset would throw it away. */
	if (k->host_shut)
		conn_free(k);
	else
		conn_reset(k);
}

void tcp_flow_show(const struct flow *f, struct flow_show *ret_show)
{
	static const char *const name[] = {
		[CONN_FREE] = "closed",           [CONN_CONNECTING] = "connecting",   [CONN_SYN_SENT] = "syn-sent",
		[CONN_SYN_RCVD] = "syn-received", [CONN_ESTABLISHED] = "established", [CONN_HANDED] = "connecting",
	};
	const struct tcp_conn *k = container_of(f, struct tcp_conn, f);
	bool closing = k->guest_fin || k->host_eof;

	*ret_show = (struct flow_show){ .fd = k->fd, .host_first = k->host_first, .state = closing ? "closing" : name[k->state] };
}

const struct tcp_stats *tcp_stats(const struct tcp *t)
{
	return &t->stats;
}

uint64_t tcp_spill_used(const struct tcp *t)
{
	return (uint64_t)chunk_pool_used(t->pool) * CHUNK_SIZE;
}
