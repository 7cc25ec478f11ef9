/* SPDX-License-Identifier: MIT */
/* Segments of the guest. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/iov.h"
#include "base/log.h"
#include "os/sock.h"
#include "tcp/conn.h"
#include "wire/ip.h"

#define GUEST_IOV 256
#define MSS_DEFAULT4 536 /* RFC 9293 3.7.1 */
#define MSS_DEFAULT6 1220
#define CHALLENGES 10 /* of each connection, */
#define CHALLENGE_S 5u /* in so many seconds (RFC 5961 7) */
#define KEEP_IDLE_MAX 32767u /* MAX_TCP_KEEPIDLE of the kernel */
#define SHORT 512 /* fits a segment of the default MSS, options included */

/* In-order payload of consecutive segments, gathered for one sendmsg(). */
struct batch {
	struct tcp_conn *k; /* NULL: the connection is gone */
	struct iovec iov[GUEST_IOV];
	unsigned n;
	unsigned segs; /* segments, or superframes, that it is of */
	size_t len;
	bool fin; /* the FIN behind all of it came in order */
	uint32_t silent_s; /* seconds without a segment before this one */
	bool pump; /* the guest can take more than before */
	bool progress; /* it acknowledged something new */
};

/* A segment, taken apart. */
struct segment {
	struct tcp_hdr h;
	const struct frame *f;
	size_t off; /* of the payload in the frame */
	uint32_t len; /* of the payload */
};

static int segment_read(const struct pkt *p, const struct frame *f, struct segment *ret_s)
{
	struct segment s = { .f = f };
	struct rd r = pkt_l4(p);
	int err = tcp_hdr_read(&r, &s.h);

	if (err)
		return err;
	if (s.h.hlen > p->l4_len)
		return -EBADMSG;
	s.off = p->l4 + s.h.hlen;
	s.len = p->l4_len - s.h.hlen;
	*ret_s = s;
	return 0;
}

/*
 * Nagle's algorithm was applied by the guest already. That of the host holds nothing of a first message that fits into any segment; many
 * connections have no other, and save a system call.
 */
static void guest_nodelay(struct tcp_conn *k, size_t len)
{
	bool first = !k->wrote && len <= SHORT;

	k->wrote = true;
	if (first || k->nodelay)
		return;
	k->nodelay = true;
	if (sock_set_int(k->fd, IPPROTO_TCP, TCP_NODELAY, 1))
		log_limited(LOG_LVL_DEBUG, "TCP: no TCP_NODELAY"); /* a dead socket, which the next call finds out */
}

/* Writes to the socket what it takes and spills the rest. Result: 0, or -errno of a dead socket. */
static int guest_take(struct tcp_conn *k, const struct iovec *iov, unsigned n, size_t len)
{
	struct tcp *t = k->t;
	ssize_t sent = 0;
	size_t kept;

	guest_nodelay(k, len);
	if (!k->spill.len) {
		sent = sock_send(k->fd, iov, n, 0);
		/* Nothing that is in memory which was cut off was ever said: the link will tell, and the guest may come back. */
		if (sent == -EFAULT)
			return 0;
		if (sent < 0 && sent != -EAGAIN)
			return (int)sent;
		if (sent < 0)
			sent = 0;
	}
	k->rcv.nxt += (uint32_t)sent;
	if ((size_t)sent == len)
		return 0;
	/* The send that fell short made the kernel promise EPOLLOUT. */
	k->out_armed = true;
	kept = spill_put(t->pool, &k->spill, iov, n, (size_t)sent, len - (size_t)sent);
	k->rcv.nxt += (uint32_t)kept;
	t->stats.spilled += kept;
	if (kept < len - (size_t)sent) {
		t->stats.spill_full++;
		log_limited(LOG_LVL_WARN, "TCP: buffers for slow sockets are full, the guest has to send again");
	}
	return 0;
}

static int guest_write(struct tcp_conn *k, const struct iovec *iov, unsigned n, size_t len)
{
	int err = guest_take(k, iov, n, len);

	if (!err)
		remote_sent(k);
	return err;
}

/* The connection is gone, and with it what was gathered: a SYN behind it, in the same call, begins another one. */
static void batch_clear(struct batch *b)
{
	b->k = NULL;
	b->n = b->segs = 0;
	b->len = 0;
	b->fin = b->pump = b->progress = false;
}

/* A dead socket: the guest gets what a peer would send. */
static void guest_broken(struct batch *b, int err)
{
	log_limited(LOG_LVL_DEBUG, "TCP flow %u: socket: %s", b->k->f.index, strerror(-err));
	conn_reset(b->k);
	batch_clear(b);
}

void guest_shutdown(struct tcp_conn *k)
{
	int err;

	if (!k->guest_fin || k->host_shut || k->spill.len)
		return;
	err = sock_shutdown_wr(k->fd);
	if (err) /* ENOTCONN: reset; its event follows */
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: shutdown: %s", k->f.index, strerror(-err));
	k->host_shut = true;
	conn_ack_later(k);
}

static void guest_fin(struct tcp_conn *k)
{
	k->rcv.nxt++;
	k->guest_fin = true;
	ooo_free(k->t->pool, &k->ooo);
	guest_shutdown(k);
}

/* A hole was filled: what was kept behind it is next. Result: 0, or -errno of a dead socket. */
static int guest_filled(struct tcp_conn *k)
{
	struct chunk_pool *pool = k->t->pool;
	struct iovec iov[GUEST_IOV];
	unsigned n;

	/* It may have filled other holes as well, and what stands between them is not needed any more. */
	ooo_drop(pool, &k->ooo, k->rcv.nxt);
	while ((n = ooo_peek(pool, k->ooo, k->rcv.nxt, iov, GUEST_IOV))) {
		size_t len = iov_len(iov, n);
		uint32_t end = k->rcv.nxt + (uint32_t)len;
		int err = guest_write(k, iov, n, len);

		if (err)
			return err;
		if (k->rcv.nxt != end)
			ooo_free(pool, &k->ooo); /* no memory: the guest sends it again */
		k->held = k->spill.len;
		k->hold = end;
	}
	ooo_drop(pool, &k->ooo, k->rcv.nxt);
	if (ooo_fin(k->ooo, k->rcv.nxt))
		guest_fin(k);
	return 0;
}

/* What is to be said of the data that was handed on. wait: that may wait for the host's answer. */
static void guest_taken(struct tcp_conn *k, bool wait)
{
	if (wait && !k->spill.len && !k->guest_fin && !k->ooo && list_empty(&k->ack_node))
		conn_ack_wait(k);
	else
		conn_ack_later(k);
}

/* Hands on what was gathered. */
static void batch_flush(struct batch *b)
{
	struct tcp_conn *k = b->k;
	uint32_t end;
	bool wait;
	int err;

	if (!k || (!b->len && !b->fin))
		return;
	end = k->rcv.nxt + (uint32_t)b->len;
	wait = tcp_talk_heard(&k->talk, b->segs == 1 && b->len <= k->rcv.mss && k->rcv.nxt == k->rcv.adv_ack);
	err = b->len ? guest_write(k, b->iov, b->n, b->len) : 0;
	b->n = b->segs = 0;
	b->len = 0;
	if (err) {
		guest_broken(b, err);
		return;
	}
	if (b->fin && k->rcv.nxt == end)
		guest_fin(k);
	b->fin = false;
	err = k->ooo ? guest_filled(k) : 0;
	if (err) {
		guest_broken(b, err);
		return;
	}
	/* What went into the spill buffer is not acknowledged yet; to say nothing new three times would tell the guest of a loss. */
	if (conn_ack_seq(k) != k->rcv.adv_ack || k->rcv.nxt != end + k->guest_fin)
		guest_taken(k, wait);
}

/* rcv.nxt as it will be when the batch is handed on. */
static uint32_t batch_next(const struct batch *b)
{
	return b->k->rcv.nxt + (uint32_t)b->len + b->fin;
}

static void batch_ack_now(struct batch *b)
{
	batch_flush(b);
	if (b->k && !seg_send_ack(b->k))
		conn_ack_later(b->k);
}

/*
 * To a segment that somebody may have made up. How many we send is bounded for each connection by itself: a bound that all of them share
 * would tell a stranger about the others.
 */
static void batch_challenge(struct batch *b)
{
	struct tcp_conn *k = b->k;
	uint32_t now_s = (uint32_t)(k->t->d.loop->now_ns / NSEC_PER_SEC);

	if (now_s - k->challenge_s >= CHALLENGE_S) {
		k->challenge_s = now_s;
		k->challenges = 0;
	}
	if (k->challenges == CHALLENGES) {
		k->t->stats.challenges_held++;
		return;
	}
	k->challenges++;
	k->t->stats.challenges++;
	batch_ack_now(b);
}

static void batch_add(struct batch *b, const struct segment *s, const struct tcp_rcv_cut *cut)
{
	size_t got = 0;

	if (cut->len) {
		b->n += iov_slice(s->f->iov, s->f->n, s->off + cut->skip, cut->len, b->iov + b->n, GUEST_IOV - b->n, &got);
		b->len += got;
		b->segs++;
	}
	b->fin = cut->fin && got == cut->len;
}

/* Bytes of the host's data, and perhaps our FIN, were acknowledged. */
static void guest_acked(struct batch *b, uint32_t acked)
{
	struct tcp_conn *k = b->k;

	b->progress = true;
	if (k->fin_known && k->snd.una == k->snd.max && !k->fin_acked) {
		k->fin_sent = true;
		k->fin_acked = true;
		acked--;
	}
	k->discard += acked;
}

/* A guest that was only stalled has all that was sent, or will have it: to send it again would double its work. */
static void guest_forgive(struct tcp_conn *k, const struct tcp_hdr *h, struct tcp_snd_ack *a)
{
	if (!a->backoff || !tcp_ts_spurious(&k->ts, h) || !tcp_snd_forgive(&k->snd))
		return;
	k->fin_sent = k->fin_known && k->snd.nxt == k->snd.max;
	a->retransmit = false;
	a->opened = true;
}

/* The acknowledgement of a segment that carries len of sequence space. */
static struct tcp_snd_ack guest_ack(struct tcp_conn *k, const struct tcp_hdr *h, uint32_t len)
{
	uint64_t now_ns = k->t->d.loop->now_ns, rtt;
	struct tcp_snd_ack a = tcp_snd_on_ack(&k->snd, h, len, now_ns);

	if (!a.twice)
		return a;
	switch (tcp_ts_rtt(&k->ts, h, now_ns, &rtt)) {
	case TCP_TS_RTT:
		tcp_snd_rtt(&k->snd, rtt);
		break;
	case TCP_TS_RTT_BEFORE:
		tcp_snd_stay(&k->snd, a.backoff);
		guest_forgive(k, h, &a);
		break;
	case TCP_TS_RTT_NONE:
		break;
	}
	return a;
}

/* False: nothing of the segment counts (RFC 7323 5.3). */
static bool batch_ts_check(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;

	switch (tcp_ts_check(&k->ts, &s->h, k->t->d.loop->now_ns)) {
	case TCP_TS_OLD:
		batch_ack_now(b);
		return false;
	case TCP_TS_NONE:
		return false;
	case TCP_TS_TAKE:
		break;
	}
	return true;
}

/* The segment was taken so far: not before, or one made up would have all that follows refused. */
static void batch_ts_note(struct batch *b, const struct segment *s)
{
	uint32_t end = s->h.seq + s->len + !!(s->h.flags & TCP_FIN);
	struct tcp_conn *k = b->k;

	if (k->ts.on && tcp_ts_covers(k->rcv.adv_ack, s->h.seq, end))
		tcp_ts_note(&k->ts, &s->h, k->t->d.loop->now_ns);
}

/* False: nothing more of the segment counts. */
static bool batch_on_ack(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;
	uint32_t nxt = k->snd.nxt;
	struct tcp_snd_ack a;

	if (k->sack && tcp_snd_sacked(&k->snd, &s->h))
		conn_board_get(k);
	a = guest_ack(k, &s->h, s->len + !!(s->h.flags & TCP_FIN));
	if (a.quiet)
		conn_board_put(k);
	if (a.bad) {
		batch_challenge(b); /* RFC 5961 5.2 */
		return false;
	}
	batch_ts_note(b, s);
	if (k->snd.nxt != nxt)
		k->peek_moved = k->peek_off; /* it was behind what the guest has */
	if (a.acked)
		guest_acked(b, a.acked);
	if (a.opened)
		b->pump = true;
	if (a.retransmit && (host_discard(k) || host_resend(k))) {
		conn_reset(k);
		batch_clear(b);
		return false;
	}
	return true;
}

/* RFC 5961 3.2: only an exact RST resets, others in the window are challenged. */
static void batch_on_rst(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;

	if (s->h.seq == batch_next(b) || s->h.seq == k->rcv.adv_ack) {
		conn_reset_host(k);
		batch_clear(b);
	} else if (tcp_rcv_in_window(&k->rcv, s->h.seq)) {
		batch_challenge(b);
	}
}

/* A segment ahead of a hole, of which what lies inside the window is kept. */
static void batch_keep(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;
	struct ooo_seg o = { .iov = s->f->iov, .n = s->f->n, .off = s->off, .seq = s->h.seq, .len = s->len };
	uint32_t inside = tcp_rcv_limit(&k->rcv) - s->h.seq;

	o.fin = s->h.flags & TCP_FIN && inside >= o.len;
	o.len = MIN(o.len, inside);
	k->t->stats.ooo++;
	ooo_put(k->t->pool, &k->ooo, k->rcv.nxt, &o);
}

/* A byte, or none, before what we expect: not in a window that is shut, where it asks for that. */
static bool is_keepalive(const struct tcp_conn *k, const struct segment *s)
{
	return s->len <= 1 && s->h.seq == k->rcv.nxt - 1 && k->rcv.nxt == k->rcv.adv_ack && seq_gt(k->rcv.adv_edge, k->rcv.adv_ack);
}

/*
 * The guest wants to know whether its peer is alive, and keeps what remembers the connection on the way. We answer, so the host's kernel has
 * to do that for it: from now on, after as long as the guest has waited, and as often as the host is set to.
 */
static void guest_keepalive(struct tcp_conn *k, uint32_t silent_s)
{
	int err;

	if (k->keeps)
		return;
	k->keeps = true;
	err = sock_set_int(k->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	if (!err)
		err = sock_set_int(k->fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)CLAMP(silent_s, 1u, KEEP_IDLE_MAX));
	if (err)
		log_limited(LOG_LVL_DEBUG, "TCP flow %u: no keepalive: %s", k->f.index, strerror(-err));
}

static void batch_established(struct batch *b, const struct segment *s)
{
	struct tcp_rcv_cut cut;
	enum tcp_rcv_verdict v;
	struct tcp_rcv rcv;

	if (s->h.flags & TCP_RST) {
		batch_on_rst(b, s);
		return;
	}
	if (s->h.flags & TCP_SYN) {
		batch_challenge(b); /* RFC 5961 4.2 */
		return;
	}
	if (!(s->h.flags & TCP_ACK))
		return;
	if (!batch_on_ack(b, s))
		return;
	/* First of all, as not all of it may be taken. */
	if (b->n + s->f->n > GUEST_IOV)
		batch_flush(b);
	if (!b->k)
		return;
	if (b->k->guest_fin || b->fin) {
		if (s->len || s->h.flags & TCP_FIN || seq_lt(s->h.seq, batch_next(b)))
			batch_ack_now(b); /* all of it was there before */
		return;
	}
	rcv = b->k->rcv;
	rcv.nxt = batch_next(b);
	v = tcp_rcv_check(&rcv, s->h.seq, s->len, s->h.flags & TCP_FIN, &cut);
	if (v == TCP_RCV_TAKE) {
		batch_add(b, s, &cut);
		if (b->k && b->k->ooo)
			batch_flush(b);
		return;
	}
	if (v == TCP_RCV_AHEAD)
		batch_keep(b, s);
	if (v == TCP_RCV_OLD && is_keepalive(b->k, s))
		guest_keepalive(b->k, b->silent_s);
	if (v == TCP_RCV_OLD && s->len) {
		b->k->twice = (struct tcp_sack){ s->h.seq, s->h.seq + s->len };
		b->k->held = false;
		b->k->vouched = b->k->spill.len;
	}
	remote_release(b->k, v == TCP_RCV_OLD ? s->h.seq + s->len : b->k->rcv.nxt);
	if (v != TCP_RCV_AHEAD || s->len || s->h.flags & TCP_FIN)
		batch_ack_now(b);
}

static uint16_t guest_mss(const struct tcp *t, bool v4, const struct tcp_hdr *h)
{
	return conn_mss_granted(t, v4, h->mss ? h->mss : v4 ? MSS_DEFAULT4 : MSS_DEFAULT6);
}

/* What the guest's SYN or SYN-ACK tells. */
static void guest_syn(struct tcp_conn *k, const struct tcp_hdr *h)
{
	bool v4 = addr_is4(&k->f.key.guest);
	uint16_t opts;

	tcp_ts_syn(&k->ts, h, k->t->d.link->lossy, k->t->d.loop->now_ns);
	/* Neither MSS option leaves room for other options: who sends them sends that much less (RFC 6691). */
	opts = k->ts.on ? TCP_TS_LEN : 0;
	tcp_rcv_init(&k->rcv, h->seq, (uint16_t)(conn_mss_local(k->t, v4) - opts));
	k->snd.mss = (uint16_t)(guest_mss(k->t, v4, h) - opts);
	/* Its round trip in the handshake is one to us: what waits for the remote would seem to be lost. */
	k->rcv.strict = k->host_first;
	k->snd.wnd = h->window;
	k->snd.wl1 = h->seq;
	k->snd.wl2 = h->ack;
	k->sack = h->sack_ok;
	if (h->has_wscale) {
		k->snd.wscale = h->wscale;
		k->rcv.wscale = TCP_WSCALE;
	}
}

static void batch_syn_sent(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;

	if ((s->h.flags & TCP_ACK) && s->h.ack != k->snd.iss + 1) {
		if (!(s->h.flags & TCP_RST))
			(void)seg_send_ctl(k, TCP_RST, s->h.ack);
		return;
	}
	if (!(s->h.flags & TCP_ACK))
		return;
	if (s->h.flags & TCP_RST) {
		conn_reset_host(k);
		batch_clear(b);
		return;
	}
	if (!(s->h.flags & TCP_SYN))
		return;
	guest_syn(k, &s->h);
	(void)guest_ack(k, &s->h, 1);
	conn_set(k, CONN_ESTABLISHED);
	guest_window_update(k);
	conn_ack_later(k);
	b->pump = b->progress = true;
}

static void batch_syn_rcvd(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;

	if (s->h.flags & TCP_RST) {
		batch_on_rst(b, s);
		return;
	}
	if (s->h.flags & TCP_SYN && s->h.seq == k->rcv.irs) {
		tcp_ts_note(&k->ts, &s->h, k->t->d.loop->now_ns);
		(void)seg_send_ctl(k, TCP_SYN | TCP_ACK, k->snd.iss);
		return;
	}
	if (s->h.flags & TCP_SYN) {
		batch_challenge(b);
		return;
	}
	if (!(s->h.flags & TCP_ACK))
		return;
	if (s->h.ack != k->snd.nxt) {
		(void)seg_send_ctl(k, TCP_RST, s->h.ack);
		return;
	}
	/* The SYN's window was not scaled; that of this segment is. */
	(void)guest_ack(k, &s->h, 0);
	conn_set(k, CONN_ESTABLISHED);
	b->pump = b->progress = true;
	batch_established(b, s);
}

/* Our answer to the guest's SYN is on its way, by another one than us. */
static void batch_handed(struct batch *b, const struct segment *s)
{
	struct tcp_conn *k = b->k;

	if (s->h.flags & TCP_RST && s->h.seq == k->rcv.nxt)
		hand_given_up(k);
	else if (s->h.flags & TCP_SYN && s->h.seq == k->rcv.irs)
		hand_again(k);
	batch_clear(b);
}

static void batch_connecting(struct batch *b, const struct segment *s)
{
	if ((s->h.flags & TCP_RST) && s->h.seq == b->k->rcv.nxt) {
		conn_free(b->k);
		batch_clear(b);
	}
}

/* The guest's SYN: opens a socket and connects it. The answer waits for the result. */
static void guest_open(struct tcp *t, const struct pkt *p, const struct segment *s, const struct flow_key *key)
{
	struct ep dst = { .addr = p->dst, .port = p->dport }, to;
	struct tcp_ready ready;
	struct tcp_conn *k;
	struct ipopts ip;
	int err;

	if (nat_to_host(t->d.nat, PROTO_TCP, &dst, &to)) {
		seg_reply_rst(t, p, &s->h, s->len); /* an address of ours where nothing answers */
		return;
	}
	/* Silence: a guest that means it asks again, when it may have become better. */
	if (!flow_admit(t->d.flows, t->d.loop->now_ns) || !flow_make_room(t->d.flows))
		return;
	err = tcp_stock_take(t, &to.addr, &ready);
	if (err) {
		log_limited(LOG_LVL_WARN, "TCP: no socket for a connection of the guest: %s", strerror(-err));
		seg_reply_unreach(t, p, -err);
		return;
	}
	carry_syn(t, &ip, ready.fd, &to.addr, p);
	err = sock_connect(ready.fd, addr_family(&to.addr), &to, t->d.out->scope6);
	if (err == -EINPROGRESS)
		err = 0;
	if (err) {
		sock_close(ready.fd);
		if (err == -ECONNREFUSED || err == -EADDRNOTAVAIL)
			seg_reply_rst(t, p, &s->h, s->len);
		else
			seg_reply_unreach(t, p, -err);
		return;
	}
	k = conn_new(t, key, ready.fd);
	if (!k) {
		sock_close(ready.fd);
		return;
	}
	k->peek_off = ready.peek_off;
	k->ip = ip;
	k->hand = hand_takes(t->hand, tcp_syn_stays(p));
	k->syn = tcp_syn_of(&s->h);
	tcp_snd_init(&k->snd, conn_isn(t, key), conn_mss_granted(t, addr_is4(&key->guest), 0));
	guest_syn(k, &s->h);
	conn_set(k, CONN_CONNECTING);
	if (conn_watch(k))
		conn_reset(k);
}

/* Once for all segments of a call: takes acknowledged data off the socket, moves the window, sends what may be sent now. */
static void batch_end(struct batch *b)
{
	struct tcp_conn *k;

	batch_flush(b);
	k = b->k;
	if (!k || k->state != CONN_ESTABLISHED)
		return;
	if (k->discard && host_acked(k)) {
		conn_reset(k);
		return;
	}
	if (conn_end(k))
		return;
	if (!k->out_armed && tcp_rcv_limit(&k->rcv) - k->rcv.nxt <= k->looked_room / 2) {
		guest_window_update(k);
		if (tcp_rcv_update_due(&k->rcv))
			conn_ack_later(k);
	}
	if (k->probing && k->snd.wnd)
		k->snd.backoff = 0;
	if (b->progress)
		conn_timer_update(k, true);
	if (b->pump || b->progress)
		host_pump(k);
}

void guest_window_update(struct tcp_conn *k)
{
	uint32_t size, used;

	if (k->spill.len || k->host_shut)
		return; /* the event that empties it looks again */
	if (sock_sndmem(k->fd, &size, &used)) {
		size = TCP_WINDOW_LOW; /* kernels before 4.12 */
		used = 0;
	}
	remote_inward(k, size);
	if (!tcp_rcv_open(&k->rcv, k->rcv.nxt, size, used) && !k->out_armed) {
		k->out_armed = true;
		conn_rearm(k);
	}
	k->looked_room = tcp_rcv_limit(&k->rcv) - k->rcv.nxt;
}

bool guest_spill_flush(struct tcp_conn *k)
{
	struct iovec iov[GUEST_IOV];

	while (k->spill.len) {
		unsigned n = spill_peek(k->t->pool, &k->spill, iov, GUEST_IOV);
		size_t len = iov_len(iov, n);
		ssize_t sent = sock_send(k->fd, iov, n, 0);

		if (sent == -EAGAIN)
			sent = 0;
		if (sent < 0) {
			conn_reset(k);
			return false;
		}
		spill_drop(k->t->pool, &k->spill, (size_t)sent);
		if (sent)
			remote_flushed(k);
		if ((size_t)sent < len) {
			k->out_armed = true;
			return true;
		}
	}
	k->held = k->vouched = false;
	guest_shutdown(k);
	return true;
}

static void batch_segment(struct batch *b, const struct segment *s)
{
	if (b->k->state >= CONN_SYN_RCVD && b->k->ts.on && !batch_ts_check(b, s))
		return;
	switch ((enum conn_state)b->k->state) {
	case CONN_CONNECTING:
		batch_connecting(b, s);
		break;
	case CONN_HANDED:
		batch_handed(b, s);
		break;
	case CONN_SYN_SENT:
		batch_syn_sent(b, s);
		break;
	case CONN_SYN_RCVD:
		batch_syn_rcvd(b, s);
		break;
	case CONN_ESTABLISHED:
		batch_established(b, s);
		break;
	case CONN_FREE:
		break;
	}
}

/* The connection of the frames that just came. */
static struct tcp_conn *conn_find(struct tcp *t, const struct flow_key *key)
{
	struct flow *f = flow_find(t->d.flows, key);

	if (!f)
		return NULL;
	f->queue = t->d.link->rx_queue & FLOW_QUEUE_MASK;
	return container_of(f, struct tcp_conn, f);
}

void tcp_from_guest(struct tcp *t, const struct pkt *p, const struct frame *f, unsigned n)
{
	struct flow_key key = flow_key_init(PROTO_TCP, &p->src, p->sport, &p->dst, p->dport);
	uint32_t now_s = (uint32_t)(t->d.loop->now_ns / NSEC_PER_SEC);
	struct batch b = { .k = conn_find(t, &key) };

	for (unsigned i = 0; i < n; i++) {
		struct segment s;

		if (segment_read(&p[i], &f[i], &s))
			continue;
		if (b.k) {
			b.silent_s = now_s - b.k->heard_s;
			b.k->heard_s = now_s;
			b.k->probes = 0;
			if (s.len)
				carry_data(b.k, &p[i]);
			batch_segment(&b, &s);
		} else if ((s.h.flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN) {
			guest_open(t, &p[i], &s, &key);
			b.k = conn_find(t, &key);
		} else {
			seg_reply_rst(t, &p[i], &s.h, s.len);
		}
	}
	batch_end(&b);
}
