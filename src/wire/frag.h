/* SPDX-License-Identifier: MIT */
/*
 * Reassembly of IPv4 (RFC 791 3.2) and IPv6 (RFC 8200 4.5) fragments of the guest: a fixed number of datagrams at once, an overlap
 * drops the datagram (RFC 5722), as does the timeout. No I/O, no clock: the caller gives the time.
 */
#pragma once

#include <sys/uio.h>

#include "wire/pkt.h"

#define FRAG_DATAGRAMS_MAX 256 /* being put together at once */
#define FRAG_MEMORY 65536u /* for each, about */
#define FRAG_TIMEOUT_NS (30 * NSEC_PER_SEC) /* RFC 8200 says 60 s at most; Linux uses 30 */

struct frags;

/*
 * For 1 to FRAG_DATAGRAMS_MAX datagrams at once: the oldest gives way. Maps all memory (virtual; pages are used when touched). NULL if there
 * is none.
 */
struct frags *frags_new(unsigned datagrams);
void frags_free(struct frags *f);

/*
 * Adds the fragment p of a frame whose bytes are iov.
 * 1: the datagram is complete; *ret_frame and *ret_len are the whole Ethernet frame with one plain IP header, owned by f and valid
 * until the next call. 0: more is needed. -EBADMSG: dropped.
 */
MUST_USE int frags_add(struct frags *f, const struct pkt *p, const struct iovec *iov, unsigned n, uint64_t now_ns,
		       const uint8_t **ret_frame, size_t *ret_len);

/* A datagram that never got complete: its first fragment, as an IP packet, owned by f and valid until the next call. */
struct frag_late {
	const struct addr *src, *dst;
	const uint8_t *packet;
	size_t len;
};

/* When the timeout of the oldest datagram ends; UINT64_MAX: there is none. */
uint64_t frags_due(const struct frags *f);

/*
 * Drops datagrams whose time is over, up to one of which the first fragment is there: whoever sent that is to be told (RFC 792, RFC 8200
 * 4.5). False: there is none. At most one for each datagram in one timeout.
 */
bool frags_expire(struct frags *f, uint64_t now_ns, struct frag_late *ret_late);

/* Datagrams that are being put together; and those, since the start, that had to give way to others. */
unsigned frags_open(const struct frags *f);
uint64_t frags_displaced(const struct frags *f);
