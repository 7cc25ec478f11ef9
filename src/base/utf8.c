/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

#include <string.h>

#define LEN_MAX 4 /* of a character */

/* Bytes of the character that begins with this one; 0: it is another one's, or nobody's. */
static size_t char_len(uint8_t first)
{
	if (first < 0x80)
		return 1;
	if (first < 0xc0)
		return 0;
	return first < 0xe0 ? 2 : first < 0xf0 ? 3 : LEN_MAX;
}

/* Where the character begins that goes on behind the first n bytes; n: none does. */
static size_t begun(const char *s, size_t n)
{
	for (size_t back = 1; back < LEN_MAX && back <= n; back++) {
		size_t len = char_len((uint8_t)s[n - back]);

		if (len)
			return len > back ? n - back : n;
	}
	return n;
}

size_t utf8_cut(const char *s, size_t max)
{
	size_t n = strnlen(s, max);

	return n < max ? n : begun(s, n);
}

void utf8_trim(char *s)
{
	s[begun(s, strlen(s))] = '\0';
}
