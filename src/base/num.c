/* SPDX-License-Identifier: MIT */
#include "base/num.h"

#include <errno.h>

int num_take(const char **s, uint64_t min, uint64_t max, uint64_t *ret_val)
{
	bool over = false;
	const char *p = *s;
	uint64_t v = 0;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (; *p >= '0' && *p <= '9'; p++)
		over |= __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v);
	if (over || v < min || v > max)
		return -ERANGE;
	*s = p;
	*ret_val = v;
	return 0;
}

int num_parse(const char *s, uint64_t min, uint64_t max, uint64_t *ret_val)
{
	uint64_t v;
	int rc = num_take(&s, min, max, &v);

	/* Text behind the digits makes it no number at all, whatever the range says: look at it before the range. */
	if (rc == -ERANGE) {
		while (*s >= '0' && *s <= '9')
			s++;
	}
	if (rc == -EINVAL || *s)
		return -EINVAL;
	if (!rc)
		*ret_val = v;
	return rc;
}
