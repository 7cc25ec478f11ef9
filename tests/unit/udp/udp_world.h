/* SPDX-License-Identifier: MIT */
/* The UDP translator among fakes. */
#pragma once

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "net.h"
#include "udp/udp.h"

#define FLOWS 64

struct world {
	struct net net;
	struct udp *udp;
	struct seen seen, quote;
	struct gframe g[LINK_BATCH];

	/* Listeners, if any. */
	struct fwd_table table;
	struct listeners ls;
	struct listener l[8];
};

int world_setup(void **state);
int world_setup_times(void **state, uint32_t oneway_s, uint32_t answered_s); /* 0: the default */
int world_teardown(void **state);

/* One datagram of the guest, from its address of the family. */
void world_send(struct world *w, const struct ep *src, const struct ep *dst, const void *payload, size_t len, const struct gopt *o);

/* The only open socket, or the i-th. */
struct fake_fd *world_sock(unsigned i);

/* A listener on port with its socket bound to addr, that leads to port to of the guest. Returns its descriptor. */
int world_listen(struct world *w, const struct addr *addr, uint16_t port, uint16_t to);

/* Hands all of them to the translator; once, after the last world_listen(). */
void world_listen_start(struct world *w);
void world_listen_stop(struct world *w);

/* Events until there are none. */
void world_settle(struct world *w);

/* Checks that frame i is this datagram. */
void world_expect(struct world *w, size_t i, const struct ep *src, const struct ep *dst, const void *payload, size_t len);
