/* SPDX-License-Identifier: MIT */
#include "link/link.h"

#include <errno.h>

#include "base/iov.h"

int link_send(struct link *l, const void *frame, size_t len)
{
	struct txhdr none = { .bytes = NULL };
	struct txframe f;

	if (link_reserve(l, &f, 1, 0, len) != 1)
		return -ENOBUFS;
	iov_copy_in(f.body, f.n, 0, frame, len);
	link_commit(l, &f, &none, len);
	return 0;
}
