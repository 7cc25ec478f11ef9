/* SPDX-License-Identifier: MIT */
/*
 * The Internet checksum (RFC 1071, RFC 1624).
 *
 * A running sum is 64 bits wide and may be combined freely; csum_fold() makes the 16-bit complement of it, in host order, ready for
 * wr_be16(). Runs of bytes that are not the last must have even length.
 */
#pragma once

#include <sys/uio.h>

#include "base/addr.h"
#include "base/defs.h"

/* Adds len bytes at buf to sum. Any alignment. */
uint64_t csum_add(const void *buf, size_t len, uint64_t sum);

/* Adds len bytes starting at offset skip of the vector; segments of odd length are handled. */
uint64_t csum_add_iov(const struct iovec *iov, unsigned n, size_t skip, size_t len, uint64_t sum);

/* Pseudo-header of TCP, UDP and ICMPv6 (RFC 9293 3.1, RFC 8200 8.1) for len bytes of the protocol. Same family for both. */
uint64_t csum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto, size_t len);

/* Folds and complements. */
uint16_t csum_fold(uint64_t sum);
