/* SPDX-License-Identifier: MIT */
/*
 * What the guest has of what we sent (SACK, RFC 2018, RFC 6675), kept as the holes that it does not have. Bytes and numbers in, decisions
 * out.
 *
 * What is lost follows from the order in which things arrive, as the link rarely changes it:
 * - more than two segments, or three ranges, arrived from behind it (IsLost() of RFC 6675 section 4), or
 * - it was sent before something that was sent again and has arrived: so a repair that got lost is repaired again without a time-out, and
 *   so is the end of the stream, behind which nothing can arrive.
 * On a path that changes the order all the same, slack says by how many bytes: nothing is lost before that much more has arrived.
 *
 * Each hole is sent again at once, and not again before one of these is true of the repair.
 */
#pragma once

#include "base/defs.h"
#include "wire/tcp.h"

#define BOARD_HOLES 200 /* what does not fit counts as not arrived */

struct board_hole {
	uint32_t from, to; /* of the last one the end is that of all that was ever sent, whatever stands here */
	uint32_t again; /* sent again up to here; from: not at all */
	uint32_t pos; /* how much had been sent again on all holes together then */
	uint32_t max; /* end of all that had been sent then */
	uint32_t at_us; /* when */
};

struct board {
	uint32_t n; /* never 0 */
	uint32_t lost; /* holes before this are lost */
	uint32_t sent; /* bytes sent again */
	uint32_t arrived; /* the last of them that is known to have arrived, in the same count */
	uint32_t now_us; /* the time, kept by the caller */
	/* Least round trip: what arrives sooner after it was sent again is no repair, but was only late (RFC 8985 6.2). */
	uint32_t rtt_us;
	uint32_t slack; /* bytes by which something may come late */
	uint32_t credit; /* bytes that may be sent; UINT32_MAX: any number */
	struct board_hole hole[BOARD_HOLES]; /* by sequence number; two may touch */
};

/* Nothing from una on has arrived, nothing is lost. */
void board_init(struct board *b, uint32_t una, uint32_t slack);

/* [from, to) has arrived. Returns how much of it is news. */
uint32_t board_arrived(struct board *b, uint32_t from, uint32_t to);

/* After the arrivals of an acknowledgement: what of the rest is lost. */
void board_judge(struct board *b, uint16_t mss);

/* len bytes from una on are lost, as far as the first hole reaches: so say duplicate acknowledgements. */
void board_lose_first(struct board *b, uint32_t len);

/* First bytes to send again; max: the end of all that was sent. False: there are none. */
bool board_next(const struct board *b, uint32_t max, uint32_t *ret_seq, uint32_t *ret_len);

/* len bytes at seq, as board_next() gave them or fewer, were sent again. */
void board_sent(struct board *b, uint32_t seq, uint32_t len, uint32_t max);

/* The retransmission timer fired: all that has not arrived is lost, repairs included. */
void board_timeout(struct board *b, uint32_t max, uint32_t credit);

/* The timer fired for nothing: what is lost follows from what arrives, as before. */
void board_forgive(struct board *b, uint16_t mss);

/* No hole but what was sent last, and nothing to repair: the board is not needed any more. */
bool board_quiet(const struct board *b);
