/* SPDX-License-Identifier: MIT */
/* Events of the host's socket, and its data on the way to the guest. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "os/sock.h"
#include "tcp/conn.h"

#define PUMP_ROUNDS 8 /* reservations of one call, */
#define PUMP_BYTES (512u << 10) /* and bytes, so that other flows get their turn: a few hundred microseconds */
#define PEEK_IOV 512 /* entries of a peek */
#define SKIP_IOV (TCP_SND_WND_MAX / TCP_SCRATCH) /* entries that skip what is in flight */
#define IDLE_IN_MAX 2 /* wake-ups without progress before EPOLLIN is switched off */
#define LAZY_BYTES 1024u /* fewer may stay after they were acknowledged: next to nothing of the smallest buffer */
#define LAZY_ACKS 16u /* acknowledgements that brought them: what is short has an overhead many times its length */

/* What one peek goes into: frames of the link, as one vector. */
struct fill {
	struct txframe f[LINK_BATCH];
	size_t frames;
	struct iovec iov[PEEK_IOV];
	unsigned n;
	size_t len; /* bytes in iov */
	size_t seg; /* of one frame */
};

/* Frames for up to max bytes. False: the link has no room. */
static bool fill_reserve(struct fill *fl, struct tcp_conn *k, uint32_t max)
{
	struct txwant w = { .hdr = seg_hdr_len(k), .len = seg_data_max(k), .queue = k->f.queue };

	fl->seg = w.len;
	w.n = MIN((max + fl->seg - 1) / fl->seg, (size_t)LINK_BATCH);
	fl->frames = link_reserve(k->t->d.link, fl->f, &w);
	fl->n = 0;
	fl->len = 0;
	for (size_t i = 0; i < fl->frames; i++) {
		size_t left = MIN(fl->seg, max - fl->len);

		if (fl->n + fl->f[i].n > PEEK_IOV)
			break;
		for (unsigned j = 0; j < fl->f[i].n && left; j++) {
			struct iovec v = fl->f[i].body[j];

			v.iov_len = MIN(v.iov_len, left);
			fl->iov[fl->n++] = v;
			fl->len += v.iov_len;
			left -= v.iov_len;
		}
	}
	return fl->frames;
}

/* Peeks behind off bytes of the queue on a kernel without SO_PEEK_OFF: they are copied to a place where nobody looks. */
static ssize_t peek_skip(struct tcp_conn *k, uint32_t off, const struct iovec *iov, unsigned n)
{
	struct iovec v[SKIP_IOV + PEEK_IOV];
	unsigned m = 0;
	ssize_t r;

	for (uint32_t left = off; left && m < SKIP_IOV; m++) {
		v[m] = (struct iovec){ .iov_base = k->t->scratch, .iov_len = MIN(left, TCP_SCRATCH) };
		left -= (uint32_t)v[m].iov_len;
	}
	for (unsigned i = 0; i < n; i++)
		v[m++] = iov[i];
	r = sock_recv(k->fd, v, m, MSG_PEEK);
	if (r < 0)
		return r;
	if ((size_t)r > off)
		return r - (ssize_t)off;
	/* With urgent data the queue may go on behind what was skipped: that shows as the rest is acknowledged and taken off. */
	if (!k->host_rdhup || k->urgent)
		return -EAGAIN;
	/* The queue ends here. A read behind its end would tell why; this one found the bytes to skip, so ask. */
	return -sock_error(k->fd);
}

/*
 * Bytes from sequence number seq on, 0 at the end of the stream, or -errno. The kernel moves its offset on with each peek, which is right
 * for new data; only something that is sent again moves it away.
 */
static ssize_t host_peek(struct tcp_conn *k, uint32_t seq, const struct iovec *iov, unsigned n)
{
	uint32_t off = seq - k->snd.una + k->discard;
	int err = 0;

	if (!k->peek_off)
		return off ? peek_skip(k, off, iov, n) : sock_recv(k->fd, iov, n, MSG_PEEK);
	if (k->peek_moved || seq != k->snd.nxt)
		err = sock_set_int(k->fd, SOL_SOCKET, SO_PEEK_OFF, (int)off);
	k->peek_moved = seq != k->snd.nxt || err;
	return err ? err : sock_recv(k->fd, iov, n, MSG_PEEK);
}

int host_discard(struct tcp_conn *k)
{
	ssize_t r;

	while (k->discard) {
		r = sock_discard(k->fd, k->discard);
		if (r < 0)
			return (int)r;
		if (!r)
			return -EPIPE; /* the guest acknowledged what the queue does not hold: can't be */
		k->discard -= (uint32_t)r;
	}
	k->lazy_acks = 0;
	if (k->drained && k->snd.una == k->snd.max)
		k->seen = 0;
	return 0;
}

/*
 * What stays must not be the rest of something long: the kernel has the buffer of all of it until that is read as well, may keep the
 * window shut for that long, and nothing would come any more that takes the rest along.
 */
int host_acked(struct tcp_conn *k)
{
	bool lazy = k->peek_off && !k->host_rdhup && k->seen < LAZY_BYTES;

	return lazy && ++k->lazy_acks < LAZY_ACKS ? 0 : host_discard(k);
}

static void pump_eof(struct tcp_conn *k)
{
	k->host_eof = true;
	k->drained = true;
	if (!seg_send_ctl(k, TCP_FIN | TCP_ACK, k->snd.nxt)) {
		conn_wait_link(k);
		return;
	}
	tcp_snd_on_sent(&k->snd, 1, k->t->d.loop->now_ns);
	k->fin_sent = true;
	k->fin_known = true;
}

/* Commits the len bytes that were peeked, as those from seq on. short_: the queue had no more. */
static void pump_commit(struct tcp_conn *k, const struct fill *fl, uint32_t seq, size_t len, bool short_)
{
	size_t done = 0;

	for (size_t i = 0; i < fl->frames && done < len; i++) {
		size_t part = MIN(fl->seg, len - done);
		bool last = done + part == len;
		uint8_t flags = (uint8_t)(TCP_ACK | (last && short_ ? TCP_PSH : 0));

		seg_commit_data(k, &fl->f[i], seq + (uint32_t)done, part, flags);
		done += part;
	}
}

/* Whether the socket may have something that was not sent. */
static bool pump_wanted(const struct tcp_conn *k)
{
	return k->state == CONN_ESTABLISHED && !k->fin_sent && (!k->drained || k->host_rdhup || k->host_eof);
}

/* One reservation. left: frames that may be sent. 1: go on, 0: nothing more for now, -errno: the socket is dead. */
static int pump_round(struct tcp_conn *k, uint32_t left)
{
	uint32_t room = MIN(tcp_snd_room(&k->snd), left * (uint32_t)seg_data_max(k));
	struct fill fl;
	ssize_t got;

	if (!room)
		return 0;
	if (!fill_reserve(&fl, k, room)) {
		conn_wait_link(k);
		return 0;
	}
	got = host_peek(k, k->snd.nxt, fl.iov, fl.n);
	if (got == -EAGAIN) {
		k->drained = !k->urgent || k->peek_off;
		k->idle_in = 0;
		return 0;
	}
	if (got < 0)
		return (int)got;
	if (!got) {
		pump_eof(k);
		return 0;
	}
	pump_commit(k, &fl, k->snd.nxt, (size_t)got, (size_t)got < fl.len);
	tcp_snd_on_sent(&k->snd, (uint32_t)got, k->t->d.loop->now_ns);
	tcp_talk_said(&k->talk);
	k->seen = (uint16_t)MIN(k->seen + (uint32_t)got, LAZY_BYTES);
	k->idle_in = 0;
	if ((size_t)got < fl.len && !k->urgent)
		k->drained = true;
	return 1;
}

/* A hole in what the guest has, len bytes from seq on: as pump_round(). */
static int pump_hole(struct tcp_conn *k, uint32_t seq, uint32_t len)
{
	struct fill fl;
	ssize_t got;

	if (seq == k->snd.una)
		conn_timer_update(k, true);
	if (k->fin_known && seq == k->snd.max - 1) {
		if (!seg_send_ctl(k, TCP_FIN | TCP_ACK, seq)) {
			conn_wait_link(k);
			return 0;
		}
		k->t->stats.rexmit++;
		tcp_snd_on_resent(&k->snd, seq, 1, k->t->d.loop->now_ns);
		return 1;
	}
	if (!fill_reserve(&fl, k, MIN(len, k->snd.max - k->fin_known - seq))) {
		conn_wait_link(k);
		return 0;
	}
	got = host_peek(k, seq, fl.iov, fl.n);
	if (got <= 0)
		return got == -EAGAIN ? 0 : (int)got;
	pump_commit(k, &fl, seq, (size_t)got, false);
	k->t->stats.rexmit += ((uint32_t)got + k->snd.mss - 1) / k->snd.mss;
	tcp_snd_on_resent(&k->snd, seq, (uint32_t)got, k->t->d.loop->now_ns);
	return 1;
}

/* Whole frames that one call may still send: it has sent all since from. */
static uint32_t pump_left(const struct tcp_conn *k, uint32_t from)
{
	return (PUMP_BYTES - MIN(k->snd.nxt - from, PUMP_BYTES)) / (uint32_t)seg_data_max(k);
}

/* Holes go first. */
static bool pump_any(const struct tcp_conn *k, uint32_t *ret_seq, uint32_t *ret_len)
{
	*ret_len = 0;
	return tcp_snd_hole(&k->snd, ret_seq, ret_len) || pump_wanted(k);
}

void host_pump(struct tcp_conn *k)
{
	uint32_t seq, len, left, from = k->snd.nxt;
	bool in_off = k->in_off;
	int r = 1;

	for (unsigned i = 0; r > 0 && i < PUMP_ROUNDS && (left = pump_left(k, from)) && pump_any(k, &seq, &len); i++)
		r = len ? pump_hole(k, seq, len) : pump_round(k, left);
	if (r < 0) {
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: socket: %s", k->f.index, strerror(-r));
		conn_reset(k);
		return;
	}
	if (r > 0 && pump_any(k, &seq, &len) && list_empty(&k->wait_node)) {
		list_push(&k->t->again, &k->wait_node);
		k->t->again_turn = k->t->d.loop->turns;
		timer_set(&k->t->d.loop->timers, &k->t->again_timer, k->t->d.loop->now_ns);
	}
	conn_timer_update(k, false);
	k->in_off = k->idle_in >= IDLE_IN_MAX;
	if (k->in_off != in_off)
		conn_rearm(k);
}

void host_again(struct tcp_conn *k)
{
	if (!k->snd.board) {
		k->fin_sent = false;
		k->drained = false;
		k->peek_moved = k->peek_off;
	}
	host_pump(k);
}

int host_resend(struct tcp_conn *k)
{
	uint32_t len = MIN(k->snd.max - k->snd.una, (uint32_t)k->snd.mss);
	struct txwant w = { .n = 1, .hdr = seg_hdr_len(k), .len = len, .queue = k->f.queue };
	struct txframe f;
	ssize_t got;

	k->t->stats.rexmit++;
	if (k->fin_known && k->snd.una == k->snd.max - 1) {
		(void)seg_send_ctl(k, TCP_FIN | TCP_ACK, k->snd.una);
		return 0;
	}
	if (link_reserve(k->t->d.link, &f, &w) != 1)
		return 0; /* the timer will see to it */
	got = host_peek(k, k->snd.una, f.body, f.n);
	if (got > 0)
		seg_commit_data(k, &f, k->snd.una, MIN((size_t)got, (size_t)len), TCP_ACK);
	return got < 0 && got != -EAGAIN ? (int)got : 0;
}

/* connect() succeeded: the guest's SYN is answered. k may be gone afterwards. */
static void host_connected(struct tcp_conn *k)
{
	if (k->hand) {
		hand_begin(k);
		return;
	}
	conn_set(k, CONN_SYN_RCVD);
	carry_connected(k);
	remote_connected(k);
	guest_window_update(k);
	(void)seg_send_ctl(k, TCP_SYN | TCP_ACK, k->snd.iss); /* no room: the timer sends it again */
	tcp_snd_on_sent(&k->snd, 1, k->t->d.loop->now_ns);
	conn_timer_update(k, true);
}

/* connect() failed: the guest gets what would have come from the network. Silence is answered with silence. */
static void host_refused(struct tcp_conn *k, int err)
{
	log_limited(LOG_LVL_DEBUG, "TCP flow %u: connect: %s", k->f.index, strerror(err));
	if (carry_failed(k)) {
		conn_free(k);
		return;
	}
	if (err == ECONNREFUSED) {
		conn_reset(k);
		return;
	}
	if (err != ETIMEDOUT)
		seg_unreach(k, err);
	conn_free(k);
}

static void host_connecting(struct tcp_conn *k, uint32_t events)
{
	int err = events & (EPOLLERR | EPOLLHUP) ? sock_error(k->fd) : 0;
	bool hand = k->hand;

	if (err == ECONNRESET || err == EPIPE) {
		/* connect() had succeeded, and the reset came before we looked: a SYN that is answered by RST makes ECONNREFUSED. */
		k->host_dead = true;
		host_connected(k);
		if (!hand)
			conn_reset(k);
	} else if (err) {
		host_refused(k, err);
	} else if (events & EPOLLOUT) {
		host_connected(k);
	} else if (events & EPOLLERR && carry_failed(k)) {
		conn_free(k); /* the kernel would send its SYN again, and say so later */
	}
}

/* EPOLLIN that nothing could be done about: the window or the link is closed. */
static void host_idle(struct tcp_conn *k)
{
	k->t->stats.idle_events++;
	if (k->idle_in < IDLE_IN_MAX)
		k->idle_in++;
}

void tcp_on_host(void *ctx, struct ref ref, uint32_t events)
{
	struct tcp *t = ctx;
	struct flow *f = flow_get(t->d.flows, ref.index, ref.gen);
	struct tcp_conn *k;

	if (!f)
		return;
	k = container_of(f, struct tcp_conn, f);
	/* Told once, as all that is edge-triggered: also while nothing can be read yet. */
	if (events & (EPOLLRDHUP | EPOLLHUP))
		k->host_rdhup = true;
	if (k->state == CONN_CONNECTING) {
		host_connecting(k, events);
		return;
	}
	if (k->state == CONN_HANDED)
		return; /* whoever takes the socket over looks for himself */
	if (events & EPOLLERR && remote_event(k) && !(events & EPOLLHUP))
		events &= ~(uint32_t)EPOLLERR; /* an error hangs up as well */
	if (events & EPOLLPRI)
		k->urgent = true;
	if (events & (EPOLLIN | EPOLLPRI))
		k->drained = false;
	if ((events & EPOLLOUT) && k->out_armed) {
		k->out_armed = false;
		if (!guest_spill_flush(k) || conn_end(k))
			return;
		guest_window_update(k);
		if (tcp_rcv_update_due(&k->rcv))
			conn_ack_later(k);
	}
	if ((events & EPOLLIN) && (!tcp_snd_room(&k->snd) || !list_empty(&k->wait_node)))
		host_idle(k);
	if ((events & EPOLLERR) && (!pump_wanted(k) || !tcp_snd_room(&k->snd))) {
		/* No read will tell: ask. A connection that was reset while the guest does not read is reset at once. */
		if (sock_error(k->fd)) {
			conn_reset(k);
			return;
		}
	}
	host_pump(k);
}
