/* SPDX-License-Identifier: MIT */
/* Arithmetic on I/O vectors. Nothing here owns the memory that a vector points to. */
#pragma once

#include <sys/uio.h>

#include "base/defs.h"

/* Sum of all lengths. */
size_t iov_len(const struct iovec *iov, unsigned n);

/* Copies up to len bytes starting at offset skip to dst; returns how many there were. */
size_t iov_copy_out(const struct iovec *iov, unsigned n, size_t skip, void *dst, size_t len);

/* Copies up to len bytes of src to offset skip of the vector; returns how many fitted. */
size_t iov_copy_in(const struct iovec *iov, unsigned n, size_t skip, const void *src, size_t len);

/*
 * Fills dst (room for dst_max entries) with the part [skip, skip + len) of the vector, without copying bytes.
 * Returns the number of entries; *ret_len (may be NULL) is the number of bytes that they cover, less than len if either ran out.
 */
unsigned iov_slice(const struct iovec *iov, unsigned n, size_t skip, size_t len, struct iovec *dst, unsigned dst_max,
		   size_t *ret_len);
