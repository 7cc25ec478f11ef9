/* SPDX-License-Identifier: MIT */
/*
 * Inside of the TCP translator: the connection, its states, and what its parts call of each other.
 *
 *   guest.c  segments of the guest: in-order data to the socket or the spill buffer, what comes ahead of a hole to the side,
 *            acknowledgements, FIN, RST
 *   host.c   events of the socket: connected, readable (peek into frames), writable (empty the spill buffer), errors
 *   remote.c what the remote behind the socket has acknowledged
 *   seg.c    segments to the guest
 *   carry.c  what is carried over of their IP headers, and errors of the way
 *   conn.c   life cycle, states, interest in events, timers
 *   accept.c connections that come from the host
 *   mtu.c    a smaller MTU behind the guest
 *   hand.c   connections that are handed over when the host has connected
 */
#pragma once

#include "base/list.h"
#include "base/timer.h"
#include "tcp/hand.h"
#include "tcp/ooo.h"
#include "tcp/rcv.h"
#include "tcp/reflect.h"
#include "tcp/snd.h"
#include "tcp/spill.h"
#include "tcp/stock.h"
#include "tcp/talk.h"
#include "tcp/tcp.h"
#include "tcp/ts.h"
#include "xlate/hosterr.h"
#include "xlate/ipopts.h"

/*
 * States. The two directions close independently once ESTABLISHED, which the flags below tell:
 *
 *   from the guest   open -> guest_fin (its FIN came in order) -> host_shut (all before it is written, shutdown() was called)
 *   from the host    open -> host_eof (the socket gave end of file) -> fin_sent -> fin_acked
 *
 * A connection with host_shut and fin_acked is done. A reset of either side ends it in any state.
 */
enum conn_state {
	CONN_FREE, /* slot is not in use */
	CONN_CONNECTING, /* the guest's SYN is unanswered: connect() is under way. fd is open, nothing was sent to the guest */
	CONN_HANDED, /* connect() succeeded: who stands in for the remote has been told of the guest's SYN, and will answer */
	CONN_SYN_SENT, /* accepted from the host: our SYN went to the guest */
	CONN_SYN_RCVD, /* connect() succeeded: our SYN-ACK went to the guest */
	CONN_ESTABLISHED, /* both sides are connected */
};

struct tcp_conn {
	struct flow f;
	struct timer timer; /* retransmission or window probe; see conn_timer_update() */
	struct timer silence; /* the guest waits for an acknowledgement; see remote.c */
	struct list ack_node; /* in tcp.acks while an ACK is due, in tcp.late while it may wait */
	struct list wait_node; /* in tcp.wait while the link has no room for what we want to send, or in tcp_hand.wait */
	struct tcp *t;
	int fd;
	uint8_t state; /* enum conn_state; written by conn_set() only */
	uint8_t idle_in; /* EPOLLIN events without progress since the last progress */
	uint8_t lazy_acks; /* since the receive queue was last cut short */
	uint16_t seen; /* bytes peeked since the receive queue was last empty, up to LAZY_BYTES (host.c) */
	uint8_t tos; /* of segments to the guest */
	uint8_t probes; /* keepalive probes without an answer */
	uint8_t challenges; /* challenge ACKs since challenge_s, in seconds */
	bool guest_fin : 1;
	bool host_shut : 1;
	bool host_rdhup : 1; /* the kernel told that the peer's FIN is there; data may stand before it */
	bool host_eof : 1;
	bool fin_sent : 1; /* in sequence space: nxt is behind our FIN */
	bool fin_known : 1; /* our FIN was sent at least once: it is the byte before max */
	bool fin_acked : 1;
	bool drained : 1; /* the receive queue holds nothing beyond nxt; the next EPOLLIN tells when it does */
	bool in_off : 1; /* readable, but the guest's window or the link is closed: EPOLLIN is not wanted */
	bool out_armed : 1; /* EPOLLOUT will come, and will reopen the window or empty the spill buffer */
	bool urgent : 1; /* urgent data was announced: a peek may end before it, with more behind */
	bool peek_off : 1; /* the socket keeps a peek offset (SO_PEEK_OFF): nxt - una + discard, but for peek_moved */
	bool sack : 1; /* both sides do SACK */
	bool peek_moved : 1; /* the offset is another one, or unknown, until the next peek sets it; see host_peek() */
	bool overdue : 1; /* the guest waited longer than it should have for an acknowledgement: it gets what there is at once */
	bool host_first : 1; /* accepted from the host */
	bool held : 1; /* what was SACKed up to hold went into the spill buffer: acknowledged as a whole or not at all; see conn_ack_seq() */
	bool vouched : 1; /* what is in the spill buffer is acknowledged, too: the guest would take it for lost; see conn_ack_seq() */
	bool keeps : 1; /* the guest does keepalive, and so does the socket */
	bool wrote : 1; /* something was sent to the host */
	bool path_known : 1; /* where the host connected: rcv.strict follows from the path */
	bool nodelay : 1; /* the socket has TCP_NODELAY */
	bool hand : 1; /* is to be handed over */
	bool host_dead : 1; /* with that: the host has reset it meanwhile */
	bool probing : 1; /* the guest's window is shut, nothing is in flight: probe timer instead of retransmission */
	struct tcp_syn syn; /* with hand: the guest's */
	struct tcp_rcv rcv;
	struct tcp_snd snd;
	struct tcp_ts ts;
	struct ipopts ip; /* of fd */
	struct tcp_sack twice; /* came though we had it, to be told with the next acknowledgement (RFC 2883); empty: nothing */
	struct spill spill;
	struct tcp_reflect reflect;
	struct ooo *ooo; /* what came ahead of a hole; NULL: nothing */
	uint32_t hold; /* with held */
	uint32_t looked_room; /* window that was left when the send buffer was last looked at */
	uint32_t discard; /* acknowledged bytes at the head of the receive queue, to be taken off */
	struct tcp_talk talk;
	uint64_t late_ns; /* until when the ACK waits, in tcp.late */
	uint32_t heard_s; /* when the guest was last heard of, seconds */
	uint32_t challenge_s;
	uint32_t silent_end; /* end of what the guest had sent when silence was set */
};

struct tcp {
	struct tcp_deps d;
	struct hosterr hosterr;
	unsigned owner, owner_listen;
	struct listeners *ls;
	struct chunk_pool *pool;
	struct list acks;
	struct list late; /* in ack_node, by late_ns: they wait for data to go with */
	struct timer late_timer; /* for the first of them */
	struct list wait;
	struct list again; /* in wait_node: more to read than one turn's share */
	struct timer again_timer;
	uint64_t again_turn; /* of the loop: the last one that entered somebody into it */
	struct timer sweep;
	uint32_t conns;
	uint8_t *scratch; /* where peeked bytes go that are skipped, without SO_PEEK_OFF */
	bool no_peek_off[2]; /* the kernel has no SO_PEEK_OFF for TCP over IPv4, IPv6 */
	struct tcp_stock stock;
	struct tcp_hand *hand; /* NULL: none is handed over */
	struct tcp_stats stats;
};

#define TCP_SCRATCH 65536u
#define TCP_KEEP_IDLE_S 600u /* silence of the guest before the first keepalive probe */
#define TCP_KEEP_PROBES 9u /* unanswered probes, one with each sweep, before the guest counts as gone */
#define TCP_SWEEP_S 60u

/* conn.c */
struct tcp_conn *conn_new(struct tcp *t, const struct flow_key *key, int fd);
void conn_set(struct tcp_conn *k, enum conn_state to);
MUST_USE int conn_watch(struct tcp_conn *k); /* enters the socket into the loop */
void conn_rearm(struct tcp_conn *k); /* has the kernel look at the socket again, with the present interest */
void conn_free(struct tcp_conn *k); /* closes the socket in the orderly way; k is gone */
void conn_reset_host(struct tcp_conn *k); /* RST to the host; k is gone */
void conn_reset(struct tcp_conn *k); /* RST to both sides; k is gone */
/* As the flow table wants it: silence for a guest that will ask again, else a reset. */
void conn_displaced(void *ctx, struct flow *f);
bool conn_done(const struct tcp_conn *k);
bool conn_end(struct tcp_conn *k); /* done: k goes, now or at the end of the turn, when the guest's FIN is acknowledged */
void conn_timer_update(struct tcp_conn *k, bool restart);
void conn_timer_fired(struct timer *timer, uint64_t now_ns);
void conn_wait_link(struct tcp_conn *k);
void conn_ack_later(struct tcp_conn *k); /* at the end of the turn */
void conn_ack_wait(struct tcp_conn *k); /* with the data that the host is about to send, or after a short while */
void conn_ack_done(struct tcp_conn *k);
void conn_ack_waited(struct timer *timer, uint64_t now_ns); /* of tcp.late */
void conn_board_get(struct tcp_conn *k); /* gives snd a board if there is memory for one */
void conn_board_put(struct tcp_conn *k);
uint32_t conn_accepted(const struct tcp_conn *k); /* all before it was taken by the host's kernel */
uint32_t conn_ack_seq(const struct tcp_conn *k); /* what to acknowledge */
MUST_USE int conn_sock_setup(struct tcp *t, int fd, bool v4, bool *ret_peek_off);
uint32_t conn_isn(const struct tcp *t, const struct flow_key *key);
uint32_t conn_ts_offset(const struct tcp *t, const struct flow_key *key);
uint16_t conn_mss_local(const struct tcp *t, bool v4); /* MSS option that we send: from the link's MTU */
uint16_t conn_mss_granted(const struct tcp *t, bool v4, uint32_t mss); /* to a guest that asks for mss: within bounds */

/* guest.c */
void guest_window_update(struct tcp_conn *k); /* looks at the send buffer and moves the window on */
void guest_shutdown(struct tcp_conn *k); /* passes the guest's FIN on when all before it is written */
MUST_USE bool guest_spill_flush(struct tcp_conn *k); /* false: k was reset and is gone */

/* remote.c */
void remote_connected(struct tcp_conn *k); /* connect() succeeded */
void remote_inward(struct tcp_conn *k, uint32_t sndbuf); /* the window is about to move on; where the remote has connected */
void remote_sent(struct tcp_conn *k); /* more of the guest's data was taken over */
void remote_flushed(struct tcp_conn *k); /* some of it left the spill buffer */
/* No reason to keep from the guest what the host's kernel took of the data before end. */
void remote_release(struct tcp_conn *k, uint32_t end);
MUST_USE bool remote_event(struct tcp_conn *k); /* EPOLLERR: true if it told of acknowledgements */
void remote_silent(struct timer *timer, uint64_t now_ns);

/* host.c */
void tcp_on_host(void *ctx, struct ref ref, uint32_t events);
void host_pump(struct tcp_conn *k); /* sends what the guest's window and the link take. k may be gone afterwards */
void host_again(struct tcp_conn *k); /* snd went back: begins with what is to be sent again. k may be gone afterwards */
MUST_USE int host_resend(struct tcp_conn *k); /* one segment from una again */
MUST_USE int host_discard(struct tcp_conn *k); /* takes acknowledged bytes off the receive queue */
MUST_USE int host_acked(struct tcp_conn *k); /* the same, unless it is too little to be worth a system call yet */

/*
 * carry.c. Hop limit and DSCP of what the guest sends are those of the socket. Its ECN bits are not: each of the two kernels does ECN by
 * itself, if at all. A SYN with a low hop limit looks for the way, as traceroute -T does: the guest is told where it ended.
 */
/* Before connect(). */
void carry_syn(const struct tcp *t, struct ipopts *o, int fd, const struct addr *to, const struct pkt *p);
void carry_data(struct tcp_conn *k, const struct pkt *p); /* p has data */
void carry_connected(struct tcp_conn *k);
/* DSCP of the handshake of a peer, IPv4 or not, whose connection was accepted: of what comes behind it, a socket does not tell. */
uint8_t carry_tos_accepted(int fd, bool v4);
bool carry_failed(struct tcp_conn *k); /* true: it was on the way, and the guest has been told */

/* accept.c */
void tcp_on_listen(void *ctx, struct ref ref, uint32_t events);

/* seg.c: false if the link has no room */
bool seg_send_ctl(struct tcp_conn *k, uint8_t flags, uint32_t seq);
bool seg_send_ack(struct tcp_conn *k);
/*
 * Empty segment just before what the guest expects: makes it answer with its present acknowledgement and window. It takes nothing else
 * from it (RFC 9293 3.10.7.4), so what is due to be told stays due.
 */
bool seg_send_probe(struct tcp_conn *k);
void seg_commit_data(struct tcp_conn *k, const struct txframe *f, uint32_t seq, size_t len, uint8_t flags);
void seg_reply_rst(struct tcp *t, const struct pkt *p, const struct tcp_hdr *h, uint32_t payload);
void seg_reply_unreach(struct tcp *t, const struct pkt *p, int err);
void seg_unreach(struct tcp_conn *k, int err);
size_t seg_quote(const struct tcp_conn *k, uint8_t ret_quote[HOSTERR_QUOTE_MAX]); /* the guest's SYN, for an ICMP error */
size_t seg_hdr_len(const struct tcp_conn *k);
size_t seg_data_max(const struct tcp_conn *k); /* payload of one frame: the MSS, or a multiple of it with segmentation offload */
