/* SPDX-License-Identifier: MIT */
/* One datagram of rtnetlink, as the configuration of an interface in a namespace. */
#include <assert.h>

#include "base/log.h"
#include "netns/copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void log_drop(void *ctx, enum log_level level, const char *line)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct nsconf conf;
	struct nscopy k = { .conf = &conf };
	char buf[NSCONF_ROUTE_STRLEN];
	bool intr = false;

	log_set_sink(log_drop, NULL);
	conf.n_addrs = conf.n_routes = conf.n_hops = 0;
	k.v4 = k.v6 = (struct nscopy_family){ .ifindex = 2, .addrs = true, .routes = true };
	assert(nl_parse(data, len, 0, &intr, nscopy_entry, &k) <= 1);
	nscopy_finish(&k);
	assert(nsconf_valid(&conf));
	for (unsigned i = 0; i < conf.n_routes; i++)
		assert(strlen(nsconf_route_fmt(&conf, &conf.route[i], buf)) < sizeof(buf));
	return 0;
}
