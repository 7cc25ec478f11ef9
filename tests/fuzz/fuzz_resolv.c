/* SPDX-License-Identifier: MIT */
/* Any text as resolv.conf. */
#include <assert.h>

#include "conf/resolv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct resolv r;
	char name[VAL_NAME_MAX];

	resolv_parse((const char *)data, len, &r);
	assert(r.n_dns <= RESOLV_DNS_MAX && r.n_search <= GUESTCONF_SEARCH);
	for (unsigned i = 0; i < r.n_dns; i++)
		assert(!addr_is_any(&r.dns[i]) && !addr_is_multicast(&r.dns[i]));
	for (unsigned i = 0; i < r.n_search; i++)
		assert(!val_name(r.search[i], strlen(r.search[i]), name));
	return 0;
}
