/* SPDX-License-Identifier: MIT */
#include "os/rlimit.h"

#include <sys/resource.h>

uint64_t rlimit_nofile_want(uint64_t want)
{
	struct rlimit old, new;

	if (getrlimit(RLIMIT_NOFILE, &old))
		return 0;
	if (old.rlim_cur >= want)
		return old.rlim_cur;
	new = old;
	new.rlim_cur = old.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &new) ? old.rlim_cur : new.rlim_cur;
}
