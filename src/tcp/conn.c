/* SPDX-License-Identifier: MIT */
/* Life cycle of a connection: states, interest in events, timers. */
#include "tcp/conn.h"

#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"
#include "wire/ip.h"

#define MSS_MIN \
	48u /* segments of less would be nothing but work; with as many options as there may be it is still more than none */
#define CONN_EVENTS (EPOLLET | EPOLLOUT | EPOLLRDHUP | EPOLLPRI)

#ifndef SO_PEEK_OFF
#define SO_PEEK_OFF 42
#endif

static const char *const state_name[] = {
	[CONN_FREE] = "FREE",         [CONN_CONNECTING] = "CONNECTING",   [CONN_SYN_SENT] = "SYN_SENT",
	[CONN_SYN_RCVD] = "SYN_RCVD", [CONN_ESTABLISHED] = "ESTABLISHED", [CONN_HANDED] = "HANDED",
};

/* Which states may follow which; from every one a connection may end. */
static bool conn_edge(enum conn_state from, enum conn_state to)
{
	switch (to) {
	case CONN_FREE:
		return true;
	case CONN_CONNECTING:
	case CONN_SYN_SENT:
		return from == CONN_FREE;
	case CONN_HANDED:
	case CONN_SYN_RCVD:
		return from == CONN_CONNECTING;
	case CONN_ESTABLISHED:
		return from == CONN_SYN_SENT || from == CONN_SYN_RCVD;
	}
	return false;
}

void conn_set(struct tcp_conn *k, enum conn_state to)
{
	if (unlikely(!conn_edge(k->state, to))) {
		log_limited(LOG_LVL_ERR, "TCP flow %u: no way from %s to %s", k->f.index, state_name[k->state], state_name[to]);
		return;
	}
	log_trace("TCP flow %u: %s -> %s", k->f.index, state_name[k->state], state_name[to]);
	k->state = (uint8_t)to;
	if (to == CONN_CONNECTING || to == CONN_SYN_SENT)
		flow_half_open(k->t->d.flows, &k->f);
	else if (to == CONN_ESTABLISHED)
		flow_settle(k->t->d.flows, &k->f);
}

static struct ref conn_ref(const struct tcp_conn *k)
{
	return (struct ref){ .index = k->f.index, .gen = k->f.gen, .owner = (uint8_t)k->t->owner };
}

/*
 * Interest in events, a function of the connection alone. Edge-triggered: what was peeked and not yet acknowledged keeps the socket
 * readable, and must not wake us. Writable is always of interest, but comes only after conn_rearm() or a send that fell short, as the
 * kernel tells it only to those who found no room.
 */
static uint32_t conn_events(const struct tcp_conn *k)
{
	return CONN_EVENTS | (k->in_off || k->host_eof ? 0 : EPOLLIN);
}

int conn_watch(struct tcp_conn *k)
{
	return loop_add(k->t->d.loop, k->fd, conn_ref(k), conn_events(k));
}

void conn_rearm(struct tcp_conn *k)
{
	int err = loop_mod(k->t->d.loop, k->fd, conn_ref(k), conn_events(k));

	if (err)
		log_limited(LOG_LVL_WARN, "TCP: can't watch a socket: %s", strerror(-err));
}

/* Options of a socket towards the host, before it is connected or right after it was accepted. */
int conn_sock_setup(struct tcp *t, int fd, bool v4, bool *ret_peek_off)
{
	int err;

	/* Urgent data stays in line, where splitting it off would lose it. */
	err = sock_set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1);
	if (err)
		return err;
	if (t->no_peek_off[!v4])
		*ret_peek_off = false;
	else
		*ret_peek_off = !sock_set_int(fd, SOL_SOCKET, SO_PEEK_OFF, 0);
	if (!*ret_peek_off)
		t->no_peek_off[!v4] = true; /* before Linux 6.9, and 6.11 for IPv6 */
	return 0;
}

/* RFC 6528 section 3, with a clock of four microseconds. */
uint32_t conn_isn(const struct tcp *t, const struct flow_key *key)
{
	return (uint32_t)(t->d.loop->now_ns / 4096 + hash_bytes(&t->d.key, key, sizeof(*key)));
}

/* The half of the hash that is not in the sequence number. */
uint32_t conn_ts_offset(const struct tcp *t, const struct flow_key *key)
{
	return (uint32_t)(hash_bytes(&t->d.key, key, sizeof(*key)) >> 32);
}

uint16_t conn_mss_local(const struct tcp *t, bool v4)
{
	return (uint16_t)(t->d.link->mtu - (v4 ? IP4_HLEN : IP6_HLEN) - TCP_HLEN);
}

uint16_t conn_mss_granted(const struct tcp *t, bool v4, uint32_t mss)
{
	return (uint16_t)CLAMP(mss, MSS_MIN, (uint32_t)conn_mss_local(t, v4));
}

struct tcp_conn *conn_new(struct tcp *t, const struct flow_key *key, int fd)
{
	struct flow *f = flow_new(t->d.flows, key);
	struct tcp_conn *k;

	if (!f)
		return NULL;
	k = container_of(f, struct tcp_conn, f);
	k->t = t;
	k->fd = fd;
	tcp_ts_init(&k->ts, conn_ts_offset(t, key), t->d.loop->now_ns);
	ipopts_init(&k->ip, t->d.out, &key->remote);
	f->born_ns = t->d.loop->now_ns;
	k->heard_s = (uint32_t)(t->d.loop->now_ns / NSEC_PER_SEC);
	timer_init(&k->timer, conn_timer_fired);
	timer_init(&k->silence, remote_silent);
	list_init(&k->ack_node);
	list_init(&k->wait_node);
	if (!t->conns++)
		timer_set(&t->d.loop->timers, &t->sweep, t->d.loop->now_ns + TCP_SWEEP_S * NSEC_PER_SEC);
	return k;
}

void conn_free(struct tcp_conn *k)
{
	struct tcp *t = k->t;

	conn_set(k, CONN_FREE);
	timer_cancel(&t->d.loop->timers, &k->timer);
	timer_cancel(&t->d.loop->timers, &k->silence);
	conn_ack_done(k);
	list_del(&k->wait_node);
	spill_drop(t->pool, &k->spill, k->spill.len);
	ooo_free(t->pool, &k->ooo);
	conn_board_put(k);
	(void)!host_discard(k); /* a close with something in the receive queue is a reset */
	if (k->fd >= 0)
		sock_close(k->fd); /* takes it out of the epoll set as well: nobody else has a copy of it */
	if (!--t->conns)
		timer_cancel(&t->d.loop->timers, &t->sweep);
	flow_free(t->d.flows, &k->f);
}

void conn_reset_host(struct tcp_conn *k)
{
	int err = sock_linger_reset(k->fd);

	if (err)
		log_limited(LOG_LVL_DEBUG, "TCP: SO_LINGER: %s", strerror(-err));
	k->discard = 0;
	conn_free(k);
}

void conn_reset(struct tcp_conn *k)
{
	/*
	 * In CONNECTING the guest has no sequence number of ours yet and looks at the acknowledgement of its SYN; in SYN_SENT it is the
	 * other way round. A time-out may have taken nxt back behind what the guest has got; the RST has to be no older (RFC 5961 3.2).
	 */
	(void)seg_send_ctl(k, k->state == CONN_SYN_SENT ? TCP_RST : TCP_RST | TCP_ACK, k->snd.max);
	conn_reset_host(k);
}

void conn_displaced(void *ctx, struct flow *f)
{
	struct tcp_conn *k = container_of(f, struct tcp_conn, f);

	if (k->state == CONN_CONNECTING)
		conn_free(k);
	else if (k->state == CONN_HANDED)
		conn_reset_host(k); /* whom the guest comes to does not know of it any more */
	else
		conn_reset(k);
}

bool conn_done(const struct tcp_conn *k)
{
	return k->host_shut && k->fin_acked;
}

bool conn_end(struct tcp_conn *k)
{
	if (!conn_done(k))
		return false;
	conn_timer_update(k, true);
	if (list_empty(&k->ack_node))
		conn_free(k);
	return true;
}

void conn_board_get(struct tcp_conn *k)
{
	struct chunk_pool *pool = k->t->pool;
	uint32_t c;

	static_assert(sizeof(struct board) <= CHUNK_SIZE, "one chunk holds it");
	/* Not while something is being sent again from the first byte on: nxt == max. */
	if (k->snd.board || k->snd.nxt != k->snd.max || chunk_pool_scarce(pool))
		return;
	c = chunk_get(pool);
	if (c)
		tcp_snd_set_board(&k->snd, chunk_mem(pool, c));
}

void conn_board_put(struct tcp_conn *k)
{
	if (k->snd.board)
		chunk_put(k->t->pool, chunk_of(k->t->pool, k->snd.board));
	k->snd.board = NULL;
}

uint32_t conn_accepted(const struct tcp_conn *k)
{
	/* Neither what waits in the spill buffer, nor a FIN behind it, has been accepted by the host's kernel. */
	return k->rcv.nxt - k->spill.len - (k->guest_fin && !k->host_shut);
}

uint32_t conn_ack_seq(const struct tcp_conn *k)
{
	uint32_t accepted = conn_accepted(k);

	/*
	 * Its window is full, and still there is one: the guest doesn't probe it, as that of a socket that stays full for long, but sends
	 * again, and gives the connection up in the end.
	 */
	if (k->vouched)
		return accepted + k->spill.len;
	/* An acknowledgement that ends inside of what was SACKed would say that we have dropped the rest of it (RFC 2018 section 8). */
	if (k->held && seq_lt(accepted, k->hold))
		return k->rcv.adv_ack;
	/* Nothing comes behind a FIN that the guest could send any better for knowing the path. */
	return k->guest_fin ? accepted : tcp_reflect_ack(&k->reflect, accepted, k->rcv.adv_ack);
}

void conn_ack_done(struct tcp_conn *k)
{
	list_del(&k->ack_node);
	if (list_empty(&k->t->late))
		timer_cancel(&k->t->d.loop->timers, &k->t->late_timer);
}

void conn_ack_later(struct tcp_conn *k)
{
	conn_ack_done(k);
	list_push(&k->t->acks, &k->ack_node);
}

void conn_ack_wait(struct tcp_conn *k)
{
	struct tcp *t = k->t;

	k->late_ns = t->d.loop->now_ns + TCP_TALK_WAIT_NS;
	if (list_empty(&t->late))
		timer_set(&t->d.loop->timers, &t->late_timer, k->late_ns);
	list_push(&t->late, &k->ack_node);
}

void conn_ack_waited(struct timer *timer, uint64_t now_ns)
{
	struct tcp *t = container_of(timer, struct tcp, late_timer);

	while (!list_empty(&t->late)) {
		struct tcp_conn *k = container_of(t->late.next, struct tcp_conn, ack_node);

		if (k->late_ns > now_ns) {
			timer_set(&t->d.loop->timers, timer, k->late_ns);
			break;
		}
		tcp_talk_silence(&k->talk);
		conn_ack_later(k);
	}
}

void conn_wait_link(struct tcp_conn *k)
{
	if (list_empty(&k->wait_node))
		list_push(&k->t->wait, &k->wait_node);
}

/* Whether the guest's shut window is all that keeps us from sending. */
static bool conn_window_shut(const struct tcp_conn *k)
{
	return k->snd.nxt == k->snd.una && !k->snd.wnd && !k->fin_sent && (!k->drained || k->host_rdhup);
}

/*
 * One timer for each connection: what it means follows from the state. Handshake or data in flight: retransmission. A shut window
 * with data waiting: probe (RFC 9293 3.8.6.1). restart: there was progress, so the time counts from now on.
 */
void conn_timer_update(struct tcp_conn *k, bool restart)
{
	struct timers *w = &k->t->d.loop->timers;
	bool inflight = k->snd.nxt != k->snd.una, probe = k->state == CONN_ESTABLISHED && conn_window_shut(k);

	if (!inflight && !probe) {
		k->probing = false;
		timer_cancel(w, &k->timer);
		return;
	}
	if (probe != k->probing) {
		k->probing = probe;
		restart = true;
	}
	if (restart || !timer_armed(&k->timer))
		timer_set(w, &k->timer, k->t->d.loop->now_ns + tcp_snd_rto_ns(&k->snd));
}

static void conn_resend_handshake(struct tcp_conn *k)
{
	bool sent;

	if (!tcp_snd_on_rto(&k->snd)) {
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: no answer of the guest to SYN", k->f.index);
		conn_reset(k);
		return;
	}
	sent = seg_send_ctl(k, k->state == CONN_SYN_SENT ? TCP_SYN : TCP_SYN | TCP_ACK, k->snd.iss);
	k->snd.nxt = k->snd.iss + 1;
	k->t->stats.rexmit += sent;
	conn_timer_update(k, true);
}

void conn_timer_fired(struct timer *timer, uint64_t now_ns)
{
	struct tcp_conn *k = container_of(timer, struct tcp_conn, timer);

	if (k->state == CONN_HANDED) {
		hand_late(k);
		return;
	}
	if (!k->probing)
		tcp_ts_timeout(&k->ts, now_ns, !k->snd.backoff);
	if (k->state != CONN_ESTABLISHED) {
		conn_resend_handshake(k);
		return;
	}
	if (k->probing) {
		if (k->snd.backoff < TCP_SND_RETRIES)
			k->snd.backoff++;
		(void)seg_send_probe(k);
		conn_timer_update(k, true);
		return;
	}
	if (!k->snd.wnd)
		conn_board_put(k); /* the probe of a shut window wants nothing in flight */
	else if (k->sack)
		conn_board_get(k);
	if (!tcp_snd_on_rto(&k->snd)) {
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: the guest acknowledges nothing any more", k->f.index);
		conn_reset(k);
		return;
	}
	k->t->stats.rto++;
	host_again(k);
}
