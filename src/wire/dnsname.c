/* SPDX-License-Identifier: MIT */
#include "wire/dnsname.h"

size_t dnsname_len(const char *name)
{
	size_t total = 0;

	while (*name) {
		size_t label = strcspn(name, ".");

		if (!label || label > DNSNAME_LABEL_MAX)
			return 0;
		total += 1 + label;
		if (total + 1 > DNSNAME_LEN_MAX)
			return 0;
		name += label;
		if (*name)
			name++;
	}
	return total ? total + 1 : 0;
}

void dnsname_put(struct wr *w, const char *name)
{
	if (!dnsname_len(name)) {
		wr_fail(w);
		return;
	}
	while (*name) {
		size_t label = strcspn(name, ".");

		wr_u8(w, (uint8_t)label);
		wr_bytes(w, name, label);
		name += label;
		if (*name)
			name++;
	}
	wr_u8(w, 0);
}

void dnsname_list_put(struct wr *w, const char (*names)[DNSNAME_TEXT_MAX], unsigned n, size_t room)
{
	for (unsigned i = 0; i < n; i++) {
		size_t len = dnsname_len(names[i]);

		if (len > room)
			return;
		if (len)
			dnsname_put(w, names[i]);
		room -= len;
	}
}
