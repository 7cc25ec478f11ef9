/* SPDX-License-Identifier: MIT */
/* What resolv.conf(5) says: name servers and search list. */
#pragma once

#include "conf/val.h"
#include "service/guestconf.h"

#define RESOLV_DNS_MAX (2 * GUESTCONF_DNS)
#define RESOLV_TEXT_MAX 65536 /* what follows in a longer file is not looked at */

struct resolv {
	struct addr dns[RESOLV_DNS_MAX]; /* without a %scope */
	unsigned n_dns;
	char search[GUESTCONF_SEARCH][VAL_NAME_MAX];
	unsigned n_search;
};

/*
 * Takes any text: lines that mean nothing are skipped, and so is what doesn't fit. The last "search" or "domain" line wins. Duplicate
 * servers are left out.
 */
void resolv_parse(const char *text, size_t len, struct resolv *ret_resolv);

/* Reads and parses the file; -errno, with *ret_resolv left empty. */
MUST_USE int resolv_read(const char *path, struct resolv *ret_resolv);
