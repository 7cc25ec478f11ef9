/* SPDX-License-Identifier: MIT */
#include "link/link.h"

#include <errno.h>

#include "base/iov.h"

int link_send(struct link *l, unsigned queue, const void *frame, size_t len)
{
	struct txwant w = { .n = 1, .len = len, .queue = queue };
	struct txhdr none = { .bytes = NULL };
	struct txframe f;

	if (link_reserve(l, &f, &w) != 1)
		return -ENOBUFS;
	iov_copy_in(f.body, f.n, 0, frame, len);
	link_commit(l, &f, &none, len);
	return 0;
}
