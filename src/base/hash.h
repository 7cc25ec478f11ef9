/* SPDX-License-Identifier: MIT */
/* Keyed hash for tables and sequence numbers that a peer must not be able to steer: SipHash-2-4 (Aumasson and Bernstein, 2012). */
#pragma once

#include "base/defs.h"

struct hash_key {
	uint64_t k[2];
};

/* Hash of len bytes at buf under the key. */
uint64_t hash_bytes(const struct hash_key *key, const void *buf, size_t len);
