/* SPDX-License-Identifier: MIT */
/*
 * What we send to the guest: sequence space, its window, retransmission (RFC 9293 3.8, RFC 6298, RFC 6582). Numbers in, decisions
 * out; the data itself stays in the receive queue of the host's kernel.
 *
 * Invariant: una <= nxt <= max in sequence space. [una, nxt) is in flight as far as we count on it; [nxt, max) was sent once and is
 * being sent again after a timeout. There is no congestion control towards the guest: the link is lossless or nearly so, and is
 * bounded by the window and by the link's own room. Only recovery after a timeout is paced, by cwnd.
 *
 * A guest that tells what it has (SACK) is given a board while there are holes in that; then nxt == max, a timeout does not go back, and
 * what to send again is what tcp_snd_hole() says.
 */
#pragma once

#include "tcp/board.h"

#define TCP_RTO_INIT_US 1000000u /* RFC 6298 2.1 */
#define TCP_RTO_MIN_US 200000u /* as Linux; the guest is next door */
#define TCP_RTO_MAX_US 60000000u
#define TCP_SND_RETRIES 12 /* time-outs in a row before the guest is given up */
#define TCP_SND_WND_MAX (16u << 20) /* most that is in flight, whatever the guest offers */

struct tcp_snd {
	uint32_t iss; /* our initial sequence number */
	uint32_t una; /* oldest not acknowledged */
	uint32_t nxt; /* next to send */
	uint32_t max; /* highest ever sent, plus one */
	uint32_t wnd; /* window of the guest, bytes */
	uint32_t wl1; /* sequence number of the last window update */
	uint32_t wl2; /* acknowledgement of the last window update */
	struct board *board; /* the caller's memory; NULL: what has arrived beyond una is not known */
	uint32_t slack; /* bytes by which the path is known to change the order */
	uint32_t again_from, again_to; /* what was sent again last, but for time-outs; empty: nothing */
	uint32_t recover; /* end of the loss that is being repaired */
	uint32_t cwnd; /* bytes in flight allowed during repair; UINT32_MAX otherwise */
	uint32_t rtt_seq; /* the byte whose round trip is being timed */
	uint64_t rtt_at; /* when it was sent; 0: none is timed */
	uint32_t srtt_us, rttvar_us;
	uint32_t least_us; /* round trip; 0: not known */
	uint32_t rto_us; /* without back-off */
	uint16_t mss; /* payload of one segment to the guest */
	uint8_t wscale; /* of the windows that the guest sends */
	uint8_t dupacks;
	uint8_t backoff; /* time-outs since the last progress */
	bool repair; /* between a loss and the acknowledgement of recover */
};

/* What an acknowledgement means. */
struct tcp_snd_ack {
	uint32_t acked; /* sequence space that it newly covers, SYN and FIN included */
	bool retransmit; /* send one segment from una again, now */
	bool opened; /* more may be sent than before */
	bool twice; /* what it covers may have been sent twice: only a timestamp tells the round trip (Karn) */
	uint8_t backoff; /* time-outs that it ended */
	bool quiet; /* the board is not needed any more */
	bool bad; /* acknowledges what was never sent: answer with an ACK and ignore */
};

void tcp_snd_init(struct tcp_snd *s, uint32_t iss, uint16_t mss);

/* Takes the acknowledgement and window of a segment of the guest that carries len bytes of sequence space. */
struct tcp_snd_ack tcp_snd_on_ack(struct tcp_snd *s, const struct tcp_hdr *h, uint32_t len, uint64_t now_ns);

/* A round trip that was measured by other means. */
void tcp_snd_rtt(struct tcp_snd *s, uint64_t rtt_ns);

/*
 * The first acknowledgement behind a time-out shows that it was none (RFC 4015): nothing is sent again for that, and what was not sent yet
 * is sent as if nothing had happened. False: there is nothing to forgive.
 */
bool tcp_snd_forgive(struct tcp_snd *s);

/* The back-off of so many time-outs stays until a round trip is measured (RFC 6298 section 5): the path may have become slower. */
void tcp_snd_stay(struct tcp_snd *s, uint8_t backoff);

/* Whether the SACK blocks of a segment tell of something that has arrived ahead of a hole: then a board is of use. */
bool tcp_snd_sacked(const struct tcp_snd *s, const struct tcp_hdr *h);

/* Gives it a board, to be taken back when on_ack() says so, before a timeout with a shut window, or at any other time by board = NULL. */
void tcp_snd_set_board(struct tcp_snd *s, struct board *b);

/* With a board: what to send again first, inside of the guest's window. False: nothing. */
bool tcp_snd_hole(const struct tcp_snd *s, uint32_t *ret_seq, uint32_t *ret_len);
void tcp_snd_on_resent(struct tcp_snd *s, uint32_t seq, uint32_t len, uint64_t now_ns);

/* Bytes that may be sent from nxt on. */
uint32_t tcp_snd_room(const struct tcp_snd *s);

/* len of sequence space was sent from nxt on. */
void tcp_snd_on_sent(struct tcp_snd *s, uint32_t len, uint64_t now_ns);

/* The retransmission timer fired: everything from una on that did not arrive is to be sent again, one segment first. False: give up. */
MUST_USE bool tcp_snd_on_rto(struct tcp_snd *s);

/* What is in flight is to be sent again, as none of it arrived for a reason that is not the guest's: as after a time-out. */
void tcp_snd_again(struct tcp_snd *s);

/* Present time-out with back-off, nanoseconds. */
uint64_t tcp_snd_rto_ns(const struct tcp_snd *s);

static inline uint32_t tcp_snd_inflight(const struct tcp_snd *s)
{
	return s->nxt - s->una;
}
