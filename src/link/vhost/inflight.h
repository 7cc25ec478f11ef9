/* SPDX-License-Identifier: MIT */
/*
 * The buffer by which a queue is gone on with after a device that vanished in the middle of its work ("Inflight I/O tracking" in
 * docs/interop/vhost-user.rst of QEMU). The front-end keeps it, and may write to it: nothing in it is more than a hint. All in the
 * machine's byte order.
 *
 * As chains are given back in order, the index of a split ring's used chains says it all, and no chain of one is ever noted as being under
 * way. Of a packed ring, neither its position nor chains whose place was written to can be told from itself; this notes both.
 */
#pragma once

#include <linux/virtio_ring.h>

#include "base/defs.h"

#define INFLIGHT_VERSION 1u
#define INFLIGHT_ALIGN 64u /* of each queue's part of the buffer */
#define INFLIGHT_CHAINS 1024u /* of a packed ring, noted at once */

struct inflight_split {
	uint64_t features; /* 0 */
	uint16_t version; /* 0: there is nothing to go on with */
	uint16_t desc_num; /* entries */
	uint16_t last_batch_head;
	uint16_t used_idx;
	struct {
		uint8_t inflight;
		uint8_t padding[5];
		uint16_t next;
		uint64_t counter;
	} desc[];
};

struct inflight_desc {
	uint8_t inflight; /* of the first one of a chain, as are last, num and counter */
	uint8_t padding;
	uint16_t next; /* free entry, or the next one of the chain; desc_num: none */
	uint16_t last, num;
	uint64_t counter; /* in the order in which they were taken */
	uint16_t id, flags;
	uint32_t len;
	uint64_t addr;
};

struct inflight_packed {
	uint64_t features;
	uint16_t version, desc_num; /* as above */
	uint16_t free_head, old_free_head;
	uint16_t used_idx, old_used_idx;
	uint8_t used_wrap_counter, old_used_wrap_counter;
	uint8_t padding[7];
	struct inflight_desc desc[];
};

/* Bytes of a queue's part, aligned. */
uint64_t inflight_len(bool packed, unsigned size);

/* Notes of a packed ring. A position is the index of a descriptor, with the wrap counter in bit 15. */
struct inflight {
	struct inflight_packed *at; /* NULL: nothing is noted */
	uint16_t size;
	uint64_t counter;
	uint16_t back, back_last; /* chains that were given back and not shown yet: entry of the newest; last entry of the oldest */
	uint32_t n_back;
};

/* Starts from nothing, with the next used descriptor at position used. */
void inflight_start(struct inflight *f, struct inflight_packed *at, uint16_t size, uint16_t used);

/*
 * Goes on with the notes of a predecessor; -EINVAL: they make no sense, or there are none. It may have been about to show what it had put
 * at the position *ret_old: whether that was shown, inflight_settle() is to be told, before anything else.
 */
MUST_USE int inflight_resume(struct inflight *f, struct inflight_packed *at, uint16_t size, uint16_t *ret_old);
void inflight_settle(struct inflight *f, bool shown);

/* After that: the position of the next used descriptor. */
uint16_t inflight_used(const struct inflight *f);

/*
 * After that: what it had taken and not given back, oldest first: how many chains, with the entry of each, and the number of its
 * descriptors. These are no more than size in all. -EINVAL: there are more, or more than INFLIGHT_CHAINS chains.
 */
MUST_USE int inflight_chains(struct inflight *f, uint16_t *ret_entry, uint16_t *ret_descs);

/* Notes a chain: inflight_begin(), each descriptor in the machine's byte order, inflight_end(). The entry of the chain. */
uint16_t inflight_begin(const struct inflight *f);
void inflight_add(struct inflight *f, uint16_t entry, const struct vring_packed_desc *d);
void inflight_end(struct inflight *f, uint16_t entry);

/* A descriptor that was noted, in the machine's byte order; *entry moves on to the next one of its chain. */
struct vring_packed_desc inflight_desc(const struct inflight *f, uint16_t *entry);

/* A chain is given back; all those that were are about to be shown, with the next used one at that position; they have been shown. */
void inflight_give_back(struct inflight *f, uint16_t entry);
void inflight_show(struct inflight *f, uint16_t used);
void inflight_shown(struct inflight *f);
