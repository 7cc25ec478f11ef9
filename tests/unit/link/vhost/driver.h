/* SPDX-License-Identifier: MIT */
/*
 * The driver's half of a virtqueue, split or packed (virtio 1.2 sections 2.7 and 2.8), written from the specification alone, with counters
 * that never wrap.
 * Its memory is two regions that follow each other in the guest and lie the other way round in the file.
 */
#pragma once

#include "link/vhost/mem.h"

#define DRV_MEM (2u << 20)
#define DRV_GUEST UINT64_C(0x40000000) /* of the first byte */
#define DRV_HALF (DRV_GUEST + DRV_MEM / 2) /* where the second region begins */
#define DRV_USER UINT64_C(0x7f1200000000) /* of the same byte in the front-end */
#define DRV_ROOM (DRV_GUEST + 0x40000) /* memory from here on is the test's */

#define DRV_NAMES 1024u /* chains of a packed ring, at most */

/* Entries of a table of tests that have setup() and teardown(), whose initial state is a pointer if rings are packed. */
#define SPLIT(f) \
	{ \
#f, f, setup, teardown, NULL \
	}
#define PACKED(f) \
	{ \
#f " (packed)", f, setup, teardown, (void *)"packed" \
	}

#define DRV_NEXT 1u
#define DRV_WRITE 2u
#define DRV_INDIRECT 4u
#define DRV_AVAIL 0x80u /* in a packed ring: available in the first lap and each second one after it */
#define DRV_USED 0x8000u /* available in the others; with both, or none, used */

struct drv_used {
	uint32_t id, len;
};

struct drv_piece {
	uint64_t addr;
	uint32_t len;
};

struct drv {
	int fd;
	uint8_t *file;
	uint16_t size;
	bool event_idx, packed;
	uint64_t desc, avail,
		used; /* addresses in the guest; of a packed ring, of it and of the driver's and the device's events */
	uint64_t added, kicked, reaped; /* chains so far */
	unsigned desc_at; /* descriptors so far: the next free one */
	unsigned desc_kicked, desc_reaped; /* in a packed ring, as the chains */
	uint16_t descs[DRV_NAMES]; /* in a packed ring, of each chain by its name */
	uint64_t ring_at; /* offset of the ring in the memory; 0: 0x1000 */
};

/* Memory, and the same in m as a front-end would tell it. */
void drv_mem_init(struct drv *d, struct vmem *m);
void drv_mem_fini(struct drv *d);

/* An empty ring, packed if that is set, whose counters start at base, as if that many chains of one descriptor had come and gone. */
void drv_ring_init(struct drv *d, uint16_t size, uint64_t base, bool event_idx);

/* The position, as the protocol has it, when so many chains of one descriptor each have come and gone. */
uint32_t drv_base(const struct drv *d, uint64_t chains);

/* Bytes of the guest; len must lie in one region. */
uint8_t *drv_at(struct drv *d, uint64_t guest, size_t len);
void drv_put16(struct drv *d, uint64_t guest, uint16_t v);
uint16_t drv_get16(struct drv *d, uint64_t guest);

/* Writes descriptor i of the table at address table. */
void drv_desc(struct drv *d, uint64_t table, unsigned i, const struct drv_piece *p, unsigned flags, uint16_t next);

/*
 * Writes one of any kind, more often than not in the guest's memory, and sometimes with an indirect table at DRV_ROOM; seed: of the
 * random numbers, moved on.
 */
void drv_desc_any(struct drv *d, uint64_t table, unsigned i, uint32_t *seed);

/* In a split ring: makes the chain that begins with this descriptor available; whoever looks sees it at once. */
void drv_avail(struct drv *d, uint16_t head);

/* A chain of n pieces in the next free descriptors of the table (as in a ring: the oldest are overwritten); its head, or name. */
uint16_t drv_add(struct drv *d, const struct drv_piece *p, unsigned n, unsigned flags);

/* The same in an indirect table at that address. */
uint16_t drv_add_indirect(struct drv *d, uint64_t table, const struct drv_piece *p, unsigned n, unsigned flags);

/* True if the device wants to be told of the chains that were added since the last question. */
bool drv_kick(struct drv *d);

/* How many used chains the device shows in all; the next one of them. */
uint64_t drv_used_total(struct drv *d);
struct drv_used drv_reap(struct drv *d);

/* Calls wanted from the device: from the first one behind that many chains, or descriptors, used in all; or, without event_idx, at all. */
void drv_want_call(struct drv *d, bool want, uint64_t after);
