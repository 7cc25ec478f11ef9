/* SPDX-License-Identifier: MIT */
/* The vhost-user back end in a loop, and at the other end of its socket a front-end with the driver of a network card in it. */
#pragma once

#include "../link_world.h"
#include "front.h"

#define GUEST_F(n) (UINT64_C(1) << (n))
#define GUEST_BASIC (GUEST_F(32) | GUEST_F(30))
#define GUEST_MERGE GUEST_F(15)
#define GUEST_EVENTS GUEST_F(29)
#define GUEST_PACKED GUEST_F(34)
#define GUEST_INDIRECT GUEST_F(28)
#define GUEST_SUPER (GUEST_F(1) | GUEST_F(7) | GUEST_F(8) | GUEST_F(54) | GUEST_F(55))
#define GUEST_VNET 12u
#define GUEST_SIZE 64u /* of queues, unless the test has its own */
#define GUEST_FRAME 100u
#define GUEST_BUF 2048u /* of the receive queue: room for each */

/* How far a front-end has come. */
enum guest_phase {
	GUEST_CONNECTED,
	GUEST_AGREED,
	GUEST_MEMORY,
	GUEST_RUNS,
	GUEST_DISABLED,
	GUEST_STOPPED,
	GUEST_RESET,
	GUEST_PHASES
};

struct guest {
	struct link_world w;
	struct front f;
	struct drv rx; /* of the guest: frames to it; that to the device is f.drv */
	int kick[2], call[2];
	struct {
		size_t len;
		uint8_t gso_type;
		uint16_t gso_size;
		unsigned pieces;
		uint8_t bytes[70000];
	} last; /* frame that the device got */
	bool packed; /* queues, from the next start on */
	unsigned frames, warnings;
	uint32_t seed;
	uint8_t frame[70000]; /* what the guest received last */
};

/* Connected; nothing was said yet. */
struct guest *guest_new(bool one_off);
void guest_free(struct guest *t);

/* Fixtures of a test, for SPLIT() and PACKED(). */
int setup(void **state);
int teardown(void **state);

uint32_t guest_rnd(struct guest *t, uint32_t below);

/* The device works on what there is. */
void guest_turns(struct guest *t);

/* The same until something happens, or a timer that is set. */
void guest_wait(struct guest *t);

/* The driver starts its card with these features, and with queues of that size. */
void guest_up(struct guest *t, uint64_t features, uint16_t size);

/* Tells the device of what was added to a queue, if it wants to know, and lets it work. */
void guest_kick(struct guest *t, struct drv *d, unsigned ring);

/* Sends a frame of len bytes, in one chain of two pieces, with that header. */
void guest_send(struct guest *t, const uint8_t hdr[GUEST_VNET], size_t len);

/* Offers n receive buffers of len bytes. */
void guest_buffers(struct guest *t, unsigned n, uint32_t len);

/* The next frame that was received, with its header in front: its length. Buffers are of len bytes. */
size_t guest_receive(struct guest *t, uint32_t len);

/* One more frame to the guest, if there is a way; its third byte is 3. */
bool guest_frame(struct guest *t);

/* A driver that keeps to the rules, and starts now, gets frames and is heard. */
void guest_serves(struct guest *t);

/* Another front-end connects, after the one before has gone. */
void guest_again(struct guest *t);

/* One that has just connected comes so far. */
void guest_to(struct guest *t, enum guest_phase phase);
