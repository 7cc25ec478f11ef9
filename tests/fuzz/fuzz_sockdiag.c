/* SPDX-License-Identifier: MIT */
/* One datagram of sock_diag. */
#include <assert.h>

#include "os/sockdiag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool any(const struct portmap *m)
{
	for (unsigned w = 0; w < ARRAY_SIZE(m->w); w++) {
		if (m->w[w])
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sockdiag_ports tcp = { 0 }, udp = { 0 };
	struct portmap all = { 0 };
	int r = sockdiag_parse(data, len, 0, SOCKDIAG_TCP, &tcp);

	assert(r <= 1 && r > -4096);
	assert(sockdiag_parse(data, len, 0, SOCKDIAG_UDP, &udp) == r);
	sockdiag_select(&tcp, UINT32_MAX, UINT32_MAX, &all);
	sockdiag_select(&udp, UINT32_MAX, UINT32_MAX, &all);
	/* Each port takes a whole socket. */
	assert(!portmap_has(&all, 0) && (len >= 16 + 72 || !any(&all)));
	return 0;
}
