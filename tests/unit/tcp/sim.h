/* SPDX-License-Identifier: MIT */
/*
 * Whole connections in made-up time: the model of a guest, a path to it that may lose, double and delay segments, the translator, and a
 * remote host that acknowledges, sends and closes as it is told. Nothing happens by itself: time goes from one event to the next.
 */
#pragma once

#include "guest_peer.h"

struct path {
	unsigned loss, dup, reorder; /* in a thousand */
	uint64_t delay_ns;
};

struct sim_conf {
	struct world_conf w;
	struct peer_conf g;
	bool in; /* the host connects */
	uint32_t seed;
	struct path up, down; /* between the guest and the link */
	uint32_t write; /* bytes that the guest's application writes at a time; 0: all at once */
	uint64_t write_gap_ns;

	/* The remote, and the host's kernel. Zero: as fake_stream has it, or none. */
	uint32_t sndbuf, overhead, chunk;
	uint64_t ack_delay_ns; /* until it acknowledges what it was sent */
	uint64_t stall_at, stall_ns; /* it acknowledges nothing beyond so many bytes, for so long */
	uint32_t rcvbuf; /* of the host's kernel; 0: 128 KiB */
	uint64_t total; /* bytes that it sends */
	uint32_t push; /* bytes at a time; 0: as many as there is room for */
	uint64_t push_gap_ns;
	bool close; /* FIN behind them */

	uint32_t link_room; /* frames that the link takes at once; 0: any number */
	uint64_t link_gap_ns; /* until it takes as many again */
};

struct sim {
	struct sim_conf c;
	struct world w;
	struct guest_peer p;
	struct list up, down; /* struct flying, by time */
	struct list marks; /* acknowledgements of the remote to come */
	uint64_t start_ns, marked, push_at, write_at, stall_end, link_at;
	uint32_t rnd;
	unsigned events; /* of the loop */
	unsigned lost;
	uint32_t edge; /* right edge that we told the guest */
	bool told;
};

void sim_init(struct sim *s, const struct sim_conf *c);

/* Until nothing more will happen or the time is over. True: nothing is left to do. */
bool sim_run(struct sim *s, uint64_t max_ns);

/* Runs to the end of the connection, which must be an orderly one, with everything delivered both ways. */
void sim_finish(struct sim *s, uint64_t max_ns);
void sim_fini(struct sim *s);

/* All of this with nothing in between. */
void sim_transfer(const struct sim_conf *c, uint64_t max_ns);

/*
 * As sim_transfer() over a path that loses nothing: the guest sent nothing twice, and its probe timer never fired. Where it knows of the
 * path's delay from the handshake on, no tail loss probe would have been sent either.
 */
void sim_lossless(const struct sim_conf *c, uint64_t max_ns);
