/* SPDX-License-Identifier: MIT */
/*
 * A link whose other end is the test: what a translator commits is kept whole, header and body in one run of bytes.
 *
 * The room is counted in frames: reserve() falls short when it is used up, and fake_link_room() with more of it stands for a guest that
 * reads again (the caller then does what core does from cb.tx_ready). Frames are checked as link.h demands: committed in the order of the
 * reservation, a header of the reserved length, no more bytes than there are. A breach fails the test at once.
 */
#pragma once

#include "link/link.h"

#define FAKE_LINK_HDR_MAX 256
#define FAKE_LINK_FRAMES 4096 /* captured, at most */

struct fake_frame {
	uint8_t *bytes; /* header and body, without padding */
	size_t len;
	size_t hdr_len;
	uint8_t gso_type;
	uint16_t gso_size;
	uint16_t csum_start, csum_offset;
	unsigned queue; /* of the reservation */
};

struct fake_link {
	struct link link;
	size_t room; /* frames that may still be committed; SIZE_MAX: any number */
	uint32_t full; /* bits of queues that have none */
	size_t piece; /* bodies are cut into segments of this size (0: one segment), to show code that takes body[0] for all */
	struct fake_frame *frame;
	size_t frames;
	unsigned reserves, commits, flushes;

	/* The last reservation. */
	uint8_t *buf[LINK_BATCH];
	size_t given, next, hdr, body;
	unsigned queue;
};

/* MTU 1500, no offloads, up, room without end. */
void fake_link_init(struct fake_link *l);
void fake_link_fini(struct fake_link *l);

/* Forgets what was captured. */
void fake_link_clear(struct fake_link *l);

/* From now on, room for n more frames. */
void fake_link_room(struct fake_link *l, size_t n);

/* The captured frame number i; the test fails if there is none. */
const struct fake_frame *fake_link_frame(const struct fake_link *l, size_t i);
