/* SPDX-License-Identifier: MIT */
#include "base/iov.h"

#include <string.h>

size_t iov_len(const struct iovec *iov, unsigned n)
{
	size_t len = 0;
	unsigned i;

	for (i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* The part of e from *skip on, at most len bytes of it; takes off *skip what lies in e. */
static struct iovec iov_part(const struct iovec *e, size_t *skip, size_t len)
{
	struct iovec part = { 0 };

	if (*skip >= e->iov_len) {
		*skip -= e->iov_len;
		return part;
	}
	part.iov_base = (uint8_t *)e->iov_base + *skip;
	part.iov_len = MIN(len, e->iov_len - *skip);
	*skip = 0;
	return part;
}

size_t iov_copy_out(const struct iovec *iov, unsigned n, size_t skip, void *dst, size_t len)
{
	size_t done = 0;
	unsigned i;

	for (i = 0; i < n && done < len; i++) {
		struct iovec part = iov_part(&iov[i], &skip, len - done);

		if (part.iov_len)
			memcpy((uint8_t *)dst + done, part.iov_base, part.iov_len);
		done += part.iov_len;
	}
	return done;
}

size_t iov_copy_in(const struct iovec *iov, unsigned n, size_t skip, const void *src, size_t len)
{
	size_t done = 0;
	unsigned i;

	for (i = 0; i < n && done < len; i++) {
		struct iovec part = iov_part(&iov[i], &skip, len - done);

		if (part.iov_len)
			memcpy(part.iov_base, (const uint8_t *)src + done, part.iov_len);
		done += part.iov_len;
	}
	return done;
}

unsigned iov_slice(const struct iovec *iov, unsigned n, size_t skip, size_t len, struct iovec *dst, unsigned dst_max,
		   size_t *ret_len)
{
	unsigned i, used = 0;
	size_t done = 0;

	for (i = 0; i < n && done < len && used < dst_max; i++) {
		struct iovec part = iov_part(&iov[i], &skip, len - done);

		if (part.iov_len)
			dst[used++] = part;
		done += part.iov_len;
	}
	if (ret_len)
		*ret_len = done;
	return used;
}
