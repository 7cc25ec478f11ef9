/* SPDX-License-Identifier: MIT */
/*
 * The flow table: slots of one fixed size for the flows of all protocols, a keyed hash from addresses to slot, generations.
 *
 * A protocol's structure begins with struct flow. A slot belongs to its protocol from flow_new() to flow_free(). The table is mapped
 * once; pages are used when slots are. Slot numbers and generations make the references of events (os/loop.h).
 */
#pragma once

#include "base/addr.h"
#include "base/hash.h"
#include "base/list.h"

#define FLOW_QUEUE_MASK 0x7fu
#define FLOW_GEN_MASK 0xffffffu /* generations have 24 bits, as in struct ref */

/* One translated association as the guest sees it. For echo the identifier is gport and rport is 0. Zero padding throughout. */
struct flow_key {
	struct addr guest, remote;
	uint16_t gport, rport;
	uint8_t proto; /* IP protocol number */
	uint8_t pad[3];
};

/* Payload that went one way. */
struct flow_count {
	uint64_t packets, bytes;
};

struct flow {
	struct flow_key key;
	uint32_t index; /* slot number */
	uint32_t gen : 24;
	uint32_t used : 1;
	uint32_t queue : 7; /* pair of the link's queues that the guest's frames of it came by last */
	struct list half; /* in the table's list of half-open flows */
	uint64_t born_ns; /* this and the rest: kept by the protocol */
	struct flow_count to_host, to_guest; /* not of TCP, where the host's kernel counts */
};

/* What else there is to be told of a flow. */
struct flow_show {
	const char *state;
	bool host_first; /* the host began it */
	int fd; /* of the host's side; -1: none of its own */
	struct ep peer; /* whom that talks to; port 0 and any address: ask the socket */
};

static inline void flow_counted(struct flow_count *c, uint64_t packets, uint64_t bytes)
{
	c->packets += packets;
	c->bytes += bytes;
}

struct flow_table;

/* Room for max flows of slot_size bytes (a multiple of 8, at least sizeof(struct flow)). NULL if the memory can't be mapped. */
struct flow_table *flow_table_new(uint32_t max, size_t slot_size, const struct hash_key *key);
void flow_table_free(struct flow_table *t);

/* What one guest may have, beside the number of slots. 0: no such limit. */
struct flow_limits {
	uint32_t half_open; /* at once */
	uint32_t rate; /* flows that the guest begins in a second */
};

void flow_table_limit(struct flow_table *t, const struct flow_limits *l);

/* For a flow that has to give way: fn takes it out with flow_free(). Without fn none gives way. */
typedef void flow_displace_fn(void *ctx, struct flow *f);
void flow_table_on_displace(struct flow_table *t, flow_displace_fn *fn, void *ctx);

/*
 * f has been begun by one side, and the other has not answered yet. That ends with flow_settle() or flow_free(). Where the table is full,
 * or there are more of them than may be, the newest one that was there gives way, with a warning: those that are settled stay, and older
 * ones keep their chance while somebody floods us. May call the function of flow_table_on_displace() for another flow than f.
 */
void flow_half_open(struct flow_table *t, struct flow *f);
void flow_settle(struct flow_table *t, struct flow *f);

/* The guest wants to begin a flow: counts it. False, with a warning: it begins too many a second, so this one is to be dropped. */
MUST_USE bool flow_admit(struct flow_table *t, uint64_t now_ns);

/* Whether there is a slot for a new flow, if need be that of one that gives way. False is logged. */
MUST_USE bool flow_make_room(struct flow_table *t);

/* A zeroed slot entered under key, if need be that of a flow that gives way; NULL if the table is full or the key is there already. */
struct flow *flow_new(struct flow_table *t, const struct flow_key *key);

/* Takes f out; its generation ends. */
void flow_free(struct flow_table *t, struct flow *f);

/* The flow of this key, or NULL. The only lookup by address that there is. */
struct flow *flow_find(struct flow_table *t, const struct flow_key *key);

/* What follows from a key, always the same in this table, and can't be foreseen by somebody who does not know the table's secret. */
uint32_t flow_hash(const struct flow_table *t, const struct flow_key *key);

/* The flow in this slot if it lives in this generation, or NULL. */
struct flow *flow_get(struct flow_table *t, uint32_t index, uint32_t gen);

uint32_t flow_count(const struct flow_table *t);
uint32_t flow_max(const struct flow_table *t);

/* Half-open flows now; and since the start, those that gave way, and those of the guest that were too many a second. */
struct flow_stats {
	uint32_t half_open;
	uint64_t displaced, over_rate;
};

const struct flow_stats *flow_stats(const struct flow_table *t);

/* Calls fn for every flow, in order of slots; fn may free the flow that it gets. */
void flow_each(struct flow_table *t, void (*fn)(void *ctx, struct flow *f), void *ctx);

/* The first flow in slot *index or behind it, before slot end; *index is its slot. NULL: there is none, *index is end or the number of slots. */
struct flow *flow_next(struct flow_table *t, uint32_t *index, uint32_t end);

static inline struct flow_key flow_key_init(uint8_t proto, const struct addr *guest, uint16_t gport, const struct addr *remote,
					    uint16_t rport)
{
	return (struct flow_key){ .guest = *guest, .remote = *remote, .gport = gport, .rport = rport, .proto = proto };
}
